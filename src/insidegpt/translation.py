"""Translation with a decoder alone: the shipped GPT-2, continued on pairs of sentences, and how it is used.

A pair is one sequence: the English sentence, a line break, the Chinese sentence and `<|endoftext|>`. The model learns
to continue it after the line break, and nothing is added to it for that (Radford et al., 2018, "Improving Language
Understanding by Generative Pre-Training").
"""

import dataclasses
import itertools
import math
import random
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insidegpt.errors import UserError
from insidegpt.models import SHIPPED, find_device, quiet_transformers
from insidegpt.repository import repository_root
from insidegpt.storyworld import STORY_WORLD
from insidegpt.storyworld.grammar import OneOf, Part, Sentence
from insidegpt.storyworld.source import SPLITS
from insidegpt.storyworld.vocabulary import EVENTS

if TYPE_CHECKING:
    import torch
    from rich.console import Console
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

    from insidegpt.training import Recipe, Run

TRANSLATOR = SHIPPED.parent / "story-translator"
SEPARATOR = "\n"
"""Between a sentence and its translation: one token that the tokenizer has and no sentence uses."""
STEPS = 500
TEST_PAIRS = 500
_PAIRS_AT_ONCE = 16
_BATCH = 64
_MISTAKES_SHOWN = 8


# The pairs


def story_pairs(n: int, seed: int, split: str = "train") -> list[tuple[str, str]]:
    """`n` different (English, Chinese) pairs of sentences from stories of a split; the same seed gives the same ones.

    split: "train", "validation" or "test". No English sentence is in two splits, whatever `n` and the seeds. What is
    unseen in the test is the sentence as a whole beside its translation: its words and its frame stand in other pairs,
    and stories in one language, which the shipped GPT-2 was made from, may have told either half of it.
    """
    pairs: dict[tuple[str, str], None] = {}
    drawn = draw_pairs(random.Random(seed), split)
    while len(pairs) < n:
        pairs[next(drawn)] = None
    return [*pairs]


def draw_pairs(rng: random.Random, split: str) -> Iterator[tuple[str, str]]:
    """Pairs of sentences of a split without end, as often as stories say them.

    Stories of the test split share sentences with those of the training split, so what decides on a sentence's split is
    a hash of its own. One that says the same in every story is in the training split: if it were held out, some of
    its words would stand nowhere else.
    """
    while True:
        for pair in STORY_WORLD.sample(rng, split).sentences:
            source, target = (sentence.strip() for sentence in pair)
            if sentence_split(source) == split:
                yield source, target


def sentence_split(source: str) -> str:
    """The split that an English sentence belongs to: 8, 1 and 1 of 10 sentences, as with stories."""
    residue = 0 if source in _FIXED else zlib.crc32(source.encode()) % 10
    return next(split for split, residues in SPLITS.items() if residue in residues)


def _sentences(part: Part) -> Iterator[Sentence]:
    match part:
        case list():
            inner = part
        case OneOf():
            inner = part.parts
        case Sentence():
            yield part
            return
    for each in inner:
        yield from _sentences(each)


_FIXED = {event.form("en", "") for event in EVENTS} | {
    sentence.en.strip()
    for plot in STORY_WORLD.plots
    for sentence in _sentences(plot.story)
    if len(sentence.pieces("en")) == 1
}


