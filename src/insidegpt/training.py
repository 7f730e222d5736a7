"""How the shipped GPT-2 was made: from stories that are drawn while it learns, on a laptop, in a time that you choose.

Every step draws its own stories from a random generator that is seeded with the step's number, and nothing else in the
training is random. So a run that was stopped, however it was stopped, goes on as if nothing had happened.
"""

import contextlib
import csv
import dataclasses
import math
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from insidegpt.errors import UserError
from insidegpt.evaluation import perplexity, source_perplexity, story_texts
from insidegpt.models import quiet_transformers
from insidegpt.storyworld import STORY_WORLD
from insidegpt.storyworld.grammar import LANGUAGES
from insidegpt.storyworld.vocabulary import PEOPLE
from insidegpt.tokenizer import END_OF_TEXT, pretrained, train_tokenizer

CHECKPOINT = "checkpoint.pt"
CURVE = "learning_curve.csv"
SECONDS_BETWEEN_CHECKPOINTS = 60
NOT_SCORED = -100
"""The target that torch's cross-entropy leaves out."""


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on, apart from its length."""

    n_layer: int = 6
    n_embd: int = 192
    n_head: int = 6
    context: int = 256
    vocabulary: int = 4096
    tokenizer_stories: int = 10_000
    rows: int = 8
    """Rows of `context` tokens in a step: one drill in copying, the others stories."""
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    warm_up: int = 100
    """Steps in which the learning rate rises."""
    clip: float = 1.0
    """Norm that the gradient is cut to."""
    steps_between_validations: int = 200
    validation_stories: int = 50
    test_stories: int = 200
    seed: int = 2026


@dataclass(frozen=True)
class Length:
    """When a run ends: after so many steps, or after so many minutes of training. The learning rate follows it."""

    steps: int | None = None
    minutes: float | None = None

    def done(self, step: int, seconds: float) -> float:
        """The part of the run that is over, from 0 to 1."""
        return min(1.0, step / self.steps if self.steps is not None else seconds / 60 / self.minutes)


@dataclass
class Run:
    """A training run at one moment: all that a checkpoint holds."""

    recipe: Recipe
    model: GPT2LMHeadModel
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last line of the curve."""

    def save(self, path: Path) -> None:
        """Write the checkpoint beside `path` and rename it, so that a kill at any time leaves a whole one."""
        state = {
            "recipe": dataclasses.asdict(self.recipe),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "curve": self.curve,
            "losses": self.losses,
        }
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises UserError when it belongs to another recipe."""
        state = torch.load(path, map_location=self.model.device, weights_only=True)
        if state["recipe"] != dataclasses.asdict(self.recipe):
            raise UserError(
                f"{path} was made with another recipe: finish it with the program that began it, or delete it.",
                f"{path} 是用另一套设置训练的：请用原来的程序训练完，或者删掉它。",
            )
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        self.curve, self.losses = state["curve"], state["losses"]


def train(
    out: Path,
    length: Length,
    recipe: Recipe = Recipe(),
    device: torch.device = torch.device("cpu"),  # noqa: B008
    console: Console | None = None,
) -> None:
    """Train a GPT-2 on the story world and write it to the folder `out` in transformers' format.

    A run that was interrupted leaves a checkpoint in `out` and goes on from it when called again. Ctrl-C ends the step,
    saves and raises KeyboardInterrupt. Raises UserError when `out` holds a finished model or another recipe's run.
    """
    console = console or Console(quiet=True)
    quiet_transformers()
    if (out / "model.safetensors").exists():
        raise UserError(
            f"{out} holds a finished model: choose another folder with --out, or delete it.",
            f"{out} 里已有训练好的模型：请用 --out 另选文件夹，或者先删掉它。",
        )
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(recipe)
    run = begin(recipe, tokenizer, device)
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        run.load(checkpoint)
        console.print(f"going on after step {run.step} · 从第 {run.step} 步之后继续")
    with _ctrl_c() as pressed, _progress(console) as progress:
        _learn(run, tokenizer, length, checkpoint, pressed, progress)
    write_curve(run.curve, out / CURVE)
    if pressed.is_set():
        console.print(
            f"Stopped after step {run.step}; the same command goes on from there. · "
            f"停在第 {run.step} 步之后；再次运行同一命令即可继续。",
            soft_wrap=True,
        )
        raise KeyboardInterrupt
    finish(run, tokenizer, out)
    checkpoint.unlink()


def make_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The tokenizer, made from stories of the training split; the same recipe gives the same one."""
    stories = STORY_WORLD.stories(recipe.tokenizer_stories, recipe.seed, "train")
    texts = (story.text(language) for story in stories for language in LANGUAGES)
    return pretrained(train_tokenizer(texts, recipe.vocabulary))


