"""How well a model of the story world knows it, measured against the source that wrote the stories.

A story is read as the model was trained: after `<|endoftext|>`, and with `<|endoftext|>` as its last token.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from insidegpt.storyworld import STORY_WORLD, vocabulary
from insidegpt.tokenizer import END_OF_TEXT, LONGEST_TOKEN

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 16


def story_texts(language: str, n: int, seed: int = 0, split: str = "test") -> list[str]:
    """`n` stories of a split in one language."""
    return [story.text(language) for story in STORY_WORLD.stories(n, seed, split)]


def token_log_probabilities(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], end: bool = True
) -> tuple["list[torch.Tensor]", "list[torch.Tensor]"]:
    """ln P of every token of each text, and whether it was the model's first guess; with `end`, of the end too.

    Returns two lists with a tensor for each text: (T,) float32 and (T,) bool.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    tail = END_OF_TEXT if end else ""
    ids = [torch.tensor(tokenizer(END_OF_TEXT + text + tail).input_ids) for text in texts]
    values, hits = [], []
    for first in range(0, len(ids), _BATCH):
        rows = ids[first : first + _BATCH]
        # On the right no token sees the padding, so what it is does not matter.
        batch = pad_sequence(rows, batch_first=True).to(model.device)  # (B, T)
        with torch.inference_mode():
            log_p = model(batch[:, :-1], use_cache=False).logits.float().log_softmax(-1)  # (B, T - 1, V)
        of_target = log_p.gather(-1, batch[:, 1:, None])[..., 0]
        guessed = log_p.argmax(-1) == batch[:, 1:]
        for row, p, hit in zip(rows, of_target, guessed, strict=True):
            values.append(p[: len(row) - 1].cpu())
            hits.append(hit[: len(row) - 1].cpu())
    return values, hits


def perplexity(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> float:
    """exp of the mean nats per token over whole stories, their ends included."""
    values, _ = token_log_probabilities(model, tokenizer, texts)
    return math.exp(-sum(float(p.double().sum()) for p in values) / sum(len(p) for p in values))


def source_perplexity(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], language: str) -> float:
    """The source's perplexity per token of the same stories: no model can have a lower one on stories from the source.

    The source here is the whole story world. Of a split it would know which stories belong to it, which nobody who
    has read the other splits can know.
    """
    nats = -math.fsum(STORY_WORLD.log_probability(text, language) for text in texts)
    return math.exp(nats / sum(len(tokenizer(text).input_ids) + 1 for text in texts))


def excess_nats(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], language: str
) -> float:
    """How many more nats a whole story costs the model than the source, on average: an estimate of KL(source‖model)."""
    values, _ = token_log_probabilities(model, tokenizer, texts)
    source = math.fsum(STORY_WORLD.log_probability(text, language) for text in texts)
    return (source - sum(float(p.double().sum()) for p in values)) / len(texts)


