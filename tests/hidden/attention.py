"""Hidden reference tests of the chapter `attention`."""

from __future__ import annotations

import math
import re
from functools import partial

import torch
from torch import Tensor, nn

from insidegpt.checks import (
    ONCE,
    Case,
    Check,
    PropertyFailed,
    Text,
    describe,
    expect,
    expect_keys,
    expect_shape,
    expect_tensor,
    expect_tensors,
)

# Your journey starts with one step: Raschka, Build a Large Language Model (From Scratch), 2024, chapter 3
# fmt: off
WORDS = [
    [0.43, 0.15, 0.89], [0.55, 0.87, 0.66], [0.57, 0.85, 0.64],
    [0.22, 0.58, 0.33], [0.77, 0.25, 0.10], [0.05, 0.80, 0.55],
]
CONTEXT_123 = [
    [0.2996, 0.8053], [0.3061, 0.8210], [0.3058, 0.8203], [0.2948, 0.7939], [0.2927, 0.7891], [0.2990, 0.8040],
]
WEIGHTS_123 = [0.1500, 0.2264, 0.2199, 0.1311, 0.0906, 0.1820]
CONTEXT_789 = [
    [-0.0739, 0.0713], [-0.0748, 0.0703], [-0.0749, 0.0702], [-0.0760, 0.0685], [-0.0763, 0.0679], [-0.0754, 0.0693],
]
# fmt: on

SWAPPED = ("queries and keys have changed places", "查询与键互换了位置")
SAME_WEIGHTS = (
    "other words get the same weights: the weights do not depend on them",
    "换了别的词，权重还是一样：权重与词无关",
)
OVER_QUERIES = ("the softmax runs over the queries; it runs over the keys", "softmax 沿查询的轴做了；应沿键的轴做")
TOO_LARGE = (
    "scores of 19600, 9800 and 0 should give weights of 1, 0 and 0: were they clamped or replaced on the way?",
    "分数为 19600、9800、0 时，权重应为 1、0、0：途中是否有数被截断或替换？",
)


