"""Hidden reference tests of the chapter `perplexity`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insidegpt.checks import (
    ONCE,
    Case,
    Check,
    PropertyFailed,
    Text,
    describe,
    expect,
    expect_refused,
    expect_shape,
    expect_tensor,
    expect_tensors,
)
from insidegpt.models import quiet_transformers

EXACT = (torch.float32, torch.float64)
VOCABULARY = 7


def expect_pair(out: object, *names: str) -> tuple:
    """The pair of these names that an answer returned; fails with a sentence that says what came instead."""
    wanted = f"({', '.join(names)})"
    expect(
        isinstance(out, (tuple, list)) and len(out) == len(names),
        f"expected the pair {wanted}, got {type(out).__name__}",
        f"应返回一对 {wanted}，得到的是 {type(out).__name__}",
    )
    return tuple(out)


def expect_number(name: str, out: object) -> float:
    """The number that an answer returned: of Python, of numpy or a tensor without dimensions."""
    if isinstance(out, Tensor):
        expect_shape(name, out, ())
        out = out.item()
    expect(
        not isinstance(out, (str, bytes, bool)) and hasattr(out, "__float__"),
        f"{name} is of the type {type(out).__name__}; it should be a number",
        f"{name} 的类型是 {type(out).__name__}；应是一个数",
    )
    return float(out)


def near(got: float, right: float, tolerance: float = 1e-4) -> bool:
    return abs(got - right) <= tolerance * max(1.0, abs(right))


def expect_near(
    name: str, got: float, right: float, mistakes: Callable[[], dict[Text, float]] = dict, tolerance: float = 1e-4
) -> None:
    """Fail unless the number is close to the right one; the first of the mistakes that gives it makes the message."""
    if near(got, right, tolerance):
        return
    for sentence, value in mistakes().items():
        expect(near(value, right, tolerance) or not near(got, value, tolerance), *sentence)
    raise PropertyFailed(f"{name} is {got:.5g}; it should be {right:.5g}", f"{name} 是 {got:.5g}；应为 {right:.5g}")


# --- shifted_cross_entropy ------------------------------------------------------------------------------------

shifted_cross_entropy = Check("shifted_cross_entropy")


def random_labels(case: Case, *shape: int) -> Tensor:
    return case.randn(*shape, VOCABULARY).argmax(-1)


def loss_reference(logits: Tensor, labels: Tensor, ignore: int = -100) -> tuple[Tensor, int]:
    """The loss in float64, and the number of labels scored."""
    rows = logits[..., :-1, :].double().reshape(-1, logits.shape[-1])
    targets = labels[..., 1:].reshape(-1)
    kept = targets != ignore
    log_p = rows[kept].log_softmax(-1)
    return -log_p.gather(-1, targets[kept, None]).mean(), int(kept.sum())


def plain_loss(rows: Tensor, targets: Tensor, ignore: int, **options) -> Tensor:
    vocabulary = rows.shape[-1]
    return F.cross_entropy(rows.double().reshape(-1, vocabulary), targets.reshape(-1), ignore_index=ignore, **options)


def loss_mistakes(logits: Tensor, labels: Tensor, ignore: int = -100) -> dict[Text, Tensor]:
    """What known mistakes give in place of the loss."""
    right, n = loss_reference(logits, labels, ignore)
    total = right * n
    rows, targets = logits[..., :-1, :], labels[..., 1:]
    found = {
        (
            "row t was scored against label t: there is no shift, and row t speaks of label t + 1",
            "第 t 行与标签 t 相比：没有错开一位；第 t 行说的是标签 t + 1",
        ): plain_loss(logits, labels, ignore),
        (
            "row t was scored against label t - 1: the shift goes the wrong way",
            "第 t 行与标签 t - 1 相比：错开的方向反了",
        ): plain_loss(logits[..., 1:, :], labels[..., :-1], ignore),
        (
            "the sum was divided by all labels, the ignored ones included; divide by those that are scored",
            "除以了全部标签的个数，把略过的也算了进去；应除以计分的个数",
        ): total / max(1, targets.numel()),
        (
            "the sum was divided by the number of labels before the shift",
            "除以的是错位之前的标签个数",
        ): total / max(1, int((labels != ignore).sum())),
        (
            "this is the sum; return the mean over the scored labels",
            "这是总和；应返回计分标签的平均",
        ): total,
        (
            "the last row was scored against the first label: nothing comes after the last row, so cut it off",
            "最后一行与第一个标签相比：最后一行之后什么也没有，应把它切掉",
        ): plain_loss(logits, labels.roll(-1, -1), ignore),
        ("this is the perplexity; return its logarithm, the loss", "这是困惑度；应返回它的对数，即损失"): right.exp(),
        ("the loss is in bits; use the natural logarithm", "损失的单位是比特；应使用自然对数"): right / math.log(2),
        ("the loss has the wrong sign", "损失的符号反了"): -right,
    }
    if labels.dim() > 1:
        each = [
            plain_loss(r, t, ignore)
            for r, t in zip(rows.flatten(0, -3), targets.flatten(0, -2), strict=True)
            if bool((t != ignore).any())
        ]
        found[
            "each text of the batch was averaged by itself; each scored token has the same weight",
            "批次中每段文本先各自平均了；每个计分的词元权重都一样",
        ] = torch.stack(each).mean()
    if ignore >= 0:
        found[
            "ignore_index was not used: -100 was ignored in its place",
            "没有用到 ignore_index：略过的还是 -100",
        ] = plain_loss(rows, targets, -100)
    return found


def loss_pair(case: Case, out: object) -> tuple[Tensor, float]:
    loss, n = expect_pair(out, "loss", "n")
    expect(
        not (isinstance(n, Tensor) and n.is_floating_point()),
        "n is a tensor of floating numbers; the loss stands first, the number of scored labels second",
        "n 是浮点张量；损失在前，计分的标签数在后",
    )
    return expect_tensor(loss), expect_number("n", n)


def expect_loss(answer: Callable, case: Case, logits: Tensor, labels: Tensor, *ignore: int) -> None:
    """Fail unless loss and number of scored labels are right."""
    right, n = loss_reference(logits, labels, *ignore)
    mistakes = loss_mistakes(logits, labels, *ignore)
    loss, counted = loss_pair(case, answer(logits.clone(), labels.clone(), *ignore))
    case.expect_close(loss, right, {k: v for k, v in mistakes.items() if not case.close(v, right)})
    before = int((labels != (ignore[0] if ignore else -100)).sum())
    mistaken = {
        (
            f"n is {before}: it counts the first label too, which is never scored",
            f"n 是 {before}：把从不计分的第一个标签也算了进去",
        ): before,
        (
            "n counts the ignored labels too",
            "n 把略过的标签也算了进去",
        ): labels[..., 1:].numel(),
    }
    expect_near("n", counted, n, lambda: mistaken)


SEED_ROWS = [  # torch.randn(3, 5) with seed 42, to four digits, and one more row
    [0.3367, 0.1288, 0.2345, 0.2303, -1.1229],
    [-0.1863, 2.2082, -0.6380, 0.4617, 0.2674],
    [0.5349, 0.8094, 1.1103, -1.6898, -0.9890],
    [1.0, -2.0, 3.0, 0.5, -0.5],
]


@shifted_cross_entropy.property("known numbers, with -100 and without", "已知的数值，有 -100 与没有", weight=3)
def loss_golden(answer, case):
    logits = case.tensor(SEED_ROWS)
    for labels, golden in (([1, 0, 4, 3], 2.4607), ([-100, 0, 4, -100], 1.8357)):
        labels = torch.tensor(labels, device=case.device)
        right, _ = loss_reference(logits, labels)
        assert near(right.item(), golden, 2e-2 if case.dtype in (torch.float16, torch.bfloat16) else 1e-4)
        expect_loss(answer, case, logits, labels)


@shifted_cross_entropy.property("row t speaks of label t + 1", "第 t 行说的是标签 t + 1", EXACT, weight=3)
def loss_shift(answer, case):
    for length in (2, 5, 9):
        expect_loss(answer, case, 2 * case.randn(length, VOCABULARY), random_labels(case, length))
    logits, labels = case.randn(6, VOCABULARY), random_labels(case, 6)
    right, _ = loss_reference(logits, labels)
    logits[-1] = 50 * torch.arange(VOCABULARY, device=case.device)  # speaks of nothing
    labels[0] = (labels[0] + 1) % VOCABULARY  # nothing speaks of it
    loss, _ = loss_pair(case, answer(logits, labels))
    case.expect_close(
        loss,
        right,
        otherwise=("the last row or the first label changed the loss", "最后一行或第一个标签改变了损失"),
    )


@shifted_cross_entropy.property(
    "ignored labels count neither in the sum nor in n", "略过的标签不进总和，也不进 n", EXACT, weight=3
)
def loss_ignored(answer, case):
    for ignore in (-100, 0, 3, -1):
        logits, labels = 2 * case.randn(2, 8, VOCABULARY), random_labels(case, 2, 8)
        labels[0, 2:5] = labels[1, 5] = labels[1, 0] = ignore
        expect_loss(answer, case, logits, labels, *([] if ignore == -100 else [ignore]))
    logits, labels = case.randn(6, VOCABULARY), random_labels(case, 6)
    labels[3] = labels[4] = -100
    right, _ = loss_reference(logits, labels)
    logits[2:4] = 30 * logits[2:4].flip(-1)  # the rows that speak of the ignored labels
    loss, _ = loss_pair(case, answer(logits, labels))
    case.expect_close(
        loss, right, otherwise=("a row whose label is ignored changed the loss", "标签已略过的一行改变了损失")
    )


@shifted_cross_entropy.property("equals the model's own loss", "等于模型自己的损失", EXACT)
def loss_of_model(answer, case):
    model, ids = small_model(case), random_labels(case, 2, 6)
    labels = ids.clone()
    labels[0, :3] = -100
    with torch.no_grad():
        logits, right = model(ids).logits, model(ids, labels=labels).loss
    loss, _ = loss_pair(case, answer(logits.clone(), labels.clone()))
    case.expect_close(loss, right, loss_mistakes(logits, labels))


@shifted_cross_entropy.property("one mean over the tokens of any batch", "无论怎样的批次，都对词元求一个平均", ONCE)
def loss_batch(answer, case):
    expect_loss(answer, case, case.randn(2, 5, VOCABULARY), random_labels(case, 2, 5))
    for lead in ((), (1,), (3,), (2, 3)):
        logits, labels = 2 * case.randn(*lead, 5, VOCABULARY), random_labels(case, *lead, 5)
        labels.view(-1, 5)[0, 1:4] = -100  # so that the texts have different numbers of tokens
        try:
            expect_loss(answer, case, logits, labels)
        except (RuntimeError, ValueError, IndexError) as error:
            said = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise PropertyFailed(
                f"logits of shape {tuple(logits.shape)} raised: {said}; cut with [..., :-1, :], then flatten",
                f"形状为 {tuple(logits.shape)} 的 logits 抛出异常：{said}；先用 [..., :-1, :] 切，再展平",
            ) from None


@shifted_cross_entropy.property("large logits do not overflow", "logits 很大也不溢出")
def loss_large(answer, case):
    logits = case.tensor([[10000.0, 9000, 0], [0, -10000, -9000], [10000, 10000, 10000], [1, 2, 3]])
    labels = torch.tensor([0, 0, 0, 2], device=case.device)
    right, _ = loss_reference(logits, labels)
    wrong = (
        "large logits gave a wrong loss: subtract the row's maximum before anything is added up, as log_softmax does",
        "logits 很大时，损失不对：求和之前先减去该行的最大值，log_softmax 就是这样做的",
    )
    case.expect_close(loss_pair(case, answer(logits, labels))[0], right, otherwise=wrong)
    low = case.tensor([[0.0, 10000], [0, 0]])
    right = torch.tensor(10000.0)
    loss, _ = loss_pair(case, answer(low, torch.tensor([0, 0], device=case.device)))
    case.expect_close(loss, right, otherwise=wrong)


@shifted_cross_entropy.property("nothing to score is an error that says so", "没有可计分的就报错并说明", ONCE)
def loss_nothing(answer, case):
    logits = case.randn(2, 4, VOCABULARY)
    labels = random_labels(case, 2, 4)
    expect_loss(answer, case, logits, labels)
    ignored = torch.full_like(labels, -100)
    first = ignored.clone()
    first[:, 0] = 3  # never scored
    for what, given in (
        (("a batch with all labels ignored", "标签全被略过的批次"), (logits, ignored)),
        (("a batch whose first labels alone count", "只有第一个标签有效的批次"), (logits, first)),
        (("a text of one token", "只有一个词元的文本"), (logits[:, :1], labels[:, :1])),
    ):
        expect_refused(lambda given=given: answer(*given), what)


@shifted_cross_entropy.property("leaves the labels as they were", "不改动 labels", ONCE)
def loss_labels_kept(answer, case):
    logits, labels = case.randn(2, 5, VOCABULARY), random_labels(case, 2, 5)
    labels[:, 2] = -100
    before = labels.clone()
    loss, _ = loss_pair(case, answer(logits, labels))
    expect(torch.equal(labels, before), "labels were changed in place", "labels 被原地修改了")
    case.expect_close(loss, loss_reference(logits, before)[0], loss_mistakes(logits, before))


def loss_of_logits(answer: Callable, case: Case) -> Callable:
    labels = torch.tensor([[1, 3, 0, -100], [2, 2, 5, 6]], device=case.device)
    return lambda logits: loss_pair(case, answer(logits, labels))[0]


shifted_cross_entropy.add_standard_properties(lambda case: (case.randn(2, 4, VOCABULARY),), loss_of_logits)


# --- windows --------------------------------------------------------------------------------------------------

windows = Check("windows")

SIZES = [
    (10, 4, 3), (11, 4, 3), (12, 4, 3), (7, 4, 4), (8, 4, 4), (9, 4, 4), (25, 8, 4), (26, 8, 4), (23, 8, 1),
    (50, 8, 5), (9, 8, 8), (9, 8, 2), (17, 2, 1), (16, 2, 2), (40, 16, 16), (5, 4, 2),
]  # fmt: skip


def right_windows(n_tokens: int, max_length: int, stride: int) -> list[tuple[int, int, int]]:
    step, laid, end = min(stride, max_length - 1), [], n_tokens
    while end > max_length:
        laid.append((end - max_length, end, end - step))
        end -= step
    return [(0, end, 1), *reversed(laid)] if n_tokens > 1 else []


def chapter_windows(n_tokens: int, max_length: int, stride: int) -> list[tuple[int, int, int]]:
    """Windows from the beginning of the text, the last one ragged."""
    laid, first = [], 1
    for begin in range(0, n_tokens - 1, min(stride, max_length - 1)):
        end = min(begin + max_length, n_tokens)
        laid.append((begin, end, first))
        first = end
        if end == n_tokens:
            break
    return laid


def window_list(answer: Callable, n_tokens: int, max_length: int, stride: int) -> list[tuple[int, int, int]]:
    """The answer's windows as plain tuples; fails with a sentence when they are none."""
    out = answer(n_tokens, max_length, stride)
    call = f"windows({n_tokens}, {max_length}, {stride})"
    expect(
        not isinstance(out, (str, dict)) and hasattr(out, "__iter__"),
        f"{call} returned {type(out).__name__}; return a list of (begin, end, first)",
        f"{call} 返回的是 {type(out).__name__}；应返回 (begin, end, first) 的列表",
    )
    laid = []
    for window in out.tolist() if isinstance(out, Tensor) else out:
        parts = [*window] if hasattr(window, "__iter__") else []
        expect(
            len(parts) == 3,
            f"{call} holds {window!r}; each window is (begin, end, first), three whole numbers",
            f"{call} 里有 {window!r}；每个窗口应是 (begin, end, first) 三个整数",
        )
        laid.append(tuple(operator.index(x.item() if isinstance(x, Tensor) else x) for x in parts))
        expect(
            len(laid) <= n_tokens + 1,
            f"{call} has more windows than tokens",
            f"{call} 的窗口比词元还多",
        )
    return laid


