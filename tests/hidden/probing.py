"""Hidden reference tests of the chapter `probing`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from insidegpt.checks import (
    ONCE,
    Case,
    Check,
    Text,
    describe,
    expect,
    expect_shape,
    expect_tensor,
    expect_tensors,
)

EXACT = (torch.float32, torch.float64)
SHORT = (torch.float32, torch.float64, torch.bfloat16)

INVERTED = ("it is the wrong way round: True and False have changed places", "正好反了：True 与 False 互换了")


def expect_kept(case: Case, *results: Tensor) -> None:
    """Fail unless all results have the case's dtype and device."""
    for out in results:
        expect(
            (out.dtype, out.device.type) == (case.dtype, case.device.type),
            f"{case} went in, {describe(out)} came out",
            f"输入是 {case}，输出却是 {describe(out)}",
        )


def expect_unchanged(now: Tensor, before: Tensor, name: str) -> None:
    """Fail unless a tensor that was handed to an answer is still what it was; NaN counts as equal to itself."""
    same = now.dtype == before.dtype and now.shape == before.shape
    same = same and bool(((now == before) | (now.isnan() & before.isnan())).all())
    expect(same, f"{name} was changed in place", f"{name} 被原地修改了")


def expect_booleans(out: object, expected: Tensor, mistakes: Mapping[Text, Tensor] | None = None) -> Tensor:
    """Fail unless the answer returned these truth values, as booleans or as 0 and 1; mistakes: as in `expect_close`."""
    got = expect_tensor(out)
    expect(not bool(got.isnan().any()), "there is a NaN in the result", "结果里出现了 NaN")
    expect(
        bool(((got == 0) | (got == 1)).all()),
        "the result holds other numbers than True and False",
        "结果里有 True、False 之外的数",
    )
    got, expected = (got != 0).cpu(), expected.cpu()
    for sentence, value in {**(mistakes or {}), INVERTED: ~expected}.items():
        expect(torch.equal(got, expected) or not torch.equal(got, value.cpu()), *sentence)
    expect_shape("the result", got, expected.shape)
    wrong = (got != expected).nonzero().tolist()
    at = tuple(wrong[0]) if wrong else ()
    expect(
        not wrong,
        f"entry {list(at)} is {bool(got[at]) if wrong else ''}, and should not be",
        f"元素 {list(at)} 是 {bool(got[at]) if wrong else ''}，不该如此",
    )
    return out


def expect_boolean_dtype(out: Tensor, device: torch.device) -> None:
    expect(out.dtype == torch.bool, f"the result is {describe(out)}; make it torch.bool", "结果应是 torch.bool")
    expect(
        out.device.type == device.type,
        f"the result is on {out.device.type}, the input on {device.type}",
        f"结果在 {out.device.type} 上，输入在 {device.type} 上",
    )


# --- capture --------------------------------------------------------------------------------------------------

capture = Check("capture")

VOCABULARY = 11
PROJECTIONS = ["transformer.h.0.attn.c_proj", "transformer.h.1.attn.c_proj"]


def gpt2(case: Case) -> nn.Module:
    """A GPT-2 with random weights, two layers and 11 tokens."""
    import transformers

    sizes = dict(vocab_size=VOCABULARY, n_positions=16, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, use_cache=False))
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return model.to(case.device, case.dtype).eval()


