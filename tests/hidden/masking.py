"""Hidden reference tests of the chapter `masking`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import torch
from torch import Tensor

from insidegpt.checks import FLOATS, ONCE, Check, Text, describe, expect, expect_shape, expect_tensor
from insidegpt.models import SHIPPED, load_model

ADDITIVE = (
    "this is an additive mask, with negative numbers; return booleans, True where the query may look",
    "这是加性掩码，里面有负数；应返回布尔值，True 表示可以看",
)
INVERTED = ("it is the wrong way round: True means that the query may look", "正好反了：True 表示可以看")
NO_MASK = ("every query sees every key: nothing is masked", "每个查询都能看所有的键：什么都没有遮住")
TOP_LEFT = (
    "aligned top left, so that a new query sees the first keys; the last query is as late as the last key",
    "按左上角对齐了，新的查询只能看最前面的键；最后一个查询应与最后一个键同时",
)
NOT_ITSELF = ("a position does not see itself; the diagonal is allowed", "位置看不到自己；对角线是允许的")
ONE_TOO_FAR = ("a query sees one key of its future", "查询多看到了一个未来的键")
TRANSPOSED = ("queries and keys have changed places: queries are rows", "查询与键互换了位置：查询占行")


def grid(t_q: int, t_k: int, rule: Callable[[int, int], bool]) -> Tensor:
    """Boolean mask (t_q, t_k): `rule(query, key)`, where both count positions from the first key, t_q the last ones."""
    late = t_k - t_q
    rows = [[bool(rule(row + late, key)) for key in range(t_k)] for row in range(t_q)]
    return torch.tensor(rows, dtype=torch.bool)


def causal(query: int, key: int) -> bool:
    return key <= query


def expect_mask(out: object, expected: Tensor, mistakes: Mapping[Text, Tensor | None] | None = None) -> None:
    """Fail unless the answer returned this mask, as booleans or as numbers 0 and 1: the dtype has its own property.

    mistakes: what known mistakes would give, by the sentence that names each.
    """
    out = expect_tensor(out).cpu()
    expect(not (out.is_floating_point() and bool((out < 0).any())), *ADDITIVE)
    got = out != 0
    for sentence, value in {**(mistakes or {}), INVERTED: ~expected, NO_MASK: torch.ones_like(expected)}.items():
        expect(torch.equal(got, expected) or not torch.equal(got, value), *sentence)
    expect_shape("mask", got, expected.shape)
    wrong = (got != expected).nonzero().tolist()
    if wrong:
        at = wrong[0]
        entry = f"[{', '.join(map(str, at))}]"
        value, wanted = bool(got[tuple(at)]), bool(expected[tuple(at)])
        expect(
            False,
            f"entry {entry} is {value}; it should be {wanted} (query {at[-2]}, key {at[-1]})",
            f"元素 {entry} 是 {value}；应为 {wanted}（查询 {at[-2]}，键 {at[-1]}）",
        )


def expect_booleans(out: object, device: torch.device) -> Tensor:
    """The mask that an answer returned, a boolean tensor on this device that masks something and not everything."""
    mask = expect_tensor(out)
    expect(
        mask.dtype == torch.bool,
        f"the mask is {describe(mask)}; make it torch.bool",
        f"掩码是 {describe(mask)}；应是 torch.bool",
    )
    expect(
        mask.device.type == device.type,
        f"the mask is on {mask.device.type}; it should be on {device.type}, where the input is",
        f"掩码在 {mask.device.type} 上；应与输入一样在 {device.type} 上",
    )
    expect_some_masked(mask)
    return mask


def expect_some_masked(mask: Tensor) -> None:
    expect(bool((mask != 0).any() and (mask == 0).any()), "the mask says the same of all", "掩码对所有位置都一样")


def expect_heeded(function: Callable[[Tensor], object], given: Tensor, other: Tensor) -> Tensor:
    """What `function` makes of a tensor: no NaN, the same at each call, and something else of the `other` one."""
    result, again, changed = (expect_tensor(function(tensor.clone())) for tensor in (given, given, other))
    expect(not bool(result.isnan().any()), "there is a NaN in the result", "结果里出现了 NaN")
    expect(
        torch.equal(result, again),
        "two calls with the same input gave different results: something random is inside",
        "同样的输入，两次调用的结果不同：里面有随机的成分",
    )
    expect(
        not torch.equal(result, changed),
        "the result does not depend on the tensor that was given",
        "结果与传入的张量无关",
    )
    return result


def expect_untouched(function: Callable[[Tensor], object], before: Tensor, other: Tensor) -> Tensor:
    """Fail unless `function` leaves its tensor as it was; the result, which must depend on the tensor."""
    given = before.clone()
    function(given)
    expect(
        given.dtype == before.dtype and torch.equal(given, before),
        "the tensor that was given was changed in place",
        "传入的张量被原地修改了",
    )
    return expect_heeded(function, before, other)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention (…, T_q, d_v) in float64; a row without a key gives NaN. Vaswani et al., 2017, eq. 1."""
    q, k, v = q.double(), k.double(), v.double()
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return scores.masked_fill(~mask.to(scores.device), -math.inf).softmax(-1) @ v


# --- causal_mask ----------------------------------------------------------------------------------------------

causal_mask = Check("causal_mask")


