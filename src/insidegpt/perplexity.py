"""The perplexity of a text longer than a model's window: sliding windows, and logits only where a target is scored."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from insidegpt.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Window(NamedTuple):
    """Reads the tokens begin … end - 1 and scores the targets first … end - 1, each from the tokens before it."""

    begin: int
    end: int
    first: int


@dataclass(frozen=True)
class Scores:
    """What a text costs a model.

    nats: -ln P summed over the targets; n_targets: how many those are, every token but the first; windows: how many
    were needed; recipe: the value of the loop on https://huggingface.co/docs/transformers/perplexity, which weighs
    every window alike and, with a stride as long as the window, scores no token at a seam (nan where its last window
    has no target at all).
    """

    nats: float
    n_targets: int
    windows: int
    recipe: float

    @property
    def perplexity(self) -> float:
        """exp of the mean nats per target."""
        return math.exp(self.nats / self.n_targets)


def sliding_windows(n_tokens: int, max_length: int, stride: int) -> list[Window]:
    """Windows of at most `max_length` tokens that score every token of a text but its first, each exactly once.

    A window begins `stride` tokens after the one before, and each target is scored in the first window that reads it,
    where it has the most context. A window must read the token before its first target, so a stride of `max_length`
    moves on by one token less. Raises UserError for fewer than two tokens, and for lengths that lose targets.
    """
    _require_lengths(n_tokens, max_length, stride)
    return _windows(n_tokens, max_length, min(stride, max_length - 1))


def strided_perplexity(
    model: "PreTrainedModel",
    ids: "torch.Tensor",
    stride: int,
    max_length: int | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a text of any length in sliding windows, on the model's device and in its dtype.

    model: a causal language model in evaluation mode; ids: (T,) or (1, T); max_length: tokens a window reads, without
    it as many as the model has positions; batch_size: windows at a time, which bounds the memory, whatever T is;
    without it 8, and 1 on a CPU, which a single window keeps busy; progress: called after each batch with the number
    of windows done and of all.
    Losses in float32, sums in float64. Raises UserError as `sliding_windows` does, and for a model whose logits are not
    its output embeddings times its last hidden states, as GPT-2's are.

    What a window has computed is of no use to the next: GPT-2 adds a position to each embedding, and the same token
    stands `stride` positions earlier there, so all its keys and values are others.
    """
    positions = model.config.max_position_embeddings
    max_length = positions if max_length is None else max_length
    if max_length > positions:
        raise UserError(
            f"The model has {positions} positions, so a window of {max_length} tokens does not fit: "
            f"take a max_length of at most {positions}.",
            f"模型只有 {positions} 个位置，放不下 {max_length} 个词元的窗口：max_length 至多取 {positions}。",
        )
    ids = ids.reshape(-1)
    windows = sliding_windows(len(ids), max_length, stride)
    _require_plain_head(model, ids[None, :2].to(model.device))
    recipe = _windows(len(ids), max_length, stride)
    distinct = {*windows, *recipe}  # the two differ only where the stride is as long as the window
    nats = {}
    for batch in _batches(distinct, batch_size or (1 if model.device.type == "cpu" else 8)):
        nats.update(zip(batch, _nats(model, ids, batch), strict=True))
        if progress is not None:
            progress(len(nats), len(distinct))
    means = [nats[w] / (w.end - w.first) if w.end > w.first else math.nan for w in recipe]
    return Scores(
        nats=math.fsum(nats[w] for w in windows),
        n_targets=sum(w.end - w.first for w in windows),
        windows=len(windows),
        recipe=math.exp(math.fsum(means) / len(means)),
    )


def _require_lengths(n_tokens: int, max_length: int, stride: int) -> None:
    if n_tokens < 2:
        raise UserError(
            f"The text has {n_tokens} token(s): it takes two at least, one to read and one to predict.",
            f"文本只有 {n_tokens} 个词元：至少要两个，一个用来读，一个用来预测。",
        )
    if max_length < 2:
        raise UserError(
            f"A window of {max_length} token(s) predicts nothing: take a max_length of at least 2.",
            f"{max_length} 个词元的窗口什么也预测不了：max_length 至少取 2。",
        )
    if not 1 <= stride <= max_length:
        raise UserError(
            f"A stride of {stride} would leave tokens out or never move on: take one from 1 to the window's "
            f"{max_length} tokens.",
            f"步长 {stride} 会漏掉词元，或停在原地：请取 1 到窗口长度 {max_length} 之间的值。",
        )


def _require_plain_head(model: "PreTrainedModel", ids: "torch.Tensor") -> None:
    import torch

    with torch.inference_mode():
        logits = model(ids, use_cache=False).logits
        ours = model.get_output_embeddings()(model.base_model(ids, use_cache=False).last_hidden_state)
    if not torch.allclose(logits, ours, rtol=1e-2, atol=1e-2):
        raise UserError(
            f"{type(model).__name__} does more to its logits than multiply hidden states by its output embeddings, so "
            "they cannot be computed for some positions alone here.",
            f"{type(model).__name__} 的 logits 不只是隐藏状态乘以输出嵌入，所以这里无法只算其中一部分位置。",
        )


def _windows(n_tokens: int, max_length: int, step: int) -> list[Window]:
    windows, begin, end = [], 0, 0
    while end < n_tokens:
        before, end = end, min(begin + max_length, n_tokens)
        windows.append(Window(begin, end, max(before, begin + 1)))
        begin += step
    return windows


def _shape(window: Window) -> tuple[int, int]:
    """Tokens to read and targets to score: windows that agree in both fit into one batch without padding."""
    return window.end - window.begin, window.end - window.first


def _batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    for _, alike in groupby(sorted(windows, key=_shape), key=_shape):
        alike = list(alike)
        for i in range(0, len(alike), size):
            yield alike[i : i + size]


def _nats(model: "PreTrainedModel", ids: "torch.Tensor", batch: list[Window]) -> list[float]:
    """-ln P of the targets of each window, summed; the windows are alike."""
    import torch
    from torch.nn.functional import cross_entropy

    head = model.get_output_embeddings()
    n = batch[0].end - batch[0].first
    if n == 0:  # the recipe's last window, when it has but one token
        return [0.0] * len(batch)
    with torch.inference_mode():
        rows = torch.stack([ids[w.begin : w.end] for w in batch]).to(model.device)  # (B, L)
        # The last token is only ever a target.
        hidden = model.base_model(rows[:, :-1], use_cache=False).last_hidden_state[:, -n:]  # (B, n, C)
        # On a CPU the logits of a chunk should stay in its cache; a GPU wants much to do at a time.
        chunk = 128 if model.device.type == "cpu" else 1024
        losses = [
            cross_entropy(head(h).float(), target, reduction="none")
            for h, target in zip(hidden.flatten(0, 1).split(chunk), rows[:, -n:].flatten().split(chunk), strict=True)
        ]
        return torch.cat(losses).cpu().view(len(batch), n).sum(1, dtype=torch.float64).tolist()