def scored_times(laid: list[tuple[int, int, int]], n_tokens: int) -> list[int]:
    times = [0] * max(n_tokens, max((end for _, end, _ in laid), default=0))
    for _, end, first in laid:
        for token in range(max(0, first), end):
            times[token] += 1
    return times


@windows.property(
    "every token but the first is scored exactly once", "除第一个以外，每个词元恰好计分一次", ONCE, weight=3
)
def windows_once(answer, case):
    for size in SIZES:
        laid = window_list(answer, *size)
        times, call = scored_times(laid, size[0]), f"windows{size}"
        n_tokens, max_length, stride = size
        expect(  # else a single window, or one for each token, would do
            all(end - begin < n_tokens for begin, end, _ in laid),
            f"{call} reads the whole text in one window, and only {max_length} tokens fit",
            f"{call} 用一个窗口读完了整段文本，而一个窗口只放得下 {max_length} 个词元",
        )
        expect(
            len(laid) < n_tokens - 1 or stride == 1 or max_length == 2,
            f"{call} has a window for each token: stride was not used",
            f"{call} 每个词元都有一个窗口：没有用到 stride",
        )
        expect(
            len(times) == size[0],
            f"{call} scores tokens beyond the text, up to {len(times) - 1}",
            f"{call} 给文本之外的词元计了分，直到 {len(times) - 1}",
        )
        expect(
            times[0] == 0,
            f"{call} scores token 0, which nothing predicts: the first window scores from 1 on",
            f"{call} 给词元 0 计了分，而没有谁预测它：第一个窗口从 1 开始计分",
        )
        lost = [token for token in range(1, size[0]) if times[token] == 0]
        expect(
            not lost,
            f"{call} never scores {lost[:4]}: targets are lost at a seam or at an end",
            f"{call} 从未给 {lost[:4]} 计分：在接缝或两端丢了目标",
        )
        twice = [token for token in range(1, size[0]) if times[token] > 1]
        expect(
            not twice,
            f"{call} scores {twice[:4]} more than once: `first` must skip what an earlier window scored",
            f"{call} 给 {twice[:4]} 计了不止一次分：`first` 要跳过前面窗口已计分的",
        )