def causal_mistakes(t_q: int, t_k: int) -> dict[Text, Tensor]:
    late = t_k - t_q
    return {
        TOP_LEFT: grid(t_q, t_k, lambda query, key: key <= query - late),
        NOT_ITSELF: grid(t_q, t_k, lambda query, key: key < query),
        ONE_TOO_FAR: grid(t_q, t_k, lambda query, key: key <= query + 1),
        (
            "a query sees itself and the future; it may look at itself and the past",
            "查询看到的是自己和未来；应是自己和过去",
        ): grid(t_q, t_k, lambda query, key: key >= query),
        TRANSPOSED: grid(t_q, t_k, causal).T,
        ("a query sees one key alone", "每个查询只能看到一个键"): grid(t_q, t_k, lambda query, key: key == query),
        ("a key is missing at the start of each row", "每一行的开头少了一个键"): grid(
            t_q, t_k, lambda query, key: 0 < key <= query
        ),
    }


def expect_causal(answer, sizes: Iterable[tuple[int, int]]) -> None:
    for t_q, t_k in sizes:
        expect_mask(answer(t_q, t_k), grid(t_q, t_k, causal), causal_mistakes(t_q, t_k))


@causal_mask.property("the last query sees all keys", "最后一个查询看得到所有的键", ONCE, weight=3)
def causal_one_query(answer, case):
    expect_causal(answer, [(1, 5), (1, 2), (1, 1)])
    expect_causal(answer, [(3, 6)])  # an answer without any mask is right so far


@causal_mask.property("bottom-right aligned", "右下对齐", ONCE, weight=3)
def causal_aligned(answer, case):
    expect_causal(answer, [(3, 5), (2, 7), (4, 5)])


@causal_mask.property("as many queries as keys: the lower triangle", "查询与键一样多时是下三角", ONCE)
def causal_square(answer, case):
    expect_causal(answer, [(4, 4), (3, 3), (6, 6)])


@causal_mask.property("queries before all keys see nothing", "早于所有键的查询什么都看不到", ONCE)
def causal_more_queries(answer, case):
    expect_causal(answer, [(5, 2), (3, 1), (6, 5)])


@causal_mask.property("a boolean tensor", "是布尔张量", ONCE)
def causal_boolean(answer, case):
    mask = expect_booleans(answer(3, 4), torch.device("cpu"))
    expect_shape("mask", mask, (3, 4))
    expect(bool(mask.any(-1).all()), "a query sees no key at all", "有一个查询什么键都看不到")
    expect_causal(lambda t_q, t_k: answer(t_q, t_k)[-1:], [(1, 4)])


@causal_mask.property("attention in two pieces equals attention at once", "分两段算注意力，与一次算完相同")
def causal_pieces(answer, case):
    q, k, v = (case.randn(6, 4) for _ in range(3))
    whole = attend(q, k, v, grid(6, 6, causal))
    for first in (4, 5):
        masks = [expect_tensor(answer(first, first)) != 0, expect_tensor(answer(6 - first, 6)) != 0]
        for mask, shape in zip(masks, ((first, first), (6 - first, 6)), strict=True):
            expect_shape("mask", mask, shape)
        pieces = [attend(q[:first], k[:first], v[:first], masks[0]), attend(q[first:], k, v, masks[1])]
        differ = (
            f"{first} words read first and then the rest give other results than all 6 at once",
            f"先读 {first} 个词，再读其余的，结果与一次读完 6 个词不同",
        )
        case.expect_close(torch.cat(pieces).to(case.dtype), whole, otherwise=differ)


# --- masked_softmax -------------------------------------------------------------------------------------------

masked_softmax = Check("masked_softmax")