def false_start_probability(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> float:
    """The probability that the model's first token is one with which no story of either language begins."""
    import torch

    def enough(text: str) -> bool:
        return len(text.encode()) >= 2 * LONGEST_TOKEN  # what comes later does not change the first token

    first = set()
    for language in ("en", "zh"):
        beginnings, _ = STORY_WORLD.continuations("", language, enough)
        first |= {tokenizer(text).input_ids[0] for text, _ in beginnings}
    start = tokenizer(END_OF_TEXT, return_tensors="pt").input_ids.to(model.device)
    with torch.inference_mode():
        p = model(start).logits[0, -1].double().softmax(-1)
    return 1 - p[sorted(first)].sum().item()


def story_tokens(tokenizer: "PreTrainedTokenizerBase", n: int = 300) -> list[int]:
    """The tokens that `n` test stories use in both languages, in increasing order.

    The tokenizer has more: pieces of words that were only steps on the way to longer ones. A model never reads them,
    so it cannot tell them apart.
    """
    return sorted(
        {i for language in ("en", "zh") for ids in tokenizer(story_texts(language, n)).input_ids for i in ids}
    )


def induction_scores(
    model: "PreTrainedModel", tokens: Sequence[int], n: int = 16, length: int = 48, seed: int = 0
) -> "torch.Tensor":
    """How much each head looks from a token to what followed the same token before, on repeated random tokens.

    Each of the `n` rows is `length` different tokens, drawn at random from `tokens`, twice. The score is the mean
    attention weight from the second occurrence of a token to the token after the first: (n_layer, n_head), 1 for a
    perfect induction head. The model must return attention weights (`load_model(…, attentions=True)`).
    Olsson et al., 2022, "In-context Learning and Induction Heads"; they too leave out the rarest tokens.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    known = torch.tensor(tokens)
    rows = torch.stack([known[torch.randperm(len(known), generator=generator)[:length]] for _ in range(n)])
    with torch.inference_mode():
        attentions = model(rows.repeat(1, 2).to(model.device), output_attentions=True).attentions
    weights = torch.stack(attentions).cpu()  # (L, n, H, 2 * length, 2 * length)
    return weights.diagonal(offset=1 - length, dim1=-2, dim2=-1)[..., 1:].mean((1, 3))


def recall_scores(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], language: str
) -> tuple["torch.Tensor", float]:
    """How much each head looks, just before a person or a thing is named again, to where it was named before.

    The mean attention weight on all earlier occurrences of the token that comes next, over the places where that token
    begins a name or a noun and was last seen more than 8 tokens ago. Returns ((n_layer, n_head), what attention spread
    evenly would score). The model must return attention weights (`load_model(…, attentions=True)`).
    """
    import torch

    space = " " if language == "en" else ""
    named = {tokenizer(space + word.form(language, "")).input_ids[0] for word in vocabulary.PEOPLE + vocabulary.THINGS}
    scores, even, n = 0.0, 0.0, 0
    for text in texts:
        ids = tokenizer(END_OF_TEXT + text).input_ids
        with torch.inference_mode():
            attentions = model(torch.tensor([ids], device=model.device), output_attentions=True).attentions
        weights = torch.stack(attentions)[:, 0].cpu()  # (L, H, T, T)
        for i, following in enumerate(ids[1:]):
            earlier = [j for j in range(i) if ids[j] == following]
            if following in named and earlier and i - earlier[-1] >= 8:
                scores = scores + weights[:, :, i, earlier].sum(-1)
                even += len(earlier) / (i + 1)
                n += 1
    return scores / n, even / n


def pronoun_pairs(text: str, language: str, distance: int) -> list[tuple[str, str]]:
    """Beginnings of a story that end with he or she (他 or 她), each with the same beginning and the other pronoun.

    Only where no name stands in the last `distance` characters.
    """
    swap = {"he": "she", "she": "he", "He": "She", "She": "He"} if language == "en" else {"他": "她", "她": "他"}
    pattern = r"\b(?:[Hh]e|[Ss]he)\b" if language == "en" else r"[他她](?!们)"
    names = [person.form(language, "") for person in vocabulary.PEOPLE]
    return [
        (text[: found.end()], text[: found.start()] + swap[found[0]])
        for found in re.finditer(pattern, text)
        if not any(name in text[max(found.start() - distance, 0) : found.start()] for name in names)
    ]


def classifier_pairs(text: str, distance: int) -> list[tuple[str, str]]:
    """Beginnings of a Chinese story that end with the 量词 of a thing after 那, each with another 量词 in its place.

    Only where the thing was named before, and not in the last `distance` characters; what follows is not shown.
    """
    pairs = []
    classifiers = sorted({thing.form("zh", "cl") for thing in vocabulary.THINGS})
    for thing in vocabulary.THINGS:
        name, right = thing.form("zh", ""), thing.form("zh", "cl")
        for found in re.finditer(f"那({right})(?=[^，。？！]{{0,4}}{name})", text):
            before = text[: found.start(1)]
            if name in before and name not in before[-distance:]:
                others = [other for other in classifiers if other != right]
                wrong = others[(len(text) + found.start()) % len(others)]
                pairs.append((before + right, before + wrong))
    return pairs


def preference(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", pairs: Sequence[tuple[str, str]]
) -> float:
    """The share of pairs whose first text is more probable than the second; 0.5 is chance."""
    right, _ = token_log_probabilities(model, tokenizer, [first for first, _ in pairs], end=False)
    wrong, _ = token_log_probabilities(model, tokenizer, [second for _, second in pairs], end=False)
    return sum(bool(a.sum() > b.sum()) for a, b in zip(right, wrong, strict=True)) / len(pairs)