@windows.property("a target has the token before it in its window", "目标的前一个词元也在窗口里", ONCE)
def windows_context(answer, case):
    for size in SIZES:
        n_tokens, max_length, stride = size
        laid, call = window_list(answer, *size), f"windows{size}"
        expect(bool(laid), f"{call} is empty", f"{call} 是空的")
        for begin, end, first in laid:
            expect(
                0 <= begin < first < end <= n_tokens,
                f"{call} holds ({begin}, {end}, {first}): the window must begin before its first target, "
                "or that target has nothing to be predicted from",
                f"{call} 里有 ({begin}, {end}, {first})：窗口要从第一个目标之前开始，否则那个目标无从预测",
            )
            expect(
                end - begin <= max_length,
                f"{call} holds ({begin}, {end}, {first}), which reads {end - begin} tokens; at most {max_length} fit",
                f"{call} 里有 ({begin}, {end}, {first})，读 {end - begin} 个词元；至多放得下 {max_length} 个",
            )
            least = min(first, max_length - min(stride, max_length - 1))
            expect(
                first - begin >= least,
                f"{call} holds ({begin}, {end}, {first}): its first target sees {first - begin} tokens; "
                f"it could see {least}",
                f"{call} 里有 ({begin}, {end}, {first})：第一个目标只看得到 {first - begin} 个词元；"
                f"本可看到 {least} 个",
            )


