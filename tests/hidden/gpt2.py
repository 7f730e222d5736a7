"""Hidden reference tests of the chapter `gpt2`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


def config(**sizes):
    """A GPT2Config; transformers is imported where it is needed, since that takes longer than most checks."""
    from transformers import GPT2Config

    # the default token ids lie outside small vocabularies, which transformers warns of
    return GPT2Config(bos_token_id=None, eos_token_id=None, **sizes)


# --- count_parameters -----------------------------------------------------------------------------------------

count_parameters = Check("count_parameters")

PARTS = ("embeddings", "attention", "mlp", "layer_norm", "lm_head", "total")
SMALL = dict(vocab_size=11, n_positions=7, n_embd=6, n_layer=3, n_head=2)
GPT2_SIZES = {
    "gpt2": (dict(n_embd=768, n_layer=12, n_head=12), 124_439_808),
    "gpt2-medium": (dict(n_embd=1024, n_layer=24, n_head=16), 354_823_168),
    "gpt2-large": (dict(n_embd=1280, n_layer=36, n_head=20), 774_030_080),
    "gpt2-xl": (dict(n_embd=1600, n_layer=48, n_head=25), 1_557_611_200),
}


def counted(answer, **sizes) -> dict[str, int]:
    """The answer's six numbers, or a sentence that says what came instead."""
    return expect_keys(answer(config(**sizes)), PARTS)


def parts_reference(
    vocab_size, n_positions, n_embd, n_layer, n_head, n_inner=None, tie_word_embeddings=True
) -> dict[str, int]:
    d, inner = n_embd, n_inner or 4 * n_embd
    parts = {
        "embeddings": (vocab_size + n_positions) * d,
        "attention": n_layer * (d * 3 * d + 3 * d + d * d + d),
        "mlp": n_layer * (d * inner + inner + inner * d + d),
        "layer_norm": (2 * n_layer + 1) * 2 * d,
        "lm_head": 0 if tie_word_embeddings else vocab_size * d,
    }
    return parts | {"total": sum(parts.values())}


def count_mistakes(part: str, vocab_size, n_positions, n_embd, n_layer, n_head, n_inner=None, **_) -> dict[Text, int]:
    """What known mistakes give for a part, by the sentence that names each."""
    d, inner = n_embd, n_inner or 4 * n_embd
    no_bias = ("the biases are missing; every matrix of a block has one", "漏了偏置；模块里每个矩阵都有一个")
    one_layer = ("this is one block; multiply by n_layer", "这只是一个模块；应乘以 n_layer")
    known = {
        "embeddings": {
            ("the positions are missing: wpe has n_positions rows", "漏了位置：wpe 有 n_positions 行"): vocab_size * d,
            ("the tokens are missing: wte has vocab_size rows", "漏了词元：wte 有 vocab_size 行"): n_positions * d,
            ("wte is counted twice: the lm_head has a key of its own", "wte 数了两遍：lm_head 另有一个键"): (
                (2 * vocab_size + n_positions) * d
            ),
        },
        "attention": {
            no_bias: n_layer * 4 * d * d,
            one_layer: 4 * d * d + 4 * d,
            (
                "n_head plays no part: heads share the matrices, they do not multiply them",
                "与 n_head 无关：各头分用同样的矩阵，不会成倍增加",
            ): n_layer * (4 * d * d + 4 * d) * n_head,
            ("the output projection is missing", "漏了输出投影"): n_layer * (3 * d * d + 3 * d),
            ("c_attn has a bias of 3 n_embd numbers", "c_attn 的偏置有 3 n_embd 个数"): n_layer * (4 * d * d + 2 * d),
        },
        "mlp": {
            no_bias: n_layer * 2 * d * inner,
            one_layer: 2 * d * inner + inner + d,
            ("the hidden width is n_inner, not 4 n_embd", "隐藏层的宽度是 n_inner，不是 4 n_embd"): (
                n_layer * (8 * d * d + 5 * d)
            ),
            ("the second matrix of the MLP is missing", "漏了 MLP 的第二个矩阵"): n_layer * (d * inner + inner),
            ("each bias is as wide as its output: n_inner, then n_embd", "偏置与输出同宽：先是 n_inner，再是 n_embd"): (
                n_layer * (2 * d * inner + 2 * d)
            ),
        },
        "layer_norm": {
            ("ln_f after the last block is missing", "漏了最后一个模块之后的 ln_f"): n_layer * 4 * d,
            ("a LayerNorm has a gain and a bias", "LayerNorm 有增益，也有偏置"): (2 * n_layer + 1) * d,
            ("a block has two LayerNorms", "一个模块有两个 LayerNorm"): (n_layer + 1) * 2 * d,
            one_layer: 4 * d,
        },
        "lm_head": {
            (
                "a tied output matrix is wte itself and adds nothing: lm_head is 0",
                "绑定的输出矩阵就是 wte，不增加参数：lm_head 为 0",
            ): vocab_size * d,
            ("an untied output matrix adds vocab_size × n_embd", "不绑定的输出矩阵增加 vocab_size × n_embd 个"): 0,
            ("the lm_head has no bias", "lm_head 没有偏置"): vocab_size * d + vocab_size,
        },
    }
    return known.get(part, {})


def expect_counts(answer, name: str = "this configuration", **sizes) -> None:
    """Fail with the part that is off, and the mistake that gives its number."""
    out, right = counted(answer, **sizes), parts_reference(**sizes)
    for part in PARTS:
        got = out[part]
        if got == right[part]:
            continue
        for sentence, value in count_mistakes(part, **sizes).items():
            en, zh = sentence
            expect(got != value, f"{part}: {en}", f"{part}：{zh}")
        raise PropertyFailed(
            f"{part} of {name} is {right[part]}, got {got}", f"{part} 应为 {right[part]}，得到的是 {got}"
        )


@count_parameters.property("gpt2 to gpt2-xl, part by part", "gpt2 到 gpt2-xl，逐个部分", ONCE, weight=3)
def count_gpt2(answer, case):
    for name, (sizes, total) in GPT2_SIZES.items():
        sizes = dict(vocab_size=50257, n_positions=1024, **sizes)
        assert parts_reference(**sizes)["total"] == total
        expect_counts(answer, name, **sizes)
    # a size between the printed ones, so that printed numbers alone are no answer
    between = dict(vocab_size=50257, n_positions=1024, n_embd=896, n_layer=18, n_head=14)
    expect_counts(answer, "a size between gpt2 and gpt2-medium", **between)


@count_parameters.property("any depth, width, window and vocabulary", "任意深度、宽度、窗口和词表", ONCE, weight=3)
def count_any(answer, case):
    expect_counts(answer, **SMALL)
    for change in (dict(vocab_size=5), dict(n_positions=40), dict(n_embd=10), dict(n_layer=1), dict(n_head=1)):
        expect_counts(answer, **SMALL | change)