EMPTY = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool)  # nothing is allowed in row 1
MASK = torch.tensor([[1, 0, 0, 0, 1], [1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], dtype=torch.bool)


def softmax_reference(scores: Tensor, mask: Tensor) -> Tensor:
    """In float64, row by row over what is allowed alone; a gradient flows through."""
    rows = []
    for row, allowed in zip(scores.double(), mask.to(scores.device), strict=True):
        spread = torch.zeros(len(row), dtype=torch.float64, device=row.device)
        rows.append(spread.index_put((allowed.nonzero()[:, 0],), row[allowed].softmax(0)))
    return torch.stack(rows)


def softmax_mistakes(scores: Tensor, mask: Tensor) -> dict[Text, Tensor]:
    s, on = scores.double(), mask.to(scores.device)
    ones = on.double()
    return {
        (
            "the mask multiplies the scores: a score of 0 is not nothing, exp(0) = 1",
            "掩码乘在了分数上：分数为 0 不等于没有，exp(0) = 1",
        ): (s * ones).softmax(-1),
        (
            "masked scores were set to 0 before and the weights after it, so rows sum to less than 1",
            "先把被遮住的分数设为 0，再把权重设为 0，每行之和小于 1",
        ): (s * ones).softmax(-1) * ones,
        (
            "the mask multiplies the weights, so that rows no longer sum to 1: mask before the softmax",
            "掩码乘在了权重上，每行之和不再是 1：应在 softmax 之前遮住",
        ): s.softmax(-1) * ones,
        ("the mask was added to the scores: a 1 more is no mask", "把掩码加到了分数上：多加 1 并不能遮住"): (
            (s + ones).softmax(-1)
        ),
        INVERTED: softmax_reference(scores, ~mask),
        ("nothing is masked", "什么都没有遮住"): s.softmax(-1),
        ("the softmax runs over the queries; it runs over the keys", "softmax 沿查询的轴做了；应沿键的轴做"): (
            s.masked_fill(~on, -math.inf).softmax(-2).nan_to_num()
        ),
        (
            "allowed entries share equally: the scores were lost",
            "允许的各项平分了权重：分数丢掉了",
        ): ones / ones.sum(-1, keepdim=True).clamp(min=1),
    }


def weights(answer, scores: Tensor, mask: Tensor) -> Tensor:
    return expect_tensor(answer(scores, mask.to(scores.device).clone()))


def shares(answer, scores: Tensor, mask: Tensor) -> Tensor:
    """The answer's weights, which at least must be shares, and depend on the mask."""
    expect_heeded(lambda mask: weights(answer, scores.detach().clone(), mask), mask, ~mask)
    got = weights(answer, scores, mask)
    expect(bool((got >= 0).all()), "a weight is negative or NaN: no softmax", "有负的或 NaN 的权重：没有做 softmax")
    expect(
        got.dim() != 2 or bool((got.sum(-1) < 1.1).all()),  # the axis in a batch has its own property
        "a row of weights sums to more than 1: no softmax",
        "有一行权重之和大于 1：没有做 softmax",
    )
    return got


def expect_no_nan(row: Tensor) -> None:
    expect(
        not bool(row.isnan().any()),
        "a row with nothing allowed became NaN (softmax of −inf alone is 0/0); it should be zeros",
        "空行变成了 NaN（全是 −inf 的 softmax 是 0/0）；应全为零",
    )


@masked_softmax.property(
    "masked entries weigh exactly 0, the others sum to 1", "遮住的权重恰为 0，其余之和为 1", weight=3
)
def softmax_values(answer, case):
    scores = case.randn(3, 5)
    got = weights(answer, scores.clone(), MASK)
    case.expect_close(got, softmax_reference(scores, MASK), softmax_mistakes(scores, MASK))
    left = got[~MASK.to(got.device)].abs().max().item()
    expect(
        left == 0,
        f"a masked entry weighs {left:.2g}; exactly 0 was asked for",
        f"遮住的一项权重是 {left:.2g}；应恰好为 0",
    )


@masked_softmax.property("a row with nothing allowed is all zeros", "空行全为零", weight=3)
def softmax_empty_row(answer, case):
    scores = case.randn(3, 4)
    got = weights(answer, scores.clone(), EMPTY)
    expect_shape("weights", got, (3, 4))
    expect_no_nan(got[1])
    rows = softmax_reference(scores, EMPTY)
    uniform, unmasked, lone = rows.clone(), rows.clone(), rows.clone()
    uniform[1], unmasked[1], lone[1] = 1 / 4, scores[1].double().softmax(0), torch.tensor([1.0, 0, 0, 0])
    mistakes = {
        (
            "an empty row got equal shares: a large negative number stands where −inf belongs",
            "空行的各项平分了权重：该用 −inf 的地方用了一个很大的负数",
        ): uniform,
        (
            "an empty row got its unmasked weights back: what was added to all of it cancels in the softmax",
            "空行得到了未遮住时的权重：整行加上同一个数，在 softmax 里会抵消",
        ): unmasked,
        ("an empty row was given a key to look at", "给空行硬塞了一个可看的键"): lone,
    }
    case.expect_close(got, rows, mistakes | softmax_mistakes(scores, EMPTY))
    expect(not bool(got[1].any()), "an empty row is not exactly 0", "空行不是恰好为 0")


@masked_softmax.property("gradients are right, and 0 where masked", "梯度正确，遮住处为 0", weight=3)
def softmax_gradient(answer, case):
    scores, pull = case.randn(3, 4), case.randn(3, 4)
    exact = scores.double().clone().requires_grad_()  # in float64 too another tensor, with a gradient of its own
    (softmax_reference(exact, EMPTY) * pull.double()).sum().backward()
    scores.requires_grad_()
    result = weights(answer, scores, EMPTY)
    expect_shape("weights", result, (3, 4))
    expect(
        result.requires_grad,
        "the result has lost its gradient (detach, .data, item, numpy, no_grad or torch.tensor cut it off)",
        "结果没有梯度了（detach、.data、item、numpy、no_grad、torch.tensor 都会切断梯度）",
    )
    (result * pull).sum().backward()
    expect(
        not bool(scores.grad.isnan().any()),
        "the gradient is NaN: replacing a NaN afterwards mends the values, not the way back",
        "梯度是 NaN：事后替换 NaN 只修好了数值，没有修好反向传播",
    )
    case.expect_close(scores.grad, exact.grad, otherwise=("the gradient is wrong", "梯度不对"))
    expect(
        not bool(scores.grad[~EMPTY.to(scores.device)].any()),
        "a gradient reaches a masked score",
        "梯度传到了被遮住的分数",
    )


@masked_softmax.property("whatever stands at a masked place, NaN and ∞ too", "遮住处是什么都不要紧，NaN 与 ∞ 也一样")
def softmax_ignores_masked(answer, case):
    def value_and_gradient(scores, mask, pull):
        scores = scores.detach().clone().requires_grad_()
        result = weights(answer, scores, mask)
        expect_shape("weights", result, mask.shape)
        expect(result.requires_grad, "the result has lost its gradient", "结果没有梯度了")
        (result * pull).sum().backward()
        # a NaN that stands there whatever the masked scores are is for other properties to tell
        return result.nan_to_num(nan=9), scores.grad.nan_to_num(nan=9)

    for mask in (MASK, EMPTY):
        scores, pull, seen = case.randn(*mask.shape), case.randn(*mask.shape), mask.any(-1)
        clean, slope = value_and_gradient(scores, mask, pull)
        mistakes = {sentence: wrong[seen] for sentence, wrong in softmax_mistakes(scores, mask).items()}
        case.expect_close(clean[seen], softmax_reference(scores, mask)[seen], mistakes)
        for name, odd in (("1e4", 1e4), ("inf", math.inf), ("-inf", -math.inf), ("NaN", math.nan)):
            spoilt, steep = value_and_gradient(scores.masked_fill(~mask.to(scores.device), odd), mask, pull)
            shows = (
                f"a masked score of {name} shows in the weights: mask first, then take the row's maximum and exp",
                f"遮住的分数为 {name} 时，影响了权重：应先遮住，再求该行的最大值和 exp",
            )
            bad = (
                f"a masked score of {name} shows in the gradient: masking after exp is too late on the way back",
                f"遮住的分数为 {name} 时，影响了梯度：在 exp 之后才遮住，反向传播时就晚了",
            )
            case.expect_close(spoilt, clean, otherwise=shows)
            case.expect_close(steep, slope, otherwise=bad)


@masked_softmax.property(
    "allowed scores may be as high or low as half the largest number", "允许的分数可达最大数的一半"
)
def softmax_extreme(answer, case):
    top = torch.finfo(case.dtype).max / 2
    scores = case.tensor([[-top, -top, 0, -top], [top, 0, top, -top], [0, 0, 0, 0]])
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 1], [0, 1, 1, 1]], dtype=torch.bool)
    expected = torch.tensor([[1 / 2, 1 / 2, 0, 0], [1, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3]])
    lost = (
        "allowed scores that are very low lost to the masked ones: what stands for −inf is not low enough",
        "允许的分数很低时，输给了被遮住的：代替 −inf 的数还不够低",
    )
    rounded = (
        "a logarithm is lost beside scores as large as these: take exp of the score less the row's maximum, "
        "and divide by the sum",
        "分数这么大时，加上一个对数等于没加：应减去该行的最大值，取 exp，再除以总和",
    )
    mistakes = {rounded: torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3]])}
    case.expect_close(weights(answer, scores, mask), expected, mistakes, otherwise=lost)