@windows.property("all windows but the first are alike", "除第一个以外，窗口都一样", ONCE, weight=3)
def windows_alike(answer, case):
    for size in SIZES:
        right, laid, call = right_windows(*size), window_list(answer, *size), f"windows{size}"
        expect(
            laid != chapter_windows(*size) or laid == right,
            f"{call} is laid from the beginning, with a ragged last window; lay it from the end",
            f"{call} 是从开头铺起的，最后一个窗口不齐；应从末尾铺起",
        )
        expect(
            laid != right[::-1] or laid == right,
            f"{call} goes from right to left; return the windows from left to right",
            f"{call} 是从右到左的；应从左到右返回",
        )
        expect(
            len(laid) <= len(right),
            f"{call} has {len(laid)} windows; {len(right)} are enough",
            f"{call} 有 {len(laid)} 个窗口；{len(right)} 个就够了",
        )
        step = min(size[2], size[1] - 1)
        for begin, end, first in laid[1:]:
            expect(
                (end - begin, end - first) == (size[1], step),
                f"{call} holds ({begin}, {end}, {first}), which reads {end - begin} and scores {end - first} tokens; "
                f"all but the first read {size[1]} and score {step}",
                f"{call} 里有 ({begin}, {end}, {first})，读 {end - begin} 个、计分 {end - first} 个；"
                f"除第一个以外，都应读 {size[1]} 个、计分 {step} 个",
            )
        expect(laid == right, f"{call} is {laid}; it should be {right}", f"{call} 是 {laid}；应为 {right}")


@windows.property("a text that fits needs one window", "放得下的文本只要一个窗口", ONCE)
def windows_one(answer, case):
    expect(
        window_list(answer, 9, 4, 2) == right_windows(9, 4, 2),
        "windows(9, 4, 2) is wrong already",
        "windows(9, 4, 2) 已经不对",
    )
    for n_tokens, max_length, stride in ((4, 4, 4), (4, 4, 1), (2, 8, 3), (7, 8, 8), (2, 2, 1)):
        laid = window_list(answer, n_tokens, max_length, stride)
        call = f"windows({n_tokens}, {max_length}, {stride})"
        expect(
            laid == [(0, n_tokens, 1)],
            f"{call} is {laid}; the whole text fits into one window, [(0, {n_tokens}, 1)]",
            f"{call} 是 {laid}；整段文本放得进一个窗口，即 [(0, {n_tokens}, 1)]",
        )


@windows.property("without a target there is no window", "没有目标就没有窗口", ONCE)
def windows_none(answer, case):
    expect(
        window_list(answer, 5, 4, 2) == right_windows(5, 4, 2),
        "windows(5, 4, 2) is wrong already",
        "windows(5, 4, 2) 已经不对",
    )
    for n_tokens in (0, 1):
        laid = window_list(answer, n_tokens, 4, 2)
        expect(
            laid == [],
            f"a text of {n_tokens} tokens gave {laid}; it has no target, so the list is empty",
            f"{n_tokens} 个词元的文本得到 {laid}；它没有目标，列表应为空",
        )


@windows.property("refuses a stride that loses targets", "拒绝会丢目标的步长", ONCE)
def windows_refused(answer, case):
    for size in ((9, 4, 4), (9, 4, 1), (9, 2, 2)):
        expect(
            window_list(answer, *size) == right_windows(*size),
            f"windows{size} is wrong already",
            f"windows{size} 已经不对",
        )
    for size in ((9, 4, 5), (9, 4, 0), (9, 4, -2), (9, 1, 1), (3, 4, 6), (1, 4, 5)):
        # a generator refuses when it is asked for the first window
        expect_refused(lambda size=size: [*answer(*size)], (f"windows{size}", f"windows{size}"), size[1:])


# --- strided_perplexity ---------------------------------------------------------------------------------------

strided_perplexity = Check("strided_perplexity")


class BigramModel(nn.Module):
    """The exercises' smallest language model: row i of `table` holds the logits of what follows token i."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, ids: Tensor) -> SimpleNamespace:  # (B, T)
        return SimpleNamespace(logits=self.table[ids])  # (B, T, V)


def small_model(case: Case) -> nn.Module:
    """A GPT-2 with random weights and 32 positions, whose predictions depend on the whole context."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=32, n_embd=8, n_layer=2, n_head=2,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    quiet_transformers()  # nbgrader gives nothing to a cell that writes to stderr
    model = transformers.GPT2LMHeadModel(config)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * (1.0 if parameter.dim() > 1 else 0.5))
    return model.to(case.device, case.dtype).eval()


def texts_of(case: Case, *lengths: int) -> list[Tensor]:
    return [random_labels(case, length) for length in lengths]


def window_nats(model: Callable, text: Tensor, begin: int, end: int, first: int) -> Tensor:
    """Nats of the targets first … end - 1 of one window, in float64."""
    with torch.no_grad():
        logits = model(text[None, begin:end]).logits[0].double()
    rows, targets = logits[first - 1 - begin : end - 1 - begin], text[first:end]
    return -rows.log_softmax(-1).gather(-1, targets[:, None])[:, 0]


def corpus_nats(model: Callable, texts: list[Tensor], max_length: int, stride: int) -> list[list[Tensor]]:
    """For each text, the nats of each of its windows."""
    return [[window_nats(model, t, *w) for w in chapter_windows(len(t), max_length, stride)] for t in texts]