@count_parameters.property("tied and untied", "绑定与不绑定", ONCE)
def count_untied(answer, case):
    expect_counts(answer, tie_word_embeddings=True, **SMALL)
    expect_counts(answer, tie_word_embeddings=False, **SMALL)


@count_parameters.property("a hidden width of its own", "自定的隐藏层宽度", ONCE)
def count_inner(answer, case):
    expect_counts(answer, n_inner=9, **SMALL)
    expect_counts(answer, n_inner=24, **SMALL)


@count_parameters.property("exact where no memory would hold the model", "没有内存装得下时也精确", ONCE)
def count_huge(answer, case):
    expect_counts(answer, **SMALL)  # what raises here has nothing to do with the size
    sizes = dict(vocab_size=10**9 + 7, n_positions=10**6, n_embd=6 * 10**9, n_layer=5, n_head=2)
    try:
        out = counted(answer, **sizes)
    except (RuntimeError, OverflowError, MemoryError, ValueError) as error:
        raise PropertyFailed(
            f"n_embd = 6000000000 raised {type(error).__name__}: count with Python's integers, build no model",
            f"n_embd = 6000000000 时抛出了 {type(error).__name__}：应用 Python 的整数来数，不要建模型",
        ) from None
    right = parts_reference(**sizes)["total"]
    expect(
        out["total"] == right,
        f"of {right} parameters {out['total']} were found: digits were lost, count with Python's integers",
        f"{right} 个参数数成了 {out['total']}：丢了有效数字，应用 Python 的整数来数",
    )


@count_parameters.property("whole numbers, the total is the sum", "都是整数，total 是总和", ONCE)
def count_types(answer, case):
    out = counted(answer, **SMALL)
    for part, value in out.items():
        kind = type(value).__name__
        expect(isinstance(value, int), f"{part} is a {kind}; make it an int", f"{part} 是 {kind}；应是 int")
    expect(
        out["total"] == sum(out[part] for part in PARTS[:-1]),
        "total is not the sum of the other five",
        "total 不是其余五项之和",
    )
    expect_counting(answer)
    expect_counting(answer)


def expect_counting(answer) -> None:
    """Fail unless equal configurations have equal numbers and the total follows depth and width."""
    out = counted(answer, **SMALL)
    expect(out == counted(answer, **SMALL), "equal configurations got different numbers", "同样的配置得到了不同的数目")
    deeper, wider = (counted(answer, **SMALL | {size: 2 * SMALL[size]})["total"] for size in ("n_layer", "n_embd"))
    expect(
        deeper > out["total"] and wider > 2 * out["total"],  # matrices grow with the square of the width
        "the total does not follow the configuration: it grows with n_layer, and faster than n_embd",
        "total 没有随配置变化：它随 n_layer 增大，且比 n_embd 增得更快",
    )


@count_parameters.property("the configuration stays as it was", "配置保持原样", ONCE)
def count_untouched(answer, case):
    given = config(**SMALL)
    before = given.to_dict()
    answer(given)
    changed = sorted(key for key, value in given.to_dict().items() if before.get(key) != value)
    expect(not changed, f"{', '.join(changed)} was changed", f"{', '.join(changed)} 被改动了")
    expect_counting(answer)


# --- split_heads ----------------------------------------------------------------------------------------------

split_heads = Check("split_heads")


def split(x: Tensor, n_head: int) -> Tensor:
    """(…, T, 3 d) → (3, …, H, T, d_k)"""
    return torch.stack([third.unflatten(-1, (n_head, -1)).transpose(-3, -2) for third in x.chunk(3, -1)])


def merge(z: Tensor) -> Tensor:
    """(…, H, T, d_k) → (…, T, d)"""
    return z.transpose(-3, -2).flatten(-2)


def numbered(case: Case, *shape: int) -> Tensor:
    """Different numbers that every dtype holds exactly: 0 to 255 at most."""
    return case.tensor(torch.arange(math.prod(shape)).reshape(shape))