@masked_softmax.property("leading dimensions are a batch, the mask broadcasts", "前置维度当作批次，掩码可以广播", ONCE)
def softmax_batch(answer, case):
    def function(scores, noise):
        return shares(answer, scores, noise > -0.5)

    scores, noise = case.randn(4, 5), case.randn(4, 5)
    expect_shape("weights", expect_heeded(lambda scores: function(scores, noise), scores, -scores), (4, 5))
    case.expect_batch(function, (4, 5), (4, 5), leads=[((2, 3), (2, 3)), ((2, 3), ()), ((2, 3), (2, 1)), ((1,), (1,))])
    case.expect_batch(function, (4, 5), (1, 5), leads=[((3,), (3,)), ((2, 3), (2, 1))])


@masked_softmax.property("leaves the mask untouched", "不改动掩码", ONCE)
def softmax_mask_untouched(answer, case):
    scores, mask = case.randn(3, 5), MASK.to(case.device)
    expect_untouched(lambda mask: answer(scores.clone(), mask), mask, ~mask)
    expect_heeded(lambda scores: shares(answer, scores, mask), scores, -scores)


masked_softmax.add_standard_properties(
    lambda case: (case.randn(3, 4),),
    lambda answer, case: lambda scores: shares(answer, scores, EMPTY),
)


# --- combine_masks --------------------------------------------------------------------------------------------

combine_masks = Check("combine_masks")

PADDED = {
    "left": torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]),
    "right": torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
}


def combine(real: Tensor, t_q: int, rule: Callable[[int, int, Callable[[int], bool]], bool]) -> Tensor:
    """(…, 1, T_q, T_k): `rule(query, key, real)` for each sequence, `real` saying of a position that it is no pad."""
    *lead, t_k = real.shape
    masks = []
    for row in real.reshape(-1, t_k).tolist():
        masks.append(grid(t_q, t_k, lambda query, key, row=row: rule(query, key, lambda at: bool(row[at]))))
    return torch.stack(masks).reshape(*lead, 1, t_q, t_k)


def combined(real: Tensor, t_q: int) -> Tensor:
    return combine(real, t_q, lambda query, key, real: causal(query, key) and real(key))