def corpus_mistakes(
    model: Callable, texts: list[Tensor], max_length: int, stride: int, batch_size: int
) -> dict[Text, float]:
    """What known mistakes give in place of the perplexity."""
    each = corpus_nats(model, texts, max_length, stride)
    flat = [nats for of_text in each for nats in of_text]
    everything = torch.cat(flat)
    batches = [torch.cat(flat[i : i + batch_size]) for i in range(0, len(flat), batch_size)]
    joined = torch.cat(corpus_nats(model, [torch.cat(texts)], max_length, stride)[0])
    spans = [(t, w) for t in texts for w in chapter_windows(len(t), max_length, stride)]
    again = torch.cat([window_nats(model, t, b, e, b + 1) for t, (b, e, _) in spans])
    seams = torch.cat([window_nats(model, t, b, e, f + (f > 1)) for t, (b, e, f) in spans])
    cut = torch.cat([torch.cat(of_text[:1]) for of_text in each if of_text])
    fixed = torch.cat([n for of_text in corpus_nats(model, texts, max_length, max_length - 1) for n in of_text])
    whole = torch.cat([window_nats(model, t, 0, len(t), 1) for t in texts if len(t) > 1])
    padded = []
    for i in range(0, len(spans), batch_size):
        group = spans[i : i + batch_size]
        rows = nn.utils.rnn.pad_sequence([t[b:e] for t, (b, e, _) in group], batch_first=True)
        for row, (_, (b, _, f)) in zip(rows, group, strict=True):
            padded.append(window_nats(model, row, 0, len(row), f - b))
    return {
        (
            "the means of the windows were averaged; each target has the same weight",
            "先求了各窗口的平均，再求平均；每个目标的权重都一样",
        ): torch.stack([n.mean() for n in flat]).mean().exp().item(),
        (
            "the means of the texts were averaged; each target has the same weight",
            "先求了各文本的平均，再求平均；每个目标的权重都一样",
        ): torch.stack([torch.cat(n).mean() for n in each if n]).mean().exp().item(),
        (
            "the means of the batches were averaged; each target has the same weight",
            "先求了各批次的平均，再求平均；每个目标的权重都一样",
        ): torch.stack([n.mean() for n in batches]).mean().exp().item(),
        (
            "this is a mean of perplexities; take the mean before the exponential",
            "这是困惑度的平均；应先平均，再取指数",
        ): torch.stack([torch.cat(n).mean().exp() for n in each if n]).mean().item(),
        ("this is the mean loss; its exponential is the perplexity", "这是平均损失；取指数才是困惑度"): (
            everything.mean().item()
        ),
        ("padding was scored: what fills up a row is no target", "给填充计了分：补齐用的不是目标"): (
            torch.cat(padded).mean().exp().item()
        ),
        (
            "the texts were joined: a text was read together with the one before it",
            "把各段文本连起来了：一段文本与前一段放在一起读",
        ): joined.mean().exp().item(),
        (
            "targets were scored again in the overlap: a window scores from `first` on",
            "重叠的部分又计了一遍分：窗口从 `first` 开始计分",
        ): again.mean().exp().item(),
        (
            "a target is lost at each seam: a window scores from `first` on, `first` included",
            "每个接缝丢了一个目标：窗口从 `first` 开始计分，包括 `first`",
        ): seams.mean().exp().item(),
        ("only the first window of each text was scored", "每段文本只给第一个窗口计了分"): cut.mean().exp().item(),
        ("stride was not used: these are windows without overlap", "没有用到 stride：这是不重叠的窗口"): (
            fixed.mean().exp().item()
        ),
        (
            "max_length was not used: each text was read in one piece",
            "没有用到 max_length：每段文本都一次读完了",
        ): (whole.mean().exp().item()),
    }


def expect_corpus(
    answer: Callable, model: Callable, texts: list[Tensor], max_length: int, stride: int, batch_size: int
) -> None:
    """Fail unless perplexity and number of targets are those of reading each window by itself."""
    nats = torch.cat([n for of_text in corpus_nats(model, texts, max_length, stride) for n in of_text])
    out = answer(model, [t.clone() for t in texts], max_length, stride, batch_size)
    got, n = expect_pair(out, "perplexity", "n")
    expect_near(
        "perplexity",
        expect_number("perplexity", got),
        nats.mean().exp().item(),
        lambda: corpus_mistakes(model, texts, max_length, stride, batch_size),
        tolerance=1e-3,
    )
    tokens = sum(map(len, texts))
    wrong = {
        (
            f"n is {tokens}, the number of tokens; the first of each text is no target",
            f"n 是 {tokens}，即词元的个数；每段文本的第一个不是目标",
        ): tokens,
        ("n is the number of windows; count the targets", "n 是窗口的个数；应数目标"): sum(
            len(chapter_windows(len(t), max_length, stride)) for t in texts
        ),
    }
    expect_near("n", expect_number("n", n), len(nats), lambda: wrong)


@strided_perplexity.property("equals reading each window by itself", "等于逐个窗口单独计算", EXACT, weight=3)
def corpus_brute(answer, case):
    model = small_model(case)
    for lengths, max_length, stride, batch_size in (
        ((23,), 8, 4, 1), ((23, 9, 2), 8, 3, 3), ((12, 30), 16, 15, 2), ((8, 8, 8), 8, 4, 2), ((5, 17, 3, 11), 6, 2, 4),
    ):  # fmt: skip
        expect_corpus(answer, model, texts_of(case, *lengths), max_length, stride, batch_size)


@strided_perplexity.property("every target has the same weight", "每个目标的权重都一样", ONCE, weight=3)
def corpus_weights(answer, case):
    table = torch.zeros(VOCABULARY, VOCABULARY, device=case.device, dtype=case.dtype)
    table[0, 0] = 6.0  # 0 after 0 is expected, all else costs ln 7
    long, short = torch.zeros(18, dtype=torch.int64), torch.tensor([1, 2])
    for texts, batch_size in (((short, long, short), 2), ((long[:9], short, short, long), 3)):
        given = [t.to(case.device) for t in texts]
        expect_corpus(answer, BigramModel(table.clone()), given, 8, 4, batch_size)


@strided_perplexity.property("the batch size changes nothing", "批次大小不影响结果", ONCE, weight=3)
def corpus_batches(answer, case):
    model, texts = small_model(case), texts_of(case, 21, 4, 13)
    for batch_size in (1, 2, 3, 5, 64):
        expect_corpus(answer, model, texts, 8, 3, batch_size)


@strided_perplexity.property("batches are full and no larger than allowed", "批次装满而不超限", ONCE)
def corpus_calls(answer, case):
    model, seen = BigramModel(2 * case.randn(VOCABULARY, VOCABULARY)), []
    texts = texts_of(case, 19, 3, 12, 7)
    nats = torch.cat([n for of_text in corpus_nats(model, texts, 8, 4) for n in of_text])
    model.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape)))
    for batch_size in (1, 3, 4, 100):
        seen.clear()
        out = expect_pair(answer(model, [t.clone() for t in texts], 8, 4, batch_size), "perplexity", "n")
        expect_near("perplexity", expect_number("perplexity", out[0]), nats.mean().exp().item(), tolerance=1e-3)
        expect(
            all(len(shape) == 2 for shape in seen),
            f"the model was called with shapes {seen[:2]}; ids have the shape (B, t)",
            f"调用模型时的形状是 {seen[:2]}；ids 的形状应是 (B, t)",
        )
        rows, columns = max(shape[0] for shape in seen), max(shape[1] for shape in seen)
        expect(
            rows <= batch_size and columns <= 8,
            f"a call had {rows} rows of {columns} tokens; batch_size = {batch_size} and max_length = 8 allow no more",
            f"有一次调用是 {rows} 行、{columns} 个词元；batch_size = {batch_size}、max_length = 8 不允许更多",
        )
        least = math.ceil(sum(len(chapter_windows(len(t), 8, 4)) for t in texts) / batch_size)
        expect(
            len(seen) <= least,
            f"the model was called {len(seen)} times with batch_size = {batch_size}; full batches need {least} calls",
            f"batch_size = {batch_size} 时调用了 {len(seen)} 次模型；批次装满的话，{least} 次就够",
        )