def split_mistakes(x: Tensor, n_head: int) -> dict[Text, Tensor]:
    *lead, t, width = x.shape
    d = width // 3
    thirds = torch.stack(x.chunk(3, -1))  # (3, …, T, d)
    by_head = x.unflatten(-1, (n_head, 3, d // n_head))  # (…, T, H, 3, d_k)
    interleaved = x.unflatten(-1, (d, 3))
    return {
        (
            "each third was cut by reshape alone: tokens and heads have to change places",
            "各个三分之一只做了 reshape：词元与头还要换位置",
        ): thirds.reshape(3, *lead, n_head, t, d // n_head),
        (
            "the whole was cut by reshape alone: right shape, wrong numbers",
            "整个张量只做了 reshape：形状对，数值错",
        ): x.reshape(3, *lead, n_head, t, d // n_head),
        (
            "q, k and v were cut head by head; first come all queries, then all keys, then all values",
            "q、k、v 是按头来切的；应先是全部查询，再是全部键，再是全部值",
        ): by_head.movedim(-2, 0).transpose(-3, -2),
        (
            "q, k and v were taken every third column; each is a block of d columns",
            "q、k、v 每三列取了一列；它们各是连续的 d 列",
        ): torch.stack([p.unflatten(-1, (n_head, -1)).transpose(-3, -2) for p in interleaved.unbind(-1)]),
        (
            "head h took every H-th feature; it takes d_k neighbouring ones",
            "头 h 每 H 个特征取一个；应取相邻的 d_k 个",
        ): thirds.unflatten(-1, (-1, n_head)).movedim(-1, -3),
        (
            "the tokens stand before the heads; move the heads in front: (3, …, n_head, T, d_k)",
            "词元在头的前面；应把头移到前面：(3, …, n_head, T, d_k)",
        ): thirds.unflatten(-1, (n_head, -1)),
        (
            "q, k and v stand behind the batch; they come first: (3, …, n_head, T, d_k)",
            "q、k、v 排在了批次之后；应排在最前：(3, …, n_head, T, d_k)",
        ): split(x, n_head).movedim(0, -4),
        ("keys stand before queries; the order is q, k, v", "键排在了查询前面；次序是 q、k、v"): (
            split(x, n_head)[[1, 0, 2]]
        ),
        ("the heads are in reverse order", "头的次序反了"): split(x, n_head).flip(-3),
    }


@split_heads.property("every number goes where it belongs", "每个数都在该在的位置", weight=3)
def split_places(answer, case):
    for shape, n_head in (((2, 3, 24), 4), ((5, 18), 3)):
        x = numbered(case, *shape)
        case.expect_close(expect_tensor(answer(x.clone(), n_head)), split(x, n_head), split_mistakes(x, n_head))


@split_heads.property("as many heads as tokens", "头与词元一样多", ONCE, weight=3)
def split_square(answer, case):
    x = numbered(case, 2, 4, 24)
    case.expect_close(expect_tensor(answer(x.clone(), 4)), split(x, 4), split_mistakes(x, 4))


@split_heads.property("one head, one token, one feature", "只有一个头、一个词元、一个特征", ONCE)
def split_ones(answer, case):
    for t, width, n_head in ((3, 12, 1), (1, 12, 2), (3, 12, 4), (1, 3, 1)):
        x = 1 + numbered(case, 2, t, width)
        out = expect_tensor(answer(x.clone(), n_head))
        expect_shape(f"with n_head = {n_head} and x {tuple(x.shape)}, the result", out, split(x, n_head).shape)
        case.expect_close(out, split(x, n_head), split_mistakes(x, n_head))


def split_batched(answer) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The answer's q, k and v, each with its batch in front."""

    def parts(x: Tensor) -> tuple[Tensor, ...]:
        out = expect_tensor(answer(x, 2))
        expect_shape(f"of x {tuple(x.shape)} with 2 heads, the result", out, (3, *x.shape[:-2], 2, x.shape[-2], 2))
        return tuple(out)

    return parts


@split_heads.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def split_batch(answer, case):
    case.expect_batch(split_batched(answer), (5, 12), leads=[((2, 3),), ((3,),), ((1,),), ((2, 1, 2),)])


split_heads.add_standard_properties(
    lambda case: (case.randn(2, 3, 12),), lambda answer, case: lambda x: split_batched(answer)(x)
)


# --- merge_heads ----------------------------------------------------------------------------------------------

merge_heads = Check("merge_heads")


def merge_mistakes(z: Tensor) -> dict[Text, Tensor]:
    *lead, n_head, t, d_k = z.shape
    return {
        (
            "merged by reshape alone: heads and tokens have to change places first",
            "只用 reshape 合并：头与词元要先换位置",
        ): z.reshape(*lead, t, n_head * d_k),
        (
            "the heads are mixed feature by feature; they stand side by side",
            "各头的特征交错着排了；应让各头并排",
        ): z.movedim(-3, -1).flatten(-2),
        ("the heads were added up; put them side by side", "各头被加了起来；应并排放"): z.sum(-3),
        ("the heads are in reverse order", "头的次序反了"): merge(z.flip(-3)),
    }


def merged(answer) -> Callable[[Tensor], Tensor]:
    """The answer; a result of another shape than (…, T, n_head · d_k) is none."""

    def call(z: Tensor) -> Tensor:
        out = expect_tensor(answer(z))
        *lead, n_head, t, d_k = z.shape
        expect_shape(f"of {tuple(z.shape)}, the result", out, (*lead, t, n_head * d_k))
        return out

    return call


@merge_heads.property("heads side by side, in order", "各头按次序并排", weight=3)
def merge_places(answer, case):
    for shape in ((2, 4, 3, 5), (3, 5, 2)):
        z = numbered(case, *shape)
        case.expect_close(merged(answer)(z.clone()), merge(z), merge_mistakes(z))


@merge_heads.property("undoes split_heads", "恰好抵消 split_heads", weight=3)
def merge_undoes(answer, case):
    x = numbered(case, 2, 4, 24)  # as many heads as tokens
    z = split(x, 4)
    case.expect_close(merged(answer)(z.clone()), torch.stack(x.chunk(3, -1)), merge_mistakes(z))


@merge_heads.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def merge_batch(answer, case):
    case.expect_batch(merged(answer), (3, 4, 2), leads=[((2, 3),), ((3,),), ((1,),)])


merge_heads.add_standard_properties(lambda case: (case.randn(2, 3, 4, 2),), lambda answer, case: merged(answer))


# --- gelu_new -------------------------------------------------------------------------------------------------

gelu_new = Check("gelu_new")


def gelu(x: Tensor) -> Tensor:
    """GELU with tanh, in float64 and right in the left tail too, since (1 + tanh u) / 2 = 1 / (1 + exp(−2u))."""
    x = x.double().cpu().clamp(-30, None)
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x.clamp(max=30) ** 3)
    return x * torch.sigmoid(2 * inner)


def gelu_mistakes(x: Tensor) -> dict[Text, Tensor]:
    x = x.double().cpu()
    root, cube = math.sqrt(2 / math.pi), 0.044715 * x**3
    return {
        ("this is the exact GELU, with erf; GPT-2's has tanh", "这是含 erf 的精确 GELU；GPT-2 用的是 tanh"): F.gelu(x),
        ("this is x · σ(1.702 x), another approximation", "这是 x · σ(1.702 x)，另一种近似"): x * (1.702 * x).sigmoid(),
        ("this is SiLU, x · σ(x)", "这是 SiLU，即 x · σ(x)"): F.silu(x),
        ("this is ReLU", "这是 ReLU"): x.relu(),
        ("the term with x³ is missing", "漏了 x³ 那一项"): x / 2 * (1 + torch.tanh(root * x)),
        ("the factor √(2/π) is missing", "漏了因子 √(2/π)"): x / 2 * (1 + torch.tanh(x + cube)),
        ("2/π stands there without its root", "2/π 没有开方"): x / 2 * (1 + torch.tanh(2 / math.pi * (x + cube))),
        ("√(2/π) multiplies x alone, not x³", "√(2/π) 只乘了 x，没有乘 x³"): x / 2 * (1 + torch.tanh(root * x + cube)),
        ("the factor 1/2 is missing", "漏了因子 1/2"): 2 * gelu(x),
        ("the factor x is missing: this is the gate alone", "漏了因子 x：这只是门"): (
            (1 + torch.tanh(root * (x + cube))) / 2
        ),
        ("tanh(u) = 2 σ(2u) − 1: the 2 inside σ is missing", "tanh(u) = 2 σ(2u) − 1：σ 里漏了 2"): (
            x * torch.sigmoid(root * (x + cube))
        ),
        ("the x³ term has a minus", "x³ 那一项的符号反了"): x / 2 * (1 + torch.tanh(root * (x - cube))),
    }


def elementwise(answer) -> Callable[[Tensor], Tensor]:
    """The answer; a result of another shape than its argument's is none."""

    def call(x: Tensor) -> Tensor:
        out = expect_tensor(answer(x))
        expect_shape(f"of {tuple(x.shape)}, the result", out, x.shape)
        return out

    return call


@gelu_new.property("the form with tanh", "含 tanh 的形式", weight=3)
def gelu_values(answer, case):
    x = case.tensor(torch.linspace(-4, 4, 41))
    case.expect_close(elementwise(answer)(x.clone()), gelu(x), gelu_mistakes(x))


@gelu_new.property(
    "the left tail is small, not 0", "左边的尾部很小，但不是 0", (torch.float32, torch.float64), weight=3
)
def gelu_tail(answer, case):
    x = case.tensor(torch.linspace(-8, -4, 17))
    got, right = elementwise(answer)(x.clone()).detach().double().cpu(), gelu(x)
    expect(
        bool((got != 0).all()),
        "at x = −8 the result is 0: 1 + tanh(u) rounds to 0 there; write the gate so that nothing cancels",
        "x = −8 时结果为 0：1 + tanh(u) 在那里舍入成了 0；换一种不会相消的写法来表示这个门",
    )
    off = ((got - right) / right).abs().max().item()
    allowed = 1e-8 if case.dtype == torch.float64 else 1e-3
    expect(
        off <= allowed,
        f"between −8 and −4 the relative error is up to {off:.1g}: small numbers are lost in 1 + tanh(u)",
        f"−8 到 −4 之间相对误差达 {off:.1g}：小的数在 1 + tanh(u) 里丢掉了",
    )


@gelu_new.property("float64 has float64's accuracy", "float64 就有 float64 的精度", (torch.float64,))
def gelu_precise(answer, case):
    x = case.randn(1000)
    off = (elementwise(answer)(x.clone()).detach().double().cpu() - gelu(x)).abs().max().item()
    expect(
        off < 1e-10,
        f"off by {off:.1g} in float64: something on the way was rounded to float32, or a constant is too short",
        f"float64 下误差为 {off:.1g}：途中有数被舍入成 float32，或者常数的位数太少",
    )


@gelu_new.property("the largest numbers give no NaN, nor do their gradients", "再大的数也不出 NaN，梯度也一样")
def gelu_extremes(answer, case):
    top = torch.finfo(case.dtype).max
    x = case.tensor([-top, -top / 2, -1e4, -100, 0, 100, 1e4, top / 2, top]).requires_grad_()
    positive = x.detach().clamp(min=0)
    out = elementwise(answer)(x)
    expect(
        not bool((out[:4] < -1e-2).any()),
        "far to the left the result is not 0: where x was bounded, the gate is small but not 0, and times a large x "
        "that is much; bound farther out",
        "左侧远处结果不是 0：在截断的地方，门虽小却不是 0，乘上很大的 x 就不小了；应截在更远处",
    )
    wrong = (
        "a NaN or another number than max(x, 0) came back for |x| ≥ 100",
        "|x| ≥ 100 时得到 NaN 或不等于 max(x, 0)",
    )
    expect(bool(((out - positive).abs() <= 1e-2 * positive.clamp(min=1)).all()), *wrong)
    expect(out.requires_grad, "the result has lost its gradient", "结果没有梯度了")
    (gradient,) = torch.autograd.grad(out.sum(), x)
    expect(
        not bool(gradient.isnan().any()),
        "the gradient of a large number is NaN: x³ overflows, and 0 times infinity is NaN; bound what is cubed",
        "大数的梯度是 NaN：x³ 溢出，0 乘无穷大就是 NaN；立方之前先限制大小",
    )
    slopes = case.tensor([0, 0, 0, 0, 0.5, 1, 1, 1, 1])
    case.expect_close(
        gradient,
        slopes,
        otherwise=(
            "the gradient should be 0 far left, 1/2 at 0, 1 far right",
            "梯度在左侧远处应为 0，在 0 处为 1/2，在右侧远处为 1",
        ),
    )


@gelu_new.property("each number by itself, in any shape", "逐个元素计算，任意形状")
def gelu_shapes(answer, case):
    x = case.randn(4, 3, 2)
    for given in (x, x[0, 0, 0], x[:, :, :0], x.mT, x[None]):
        case.expect_close(elementwise(answer)(given.clone()), gelu(given))


gelu_new.add_standard_properties(lambda case: (case.randn(3, 4),), lambda answer, case: elementwise(answer))


# --- GPT2Block ------------------------------------------------------------------------------------------------

GPT2Block = Check("GPT2Block")

BLOCK = dict(vocab_size=40, n_positions=8, n_embd=12, n_layer=3, n_head=3)
ALL, EXACT = (torch.float32, torch.float64, torch.bfloat16, torch.float16), (torch.float32, torch.float64)


def block_shapes(sizes) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a block's parameters in GPT-2's checkpoints."""
    d, inner = sizes.n_embd, sizes.n_inner or 4 * sizes.n_embd
    matrices = {"attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "mlp.c_fc": (d, inner), "mlp.c_proj": (inner, d)}
    shapes = {f"ln_{n}.{kind}": (d,) for n in (1, 2) for kind in ("weight", "bias")}
    for name, shape in matrices.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[1:]}
    return shapes


def block_state(case: Case, sizes) -> dict[str, Tensor]:
    """Random weights, with gains near 1 and biases that show when they are left out."""
    state = {}
    for name, shape in block_shapes(sizes).items():
        values = case.randn(*shape)
        if len(shape) == 2:
            state[name] = values / math.sqrt(shape[0])
        else:
            state[name] = (0.3 * values + ("ln" in name and name.endswith("weight"))).to(case.dtype)
    return state


def block(
    x: Tensor,
    state: dict[str, Tensor],
    sizes,
    order: str = "pre-norm",
    act: Callable[[Tensor], Tensor] = gelu,
    eps: float | None = None,
    cut: Callable[[Tensor, int], Tensor] = split,
    join: Callable[[Tensor], Tensor] = merge,
    causal: bool = True,
    scale: float | None = None,
    turned: tuple[str, ...] = (),
    attention_drop: bool = False,
) -> Tensor:
    """A block of GPT-2 in float64; what follows `sizes` makes the known mistakes."""
    x, p = x.double(), {name: value.double() for name, value in state.items()}
    eps = sizes.layer_norm_epsilon if eps is None else eps

    def ln(name, x):
        return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], eps)

    def linear(name, x):
        w = p[f"{name}.weight"]
        return x @ (w.T if name in turned else w) + p[f"{name}.bias"]

    def attention(x):
        q, k, v = cut(linear("attn.c_attn", x), sizes.n_head)
        scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
        weights = scores.softmax(-1) * (not attention_drop)
        return linear("attn.c_proj", join(weights @ v))

    def mlp(x):
        return linear("mlp.c_proj", act(linear("mlp.c_fc", x)).to(x.device))

    if order == "pre-norm":
        x = x + attention(ln("ln_1", x))
        return x + mlp(ln("ln_2", x))
    if order == "post-norm":
        x = ln("ln_1", x + attention(x))
        return ln("ln_2", x + mlp(x))
    if order == "added to the copy":
        x = ln("ln_1", x)
        x = x + attention(x)
        x = ln("ln_2", x)
        return x + mlp(x)
    if order == "side by side":
        return x + attention(ln("ln_1", x)) + mlp(ln("ln_2", x))
    if order == "mlp first":
        x = x + mlp(ln("ln_2", x))
        return x + attention(ln("ln_1", x))
    if order == "norms exchanged":
        x = x + attention(ln("ln_2", x))
        return x + mlp(ln("ln_1", x))
    if order == "no norm":
        x = x + attention(x)
        return x + mlp(x)
    if order == "norm of the result":
        x = x + ln("ln_1", attention(x))
        return x + ln("ln_2", mlp(x))
    if order == "first added to the copy":
        x = ln("ln_1", x)
        x = x + attention(x)
        return x + mlp(ln("ln_2", x))
    if order == "attention not added":
        x = attention(ln("ln_1", x))
        return x + mlp(ln("ln_2", x))
    if order == "mlp not added":
        x = x + attention(ln("ln_1", x))
        return mlp(ln("ln_2", x))
    if order == "attention alone":
        return attention(ln("ln_1", x))
    assert order == "no residual"
    return mlp(ln("ln_2", attention(ln("ln_1", x))))


def cut_by_head(x: Tensor, n_head: int) -> Tensor:
    return x.unflatten(-1, (n_head, 3, -1)).movedim(-2, 0).transpose(-3, -2)


def cut_by_view(x: Tensor, n_head: int) -> Tensor:
    return torch.stack([t.reshape(*t.shape[:-2], n_head, t.shape[-2], -1) for t in x.chunk(3, -1)])


def join_by_view(z: Tensor) -> Tensor:
    return z.reshape(*z.shape[:-3], z.shape[-2], -1)


def block_mistakes(sizes) -> dict[Text, dict]:
    """What is done wrong inside a block: the sentence that names each mistake, and the arguments of `block` for it."""
    d, d_k = sizes.n_embd, sizes.n_embd // sizes.n_head
    return {
        (
            "LayerNorm comes after the addition (post-norm); GPT-2 normalises what each sublayer reads",
            "LayerNorm 放在了相加之后（post-norm）；GPT-2 归一化的是每个子层读入的东西",
        ): dict(order="post-norm"),
        (
            "the result is added to the normalised copy; add it to the stream itself",
            "结果加到了归一化的副本上；应加到残差流本身",
        ): dict(order="added to the copy"),
        (
            "the result is added to the normalised copy of the stream; add it to the stream itself",
            "结果加到了残差流的归一化副本上；应加到残差流本身",
        ): dict(order="first added to the copy"),
        (
            "the MLP reads the stream as it was before attention; it reads it after attention has been added",
            "MLP 读的是加上注意力之前的残差流；应读加上之后的",
        ): dict(order="side by side"),
        ("the MLP comes first; attention does", "MLP 放在了前面；应先做注意力"): dict(order="mlp first"),
        ("ln_1 and ln_2 have changed places", "ln_1 与 ln_2 互换了位置"): dict(order="norms exchanged"),
        ("the sublayers read x without LayerNorm", "子层读的 x 没有经过 LayerNorm"): dict(order="no norm"),
        (
            "LayerNorm is applied to the results; apply it to what is read",
            "LayerNorm 用在了结果上；应用在读入的东西上",
        ): dict(order="norm of the result"),
        ("there is no residual connection: add the results to x", "没有残差连接：结果要加到 x 上"): dict(
            order="no residual"
        ),
        ("the attention's result is not added to x: it replaces it", "注意力的结果没有加到 x 上，而是替换了它"): dict(
            order="attention not added"
        ),
        ("the MLP's result is not added to x: it replaces it", "MLP 的结果没有加到 x 上，而是替换了它"): dict(
            order="mlp not added"
        ),
        (
            "the GELU is the exact one, with erf; GPT-2's has tanh",
            "用的是含 erf 的精确 GELU；GPT-2 用的是 tanh",
        ): dict(act=F.gelu),
        ("there is a ReLU in place of the GELU", "用了 ReLU，而不是 GELU"): dict(act=F.relu),
        ("there is no GELU between the two layers", "两层之间没有 GELU"): dict(act=lambda x: x),
        (
            "eps is 1e-5 whatever the configuration says; it is config.layer_norm_epsilon",
            "无论配置怎样，eps 都是 1e-5；应为 config.layer_norm_epsilon",
        ): dict(eps=1e-5),
        (
            "eps is 1e-6; it is config.layer_norm_epsilon",
            "eps 是 1e-6；应为 config.layer_norm_epsilon",
        ): dict(eps=1e-6),
        (
            "c_attn was cut head by head; its columns are all queries, all keys, all values",
            "c_attn 是按头来切的；它的列依次是全部查询、全部键、全部值",
        ): dict(cut=cut_by_head),
        (
            "the heads were split by view without transpose: right shape, wrong numbers",
            "拆分各头只用了 view 而没有转置：形状对，数值错",
        ): dict(cut=cut_by_view),
        (
            "the heads were merged without transposing back: right shape, wrong numbers",
            "合并各头前没有转置回来：形状对，数值错",
        ): dict(join=join_by_view),
        ("there is no causal mask", "没有因果掩码"): dict(causal=False),
        ("the scores are not scaled: divide them by √d_k", "分数没有缩放：应除以 √d_k"): dict(scale=1.0),
        ("the scores are divided by √n_embd; divide them by √d_k", "分数除以了 √n_embd；应除以 √d_k"): dict(
            scale=d**-0.5
        ),
        ("the scores are divided by d_k; divide them by √d_k", "分数除以了 d_k；应除以 √d_k"): dict(scale=1 / d_k),
        (
            "attn.c_proj is used transposed: it is square and stored as (in, out), nn.Linear stores (out, in)",
            "attn.c_proj 用反了：它是方阵，按（入，出）存放，而 nn.Linear 按（出，入）存放",
        ): dict(turned=("attn.c_proj",)),
    }


def three(module, x: Tensor) -> tuple[Tensor, ...]:
    """What the answer's block returns: out, attended and computed."""
    return expect_tensors(module(x), "out", "attended", "computed")


def expect_block(case: Case, got: Tensor, x: Tensor, state: dict[str, Tensor], sizes, otherwise: Text | None = None):
    """Fail with the mistake that gives these numbers unless they are those of a block."""
    expected = block(x, state, sizes)
    if not case.close(got, expected):
        wrong = {sentence: block(x, state, sizes, **mistake) for sentence, mistake in block_mistakes(sizes).items()}
        case.expect_close(got, expected, wrong, otherwise)


def expect_block_names(module, sizes, transposed: bool) -> None:
    """Fail unless the parameters have GPT-2's names and shapes; `transposed` lets (out, in) pass."""
    expect(isinstance(module, nn.Module), "it is no nn.Module", "它不是 nn.Module")
    state = dict(module.state_dict())
    for name, shape in block_shapes(sizes).items():
        expect(name in state, f"there is no parameter {name}", f"缺少参数 {name}")
        got = tuple(state[name].shape)
        expect(
            got == shape or (transposed and got == shape[::-1]),
            f"{name} has shape {got}; GPT-2 stores {shape}, (in, out), so nn.Linear does not fit",
            f"{name} 的形状是 {got}；GPT-2 存的是 {shape}，即（入，出），所以 nn.Linear 对不上",
        )


def build_block(answer, case: Case, sizes, state: dict[str, Tensor]):
    """The answer's block in evaluation mode with these weights in it; one that does not mix the tokens is none.

    Matrices stored the other way round, and parameters that were not asked for, cost the property that names them.
    """
    module = answer(sizes).to(case.device, case.dtype).eval()
    expect_block_names(module, sizes, transposed=True)
    own = module.state_dict()
    fitting = {name: value if own[name].shape == value.shape else value.T for name, value in state.items()}
    module.load_state_dict(fitting, strict=False)
    x = case.randn(2, 4, sizes.n_embd)
    moved = x.clone()
    moved[:, 1] += 3 * case.randn(2, sizes.n_embd)
    results = []
    for given in (x, x, moved):
        torch.manual_seed(0)  # dropout left on by mistake is for its own property to tell
        results.append(three(module, given.clone())[0])
    out, again, other = results
    expect(bool(torch.isfinite(out).all()), "there is a NaN or an infinity in the result", "结果里出现了 NaN 或无穷大")
    expect(
        case.close(out, again),
        "two calls with the same input and the same seed gave different results",
        "同样的输入、同样的种子，两次调用的结果不同",
    )
    expect(
        not case.close(out[:, [0, 2, 3]], other[:, [0, 2, 3]]),
        "no token's result depends on another token: nothing attends",
        "没有一个词元的结果依赖别的词元：没有做注意力",
    )
    return module


@GPT2Block.property("parameters as in GPT-2's checkpoints", "参数与 GPT-2 的权重文件一致", ONCE)
def block_parameters(answer, case):
    for more in ({}, dict(n_inner=20)):
        sizes = config(**BLOCK, **more)
        module = answer(sizes).to(case.device, case.dtype)
        expect_block_names(module, sizes, transposed=False)
        extra = ", ".join(sorted({*dict(module.named_parameters())} - {*block_shapes(sizes)}))
        expect(not extra, f"beyond the parameters asked for there is {extra}", f"多出了参数 {extra}")
        trained = {name for name, value in module.named_parameters() if value.requires_grad}
        frozen = ", ".join(name for name in block_shapes(sizes) if name not in trained)
        expect(not frozen, f"{frozen} is not trainable", f"{frozen} 不可训练")
        state = block_state(case, sizes)
        try:
            module.load_state_dict(state, strict=True)
        except RuntimeError as error:
            said = " ".join(str(error).split())[:160]
            raise PropertyFailed(f"strict loading fails: {said}", f"严格加载失败：{said}") from None
        build_block(answer, case, sizes, state)


@GPT2Block.property(
    "logits of the whole model as in transformers", "整个模型的 logits 与 transformers 一致", EXACT, weight=3
)
def block_model(answer, case):
    from transformers import GPT2LMHeadModel

    sizes = config(**BLOCK)
    model = GPT2LMHeadModel(sizes).to(case.device, case.dtype).eval()
    states = [block_state(case, sizes) for _ in range(sizes.n_layer)]
    for layer, state in zip(model.transformer.h, states, strict=True):
        layer.load_state_dict(state, strict=True)
    ids = torch.arange(2 * 8, device=case.device).reshape(2, 8) * 5 % 40
    with torch.no_grad():
        expected = model.double()(ids).logits
        x = start = (model.transformer.wte(ids) + model.transformer.wpe.weight).to(case.dtype)
        for state in states:
            x, _, _ = three(build_block(answer, case, sizes, state), x.clone())

        def logits(x):
            return model.lm_head(model.transformer.ln_f(x.double()))

        mistakes = {}
        for sentence, mistake in block_mistakes(sizes).items() if not case.close(logits(x), expected) else ():
            wrong = start
            for state in states:
                wrong = block(wrong, state, sizes, **mistake)
            mistakes[sentence] = logits(wrong)
    case.expect_close(logits(x), expected, mistakes)


@GPT2Block.property("one block, number for number", "一个模块，逐个数一致", ALL, weight=3)
def block_values(answer, case):
    sizes = config(**BLOCK)
    state, x = block_state(case, sizes), case.randn(2, 5, 12)
    module = build_block(answer, case, sizes, state)
    with torch.no_grad():
        expect_block(case, three(module, x.clone())[0], x, state, sizes)


@GPT2Block.property("returns what each sublayer has added", "返回每个子层加上的东西", EXACT, weight=3)
def block_parts(answer, case):
    sizes = config(**BLOCK, attn_pdrop=0.0, resid_pdrop=0.5)
    state, x = block_state(case, sizes), case.randn(2, 5, 12)
    module = build_block(answer, case, sizes, state)
    with torch.no_grad():
        out, attended, computed = three(module, x.clone())
        expect_block(case, out, x, state, sizes)
        first = block(x, state, sizes, order="attention alone")
        second = block(x, state, sizes) - x.double() - first
        swapped = ("attended and computed have changed places", "attended 与 computed 互换了位置")
        mistakes = {
            swapped: second,
            ("attended holds x too; it is what was added to x", "attended 里还有 x；它应是加到 x 上的东西"): first + x,
        }
        case.expect_close(attended, first, mistakes)
        mistakes = {
            (
                "computed holds the stream too; it is what was added to it",
                "computed 里还有残差流；它应是加上去的东西",
            ): (first + second + x),
            ("computed holds what attention added too", "computed 里还有注意力加上的东西"): first + second,
        }
        case.expect_close(computed, second, mistakes)
        out, attended, computed = three(module.train(), x.clone())
        otherwise = (
            "while training x + attended + computed is not out: return the results as they were added, after dropout",
            "训练时 x + attended + computed 不等于 out：应返回丢弃之后、真正加上去的结果",
        )
        case.expect_close(x + attended + computed, out.double(), otherwise=otherwise)


@GPT2Block.property("the configuration decides", "由配置决定", ONCE)
def block_config(answer, case):
    for more in (dict(n_inner=20), dict(layer_norm_epsilon=0.1), dict(n_head=1), dict(n_head=6), dict(n_embd=24)):
        sizes = config(**BLOCK | more)
        state, x = block_state(case, sizes), case.randn(2, 5, sizes.n_embd)
        module = build_block(answer, case, sizes, state)
        (name, value), *_ = more.items()
        otherwise = f"with {name} = {value} the result is another", f"{name} = {value} 时结果不对"
        with torch.no_grad():
            expect_block(case, three(module, x.clone())[0], x, state, sizes, otherwise)


@GPT2Block.property("LayerNorm's eps shows on a small stream", "残差流很小时，eps 看得出来", (torch.float64,))
def block_eps(answer, case):
    for eps in (1e-5, 1e-3):
        sizes = config(**BLOCK, layer_norm_epsilon=eps)
        state, x = block_state(case, sizes), 0.003 * case.randn(2, 5, 12)
        module = build_block(answer, case, sizes, state)
        with torch.no_grad():
            expect_block(case, three(module, x.clone())[0], x, state, sizes)


@GPT2Block.property("no token sees a later one", "没有词元看得到后面的词元", ONCE)
def block_causal(answer, case):
    sizes = config(**BLOCK)
    module = build_block(answer, case, sizes, block_state(case, sizes))
    x = case.randn(1, 5, 12)
    with torch.no_grad():
        before = three(module, x.clone())[0]
        for position in reversed(range(5)):
            moved = x.clone()
            moved[:, position] = case.randn(12)
            after = three(module, moved)[0]
            expect(
                case.close(after[:, :position], before[:, :position]),
                f"token {position} was changed and earlier ones moved: no causal mask, or tokens were mixed up",
                f"改动了词元 {position}，前面的也变了：没有因果掩码，或者词元混到了一起",
            )
            still = [i for i in range(position, 5) if case.close(after[:, i], before[:, i])]
            expect(
                not still,
                f"token {position} was changed and tokens {still} did not notice: the mask hides too much",
                f"改动了词元 {position}，词元 {still} 却没有变：掩码遮得太多",
            )


@GPT2Block.property("dropout on the branches, not on the stream", "dropout 在支路上，不在残差流上", ONCE, weight=3)
def block_dropout(answer, case):
    x = case.randn(2, 5, 12)
    nothing = dict(attn_pdrop=0.0, resid_pdrop=0.0)
    sizes = config(**BLOCK, **nothing)
    state = block_state(case, sizes)
    whole = block(x, state, sizes)
    with torch.no_grad():
        plain, _, _ = three(build_block(answer, case, sizes, state).train(), x.clone())
        expect_block(case, plain, x, state, sizes)

        sizes = config(**BLOCK, **nothing | dict(resid_pdrop=1.0))
        mistakes = {
            (
                "the stream itself was dropped: drop the sublayer's result before it is added to x",
                "残差流本身被丢弃了：应在加到 x 之前丢弃子层的结果",
            ): torch.zeros_like(x),
            (
                "nothing is dropped while training: resid_pdrop acts on what c_proj gives, in attention and in the MLP",
                "训练时什么也没有丢弃：resid_pdrop 作用于注意力和 MLP 的 c_proj 的结果",
            ): whole,
        }
        otherwise = (
            "with resid_pdrop = 1 both sublayers are dropped and forward(x) is x while training: "
            "one of the two is not, or the dropout sits before c_proj, whose bias then gets through",
            "resid_pdrop = 1 时，训练中两个子层都被丢弃，forward(x) 就是 x："
            "有一个没有被丢弃，或者 dropout 放在了 c_proj 之前，它的偏置还是加了进来",
        )
        got, _, _ = three(build_block(answer, case, sizes, state).train(), x.clone())
        case.expect_close(got, x, mistakes, otherwise)

        sizes = config(**BLOCK, **nothing | dict(attn_pdrop=1.0))
        mistakes = {
            (
                "the attention weights are not dropped while training: attn_pdrop acts on them, after the softmax",
                "训练时没有丢弃注意力权重：attn_pdrop 作用于 softmax 之后的权重",
            ): whole,
        }
        otherwise = (
            "with attn_pdrop = 1 attention gives the bias of c_proj alone while training: "
            "attn_pdrop acts on the weights, after the softmax, and on nothing else",
            "attn_pdrop = 1 时，训练中的注意力只剩 c_proj 的偏置：attn_pdrop 作用于 softmax 之后的权重，别处都不用",
        )
        expected = block(x, state, sizes, attention_drop=True)
        got, _, _ = three(build_block(answer, case, sizes, state).train(), x.clone())
        case.expect_close(got, expected, mistakes, otherwise)


@GPT2Block.property("chance plays its part in training only", "只有训练时才有随机", ONCE)
def block_chance(answer, case):
    sizes = config(**BLOCK, attn_pdrop=0.5, resid_pdrop=0.5)
    state, x = block_state(case, sizes), case.randn(2, 5, 12)
    module = build_block(answer, case, sizes, state)
    with torch.no_grad():
        expect(
            case.close(three(module, x.clone())[0], three(module, x.clone())[0])
            and case.close(three(module, x.clone())[0], block(x, state, sizes)),
            "in evaluation mode something is dropped, or values are off: dropout is for training (self.training)",
            "评估模式下有东西被丢弃，或者数值不对：dropout 只在训练时用（self.training）",
        )
        module.train()
        expect(
            not case.close(three(module, x.clone())[0], three(module, x.clone())[0]),
            "two calls while training are the same at resid_pdrop = attn_pdrop = 0.5: nothing is dropped",
            "resid_pdrop = attn_pdrop = 0.5 时，训练中两次调用的结果相同：什么也没有丢弃",
        )


@GPT2Block.property("every parameter gets a gradient", "每个参数都得到梯度", ONCE)
def block_trains(answer, case):
    sizes = config(**BLOCK)
    module = build_block(answer, case, sizes, block_state(case, sizes))
    out, _, _ = three(module, case.randn(2, 5, 12))
    if out.requires_grad:
        out.square().sum().backward()
    gradients = {name: value.grad for name, value in module.named_parameters()}
    cut = ", ".join(n for n in block_shapes(sizes) if gradients.get(n) is None or not gradients[n].any())
    expect(
        not cut,
        f"no gradient reaches {cut}, so it never trains (detach, .data, no_grad cut the path)",
        f"梯度传不到 {cut}，它永远训练不了（detach、.data、no_grad 会切断计算图）",
    )


@GPT2Block.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def block_batch(answer, case):
    sizes = config(**BLOCK)
    module = build_block(answer, case, sizes, block_state(case, sizes))
    with torch.no_grad():
        case.expect_batch(lambda x: three(module, x), (5, 12), leads=[((2, 3),), ((3,),), ((1,),)])


def small_block(answer, case: Case):
    sizes = config(**BLOCK | dict(n_embd=6, n_head=2))
    module = build_block(answer, case, sizes, block_state(case, sizes))
    return lambda x: three(module, x)


GPT2Block.add_standard_properties(lambda case: (case.randn(2, 4, 6),), small_block)


# --- head_contributions ---------------------------------------------------------------------------------------

head_contributions = Check("head_contributions")


def contribution_arguments(case: Case, *lead: int, n_head=3, t=4, d_k=2, d_model=6) -> tuple[Tensor, Tensor, Tensor]:
    w_o = case.randn(n_head * d_k, d_model) / math.sqrt(n_head * d_k)
    return case.randn(*lead, n_head, t, d_k), w_o, case.randn(d_model)


def contributions(z: Tensor, w_o: Tensor, b_o: Tensor) -> Tensor:
    """(…, H, T, d_k) → (…, H + 1, T, d_model), in float64; the bias comes last."""
    z, w_o, b_o = z.double(), w_o.double(), b_o.double()
    heads = z @ w_o.unflatten(0, (z.shape[-3], -1))
    return torch.cat([heads, b_o.expand_as(heads[..., :1, :, :])], -3)


def contribution_mistakes(z: Tensor, w_o: Tensor, b_o: Tensor) -> dict[Text, Tensor]:
    n_head, _, d_k = z.shape[-3:]
    right = contributions(z, w_o, b_o)
    heads, bias = right[..., :-1, :, :], right[..., -1:, :, :]
    w = w_o.double()
    strided = z.double() @ w.unflatten(0, (d_k, n_head)).movedim(1, 0)
    whole = heads.sum(-3, keepdim=True)
    mistakes = {
        (
            "the bias is added once to every head; it is a term of its own, the last",
            "偏置给每个头都加了一次；它自成一项，排在最后",
        ): torch.cat([heads + bias, bias], -3),
        (
            "the bias is added to every head and has no term of its own",
            "偏置给每个头都加了一次，又没有自成一项",
        ): heads + bias,
        ("the bias was shared out among the heads; it belongs to none", "偏置分摊给了各头；它不属于任何一个头"): (
            heads + bias / n_head
        ),
        ("the bias has no term of its own: there are n_head + 1 terms", "偏置没有自成一项：共有 n_head + 1 项"): heads,
        ("the bias stands first; it comes last", "偏置排在了最前；应排在最后"): torch.cat([bias, heads], -3),
        ("the last term is 0; it is the bias", "最后一项是 0；应是偏置"): torch.cat([heads, 0 * bias], -3),
        (
            "the last term is the sum of all heads; it is the bias",
            "最后一项是各头之和；应是偏置",
        ): torch.cat([heads, whole], -3),
        (
            "the last term is the whole output; it is the bias",
            "最后一项是整个输出；应是偏置",
        ): torch.cat([heads, whole + bias], -3),
        (
            "head h got every H-th row of w_o; its rows are h·d_k to (h + 1)·d_k − 1",
            "头 h 用了 w_o 中每隔 H 行的一行；它的行是 h·d_k 到 (h + 1)·d_k − 1",
        ): torch.cat([strided, bias], -3),
        ("the heads are in reverse order", "头的次序反了"): torch.cat([heads.flip(-3), bias], -3),
        (
            "this is the output itself; keep the heads apart",
            "这是输出本身；应把各头分开",
        ): (whole + bias).squeeze(-3),
        (
            "the tokens stand before the terms: (…, n_head + 1, T, d_model)",
            "词元排在了各项之前：应为 (…, n_head + 1, T, d_model)",
        ): (right.transpose(-3, -2)),
    }
    if w.shape[0] == w.shape[1]:
        sentence = (
            "w_o is used transposed: it is stored as (in, out), as Conv1D has it",
            "w_o 用反了：它像 Conv1D 那样按（入，出）存放",
        )
        mistakes[sentence] = torch.cat([z.double() @ w.T.unflatten(0, (n_head, -1)), bias], -3)
    return mistakes


def expect_contributions(answer, *given: Tensor) -> Tensor:
    """The answer's terms; fails with a sentence when their shape is another."""
    z, w_o, _ = given
    out = expect_tensor(answer(*given))
    *lead, n_head, t, _ = z.shape
    wanted = (*lead, n_head + 1, t, w_o.shape[-1])
    if tuple(out.shape) != wanted:
        for (en, zh), value in contribution_mistakes(*given).items():
            close = out.shape == value.shape and torch.allclose(out.double(), value, rtol=0.05, atol=0.05)
            expect(not close, en, zh)
    expect_shape(f"of z {tuple(z.shape)}, the result", out, wanted)
    return out


@head_contributions.property("head by head, then the bias", "逐个头，最后是偏置", weight=3)
def contributions_values(answer, case):
    for sizes in (dict(), dict(d_model=5), dict(n_head=1), dict(n_head=2, t=1, d_k=3)):
        given = contribution_arguments(case, 2, **sizes)
        terms = expect_contributions(answer, *(argument.clone() for argument in given))
        case.expect_close(terms, contributions(*given), contribution_mistakes(*given))


@head_contributions.property("the terms add up to the output", "各项之和就是输出", weight=3)
def contributions_sum(answer, case):
    given = z, w_o, b_o = contribution_arguments(case, 2)
    right, output = contributions(*given), merge(z.double()) @ w_o.double() + b_o.double()
    wrong = {
        sentence: value.sum(-3)
        for sentence, value in contribution_mistakes(*given).items()
        if value.shape == right.shape and not case.close(value.sum(-3), output)
    }
    case.expect_close(expect_contributions(answer, *given).double().sum(-3), output, wrong)


@head_contributions.property(
    "a silent head writes nothing, the others as before", "头不出声就什么都不写，其余照旧", ONCE, weight=3
)
def contributions_silent(answer, case):
    z, w_o, b_o = contribution_arguments(case, 2)
    before = expect_contributions(answer, z, w_o, b_o)
    for head in range(3):
        silent = z.clone()
        silent[:, head] = 0
        after = expect_contributions(answer, silent, w_o, b_o)
        expect(
            case.close(after[:, head], torch.zeros_like(after[:, head])),
            f"head {head} has nothing to say, and its term is not 0: the bias or another head is in it",
            f"头 {head} 没有内容，它那一项却不是 0：里面混进了偏置或别的头",
        )
        rest = [i for i in range(4) if i != head]
        expect(
            case.close(after[:, rest], before[:, rest]) and not case.close(before[:, head], after[:, head]),
            f"head {head} was silenced and other terms moved: a term depends on its own head alone",
            f"让头 {head} 不出声，别的项却变了：每一项只依赖自己的头",
        )


@head_contributions.property("the attention layer of transformers, taken apart", "把 transformers 的注意力层拆开")
def contributions_transformers(answer, case):
    from transformers import GPT2LMHeadModel

    sizes = config(**BLOCK | dict(n_layer=1))
    model = GPT2LMHeadModel(sizes).to(case.device, case.dtype).eval()
    state = block_state(case, sizes)
    model.transformer.h[0].load_state_dict(state)
    seen = {}
    projection = model.transformer.h[0].attn.c_proj
    handle = projection.register_forward_hook(lambda module, given, out: seen.update(merged=given[0], out=out))
    with torch.no_grad():
        model(torch.arange(8, device=case.device)[None])
    handle.remove()
    z = seen["merged"].unflatten(-1, (sizes.n_head, -1)).transpose(-3, -2)
    terms = expect_contributions(answer, z, projection.weight.detach(), projection.bias.detach())
    off = (
        "the terms do not add up to what the layer gave",
        "各项之和不等于这一层的输出",
    )
    case.expect_close(terms.double().sum(-3), seen["out"].double(), otherwise=off)
    expect(not case.close(terms[:, 0], terms[:, 1]), "two heads wrote the same", "两个头写的东西相同")


@head_contributions.property(
    "the bias is the same for every token, whatever the heads say", "偏置对每个词元都一样，与头无关", ONCE
)
def contributions_bias(answer, case):
    z, w_o, b_o = contribution_arguments(case, 2)
    for given in (z, 2 * z, torch.zeros_like(z)):
        term = expect_contributions(answer, given.clone(), w_o, b_o.clone())[:, -1]
        case.expect_close(
            term,
            b_o.double().expand(2, 4, 6),
            otherwise=("the last term is not b_o for every token", "最后一项并非对每个词元都是 b_o"),
        )


@head_contributions.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def contributions_batch(answer, case):
    _, w_o, b_o = contribution_arguments(case)
    case.expect_batch(
        lambda z: expect_contributions(answer, z, w_o, b_o), (3, 4, 2), leads=[((2, 3),), ((3,),), ((1,),)]
    )


head_contributions.add_standard_properties(
    contribution_arguments, lambda answer, case: lambda *given: expect_contributions(answer, *given)
)