def layers(case: Case, inplace: bool = False) -> nn.Module:
    """Two linear layers with a ReLU between: modules "0", "1" and "2"."""
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=inplace), nn.Linear(5, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(case.randn(*parameter.shape))
    return model.to(case.device, case.dtype)


def random_ids(case: Case, *shape: int) -> Tensor:
    return case.randn(*shape, VOCABULARY).argmax(-1)


def listened(model: nn.Module, names: Iterable[str], given: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the named modules put out, and what went into them, when the model reads `given`: copies."""
    out, into, handles = {}, {}, []
    for name in names:

        def hook(module, args, result, name=name):
            out[name] = (result[0] if isinstance(result, tuple) else result).detach().clone()
            if args:
                into[name] = args[0].detach().clone()

        handles.append(model.get_submodule(name).register_forward_hook(hook))
    model(given)
    for handle in handles:
        handle.remove()
    return out, into


def expect_seen(case: Case, seen: object, expected: dict[str, Tensor], mistakes: Mapping[Text, dict] | None = None):
    """Fail unless the dict holds these tensors; mistakes: what known mistakes would hold."""
    expect(
        hasattr(seen, "keys"),
        f"`as seen` gives {type(seen).__name__}; it should be a dict of tensors by name",
        f"`as seen` 得到的是 {type(seen).__name__}；应是以名称为键的字典",
    )
    names = sorted(map(str, seen))
    expect(
        names == sorted(expected),
        f"seen has the names {names}; it should have {sorted(expected)}",
        f"seen 里的名称是 {names}；应为 {sorted(expected)}",
    )
    for name, right in expected.items():
        expect(
            not isinstance(seen[name], (tuple, list)),
            f"seen[{name!r}] is a {type(seen[name]).__name__}; keep one tensor, the first of a tuple",
            f"seen[{name!r}] 是 {type(seen[name]).__name__}；应只存一个张量，元组取第一项",
        )
        wrong = {sentence: values[name] for sentence, values in (mistakes or {}).items() if name in values}
        otherwise = (f"seen[{name!r}] is not what that module put out", f"seen[{name!r}] 不是那个模块的输出")
        case.expect_close(
            seen[name], right, {k: v for k, v in wrong.items() if not case.close(v, right)}, otherwise=otherwise
        )


def expect_no_hook(model: nn.Module, when: Text) -> None:
    """Fail if a module of the check's own model still has a forward hook."""
    left = [name for name, module in model.named_modules() if module._forward_hooks or module._forward_pre_hooks]
    expect(not left, f"a hook is left on {', '.join(left)} {when[0]}", f"{when[1]}，{', '.join(left)} 上还留着钩子")


AFTER = ("after the block", "代码块结束之后")
WENT_IN = ("this is what went into the module; keep what it put out", "这是模块的输入；应存它的输出")


@capture.property("holds what each module put out last", "存着每个模块最近一次的输出", SHORT, weight=3)
def capture_values(answer, case):
    model, names = layers(case), ["0", "2"]
    one, two = case.randn(6, 4), case.randn(3, 4)
    first, first_into = listened(model, names, one)
    last, into = listened(model, names, two)
    mistakes = {
        WENT_IN: into,
        ("this is of the first pass; a later one replaces it", "这是第一次计算的；后一次应取代它"): first,
        ("the passes are joined; keep the latest alone", "把几次计算拼在了一起；应只留最近一次"): {
            name: torch.cat([first[name], last[name]]) for name in names
        },
    }
    with answer(model, [*names]) as seen:
        model(one)
        expect_seen(case, seen, first, {WENT_IN: first_into})
        model(two)
    expect_seen(case, seen, last, mistakes)
    model, ids = gpt2(case), random_ids(case, 2, 5)
    expected, _ = listened(model, PROJECTIONS, ids)
    with answer(model, [*PROJECTIONS]) as seen:
        model(ids)
    expect_seen(case, seen, expected)


@capture.property("leaves no hook, however the block ends", "无论代码块怎样结束，都不留钩子", ONCE, weight=3)
def capture_no_leak(answer, case):
    model, x = layers(case), case.randn(3, 4)
    expected, _ = listened(model, ["0", "2"], x)
    with answer(model, ["0", "2"]) as seen:
        model(x)
    expect_seen(case, seen, expected)
    expect_no_hook(model, AFTER)
    model(x + 1)
    expect_seen(case, seen, expected, {("it still listens after the block", "代码块结束后还在监听"): seen})

    swallowed = True
    try:
        with answer(model, ["0", "2"]):
            model(x)
            raise ValueError("inside the block")
    except ValueError as error:
        expect(str(error) == "inside the block", "the exception became another one", "异常变成了另一个")
        swallowed = False
    expect_no_hook(model, ("after an exception in the block: remove it in `finally`", "块内抛出异常之后"))
    expect(not swallowed, "an exception from the block is swallowed", "块内的异常被吞掉了")

    entered = True
    try:
        with answer(model, ["0", "nowhere"]):
            pass
    except Exception:
        entered = False
    expect_no_hook(
        model,
        (
            "after a name that does not exist: the hooks put on before it were forgotten",
            "某个名称不存在时",
        ),
    )
    expect(
        not entered,
        "a name that does not exist is passed over in silence; let get_submodule raise",
        "不存在的名称被悄悄跳过了；应让 get_submodule 抛出异常",
    )


@capture.property("what the model computes does not change", "不改变模型的计算", (torch.float64,))
def capture_neutral(answer, case):
    model, x = layers(case), case.randn(3, 4)
    expected, _ = listened(model, ["0", "2"], x)
    plain = model(x)
    plain.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    training = model.training
    with answer(model, ["0", "2"]) as seen:
        out = model(x)
    expect_seen(case, seen, expected)
    case.expect_close(out, plain, otherwise=("the block changes the result", "代码块改变了结果"))
    expect(model.training == training, "the model came out in another mode", "模型出来时，训练或评估模式变了")
    expect(
        out.requires_grad and all(parameter.requires_grad for parameter in model.parameters()),
        "no gradient flows through the model: the hook returns something, or gradients are switched off",
        "梯度流不过模型了：钩子返回了东西，或者关掉了梯度",
    )
    out.square().sum().backward()
    for parameter, right in zip(model.parameters(), gradients, strict=True):
        expect(
            parameter.grad is not None and case.close(parameter.grad, right),
            "gradients of the model are lost: the hook returns a detached tensor in place of the output",
            "模型的梯度丢了：钩子返回了 detach 过的张量，顶替了输出",
        )


@capture.property("keeps no gradient", "存下的张量不带梯度", ONCE)
def capture_detached(answer, case):
    model, x = layers(case), case.randn(3, 4).requires_grad_()
    expected, _ = listened(model, ["0", "2"], x)
    with answer(model, ["0", "2"]) as seen:
        model(x)
    expect_seen(case, seen, expected)
    expect(
        not any(seen[name].requires_grad for name in expected),
        "what is kept still carries a gradient, and with it the whole graph of the pass: detach it",
        "存下的张量还带着梯度，整张计算图也就一直留在内存里：应 detach",
    )


@capture.property("keeps a copy that nothing later reaches", "存的是副本，之后的修改影响不到", ONCE)
def capture_copies(answer, case):
    model, x = layers(case, inplace=True), case.randn(6, 4)
    right = torch.nn.functional.linear(x, model[0].weight, model[0].bias).detach()
    aliased = (
        "a later module that works in place changed what was kept: clone it",
        "后面的模块做了原地修改，存下的也变了：应 clone",
    )
    with answer(model, ["0"]) as seen:
        model(x)
    expect_seen(case, seen, {"0": right}, {aliased: {"0": right.relu()}})
    with answer(model, ["2"]) as seen:
        out = model(x).detach()
        kept = out.clone()
        out.fill_(9.0)
    expect_seen(case, seen, {"2": kept}, {aliased: {"2": out}})


@capture.property("takes the first entry of a tuple", "元组取第一项", ONCE)
def capture_tuple(answer, case):
    model, ids = gpt2(case), random_ids(case, 2, 5)
    names = ["transformer.h.1.attn", "transformer.h.0.ln_1"]
    expected, _ = listened(model, names, ids)
    with answer(model, [*names]) as seen:
        model(ids)
    expect_seen(case, seen, expected)


@capture.property("leaves the hooks of others alone", "不碰别人的钩子", ONCE)
def capture_nested(answer, case):
    model, one, two = layers(case), case.randn(3, 4), case.randn(2, 4)
    (first, _), (second, _) = (listened(model, ["0", "2"], x) for x in (one, two))
    heard = []
    handle = model[0].register_forward_hook(lambda module, args, out: heard.append(tuple(out.shape)))
    with answer(model, ["0", "2"]) as outer:
        with answer(model, ["0"]) as inner:
            model(one)
        expect_seen(case, inner, {"0": first["0"]})
        model(two)
    deaf = (
        "the inner of two nested captures made the outer one deaf: remove your own handles alone",
        "两个 capture 嵌套时，里面的结束后，外面的就听不到了：只能取下自己的句柄",
    )
    expect_seen(case, outer, second, {deaf: first})
    expect_seen(case, inner, {"0": first["0"]}, {("the inner one still listens", "里面的还在监听"): second})
    before = len(heard)
    model(one)
    expect(
        before == 2 and len(heard) == 3,
        "the caller's own hook on the same module is gone: remove your own handles alone",
        "调用者自己挂在同一模块上的钩子没有了：只能取下自己的句柄",
    )
    handle.remove()


@capture.property("keeps dtype and device", "保持 dtype 与设备")
def capture_dtype(answer, case):
    model, x = layers(case), case.randn(3, 4)
    expected, _ = listened(model, ["0"], x)
    with answer(model, ["0"]) as seen:
        model(x)
    expect_seen(case, seen, expected)
    expect_kept(case, seen["0"])


# --- next_token_hits ------------------------------------------------------------------------------------------

next_token_hits = Check("next_token_hits")

HITS = [True, False, True, True, False, True, False]  # of a text of 8 tokens


def spoken(case: Case, ids: Tensor, hits: list[bool], tie: int | None = None) -> Tensor:
    """Logits (T, V) that foresee the tokens where `hits` says so; the last row foresees token 0.

    tie: where given, the row's target and this many tokens more share the largest logit in the rows without a hit.
    """
    t, size = len(ids), 9
    logits = case.randn(t, size).clamp(-2, 2)
    for row, hit in enumerate(hits):
        target = int(ids[row + 1])
        others = [token for token in range(size) if token != target]
        if hit or tie:
            logits[row, target] = 4
        if not hit:
            logits[row, others[-tie:] if tie else others[row]] = 4
    logits[-1, 0] = 4
    return logits


def hits_ids(case: Case) -> Tensor:
    return torch.tensor([3, 7, 1, 0, 4, 8, 2, 5], device=case.device)


@next_token_hits.property("row t is judged by token t + 1", "第 t 行由词元 t + 1 来评判", weight=3)
def hits_values(answer, case):
    for hits in (HITS, HITS[::-1], [not hit for hit in HITS]):
        ids = hits_ids(case)
        logits = spoken(case, ids, hits)
        best, own = logits.argmax(-1).cpu(), hits_ids(case).cpu()
        got = expect_tensor(answer(logits, ids.clone()))
        expect(
            got.shape != ids.shape,
            "T results came; the last row speaks of a token that nobody has seen, and is left out",
            "结果有 T 个；最后一行说的是谁也没见过的词元，应去掉",
        )
        expect(
            got.shape != best[:-1].shape
            or got.dtype == torch.bool
            or not torch.equal(got.cpu(), best[:-1].to(got.dtype)),
            "these are the favourites themselves; compare them with the ids",
            "这是首选的词元本身；应与 ids 比较",
        )
        mistakes = {
            (
                "each row is judged by its own token; it speaks of the next one",
                "每一行对照的是它自己的词元；应是下一个",
            ): (best == own)[:-1],
            ("each row is judged by the token before it", "每一行对照的是前一个词元"): best[1:] == own[:-1],
        }
        expect_booleans(got, torch.tensor(hits), mistakes)


@next_token_hits.property("a tie for the first place is no hit", "并列第一不算料中", weight=3)
def hits_ties(answer, case):
    ids = hits_ids(case)
    for tie in (1, 4, 8):
        logits = spoken(case, ids, HITS, tie)
        generous = torch.full((7,), True)
        first = (logits.argmax(-1)[:-1] == ids[1:]).cpu()
        counted = (
            "a tie for the first place is counted as a hit",
            "并列第一也算成了料中",
        )
        chance = (
            "a tie is a hit when argmax meets the target first: whether it is depends on the numbering of the tokens",
            "并列时，argmax 先遇到目标就算料中：这取决于词元的编号",
        )
        expect_booleans(answer(logits, ids.clone()), torch.tensor(HITS), {counted: generous, chance: first})


@next_token_hits.property("T tokens give T − 1 results", "T 个词元给出 T − 1 个结果", ONCE)
def hits_length(answer, case):
    for t in (2, 1, 3):
        ids = hits_ids(case)[:t]
        logits = spoken(case, ids, HITS[: t - 1])
        expect_booleans(answer(logits, ids), torch.tensor(HITS[: t - 1], dtype=torch.bool))
    ids = hits_ids(case)
    expect_booleans(answer(spoken(case, ids, HITS), ids), torch.tensor(HITS))


@next_token_hits.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def hits_batch(answer, case):
    for lead in ((), (1,), (3,), (2, 3)):
        n = math.prod(lead)
        rows = [HITS[k % 3 :] + HITS[: k % 3] for k in range(n)]
        ids = torch.stack([hits_ids(case).roll(k) for k in range(n)])
        logits = torch.stack([spoken(case, row, hits) for row, hits in zip(ids, rows, strict=True)])
        expected = torch.tensor(rows).reshape(*lead, 7)
        expect_booleans(answer(logits.reshape(*lead, *logits.shape[1:]), ids.reshape(*lead, 8)), expected)


@next_token_hits.property("a boolean tensor on the device of the logits", "是布尔张量，与 logits 在同一设备上")
def hits_boolean(answer, case):
    ids = hits_ids(case)
    logits = spoken(case, ids, HITS)
    out = expect_tensor(answer(logits.clone(), ids.clone()))
    expect_boolean_dtype(expect_booleans(out, torch.tensor(HITS)), case.device)


@next_token_hits.property("leaves its inputs untouched", "不改动输入", EXACT)
def hits_untouched(answer, case):
    ids = hits_ids(case)
    logits = spoken(case, ids, HITS)
    given = logits.clone(), ids.clone()
    out = answer(*given)
    expect_unchanged(given[0], logits, "logits")
    expect_unchanged(given[1], ids, "ids")
    expect_booleans(out, torch.tensor(HITS))


# --- histogram_probabilities ----------------------------------------------------------------------------------

histogram_probabilities = Check("histogram_probabilities")


def shares_of(x: Tensor, low: float, high: float, n_bins: int) -> Tensor:
    """The share of the numbers x (n,) in each of n_bins equal bins from low to high, number by number in float64."""
    counts = torch.zeros(n_bins, dtype=torch.float64)
    for value in x.double().tolist():
        counts[min(int((value - low) / (high - low) * n_bins), n_bins - 1)] += 1
    return counts / len(x)


def groups(case: Case, n_bins: int, shift: int = 0) -> tuple[Tensor, Tensor]:
    """Numbers in the middle of their bins, 7 and 5 of them, but for the smallest and the largest,
    which are edges. A bin is 2 wide."""
    a = torch.tensor([0, 0.5, 0.5, 1.5, 2.5, 2.5, 2.5])
    b = torch.tensor([n_bins, n_bins - 0.5, 2.5, 1.5, n_bins - 1.5])
    return case.tensor(2 * (a + shift)), case.tensor(2 * (b + shift))


def histogram_mistakes(a: Tensor, b: Tensor, n_bins: int) -> dict[Text, tuple[Tensor, Tensor]]:
    low, high = min(a.min(), b.min()).item(), max(a.max(), b.max()).item()
    p, q = (shares_of(x, low, high, n_bins) for x in (a, b))
    own = tuple(shares_of(x, x.min().item(), x.max().item(), n_bins) for x in (a, b))
    short = tuple(shares_of(x, low, high, n_bins - 1) for x in (a, b))
    width = (high - low) / n_bins
    return {
        (
            "each group got edges of its own: bin i of p and bin i of q are different bins",
            "两组各用了自己的边界：p 的第 i 个箱子与 q 的第 i 个不是同一个",
        ): own,
        (
            "there is one bin too few: n_bins + 1 edges make n_bins bins",
            "少了一个箱子：n_bins + 1 个边界才围成 n_bins 个箱子",
        ): short,
        ("these are counts; divide by the size of the group", "这是计数；应除以组的大小"): (p * len(a), q * len(b)),
        (
            "these are densities, whose sum times the width of a bin is 1; the shares themselves sum to 1",
            "这是密度，乘以箱宽后总和才是 1；份额本身的总和就是 1",
        ): (p / width, q / width),
        (
            "both were divided by the size of the two groups together",
            "两者都除以了两组的总数；应各除以自己的",
        ): (p * len(a) / (len(a) + len(b)), q * len(b) / (len(a) + len(b))),
        ("p and q have changed places", "p 与 q 互换了"): (q, p),
    }


def expect_histograms(case: Case, out: object, a: Tensor, b: Tensor, n_bins: int) -> None:
    low, high = min(a.min(), b.min()).item(), max(a.max(), b.max()).item()
    mistakes = histogram_mistakes(a, b, n_bins)
    got = expect_tensors(out, "p", "q")
    for part, (name, x) in enumerate((("p", a), ("q", b))):
        right = shares_of(x, low, high, n_bins)
        wrong = {sentence: pair[part] for sentence, pair in mistakes.items()}
        for sentence, value in wrong.items():
            expect(case.close(value, right) or not case.close(got[part], value), *sentence)
        expect_shape(name, got[part], (n_bins,))
        case.expect_close(got[part], right)


@histogram_probabilities.property("the shares of both groups in the same bins", "两组在同一套箱子里的份额", weight=3)
def histogram_values(answer, case):
    for n_bins, shift in ((6, 0), (4, -3), (10, 2)):
        a, b = groups(case, n_bins, shift)
        expect_histograms(case, answer(a.clone(), b.clone(), n_bins), a, b, n_bins)
        expect_histograms(case, answer(b.clone(), a.clone(), n_bins), b, a, n_bins)


@histogram_probabilities.property(
    "each entry of a batch has bins of its own", "批次中每一项有自己的箱子", ONCE, weight=3
)
def histogram_batch(answer, case):
    for lead in ((3,), (2, 2), (1,), ()):
        n = math.prod(lead)
        pairs = [tuple(x * (1 + k) - 5 * k for x in groups(case, 6)) for k in range(n)]
        a, b = (torch.stack(x).reshape(*lead, -1) for x in zip(*pairs, strict=True))
        out = expect_tensors(answer(a.clone(), b.clone(), 6), "p", "q")
        for name, part in zip("pq", out, strict=True):
            expect_shape(name, part, (*lead, 6))
        one = (
            "the whole batch shares its edges; each entry has its own range",
            "整个批次共用了边界；每一项应有自己的范围",
        )
        low, high = min(a.min(), b.min()).item(), max(a.max(), b.max()).item()
        for k, pair in enumerate(pairs):
            for part, x in zip((t.reshape(n, 6)[k] for t in out), pair, strict=True):
                right = shares_of(x, min(t.min() for t in pair).item(), max(t.max() for t in pair).item(), 6)
                common = shares_of(x, low, high, 6)
                case.expect_close(part, right, {one: common} if not case.close(common, right) else {})


@histogram_probabilities.property("shares are ≥ 0 and sum to 1", "份额不小于 0，总和为 1", SHORT)
def histogram_sums(answer, case):
    for n_bins, size in ((8, 30), (30, 200), (2, 1), (1, 5)):
        a, b = case.randn(size), 2 * case.randn(size + 3) + 0.5
        low, high = min(a.min(), b.min()).item(), max(a.max(), b.max()).item()
        out = expect_tensors(answer(a.clone(), b.clone(), n_bins), "p", "q")
        for name, part, x in zip("pq", out, (a, b), strict=True):
            expect_shape(name, part, (n_bins,))
            expect(bool((part >= 0).all()), f"{name} holds NaN or numbers below 0", f"{name} 里有 NaN 或负数")
            total = part.double().sum()
            case.expect_close(
                total,
                torch.ones_like(total),
                otherwise=(f"{name} sums to {total:.3g}: not shares", f"{name} 的总和是 {total:.3g}：不是份额"),
            )
            elsewhere = (part.double().cpu() - shares_of(x, low, high, n_bins)).abs().sum() / 2
            expect(
                bool(elsewhere < 0.25),  # in a coarse dtype a number near an edge may fall on either side of it
                f"{elsewhere:.0%} of {name} is in bins that hold no such share of the numbers",
                f"{name} 有 {elsewhere:.0%} 落在不该落的箱子里",
            )


@histogram_probabilities.property(
    "a bin holds its left edge, the last one both", "箱子包含左边界，最后一个两边都包含", EXACT
)
def histogram_edges(answer, case):
    a, b = case.tensor([0, 1, 1, 2, 3, 4, 4, 4]), case.tensor([2, 3, 3, 1])
    out = expect_tensors(answer(a.clone(), b.clone(), 4), "p", "q")
    right = case.tensor([[1 / 8, 2 / 8, 1 / 8, 4 / 8], [0, 1 / 4, 1 / 4, 2 / 4]])
    from_right = case.tensor([[3 / 8, 1 / 8, 1 / 8, 3 / 8], [1 / 4, 1 / 4, 2 / 4, 0]])
    lost = case.tensor([[1 / 8, 2 / 8, 1 / 8, 1 / 8], [0, 1 / 4, 1 / 4, 2 / 4]])
    for part, got in enumerate(out):
        mistakes = {
            (
                "bins hold their right edge here; a number on an edge belongs to the bin that begins there",
                "这里的箱子包含了右边界；落在边界上的数，属于从那里开始的箱子",
            ): from_right[part],
            (
                "the largest number is lost; the last bin holds both of its edges",
                "最大的数丢了；最后一个箱子两边都包含",
            ): lost[part],
        }
        otherwise = ("a number on an edge is in the wrong bin", "落在边界上的数，进错了箱子")
        named = {k: v for k, v in mistakes.items() if not case.close(v, right[part])}
        case.expect_close(got, right[part], named, otherwise)


@histogram_probabilities.property("equal numbers share one bin", "相同的数落进同一个箱子", SHORT)
def histogram_constant(answer, case):
    for lead in ((), (2,)):
        a, b = case.tensor(2.5).expand(*lead, 4).clone(), case.tensor(2.5).expand(*lead, 3).clone()
        out = expect_tensors(answer(a, b, 5), "p", "q")
        for name, part in zip("pq", out, strict=True):
            expect_shape(name, part, (*lead, 5))
            expect(
                not bool(part.isnan().any()),
                "NaN where all numbers are the same: the range is 0 and was divided by",
                "所有的数都相同时出现了 NaN：范围是 0，却拿来做了除数",
            )
            largest = part.double().amax(-1)
            case.expect_close(
                largest,
                torch.ones_like(largest),
                otherwise=(f"{name} is not in one bin", f"{name} 不在同一个箱子里"),
            )
        expect(case.close(out[0], out[1]), "p and q are in different bins", "p 与 q 不在同一个箱子里")
    a, b = groups(case, 6)
    expect_histograms(case, answer(a.clone(), b.clone(), 6), a, b, 6)


@histogram_probabilities.property("keeps dtype and device", "保持 dtype 与设备")
def histogram_dtype(answer, case):
    a, b = groups(case, 6)
    out = answer(a.clone(), b.clone(), 6)
    expect_histograms(case, out, a, b, 6)
    expect_kept(case, *out)


@histogram_probabilities.property("leaves its inputs untouched", "不改动输入", EXACT)
def histogram_untouched(answer, case):
    a, b = groups(case, 6)
    given = a.clone().requires_grad_(), b.clone()  # as activations may be
    out = answer(given[0].detach(), given[1], 6)
    expect_unchanged(given[0], a, "a")
    expect_unchanged(given[1], b, "b")
    expect_histograms(case, out, a, b, 6)


# --- kl and jsd -----------------------------------------------------------------------------------------------

kl = Check("kl")
jsd = Check("jsd")


def distribution(weights: Tensor) -> Tensor:
    weights = weights.double()
    return weights / weights.sum(-1, keepdim=True)


def terms(p: Tensor, q: Tensor) -> Tensor:
    """Σ p ln(p / q) over the last dimension in float64, term by term as defined; no gradient at zeros is asked."""
    safe = torch.where((p > 0) & (q > 0), q, 1.0)
    whole = torch.where(p > 0, p * (p.clamp(min=1e-300) / safe).log(), 0.0).sum(-1)
    return whole.masked_fill(((p > 0) & (q == 0)).any(-1), math.inf)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    return terms(distribution(p), distribution(q))


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    p, q = distribution(p), distribution(q)
    return (terms(p, (p + q) / 2) + terms(q, (p + q) / 2)) / 2


def kl_mistakes(p: Tensor, q: Tensor) -> dict[Text, Tensor]:
    right, raw_p, raw_q = divergence(p, q), p.double(), q.double()
    dp, dq = distribution(p), distribution(q)
    return {
        (
            "this is KL(Q‖P), the other direction: F.kl_div takes ln Q first and P second",
            "这是 KL(Q‖P)，方向反了：F.kl_div 先传 ln Q，后传 P",
        ): divergence(q, p),
        (
            "this is divided by the number of bins: reduction='batchmean' divides by the first dimension",
            "除以了箱子的个数：reduction='batchmean' 除以的是第一维的大小",
        ): right / p.shape[-1],
        ("this is in bits; use the natural logarithm", "单位成了比特；应用自然对数"): right / math.log(2),
        ("the sign is wrong: it is at least 0", "符号错了：它不小于 0"): -right,
        ("the weights were not normalised: divide each row by its sum", "权重没有归一化：每一行应除以总和"): terms(
            raw_p, raw_q
        ),
        ("this is the cross-entropy; subtract the entropy of P", "这是交叉熵；还要减去 P 的熵"): -(dp * dq.log()).sum(
            -1
        ),
        ("this is Jensen–Shannon, with the mixture in the place of Q", "这是 JS 散度，Q 的位置上放了混合分布"): (
            jensen_shannon(p, q)
        ),
        ("this is the mean of both directions", "这是两个方向的平均"): (right + divergence(q, p)) / 2,
        (
            "softmax was taken; weights are already proportions: divide by the sum",
            "做了 softmax；权重本来就是比例：除以总和即可",
        ): terms(raw_p.softmax(-1), raw_q.softmax(-1)),
    }


def jsd_mistakes(p: Tensor, q: Tensor) -> dict[Text, Tensor]:
    right, dp, dq = jensen_shannon(p, q), distribution(p), distribution(q)
    m, pooled = (dp + dq) / 2, distribution(p.double() + q.double())
    share = (p.double().sum(-1) / (p.double().sum(-1) + q.double().sum(-1))).clamp(0, 1)
    return {
        (
            "the arguments of KL are reversed: it is KL(M‖P) and KL(M‖Q) here",
            "KL 的两个参数反了：这里算成了 KL(M‖P) 与 KL(M‖Q)",
        ): (terms(m, dp) + terms(m, dq)) / 2,
        (
            "this is divided by the number of bins: reduction='batchmean' divides by the first dimension",
            "除以了箱子的个数：reduction='batchmean' 除以的是第一维的大小",
        ): right / p.shape[-1],
        ("this is in bits; use the natural logarithm", "单位成了比特；应用自然对数"): right / math.log(2),
        ("the two terms are added; take half of each", "两项相加了；应各取一半"): 2 * right,
        ("this is the distance, its square root", "这是它的平方根，即距离"): right.sqrt(),
        ("this is the mean of KL(P‖Q) and KL(Q‖P)", "这是 KL(P‖Q) 与 KL(Q‖P) 的平均"): (
            divergence(p, q) + divergence(q, p)
        )
        / 2,
        ("this is KL(P‖M) alone", "只算了 KL(P‖M)"): terms(dp, m),
        ("this is KL(P‖Q)", "这是 KL(P‖Q)"): divergence(p, q),
        (
            "the weights were mixed before they were normalised, so that the larger group weighs more in M",
            "先混合后归一化，数多的一组在 M 里占得多",
        ): (terms(dp, pooled) + terms(dq, pooled)) / 2,
        (
            "the groups weigh by their sizes; each weighs one half",
            "两组按大小加权了；应各占一半",
        ): share * terms(dp, pooled) + (1 - share) * terms(dq, pooled),
        ("the weights were not normalised: divide each row by its sum", "权重没有归一化：每一行应除以总和"): (
            terms(p.double(), (p.double() + q.double()) / 2) + terms(q.double(), (p.double() + q.double()) / 2)
        )
        / 2,
    }


def weights_of(case: Case, *rows: list[float]) -> list[Tensor]:
    return [case.tensor(row) for row in rows]


def expect_divergence(case: Case, answer, p, q, reference, mistakes=None, otherwise=None) -> None:
    """Fail unless the answer gives the reference for copies of p and q; infinity must be infinity."""
    right = reference(p, q)
    got = expect_tensor(answer(p.clone(), q.clone()))
    wrong = mistakes(p, q).items() if mistakes else ()
    expect(not bool(got.isnan().any()), *NOT_A_NUMBER)
    named = {sentence: value for sentence, value in wrong if value.isfinite().all() and not case.close(value, right)}
    case.expect_close(got, right, named, otherwise=otherwise)


NOT_A_NUMBER = (
    "NaN: 0 · ln 0 is 0 by definition, and 0 · (−∞) is not",
    "出现了 NaN：按定义 0 · ln 0 是 0，而 0 · (−∞) 不是",
)


def soft(answer: Callable) -> Callable:
    """The answer as a function of any numbers: their exponentials are the weights."""
    return lambda x, y: expect_tensor(answer(x.exp(), y.exp()))


def add_common(check: Check, reference: Callable, mistakes: Callable) -> None:
    """What kl and jsd have in common: they depend on proportions alone, take batches, and are differentiable."""

    @check.property("depends on the proportions alone", "只与比例有关", SHORT)
    def proportions(answer, case):
        p, q = weights_of(case, [1, 4, 2, 1], [3, 1, 1, 3])
        for scale_p, scale_q in ((1 / 8, 1 / 8), (1, 1), (16, 1), (1, 64)):
            expect_divergence(
                case,
                answer,
                p * scale_p,
                q * scale_q,
                reference,
                mistakes,
                otherwise=(
                    f"weights that sum to {8 * scale_p:g} and {8 * scale_q:g} give another result than their shares",
                    f"权重之和为 {8 * scale_p:g} 与 {8 * scale_q:g} 时，结果与用份额算的不同",
                ),
            )

    @check.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
    def batch(answer, case):
        p, q = weights_of(case, [1, 4, 2, 1], [3, 1, 1, 3])
        expect_divergence(case, answer, p, q, reference)
        leads = [((2, 3), (2, 3)), ((3,), (3,)), ((1,), (1,)), ((3,), ())]
        case.expect_batch(soft(answer), (4,), (4,), leads=leads)

    check.add_standard_properties(lambda case: (case.randn(5).exp(), case.randn(5).exp()))


@kl.property("it is KL(P‖Q), in nats", "是 KL(P‖Q)，单位为奈特", weight=3)
def kl_values(answer, case):
    for p, q in (
        weights_of(case, [0.5, 0.25, 0.125, 0.125], [0.125, 0.125, 0.25, 0.5]),
        weights_of(case, [0.75, 0.125, 0.125], [0.25, 0.5, 0.25]),
        weights_of(case, [6, 1, 1], [2, 4, 10]),
    ):
        expect_divergence(case, answer, p, q, divergence, kl_mistakes)


@kl.property("zeros count as the definition says", "零按定义处理", weight=3)
def kl_zeros(answer, case):
    for p, q in (
        weights_of(case, [0.75, 0.25, 0, 0], [0.25, 0.25, 0.5, 0]),
        weights_of(case, [0, 1, 0], [0.5, 0.25, 0.25]),
    ):
        expect_divergence(case, answer, p, q, divergence, kl_mistakes)
    for p, q in (weights_of(case, [0.5, 0.5, 0], [1, 0, 0]), weights_of(case, [[1, 1], [1, 1]], [[0, 1], [3, 1]])):
        got = expect_tensor(answer(p.clone(), q.clone()))
        right = divergence(p, q)
        expect_shape("the result", got, right.shape)
        expect(not bool(got.isnan().any()), *NOT_A_NUMBER)
        infinite = right.isinf().to(got.device)
        shown = got[infinite].max().item()
        expect(
            bool((got[infinite] == math.inf).all()),
            f"Q is 0 where P is not, and the result is {shown:.3g}; it is infinite, "
            "and a small number added to avoid that decides what comes out",
            f"P 不为 0 而 Q 为 0 的地方，结果是 {shown:.3g}；应是无穷大，为避开它而加的那个很小的数决定了结果",
        )
        case.expect_close(got.masked_fill(infinite, 0), right.masked_fill(right.isinf(), 0))


@kl.property("0 for equal proportions, and not symmetric", "比例相同时为 0，而且不对称", SHORT)
def kl_self(answer, case):
    p, q = weights_of(case, [8, 4, 2, 2], [1, 1, 1, 61])
    for one, two in ((p, p), (q, q), (p, 4 * p)):
        expect_divergence(
            case,
            answer,
            one,
            two,
            divergence,
            otherwise=("it is not 0 for equal proportions", "比例相同时不为 0"),
        )
    there, back = (expect_tensor(answer(one.clone(), two.clone())) for one, two in ((p, q), (q, p)))
    expect(not case.close(there, back), "both directions give the same", "两个方向的结果一样")
    expect(bool(there > 0) and bool(back > 0), "it is not above 0 for different ones", "比例不同时应大于 0")


add_common(kl, divergence, kl_mistakes)


@jsd.property("it is half of KL(P‖M) and half of KL(Q‖M)", "是 KL(P‖M) 与 KL(Q‖M) 各取一半", weight=3)
def jsd_values(answer, case):
    for p, q in (
        weights_of(case, [0.625, 0.25, 0.0625, 0.0625], [0.125, 0.125, 0.25, 0.5]),
        weights_of(case, [24, 4, 4], [1, 2, 5]),
        weights_of(case, [0.75, 0.25, 0], [0.25, 0.5, 0.25]),
        weights_of(case, [24, 4, 4], [0, 1, 7]),
    ):
        expect_divergence(case, answer, p, q, jensen_shannon, jsd_mistakes)


@jsd.property("finite, ln 2 where no bin is shared", "有限；没有共同的箱子时为 ln 2", weight=3)
def jsd_zeros(answer, case):
    for p, q in (
        weights_of(case, [1, 0, 0, 0], [0, 0, 1, 0]),
        weights_of(case, [3, 1, 0, 0], [0, 0, 2, 2]),
        weights_of(case, [1, 1, 0, 0], [0, 1, 1, 0]),
        weights_of(case, [[0, 1], [2, 0]], [[0, 3], [0, 1]]),
    ):
        expect_divergence(
            case,
            answer,
            p,
            q,
            jensen_shannon,
            jsd_mistakes,
            otherwise=("a bin that is empty in one or both is not counted right", "有一边或两边为空的箱子没有算对"),
        )


@jsd.property("symmetric, and between 0 and ln 2", "对称，在 0 与 ln 2 之间", EXACT)
def jsd_symmetric(answer, case):
    for _ in range(3):
        p, q = (2 * case.randn(4, 6)).exp(), (2 * case.randn(4, 6)).exp()
        there, back = (expect_tensor(answer(one.clone(), two.clone())) for one, two in ((p, q), (q, p)))
        expect_shape("the result", there, (4,))
        expect(case.close(there, back), "it changes when p and q change places", "p 与 q 互换，结果就变了")
        expect(
            bool((there > 0.001).all()) and bool((there < math.log(2) + 1e-6).all()),
            "for different proportions it is above 0 and at most ln 2",
            "比例不同时，应大于 0，而且不超过 ln 2",
        )
    expect_divergence(case, answer, p, p * 3, jensen_shannon)


add_common(jsd, jensen_shannon, jsd_mistakes)


# --- permutation_pvalue ---------------------------------------------------------------------------------------

permutation_pvalue = Check("permutation_pvalue")


def drawn(case: Case, seed: int = 0) -> torch.Generator:
    return torch.Generator(case.device).manual_seed(seed)


def p_values(answer, values: Tensor, labels: Tensor, statistic: Callable, n: int, generator) -> Tensor:
    """What the answer gives for copies of values and labels; a plain number where there is one row, as a tensor."""
    out = answer(values.clone(), labels.clone(), statistic, n, generator)
    if values.dim() == 1 and isinstance(out, float):
        return torch.tensor(out, dtype=torch.float64)
    return expect_tensor(out)


def total_of_first(a: Tensor, b: Tensor) -> Tensor:
    return a.sum(-1)


def gap(a: Tensor, b: Tensor) -> Tensor:
    return (a.mean(-1) - b.mean(-1)).abs()


FIRST = [True, True, True, False, False, False]
TIED = [1, 0, 0, 1, 0, 1]
"""One of the three ones is in the first group. Of all 20 groupings 19 have at least one there, 10 have more."""

FAR = [5, 6, 7, 8, 9, 10, *[0] * 14]
"""Of all 38,760 groups of six only the observed one has this sum, and it is the largest."""


def expect_valid(p: Tensor, n: int) -> None:
    """Fail unless every p-value is k / (n + 1) with k from 1 to n + 1."""
    expect(not bool(p.isnan().any()), "a p-value is NaN", "有 p 值是 NaN")
    expect(
        bool((p > 0).all()),
        "a p-value is 0: the observed order is one of the possible ones, so (1 + k) / (1 + n)",
        "有 p 值是 0：观察到的次序本身也是可能的次序之一，所以是 (1 + k) / (1 + n)",
    )
    expect(bool((p <= 1.001).all()), "a p-value is above 1", "有 p 值大于 1")
    counts = p.double() * (n + 1)
    expect(
        bool(((counts - counts.round()).abs() < 0.02).all()),
        f"a p-value is no multiple of 1/{n + 1}: with n shuffles it is (1 + k) / (1 + n)",
        f"有 p 值不是 1/{n + 1} 的整数倍：打乱 n 次时，它是 (1 + k) / (1 + n)",
    )


CLEAR_OR_NOT = [[*range(10)], [0] * 10] * 4
"""Rows whose first five values are far from the last five, and rows without any difference."""


def expect_told_apart(p: Tensor) -> None:
    """Fail unless the p-values of `CLEAR_OR_NOT` for a few shuffles tell a clear difference from none."""
    expect_shape("the p-values of these rows", p, (8,))
    expect(
        bool((p[::2] < 0.45).all()) and bool((p[1::2] > 0.99).all()),
        "a clear difference and none at all are not told apart",
        "明显的差别与毫无差别，没有分辨出来",
    )


@permutation_pvalue.property("(1 + k) / (1 + n), ties counted", "(1 + k) / (1 + n)，相等的也算", ONCE, weight=3)
def permutation_formula(answer, case):
    labels, tied = torch.tensor(FIRST, device=case.device), case.tensor(TIED)
    p = p_values(answer, tied, labels, lambda a, b: a.sum(-1) + b.sum(-1), 9, drawn(case))
    expect_shape("the result for one row", p, ())
    expect(
        abs(p.item() - 1) < 1e-3,
        f"the statistic is the same for every grouping, and p is {p.item():.3f}; it should be 1: shuffles that equal "
        "the observed statistic count too; use ≥, not >",
        f"无论怎样分组统计量都一样，p 却是 {p.item():.3f}；应为 1：与观察值相等的打乱也要算进去，用 ≥，不用 >",
    )
    for n in (4, 14):
        p = p_values(answer, case.tensor(FAR), torch.arange(20, device=case.device) < 6, total_of_first, n, drawn(case))
        expect_valid(p, n)
        expect(
            p.item() < 0.99,
            "shuffles at or below the observed statistic were counted, or the two groups have changed places",
            "数的是不大于观察值的，或者两组互换了位置",
        )
        expect(
            abs(p.item() * (n + 1) - 1) < 0.02,
            f"no shuffle reaches the observed statistic, and p is {p.item():.3f}; it should be 1/{n + 1}",
            f"没有一次打乱达到观察值，p 却是 {p.item():.3f}；应为 1/{n + 1}",
        )
    p = p_values(answer, tied, labels, total_of_first, 29, drawn(case))
    expect_valid(p, 29)
    expect(
        p.item() > 0.73,  # five standard deviations below
        f"p is {p.item():.2f} where 0.95 was to be expected; do shuffles that equal the observed statistic count?",
        f"p 是 {p.item():.2f}，应在 0.95 附近；与观察值相等的打乱算进去了吗？",
    )


@permutation_pvalue.property("uniform where nothing differs", "没有差别时，p 值均匀分布", (torch.float64,), weight=3)
def permutation_uniform(answer, case):
    n, rows = 39, 300
    values, labels = case.randn(rows + 100, 14), torch.arange(14, device=case.device) % 3 == 0
    values[rows:, labels] += 4
    p = p_values(answer, values, labels, gap, n, drawn(case))
    expect_shape("the result", p, (rows + 100,))
    expect_valid(p, n)
    null, moved = p[:rows].double(), p[rows:].double()
    small, large = (null <= 0.25).double().mean().item(), (null > 0.75).double().mean().item()
    expect(
        abs(small - 0.25) < 0.1 and abs(large - 0.25) < 0.1,
        f"of 300 rows without any difference {small:.0%} have p ≤ 0.25 and {large:.0%} have p > 0.75; a quarter should",
        f"300 行都毫无差别，p ≤ 0.25 的占 {small:.0%}，p > 0.75 的占 {large:.0%}；应各占四分之一",
    )
    expect(
        bool(moved.mean() < 0.1),
        "rows with a large difference do not get small p-values",
        "差别很大的行，p 值却不小",
    )


@permutation_pvalue.property("groups keep their sizes, each value is used once", "各组大小不变，每个值恰用一次", ONCE)
def permutation_groups(answer, case):
    values, labels = case.tensor([3, 1, 4, 7, 5, 9, 2, 6, 0]), torch.arange(9, device=case.device) % 3 == 1
    sizes, multisets, firsts = set(), set(), set()

    def statistic(a, b):
        sizes.add((a.shape[-1], b.shape[-1]))
        first, second = (group.reshape(-1, group.shape[-1]) for group in (a, b))
        if len(first) == len(second):
            multisets.update(map(tuple, torch.cat([first, second], dim=-1).sort(dim=-1).values.tolist()))
        firsts.update(map(tuple, first.sort(dim=-1).values.tolist()))
        return a.sum(-1)

    p = p_values(answer, values, labels, statistic, 24, drawn(case))
    expect_valid(p, 24)
    expect(len(sizes) > 0, "the statistic was never called", "从来没有调用过 statistic")
    other = sorted(sizes - {(3, 6)})
    expect(
        not other,
        f"the statistic was given groups of {other[0] if other else ''}; they have 3 and 6 values",
        f"传给 statistic 的两组大小是 {other[0] if other else ''}；应为 3 与 6",
    )
    expect(
        multisets == {tuple(values.sort().values.tolist())},
        "a value is used twice and another one not at all: draw without replacement",
        "有的值用了两次，有的没用：应不放回地抽取",
    )
    expect(len(firsts) > 12, "the groupings are nearly always the same", "分组几乎总是一样")  # of 84
    expect((1.0, 5.0, 6.0) in firsts, "the observed grouping was never tried", "没有计算观察到的分组")


@permutation_pvalue.property("randomness comes from the generator alone", "随机性只来自 generator", ONCE)
def permutation_generator(answer, case):
    values, labels = torch.cat([case.tensor(CLEAR_OR_NOT), case.randn(20, 10)]), torch.arange(10) >= 5
    labels = labels.to(case.device)
    state, draw = torch.get_rng_state(), drawn(case, 5)
    one, second = (p_values(answer, values, labels, gap, 6, draw) for _ in range(2))
    expect_shape("the result", one, (28,))
    expect_told_apart(one[:8])
    expect(
        torch.equal(torch.get_rng_state(), state),
        "the global random state moved: something was drawn without generator=generator",
        "全局随机状态变了：有的抽样没有写 generator=generator",
    )
    torch.manual_seed(99)
    again, other = (p_values(answer, values, labels, gap, 6, drawn(case, seed)) for seed in (5, 6))
    expect(
        torch.equal(one, again),
        "the same generator gave other p-values: something was drawn without generator=generator",
        "同样的 generator 给出了不同的 p 值：有的抽样没有写 generator=generator",
    )
    expect(
        not torch.equal(one, other) and not torch.equal(one, second),
        "another seed, or a second call, gave the same p-values: a seed is set inside, or the generator copied",
        "换了种子，或者再调用一次，p 值却一样：函数里自己设了种子，或复制了 generator",
    )


@permutation_pvalue.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def permutation_batch(answer, case):
    rows, labels = case.tensor(CLEAR_OR_NOT), torch.arange(10, device=case.device) >= 5
    for lead in ((), (1,), (4,), (2, 3)):
        values = rows[: math.prod(lead)].reshape(*lead, 10)
        p = p_values(answer, values, labels, gap, 6, drawn(case))
        expect_shape(f"the result for values of shape {tuple(values.shape)}", p, lead)
        for k, found in enumerate(p.reshape(-1).tolist()):
            expect(
                found < 0.45 if k % 2 == 0 else found > 0.99,
                f"row {k} of values of shape {tuple(values.shape)} has p = {found:.2f}: rows are mixed up",
                f"形状为 {tuple(values.shape)} 的 values，第 {k} 行的 p = {found:.2f}：各行混到了一起",
            )


@permutation_pvalue.property("keeps dtype and device", "保持 dtype 与设备")
def permutation_dtype(answer, case):
    labels = torch.arange(10, device=case.device) >= 5
    p = p_values(answer, case.tensor(CLEAR_OR_NOT), labels, gap, 6, drawn(case))
    expect_told_apart(p)
    expect_kept(case, p)


@permutation_pvalue.property("leaves its inputs untouched", "不改动输入", ONCE)
def permutation_untouched(answer, case):
    values, labels = case.tensor(CLEAR_OR_NOT), torch.arange(10, device=case.device) >= 5
    given = values.clone(), labels.clone()
    p = expect_tensor(answer(*given, gap, 6, drawn(case)))
    expect_unchanged(given[0], values, "values")
    expect_unchanged(given[1], labels, "labels")
    expect_told_apart(p)


# --- benjamini_hochberg ---------------------------------------------------------------------------------------

benjamini_hochberg = Check("benjamini_hochberg")

PAPER = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590]
"""Fourteen of the fifteen p-values of the example of Benjamini and Hochberg, 1995, section 3.2; the last is 1."""


def discoveries(p: Tensor, q: float) -> Tensor:
    """Boolean (m,): the definition for one family, by trying every rank."""
    made = [value for value in p.double().tolist() if not math.isnan(value)]
    threshold = -1.0
    for rank, value in enumerate(sorted(made), start=1):
        if value <= q * rank / len(made):
            threshold = value
    return torch.tensor([value <= threshold for value in p.double().tolist()])


def discovery_mistakes(p: Tensor, q: float) -> dict[Text, Tensor]:
    x = p.double().cpu()
    m, rank = len(x), x.argsort().argsort() + 1
    ordered, back = x.sort().values, x.argsort().argsort()
    limits = q * torch.arange(1, m + 1) / m
    below = ordered <= limits
    down = below.long().cumprod(0).bool()
    holm = (ordered <= q / torch.arange(m, 0, -1)).long().cumprod(0).bool()
    last = int(below.nonzero().max()) + 1 if bool(below.any()) else 0
    harmonic = sum(1 / k for k in range(1, m + 1))
    by = ordered <= limits / harmonic
    late = int(by.nonzero().max()) + 1 if bool(by.any()) else 0
    return {
        (
            "every p-value is compared with q / m: that is Bonferroni",
            "每个 p 值都与 q / m 比较：这是 Bonferroni 校正",
        ): x <= q / m,
        ("all are compared with q: nothing is corrected", "都与 q 比较：没有做校正"): x <= q,
        (
            "it stops at the first p-value above its limit; take the largest k at or below, and all before it",
            "遇到第一个超过界限的就停了；应取不超过界限的最大的 k，前面的一并成立",
        ): down[back],
        (
            "each p-value is judged by its own limit alone; those before the largest k count too",
            "每个 p 值只看自己的界限；最大的 k 前面的也都算",
        ): x <= q * rank / m,
        ("that is Holm's procedure", "这是 Holm 的方法"): holm[back],
        ("that is the procedure of Benjamini and Yekutieli", "这是 Benjamini–Yekutieli 方法"): (torch.arange(m) < late)[
            back
        ],
        (
            "ranks are those of the order given: sort the p-values first",
            "名次用的是给定的次序：应先把 p 值排序",
        ): x <= limits,
        (
            "the result is in sorted order: bring it back to the order given",
            "结果是排序后的次序：应还原成给定的次序",
        ): torch.arange(m) < last,
        ("the limits begin at 0: the smallest p-value has rank 1", "界限从 0 开始了：最小的 p 值名次是 1"): (
            x <= max([-1.0, *(v for k, v in enumerate(ordered.tolist()) if v <= q * k / m)])
        ),
    }


def expect_discoveries(answer, p: Tensor, q: float) -> Tensor:
    right = discoveries(p, q)
    mistakes = {k: v for k, v in discovery_mistakes(p, q).items() if not torch.equal(v, right)}
    return expect_booleans(answer(p.clone(), q), right, mistakes)


STEPS = [0.012, 0.019, 0.035, 0.036, 0.2, 0.9]
"""At q = 0.06 the limits are 0.01, 0.02, … 0.06: the first and the third lie above theirs, and the fourth does not."""

MANY = [0.0073, 0.011, 0.017, 0.0395, 0.0557, 0.0596, 0.0881, 0.6824, 0.776, 0.9957]
"""At q = 0.1 Bonferroni, Holm, Benjamini and Yekutieli, and no correction at all find different numbers of these."""

CLEAR = [0.001, 0.9, 0.8, 0.002]  # every way of correcting finds the first and the last


@benjamini_hochberg.property("all up to the largest k under its limit", "最大的 k 及之前的都成立", EXACT, weight=3)
def discoveries_rule(answer, case):
    for p, q in ((MANY, 0.1), ([*PAPER, 1.0], 0.05), (STEPS, 0.06), ([0.021, 0.03, 0.04], 0.05), ([*PAPER, 1.0], 0.2)):
        expect_discoveries(answer, case.tensor(p), q)
    expect_discoveries(answer, case.tensor(STEPS), 0.2)


@benjamini_hochberg.property("each p-value keeps its place", "每个 p 值留在原处", ONCE, weight=3)
def discoveries_order(answer, case):
    for p, q in ((MANY, 0.1), ([*PAPER, 1.0], 0.05)):
        for seed in range(3):
            order = torch.randperm(len(p), generator=torch.Generator().manual_seed(seed))
            expect_discoveries(answer, case.tensor(p)[order.to(case.device)], q)
    expect_discoveries(answer, case.tensor(STEPS).flip(0), 0.06)
    expect_discoveries(answer, case.tensor(STEPS)[[3, 5, 0, 4, 2, 1]], 0.06)


@benjamini_hochberg.property("all, none, and a limit that is met exactly", "全部、没有，以及恰好等于界限", EXACT)
def discoveries_extremes(answer, case):
    for p, q in (
        ([0.9, 0.7, 0.8], 0.05),
        ([0.01, 0.02, 0.001], 0.05),
        ([0.03], 0.05),
        ([0.07], 0.05),
        ([0.0, 1.0], 0.05),
        ([0.0625, 0.5, 0.75, 1.0], 0.25),  # from here on limits are met exactly, in binary digits
        ([0.5, 0.125, 0.25], 0.375),
        ([0.25, 0.5, 0.75, 1.0], 0.25),
        ([1.0, 1.0], 1.0),
    ):
        right = discoveries(case.tensor(p), q)
        strict = discoveries(case.tensor(p), q - 1e-6)
        equal = ("a p-value equal to its limit counts too: ≤, not <", "恰好等于界限的 p 值也算：用 ≤，不用 <")
        mistakes = {} if torch.equal(strict, right) else {equal: strict}
        expect_booleans(answer(case.tensor(p), q), right, mistakes)


@benjamini_hochberg.property("equal p-values share their fate", "相等的 p 值同进退", ONCE)
def discoveries_ties(answer, case):
    for p, q in (([0.02, 0.9, 0.02, 0.02], 0.03), ([0.04, 0.04, 0.04], 0.05), ([0.01, 0.03, 0.9, 0.03], 0.045)):
        right = discoveries(case.tensor(p), q)
        got = expect_tensor(answer(case.tensor(p), q))
        expect_shape("the result", got, right.shape)
        expect(
            len({bool(x) for x, value in zip(got.tolist(), p, strict=True) if value == sorted(p)[1]}) == 1,
            "of equal p-values one is a discovery and another is not",
            "相等的 p 值，有的算发现，有的不算",
        )
        expect_discoveries(answer, case.tensor(p), q)


@benjamini_hochberg.property("NaN is no test, and counts for nothing", "NaN 不是检验，不计入", ONCE)
def discoveries_nan(answer, case):
    nan = math.nan
    for p, q in (
        ([nan, 0.02, nan, 0.03, 0.9, nan], 0.05),
        ([0.012, nan, 0.9], 0.03),
        ([nan, nan], 0.05),
        ([nan, 0.04], 0.05),
        ([nan, 0.035, 0.5], 0.06),
    ):
        tensor = case.tensor(p)
        got = expect_tensor(answer(tensor.clone(), q))
        right = discoveries(tensor, q)
        expect_shape("the result", got, right.shape)
        expect(not bool((got != 0)[tensor.isnan()].any()), "a NaN became a discovery", "NaN 也成了发现")
        counted = discoveries(tensor.nan_to_num(nan=1.0), q)
        as_zero = discoveries(tensor.nan_to_num(nan=0.0), q) & ~tensor.isnan().cpu()
        expect_booleans(
            got,
            right,
            {
                sentence: value
                for sentence, value in {
                    ("tests that were not made are counted in m", "没有做的检验也算进了 m"): counted,
                    ("NaN was taken for a p-value of 0", "NaN 被当成了 p = 0"): as_zero,
                }.items()
                if not torch.equal(value, right)
            },
        )


@benjamini_hochberg.property("each row is a family of its own", "每一行自成一族", ONCE)
def discoveries_batch(answer, case):
    rows = [case.tensor(p) for p in (STEPS, [0.9] * 6, STEPS[::-1], [0.001] * 6, [0.011, 0.9, 0.5, 0.4, 0.3, 0.8])]
    for lead in ((5,), (2, 3), (1,), ()):
        n = math.prod(lead)
        chosen = [rows[k % 5] for k in range(n)]
        right = torch.stack([discoveries(row, 0.06) for row in chosen]).reshape(*lead, 6)
        values = torch.stack(chosen)
        together = discoveries(values.reshape(-1), 0.06).reshape(*lead, 6)
        one = ("all rows are treated as one family", "所有的行被当成了一族")
        mistakes = {} if torch.equal(together, right) else {one: together}
        expect_booleans(answer(values.reshape(*lead, 6), 0.06), right, mistakes)


@benjamini_hochberg.property("a boolean tensor on the device of p", "是布尔张量，与 p 在同一设备上", EXACT)
def discoveries_boolean(answer, case):
    out = expect_discoveries(answer, case.tensor(CLEAR), 0.05)
    expect_boolean_dtype(out, case.device)


@benjamini_hochberg.property("leaves its input untouched", "不改动输入", EXACT)
def discoveries_untouched(answer, case):
    p = case.tensor(CLEAR)
    given = p.clone()
    out = answer(given, 0.05)
    expect_unchanged(given, p, "p")
    expect_booleans(out, discoveries(p, 0.05))