@strided_perplexity.property("short texts, and no target at all", "很短的文本，以及没有目标", ONCE)
def corpus_short(answer, case):
    model = small_model(case)
    expect_corpus(answer, model, texts_of(case, 1, 6, 1, 2), 8, 4, 2)
    what = ("texts of one token each", "每段只有一个词元的文本")
    expect_refused(lambda: answer(model, texts_of(case, 1, 1), 8, 4, 2), what)
    expect_refused(lambda: answer(model, [], 8, 4, 2), ("an empty list of texts", "空的文本列表"))


@strided_perplexity.property(
    "thousands of targets in half precision", "半精度的模型，几千个目标", (torch.bfloat16, torch.float16)
)
def corpus_half(answer, case):
    table = 2 * case.randn(VOCABULARY, VOCABULARY)
    model, texts = BigramModel(table), texts_of(case, 3000, 1500)
    nats = -table.double().log_softmax(-1)
    right = torch.cat([nats[t[:-1], t[1:]] for t in texts]).mean().exp().item()
    got, _ = expect_pair(answer(model, texts, 512, 511, 4), "perplexity", "n")
    got = expect_number("perplexity", got)
    expect(
        math.isfinite(got),
        "the perplexity of a long text is not finite: a sum of nats overflowed",
        "长文本的困惑度不是有限的数：奈特数的总和溢出了",
    )
    sentence = (
        f"the perplexity of {case} logits is {got:.4g}; it should be {right:.4g}: "
        "add up in float64, a half one stops growing",
        f"{case} 的 logits，困惑度是 {got:.4g}；应为 {right:.4g}：要用 float64 累加，半精度加到一定大小就不再增加",
    )
    expect(near(got, right, 0.02), *sentence)


@strided_perplexity.property("leaves model and texts as they were", "不改动模型和文本", ONCE)
def corpus_untouched(answer, case):
    for training in (False, True):
        model, texts = small_model(case).train(training), texts_of(case, 9, 4)
        weights, before = {k: v.clone() for k, v in model.state_dict().items()}, [t.clone() for t in texts]
        got, _ = expect_pair(answer(model, texts, 6, 3, 2), "perplexity", "n")
        changed = [name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])]
        expect(not changed, f"weights were changed: {changed[:2]}", f"权重被改动了：{changed[:2]}")
        expect(
            model.training == training,
            f"the model came in {'training' if training else 'evaluation'} mode and left in the other",
            f"模型进来时是{'训练' if training else '评估'}模式，出去时却变了",
        )
        kept = len(texts) == len(before) and all(torch.equal(a, b) for a, b in zip(texts, before, strict=True))
        expect(kept, "the texts were changed in place", "文本被原地修改了")
        nats = torch.cat([n for of_text in corpus_nats(model.eval(), before, 6, 3) for n in of_text])
        expect_near("perplexity", expect_number("perplexity", got), nats.mean().exp().item(), tolerance=1e-3)


# --- bits_per_byte --------------------------------------------------------------------------------------------

bits_per_byte = Check("bits_per_byte")

STORY = ["Your journey starts.\n", "旅程，从这一步开始。", "café 🙂 ", "x"]


def expect_bits(
    answer: Callable, case: Case, nll: list[Tensor], text: list[str], otherwise: Text | None = None
) -> float:
    """Fail unless the answer's ratio is right; names the mistake where it is a known one."""
    right, mistakes = bits_reference(nll, text)
    got = expect_number("the result", answer([t.clone() for t in nll], [*text]))
    expect(
        math.isfinite(got),
        f"the result is {got}: a sum in {case.dtype} overflowed, or something was divided by 0",
        f"结果是 {got}：用 {case.dtype} 求和溢出了，或者除以了 0",
    )
    if otherwise and not near(got, right, 2e-3):
        raise PropertyFailed(*otherwise)
    expect_near("the result", got, right, lambda: mistakes, 2e-3)
    return got


def bits_reference(nll: list[Tensor], text: list[str]) -> tuple[float, dict[Text, float]]:
    nats = sum(float(t.double().sum()) for t in nll)
    n_bytes = sum(len(t.encode("utf-8")) for t in text)
    characters, tokens = sum(map(len, text)), sum(map(len, nll))
    bits = nats / math.log(2)
    ratios = [float(n.double().sum()) / math.log(2) / len(t.encode()) for n, t in zip(nll, text, strict=True) if t]
    mistakes = {
        ("these are bits per character; count the bytes of the UTF-8 text", "这是每字符的比特数；应数 UTF-8 的字节"): (
            bits / characters
        ),
        ("these are nats per byte; a bit is ln 2 nats", "这是每字节的奈特数；一个比特是 ln 2 奈特"): nats / n_bytes,
        ("the nats were multiplied by ln 2; divide by it", "奈特数乘了 ln 2；应除以它"): nats * math.log(2) / n_bytes,
        ("the base of the logarithm is not 2: divide the nats by ln 2", "对数的底不是 2：奈特数应除以 ln 2"): (
            nats / math.log(10) / n_bytes
        ),
        ("these are bits per token; divide by the bytes of the text", "这是每词元的比特数；应除以文本的字节数"): (
            bits / max(1, tokens)
        ),
        ("the mean nats were divided by the bytes; add them up", "用平均奈特数除以了字节数；应先求和"): (
            bits / max(1, tokens) / n_bytes
        ),
        (
            "the ratios of the texts were averaged; divide all bits by all bytes",
            "先算了各文本的比值，再求平均；应用全部比特除以全部字节",
        ): sum(ratios) / max(1, len(ratios)),
        ("the bytes are those of UTF-16; take UTF-8", "字节数是 UTF-16 的；应用 UTF-8"): (
            bits / max(1, sum(len(t.encode("utf-16")) for t in text))
        ),
        (
            "spaces or line ends were stripped before counting; they are bytes too",
            "数字节之前去掉了空格或换行；它们也是字节",
        ): bits / max(1, sum(len(t.strip().encode()) for t in text)),
        ("this is bytes per bit, upside down", "比值颠倒了，这是每比特的字节数"): n_bytes / bits if bits else 0.0,
        ("the bits were divided by 8 once more", "比特数又除以了 8"): bits / n_bytes / 8,
    }
    return n_bytes and bits / n_bytes, mistakes


def some_nats(case: Case, *lengths: int) -> list[Tensor]:
    return [case.randn(length).abs() * 2 for length in lengths]


@bits_per_byte.property("a coin costs one bit", "抛一次硬币是一个比特", EXACT, weight=3)
def bits_golden(answer, case):
    coin = math.log(2)
    expect_bits(answer, case, some_nats(case, 6), ["Your journey"])
    expect_bits(answer, case, [case.tensor([coin, coin]), case.tensor([2 * coin])], ["ab", "中"])
    expect_bits(answer, case, [case.tensor([8 * coin] * 5)], ["bytes"])


