"""What the shipped model has learnt, beside the source that wrote its stories.

    .venv/bin/python benchmarks/story_gpt2.py [--stories]

With --stories also ten stories in each language that it writes, unpicked, with ✓ where the source could have written
them.
"""

import math
import time
from statistics import mean
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from insidegpt.evaluation import (
    classifier_pairs,
    excess_nats,
    false_start_probability,
    induction_scores,
    perplexity,
    preference,
    pronoun_pairs,
    recall_scores,
    source_perplexity,
    story_texts,
    story_tokens,
    token_log_probabilities,
)
from insidegpt.models import load_model, model_name
from insidegpt.storyworld import STORY_WORLD
from insidegpt.storyworld.measures import best_token_accuracy
from insidegpt.tokenizer import END_OF_TEXT

STORIES, STORIES_FOR_ACCURACY = 300, 20


def rows(model, tokenizer, console: Console):
    """The table's rows: what was measured, English, Chinese."""
    ratios, perplexities, sources, excesses, accuracies, best = [], [], [], [], [], []
    for language in ("en", "zh"):
        texts = story_texts(language, STORIES)
        ours, source = perplexity(model, tokenizer, texts), source_perplexity(tokenizer, texts, language)
        perplexities.append(f"{ours:.3f}")
        sources.append(f"{source:.3f}")
        ratios.append(f"{ours / source:.3f}")
        excesses.append(f"{excess_nats(model, tokenizer, texts, language):.2f}")
        texts = texts[:STORIES_FOR_ACCURACY]
        _, hits = token_log_probabilities(model, tokenizer, texts)
        accuracies.append(f"{torch.cat(hits).float().mean():.3f}")
        bounds = [
            bound
            for text in track(texts, f"best predictor, {language}", console=console, transient=True)
            for bound in best_token_accuracy(STORY_WORLD, text, language, tokenizer.backend_tokenizer)
        ]
        low, high = (mean(side) for side in zip(*bounds, strict=True))
        best.append(f"{low:.3f} to {high:.3f}")
    yield f"perplexity per token, {STORIES} test stories", *perplexities
    yield "the source's", *sources
    yield "ratio", *ratios
    yield "nats per story above the source", *excesses
    yield f"next token right, {STORIES_FOR_ACCURACY} test stories", *accuracies
    yield "best possible", *best
    false_starts = f"{false_start_probability(model, tokenizer):.3f}"
    yield "probability of first tokens with which no story begins", false_starts, false_starts
    agreement = []
    for language, distance in (("en", 40), ("zh", 15)):
        pairs = [pair for text in story_texts(language, STORIES) for pair in pronoun_pairs(text, language, distance)]
        agreement.append(f"{preference(model, tokenizer, pairs):.3f} of {len(pairs)}")
    yield "pronoun agrees with a name more than 40 (15) characters before", *agreement
    pairs = [pair for text in story_texts("zh", STORIES) for pair in classifier_pairs(text, 15)]
    yield (
        "量词 agrees with a noun more than 15 characters before",
        "",
        f"{preference(model, tokenizer, pairs):.3f} of {len(pairs)}",
    )


def heads(attentive, tokenizer):
    """The table's rows on attention heads."""
    recalls, evens = [], []
    for language in ("en", "zh"):
        scores, even = recall_scores(attentive, tokenizer, story_texts(language, 50), language)
        recalls.append(best_head(scores))
        evens.append(f"{even:.3f}")
    yield "head that looks most to the name about to be said again (layer.head)", *recalls
    yield "attention spread evenly", *evens
    score = best_head(induction_scores(attentive, story_tokens(tokenizer)))
    yield "head that looks most to what followed the same token before, random tokens (evenly: 0.014)", score, score


def best_head(scores: torch.Tensor) -> str:
    """The head with the highest score, and the score."""
    layer, head = divmod(int(scores.argmax()), scores.shape[1])
    return f"{layer}.{head}: {scores.max():.3f}"


def print_stories(model, tokenizer, console: Console) -> None:
    """The first ten stories in each language that the model writes at temperature 1."""
    torch.manual_seed(0)
    start = tokenizer(END_OF_TEXT, return_tensors="pt").input_ids.to(model.device)
    stories = {"en": [], "zh": []}
    while any(len(written) < 10 for written in stories.values()):
        ids = model.generate(start, do_sample=True, top_k=0, max_length=model.config.n_positions)
        text = tokenizer.decode(ids[0], skip_special_tokens=True)
        stories["en" if text.isascii() else "zh"].append(text)
    for language, written in stories.items():
        for i, text in enumerate(written[:10], 1):
            possible = STORY_WORLD.log_probability(text, language) > -math.inf
            console.print(
                f"\n{language} {i} {'✓' if possible else '✗'} {text}", markup=False, highlight=False, soft_wrap=True
            )


def main(
    stories: Annotated[bool, typer.Option("--stories", help="Print ten stories in each language too.")] = False,
) -> None:
    """Print the table."""
    console = Console()
    started = time.perf_counter()
    model, tokenizer = load_model()
    loaded = time.perf_counter() - started
    attentive, _ = load_model(attentions=True)
    table = Table("", "English", "中文", title=f"{model_name(model)} and its source")
    for row in rows(model, tokenizer, console):
        table.add_row(*row)
    for row in heads(attentive, tokenizer):
        table.add_row(*row)
    console.print(table)
    console.print(f"loaded in {loaded:.2f} s, transformers' import included")
    if stories:
        print_stories(model, tokenizer, console)


if __name__ == "__main__":
    typer.run(main)
