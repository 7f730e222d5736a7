"""Hidden reference tests of the chapter `similarity`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from insidegpt.checks import (
    ONCE,
    Case,
    Check,
    PropertyFailed,
    Text,
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
SCORES_2 = [0.9544, 1.4950, 1.4754, 0.8434, 0.7070, 1.0865]
SHARES_2_SUM = [0.1455, 0.2278, 0.2249, 0.1285, 0.1077, 0.1656]
SHARES_2_SOFTMAX = [0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581]
CONTEXT_2 = [0.4419, 0.6515, 0.5683]
# fmt: on

OTHER_DIMENSION = ("the shares run over the rows; they run over the last dimension", "沿行的方向分了份额；应沿最后一维")
PRINTED = (
    "right for the six words that the chapter prints, wrong for others: compute the result",
    "正文里印出的六个词对了，换一组就错：结果要算出来",
)
NOT_SHIFT = ("a row keeps its shares when a constant is added to it", "一行加上同一个数，份额应不变")


def dots(x: Tensor) -> Tensor:
    """The scores (…, T, T) in float64."""
    x = x.double()
    return x @ x.mT


# --- attention_scores -----------------------------------------------------------------------------------------

attention_scores = Check("attention_scores")

OWN_WORD = (
    "a word came out as nearest to itself: leave it out before you look for the highest score",
    "有的词最近的是它自己：找最高分之前应先把它排除",
)


def scores_pair(answer, x: Tensor) -> tuple[Tensor, Tensor]:
    return expect_tensors(answer(x), "scores", "nearest")


def scores_and_nearest(answer, case: Case, x: Tensor) -> tuple[Tensor, Tensor]:
    """The pair, once it is known to have the shapes that the exercise asks for and scores that differ in a row."""
    scores, nearest = scores_pair(answer, x)
    expect_shape("scores", scores, (*x.shape[:-1], x.shape[-2]))
    expect_shape("nearest", nearest, x.shape[:-1])
    expect(
        not case.close(scores, scores[..., :1].expand_as(scores)),
        "a word has the same score with all words: the scores do not depend on the other word",
        "一个词与所有词的分数都一样：分数与另一个词无关",
    )
    return scores, nearest


def others(scores: Tensor) -> Tensor:
    """The scores with −∞ where a word meets itself."""
    own = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(own, -math.inf)


def expect_nearest(case: Case, nearest: Tensor, x: Tensor) -> None:
    """Fail unless each index of `nearest` belongs to another word, and none other has a higher score.

    Scores are compared, not indices: in bfloat16 two of them may round to the same number.
    """
    expect_shape("nearest", nearest, x.shape[:-1])
    expect(
        nearest.dtype == torch.int64,
        f"nearest has dtype {nearest.dtype}; indices are torch.int64",
        f"nearest 的 dtype 是 {nearest.dtype}；索引应为 torch.int64",
    )
    t, scores = x.shape[-2], dots(x)
    expect(
        not torch.equal(nearest, others(scores).argmax(-1) + 1),
        "nearest counts the words from 1; count from 0",
        "nearest 从 1 数起；应从 0 数起",
    )
    expect(
        bool(((nearest >= 0) & (nearest < t)).all()),
        f"nearest holds {nearest.min().item()} to {nearest.max().item()}; the words are 0 to {t - 1}",
        f"nearest 的值从 {nearest.min().item()} 到 {nearest.max().item()}；词的编号是 0 到 {t - 1}",
    )
    expect(bool((nearest != torch.arange(t, device=nearest.device)).all()), *OWN_WORD)
    cosines = torch.nn.functional.normalize(x.double(), dim=-1)
    mistakes = {
        ("nearest is the word with the lowest score; take the highest", "nearest 是分数最低的词；应取最高的"): (
            -others(-scores).amax(-1)
        ),
        (
            "nearest goes by the cosine; go by the scores, in which long vectors count for more",
            "nearest 按余弦来选；应按分数来选，向量越长分数越高",
        ): scores.gather(-1, others(cosines @ cosines.mT).argmax(-1, keepdim=True))[..., 0],
    }
    otherwise = ("some other word has a higher score than the nearest", "另有别的词，分数高于 nearest")
    got = scores.gather(-1, nearest[..., None])[..., 0]
    case.expect_close(got, others(scores).amax(-1), mistakes, otherwise)


@attention_scores.property("the dot product of every pair of words", "每一对词的点积", weight=3)
def scores_dots(answer, case):
    x = case.randn(5, 3)
    scores, _ = scores_pair(answer, x.clone())
    expect(
        not torch.isneginf(scores).any(),
        "a word's score with itself became −∞ in `scores` too: mask a copy of it",
        "`scores` 里词与它自己的分数也成了 −∞：应在副本上排除",
    )
    expected, long = dots(x), x.double()
    lengths = long.norm(dim=-1)
    mistakes = {
        ("this is the cosine: do not divide by the lengths", "这是余弦：不要除以向量的长度"): expected
        / (lengths[:, None] * lengths),
        ("the scores are divided by √d; leave them as they are", "分数除以了 √d；应保持原样"): expected / math.sqrt(3),
        ("these are weights: leave out the softmax", "这是权重：不要做 softmax"): expected.softmax(-1),
        ("features are compared with features: x.mT @ x; compare words", "比较的是特征与特征（x.mT @ x）；应比较词"): (
            long.mT @ long
        ),
        ("these are distances, not dot products", "这是距离，不是点积"): torch.cdist(long, long),
        ("the mean was subtracted from the words", "词向量减去了均值"): dots(long - long.mean(0)),
        (
            "a word's score with itself became 0: `scores` keeps all dot products",
            "词与它自己的分数成了 0：`scores` 应保留全部点积",
        ): expected - expected.diag().diag(),
        ("only words up to the present one are scored: take all pairs", "只算了到当前词为止的分数；应算所有的对"): (
            expected.tril()
        ),
        (
            "each pair is scored once: fill both halves of the matrix",
            "每对只算了一次：矩阵的两半都要填",
        ): expected.triu(),
    }
    case.expect_close(scores, expected, mistakes)


@attention_scores.property("the nearest other word", "离得最近的别的词", weight=3)
def scores_nearest(answer, case):
    words = case.tensor(WORDS)
    expect_nearest(case, scores_pair(answer, words.clone())[1], words)
    lonely = case.tensor([[1.0, 0.0], [-0.5, 1.0], [-0.25, -1.0]])  # every two have a negative score
    _, nearest = scores_pair(answer, lonely.clone())
    expect(
        nearest.tolist() != [0, 1, 2],
        "where all other scores are negative a word came out as nearest to itself: 0 is not low enough, −∞ is",
        "与其他词的分数全为负时，最近的成了它自己：用 0 排除还不够低，应用 −∞",
    )
    for x in (lonely, case.randn(2, 6, 4), case.randn(2, 3)):
        expect_nearest(case, scores_pair(answer, x.clone())[1], x)


@attention_scores.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def scores_batch(answer, case):
    def scores_and_best(x: Tensor) -> tuple[Tensor, Tensor]:
        scores, nearest = scores_and_nearest(answer, case, x)
        return scores, dots(x).gather(-1, nearest.long()[..., None])

    case.expect_batch(scores_and_best, (4, 3), leads=[((2, 3),), ((3,),), ((1,),)])
    case.expect_batch(scores_and_best, (3, 3), leads=[((3,),)])  # where .T fits by its shape


@attention_scores.property("the order of the words does not matter", "与词的次序无关", ONCE)
def scores_order(answer, case):
    otherwise = (
        "with the words in another order, the same words get other scores: something depends on the position",
        "换一下词的次序，同样的词得到不同的分数：有的计算依赖位置",
    )
    scores = partial(scores_and_nearest, answer, case)
    case.expect_follows_order(lambda x: scores(x)[0].sort(-1).values, case.randn(5, 3), otherwise)


attention_scores.add_standard_properties(
    lambda case: (case.randn(2, 4, 3),), lambda answer, case: lambda x: scores_and_nearest(answer, case, x)[0]
)


# --- normalize ------------------------------------------------------------------------------------------------

normalize = Check("normalize")

SUM, SOFTMAX = "sum", "softmax"


def shares(scores: Tensor, how: str, temperature: float) -> Tensor:
    scores = scores.double()
    if how == SUM:
        return scores / scores.sum(-1, keepdim=True)
    return torch.softmax((scores - scores.amax(-1, keepdim=True)) / temperature, -1)


def positive(case: Case, *shape: int) -> Tensor:
    """Scores whose rows have sums far from 0."""
    return case.randn(*shape).abs() + 0.5


@normalize.property("known shares of six scores", "六个分数的已知份额", ONCE, weight=3)
def normalize_golden(answer, case):
    scores, other = case.tensor(SCORES_2), positive(case, 6)
    by_sum, by_softmax = case.tensor(SHARES_2_SUM), case.tensor(SHARES_2_SOFTMAX)
    case.expect_close(
        answer(scores.clone(), SUM, 1.0),
        by_sum,
        {('"sum" gave the shares of "softmax"', "“sum” 给出了 softmax 的份额"): by_softmax},
    )
    case.expect_close(
        answer(scores.clone(), SOFTMAX, 1.0),
        by_softmax,
        {
            ('"softmax" gave the shares of "sum"', "“softmax” 给出了 sum 的份额"): by_sum,
            ("the powers are those of 2; take exp", "用的是 2 的幂；应取 exp"): torch.softmax(scores * math.log(2), -1),
        },
    )
    for how in (SUM, SOFTMAX):
        case.expect_close(answer(other.clone(), how, 1.0), shares(other, how, 1.0), otherwise=PRINTED)


@normalize.property("the temperature divides the scores", "分数除以温度", weight=3)
def normalize_temperature(answer, case):
    scores = positive(case, 2, 3, 5)
    for temperature in (0.5, 2.0):
        plain = shares(scores, SOFTMAX, 1.0)
        powered = scores.double() ** (1 / temperature)
        mistakes = {
            ("the scores are multiplied by the temperature; divide them by it", "分数乘以了温度；应除以温度"): (
                shares(scores, SOFTMAX, 1 / temperature)
            ),
            ("the temperature is not used", "没有用到温度"): plain,
            ("the temperature divides the shares; divide the scores", "除以温度的是份额；应是分数"): plain
            / temperature,
            ("the temperature multiplies the shares; divide the scores", "乘以温度的是份额；应是分数除以温度"): (
                plain * temperature
            ),
            ("the temperature is squared", "温度被平方了"): shares(scores, SOFTMAX, temperature**2),
            OTHER_DIMENSION: torch.softmax(scores.double() / temperature, -2),
        }
        case.expect_close(answer(scores.clone(), SOFTMAX, temperature), shares(scores, SOFTMAX, temperature), mistakes)
        by_sum = shares(scores, SUM, temperature)
        mistakes = {
            (
                'with "sum" the temperature cancels; the shares were divided by it',
                "用 sum 时温度会约去；份额却除以了它",
            ): (by_sum / temperature),
            (
                'with "sum" the temperature cancels; the shares were multiplied by it',
                "用 sum 时温度会约去；份额却乘以了它",
            ): (by_sum * temperature),
            ('with "sum" there are no powers', "用 sum 时没有乘幂"): powered / powered.sum(-1, keepdim=True),
            OTHER_DIMENSION: scores.double() / scores.double().sum(-2, keepdim=True),
        }
        case.expect_close(answer(scores.clone(), SUM, temperature), by_sum, mistakes)


@normalize.property("each row adds up to one", "每一行加起来等于一")
def normalize_rows(answer, case):
    for shape in ((5,), (4, 4), (2, 3, 6)):
        scores = positive(case, *shape)
        for how in (SUM, SOFTMAX):
            got = answer(scores.clone(), how, 0.7)
            case.expect_close(got, shares(scores, how, 0.7), {OTHER_DIMENSION: columns(scores, how, 0.7)})
            sums = got.double().sum(-1)
            case.expect_close(sums, torch.ones_like(sums))


def columns(scores: Tensor, how: str, temperature: float) -> Tensor:
    """The shares over the first dimension."""
    return shares(scores.movedim(0, -1), how, temperature).movedim(-1, 0)


@normalize.property("softmax ignores a constant added to a row, sum a factor", "softmax 不受加数影响，sum 不受倍数影响")
def normalize_invariance(answer, case):
    scores = positive(case, 3, 5)
    rows = case.tensor([[-4.0], [1.0], [8.0]])
    moved = scores + rows
    case.expect_close(answer(moved.clone(), SOFTMAX, 0.5), shares(moved, SOFTMAX, 0.5), otherwise=NOT_SHIFT)
    factor = case.tensor([[-2.0], [0.5], [4.0]])
    negative = (
        "shares by sum change when a row is multiplied by a number; keep signs, take no abs",
        "一行乘以同一个数，sum 的份额应不变；保留正负号，不要取绝对值",
    )
    case.expect_close(answer(scores * factor, SUM, 0.5), shares(scores, SUM, 0.5), otherwise=negative)
    signed = case.tensor([[3.0, -1.0, 2.0], [1.0, 1.0, -4.0]])
    case.expect_close(answer(signed.clone(), SUM, 2.0), shares(signed, SUM, 2.0), otherwise=negative)


@normalize.property("large scores and small temperatures do not overflow", "分数很大、温度很小也不溢出")
def normalize_stable(answer, case):
    high = case.tensor([[1e4, 1e4 - 64, -1e4], [0.0, 64.0, 0.0], [-1e4, -1e4, -1e4]])
    third = [1 / 3] * 3
    expected = case.tensor([[1, 0, 0], [0, 1, 0], third])
    otherwise = (
        "scores of 10000, 9936, −10000 should give 1, 0, 0: were they clamped, or one maximum taken for all rows?",
        "分数为 10000、9936、−10000 时，份额应为 1、0、0：是否截断了分数，或者所有行共用了一个最大值？",
    )
    case.expect_close(answer(high.clone(), SOFTMAX, 1.0), expected, otherwise=otherwise)
    cold = (
        "scores divided by a small temperature overflow: subtract each row's maximum first, then divide",
        "分数除以很小的温度会溢出：应先减去每行的最大值，再除",
    )
    got = answer(high, SOFTMAX, 1e-4)
    expect(bool(torch.isfinite(got).all()), *cold)
    case.expect_close(got, expected, otherwise=cold)
    small = case.tensor([3.0, 1.0, 4.0])
    case.expect_close(answer(small.clone(), SUM, 1e-4), shares(small, SUM, 1.0), otherwise=cold)


@normalize.property("cold picks the highest, hot shares evenly", "低温只取最高，高温平分")
def normalize_limits(answer, case):
    scores = case.tensor([[1.0, 3.0, 2.0, 3.0], [-5.0, -4.0, -6.0, -7.0]])
    ties = (
        "at temperature 1e-3 two equal highest scores share: 0, 0.5, 0, 0.5",
        "温度为 1e-3 时，两个并列最高的分数应平分：0、0.5、0、0.5",
    )
    case.expect_close(
        answer(scores.clone(), SOFTMAX, 1e-3),
        case.tensor([[0, 0.5, 0, 0.5], [0, 1, 0, 0]]),
        {
            (
                "a high temperature picks and a low one spreads: it is the wrong way round",
                "高温只取最高、低温平分：弄反了",
            ): shares(scores, SOFTMAX, 1e3)
        },
        otherwise=ties,
    )
    even = ("at temperature 1e5 all shares are nearly equal", "温度为 1e5 时，各份应几乎相等")
    case.expect_close(answer(scores.clone(), SOFTMAX, 1e5), shares(scores, SOFTMAX, 1e5), otherwise=even)


@normalize.property("a wrong `how` or temperature is refused", "拒绝错误的 how 或温度", ONCE)
def normalize_refuses(answer, case):
    scores = positive(case, 2, 3)
    case.expect_close(answer(scores.clone(), SOFTMAX, 0.5), shares(scores, SOFTMAX, 0.5))
    for how, temperature, given in (("mean", 1.0, "mean"), (SOFTMAX, 0.0, "0"), (SOFTMAX, -2.0, "2"), (SUM, -2.0, "2")):
        try:
            answer(scores, how, temperature)
        except ValueError as error:
            expect(
                given in str(error),
                f"normalize(scores, {how!r}, {temperature}): the ValueError does not say what was given: {error}",
                f"normalize(scores, {how!r}, {temperature})：抛出的 ValueError 没有说明给的是什么：{error}",
            )
        else:
            raise PropertyFailed(
                f"normalize(scores, {how!r}, {temperature}) gave a result; it should raise a ValueError",
                f"normalize(scores, {how!r}, {temperature}) 给出了结果；应抛出 ValueError",
            )


def both_ways(answer, case: Case, scores: Tensor) -> list[Tensor]:
    found = [expect_tensor(answer(scores, how, 0.25)) for how in (SUM, SOFTMAX)]
    for got in found:
        expect_shape("the result", got, scores.shape)
        expect(
            case.close(got.sum(-1), torch.ones(scores.shape[:-1])) or not case.close(got, scores),
            "the scores came back as they were",
            "返回的就是原来的分数",
        )
    expect(
        not case.close(*found),
        '"sum" and "softmax" gave the same shares: the result does not depend on `how`',
        "sum 与 softmax 给出了同样的份额：结果与 how 无关",
    )
    return found


normalize.add_standard_properties(
    lambda case: (positive(case, 2, 5),), lambda answer, case: partial(both_ways, answer, case)
)


# --- context_vectors ------------------------------------------------------------------------------------------

context_vectors = Check("context_vectors")

BREADTH = ("the breadth", "宽度")


def context_pair(answer, x: Tensor) -> tuple[Tensor, Tensor]:
    return expect_tensors(answer(x), "context", "breadth")


def context_and_breadth(answer, case: Case, x: Tensor) -> tuple[Tensor, Tensor]:
    """The pair, once it has the shapes that the exercise asks for and comes from weights that depend on the words.

    A mixture whose weights are always the same is linear in the words: the context of a sum is the sum of contexts.
    """
    words = x.detach().clone()
    context, breadth = context_pair(answer, x)
    expect_shape("context", context, x.shape)
    expect_shape("breadth", breadth, x.shape[:-1])
    same, squares, sums = (context_pair(answer, y)[0] for y in (words.clone(), words**2, words + words**2))
    expect(
        case.close(same, context),
        "two calls with the same words gave different contexts: something random is inside",
        "同样的词，两次调用得到不同的上下文：里面有随机的成分",
    )
    expect(
        x.shape[-2] == 1 or not case.close(sums, same + squares),
        "the words are always mixed in the same way: the weights do not depend on the words",
        "不论是什么词，混合的方式都一样：权重与词无关",
    )
    return context, breadth


def breadths(weights: Tensor) -> Tensor:
    return 1 / weights.square().sum(-1)


def context_reference(x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    weights = dots(x).softmax(-1) if weights is None else weights
    return weights @ x.double(), breadths(weights)


def wrong_weights(x: Tensor) -> dict[Text, Tensor]:
    """What known mistakes make of the weights (T, T), by the sentences that name them."""
    scores, directions = dots(x), torch.nn.functional.normalize(x.double(), dim=-1)
    return {
        (
            "softmax ran over the wrong axis: each column adds up to one, each row should",
            "softmax 的轴错了：现在是每列之和为一，应是每行",
        ): scores.softmax(-2),
        ("the scores are divided by √d; here they are used as they are", "分数除以了 √d；这里直接用分数"): (
            scores / math.sqrt(x.shape[-1])
        ).softmax(-1),
        ("the shares are those of sum-normalising; use softmax", "份额是按总和归一的；应用 softmax"): scores
        / scores.sum(-1, keepdim=True),
        ("there is no softmax: the scores themselves were the weights", "没有做 softmax：直接拿分数当了权重"): scores,
        ("the scores are cosines; use dot products", "分数用了余弦；应用点积"): (directions @ directions.mT).softmax(
            -1
        ),
        ("a word leaves itself out; it reads itself too", "词把自己排除在外了；它也读自己"): others(scores).softmax(-1),
    }


@context_vectors.property("known numbers of the six words", "六个词的已知结果", ONCE, weight=3)
def context_golden(answer, case):
    x, other = case.tensor(WORDS), case.randn(6, 3)
    context, breadth = context_pair(answer, x.clone())
    expect_shape("context", context, (6, 3))
    mistakes = {name: context_reference(x, weights)[0][1] for name, weights in wrong_weights(x).items()}
    case.expect_close(context[1], case.tensor(CONTEXT_2), mistakes)
    case.expect_close(context, context_reference(x)[0])
    case.expect_close(breadth, context_reference(x)[1])
    case.expect_close(context_pair(answer, other.clone())[0], context_reference(other)[0], otherwise=PRINTED)


@context_vectors.property(
    "a weighted sum of the words, by softmax of the scores", "用分数的 softmax 对词加权求和", weight=3
)
def context_weighted(answer, case):
    x = case.randn(5, 3)
    context, _ = context_pair(answer, x.clone())
    mistakes = {name: context_reference(x, weights)[0] for name, weights in wrong_weights(x).items()}
    weights = dots(x).softmax(-1)
    mistakes |= {
        ("the word itself was added to its context", "上下文里又加上了词本身"): weights @ x.double() + x.double(),
        ("these are the weights; multiply them by the words", "这是权重；还要乘以词向量"): weights,
        ("this is a plain mean: the weights are not used", "这只是平均：没有用到权重"): x.double().mean(0).expand(5, 3),
    }
    case.expect_close(context, context_reference(x)[0], mistakes)


@context_vectors.property("the breadth is one over the sum of squared weights", "宽度是权重平方和的倒数", weight=3)
def context_breadth(answer, case):
    x = case.randn(5, 3)
    _, breadth = context_pair(answer, x.clone())
    weights = dots(x).softmax(-1)
    mistakes = {
        ("this is the sum of squares; the breadth is one over it", "这是平方和；宽度是它的倒数"): weights.square().sum(
            -1
        ),
        ("the squares of each column were added; add those of each row", "加的是每列的平方；应加每行的"): (
            1 / weights.square().sum(-2)
        ),
        (
            "this is the exponential of the entropy; take one over the sum of squares",
            "这是熵的指数；应取平方和的倒数",
        ): (torch.special.entr(weights).sum(-1).exp()),
        ("this is one over the highest weight; use all weights", "这是最大权重的倒数；应用到所有权重"): 1
        / weights.amax(-1),
        ("one over the root of the sum of squares: leave out the root", "这是平方和开方的倒数；不要开方"): (
            weights.square().sum(-1).rsqrt()
        ),
        ("this is the number of words; some weigh more than others", "这是词数；各词的权重并不相同"): torch.full(
            (5,), 5.0
        ),
        ("the breadths were averaged; give one for each word", "宽度被平均了；应每个词一个"): breadths(weights).mean(),
        **{name: breadths(wrong) for name, wrong in wrong_weights(x).items()},
    }
    case.expect_close(breadth, breadths(weights), mistakes)
    same = case.tensor([[0.5, 0.25]] * 4)
    case.expect_close(context_pair(answer, same)[1], torch.full((4,), 4.0))


@context_vectors.property("every context vector lies among the words", "每个上下文向量都在词的包围之中", ONCE)
def context_hull(answer, case):
    x = case.randn(6, 3)
    x[:, 0] = 1.0  # a feature that all words share stays as it is, whatever the shares are
    context, _ = context_pair(answer, x.clone())
    expect_shape("context", context, (6, 3))
    case.expect_close(
        context[:, 0],
        torch.ones(6),
        otherwise=(
            "all words have 1 in their first place and a context vector has not: its weights do not add up to one",
            "所有词的第一个数都是 1，上下文向量的却不是：它的权重之和不为一",
        ),
    )
    low, high, rounding = x.double().amin(0), x.double().amax(0), 0.05
    expect(
        bool(((context > low - rounding) & (context < high + rounding)).all()),
        "a context vector lies outside the words: some weight is negative",
        "有的上下文向量跑到了词的外面：有负的权重",
    )
    otherwise = (
        "the context is the word itself: nothing was taken from the others",
        "上下文就是词本身：没有从别的词取来什么",
    )
    expect(not case.close(context, x), *otherwise)
    expect(
        not case.close(context, context[:1].expand(6, 3)),
        "all words have the same context vector: the weights do not depend on who reads",
        "所有词的上下文向量都一样：权重与谁在读无关",
    )
    context_and_breadth(answer, case, x)


@context_vectors.property("the order of the words does not matter", "与词的次序无关", ONCE)
def context_order(answer, case):
    otherwise = (
        "with the words in another order, the same words get other results: something depends on the position",
        "换一下词的次序，同样的词得到不同的结果：有的计算依赖位置",
    )
    x = case.randn(5, 3)
    case.expect_follows_order(lambda x: context_pair(answer, x)[0], x, otherwise)
    case.expect_follows_order(lambda x: context_pair(answer, x)[1], x, otherwise)


@context_vectors.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def context_batch(answer, case):
    both = partial(context_and_breadth, answer, case)
    case.expect_batch(both, (5, 3), leads=[((2, 3),), ((3,),), ((1,),)])
    case.expect_batch(both, (3, 3), leads=[((3,),)])  # where .T fits by its shape
    case.expect_close(both(case.randn(1, 3))[1], torch.ones(1))


@context_vectors.property("large scores do not overflow", "分数很大也不溢出")
def context_stable(answer, case):
    x = case.tensor([[140, 0, 0], [70, 0, 0], [0, 0, 0]])
    context, breadth = context_pair(answer, x)
    otherwise = (
        "scores of 19600, 9800 and 0 should give weights of 1, 0 and 0: were they clamped or replaced on the way?",
        "分数为 19600、9800、0 时，权重应为 1、0、0：途中是否有数被截断或替换？",
    )
    case.expect_close(context, case.tensor([[140, 0, 0], [140, 0, 0], [70, 0, 0]]), otherwise=otherwise)
    case.expect_close(breadth, case.tensor([1, 1, 3]), otherwise=otherwise)


context_vectors.add_standard_properties(
    lambda case: (case.randn(2, 4, 3),), lambda answer, case: partial(context_and_breadth, answer, case)
)


# --- token_cost -----------------------------------------------------------------------------------------------

token_cost = Check("token_cost")

KEYS = ("tokens", "distinct", "bytes_per_token", "score_entries")
ENGLISH = "Your journey starts with one step, your second with another."
CHINESE = "千里之行，始于足下 🤖"


def characters(text: str) -> list[int]:
    return [ord(character) for character in text]


def utf8(text: str) -> list[int]:
    return list(text.encode("utf-8"))


def pairs(text: str) -> list[int]:
    """Two characters a token, the ids counted as they first come."""
    pieces = [text[at : at + 2] for at in range(0, len(text), 2)]
    seen = list(dict.fromkeys(pieces))
    return [seen.index(piece) for piece in pieces]


def words(text: str) -> list[int]:
    seen = list(dict.fromkeys(text.split()))
    return [seen.index(word) for word in text.split()]


ENCODERS = (characters, utf8, pairs, words)


def cost(answer, text: str, encode: Callable) -> dict[str, float]:
    """What the answer returned, once it is known to be a dict with the four keys and numbers in it."""
    return expect_keys(answer(text, encode), KEYS)


def expect_number(key: str, got, expected: float, mistakes: dict[Text, float] | None = None) -> None:
    """Fail unless the number under this key is the expected one; name the first mistake that gives it."""
    got = float(got)
    if math.isclose(got, expected, rel_tol=1e-6):
        return
    for sentence, value in (mistakes or {}).items():
        expect(not math.isclose(got, value, rel_tol=1e-6), *sentence)
    raise PropertyFailed(f"{key} is {got:.6g}; expected {expected:.6g}", f"{key} 是 {got:.6g}；应为 {expected:.6g}")


@token_cost.property("tokens are counted as the encoder gives them", "词元数由编码函数决定", ONCE)
def cost_tokens(answer, case):
    for encode in ENCODERS:
        for text in (ENGLISH, CHINESE):
            mistakes = {
                ("these are words; count what `encode` returns", "这是词数；应数 `encode` 返回的"): len(text.split()),
                ("these are characters; count what `encode` returns", "这是字符数；应数 `encode` 返回的"): len(text),
                ("these are bytes; count what `encode` returns", "这是字节数；应数 `encode` 返回的"): len(
                    text.encode()
                ),
                ("tokens counts each id once; count every token", "tokens 里每个编号只数了一次；每个词元都要数"): (
                    len(set(encode(text)))
                ),
            }
            expect_number("tokens", cost(answer, text, encode)["tokens"], len(encode(text)), mistakes)


@token_cost.property("bytes of UTF-8, not characters", "按 UTF-8 的字节算，不按字符", ONCE, weight=3)
def cost_bytes(answer, case):
    for text in (ENGLISH, CHINESE):
        for encode in ENCODERS:
            t, size = len(encode(text)), len(text.encode("utf-8"))
            mistakes = {
                (
                    "these are characters per token: a Chinese character has three bytes in UTF-8, an emoji four",
                    "这是每个词元的字符数：UTF-8 中一个汉字占三个字节，一个表情占四个",
                ): len(text) / t,
                ("these are bytes of UTF-16; count those of UTF-8", "这是 UTF-16 的字节；应按 UTF-8"): (
                    len(text.encode("utf-16-le")) / t
                ),
                ("these are bytes of UTF-16 with its mark; count those of UTF-8", "这是带标记的 UTF-16；应按 UTF-8"): (
                    len(text.encode("utf-16")) / t
                ),
                ("only ASCII was counted; every character has bytes", "只数了 ASCII；每个字符都有字节"): (
                    len(text.encode("ascii", "ignore")) / t
                ),
                ("these are tokens per byte; turn the ratio round", "这是每个字节的词元数；比例倒了"): t / size,
                ("the division was rounded to a whole number", "除法取了整"): size // t,
                ("these are all bytes; divide by the tokens", "这是总字节数；还要除以词元数"): size,
                (
                    "bytes are divided by the distinct tokens; by all of them",
                    "字节数除以了不同词元的个数；应除以全部词元数",
                ): (size / len(set(encode(text)))),
            }
            expect_number("bytes_per_token", cost(answer, text, encode)["bytes_per_token"], size / t, mistakes)


@token_cost.property("every token scores every token", "每个词元给每个词元打分", ONCE, weight=3)
def cost_scores(answer, case):
    for encode in ENCODERS:
        t = len(encode(CHINESE * 3))
        mistakes = {
            ("this is T; the score matrix has T rows and T columns", "这是 T；分数矩阵有 T 行 T 列"): t,
            ("only half of the matrix was counted; here all pairs are scored", "只数了半个矩阵；这里每一对都打分"): (
                t * (t + 1) / 2
            ),
            ("pairs of different tokens only; a token scores itself too", "只数了不同词元的对；词元也给自己打分"): t
            * (t - 1),
            (
                "unordered pairs only: the matrix holds (i, j) and (j, i)",
                "只数了无序的对；矩阵里 (i, j) 和 (j, i) 都有",
            ): (t * (t - 1) / 2),
            ("this is the square of the characters; of the tokens", "这是字符数的平方；应是词元数的平方"): len(
                CHINESE * 3
            )
            ** 2,
            ("this is the square of the distinct tokens; take all", "这是不同词元个数的平方；应取全部词元"): (
                len(set(encode(CHINESE * 3))) ** 2
            ),
            ("this counts bytes of memory; count entries", "这是内存的字节数；应数元素个数"): 4 * t**2,
        }
        expect_number("score_entries", cost(answer, CHINESE * 3, encode)["score_entries"], t**2, mistakes)


@token_cost.property("distinct tokens", "不同的词元", ONCE)
def cost_distinct(answer, case):
    for encode in ENCODERS:
        for text in (ENGLISH, CHINESE * 3):
            ids = encode(text)
            mistakes = {
                ("distinct counts every token; count each id once", "distinct 把每个词元都数了；同一编号只数一次"): len(
                    ids
                ),
                ("these are distinct characters; count distinct ids", "这是不同的字符；应数不同的编号"): len(set(text)),
                ("this is the highest id plus one; some ids may not occur", "这是最大编号加一；有的编号可能没有出现"): (
                    max(ids) + 1
                ),
            }
            expect_number("distinct", cost(answer, text, encode)["distinct"], len(set(ids)), mistakes)


@token_cost.property("lists, tuples and tensors of ids", "编号可以是列表、元组或张量", ONCE)
def cost_kinds(answer, case):
    ids = words(ENGLISH)
    for kind in (list, tuple, lambda ids: torch.tensor(ids, device=case.device)):
        returned = kind(ids)
        name = type(returned).__name__
        try:
            out = cost(answer, ENGLISH, lambda text, returned=returned: returned)
        except (TypeError, AttributeError) as error:
            raise PropertyFailed(
                f"with ids in a {name} it raised {type(error).__name__}: {error}",
                f"编号放在 {name} 里时抛出了 {type(error).__name__}：{error}",
            ) from None
        mistakes = {
            (
                f"with ids in a {name}, equal ids were counted as different: its elements are objects, take .tolist()",
                f"编号放在 {name} 里时，相同的编号被当成不同的：它的元素是对象，先用 .tolist()",
            ): len(ids)
        }
        expect_number("tokens", out["tokens"], len(ids))
        expect_number("distinct", out["distinct"], len(set(ids)), mistakes)


@token_cost.property("a text without tokens", "没有词元的文本", ONCE)
def cost_empty(answer, case):
    expect_number("tokens", cost(answer, ENGLISH, words)["tokens"], len(words(ENGLISH)))
    for text, encode in (("", characters), ("  ", words), ("", lambda text: torch.tensor([], dtype=torch.int64))):
        try:
            out = cost(answer, text, encode)
        except ZeroDivisionError:
            raise PropertyFailed(
                "a text without tokens divided by zero; its bytes_per_token is 0.0",
                "没有词元的文本导致除以零；它的 bytes_per_token 是 0.0",
            ) from None
        for key in KEYS:
            expect(
                float(out[key]) == 0,
                f"{key} of a text without tokens is {out[key]}; it is 0",
                f"没有词元的文本，{key} 是 {out[key]}；应为 0",
            )


@token_cost.property("the encoder reads the very text, once", "编码函数只读一次，读的就是原文", ONCE)
def cost_once(answer, case):
    text, seen = "  Your JOURNEY\nstarts → 千里.  \n", []

    def encode(text: str) -> list[int]:
        seen.append(text)
        return characters(text)

    out = cost(answer, text, encode)
    expect(bool(seen), "the encoder was never called", "没有调用编码函数")
    expect(
        all(given == text for given in seen),
        f"the encoder was given {seen[0]!r}; the text is {text!r}",
        f"给编码函数的是 {seen[0]!r}；原文是 {text!r}",
    )
    expect(
        len(seen) == 1,
        f"the encoder was called {len(seen)} times: a book takes a while, keep the result",
        f"编码函数被调用了 {len(seen)} 次：一本书要编码很久，请把结果存下来",
    )
    expect_number("tokens", out["tokens"], len(text))
    expect_number("bytes_per_token", out["bytes_per_token"], len(text.encode("utf-8")) / len(text))


@token_cost.property("three ints and a float", "三个 int，一个 float", ONCE)
def cost_types(answer, case):
    for returned in (list, torch.tensor):
        out = cost(answer, CHINESE, lambda text, returned=returned: returned(pairs(text)))
        for key in KEYS:
            kind = float if key == "bytes_per_token" else int
            expect(
                isinstance(out[key], kind) and not isinstance(out[key], bool),
                f"{key} is a {type(out[key]).__name__}; make it a Python {kind.__name__}",
                f"{key} 是 {type(out[key]).__name__}；应是 Python 的 {kind.__name__}",
            )
        expect_number("tokens", out["tokens"], len(pairs(CHINESE)))