@bits_per_byte.property("bytes are those of the UTF-8 text as it is", "字节是 UTF-8 文本原样的字节", ONCE, weight=3)
def bits_bytes(answer, case):
    for text in (*STORY[:3], "  two  spaces\n\n", "量词：一只、两把"):
        expect_bits(answer, case, some_nats(case, 5), [text])


@bits_per_byte.property("one ratio for the whole collection", "整组文本是一个比值", ONCE, weight=3)
def bits_ratio(answer, case):
    expect_bits(answer, case, some_nats(case, 7, 9, 4, 1), STORY)
    expect_bits(answer, case, [case.tensor([9.0]), case.tensor([0.1] * 30)], ["a", "one step after the other " * 8])


@bits_per_byte.property("the cut into tokens does not matter", "怎样切成词元都一样", ONCE)
def bits_tokens(answer, case):
    nats = some_nats(case, 12)[0]
    text = ["一步一步来"]
    results = [
        expect_bits(answer, case, [cut], text)
        for cut in (nats, nats.view(6, 2).sum(-1), nats.sum()[None], torch.cat([nats, nats[:0]]))
    ]
    expect(
        max(results) - min(results) < 1e-3,
        "the same nats in fewer, larger tokens gave another result",
        "同样的奈特数分在更少、更大的词元里，结果就不同了",
    )
    expect_bits(answer, case, [nats, nats[:0]], ["abc", ""])


@bits_per_byte.property(
    "adds up half-precision numbers without loss", "半精度的数相加不丢失", (torch.float16, torch.bfloat16)
)
def bits_half(answer, case):
    lost = (
        f"the nats were added up in {case.dtype}, which overflows or stops growing; add up in float64",
        f"用 {case.dtype} 累加奈特数，会溢出或停止增加；应该用 float64",
    )
    text = ["step " * 1000, "步"]
    expect_bits(
        answer, case, [torch.full((8000,), 10.0, dtype=case.dtype, device=case.device), case.tensor([2.0])], text, lost
    )
    expect_bits(answer, case, [case.tensor([0.3203125] * 4000)] * 3, ["a" * 900] * 3, lost)


@bits_per_byte.property("refuses what has no ratio", "拒绝没有比值的输入", ONCE)
def bits_refused(answer, case):
    nats = some_nats(case, 3, 4)
    expect_bits(answer, case, nats, ["ab", "cd"])
    for given, en, zh in (
        ((nats, ["", ""]), "two empty texts", "两段空文本"),
        (([], []), "no text at all", "没有文本"),
        ((nats, ["ab"]), "two tensors with one text", "两个张量配一段文本"),
        ((nats[:1], ["ab", "cd"]), "one tensor with two texts", "一个张量配两段文本"),
    ):
        expect_refused(lambda given=given: answer(*given), (en, zh))


@bits_per_byte.property("returns a number and leaves its inputs untouched", "返回一个数，不改动输入", ONCE)
def bits_untouched(answer, case):
    nll, text = some_nats(case, 4, 2), ["ab", "步"]
    before, (right, mistakes) = [t.clone() for t in nll], bits_reference(nll, text)
    out = answer(nll, text)
    expect(
        text == ["ab", "步"] and len(nll) == 2 and all(map(torch.equal, nll, before)),
        "the lists or the tensors in them were changed",
        "列表或其中的张量被改动了",
    )
    expect_near("the result", expect_number("the result", out), right, lambda: mistakes)


# --- calibration_error ----------------------------------------------------------------------------------------

calibration_error = Check("calibration_error")