def combine_mistakes(real: Tensor, t_q: int) -> dict[Text, Tensor]:
    late = real.shape[-1] - t_q
    wrong = {
        ("or stands where and belongs: a key must be early and real", "该用“与”的地方用了“或”：键既要早，又要真实"): (
            lambda query, key, real: causal(query, key) or real(key)
        ),
        (
            "the queries of the padding were masked, not its keys",
            "遮住的是填充处的查询，而不是填充处的键",
        ): lambda query, key, real: causal(query, key) and real(query),
        (
            "the queries of the padding were masked too: keys alone are",
            "填充处的查询也被遮住了：只遮键",
        ): lambda query, key, real: causal(query, key) and real(key) and real(query),
        ("the padding is not masked", "没有遮住填充"): lambda query, key, real: causal(query, key),
        ("the future is not masked", "没有遮住未来"): lambda query, key, real: real(key),
        ("the padding is wrong way round: pads are seen, words are not", "填充弄反了：看得到填充，看不到词"): (
            lambda query, key, real: causal(query, key) and not real(key)
        ),
        TOP_LEFT: lambda query, key, real: key <= query - late and real(key),
        NOT_ITSELF: lambda query, key, real: key < query and real(key),
        ("every position was allowed to see itself, pads too", "每个位置都允许看自己，填充也不例外"): (
            lambda query, key, real: (causal(query, key) and real(key)) or key == query
        ),
    }
    named = {sentence: combine(real, t_q, rule) for sentence, rule in wrong.items()}
    swapped = combined(real, t_q).movedim(-3, 0)
    return named | {
        (
            "the axis of 1 for the heads stands first; it stands before T_q",
            "留给头的那个长度为 1 的轴放在了最前面；应放在 T_q 之前",
        ): swapped,
        ("there is no axis of 1 for the heads before T_q", "T_q 之前没有留给头的、长度为 1 的轴"): combined(
            real, t_q
        ).squeeze(-3),
    }


def expect_combined(answer, real: Tensor, t_q: int) -> None:
    expect_mask(answer(real.clone(), t_q), combined(real, t_q), combine_mistakes(real, t_q))


@combine_masks.property("a key must be real and not in the future", "键必须真实，又不在未来", ONCE, weight=3)
def combine_values(answer, case):
    for real in PADDED.values():
        expect_combined(answer, real, 5)


@combine_masks.property("t_q counts the last queries", "t_q 是最后几个查询", ONCE, weight=3)
def combine_last_queries(answer, case):
    for t_q in (2, 3, 1):
        for real in PADDED.values():
            expect_combined(answer, real, t_q)


@combine_masks.property("keys alone are masked", "只遮键", ONCE)
def combine_keys_alone(answer, case):
    expect_combined(answer, torch.tensor([[0, 1, 0, 1], [1, 1, 0, 1]]), 3)
    # after its text ends, a padded query still sees the whole text
    expect_combined(answer, torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]]), 4)


@combine_masks.property(
    "shape (…, 1, T_q, T_k), each sequence with its own padding", "形状 (…, 1, T_q, T_k)，各有各的填充", ONCE
)
def combine_shape(answer, case):
    rows = PADDED["left"]
    for real in (rows[0], rows[:1], rows[:2].unsqueeze(1), torch.stack([rows, PADDED["right"]])):
        expect_combined(answer, real, 4)


@combine_masks.property("0 and 1 in any dtype", "0 与 1 可以是任何 dtype", FLOATS)
def combine_dtypes(answer, case):
    for dtype in (torch.bool, torch.uint8, torch.int32, torch.int64, case.dtype):
        given = PADDED["left"].clone().to(case.device, dtype)
        named = str(dtype).removeprefix("torch.")
        got = expect_tensor(answer(given, 3)).cpu()
        expect(
            torch.equal(got != 0, combined(PADDED["left"], 3)),
            f"with an attention_mask of dtype {named} the mask is wrong: compare with 0 first, because "
            "~ and & work on the bits of integers",
            f"attention_mask 的 dtype 为 {named} 时掩码不对（对整数，~ 与 & 按位运算；应先做比较）",
        )


@combine_masks.property(
    "a boolean tensor on the device of the attention mask", "是布尔张量，与 attention_mask 同设备", ONCE
)
def combine_boolean(answer, case):
    left, right = (real.to(case.device) for real in PADDED.values())
    mask = expect_booleans(expect_heeded(lambda real: answer(real, 5), left, right), case.device)
    expect_shape("mask", mask, (3, 1, 5, 5))


@combine_masks.property("in attention, a padded text reads as it reads alone", "在注意力中，填充过的文本与单独读时一样")
def combine_attends(answer, case):
    heads, t_k = 2, 5
    for real in PADDED.values():
        q, k, v = (case.randn(3, heads, t_k, 4) for _ in range(3))
        mask = expect_tensor(answer(real.clone().to(case.device), t_k)) != 0
        expect_shape("mask", mask, (3, 1, t_k, t_k))
        together = attend(q, k, v, mask)
        for row, own in enumerate(real.bool()):
            alone = attend(
                *(t[row][:, own.to(t.device)] for t in (q, k, v)), grid(int(own.sum()), int(own.sum()), causal)
            )
            differ = (
                "in a padded batch a text gets another result than alone: it sees pads, too much or too little",
                "在填充过的批次里，文本的结果与单独计算时不同：看到了填充，或者看多了、看少了",
            )
            got = together[row][:, own.to(together.device)].nan_to_num(1e4)
            case.expect_close(got.to(torch.float64), alone, otherwise=differ)


@combine_masks.property("leaves the attention mask untouched", "不改动 attention_mask", ONCE)
def combine_untouched(answer, case):
    for dtype in (torch.int64, torch.bool):
        left, right = (real.to(case.device, dtype) for real in PADDED.values())
        mask = expect_untouched(lambda real: answer(real, 5), left, right)
        expect_shape("mask", mask, (3, 1, 5, 5))
        expect_some_masked(mask)


# --- position_ids ---------------------------------------------------------------------------------------------

position_ids = Check("position_ids")