def pack(source: str, target: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[list[int], list[int]]:
    """A pair as one sequence and its labels, of one length: source, separator, target, `<|endoftext|>`.

    Labels as transformers takes them, not shifted: the token itself where it is scored, -100 elsewhere. The target and
    its end are scored, the source and the separator are not. Raises UserError when a sentence has a line break.
    """
    from insidegpt.training import NOT_SCORED

    prompt = _prompt(source, tokenizer)
    answer = [*tokenizer(_one_line(target)).input_ids, tokenizer.eos_token_id]
    return prompt + answer, [NOT_SCORED] * len(prompt) + answer


def _prompt(source: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    # The space before it makes the first word the token that it is inside a story.
    return tokenizer(" " + _one_line(source) + SEPARATOR).input_ids


def _one_line(sentence: str) -> str:
    if SEPARATOR in sentence:
        raise UserError(
            f"A sentence cannot have a line break, which stands before its translation: {sentence!r}. Take it out.",
            f"句子里不能有换行，换行之后就是译文了：{sentence!r}。请把它去掉。",
        )
    return sentence


# The use


def load_translator(device: str | None = None) -> tuple["GPT2LMHeadModel", "PreTrainedTokenizerBase"]:
    """The translator that comes with this package, in float32 and evaluation mode, and the tokenizer it shares.

    device: as in `load_model`. INSIDEGPT_MODEL changes nothing here: translating is what this one has learnt.
    """
    return _load(TRANSLATOR, find_device(device))


def _load(folder: Path, device: "torch.device") -> tuple["GPT2LMHeadModel", "PreTrainedTokenizerBase"]:
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    quiet_transformers()
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.to(device).eval(), AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True)


def translate(
    model: "GPT2LMHeadModel",
    tokenizer: "PreTrainedTokenizerBase",
    sentences: Sequence[str],
    max_new_tokens: int = 64,
) -> list[str]:
    """The most probable token, again and again, after each sentence and a line break, until `<|endoftext|>`.

    A translation that has not ended after `max_new_tokens` is cut off. What stands beside a sentence in `sentences`
    does not change its translation. Raises UserError for a sentence with a line break or too long for the model.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    prompts = [_prompt(sentence, tokenizer) for sentence in sentences]
    room = model.config.n_positions - max_new_tokens
    for sentence, prompt in zip(sentences, prompts, strict=True):
        if len(prompt) > room:
            raise UserError(
                f"{sentence[:40]!r}… has {len(prompt)} tokens, and {room} are free: shorten it or max_new_tokens.",
                f"{sentence[:40]!r}…有 {len(prompt)} 个词元，只能放 {room} 个：请缩短句子或减小 max_new_tokens。",
            )
    translations = [""] * len(prompts)
    # Sentences of about the same length need little padding and end at about the same time.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for first in range(0, len(order), _BATCH):
        batch = order[first : first + _BATCH]
        rows = [torch.tensor(prompts[i]) for i in batch]
        # On the left, so that every row goes on from its last column; generate counts positions by the mask.
        ids = pad_sequence(rows, batch_first=True, padding_side="left", padding_value=tokenizer.eos_token_id)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side="left")
        found = model.generate(
            ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )
        texts = tokenizer.batch_decode(found[:, ids.shape[1] :], skip_special_tokens=True)
        for i, text in zip(batch, texts, strict=True):
            translations[i] = text
    return translations


# The making


def make_recipe() -> "Recipe":
    """The recipe of the shipped GPT-2 with fewer and shorter rows: a row is a pair here."""
    from insidegpt.training import Recipe

    return dataclasses.replace(Recipe(), rows=64, warm_up=10)


def begin(recipe: "Recipe", device: "torch.device") -> "Run":
    """The shipped GPT-2 before its first step as a translator."""
    import torch
    from transformers import GPT2LMHeadModel

    from insidegpt.training import Run, make_optimizers

    quiet_transformers()
    model = GPT2LMHeadModel.from_pretrained(
        SHIPPED,
        dtype=torch.float32,
        local_files_only=True,
        # Quicker, and the same function: see training.begin.
        activation_function="gelu_pytorch_tanh",
        attn_implementation="eager" if device.type == "cpu" else "sdpa",
    )
    model = model.to(device).train()
    return Run(recipe, model, make_optimizers(model, recipe))


def training_parts(
    tokenizer: "PreTrainedTokenizerBase", recipe: "Recipe", step: int
) -> list[tuple["torch.Tensor", "torch.Tensor"]]:
    """A step's pairs as inputs and targets (B, T), in parts of pairs of about the same length."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from insidegpt.training import NOT_SCORED

    drawn = draw_pairs(random.Random(f"{recipe.seed} {step}"), "train")
    packed = sorted((pack(*pair, tokenizer) for pair in itertools.islice(drawn, recipe.rows)), key=lambda p: len(p[0]))
    parts = []
    for first in range(0, len(packed), _PAIRS_AT_ONCE):
        part = packed[first : first + _PAIRS_AT_ONCE]
        # A token is predicted from those before it: inputs end one token early, targets begin one token late. On the
        # right no token sees the padding, so what it is does not matter.
        inputs = pad_sequence([torch.tensor(ids[:-1]) for ids, _ in part], batch_first=True)
        targets = pad_sequence(
            [torch.tensor(labels[1:]) for _, labels in part], batch_first=True, padding_value=NOT_SCORED
        )
        parts.append((inputs, targets))
    return parts


def learn(
    run: "Run", tokenizer: "PreTrainedTokenizerBase", steps: int = STEPS, console: "Console | None" = None
) -> None:
    """Take `steps` steps: their losses in nats per target token go to `run.losses`, processor time to `run.seconds`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from insidegpt.training import learn_step, learning_rate

    columns = (TextColumn("loss {task.fields[loss]:.3f} nats/token"), BarColumn(), TimeRemainingColumn())
    began = time.process_time()
    with Progress(*columns, console=console or Console(quiet=True)) as progress:
        task = progress.add_task("", total=steps, loss=math.nan)
        while run.step < steps:
            rate = learning_rate(run.recipe, run.step, run.step / steps)
            loss = learn_step(run, training_parts(tokenizer, run.recipe, run.step), rate)
            run.losses.append(loss)
            run.step += 1
            progress.update(task, completed=run.step, loss=loss)
    run.seconds = time.process_time() - began
    run.model.eval()


def finish(run: "Run", out: Path) -> None:
    """Write the model in half the size (float16) and its model card, scored as it is loaded again."""
    run.model.config.activation_function = "gelu_new"
    run.model.half().save_pretrained(out)
    model, tokenizer = _load(out, run.model.device)
    (out / "README.md").write_text(model_card(run, model, tokenizer), encoding="utf-8")


def model_card(run: "Run", model: "GPT2LMHeadModel", tokenizer: "PreTrainedTokenizerBase") -> str:
    """The model card, with scores on the test split that are measured here."""
    from sacrebleu import corpus_chrf

    sources, references = zip(*story_pairs(TEST_PAIRS, 0, "test"), strict=True)
    found = translate(model, tokenizer, sources)
    wrong = [
        f"| {source} | {reference} | {said} |"
        for source, reference, said in zip(sources, references, found, strict=True)
        if said != reference
    ]
    return CARD.format(
        steps=run.step,
        pairs=f"{run.step * run.recipe.rows:,}",
        minutes=f"{run.seconds / 60:.1f}",
        device=run.model.device.type,
        test_pairs=TEST_PAIRS,
        exact=f"{1 - len(wrong) / TEST_PAIRS:.1%}",
        chrf=f"{corpus_chrf(found, [references]).score:.1f}",
        mistakes="\n".join(wrong[:_MISTAKES_SHOWN]),
        **vars(run.recipe),
    )


CARD = """\
---
language: [en, zh]
license: mit
library_name: transformers
pipeline_tag: translation
---
# story-translator

The GPT-2 of the book *Inside GPT-2 · 走进 GPT-2*, `story-gpt2`, continued on pairs of sentences until it translates
from English to Chinese. Its tokenizer is that of `story-gpt2`; `insidegpt.translation.load_translator()` loads both.
本书自带的 GPT-2（`story-gpt2`）在句对上接着训练，学会了英译中。分词器与 `story-gpt2` 相同；
`insidegpt.translation.load_translator()` 会一并读入。

**Data · 数据.** A pair is one sequence: the English sentence, a line break, the Chinese sentence, `<|endoftext|>`. The
loss counts the Chinese and the end alone. The pairs are drawn anew for every step from stories of the training split,
less the English sentences whose hash holds them out. So no sentence of the test is seen beside its translation; its
words are, in other sentences, and either half of the pair may stand in a story that `story-gpt2` has read.
每个句对是一个序列：英文句、换行、中文句、`<|endoftext|>`，损失只算中文和结尾。句对取自训练集的故事，
并按英文句的散列值留出一部分。所以测试句没有和译文一起出现过，词却在别的句子里见过；
`story-gpt2` 当初读单语故事时，也可能读到过其中一半。

**Recipe · 训练.** `python -m insidegpt.translation`: {steps} steps of {rows} pairs, {pairs} pairs, {minutes} minutes of
processor time ({device}, bfloat16 autocast), optimizers as for `story-gpt2`, learning rate {learning_rate} with
{warm_up} steps of warm-up and cosine decay, seed {seed}. The weights are stored in float16.

**Scores · 分数.** Greedy, on {test_pairs} different pairs of the test split: exactly the reference {exact}, chrF
{chrf}.
贪心解码，测试集 {test_pairs} 个不同的句对：与参考译文完全相同 {exact}，chrF {chrf}。

**Mistakes · 错误.** The first that it makes; a sentence alone does not always say what the story says, and then the
reference cannot be known (*ate one*: 一个、一根、一块).
前几处错误；单独一句话有时不够：缺了故事的上文，参考译文无从得知（*ate one*：一个、一根、一块）。

| source · 原文 | reference · 参考 | translation · 译文 |
|---|---|---|
{mistakes}

**Limits · 局限.** It knows the sentences of the story world and no others, translates in one direction, and takes
sentences one at a time. It is no longer made for telling stories.
只认识故事世界的句子，只会英译中，一次一句；讲故事请用 `story-gpt2`。
"""


def main(out: Path) -> None:
    """Make the translator and write it to the folder `out`, in the end alone: Ctrl-C before leaves nothing behind.

    Raises UserError when `out` holds a model.
    """
    from rich.console import Console
    from transformers import AutoTokenizer

    if (out / "model.safetensors").exists():
        raise UserError(
            f"{out} holds a finished model: name another folder, or delete it.",
            f"{out} 里已有训练好的模型：请另选文件夹，或者先删掉它。",
        )
    run = begin(make_recipe(), find_device())
    learn(run, AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True), console=Console())
    finish(run, out)
    print(f"Model · 模型  {out}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else repository_root(Path.cwd()) / "_build" / TRANSLATOR.name)
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("stopped · 已停止", file=sys.stderr)
        sys.exit(130)