def attend(q, k, v, scale=None, dim=-1, causal=False) -> tuple[Tensor, Tensor]:
    """Context (…, T_q, d_v) and weights (…, T_q, T_k); what follows `v` makes the known mistakes.

    Vaswani et al., 2017, eq. 1.
    """
    scores = q @ k.mT / (math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
    weights = scores.softmax(dim)
    return weights @ v, weights


def attention_mistakes(d_k: int, **sizes: int) -> dict[Text, dict]:
    """What is done wrong inside attention: the sentence that names each mistake, and the arguments of `attend` for it.

    sizes: other numbers by their names, whose root the scores may have been divided by.
    """
    mistakes = {
        ("the scores are not scaled: divide them by √d_k", "分数没有缩放：应除以 √d_k"): dict(scale=1),
        (
            "the scores are divided by d_k, or by √d_k twice; divide them by √d_k once",
            "分数除以了 d_k，或者两次除以 √d_k；应只除以一次 √d_k",
        ): dict(scale=d_k),
        ("the scores are multiplied by √d_k; divide them by it", "分数乘以了 √d_k；应除以它"): dict(scale=d_k**-0.5),
        OVER_QUERIES: dict(dim=-2),
        ("there is a causal mask; none was asked for", "加了因果掩码；题目没有要求"): dict(causal=True),
    }
    for name, size in sizes.items():
        sentence = (f"the scores are divided by √{name}; divide them by √d_k", f"分数除以了 √{name}；应除以 √d_k")
        mistakes[sentence] = dict(scale=math.sqrt(size))
    return mistakes


def projection(case: Case, d_in: int, d_out: int) -> Tensor:
    """A weight matrix (d_in, d_out) that keeps unit variance, so that no softmax saturates."""
    return case.randn(d_in, d_out) / math.sqrt(d_in)


def large_scores(case: Case) -> tuple[Tensor, ...]:
    """Three words whose scores, 19600, 9800 and 0, are far apart; w_q, w_k and w_v to go with them; their weights."""
    eye = torch.eye(3, dtype=torch.float64)
    weights = torch.tensor([[1, 0, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    x = case.tensor([[140, 0, 0], [70, 0, 0], [0, 0, 0]])
    return x, case.tensor(eye), case.tensor(eye), case.tensor(eye[:, :2] / 8), weights


# --- self_attention -------------------------------------------------------------------------------------------

self_attention = Check("self_attention")


def self_arguments(case: Case, *lead: int, t=5, d_in=4, d_k=3, d_v=6) -> tuple[Tensor, ...]:
    return (case.randn(*lead, t, d_in), *(projection(case, d_in, width) for width in (d_k, d_k, d_v)))


def self_reference(x, w_q, w_k, w_v, **mistake) -> tuple[Tensor, Tensor]:
    x, w_q, w_k, w_v = (t.double() for t in (x, w_q, w_k, w_v))
    return attend(x @ w_q, x @ w_k, x @ w_v, **mistake)


def self_pair(answer, *given: Tensor) -> tuple[Tensor, Tensor]:
    return expect_tensors(answer(*given), "context", "weights")


@self_attention.property("known numbers of the six words", "六个词的已知结果", ONCE, weight=3)
def self_golden(answer, case):
    x = case.tensor(WORDS)
    draw = torch.Generator().manual_seed(123)
    w_q, w_k, w_v = (case.tensor(torch.rand(3, 2, generator=draw)) for _ in range(3))
    context, weights = self_pair(answer, x, w_q, w_k, w_v)
    q, k, v = (x.double() @ w.double() for w in (w_q, w_k, w_v))
    mistakes = {
        ("the scores compare queries with values, not with keys", "分数比较的是查询与值；应与键比较"): attend(q, v, v)[
            0
        ],
        ("the scores compare keys with keys; queries ask", "分数比较的是键与键；应由查询来问"): attend(k, k, v)[0],
        ("the weights mix keys; they mix values", "权重混合的是键；应混合值"): attend(q, k, k)[0],
    }
    case.expect_close(context, case.tensor(CONTEXT_123), mistakes)
    case.expect_close(weights[..., 1, :], case.tensor(WEIGHTS_123))
    torch.manual_seed(789)
    linears = [nn.Linear(3, 2, bias=False) for _ in range(3)]
    context, _ = self_pair(answer, x, *(case.tensor(linear.weight.detach().T) for linear in linears))
    case.expect_close(context, case.tensor(CONTEXT_789))
    given = x, *(projection(case, 3, 2) for _ in range(3))
    expected, _ = self_reference(*given)
    sentence = (
        "right for the numbers that are printed in books, wrong for others: compute the result",
        "书里印出的那组数对了，换一组就错：结果要算出来",
    )
    case.expect_close(self_pair(answer, *given)[0], expected, otherwise=sentence)


@self_attention.property("scores divided by √d_k", "分数除以 √d_k", weight=3)
def self_scaled(answer, case):
    given = x, w_q, w_k, w_v = self_arguments(case)
    expected_context, expected_weights = self_reference(*given)  # before the call, which may change what is given
    mistakes = attention_mistakes(3, d_in=4, T=5, d_v=6)
    wrong = {sentence: self_reference(*given, **mistake) for sentence, mistake in mistakes.items()}
    wrong[SWAPPED] = self_reference(x, w_k, w_q, w_v)
    context, weights = self_pair(answer, *given)
    contexts = {sentence: value[0] for sentence, value in wrong.items()} | {
        ("the weights stand first; they come second", "权重放在了前面；应放在后面"): expected_weights,
        ("the weights mix x; they mix x @ w_v", "权重混合的是 x；应混合 x @ w_v"): expected_weights @ x.double(),
    }
    case.expect_close(context, expected_context, contexts)
    case.expect_close(weights, expected_weights, {sentence: value[1] for sentence, value in wrong.items()})


@self_attention.property("each row of weights is a distribution over the keys", "权重的每一行都是各个键上的概率分布")
def self_rows(answer, case):
    for t, d_v in ((5, 6), (1, 1)):
        x, *w = self_arguments(case, t=t, d_v=d_v)
        context, weights = self_pair(answer, x, *w)
        expect_shape("weights", weights, (t, t))
        expect_shape("context", context, (t, d_v))
        rows, columns = (case.close(weights.sum(dim), torch.ones(t)) for dim in (-1, -2))
        expect(
            rows or not columns,
            "the columns sum to 1: softmax ran over the queries, not the keys",
            "每一列之和为 1：softmax 沿查询的轴做了，而不是沿键的轴",
        )
        expect(rows, "the rows do not sum to 1: no softmax over the keys", "各行之和不为 1：没有沿键的轴做 softmax")
        expect(bool((weights >= 0).all()), "a weight is negative: no softmax", "有负的权重：没有做 softmax")
        expect(
            t == 1 or not case.close(self_pair(answer, x.flip(-1), *w)[1], weights),
            *SAME_WEIGHTS,
        )


@self_attention.property("the order of the words does not matter", "与词的次序无关", ONCE)
def self_equivariant(answer, case):
    x, *w = self_arguments(case)
    (_, weights), (_, turned) = self_pair(answer, x, *w), self_pair(answer, x.flip(0), *w)
    expect(
        not case.close(turned, weights),
        "the weights are the same whatever the words: the scores do not depend on them",
        "无论什么词，权重都一样：分数与词无关",
    )
    sentence = (
        "with the words in another order, the same words get other results: something depends on the position",
        "换一下词的次序，同样的词得到不同的结果：有的计算依赖位置",
    )
    case.expect_follows_order(lambda x: self_pair(answer, x, *w)[0], x, otherwise=sentence)
    case.expect_close(turned, weights.flip(0, 1), otherwise=sentence)


@self_attention.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def self_batch(answer, case):
    x, *w = self_arguments(case)
    context, weights = self_pair(answer, x, *w)
    expect_shape("context", context, (5, 6))
    expect_shape("weights", weights, (5, 5))
    expect(not case.close(self_pair(answer, x.flip(-1), *w)[1], weights), *SAME_WEIGHTS)
    leads = [((2, 3),), ((3,),), ((1,),)]
    case.expect_batch(lambda x: self_pair(answer, x, *w), (5, 4), leads=leads)


@self_attention.property("large scores do not overflow", "分数很大也不溢出")
def self_stable(answer, case):
    *given, expected = large_scores(case)
    context, weights = self_pair(answer, *given)
    case.expect_close(weights, expected, otherwise=TOO_LARGE)
    case.expect_close(context, expected @ (given[0] @ given[3]).double().cpu(), otherwise=TOO_LARGE)


self_attention.add_standard_properties(self_arguments, lambda answer, case: partial(self_pair, answer))


# --- transfer_weights -----------------------------------------------------------------------------------------

transfer_weights = Check("transfer_weights")


class LinearProjections(nn.Module):
    """The exercise's first module: one fused weight (2 d_k + d_v, d_in), rows of q, then of k, then of v."""

    def __init__(self, d_in: int, d_k: int, d_v: int):
        super().__init__()
        self.w_qkv = nn.Linear(d_in, 2 * d_k + d_v, bias=False)
        self.sizes = [d_k, d_k, d_v]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.w_qkv(x).split(self.sizes, dim=-1)


class ParameterProjections(nn.Module):
    """The exercise's second module: w_q, w_k (d_in, d_k) and w_v (d_in, d_v), which multiply from the right."""

    def __init__(self, d_in: int, d_k: int, d_v: int):
        super().__init__()
        self.w_q, self.w_k, self.w_v = (nn.Parameter(torch.rand(d_in, d)) for d in (d_k, d_k, d_v))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return x @ self.w_q, x @ self.w_k, x @ self.w_v


NAMES = ("w_q", "w_k", "w_v")


def two_modules(case: Case, d_in=4, d_k=4, d_v=4) -> tuple[LinearProjections, ParameterProjections]:
    """A source with random weights and a target, on the case's device and in its dtype."""
    source, target = LinearProjections(d_in, d_k, d_v), ParameterProjections(d_in, d_k, d_v)
    source, target = source.to(case.device, case.dtype), target.to(case.device, case.dtype)
    with torch.no_grad():
        source.w_qkv.weight.copy_(projection(case, d_in, 2 * d_k + d_v).T)
    return source, target


def transfer(answer, source: LinearProjections, target: ParameterProjections) -> dict[str, Tensor]:
    """Run the answer; returns the source's rows of q, k and v as they were before it, (d_out, d_in) each.

    No property holds for an answer that did not even fill the target with numbers of the source.
    """
    weight = source.w_qkv.weight.detach().clone()
    before = {name: getattr(target, name).detach().clone() for name in NAMES}
    answer(source, target)
    numbers = weight.double().flatten().cpu()
    for name in NAMES:
        now, then = getattr(target, name).detach().double().cpu(), before[name].double().cpu()
        expect(not torch.equal(now, then), f"nothing was copied into {name}", f"没有往 {name} 里复制任何东西")
        distance = (now.flatten()[:, None] - numbers).abs().min(1).values.max().item()
        expect(
            distance < 0.02 and now.std().item() > 0,
            f"{name} does not hold the source's numbers",
            f"{name} 里不是源模块的数值",
        )
    return dict(zip(NAMES, weight.split(source.sizes), strict=True))


@transfer_weights.property("square weights are transposed and in the right order", "方阵也要转置，次序也要对", weight=3)
def transfer_square(answer, case):
    source, target = two_modules(case)
    rows = transfer(answer, source, target)
    every_third = dict(zip(NAMES, torch.cat([*rows.values()]).reshape(4, 3, 4).unbind(1), strict=True))
    for name in NAMES:
        got = getattr(target, name)
        mistakes = {
            (f"{name} is not transposed: it came as (d_out, d_in)", f"{name} 没有转置，仍是 (d_out, d_in)"): rows[name],
            **{
                (
                    f"{name} got the rows of {other}: they stand in the order q, k, v",
                    f"{name} 得到了 {other} 的行：次序是 q、k、v",
                ): rows[other].T
                for other in NAMES
            },
            (
                f"{name} got every third row: the rows of q come first, then those of k, then those of v",
                f"{name} 得到的是每三行取一行：应先是 q 的行，再是 k 的行，最后是 v 的行",
            ): every_third[name].T,
        }
        misplaced = (
            f"{name} got numbers in the wrong places: transpose, do not reshape",
            f"{name} 里数值的位置错了：要转置，不要 reshape",
        )
        rounded = (
            f"{name} lost precision on the way: copy the numbers in the dtype that they have",
            f"{name} 在途中损失了精度：应按原有的 dtype 复制",
        )
        near = torch.allclose(got.detach(), rows[name].T, atol=1e-2)
        expect(torch.equal(got.detach(), rows[name].T) or not near, *rounded)
        case.expect_close(got, rows[name].T, mistakes, otherwise=misplaced)


@transfer_weights.property("d_in, d_k and d_v may all differ", "d_in、d_k、d_v 可以各不相同", ONCE, weight=3)
def transfer_rectangular(answer, case):
    transfer(answer, *two_modules(case))  # what raises here has nothing to do with the sizes
    source, target = two_modules(case, d_in=4, d_k=2, d_v=5)
    try:
        rows = transfer(answer, source, target)
    except (RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0][:120]
        raise PropertyFailed(
            f"the rows are d_k of q, d_k of k and d_v of v, each block to be transposed, not three equal parts: {said}",
            f"权重依次是 q 的 d_k 行、k 的 d_k 行、v 的 d_v 行，各块分别转置，不是三等份：{said}",
        ) from None
    x = case.randn(3, 4)
    for name, got in zip(NAMES, target(x), strict=True):
        letter = name.removeprefix("w_")
        wrong = (f"the two modules give different {letter}", f"两个模块给出的 {letter} 不同")
        case.expect_close(got, x.double() @ rows[name].double().T, otherwise=wrong)


@transfer_weights.property("the source is unchanged", "源模块不变")
def transfer_source(answer, case):
    source, target = two_modules(case)
    target.to(torch.float32 if case.dtype == torch.float64 else torch.float64)
    before = source.w_qkv.weight
    rows = torch.cat([*transfer(answer, source, target).values()])
    weight = source.w_qkv.weight
    expect(weight is before, "the source got a new weight in place of its own", "源模块的权重换成了新的参数")
    expect(
        weight.dtype == rows.dtype,
        f"the source's weight was {describe(rows)} and became {describe(weight)}",
        f"源模块的权重原是 {describe(rows)}，变成了 {describe(weight)}",
    )
    expect(torch.equal(weight.detach(), rows), "the source's weight was changed", "源模块的权重被改动了")
    expect(weight.requires_grad, "the source's weight lost requires_grad", "源模块的权重不再 requires_grad")


@transfer_weights.property("no memory is shared", "不共用内存", ONCE)
def transfer_no_aliasing(answer, case):
    source, target = two_modules(case)
    transfer(answer, source, target)
    copied = {name: getattr(target, name).detach().clone() for name in NAMES}
    with torch.no_grad():
        source.w_qkv.weight.add_(1)
    for name in NAMES:
        expect(
            torch.equal(getattr(target, name).detach(), copied[name]),
            f"{name} is a view of the source's memory: training one module changes the other; copy the numbers",
            f"{name} 是源模块内存的视图：训练一个模块会改动另一个；应复制数值",
        )


@transfer_weights.property("an optimizer made before still trains the target", "事先建好的优化器仍能训练目标模块", ONCE)
def transfer_same_parameters(answer, case):
    source, target = two_modules(case)
    known = [getattr(target, name) for name in NAMES]  # what an optimizer keeps, whose import takes half a second
    transfer(answer, source, target)
    copied = {name: getattr(target, name).detach().clone() for name in NAMES}
    frozen = [name for name in NAMES if not getattr(target, name).requires_grad]
    expect(not frozen, f"{frozen} lost requires_grad", f"{frozen} 不再 requires_grad")
    sum(getattr(target, name).sum() for name in NAMES).backward()
    with torch.no_grad():
        for parameter in known:
            if parameter.grad is not None:
                parameter -= parameter.grad
    for name in NAMES:
        expect(
            not torch.equal(getattr(target, name).detach(), copied[name]),
            f"{name} is a new parameter, which the optimizer does not know: copy into the one that is there",
            f"{name} 换成了新的参数，优化器不认识它：应复制到原有的参数里",
        )


@transfer_weights.property("the target keeps its dtype and device", "目标模块保持 dtype 与设备")
def transfer_dtype(answer, case):
    source, target = two_modules(case)
    transfer(answer, source.to("cpu", torch.float32 if case.dtype == torch.float64 else torch.float64), target)
    for name in NAMES:
        now = getattr(target, name)
        expect(
            (now.dtype, now.device.type) == (case.dtype, case.device.type),
            f"{name} was {case} and became {describe(now)}: it took over the source's",
            f"{name} 原是 {case}，变成了 {describe(now)}：跟着源模块变了",
        )


@transfer_weights.property("nothing is returned", "没有返回值", ONCE)
def transfer_returns_nothing(answer, case):
    returned = []
    transfer(lambda *modules: returned.append(answer(*modules)), *two_modules(case))
    kind = type(returned[0]).__name__
    expect(
        returned[0] is None,
        f"a {kind} came back; the function works in place and returns nothing",
        f"返回了 {kind}；这个函数就地修改，没有返回值",
    )


# --- score_statistics -----------------------------------------------------------------------------------------

score_statistics = Check("score_statistics")

KEYS = ("variance", "variance_scaled", "gradient", "gradient_scaled")


def generator(case: Case, seed: int) -> torch.Generator:
    return torch.Generator(case.device).manual_seed(seed)


def statistics(answer, d_k: int, n: int, draw: torch.Generator) -> dict[str, float]:
    """The four numbers of the answer, or a sentence that says what came instead."""
    return {key: float(value) for key, value in expect_keys(answer(d_k, n, draw), KEYS).items()}


def queries_and_keys(d_k: int, n: int, draw: torch.Generator, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    q, k = (torch.randn(n, d_k, generator=draw, dtype=dtype, device=draw.device).double() for _ in range(2))
    return q, k


def softmax_jacobians(scores: Tensor) -> Tensor:
    """(n, n, n): of each row's softmax, diag(p) − p pᵀ."""
    p = scores.softmax(-1)
    return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]


def frobenius(jacobians: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(jacobians)


@score_statistics.property(
    "variances of all n² scores, unbiased", "全部 n² 个分数的无偏方差", (torch.float64,), weight=3
)
def statistics_variance(answer, case):
    d_k, n = 8, 6  # 48 numbers: from 16 on, a draw in float32 has nothing in common with one in float64
    root = math.sqrt(d_k)
    out = statistics(answer, d_k, n, generator(case, 1))
    for key, value in answer(d_k, n, generator(case, 1)).items():
        expect(
            isinstance(value, float),
            f"{key} is a {type(value).__name__}; make it a Python float",
            f"{key} 是 {type(value).__name__}；应是 Python 的 float",
        )
    q, k = queries_and_keys(d_k, n, generator(case, 1))
    float_q, float_k = queries_and_keys(d_k, n, generator(case, 1), torch.float32)
    unscaled = {
        ("the scores were divided by d_k; divide them by √d_k", "分数除以了 d_k；应除以 √d_k"): (q @ k.mT / d_k).var(),
        ("the scores were not scaled: divide them by √d_k", "分数没有缩放：应除以 √d_k"): (q @ k.mT).var(),
        ("the variance was divided by √d_k, not the scores", "除以 √d_k 的是方差；应是分数"): (q @ k.mT).var() / root,
    }
    for key, scale in (("variance", 1), ("variance_scaled", root)):
        scores = q @ k.mT / scale
        mistakes = {
            (
                "the sum of squared deviations is divided by n²; the unbiased estimate divides by n² − 1",
                "离差平方和除以了 n²；无偏估计应除以 n² − 1",
            ): scores.var(correction=0),
            ("this is the mean of the squares; subtract the mean", "这是平方的均值；应减均值"): scores.square().mean(),
            ("this is the standard deviation; the variance is its square", "这是标准差；方差是它的平方"): scores.std(),
            ("only n pairs were used; take all n² scores", "只用了 n 对；应取全部 n² 个分数"): scores.diagonal().var(),
            (
                "this averages the variances of the rows; take one variance of all n² scores",
                "这是各行方差的平均；要对全部 n² 个分数求一个方差",
            ): scores.var(-1).mean(),
            ("q and k were drawn in float32; draw in float64", "q 与 k 用 float32 抽样；应用 float64"): (
                float_q @ float_k.mT / scale
            ).var(),
        }
        case.expect_close(case.tensor(out[key]), scores.var(), mistakes | (unscaled if scale == root else {}))


@score_statistics.property("norms of the softmax's Jacobian", "softmax 雅可比矩阵的范数", (torch.float64,), weight=3)
def statistics_gradient(answer, case):
    d_k, n = 8, 4
    out = statistics(answer, d_k, n, generator(case, 2))
    q, k = queries_and_keys(d_k, n, generator(case, 2))

    def named(scores):
        jacobians = softmax_jacobians(scores)
        return {
            ("the norms were added up; average them", "把各行的范数加了起来；应取平均"): frobenius(jacobians).sum(),
            (
                "this is one norm of all rows together; take each row's norm, then average",
                "这是所有行合在一起的范数；应先求每行的范数，再取平均",
            ): jacobians.norm(),
            ("the norms were squared before averaging", "取平均前把范数平方了"): frobenius(jacobians).square().mean(),
            (
                "this is the spectral norm; take the Frobenius norm",
                "这是谱范数；应取 Frobenius 范数",
            ): torch.linalg.matrix_norm(jacobians, 2).mean(),
            (
                "only the diagonal p(1 − p) was used; the Jacobian is diag(p) − p pᵀ",
                "只用了对角线 p(1 − p)；雅可比矩阵是 diag(p) − p pᵀ",
            ): jacobians.diagonal(dim1=-2, dim2=-1).norm(dim=-1).mean(),
            (
                "the softmax ran over the queries, or k was drawn before q; draw q first, each row runs over the keys",
                "softmax 沿查询的轴做了，或者先抽了 k；应先抽 q，再沿键的轴做 softmax",
            ): frobenius(softmax_jacobians(scores.mT)).mean(),
            (
                "this differentiates by the raw scores; differentiate by the softmax's own input",
                "这是对未缩放的分数求导；要对 softmax 自己的输入求导",
            ): frobenius(jacobians).mean() / math.sqrt(d_k),
        }

    scores = q @ k.mT
    for key, its in (("gradient", scores), ("gradient_scaled", scores / math.sqrt(d_k))):
        case.expect_close(case.tensor(out[key]), frobenius(softmax_jacobians(its)).mean(), named(its))


@score_statistics.property("variance ≈ d_k, scaled ≈ 1", "方差 ≈ d_k，缩放后 ≈ 1", (torch.float64,))
def statistics_expectation(answer, case):
    for d_k in (64, 256):
        one, two = (statistics(answer, d_k, 32, generator(case, seed)) for seed in (3, 4))
        expect(one["variance"] != two["variance"], "two draws gave the same variance", "两次抽样得到了相同的方差")
        for key, expected in (("variance", d_k), ("variance_scaled", 1)):
            expect(
                abs(one[key] / expected - 1) < 0.3,
                f"{key} is {one[key]:.3g} at d_k = {d_k}; it should be near {expected}",
                f"d_k = {d_k} 时 {key} 是 {one[key]:.3g}；应接近 {expected}",
            )


@score_statistics.property("without scaling the gradient vanishes", "不缩放时梯度消失", (torch.float64,))
def statistics_vanishing(answer, case):
    narrow, wide = (statistics(answer, d_k, 32, generator(case, 5)) for d_k in (4, 1024))
    one, other = (numbers["gradient"] for numbers in (narrow, wide))
    expect(
        0 < other < one / 2,
        f"gradient goes from {one:.3g} to {other:.3g} as d_k goes from 4 to 1024; unscaled it vanishes",
        f"d_k 从 4 到 1024，gradient 从 {one:.3g} 变为 {other:.3g}；不缩放时它应消失",
    )
    one, other = (numbers["gradient_scaled"] for numbers in (narrow, wide))
    expect(
        abs(other / one - 1) < 0.3,
        f"gradient_scaled goes from {one:.3g} to {other:.3g} as d_k goes from 4 to 1024; scaled it hardly changes",
        f"d_k 从 4 到 1024，gradient_scaled 从 {one:.3g} 变为 {other:.3g}；缩放后它应几乎不变",
    )


@score_statistics.property("randomness comes from the generator alone", "随机性只来自 generator", (torch.float64,))
def statistics_generator(answer, case):
    draw = generator(case, 5)
    one, next_one = (statistics(answer, 8, 6, draw) for _ in range(2))
    torch.manual_seed(99)
    again, other = statistics(answer, 8, 6, generator(case, 5)), statistics(answer, 8, 6, generator(case, 6))
    expect(
        one == again,
        "the same generator gave other numbers: something was drawn without generator=generator",
        "同样的 generator 给出不同的数：有的抽样没有写 generator=generator",
    )
    expect(
        one != other,
        "another seed gave the same numbers: a seed of its own is set inside",
        "换了种子，数却一样：函数里自己设了种子",
    )
    expect(
        one != next_one,
        "a second call with the same generator gave the same numbers: it was set back, or not used at all",
        "用同一个 generator 再调用一次，数却一样：它被重置了，或者根本没有用到",
    )
    draw, mirror, before = generator(case, 5), generator(case, 5), torch.get_rng_state()
    statistics(answer, 8, 6, draw)
    queries_and_keys(8, 6, mirror)
    expect(
        torch.equal(draw.get_state(), mirror.get_state()),
        "q and k are all that is drawn from the generator; more or less was",
        "从 generator 里只抽 q 与 k；抽多了或者抽少了",
    )
    expect(
        torch.equal(torch.get_rng_state(), before),
        "global random numbers were drawn or seeded; the generator is the only source",
        "动用了全局随机数或全局种子；随机数只能来自 generator",
    )


# --- MultiHeadAttention ---------------------------------------------------------------------------------------

MultiHeadAttention = Check("MultiHeadAttention")

LINEARS = ("w_q.weight", "w_k.weight", "w_v.weight", "w_o.weight")


def multi_head_state(case: Case, d_model: int, n_head: int) -> dict[str, Tensor]:
    """Random weights under the names that the exercise asks for; gates differ from 1 and from one another."""
    state = {name: projection(case, d_model, d_model) for name in LINEARS}
    return state | {"gate": case.tensor([0.5 + head for head in range(n_head)])}


def build(answer, case: Case, state: dict[str, Tensor], d_model: int, n_head: int):
    """The answer's module with these weights copied in; one that does not mix the words is none.

    Parameters beyond those asked for stay as they are: they cost the property that names them, not all.
    """
    module = answer(d_model, n_head).to(case.device, case.dtype)
    expect_names_and_shapes(module, d_model, n_head)
    module.load_state_dict(state, strict=False)
    what = f"attends with {n_head} of {d_model} on {case.device}"
    MultiHeadAttention.expect_once(answer, what, lambda: expect_attends(module, case, d_model))
    return module


def expect_attends(module, case: Case, d_model: int) -> None:
    x = case.randn(2, 4, d_model)
    moved = x.clone()
    moved[0, 0] += 3
    out, other = expect_tensor(module(x)), expect_tensor(module(moved))
    expect_shape(f"forward(x), of x {tuple(x.shape)},", out, x.shape)
    expect(
        not case.close(out[0, 1:], other[0, 1:]),
        "no word's result depends on another word: nothing attends",
        "没有一个词的结果依赖别的词：没有做注意力",
    )


def expect_names_and_shapes(module, d_model: int, n_head: int) -> None:
    state = dict(module.state_dict())
    expect(
        not any("in_proj" in name for name in state),
        "these are the parameters of nn.MultiheadAttention; the module is to have w_q, w_k, w_v, w_o and gate",
        "这些是 nn.MultiheadAttention 的参数；模块应有 w_q、w_k、w_v、w_o 与 gate",
    )
    for name in (*LINEARS, "gate"):
        expect(name in state, f"there is no parameter {name}", f"缺少参数 {name}")
        expect_shape(name, state[name], (n_head,) if name == "gate" else (d_model, d_model))


def split(x: Tensor, n_head: int) -> Tensor:
    """(…, T, d_model) → (…, H, T, d_k)"""
    return x.unflatten(-1, (n_head, -1)).transpose(-3, -2)


def split_by_view(x: Tensor, n_head: int) -> Tensor:
    return x.reshape(*x.shape[:-2], n_head, x.shape[-2], -1)


def split_interleaved(x: Tensor, n_head: int) -> Tensor:
    return x.unflatten(-1, (-1, n_head)).movedim(-1, -3)


def merge(z: Tensor) -> Tensor:
    """(…, H, T, d_k) → (…, T, d_model)"""
    return z.transpose(-3, -2).flatten(-2)


def merge_by_view(z: Tensor) -> Tensor:
    return z.reshape(*z.shape[:-3], z.shape[-2], -1)


def multi_head(x, state, n_head, gated=True, projected=True, split=split, merge=merge, **mistake) -> Tensor:
    """The module's output in float64; what follows `n_head` makes the known mistakes."""
    x, (w_q, w_k, w_v, w_o) = x.double(), (state[name].double() for name in LINEARS)
    z, _ = attend(*(split(x @ w.T, n_head) for w in (w_q, w_k, w_v)), **mistake)
    if gated:
        z = state["gate"].double()[:, None, None] * z
    return merge(z) @ w_o.T if projected else merge(z)


def multi_head_mistakes(x, state, n_head) -> dict[Text, Tensor]:
    d_model = x.shape[-1]
    d_k = d_model // n_head
    wrong = {
        (
            "the heads were split by view(…, H, T, d_k) without transpose: right shape, wrong numbers",
            "用 view(…, H, T, d_k) 拆分各头而没有转置：形状对，数值错",
        ): dict(split=split_by_view),
        (
            "the heads were split and merged by view without transpose: right shape, wrong numbers",
            "拆分与合并都用 view 而没有转置：形状对，数值错",
        ): dict(split=split_by_view, merge=merge_by_view),
        (
            "the heads were merged without transposing back: right shape, wrong numbers",
            "合并各头前没有转置回来：形状对，数值错",
        ): dict(merge=merge_by_view),
        (
            "head h took every H-th feature; it takes d_k neighbouring ones",
            "头 h 每 H 个特征取一个；应取相邻的 d_k 个",
        ): dict(split=split_interleaved),
        ("the softmax runs over the heads; it runs over the keys", "softmax 沿头的轴做了；应沿键的轴做"): dict(dim=-3),
        ("w_o is not applied: nothing mixes the heads", "没有用 w_o：各头没有混合"): dict(projected=False),
        (
            "the gate is not applied: each head's result is multiplied by its gate",
            "没有用 gate：每个头的结果都要乘以它的门",
        ): dict(gated=False),
        **attention_mistakes(d_k, d_model=d_model, T=x.shape[-2], n_head=n_head),
    }
    values = {sentence: multi_head(x, state, n_head, **mistake) for sentence, mistake in wrong.items()}
    gate, w_o = state["gate"].double(), state["w_o.weight"].double().T
    features = multi_head(x, state, n_head, gated=False, projected=False)
    unsplit, _ = attend(*(x.double() @ state[name].double().T for name in LINEARS[:3]))
    exchanged = {"w_q.weight": state["w_k.weight"], "w_k.weight": state["w_q.weight"]}
    return values | {
        SWAPPED: multi_head(x, state | exchanged, n_head),
        ("x was added; no residual connection was asked for", "加上了 x；题目没有要求残差连接"): (
            x.double() + multi_head(x, state, n_head)
        ),
        (
            "the gates are laid out feature by feature; all d_k features of head h have gate[h]",
            "门按特征轮流排列了；头 h 的 d_k 个特征都应乘以 gate[h]",
        ): features * gate.repeat(d_k) @ w_o,
        (
            "the gate is applied after w_o, where the heads are mixed; apply it before",
            "门乘在了 w_o 之后，那时各头已经混合；应乘在 w_o 之前",
        ): features @ w_o * gate.repeat_interleave(d_k),
        (
            "the heads were never split: one attention over all d_model features",
            "没有拆分各头：对全部 d_model 个特征只做了一次注意力",
        ): unsplit * gate.repeat_interleave(d_k) @ w_o,
    }


@MultiHeadAttention.property("parameters by name, gates open at first", "参数名称正确，门起初全开", ONCE)
def heads_parameters(answer, case):
    module = answer(12, 3).to(case.device, case.dtype)
    expect_names_and_shapes(module, 12, 3)
    parameters = dict(module.named_parameters())
    biased = ", ".join(name for name in parameters if name.endswith(".bias"))
    expect(not biased, f"{biased}: the projections have no bias", f"{biased}：投影不应带偏置")
    more = ", ".join(sorted({*parameters} - {*LINEARS, "gate"}))
    expect(not more, f"beyond the parameters asked for there is {more}", f"多出了参数 {more}")
    trained = {name for name, value in parameters.items() if value.requires_grad}
    frozen = ", ".join(name for name in (*LINEARS, "gate") if name not in trained)
    expect(
        not frozen,
        f"{frozen} is not trainable: make it a parameter of its own",
        f"{frozen} 不可训练：应设为独立的参数",
    )
    closed = ("the gates start at 0, so nothing passes; start at 1", "门从 0 开始，什么都通不过；应从 1 开始")
    case.expect_close(parameters["gate"], torch.ones(3), {closed: torch.zeros(3)})
    build(answer, case, multi_head_state(case, 12, 3), 12, 3)


@MultiHeadAttention.property("every parameter gets a gradient", "每个参数都得到梯度", ONCE)
def heads_train(answer, case):
    module = build(answer, case, multi_head_state(case, 12, 3), 12, 3)
    out = expect_tensor(module(case.randn(2, 5, 12)))
    if out.requires_grad:
        out.square().sum().backward()
    gradients = {name: value.grad for name, value in module.named_parameters()}
    cut = ", ".join(n for n in (*LINEARS, "gate") if gradients.get(n) is None or not gradients[n].any())
    expect(
        not cut,
        f"no gradient reaches {cut}, so it never trains (detach, .data, item, tolist, no_grad cut the path)",
        f"梯度传不到 {cut}，它永远训练不了（detach、.data、item、tolist、no_grad 会切断计算图）",
    )


@MultiHeadAttention.property("equals the reference with copied weights", "复制权重后与参考实现一致", weight=3)
def heads_reference(answer, case):
    state = multi_head_state(case, 12, 3)
    module, x = build(answer, case, state, 12, 3), case.randn(2, 5, 12)
    case.expect_close(expect_tensor(module(x.clone())), multi_head(x, state, 3), multi_head_mistakes(x, state, 3))


@MultiHeadAttention.property("one head is plain attention", "只有一个头时就是普通注意力", ONCE, weight=3)
def heads_single(answer, case):
    state = multi_head_state(case, 6, 1)
    module, x = build(answer, case, state, 6, 1), case.randn(2, 5, 6)
    case.expect_close(expect_tensor(module(x.clone())), multi_head(x, state, 1), multi_head_mistakes(x, state, 1))


@MultiHeadAttention.property("a gate of 0 switches its head off", "门为 0 就关掉这个头", ONCE, weight=3)
def heads_gate(answer, case):
    state, x = multi_head_state(case, 12, 3), case.randn(2, 5, 12)
    module = build(answer, case, state, 12, 3)
    for head in range(3):
        open_at = state | {"gate": case.tensor([float(other == head) for other in range(3)])}
        module.load_state_dict(open_at, strict=False)
        sentence = (
            f"with the other gates at 0, head {head} alone should pass: each head's result is multiplied by its gate",
            f"其他门为 0 时，应只有头 {head} 通过：每个头的结果都要乘以它的门",
        )
        wrong = multi_head_mistakes(x, open_at, 3)
        case.expect_close(expect_tensor(module(x.clone())), multi_head(x, open_at, 3), wrong, otherwise=sentence)
    module.load_state_dict(state | {"gate": torch.zeros_like(state["gate"])}, strict=False)
    still = (
        "with every gate at 0 something still passes: the gate multiplies the result, not the scores",
        "所有门都为 0 时仍有东西通过：门乘的是结果，不是分数",
    )
    case.expect_close(expect_tensor(module(x.clone())), torch.zeros(2, 5, 12), otherwise=still)


@MultiHeadAttention.property("a head depends on its own weights alone", "每个头只依赖自己的权重", ONCE, weight=3)
def heads_independent(answer, case):
    state, x = multi_head_state(case, 12, 3), case.randn(2, 5, 12)
    module = build(answer, case, state, 12, 3)
    heads = torch.arange(12, device=case.device) // 4  # whose feature each is

    def result(weights: dict[str, Tensor]) -> Tensor:
        module.load_state_dict(weights, strict=False)
        return expect_tensor(module(x))

    def changed(weights: dict[str, Tensor], whose: Tensor, *names: str) -> dict[str, Tensor]:
        """The weights with other numbers in those rows of the linear maps of these names."""
        rows = whose[:, None]
        return weights | {name: torch.where(rows, 2 * weights[name].flip(-1), weights[name]) for name in names}

    for head in range(3):
        alone = state | {"w_o.weight": state["w_o.weight"] * (heads == head)}  # the others' results no longer count
        before = result(alone)
        for name in LINEARS[:3]:
            rows = f"{4 * head}:{4 * head + 4}"
            expect(
                not case.close(result(changed(alone, heads == head, name)), before),
                f"rows {rows} of {name} are head {head}'s own, and it does not use them",
                f"{name} 的第 {rows} 行属于头 {head}，它却没有用到",
            )
        expect(
            case.close(result(changed(alone, heads != head, *LINEARS[:3])), before),
            f"weights of other heads move what w_o takes from head {head}: heads mix before w_o, or w_o is not applied",
            f"别的头的权重，却影响了 w_o 从头 {head} 取的结果：在 w_o 之前各头就混在了一起，或者没有用 w_o",
        )


@MultiHeadAttention.property("the order of the words does not matter", "与词的次序无关", ONCE)
def heads_equivariant(answer, case):
    module = build(answer, case, multi_head_state(case, 12, 3), 12, 3)
    sentence = (
        "with the words in another order, the same words get other results: words were mixed up or masked",
        "换一下词的次序，同样的词得到不同的结果：词与词混到了一起，或者有词被掩码遮住了",
    )
    case.expect_follows_order(lambda x: expect_tensor(module(x[None]))[0], case.randn(5, 12), otherwise=sentence)


@MultiHeadAttention.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def heads_batch(answer, case):
    module = build(answer, case, multi_head_state(case, 12, 3), 12, 3)
    case.expect_batch(lambda x: expect_tensor(module(x)), (5, 12), leads=[((2, 3),), ((3,),), ((1,),)])


@MultiHeadAttention.property("refuses a width that the heads cannot share", "宽度不能被头数整除时拒绝", ONCE)
def heads_refused(answer, case):
    build(answer, case, multi_head_state(case, 12, 3), 12, 3)
    for d_model, n_head in ((10, 3), (4, 8)):
        call = f"MultiHeadAttention({d_model}, {n_head})"
        try:
            answer(d_model, n_head)
        except Exception as error:
            expect(
                isinstance(error, ValueError),
                f"{call} raised {type(error).__name__}; raise a ValueError that says why it cannot be",
                f"{call} 抛出了 {type(error).__name__}；应抛出 ValueError 并说明原因",
            )
            named = {str(d_model), str(n_head)} <= {*re.findall(r"\d+", str(error))}
            expect(
                named and any(map(str.isalpha, str(error))),
                f"the ValueError of {call} is no sentence that names both numbers, {d_model} and {n_head}",
                f"{call} 的 ValueError，没有用一句话说明原因，并写出 {d_model} 与 {n_head} 这两个数",
            )
        else:
            raise PropertyFailed(
                f"{call} was built; raise a ValueError that says why it cannot be",
                f"{call} 没有报错就建成了；应抛出 ValueError 并说明原因",
            )


MultiHeadAttention.add_standard_properties(
    lambda case: (case.randn(2, 4, 6),),
    lambda answer, case: build(answer, case, multi_head_state(case, 6, 2), 6, 2),
)


# --- cross_attention ------------------------------------------------------------------------------------------

cross_attention = Check("cross_attention")


def cross_arguments(case: Case, t_q=3, t_k=5, d_dec=4, d_enc=6, d_k=3, d_v=7) -> tuple[Tensor, ...]:
    w = (projection(case, d_in, d_out) for d_in, d_out in ((d_dec, d_k), (d_enc, d_k), (d_enc, d_v)))
    return case.randn(t_q, d_dec), case.randn(t_k, d_enc), *w


def cross_reference(decoder, encoder, w_q, w_k, w_v, **mistake) -> tuple[Tensor, Tensor]:
    decoder, encoder, w_q, w_k, w_v = (t.double() for t in (decoder, encoder, w_q, w_k, w_v))
    context, weights = attend(decoder @ w_q, encoder @ w_k, encoder @ w_v, **mistake)
    return context, weights.sum(-2)


def cross_pair(answer, *given: Tensor) -> tuple[Tensor, Tensor]:
    return expect_tensors(answer(*given), "context", "coverage")


@cross_attention.property("from decoder to encoder, scores divided by √d_k", "解码器看编码器，分数除以 √d_k", weight=3)
def cross_values(answer, case):
    # as long and as wide as each other, so that exchanging them by mistake raises nothing
    given = decoder, encoder, *w = cross_arguments(case, t_q=5, t_k=5, d_dec=4, d_enc=4)
    d, e, q, k, v = (t.double() for t in given)
    expected, coverage = cross_reference(*given)
    scales = attention_mistakes(3, d_decoder_or_encoder=4, T=5, d_v=7)
    mistakes = {sentence: cross_reference(*given, **mistake)[0] for sentence, mistake in scales.items()} | {
        (
            "the roles are reversed: queries come from the decoder, keys and values from the encoder",
            "角色反了：查询来自解码器，键与值来自编码器",
        ): cross_reference(encoder, decoder, *w)[0],
        (
            "the decoder attends to itself; keys and values come from the encoder",
            "解码器在看自己；键与值应来自编码器",
        ): cross_reference(decoder, decoder, *w)[0],
        ("the encoder attends to itself; the decoder asks", "编码器在看自己；应由解码器来问"): (
            cross_reference(encoder, encoder, *w)[0]
        ),
        ("the keys come from the decoder, not the encoder", "键来自解码器；应来自编码器"): attend(d @ q, d @ k, e @ v)[
            0
        ],
        ("the values come from the decoder, not the encoder", "值来自解码器；应来自编码器"): attend(
            d @ q, e @ k, d @ v
        )[0],
        SWAPPED: attend(e @ k, d @ q, e @ v)[0],
        ("coverage stands first; it comes second", "coverage 放在了前面；应放在后面"): coverage,
    }
    context, _ = cross_pair(answer, *given)
    case.expect_close(context, expected, mistakes)


@cross_attention.property(
    "decoder and encoder may differ in length and width", "两边的长度、宽度可以不同", ONCE, weight=3
)
def cross_sizes(answer, case):
    for t_q, t_k, d_v in ((3, 5, 7), (5, 3, 7), (1, 4, 1), (4, 1, 7)):
        given = decoder, encoder, *w = cross_arguments(case, t_q, t_k, d_v=d_v)
        scales = attention_mistakes(3, d_decoder=4, d_encoder=6, T_q=t_q, T_k=t_k, d_v=d_v)
        wrong = {sentence: cross_reference(*given, **mistake) for sentence, mistake in scales.items()}
        cut = ("the encoder was cut to the decoder's length", "编码器被截成了解码器的长度")
        wrong[cut] = cross_reference(decoder, encoder[:t_q], *w)
        reference = cross_reference(*given)
        pair = cross_pair(answer, *given)
        for name, got, shape in zip(("context", "coverage"), pair, ((t_q, d_v), (t_k,)), strict=True):
            expect_shape(f"{name} of {t_q} decoder and {t_k} encoder positions", got, shape)
        for part, expected in enumerate(reference):
            case.expect_close(pair[part], expected, {sentence: value[part] for sentence, value in wrong.items()})


@cross_attention.property("coverage is what each encoder position receives", "coverage 是编码器各位置所得", weight=3)
def cross_coverage(answer, case):
    decoder, encoder, w_q, w_k, _ = given = cross_arguments(case)
    _, weights = attend(decoder.double() @ w_q.double(), encoder.double() @ w_k.double(), encoder.double())
    _, coverage = cross_pair(answer, *given)
    scales = attention_mistakes(3, d_decoder=4, d_encoder=6, T_k=5, d_v=7)
    mistakes = {sentence: cross_reference(*given, **mistake)[1] for sentence, mistake in scales.items()} | {
        ("this is the mean over the queries; coverage is the sum", "这是对查询的平均；coverage 是求和"): weights.mean(
            -2
        ),
        ("this is the maximum over the queries; coverage is the sum", "这是最大值；coverage 是求和"): weights.amax(-2),
        ("the weights were summed over the keys; sum over the queries", "沿键求了和；应沿查询求和"): weights.sum(-1),
        ("these are the weights themselves; sum them over the queries", "这是权重本身；应沿查询求和"): weights,
        ("every encoder position was given the same", "编码器的每个位置给了一样的数"): torch.full((5,), 3 / 5),
    }
    case.expect_close(coverage, weights.sum(-2), mistakes)


@cross_attention.property(
    "a decoder position moves its own context alone", "解码器的一个位置只影响自己的 context", ONCE
)
def cross_decoder_moves(answer, case):
    decoder, *rest = cross_arguments(case)
    context, coverage = cross_pair(answer, decoder, *rest)
    moved = decoder.clone()
    moved[1] += 3
    new_context, new_coverage = cross_pair(answer, moved, *rest)
    expect(
        not case.close(new_context[1], context[1]),
        "decoder position 1 was changed and its context stayed: the queries do not come from the decoder",
        "改动了解码器的位置 1，它的 context 却没变：查询不是来自解码器",
    )
    expect(
        case.close(new_context[::2], context[::2]),
        "decoder position 1 was changed and others moved: keys or values use it, or the softmax runs over queries",
        "改动了解码器的位置 1，别的位置也变了：键或值用到了解码器，或者 softmax 沿查询的轴做了",
    )
    expect(not case.close(new_coverage, coverage), "coverage did not change", "coverage 没有变")


@cross_attention.property("an encoder position moves every context", "编码器的一个位置影响所有 context", ONCE)
def cross_encoder_moves(answer, case):
    decoder, encoder, *w = cross_arguments(case)
    context, _ = cross_pair(answer, decoder, encoder, *w)
    for position in range(5):
        moved = encoder.clone()
        moved[position] = -2 * moved[position]
        new_context, _ = cross_pair(answer, decoder, moved, *w)
        still = [row for row in range(3) if case.close(new_context[row], context[row])]
        expect(
            not still,
            f"encoder position {position} was changed and decoder positions {still} did not notice: masked or cut off",
            f"改动了编码器的位置 {position}，解码器的位置 {still} 却没有变：被掩码或截断挡住了",
        )


@cross_attention.property("the order of the encoder does not matter", "与编码器的次序无关", ONCE)
def cross_invariant(answer, case):
    decoder, encoder, *w = cross_arguments(case)
    context, coverage = cross_pair(answer, decoder, encoder, *w)
    expect_shape("context", context, (3, 7))
    expect_shape("coverage", coverage, (5,))
    expect(
        not case.close(coverage, coverage[:1].expand(5)),
        "every encoder position received the same: coverage does not depend on the scores",
        "编码器的每个位置得到的都一样：coverage 与分数无关",
    )
    along = (
        "coverage does not follow when the encoder is reordered: it was sorted, or something depends on the position",
        "编码器换了次序，coverage 没有跟着换：它被排过序，或者有的计算依赖位置",
    )
    case.expect_follows_order(lambda encoder: cross_pair(answer, decoder, encoder, *w)[1], encoder, otherwise=along)
    sentence = (
        "with the encoder in another order, the decoder gets another context: something depends on the position",
        "换一下编码器的次序，解码器得到不同的 context：有的计算依赖位置",
    )
    case.expect_close(cross_pair(answer, decoder, encoder.flip(0), *w)[0], context, otherwise=sentence)


@cross_attention.property("leading dimensions are a batch and broadcast", "前置维度当作批次，可以广播", ONCE)
def cross_batch(answer, case):
    _, _, *w = cross_arguments(case)
    leads = [((2, 3), (2, 1)), ((3,), ()), ((), (3,)), ((2, 1), (3,)), ((3,), (3,)), ((1,), (1,))]
    case.expect_batch(lambda decoder, encoder: cross_pair(answer, decoder, encoder, *w), (4, 4), (5, 6), leads=leads)


@cross_attention.property("large scores do not overflow", "分数很大也不溢出")
def cross_stable(answer, case):
    rows, *w, weights = large_scores(case)
    weights = weights[::2]
    context, coverage = cross_pair(answer, rows[::2], rows, *w)
    case.expect_close(context, weights @ (rows @ w[2]).double().cpu(), otherwise=TOO_LARGE)
    case.expect_close(coverage, weights.sum(0), otherwise=TOO_LARGE)


cross_attention.add_standard_properties(cross_arguments, lambda answer, case: partial(cross_pair, answer))