PADDINGS = torch.tensor(
    [
        [0, 0, 0, 1, 1, 1],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 1],
        [0, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
)


def positions(real: Tensor) -> Tensor:
    """Ids as the exercise wants them, counted one by one."""
    *lead, t = real.shape
    rows = []
    for row in real.reshape(-1, t).tolist():
        count = itertools.count()
        rows.append([next(count) if is_real else 0 for is_real in row])
    return torch.tensor(rows).reshape(*lead, t)


def position_mistakes(real: Tensor) -> dict[Text, Tensor]:
    line = torch.arange(real.shape[-1]).expand_as(real)
    counted = real.cumsum(-1)
    pads = real.shape[-1] - counted[..., -1:]
    return {
        (
            "these are 0, 1, 2 … whatever the padding: the first word of a left-padded text is at 0",
            "无论怎样填充都是 0、1、2……：左填充的文本，第一个词的编号应为 0",
        ): line,
        ("the first word is at 1; count from 0", "第一个词的编号是 1；应从 0 数起"): counted,
        (
            "the number of pads was subtracted from every row, as if all pads stood on the left",
            "每一行都减去了填充的个数，好像填充全在左边",
        ): (line - pads).clamp(min=0),
        ("the words are numbered from the end", "词是从后往前编号的"): (real.flip(-1).cumsum(-1).flip(-1) - 1) * real,
    }


def ids_of(answer, real: Tensor) -> Tensor:
    """The answer's ids, on the CPU; fails when there is not one for each token."""
    ids = expect_tensor(answer(real.clone()))
    expect_shape("position_ids", ids, real.shape)
    return ids.cpu()


def expect_numbered(ids: Tensor, real: Tensor) -> None:
    """Fail unless the words of each text have ids of their own, whichever these are."""
    for row, own in zip(ids.cpu(), real.bool().cpu(), strict=True):
        expect(
            len(row[own].unique()) == int(own.sum()),
            "two words of a text have the same id",
            "同一段文本里，有两个词的编号相同",
        )


@position_ids.property(
    "words are counted from 0, wherever the padding stands", "无论填充在哪里，词都从 0 数起", ONCE, weight=3
)
def positions_of_words(answer, case):
    for real in PADDINGS:
        at = real.bool()
        got, expected = ids_of(answer, real[None])[0][at], positions(real)[at]
        for sentence, value in position_mistakes(real).items():
            expect(torch.equal(got, expected) or not torch.equal(got, value[at]), *sentence)
        expect(
            torch.equal(got, expected),
            f"with attention_mask {real.tolist()} the words are at {got.tolist()}; "
            f"they should be at {expected.tolist()}",
            f"attention_mask 为 {real.tolist()} 时，词的编号是 {got.tolist()}；应为 {expected.tolist()}",
        )


@position_ids.property("padding gets 0", "填充的编号是 0", ONCE, weight=3)
def positions_of_padding(answer, case):
    expect_heeded(answer, PADDINGS[:1], PADDINGS[1:2])
    for real in PADDINGS:
        ids, pads = ids_of(answer, real[None])[0], ~real.bool()
        expect_numbered(ids[None], real[None])
        expect(
            not bool((ids[pads] < 0).any()),
            "a pad is at −1, which no embedding has: the lookup fails, or takes the last row; give it 0",
            "填充的编号是 −1，嵌入表里没有这一行：查表会出错，或者取到最后一行；应为 0",
        )
        odd = ids[pads][ids[pads] != 0].tolist()
        expect(
            not odd,
            f"with attention_mask {real.tolist()} a pad is at {odd[:1]}; give every pad 0",
            f"attention_mask 为 {real.tolist()} 时，有填充的编号是 {odd[:1]}；每个填充都应为 0",
        )


@cache
def shipped_model(device: str):
    return load_model(SHIPPED, device)[0]


@position_ids.property(
    "GPT-2's logits of a left-padded text equal those of the text alone",
    "左填充后，GPT-2 的 logits 与单独计算时相同",
    ONCE,
    weight=3,
)
def positions_in_the_model(answer, case):
    model = shipped_model(case.device.type)
    draw = torch.Generator().manual_seed(4)
    lengths, longest = (9, 4, 6), 9
    texts = [torch.randint(model.config.vocab_size, (n,), generator=draw).to(case.device) for n in lengths]
    ids, real = torch.zeros(2, 3, longest, dtype=torch.int64, device=case.device)
    for row, text in enumerate(texts):
        ids[row, longest - len(text) :], real[row, longest - len(text) :] = text, 1
    places = expect_tensor(answer(real.clone()))
    expect_shape("position_ids", places, real.shape)
    low, high = places.min().item(), places.max().item()
    last = model.config.n_positions - 1
    expect(
        low >= 0 and high <= last and not places.is_floating_point(),
        f"ids of dtype {places.dtype} from {low} to {high}: the model looks up integers from 0 to {last}",
        f"编号的 dtype 是 {places.dtype}，从 {low} 到 {high}：模型只能查 0 到 {last} 的整数",
    )
    with torch.no_grad():
        padded = model(ids, attention_mask=real, position_ids=places.to(case.device)).logits
        for row, text in enumerate(texts):
            alone = model(text[None]).logits[0]
            off = (padded[row, longest - len(text) :] - alone).abs().max().item()
            expect(
                off < 1e-2,
                f"the logits of a text of {len(text)} tokens after {longest - len(text)} pads are off by {off:.2g}",
                f"{len(text)} 个词元的文本，前面填充 {longest - len(text)} 个之后，logits 相差 {off:.2g}",
            )


@position_ids.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def positions_batch(answer, case):
    for real in (PADDINGS[0], PADDINGS[:1], PADDINGS[:4], PADDINGS[:4].reshape(2, 2, 6), PADDINGS[:3, None]):
        ids = ids_of(answer, real)
        expect(
            torch.equal(ids.clamp(min=0) * real, positions(real)),
            f"with attention_mask of shape {tuple(real.shape)} a text is counted otherwise than "
            "alone: count along dim=-1",
            f"attention_mask 形状为 {tuple(real.shape)} 时，文本的编号与单独计算时不同：应沿 dim=-1 数",
        )


@position_ids.property("0 and 1 in any dtype, long texts too", "0 与 1 可以是任何 dtype，文本很长也一样", FLOATS)
def positions_dtypes(answer, case):
    real = torch.ones(2, 2600, dtype=torch.int64)
    real[0, :300] = 0
    for dtype in (torch.int64, torch.int32, torch.uint8, torch.bool, case.dtype):
        ids = ids_of(answer, real.to(case.device, dtype))
        named = str(dtype).removeprefix("torch.")
        expect(
            torch.equal((ids * real).long(), positions(real)),
            f"with an attention_mask of dtype {named} a text of 2600 tokens is miscounted: count in int64",
            f"attention_mask 的 dtype 为 {named} 时，2600 个词元的文本数错了：应在 int64 中计数",
        )


@position_ids.property("int64 on the device of the attention mask", "是 int64，与 attention_mask 同设备")
def positions_integers(answer, case):
    for dtype in (torch.int64, torch.bool, case.dtype):
        real = PADDINGS.to(case.device, dtype)
        ids = expect_heeded(answer, real, real.flip(0))
        expect(
            (ids.dtype, ids.device.type) == (torch.int64, case.device.type),
            f"from a mask that is {describe(real)} came ids that are {describe(ids)}; make them int64 on its device",
            f"掩码是 {describe(real)}，编号却是 {describe(ids)}；应是同一设备上的 int64",
        )
        expect_shape("position_ids", ids, real.shape)
        expect_numbered(ids, real)


@position_ids.property("leaves the attention mask untouched", "不改动 attention_mask", ONCE)
def positions_untouched(answer, case):
    ids = expect_untouched(answer, PADDINGS.to(case.device), PADDINGS.flip(0).to(case.device))
    expect_shape("position_ids", ids, PADDINGS.shape)
    expect_numbered(ids, PADDINGS)


# --- window_mask and prefix_mask ------------------------------------------------------------------------------

window_mask, prefix_mask = Check("window_mask"), Check("prefix_mask")


def each(t: int, sizes: Tensor, rule: Callable[[int, int, int], bool]) -> Tensor:
    """(…, t, t): `rule(query, key, size)` for each of the sizes (…)."""
    masks = [grid(t, t, lambda query, key, size=size: rule(query, key, size)) for size in sizes.flatten().tolist()]
    return torch.stack(masks).reshape(*sizes.shape, t, t)


def window(query: int, key: int, w: int) -> bool:
    return query - w < key <= query


WINDOW_MISTAKES = {
    ("off by one: w keys besides oneself; oneself counts among the w", "差一：除自己外还有 w 个；w 个里应包括自己"): (
        lambda query, key, w: query - w <= key <= query
    ),
    ("off by one: w − 1 keys, oneself included; there should be w", "差一：连自己只有 w − 1 个；应有 w 个"): (
        lambda query, key, w: query - w + 1 < key <= query
    ),
    ("a position does not see itself; it is the last of the w", "位置看不到自己；它应是 w 个中的最后一个"): (
        lambda query, key, w: query - w <= key < query
    ),
    ("the window looks ahead too; it ends at the query", "窗口也看向了后面；它应以查询自己为终点"): (
        lambda query, key, w: abs(query - key) < w
    ),
    ("the window looks ahead; it looks back", "窗口看向了后面；应看向前面"): lambda query, key, w: (
        query <= key < query + w
    ),
    ("the text was cut into blocks of w; the window moves with the query", "把文本切成了长 w 的块；窗口应随查询移动"): (
        lambda query, key, w: query // w == key // w and key <= query
    ),
    ("there is no lower edge: this is the causal mask", "没有下边界：这是因果掩码"): lambda query, key, w: key <= query,
    ("the keys inside the window are masked, those before it are seen", "窗口内的键被遮住了，看得到的是窗口之前的"): (
        lambda query, key, w: key <= query - w
    ),
    ("every query sees the first w keys", "每个查询看的都是最前面 w 个键"): lambda query, key, w: (
        key <= query and key < w
    ),
}


def prefix(query: int, key: int, p: int) -> bool:
    return key <= query or key < p


PREFIX_MISTAKES = {
    ("off by one: p + 1 keys are seen by all", "差一：大家都能看到 p + 1 个键"): lambda query, key, p: (
        key <= max(query, p)
    ),
    ("off by one: p − 1 keys are seen by all", "差一：大家都能看到的只有 p − 1 个键"): (
        lambda query, key, p: key <= query or key < p - 1
    ),
    (
        "the prefix is causal too: inside it every position sees all of it",
        "前缀内部也成了因果的：前缀里的位置应能看到整个前缀",
    ): (lambda query, key, p: key <= query),
    ("after the prefix nothing sees it", "前缀之后的位置看不到前缀"): (
        lambda query, key, p: (query < p and key < p) or (p <= key <= query)
    ),
    ("the prefix sees what comes after it", "前缀看到了它后面的内容"): lambda query, key, p: key <= query or query < p,
    (
        "only the prefix is seen: after it, positions see themselves and what is before",
        "只看得到前缀：之后的位置还应看到自己和前面",
    ): (lambda query, key, p: key < p),
    ("nothing is masked after the prefix", "前缀之后没有遮住未来"): (lambda query, key, p: key < p or query >= p),
    ("after the prefix a position does not see itself", "前缀之后的位置看不到自己"): (
        lambda query, key, p: key < query or key < p
    ),
}


def expect_sized(answer, t: int, size: int | Tensor, rule: Callable, mistakes: Mapping[Text, Callable]) -> None:
    """Fail unless `answer(t, size)` is what the rule says, for a number or for each of a tensor of them."""
    sizes = torch.as_tensor(size)
    expect_mask(
        answer(t, sizes.clone() if isinstance(size, Tensor) else size),
        each(t, sizes, rule),
        {sentence: each(t, sizes, wrong) for sentence, wrong in mistakes.items()},
    )


@window_mask.property("w keys, the last of them oneself", "w 个键，最后一个是自己", ONCE, weight=3)
def window_values(answer, case):
    for t, w in ((7, 3), (7, 2), (6, 4)):
        expect_sized(answer, t, w, window, WINDOW_MISTAKES)


@window_mask.property(
    "w = 1 is the identity, w ≥ t the causal mask", "w = 1 是单位阵，w ≥ t 是因果掩码", ONCE, weight=3
)
def window_limits(answer, case):
    for t, w in ((4, 4), (4, 9), (4, 1), (5, 4), (1, 1)):
        expect_sized(answer, t, w, window, WINDOW_MISTAKES)


@window_mask.property("a tensor of windows gives one mask each", "给一组窗口，各得一个掩码", ONCE)
def window_each(answer, case):
    for sizes in (torch.tensor([1, 3, 9]), torch.tensor([[2, 3, 1], [5, 1, 4]]), torch.tensor([3]), torch.tensor(2)):
        expect_sized(answer, 5, sizes, window, WINDOW_MISTAKES)


@window_mask.property("a boolean tensor on the device of the windows", "是布尔张量，与窗口同设备", ONCE)
def window_boolean(answer, case):
    expect_shape("mask", expect_booleans(answer(5, 3), torch.device("cpu")), (5, 5))
    sizes = torch.tensor([2, 3], device=case.device)
    mask = expect_booleans(expect_heeded(lambda sizes: answer(5, sizes), sizes, sizes.flip(0)), case.device)
    expect_shape("mask", mask, (2, 5, 5))
    expect(not torch.equal(mask[0], mask[1]), "windows of 2 and 3 gave the same", "窗口为 2 与 3 时结果相同")


@window_mask.property("leaves the windows untouched", "不改动窗口张量", ONCE)
def window_untouched(answer, case):
    one, other = (torch.tensor(sizes, device=case.device) for sizes in ([2, 3], [1, 4]))
    mask = expect_untouched(lambda sizes: answer(5, sizes), one, other)
    expect_shape("mask", mask, (2, 5, 5))
    expect_some_masked(mask)


@prefix_mask.property(
    "the prefix sees itself whole, what follows is causal", "前缀内部互相可见，其后是因果的", ONCE, weight=3
)
def prefix_values(answer, case):
    for t, p in ((7, 3), (6, 2), (6, 4)):
        expect_sized(answer, t, p, prefix, PREFIX_MISTAKES)


@prefix_mask.property(
    "p = 0 is the causal mask, p = t masks nothing", "p = 0 是因果掩码，p = t 什么都不遮", ONCE, weight=3
)
def prefix_limits(answer, case):
    for t, p in ((5, 0), (4, 1), (4, 4), (5, 4), (1, 1)):
        expect_sized(answer, t, p, prefix, PREFIX_MISTAKES)


@prefix_mask.property("a tensor of prefixes gives one mask each", "给一组前缀长度，各得一个掩码", ONCE)
def prefix_each(answer, case):
    for sizes in (torch.tensor([0, 3, 5]), torch.tensor([[2, 3, 0], [5, 1, 4]]), torch.tensor([3]), torch.tensor(2)):
        expect_sized(answer, 5, sizes, prefix, PREFIX_MISTAKES)


@prefix_mask.property("a boolean tensor on the device of the prefixes", "是布尔张量，与前缀长度同设备", ONCE)
def prefix_boolean(answer, case):
    expect_shape("mask", expect_booleans(answer(5, 3), torch.device("cpu")), (5, 5))
    sizes = torch.tensor([2, 3], device=case.device)
    mask = expect_booleans(expect_heeded(lambda sizes: answer(5, sizes), sizes, sizes.flip(0)), case.device)
    expect_shape("mask", mask, (2, 5, 5))
    expect(not torch.equal(mask[0], mask[1]), "prefixes of 2 and 3 gave the same", "前缀为 2 与 3 时结果相同")


@prefix_mask.property("leaves the prefixes untouched", "不改动前缀长度张量", ONCE)
def prefix_untouched(answer, case):
    one, other = (torch.tensor(sizes, device=case.device) for sizes in ([2, 3], [0, 4]))
    mask = expect_untouched(lambda sizes: answer(5, sizes), one, other)
    expect_shape("mask", mask, (2, 5, 5))
    expect_some_masked(mask)