def begin(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, device: torch.device) -> Run:
    """A run before its first step."""
    torch.manual_seed(recipe.seed)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=recipe.context,
        n_embd=recipe.n_embd,
        n_layer=recipe.n_layer,
        n_head=recipe.n_head,
        # No story is seen twice, so there is nothing to guard against with dropout.
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        # The same function as GPT-2's gelu_new, in one kernel instead of eight.
        activation_function="gelu_pytorch_tanh",
        # With heads of 32 dimensions, on a CPU plain matrix products are quicker than the fused kernel.
        attn_implementation="eager" if device.type == "cpu" else "sdpa",
    )
    model = GPT2LMHeadModel(config).to(device).train()
    return Run(recipe, model, make_optimizers(model, recipe))


def make_optimizers(model: GPT2LMHeadModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the embeddings and the vectors."""
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and ".h." in name]
    chosen = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    # Muon makes the steps of a matrix equally long in all directions: after the same number of steps the loss was lower
    # than AdamW's, which keeps the embeddings and the vectors. Jordan, 2024, https://kellerjordan.github.io/posts/muon
    return [
        torch.optim.Muon(hidden, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def training_rows(tokenizer: PreTrainedTokenizerFast, recipe: Recipe, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A step's rows of tokens and the tokens to predict: (rows, context) each, the same whenever they are drawn.

    One row is a drill, the others tell stories, in English and Chinese by turns.
    """
    rng = random.Random(f"{recipe.seed} {step}")
    rows = [
        (drill_row if i == step % recipe.rows else story_row)(tokenizer, recipe.context, rng, LANGUAGES[i % 2])
        for i in range(recipe.rows)
    ]
    inputs, targets = zip(*rows, strict=True)
    return torch.tensor(inputs), torch.tensor(targets)


def story_row(
    tokenizer: PreTrainedTokenizerFast, context: int, rng: random.Random, language: str
) -> tuple[list[int], list[int]]:
    """A stretch of stories with `<|endoftext|>` between them: `context` tokens, and those one place further on.

    Half of the rows begin with `<|endoftext|>`, a quarter with the first word of a story, a quarter anywhere in one:
    texts and windows on texts begin in all three ways.
    """
    ids = _story_ids(tokenizer, rng, language)
    start = (0, 0, 1, rng.randrange(len(ids)))[rng.randrange(4)]
    while len(ids) < start + context + 1:
        ids += _story_ids(tokenizer, rng, language)
    return ids[start : start + context], ids[start + 1 : start + context + 1]


def drill_row(
    tokenizer: PreTrainedTokenizerFast, context: int, rng: random.Random, language: str
) -> tuple[list[int], list[int]]:
    """3 to 64 different tokens of a story or two in random order, again and again; what comes again is predicted.

    Stories alone never ask for it: nothing in them is random and said twice. So no head would learn to look for what
    followed the same token before (Olsson et al., 2022, "In-context Learning and Induction Heads").
    """
    length = round(3 * (64 / 3) ** rng.random())  # as often between 3 and 6 as between 32 and 64
    known: dict[int, None] = {}
    while len(known) < length:
        known |= dict.fromkeys(_story_ids(tokenizer, rng, language)[1:])
    ids = rng.sample([*known], length) * (context // length + 2)
    return ids[:context], [NOT_SCORED] * length + ids[length + 1 : context + 1]


def _story_ids(tokenizer: PreTrainedTokenizerFast, rng: random.Random, language: str) -> list[int]:
    return tokenizer(END_OF_TEXT + STORY_WORLD.sample(rng, "train").text(language)).input_ids


def learning_rate(recipe: Recipe, step: int, done: float) -> float:
    """The learning rate at a step, when the part `done` of the run is over: a linear warm-up, a cosine down to 0."""
    return recipe.learning_rate * min(1, (step + 1) / recipe.warm_up) * (1 + math.cos(math.pi * done)) / 2


def learn_step(run: Run, parts: Sequence[tuple[torch.Tensor, torch.Tensor]], rate: float) -> float:
    """One step at the learning rate `rate`; returns the loss in nats per token.

    parts: inputs and targets (B, T) each; B and T may differ from part to part. Their gradients are added up, so how a
    batch is cut into parts changes the time and the memory that it takes and nothing else.
    """
    device = run.model.device
    scored = sum((targets != NOT_SCORED).sum().item() for _, targets in parts)
    total = torch.zeros((), device=device)
    for inputs, targets in parts:
        with torch.autocast(device.type, torch.bfloat16):
            logits = run.model(inputs.to(device), use_cache=False).logits
        target = targets.to(device).flatten()
        loss = F.cross_entropy(logits.float().flatten(0, 1), target, reduction="sum") / scored
        loss.backward()
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.recipe.clip)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    return total.item()


def _learn(
    run: Run,
    tokenizer: PreTrainedTokenizerFast,
    length: Length,
    checkpoint: Path,
    pressed: threading.Event,
    progress: Progress,
) -> None:
    """Step after step until the length is reached or Ctrl-C was pressed, with checkpoints."""
    recipe = run.recipe
    validation = Validation(recipe, tokenizer)
    task = progress.add_task("", total=1.0, loss=math.nan, floor=validation.floor, speed=0)
    # On a CPU a few rows at a time stay in its cache, which makes them three times as fast as all at once.
    few = 4 if run.model.device.type == "cpu" else recipe.rows
    saved = last = time.monotonic()
    while (done := length.done(run.step, run.seconds)) < 1 and not pressed.is_set():
        inputs, targets = training_rows(tokenizer, recipe, run.step)
        rate = learning_rate(recipe, run.step, done)
        loss = learn_step(run, list(zip(inputs.split(few), targets.split(few), strict=True)), rate)
        run.losses.append(loss)
        run.step += 1
        if run.step % recipe.steps_between_validations == 0:
            run.curve.append(validation.row(run))
            run.losses.clear()
        now = time.monotonic()
        speed, last = recipe.rows * recipe.context / (now - last), now
        run.seconds += recipe.rows * recipe.context / speed
        if now - saved > SECONDS_BETWEEN_CHECKPOINTS:
            run.save(checkpoint)
            write_curve(run.curve, checkpoint.with_name(CURVE))
            saved = now
        progress.update(task, completed=done, loss=loss, speed=speed)
    run.save(checkpoint)


class Validation:
    """Stories that the model never learns from, and how well the source itself predicts them."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerFast):
        self._tokenizer = tokenizer
        self._texts = {
            language: story_texts(language, recipe.validation_stories, recipe.seed, "validation")
            for language in LANGUAGES
        }
        self.source = {
            language: source_perplexity(tokenizer, texts, language) for language, texts in self._texts.items()
        }
        self.floor = sum(math.log(value) for value in self.source.values()) / len(LANGUAGES)
        """The source's own loss in nats per token, the mean of both languages."""

    def row(self, run: Run) -> dict[str, float]:
        """A line of the learning curve: where the run is, its mean loss since the line before, perplexities."""
        row = {
            "step": run.step,
            "tokens": run.step * run.recipe.rows * run.recipe.context,
            "train_loss": round(sum(run.losses) / len(run.losses), 4),
        }
        run.model.eval()
        for language, texts in self._texts.items():
            row[f"perplexity_{language}"] = round(perplexity(run.model, self._tokenizer, texts), 4)
            row[f"source_{language}"] = round(self.source[language], 4)
        run.model.train()
        return row


def write_curve(curve: list[dict[str, float]], path: Path) -> None:
    """Write the learning curve as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, curve[0] if curve else ["step"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(curve)


def finish(run: Run, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the model, its tokenizer and its model card."""
    model = run.model.eval()
    model.config.activation_function = "gelu_new"
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "README.md").write_text(model_card(run, tokenizer), encoding="utf-8")