def calibration_reference(confidence: Tensor, correct: Tensor, n_bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """(error, gap, number of guesses in each bin), in float64."""
    sure, right = confidence.double().reshape(-1), correct.double().reshape(-1)
    number = (sure * n_bins).long().clamp(max=n_bins - 1)
    counts = torch.zeros(n_bins, dtype=torch.float64, device=sure.device).index_add(0, number, torch.ones_like(sure))
    total = torch.zeros_like(counts).index_add(0, number, right - sure)
    gap = total / counts.clamp(min=1)
    return (gap.abs() * counts).sum() / len(sure), gap, counts


def right_closed(confidence: Tensor, correct: Tensor, n_bins: int) -> Tensor:
    sure, right = confidence.double().reshape(-1), correct.double().reshape(-1)
    number = ((sure * n_bins).ceil().long() - 1).clamp(min=0)
    counts = torch.zeros(n_bins, dtype=torch.float64, device=sure.device).index_add(0, number, torch.ones_like(sure))
    return torch.zeros_like(counts).index_add(0, number, right - sure) / counts.clamp(min=1)


def expect_calibration(
    answer: Callable, case: Case, confidence: Tensor, correct: Tensor, n_bins: int
) -> tuple[Tensor, Tensor]:
    """Fail unless gap and error are right; names the mistake where it is a known one."""
    error, gap, counts = calibration_reference(confidence, correct, n_bins)
    out = expect_tensors(answer(confidence.clone(), correct.clone(), n_bins), "error", "gap")
    got_error, got_gap = out
    centres = (torch.arange(n_bins, dtype=torch.float64, device=gap.device) + 0.5) / n_bins
    sure, right = confidence.double().reshape(-1), correct.double().reshape(-1)
    number = (sure * n_bins).long().clamp(max=n_bins - 1)
    mean_sure = torch.zeros_like(gap).index_add(0, number, sure) / counts.clamp(min=1)
    below = sure < 1
    of_gap = {
        (
            "gap has the wrong sign: it is the share of right guesses minus the confidence",
            "gap 的符号反了：它是猜对的比例减去把握",
        ): -gap,
        (
            "gap has lost its sign; only the error takes the absolute value",
            "gap 丢了正负号；只有 error 才取绝对值",
        ): gap.abs(),
        (
            "the centre of the bin was taken for the mean confidence in it",
            "用箱的中点代替了箱里把握的平均",
        ): torch.where(counts > 0, gap + mean_sure - centres, 0.0),
        (
            "a confidence on an edge went into the bin below; it belongs to the bin above",
            "落在边界上的把握进了下面的箱；应进上面的箱",
        ): right_closed(confidence, correct, n_bins),
        (
            "the confidence 1 fell out; it belongs to the last bin",
            "把握 1 被漏掉了；它属于最后一个箱",
        ): calibration_reference(sure[below], right[below], n_bins)[1] if below.any() else gap + 1,
        (
            "these are the shares of right guesses; subtract the confidence",
            "这是猜对的比例；还要减去把握",
        ): gap + mean_sure,
        ("gap is weighted by the size of the bin; only the error is", "gap 乘了箱的权重；只有 error 才加权"): (
            gap * counts / len(sure)
        ),
    }  # fmt: skip
    expect_shape("gap", got_gap, (n_bins,))
    expect(
        bool(torch.isfinite(got_gap).all()),
        "gap holds a NaN: an empty bin has the gap 0, not the mean of nothing",
        "gap 里有 NaN：空箱的 gap 是 0，而不是“什么都没有”的平均",
    )
    case.expect_close(got_gap, gap, {k: v for k, v in of_gap.items() if not case.close(v, gap)})
    filled = counts > 0
    of_error = {
        (
            "every bin has the same weight in the error; a bin weighs as much as it holds",
            "每个箱在 error 里权重一样；装得越多，分量应越重",
        ): gap.abs().mean(),
        (
            "every bin that is not empty has the same weight in the error; a bin weighs as much as it holds",
            "每个非空的箱在 error 里权重一样；装得越多，分量应越重",
        ): gap[filled].abs().mean(),
        (
            "the gaps cancel out in the error: take the absolute value of each first",
            "各箱的 gap 在 error 里互相抵消了：应先各取绝对值",
        ): (gap * counts).sum() / len(sure),
        (
            "the gaps cancel out in the error: take the absolute value of each bin, not of the sum",
            "各箱的 gap 在 error 里互相抵消了：应对每个箱取绝对值，而不是对总和",
        ): ((gap * counts).sum() / len(sure)).abs(),
        ("this is the largest gap; the error is the mean", "这是最大的 gap；error 是平均"): gap.abs().max(),
        ("the gaps were squared in the error", "error 里对 gap 取了平方"): (gap**2 * counts).sum() / len(sure),
        ("the gaps were squared in the error, and the root taken", "error 里对 gap 取了平方再开方"): (
            ((gap**2 * counts).sum() / len(sure)).sqrt()
        ),
    }
    expect_shape("error", got_error, ())
    case.expect_close(got_error, error, {k: v for k, v in of_error.items() if not case.close(v, error)})
    return out


def guesses(case: Case, n: int) -> tuple[Tensor, Tensor]:
    """Random confidences, none near an edge of 8 bins, and whether each guess was right."""
    eighth = case.randn(n, 8).argmax(-1)
    inside = 0.2 + 0.6 * case.randn(n, 64).argmax(-1).double() / 64
    return ((eighth + inside) / 8).to(case.device, case.dtype), case.randn(n) > 0.3


@calibration_error.property("gap is the share of right guesses minus confidence", "gap 是猜对的比例减去把握", weight=3)
def calibration_gap(answer, case):
    tens = case.tensor([0.1, 0.2, 0.75, 1.0])
    expect_calibration(answer, case, tens, torch.tensor([True, False, True, False], device=case.device), 2)
    for n, n_bins in ((40, 4), (40, 8), (25, 1), (7, 2)):
        expect_calibration(answer, case, *guesses(case, n), n_bins)


@calibration_error.property("a perfect forecaster has no error", "完美的预报者误差为零", weight=3)
def calibration_perfect(answer, case):
    confidence = case.tensor([0.25] * 4 + [0.5] * 2 + [0.75] * 4 + [1.0] * 3)
    correct = torch.tensor([1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1], dtype=torch.bool, device=case.device)
    expect_calibration(answer, case, confidence, correct, 4)
    # the same confidences, but now a bin claims too much
    expect_calibration(answer, case, confidence, correct & (confidence < 0.7), 4)


@calibration_error.property("a bin weighs as much as it holds", "箱的分量取决于装了多少", ONCE, weight=3)
def calibration_weights(answer, case):
    confidence = case.tensor([0.9] * 18 + [0.3, 0.35])
    correct = torch.tensor([True] * 16 + [False] * 2 + [True, True], device=case.device)
    for n_bins in (2, 4, 8):
        expect_calibration(answer, case, confidence, correct, n_bins)


@calibration_error.property(
    "an edge belongs to the bin above, 1 to the last", "边界属于上面的箱，1 属于最后一个", EXACT
)
def calibration_edges(answer, case):
    confidence = case.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 0.3, 1.0])
    for correct in ([1, 0, 1, 1, 0, 0, 1], [0, 1, 0, 0, 1, 1, 1]):
        correct = torch.tensor(correct, dtype=torch.bool, device=case.device)
        for n_bins in (2, 4, 8):
            expect_calibration(answer, case, confidence, correct, n_bins)
    expect_calibration(answer, case, confidence[4:5], torch.tensor([False], device=case.device), 4)


@calibration_error.property("an empty bin has the gap 0", "空箱的 gap 是 0", ONCE)
def calibration_empty(answer, case):
    for values in ([0.9, 0.95], [0.1], [0.05, 0.6, 0.65]):
        correct = torch.tensor([True, False, True][: len(values)], device=case.device)
        expect_calibration(answer, case, case.tensor(values), correct, 16)


@calibration_error.property("all dimensions are one collection of guesses", "所有维度合成一组猜测", ONCE)
def calibration_shape(answer, case):
    confidence, correct = guesses(case, 24)
    for shape in ((24,), (4, 6), (2, 3, 4), (1, 24)):
        expect_calibration(answer, case, confidence.view(shape), correct.view(shape), 4)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3)).to(case.device)
    expect_calibration(answer, case, confidence[order], correct[order], 4)


@calibration_error.property("correct may be of any dtype", "correct 可以是任何 dtype", ONCE)
def calibration_correct(answer, case):
    confidence, correct = guesses(case, 20)
    for dtype in (torch.bool, torch.int64, torch.uint8, torch.float64, torch.float16):
        expect_calibration(answer, case, confidence, correct.to(dtype), 4)


@calibration_error.property("keeps dtype and device", "保持 dtype 与设备")
def calibration_dtype(answer, case):
    for out in expect_calibration(answer, case, *guesses(case, 30), 4):
        expect(
            (out.dtype, out.device.type) == (case.dtype, case.device.type),
            f"confidence in {case}, result in {describe(out)}",
            f"confidence 是 {case}，结果却是 {describe(out)}",
        )


@calibration_error.property("leaves its inputs untouched", "不改动输入", ONCE)
def calibration_untouched(answer, case):
    confidence, correct = guesses(case, 12)
    before, also = confidence.clone(), correct.clone()
    error, gap = expect_tensors(answer(confidence, correct, 4), "error", "gap")
    expect(
        torch.equal(confidence, before) and torch.equal(correct, also),
        "confidence or correct was changed in place",
        "confidence 或 correct 被原地修改了",
    )
    right = calibration_reference(before, also, 4)
    case.expect_close(gap, right[1])
    case.expect_close(error, right[0])