def model_card(run: Run, tokenizer: PreTrainedTokenizerFast) -> str:
    """The model card, with perplexities on the test split that are measured here."""
    recipe, lines = run.recipe, []
    for language, name in zip(LANGUAGES, ("English", "中文"), strict=True):
        texts = story_texts(language, recipe.test_stories)
        model, source = perplexity(run.model, tokenizer, texts), source_perplexity(tokenizer, texts, language)
        lines.append(f"| {name} | {model:.3f} | {source:.3f} | {model / source:.3f} |")
    figures = "\n".join(lines)
    parameters = sum(p.numel() for p in run.model.parameters())
    return CARD.format(
        people=len(PEOPLE),
        plots=len(STORY_WORLD.plots),
        figures=figures,
        parameters=f"{parameters:,}",
        tokens=f"{run.step * recipe.rows * recipe.context:,}",
        step=f"{run.step:,}",
        minutes=f"{run.seconds / 60:.0f}",
        device=run.model.device.type,
        **{name: f"{value:,}" if name == "tokenizer_stories" else value for name, value in vars(recipe).items()},
    )


CARD = """\
---
language: [en, zh]
license: mit
library_name: transformers
pipeline_tag: text-generation
---
# story-gpt2

The GPT-2 of the book *Inside GPT-2 · 走进 GPT-2*: the architecture of OpenAI's GPT-2 (`GPT2LMHeadModel`), small
enough to come with the book, trained from random weights on the book's story world.
本书自带的 GPT-2：结构和 OpenAI 的 GPT-2 相同，只是小得多；从随机权重开始，在本书的故事世界上训练而成。

**Architecture · 结构.** {n_layer} layers, width {n_embd}, {n_head} heads, context {context}, {parameters} parameters
(embeddings tied), float32.

**Data · 数据.** Short stories, half in English, half in Chinese, from the training split of
`insidegpt.storyworld`, a probabilistic grammar, drawn anew for every step; none of the validation and test splits is
seen. Byte-level BPE with {vocabulary:,} entries, made from {tokenizer_stories} stories in both languages.
`<|endoftext|>` stands between stories. One row in {rows} is a drill instead: tokens of a story in random order, again
and again, of which only what comes again is predicted. Stories alone never ask to look for what followed the same
token before.
每 {rows} 行中有一行是练习：把故事里的词元打乱次序，反复出现，只预测重复的部分。
只读故事，学不会“找同一个词元上次出现之后是什么”。

**Recipe · 训练.** `insidegpt train`: {step} steps of {rows} rows, {tokens} tokens, {minutes} minutes
({device}, bfloat16 autocast). Muon for the matrices of the blocks, AdamW for the rest, learning rate {learning_rate}
with {warm_up} steps of warm-up and cosine decay, gradient norm cut at {clip}, no dropout, seed {seed}.
`learning_curve.csv` shows its course.

**Figures · 结果.** Perplexity per token on {test_stories} stories of the test split, each after `<|endoftext|>` and
with its end, beside that of the source, which no model can beat:

| | model · 模型 | source · 源 | ratio · 比值 |
|---|---|---|---|
{figures}

**Limits · 局限.** It knows the story world and nothing else: {people} names, a few hundred words, {plots}
kinds of stories. It cannot answer questions or hold a conversation, and text from elsewhere surprises it.
它只认识故事世界：{people} 个人名、几百个词、{plots} 种情节；不会回答问题，也不会聊天，别处的文字会让它困惑。
"""


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("loss {task.fields[loss]:.3f} · source {task.fields[floor]:.3f} nats/token"),
        BarColumn(),
        TextColumn("{task.fields[speed]:,.0f} tokens/s"),
        TimeRemainingColumn(),
        console=console,
    )


@contextlib.contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """Let a step end before Ctrl-C does its work: the event says that it was pressed."""
    pressed = threading.Event()
    before: Any = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
