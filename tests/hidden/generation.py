"""Hidden reference tests of the chapter `generation`."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from insidegpt.checks import (
    ONCE,
    Case,
    Check,
    PropertyFailed,
    describe,
    expect,
    expect_refused,
    expect_shape,
    expect_tensor,
    expect_tensors,
)

EXACT = (torch.float32, torch.float64)
SHORT = (torch.float32, torch.float64, torch.bfloat16)
VOCABULARY = 11


class BigramModel(nn.Module):
    """The exercises' smallest language model: row i of `table` holds the logits of what follows token i."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, ids: Tensor) -> SimpleNamespace:  # (B, T)
        return SimpleNamespace(logits=self.table[ids])  # (B, T, V)


def small_model(case: Case, kind: str = "GPT2LMHeadModel") -> nn.Module:
    """A model of transformers with random weights, large enough that its logits differ; 11 tokens, 32 positions."""
    import transformers

    if kind == "GPT2LMHeadModel":
        config = transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=32, n_embd=8, n_layer=2, n_head=2)
    else:
        sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        config = transformers.BertConfig(vocab_size=VOCABULARY, max_position_embeddings=32, **sizes)
    # a model in training would drop numbers at random, and a right answer may have left it as it was
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout_prob", "attention_probs_dropout_prob"):
        setattr(config, name, 0.0)
    model = getattr(transformers, kind)(config)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * (1.0 if parameter.dim() > 1 else 0.5))
    return model.to(case.device, case.dtype).eval()


def random_ids(case: Case, *shape: int) -> Tensor:
    return case.randn(*shape, VOCABULARY).argmax(-1)


# --- next_token_logits ----------------------------------------------------------------------------------------

next_token_logits = Check("next_token_logits")


def prefix_logits(model: nn.Module, ids: Tensor) -> Tensor:
    """(B, T, V): what the model says after each prefix, the prefixes given to it one by one."""
    with torch.no_grad():
        return torch.stack([model(ids[:, : t + 1]).logits[:, -1] for t in range(ids.shape[1])], dim=1)


def prefix_mistakes(model: nn.Module, ids: Tensor, right: Tensor) -> dict:
    with torch.no_grad():
        whole = model(ids).logits
        first = torch.stack([model(ids[:, : t + 1]).logits[:, 0] for t in range(ids.shape[1])], dim=1)
        late = torch.stack([model(ids[:, : t + 1]).logits[:, t // 2] for t in range(ids.shape[1])], dim=1)
        alone = torch.stack([model(ids[:, t : t + 1]).logits[:, -1] for t in range(ids.shape[1])], dim=1)
        suffix = torch.stack([model(ids[:, t:]).logits[:, -1] for t in range(ids.shape[1])], dim=1)
    return {
        (
            "this is one pass over the whole text, and this model looks ahead: show it each prefix by itself",
            "这是对整段文本只算一遍的结果，而这个模型会看后面：要把每个前缀单独交给它",
        ): whole,
        (
            "off by one: row 0 is missing, it is what follows the first token alone",
            "错了一位：缺了第 0 行，即第一个词元之后的预测",
        ): (right[:, 1:]),
        (
            "off by one: the last row is missing, it is what follows the whole text",
            "错了一位：缺了最后一行，即整段文本之后的预测",
        ): (right[:, :-1]),
        (
            "off by one: row t comes after t tokens; it should come after t + 1",
            "错了一位：第 t 行用了 t 个词元；应是 t + 1 个",
        ): (torch.cat([right[:, :1], right[:, :-1]], dim=1)),
        ("off by one: row t has already seen token t + 1", "错了一位：第 t 行已经看到了词元 t + 1"): (
            torch.cat([right[:, 1:], right[:, -1:]], dim=1)
        ),
        (
            "the rows are in reverse order: row 0 comes after the first token",
            "各行的次序反了：第 0 行是第一个词元之后的预测",
        ): (right.flip(1)),
        (
            "these are the logits of the first position of each prefix; take the last",
            "这是每个前缀第一个位置的 logits；应取最后一个",
        ): first,
        (
            "these are logits of some position inside the prefix; take the last",
            "这是前缀中间某个位置的 logits；应取最后一个",
        ): late,
        (
            "the model saw one token at a time; it should see the whole prefix",
            "每次只给了模型一个词元；应给整个前缀",
        ): alone,
        ("the model saw what follows; it should see what comes before", "给模型的是后面的部分；应给前面的部分"): suffix,
        ("these are probabilities; return the logits", "这是概率；应返回 logits"): right.softmax(-1),
        ("these are log-probabilities; return the logits", "这是对数概率；应返回 logits"): right.log_softmax(-1),
    }


@next_token_logits.property(
    "row t follows the first t + 1 tokens and no more", "第 t 行只看前 t + 1 个词元", SHORT, weight=3
)
def prefix_values(answer, case):
    model, ids = small_model(case, "BertForMaskedLM"), random_ids(case, 2, 6)
    right, given = prefix_logits(model, ids), ids.clone()
    case.expect_close(answer(model, ids), right, lambda: prefix_mistakes(model, given, right))


@next_token_logits.property("for GPT-2 it equals one parallel pass", "对 GPT-2，等于并行算一遍的结果", SHORT, weight=3)
def prefix_parallel(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 6)
    with torch.no_grad():
        right = model(ids).logits
    given = ids.clone()

    def mistakes() -> dict:  # some of which are none here
        return {k: v for k, v in prefix_mistakes(model, given, right).items() if not case.close(v, right)}

    case.expect_close(answer(model, ids), right, mistakes)


@next_token_logits.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def prefix_batch(answer, case):
    out = answer(small_model(case), random_ids(case, 2, 5))
    expect_shape("the result for ids of shape (2, 5)", out, (2, 5, VOCABULARY))
    for lead in ((), (1,), (3,), (2, 3)):
        model = small_model(case)
        ids = random_ids(case, *lead, 5)
        right = prefix_logits(model, ids.reshape(-1, 5)).reshape(*lead, 5, VOCABULARY)
        try:
            got = expect_tensor(answer(model, ids))
        except (RuntimeError, ValueError, IndexError) as error:
            said = str(error).splitlines()[0][:120]
            raise PropertyFailed(
                f"ids of shape {tuple(ids.shape)} raised: {said}; reshape to (B, T) for the model, and back",
                f"形状为 {tuple(ids.shape)} 的 ids 抛出异常：{said}；先变形成 (B, T) 再交给模型，之后变回来",
            ) from None
        expect_shape(f"the result for ids of shape {tuple(ids.shape)}", got, right.shape)
        case.expect_close(got, right, otherwise=("texts of a batch were mixed up", "批次中的文本混到了一起"))


@next_token_logits.property("a text of one token is a text too", "只有一个词元也是文本", EXACT)
def prefix_single(answer, case):
    model = small_model(case)
    ids = torch.arange(VOCABULARY, device=case.device)[:, None]  # (V, 1)
    right = prefix_logits(model, ids)  # before the call, which may change what is given
    case.expect_close(answer(model, ids), right)


@next_token_logits.property("keeps dtype and device", "保持 dtype 与设备")
def prefix_dtype(answer, case):
    model, ids = small_model(case), random_ids(case, 1, 3)
    out = expect_tensor(answer(model, ids))
    expect(
        (out.dtype, out.device.type) == (case.dtype, case.device.type),
        f"a model in {case} gave {describe(out)}",
        f"模型是 {case}，结果却是 {describe(out)}",
    )
    expect_shape("the result", out, (1, 3, VOCABULARY))
    expect_reads_text(answer, case)


@next_token_logits.property("leaves text and model as they were", "不改动文本和模型", ONCE)
def prefix_untouched(answer, case):
    for training in (False, True):
        model, ids = small_model(case).train(training), random_ids(case, 2, 4)
        weights, before = {k: v.clone() for k, v in model.state_dict().items()}, ids.clone()
        out = expect_tensor(answer(model, ids))
        expect_model_untouched(model, weights, training)
        expect(torch.equal(ids, before), "ids was changed in place", "ids 被原地修改了")
        expect_shape("the result", out, (2, 4, VOCABULARY))
    expect_reads_text(answer, case)


def expect_reads_text(answer, case: Case) -> None:
    """Fail unless the logits are the same at a second call, and others for another text and for another model."""
    one, two = (case.randn(VOCABULARY, VOCABULARY) for _ in "12")
    ids = random_ids(case, 2, 4)
    calls = (one, ids), (one, ids), (one, (ids + 1) % VOCABULARY), (two, ids)
    got, again, *others = (expect_tensor(answer(BigramModel(table.clone()), text.clone())) for table, text in calls)
    expect(bool(got.isfinite().all()), "there is a NaN or an infinity in the logits", "logits 里出现了 NaN 或无穷大")
    expect(
        case.close(got, again),
        "two calls with the same text gave different logits: something random is inside",
        "同样的文本，两次调用的 logits 不同：里面有随机的成分",
    )
    expect(
        not any(case.close(got, other) for other in others),
        "another text or another model gave the same logits",
        "换了文本或换了模型，logits 却一样",
    )


def expect_model_untouched(model: nn.Module, weights: dict[str, Tensor], training: bool) -> None:
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])]
    expect(not changed, f"weights of the model were changed: {changed[:2]}", f"模型的权重被改动了：{changed[:2]}")
    expect(
        model.training == training,
        f"the model came in {'training' if training else 'evaluation'} mode and left in the other",
        f"模型进来时是{'训练' if training else '评估'}模式，出去时却变了",
    )
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    expect(not frozen, f"parameters of the model were frozen: {frozen[:2]}", f"模型的参数被冻结了：{frozen[:2]}")


# --- KVCache --------------------------------------------------------------------------------------------------

KVCache = Check("KVCache")


def chunks(case: Case, *sizes: int, lead=(2, 3), d_k=4, d_v=5) -> list[tuple[Tensor, Tensor]]:
    """Keys (…, t, d_k) and values (…, t, d_v) of chunks of these sizes."""
    return [(case.randn(*lead, t, d_k), case.randn(*lead, t, d_v)) for t in sizes]


def so_far(given: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.cat([k for k, _ in given], dim=-2), torch.cat([v for _, v in given], dim=-2)


def update(cache, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """What the cache returns for a copy of this chunk, so that nothing done to the copy changes what is expected."""
    return expect_tensors(cache.update(layer, k.clone(), v.clone()), "keys", "values")


def expect_held(case: Case, got: tuple[Tensor, Tensor], given: list[tuple[Tensor, Tensor]], other=()) -> None:
    """Fail unless the pair holds all of the chunks `given`; `other` are those of another layer."""
    keys, values = so_far(given)
    for name, part, right in (("keys", 0, keys), ("values", 1, values)):
        mistakes = {
            (
                f"only the newest chunk of {name} came back; return everything held so far",
                f"{name} 只返回了最新的一段；应返回至今存下的全部",
            ): given[-1][part],
            (
                f"the {name} stand in the wrong order: a new chunk goes behind the old ones",
                f"{name} 的次序错了：新的一段应接在后面",
            ): torch.cat([chunk[part] for chunk in reversed(given)], dim=-2),
            (
                f"{name} hold another layer's positions: each layer needs a store of its own",
                f"{name} 里有别的层的位置：每一层要有自己的存储",
            ): torch.cat([chunk[part] for chunk in [*other, *given]], dim=-2),
            (
                f"the {name} are padded to their full length; return the positions held, and no empty ones",
                f"{name} 补到了最大长度；只应返回已存的位置，不要空位",
            ): torch.cat(
                [right, right.new_zeros(*right.shape[:-2], max(0, 12 - right.shape[-2]), right.shape[-1])], dim=-2
            ),
        }
        for axis in range(-4, 0):
            if axis != -2 and right.dim() >= -axis and len({chunk[part].shape[-2] for chunk in given}) == 1:
                wrong = torch.cat([chunk[part] for chunk in given], dim=axis)
                mistakes[
                    f"the {name} were joined along axis {axis}; positions are axis -2",
                    f"{name} 沿轴 {axis} 拼接了；位置在轴 -2",
                ] = wrong
        mistakes["keys and values have changed places", "键与值互换了"] = values if part == 0 else keys
        case.expect_close(got[part], right, mistakes)


@KVCache.property("update returns everything held so far", "update 返回至今存下的全部", ONCE, weight=3)
def cache_values(answer, case):
    for sizes in ((1, 1, 1), (3, 1, 4), (7,), (2, 2)):
        for d_v in (4, 5):
            cache, given = answer(1, 12), chunks(case, *sizes, d_v=d_v)
            for n, (k, v) in enumerate(given, start=1):
                expect_held(case, update(cache, 0, k, v), given[:n])


@KVCache.property("each layer has a store of its own", "每一层有自己的存储", ONCE, weight=3)
def cache_layers(answer, case):
    cache = answer(3, 12)
    one, two = chunks(case, 2, 1), chunks(case, 2, 1)
    for n in (1, 2):
        expect_held(case, update(cache, 0, *one[n - 1]), one[:n], two[: n - 1])
        expect_held(case, update(cache, 2, *two[n - 1]), two[:n], one[:n])
    late = chunks(case, 3)
    expect_held(case, update(cache, 1, *late[0]), late, one)


class CachedDecoder:
    """Two layers of causal attention over embeddings with positions, which ask a cache where they are."""

    def __init__(self, case: Case):
        self.embedding, self.position = case.randn(VOCABULARY, 4), case.randn(12, 4)
        self.projections = [tuple(case.randn(4, 4) / 2 for _ in "qkv") for _ in range(2)]

    def __call__(self, ids: Tensor, cache=None) -> Tensor:  # (B, t) → (B, t, 4)
        start = len(cache) if cache is not None else 0
        expect(
            start + ids.shape[1] <= 12,
            f"len(cache) is {start}, more positions than were stored",
            f"len(cache) 是 {start}，比存下的位置还多",
        )
        x = self.embedding[ids] + self.position[start : start + ids.shape[1]]
        for layer, (w_q, w_k, w_v) in enumerate(self.projections):
            q, k, v = x @ w_q, x @ w_k, x @ w_v
            if cache is not None:
                k, v = update(cache, layer, k, v)
            scores = q @ k.mT / 2
            allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=ids.device)
            allowed = allowed.tril(scores.shape[-1] - scores.shape[-2])
            x = x + scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v
        return x


@KVCache.property(
    "a decoder that uses it in pieces equals one pass", "分段使用它的解码器，与一遍算完相同", ONCE, weight=3
)
def cache_decoder(answer, case):
    decoder, ids = CachedDecoder(case), random_ids(case, 2, 9)
    whole = decoder(ids)
    sentence = (
        "text in pieces gives other results than the whole text: len(cache) is not where the next token stands",
        "分段算与整段算，结果不同：len(cache) 不是下一个词元的位置",
    )
    for sizes in ((9,), (5, 1, 1, 1, 1), (1,) * 9, (2, 3, 4)):
        cache = answer(2, 9)
        parts = [decoder(piece, cache) for piece in ids.split(list(sizes), dim=1)]
        for part in parts:
            expect(part.dim() == 3 and part.shape[0] == 2, "the shapes do not fit", "形状不对")
        case.expect_close(torch.cat(parts, dim=1), whole, otherwise=sentence)


@KVCache.property("len counts the positions that every layer holds", "len 是每一层都有的位置数", ONCE)
def cache_length(answer, case):
    cache, given = answer(3, 12), chunks(case, 2, 1, 3)
    expect(len(cache) == 0, f"an empty cache has length {len(cache)}", f"空缓存的长度是 {len(cache)}")
    held = 0
    for k, v in given:
        for layer in (1, 0, 2):
            before = f"{held} positions are in every layer"
            expect(
                len(cache) == held,
                f"len(cache) is {len(cache)} where {before}: a position counts once, when the last layer has it",
                f"每一层都有的位置是 {held} 个，len(cache) 却是 {len(cache)}：一个位置只算一次，等最后一层也有了才算",
            )
            t, keys = k.shape[-2], update(cache, layer, k, v)[0]
            expect(
                any(case.close(keys[..., at : at + t, :], k) for at in range(keys.shape[-2])),
                "the keys that were just stored are not among those that came back",
                "刚存入的键，不在返回的键里",
            )
        held += k.shape[-2]
    expect(
        len(cache) == held,
        f"len(cache) is {len(cache)} after chunks of 2, 1 and 3 positions; it should be {held}",
        f"存入 2、1、3 个位置之后，len(cache) 是 {len(cache)}；应为 {held}",
    )


@KVCache.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def cache_batch(answer, case):
    for lead in ((), (1,), (3,), (2, 3), (2, 1, 3)):
        cache, given = answer(1, 6), chunks(case, 2, 1, lead=lead)
        update(cache, 0, *given[0])
        expect_held(case, update(cache, 0, *given[1]), given)
    cache, given = answer(1, 6), chunks(case, 2, 1)
    update(cache, 0, *given[0])
    (stranger,) = chunks(case, 1, lead=(1, 3))
    expect_refused(
        lambda: cache.update(0, *stranger),
        ("a chunk of batch size 1 in a cache of batch size 2", "批次大小为 2 的缓存收到批次大小为 1 的一段时"),
    )
    expect_held(case, update(cache, 0, *given[1]), given)


@KVCache.property("reset makes it as good as new", "reset 之后如同新的", ONCE)
def cache_reset(answer, case):
    cache = answer(2, 4)
    for k, v in chunks(case, 3, 1):
        for layer in range(2):
            update(cache, layer, k, v)
    cache.reset()
    expect(len(cache) == 0, f"len(cache) is {len(cache)} after reset", f"reset 之后 len(cache) 是 {len(cache)}")
    other = Case(case.device, torch.float64)
    given = chunks(other, 2, 2, lead=(5,), d_k=6, d_v=2)  # another batch, width and dtype
    for n, (k, v) in enumerate(given, start=1):
        for layer in range(2):
            keys, values = update(cache, layer, k, v)
            expect(
                keys.dtype == values.dtype == torch.float64,
                "after reset the cache keeps the dtype of the text before",
                "reset 之后缓存仍用上一段文本的 dtype",
            )
            expect_held(other, (keys, values), given[:n])


@KVCache.property("refuses more than max_length and stays as it was", "超出 max_length 就拒绝，并保持原样", ONCE)
def cache_overflow(answer, case):
    for sizes in ((2, 3), (5,), (1,) * 5):
        cache, given = answer(1, 5), chunks(case, *sizes)
        for n, (k, v) in enumerate(given, start=1):
            expect_held(case, update(cache, 0, k, v), given[:n])
        (more,) = chunks(case, 1)
        expect_refused(
            lambda cache=cache, more=more: cache.update(0, *more),
            ("the sixth position of max_length = 5", "max_length = 5 时存第 6 个位置"),
            (5,),
        )
    cache, given = answer(1, 5), chunks(case, 3, 2)
    update(cache, 0, *given[0])
    (more,) = chunks(case, 3)
    expect_refused(
        lambda: cache.update(0, *more),
        ("a chunk of 3 in a cache of 5 that holds 3", "容量为 5、已存 3 个的缓存收到 3 个位置时"),
        (5,),
    )
    expect(len(cache) == 3, "a refused chunk changed the length", "被拒绝的一段改变了长度")
    try:
        got = update(cache, 0, *given[1])
    except ValueError:
        raise PropertyFailed(
            "after a refused chunk there is no room for one that fits: something of it was stored",
            "拒绝一段之后，放得下的一段也放不进去了：被拒绝的内容存进去了一部分",
        ) from None
    expect_held(case, got, given)


@KVCache.property("keeps dtype and device", "保持 dtype 与设备")
def cache_dtype(answer, case):
    cache, given = answer(1, 6), chunks(case, 2, 1)
    for n, (k, v) in enumerate(given, start=1):
        got = update(cache, 0, k, v)
        for out in got:
            expect(
                (out.dtype, out.device.type) == (case.dtype, case.device.type),
                f"{case} went in, {describe(out)} came out",
                f"输入是 {case}，输出却是 {describe(out)}",
            )
        expect_held(case, got, given[:n])


@KVCache.property("keeps a copy and leaves its inputs untouched", "自己留一份，不改动输入", ONCE)
def cache_copies(answer, case):
    cache, given = answer(1, 6), chunks(case, 2, 1)
    kept = [(k.clone(), v.clone()) for k, v in given]
    for n, (k, v) in enumerate(given):
        cache.update(0, k, v)
        expect(
            torch.equal(k, kept[n][0]) and torch.equal(v, kept[n][1]),
            "a chunk was changed in place",
            "输入的一段被原地修改了",
        )
        k.fill_(9.0)  # as a caller may who uses its memory again
        v.fill_(9.0)
    (last,) = chunks(case, 1)
    keys, values = update(cache, 0, *last)
    wrong = (
        "the cache holds the caller's memory, not a copy: when the caller writes there, the past changes",
        "缓存里是调用者的内存，不是副本：调用者一写，过去就变了",
    )
    right_keys, right_values = so_far([*kept, last])
    case.expect_close(keys, right_keys, otherwise=wrong)
    case.expect_close(values, right_values, otherwise=wrong)


@KVCache.property("two caches share nothing", "两个缓存互不相干", ONCE)
def cache_instances(answer, case):
    one, two = answer(1, 6), answer(1, 6)
    given, other = chunks(case, 2, 1), chunks(case, 1)
    update(one, 0, *given[0])
    shared = ("a new cache already holds what another one was given", "新的缓存里已有别的缓存存入的内容")
    expect(len(two) == 0, *shared)
    for part, right in zip(update(two, 0, *other[0]), other[0], strict=True):
        case.expect_close(part, right, otherwise=shared)
    expect_held(case, update(one, 0, *given[1]), given, other)


# --- filter_logits --------------------------------------------------------------------------------------------

filter_logits = Check("filter_logits")

LOG_P = [math.log(p) for p in (0.08, 0.41, 0.02, 0.27, 0.17, 0.05)]  # in order of size: 1 3 4 0 5 2


def finite(logits: Tensor) -> Tensor:
    """The logits with −1000 for −∞, so that they can be compared."""
    return logits.masked_fill(logits == -math.inf, -1000.0)


def filtered(logits, temperature=1.0, top_k=None, top_p=None, crossing=True, tempered_first=True, renormalise=True):
    """The kept logits divided by the temperature, −1000 for the others; what follows top_p makes the known mistakes.

    A token is kept when fewer than top_k are above it, and when those above it have less than top_p together.
    """
    logits = logits.double()
    out = logits / temperature
    basis = out if tempered_first else logits
    if top_k is not None:
        above = (basis[..., None, :] > basis[..., :, None]).sum(-1)
        out = out.masked_fill(above >= top_k, -math.inf)
        if renormalise:
            basis = basis.masked_fill(above >= top_k, -math.inf)
    if top_p is not None:
        p = basis.softmax(-1)
        mass = (p[..., None, :] * (p[..., None, :] > p[..., :, None])).sum(-1)
        if not crossing:
            mass = mass + p
        out = out.masked_fill(mass >= top_p, -math.inf)
    return finite(out)


def got_filtered(answer, logits: Tensor, **options) -> Tensor:
    """What the answer makes of a copy of the logits, so that nothing done to the copy changes what is expected."""
    return finite(expect_tensor(answer(logits.clone(), **options)))


def some_filtered(answer, logits: Tensor) -> Tensor:
    """What the answer makes of logits of which it should keep some and remove others."""
    before = logits.detach().clone()
    got = finite(expect_tensor(answer(logits, temperature=0.7, top_k=4, top_p=0.75)))
    gone = got == -1000
    nothing = (
        "top_k = 4 and top_p = 0.75 remove nothing, or everything",
        "top_k = 4、top_p = 0.75 什么也没去掉，或者全去掉了",
    )
    expect(bool(gone.any()) and not bool(gone.all()), *nothing)
    expect(
        got.shape != before.shape or bool(before[gone].max() < before[~gone].min()),
        "a token was removed and one with a smaller logit kept",
        "去掉了一个词元，却保留了 logit 更小的",
    )
    return got


DROPS = (
    "the token that crosses top_p is dropped; it is the last one kept",
    "越过 top_p 的那个词元被去掉了；它应是最后一个保留的",
)
BEFORE = (
    "top_p was applied to the distribution before the temperature; divide first",
    "top_p 用在了除以温度之前的分布上；应先除以温度",
)
TIES = (
    "tokens with equal logits were not treated alike: all of them are kept or none",
    "logits 相等的词元没有一视同仁：要么都保留，要么都去掉",
)


@filter_logits.property("temperature divides, and comes first", "除以温度，而且最先做", weight=3)
def filter_temperature(answer, case):
    logits = case.tensor(LOG_P)
    for temperature in (0.5, 2.0):
        right = filtered(logits, temperature)
        mistakes = {
            ("the logits were multiplied by the temperature; divide them", "logits 乘以了温度；应除以温度"): (
                logits.double() * temperature
            ),
            ("the temperature has no effect", "温度不起作用"): logits,
            ("these are probabilities; return logits", "这是概率；应返回 logits"): right.softmax(-1),
            (
                "these are log-probabilities; return the logits divided by the temperature",
                "这是对数概率；应返回除以温度的 logits",
            ): (right.log_softmax(-1)),
        }
        logits_up = logits + 1
        up = {k: v if "probabilities" in k[0] else v + 1 for k, v in mistakes.items()}
        up["the logits were multiplied by the temperature; divide them", "logits 乘以了温度；应除以温度"] = (
            logits_up.double() * temperature
        )
        case.expect_close(
            got_filtered(answer, logits_up, temperature=temperature), filtered(logits_up, temperature), up
        )
    for temperature, top_p in ((0.5, 0.8), (3.0, 0.7)):
        options = dict(temperature=temperature, top_p=top_p)
        mistakes = {
            BEFORE: filtered(logits, **options, tempered_first=False),
            DROPS: filtered(logits, **options, crossing=False),
        }
        case.expect_close(got_filtered(answer, logits, **options), filtered(logits, **options), mistakes)


@filter_logits.property(
    "top_k keeps the k largest, and what ties with the last", "top_k 保留最大的 k 个，并列的也保留", weight=3
)
def filter_top_k(answer, case):
    tied = case.tensor([1, 3, 2, 3, 2, 2, 0])
    for logits, ks in ((case.tensor(LOG_P), (1, 2, 5)), (tied, (1, 2, 3, 4, 5, 6))):
        for k in ks:
            right = filtered(logits, top_k=k)
            zeros = torch.where(right == -1000, 0.0, right)
            smallest = finite(-filtered(-logits, top_k=k)).clamp(min=-1000, max=999)
            order = logits.double().argsort(descending=True, stable=True)
            exactly = torch.full_like(right, -1000).index_copy(0, order[:k], logits.double()[order[:k]])
            mistakes = {
                (
                    "the others became 0, which is a logit like any other; make them −inf",
                    "其余的成了 0，而 0 也是普通的 logit；应设为 −inf",
                ): zeros,
                TIES: exactly,
                ("the smallest are kept", "保留的是最小的"): torch.where(smallest > 900, -1000.0, smallest),
            }
            if logits is tied:
                case.expect_close(got_filtered(answer, logits, top_k=k), right, mistakes, otherwise=TIES)
            else:
                mistakes["one too many is kept", "多保留了一个"] = filtered(logits, top_k=k + 1)
                mistakes["one too few is kept", "少保留了一个"] = filtered(logits, top_k=max(1, k - 1))
                case.expect_close(got_filtered(answer, logits, top_k=k), right, mistakes)


@filter_logits.property("top_p keeps the token that crosses it", "top_p 保留越过它的那个词元", weight=3)
def filter_top_p(answer, case):
    logits = case.tensor(LOG_P)
    for top_p in (0.7, 0.3, 0.5, 0.9, 0.96, 0.1):
        right = filtered(logits, top_p=top_p)
        p = logits.double().softmax(-1)
        mistakes = {
            DROPS: filtered(logits, top_p=top_p, crossing=False),
            (
                "each token's own probability was compared with top_p; add up those above it",
                "拿每个词元自己的概率与 top_p 比较了；应把排在它前面的概率加起来",
            ): finite(logits.double().masked_fill(p < top_p, -math.inf)),
            (
                "each token's own probability was compared with 1 − top_p; add up those above it",
                "拿每个词元自己的概率与 1 − top_p 比较了；应把排在它前面的概率加起来",
            ): finite(logits.double().masked_fill(p < 1 - top_p, -math.inf)),
            (
                "the probabilities were added in the order of the vocabulary; sort them first",
                "按词表的次序累加了概率；应先排序",
            ): finite(logits.double().masked_fill(p.cumsum(-1) - p >= top_p, -math.inf)),
            (
                "the mask stayed in sorted order: bring it back to the order of the vocabulary",
                "掩码仍是排序后的次序：应还原成词表的次序",
            ): finite(
                logits.double().masked_fill(
                    (p.sort(descending=True).values.cumsum(-1) - p.sort(descending=True).values) >= top_p, -math.inf
                )
            ),
        }
        case.expect_close(got_filtered(answer, logits, top_p=top_p), right, mistakes)


@filter_logits.property("top_p counts within what top_k has left", "top_p 在 top_k 剩下的里面计算", weight=3)
def filter_both(answer, case):
    logits = case.tensor(LOG_P)
    for k, top_p in ((2, 0.9), (3, 0.6), (2, 0.55), (4, 0.93)):
        for temperature in (1.0, 2.0):
            options = dict(temperature=temperature, top_k=k, top_p=top_p)
            right = filtered(logits, **options)
            whole = (
                "top_p used the probabilities of the whole vocabulary; softmax again over what top_k has left",
                "top_p 用了整个词表上的概率；应在 top_k 剩下的词元上重新做 softmax",
            )
            mistakes = {
                whole: filtered(logits, **options, renormalise=False),
                BEFORE: filtered(logits, **options, tempered_first=False),
                DROPS: filtered(logits, **options, crossing=False),
                ("top_k is ignored when top_p is given", "给了 top_p 时 top_k 不起作用"): filtered(
                    logits, temperature, None, top_p
                ),
                ("top_p is ignored when top_k is given", "给了 top_k 时 top_p 不起作用"): filtered(
                    logits, temperature, k
                ),
            }
            case.expect_close(got_filtered(answer, logits, **options), right, mistakes)


@filter_logits.property("the order of the vocabulary does not matter", "与词表的次序无关", ONCE)
def filter_equivariant(answer, case):
    logits = case.tensor([1, 2.5, 2, 0, 2, 2, -1, 2.5])
    for options in (dict(top_k=4), dict(top_k=1), dict(top_p=0.3), dict(top_p=0.7), dict(top_k=4, top_p=0.45)):
        right = filtered(logits, **options)
        case.expect_close(got_filtered(answer, logits, **options), right, otherwise=TIES)
        for seed in range(3):
            order = torch.randperm(8, generator=torch.Generator().manual_seed(seed)).to(case.device)
            case.expect_close(got_filtered(answer, logits[order], **options), right[order], otherwise=TIES)


@filter_logits.property("k beyond the vocabulary and p = 1 keep everything", "k 超过词表、p = 1 时全部保留", ONCE)
def filter_everything(answer, case):
    logits = case.tensor(LOG_P)
    one = got_filtered(answer, logits, top_k=1)
    expect(bool((one == -1000).any()), "top_k = 1 removes nothing", "top_k = 1 什么也没去掉")
    for options in ({}, dict(top_k=6), dict(top_k=7), dict(top_k=1000), dict(top_p=1.0), dict(top_k=50, top_p=1.0)):
        try:
            got = got_filtered(answer, logits, **options)
        except (RuntimeError, IndexError) as error:
            said = str(error).splitlines()[0][:100]
            raise PropertyFailed(
                f"{options} with 6 tokens raised: {said}", f"6 个词元，{options}，抛出异常：{said}"
            ) from None
        gone = f"{int((got == -1000).sum())}" if got.shape == logits.shape else "?"
        lost = (f"{options} with 6 tokens removed {gone} of them", f"6 个词元，{options}，去掉了 {gone} 个")
        case.expect_close(got, logits, otherwise=lost)


@filter_logits.property("a forbidden token stays forbidden", "禁用的词元仍然禁用", ONCE)
def filter_forbidden(answer, case):
    logits = case.tensor(LOG_P)
    logits[[1, 4]] = -math.inf
    sentence = (
        "a token with logit −inf came back, or took a place among the kept ones",
        "logit 为 −inf 的词元又回来了，或者占了保留的名额",
    )
    for options in (dict(temperature=2.0), dict(top_k=2), dict(top_k=5), dict(top_p=0.8), dict(top_k=3, top_p=0.7)):
        right = filtered(logits, **options)
        got = expect_tensor(answer(logits.clone(), **options))
        expect(
            not bool(got.isnan().any()),
            "NaN where a logit was −inf: 0 · (−inf), or −inf − (−inf)",
            "原来是 −inf 的地方出现了 NaN：算了 0 · (−inf) 或 −inf − (−inf)",
        )
        case.expect_close(finite(got), right, otherwise=sentence)


@filter_logits.property("each row of a batch has its own filter", "批次中各行分别筛选", ONCE)
def filter_batch(answer, case):
    some_filtered(answer, case.tensor(LOG_P))
    for lead in ((1,), (3,), (2, 3)):
        logits = case.randn(*lead, 6) * 2
        rows = [some_filtered(answer, row.clone()) for row in logits.reshape(-1, 6)]
        expect(
            len(rows) == 1 or not case.close(rows[0], rows[-1]),
            "different rows got the same result",
            "不同的行得到了相同的结果",
        )
        try:
            got = got_filtered(answer, logits, temperature=0.7, top_k=4, top_p=0.75)
        except (RuntimeError, ValueError, IndexError) as error:
            said = str(error).splitlines()[0][:120]
            raise PropertyFailed(
                f"shape {tuple(logits.shape)} raised: {said}; the vocabulary is the last dimension",
                f"形状 {tuple(logits.shape)} 抛出异常：{said}；词表是最后一维",
            ) from None
        mixed = ("a row of a batch gets another result than alone", "批次中的一行，结果与单独计算时不同")
        case.expect_close(got, torch.stack(rows).reshape(logits.shape), otherwise=mixed)


@filter_logits.property("large logits do not overflow", "logits 很大也不溢出")
def filter_large(answer, case):
    logits = case.tensor([9000, 8000, 9000, -9000, 0])
    for options in (dict(temperature=0.5, top_p=0.9), dict(top_k=3, top_p=0.4), dict(top_p=0.9)):
        case.expect_close(got_filtered(answer, logits, **options), filtered(logits, **options))


@filter_logits.property("refuses what makes no sense", "拒绝没有意义的参数", ONCE)
def filter_refused(answer, case):
    logits = case.tensor(LOG_P)
    options = dict(temperature=2.0, top_k=2, top_p=0.9)
    case.expect_close(got_filtered(answer, logits, **options), filtered(logits, **options))
    for name, value in (
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("top_k", 0),
        ("top_k", -3),
        ("top_p", 0.0),
        ("top_p", 1.5),
    ):
        expect_refused(
            lambda name=name, value=value: answer(logits, **{name: value}), (f"{name} = {value}", f"{name} = {value}")
        )


def filter_arguments(case: Case) -> tuple[Tensor, ...]:
    return (case.tensor(LOG_P),)


filter_logits.add_standard_properties(
    filter_arguments,
    lambda answer, case: lambda logits: some_filtered(answer, logits),
)


# --- generate -------------------------------------------------------------------------------------------------

generate = Check("generate")

# what follows 0 … 4: 1, then 2, then 3 (the end), and from 4 on only 4
CHAIN = [[0, 9, 0, 0, 0], [0, 0, 9, 0, 0], [0, 0, 0, 9, 0], [9, 0, 0, 0, 0], [0, 0, 0, 0, 9]]
DRAWN = [0.5, 0.3, 0.15, 0.05]


def written(answer, model: nn.Module, ids: Tensor, n: int, seed: int | torch.Generator = 0, **options):
    """The ids (B, T + n) and log-probabilities (B,) of an answer."""
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator(ids.device).manual_seed(seed)
    prompt = ids.clone()
    text, log_prob = expect_tensors(answer(model, ids, n, draw, **options), "ids", "log_prob")
    expect_shape("ids", text, (ids.shape[0], ids.shape[1] + n))
    expect_shape("log_prob", log_prob, (ids.shape[0],))
    expect(
        not text.is_floating_point(),
        f"ids came back as {text.dtype}; token ids are whole numbers (int64)",
        f"返回的 ids 是 {text.dtype}；词元编号应是整数（int64）",
    )
    expect(torch.equal(text[:, : prompt.shape[1]], prompt), "the prompt was changed", "提示被改动了")
    return text, log_prob


def expect_reads_model(answer, case: Case) -> None:
    """Fail unless what is written is the same at a second call, and other where the model is another."""
    one, two = (case.randn(VOCABULARY, VOCABULARY) * 2 for _ in "12")
    ids = random_ids(case, 2, 3)
    (text, log_prob), again, other = (
        written(answer, BigramModel(table.clone()), ids.clone(), 6, top_k=1) for table in (one, one, two)
    )
    expect(
        bool((log_prob < 0).all() and log_prob.isfinite().all()),
        "a log_prob is not a finite negative number",
        "有的 log_prob 不是有限的负数",
    )
    expect(
        torch.equal(text, again[0]) and case.close(log_prob, again[1]),
        "with top_k = 1 two calls gave different results: something else is random",
        "top_k = 1 时两次调用的结果不同：里面有别的随机成分",
    )
    expect(
        not torch.equal(text, other[0]) and not case.close(log_prob, other[1]),
        "another model wrote the same, or gave it the same log_prob: the model is not asked",
        "换了模型，写出的文本或 log_prob 却一样：没有用到模型",
    )


def greedy_text(model: nn.Module, ids: Tensor, n: int, last_only: bool = False) -> Tensor:
    text = ids
    with torch.no_grad():
        for _ in range(n):
            step = model(text[:, -1:] if last_only else text).logits[:, -1].argmax(-1)
            text = torch.cat([text, step[:, None]], dim=1)
    return text


def expect_ids(got: Tensor, right: Tensor, mistakes: dict, otherwise: tuple[str, str]) -> None:
    if torch.equal(got, right):
        return
    for sentence, value in mistakes.items():
        expect(not (got.shape == value.shape and torch.equal(got, value)), *sentence)
    raise PropertyFailed(*otherwise)


@generate.property(
    "top_k = 1 writes what transformers writes greedily", "top_k = 1 与 transformers 的贪心结果相同", EXACT, weight=3
)
def generate_greedy(answer, case):
    model, ids = small_model(case), random_ids(case, 3, 4)
    right = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    mistakes = {
        (
            "the model saw only the newest token; without a cache it needs the whole text",
            "只给了模型最新的一个词元；不用缓存时要给整段文本",
        ): greedy_text(model, ids, 8, last_only=True),
        (
            "every token was chosen from the prompt's logits; ask the model again after each",
            "每个词元都取自提示的 logits；每写一个都要再问模型",
        ): (torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True).expand(-1, 8)], dim=1)),
    }
    other = (
        "the most probable token was not taken: position -1 of the logits belongs to the next token",
        "取的不是最可能的词元：logits 的位置 -1 才是下一个词元",
    )
    for temperature in (1.0, 0.3):
        text, _ = written(answer, model, ids, 8, temperature=temperature, top_k=1)
        expect_ids(text, right, mistakes, other)


@generate.property("draws with the model's probabilities", "按模型的概率抽样", ONCE, weight=3)
def generate_distribution(answer, case):
    table = torch.tensor(DRAWN, dtype=torch.float64).log().expand(4, 4)
    model = BigramModel(table.to(case.device, case.dtype))
    n = 4000
    ids = torch.zeros(n, 1, dtype=torch.int64, device=case.device)

    def shares(temperature=1.0, top_k=None):
        return filtered(table[0], temperature, top_k).softmax(-1)

    for options in (
        dict(),
        dict(temperature=2.0),
        dict(temperature=0.5),
        dict(top_k=2),
        dict(temperature=2.0, top_k=3),
    ):
        text, _ = written(answer, model, ids, 1, **options)
        seen = torch.bincount(text[:, 1].cpu().clamp(0, 3), minlength=4).double() / n
        mistakes = {
            ("this is always the most probable token; draw", "取的总是最可能的词元；应抽样"): torch.eye(4)[0],
            (
                "every token came equally often: the logits were not used",
                "每个词元出现得一样多：没有用到 logits",
            ): torch.full((4,), 0.25),
            ("the temperature has no effect", "温度不起作用"): shares(top_k=options.get("top_k")),
            ("the logits were multiplied by the temperature; divide them", "logits 乘以了温度；应除以温度"): (
                shares(1 / options.get("temperature", 1.0), options.get("top_k"))
            ),
            ("top_k has no effect", "top_k 不起作用"): shares(options.get("temperature", 1.0)),
            ("the logits were used as weights; apply softmax first", "直接拿 logits 当权重；应先做 softmax"): (
                torch.tensor(DRAWN).log().abs() / torch.tensor(DRAWN).log().abs().sum()
            ),
        }

        def near(p, seen=seen):
            return bool(((seen - p.double()).abs() < 5 * (p * (1 - p) / n).sqrt().clamp(min=1e-9).double()).all())

        right = shares(**options)
        if not near(right):
            for sentence, p in mistakes.items():
                expect(not near(p), *sentence)
            raise PropertyFailed(
                f"{options}: of {n} draws the tokens had the shares {seen.numpy().round(3)}, expected "
                f"{right.numpy().round(3)}",
                f"{options}：抽 {n} 次，各词元的比例是 {seen.numpy().round(3)}，应为 {right.numpy().round(3)}",
            )


@generate.property("a row ends at its own end token", "每一行到自己的结束词元为止", ONCE, weight=3)
def generate_stops(answer, case):
    model = BigramModel(case.tensor(CHAIN))
    ids = torch.tensor(
        [[3, 0], [3, 2], [3, 4]], device=case.device
    )  # every prompt begins with the end token, as GPT-2's do
    for pad in (0, 3, 4):
        text, _ = written(answer, model, ids, 5, top_k=1, eos_id=3, pad_id=pad)
        right = torch.tensor([[3, 0, 1, 2, 3, pad, pad], [3, 2, 3, pad, pad, pad, pad], [3, 4, 4, 4, 4, 4, 4]])
        mistakes = {
            (
                "a row goes on after its end token; from there on it is pad_id",
                "有一行在结束词元之后还在写；之后应全是 pad_id",
            ): (greedy_text(model, ids, 5).cpu()),
            (
                "the end token inside the prompt ended the rows; only one that was written ends a row",
                "提示里的结束词元让各行都停了；只有写出来的才算",
            ): (torch.cat([ids.cpu(), torch.full((3, 5), pad)], dim=1)),
            (
                "the end token itself is missing; it is the last token written",
                "缺了结束词元本身；它是最后写出的词元",
            ): torch.tensor([[3, 0, 1, 2, pad, pad, pad], [3, 2, pad, pad, pad, pad, pad], [3, 4, 4, 4, 4, 4, 4]]),
            (
                "all rows stopped when the first one ended; each row ends by itself",
                "第一行结束时所有行都停了；各行应各自结束",
            ): torch.tensor(
                [[3, 0, 1, pad, pad, pad, pad], [3, 2, 3, pad, pad, pad, pad], [3, 4, 4, pad, pad, pad, pad]]
            ),
            (
                "after its end a row is filled with eos_id; fill it with pad_id",
                "结束之后填的是 eos_id；应填 pad_id",
            ): torch.tensor([[3, 0, 1, 2, 3, 3, 3], [3, 2, 3, 3, 3, 3, 3], [3, 4, 4, 4, 4, 4, 4]]),
        }
        expect_ids(
            text.cpu(),
            right,
            mistakes,
            (f"expected {right.tolist()}, got {text.tolist()}", f"应为 {right.tolist()}，得到 {text.tolist()}"),
        )
    forever = ("without eos_id a row ended", "没有给 eos_id，却有一行结束了")
    right = greedy_text(model, ids, 5)
    expect_ids(written(answer, model, ids, 5, top_k=1)[0], right, {}, forever)


@generate.property(
    "log_prob is what the model itself gives the text", "log_prob 是模型自己给这段文本的", EXACT, weight=3
)
def generate_log_prob(answer, case):
    table = case.randn(5, 5)
    model = BigramModel(table.clone())
    ids = torch.tensor([[3, 0], [3, 1], [3, 2], [3, 4], [0, 2], [1, 1]], device=case.device)
    for seed, options in enumerate((dict(), dict(temperature=0.5), dict(temperature=2.0, top_k=3), dict(top_k=1))):
        text, log_prob = written(answer, model, ids, 6, seed, eos_id=3, pad_id=0, **options)
        new, before = text[:, 2:], text[:, 1:-1]
        ended = ((new == 3).cumsum(1) - (new == 3).long()).bool()  # behind the end token
        end = (new == 3) & ~ended

        def total(logits, keep, new=new):
            each = logits.log_softmax(-1).gather(-1, new[..., None])[..., 0]
            return each.masked_fill(~keep, 0).sum(1)

        logits = table.double()[before]
        tempered = filtered(logits, options.get("temperature", 1.0), options.get("top_k"))
        right = total(logits, ~ended)
        first = table.double()[ids[:, :-1]].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].sum(1)
        mistakes = {
            (
                "the pads behind the end token are counted; count the tokens that were written",
                "结束之后的填充也算进去了；只应算写出来的词元",
            ): (total(logits, torch.ones_like(ended))),
            ("the end token is not counted; it was written too", "结束词元没有算进去；它也是写出来的"): total(
                logits, ~ended & ~end
            ),
            (
                "this is the distribution after temperature and top_k; take the model's own logits",
                "用的是温度和 top_k 之后的分布；应取模型自己的 logits",
            ): total(tempered, ~ended),
            ("this is the mean over the tokens; take the sum", "这是对词元的平均；应求和"): right / (~ended).sum(1),
            ("the sign is wrong: log-probabilities are not positive", "符号反了：对数概率不会是正数"): -right,
            ("this is the probability; return its logarithm", "这是概率；应返回它的对数"): right.exp(),
            ("the prompt's tokens are counted; count the new ones", "提示的词元也算进去了；只应算新的"): right + first,
            ("the logits were added up; apply log_softmax first", "直接把 logits 加起来了；应先做 log_softmax"): (
                logits.gather(-1, new[..., None])[..., 0].masked_fill(ended, 0).sum(1)
            ),
            ("only the last token is counted", "只算了最后一个词元"): logits.log_softmax(-1).gather(-1, new[..., None])[
                :, -1, 0
            ],
        }
        expect(len({*map(tuple, new.tolist())}) > 1, "every row wrote the same", "各行写的都一样")
        case.expect_close(log_prob, right, mistakes)


@generate.property("randomness comes from the generator alone", "随机性只来自 generator", ONCE)
def generate_generator(answer, case):
    model, ids = small_model(case), random_ids(case, 3, 3)
    draw, state = torch.Generator(case.device).manual_seed(5), torch.get_rng_state()
    one, next_one = (written(answer, model, ids, 8, draw)[0] for _ in range(2))
    expect(
        torch.equal(torch.get_rng_state(), state),
        "the global random state moved: something was drawn without generator=generator",
        "全局随机状态变了：有的抽样没有写 generator=generator",
    )
    torch.manual_seed(99)
    again, other = (written(answer, model, ids, 8, seed)[0] for seed in (5, 6))
    expect(
        torch.equal(one, again),
        "the same generator wrote another text: something was drawn without generator=generator",
        "同样的 generator 写出了不同的文本：有的抽样没有写 generator=generator",
    )
    expect(
        not torch.equal(one, other),
        "another seed wrote the same text: nothing is drawn, or a seed of its own is set inside",
        "换了种子，文本却一样：没有抽样，或者函数里自己设了种子",
    )
    expect(
        not torch.equal(one, next_one),
        "a second call with the same generator wrote the same text: it was set back or copied",
        "用同一个 generator 再调用一次，文本却一样：它被重置或复制了",
    )
    expect_reads_model(answer, case)


@generate.property("the rows do not mix", "各行互不影响", ONCE)
def generate_rows(answer, case):
    model, ids = small_model(case), random_ids(case, 4, 3)
    end = int(greedy_text(model, ids[:1], 2)[0, -1])  # the first row ends soon
    text, log_prob = written(answer, model, ids, 6, top_k=1, eos_id=end, pad_id=0)
    expect_reads_model(answer, case)
    for row in range(4):
        alone, its = written(answer, model, ids[row : row + 1], 6, top_k=1, eos_id=end, pad_id=0)
        expect(
            torch.equal(text[row], alone[0]),
            "a row of a batch writes another text than alone",
            "批次中的一行，写出的与单独写时不同",
        )
        mixed = (
            "log_prob of a row depends on the batch around it",
            "一行的 log_prob 受批次中其他行的影响",
        )
        case.expect_close(log_prob[row], its[0], otherwise=mixed)


@generate.property("the prompt comes first, then exactly n tokens", "先是提示，然后恰好 n 个词元", ONCE)
def generate_shape(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 3)
    expect_tensors(answer(model, ids.clone(), 4, torch.Generator(case.device).manual_seed(0)), "ids", "log_prob")
    for n in (5, 1, 0):
        try:
            out = answer(model, ids.clone(), n, torch.Generator(case.device).manual_seed(0))
        except (RuntimeError, IndexError, ValueError) as error:
            said = str(error).splitlines()[0][:100] or type(error).__name__
            raise PropertyFailed(f"n = {n} raised: {said}", f"n = {n} 时抛出异常：{said}") from None
        text, log_prob = expect_tensors(out, "ids", "log_prob")
        expect(
            text.shape != (2, n) or n == 3,
            "only the new tokens came back; the prompt stands before them",
            "只返回了新的词元；前面应有提示",
        )
        expect_shape(f"ids for n = {n}", text, (2, 3 + n))
        expect(torch.equal(text[:, :3], ids), "the prompt was changed", "提示被改动了")
        expect_shape("log_prob", log_prob, (2,))
        case.expect_close(log_prob.sign(), torch.full((2,), -1.0 if n else 0.0))
    expect_reads_model(answer, case)


@generate.property("keeps dtype and device", "保持 dtype 与设备")
def generate_dtype(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 3)
    for options in (dict(), dict(top_k=4)):
        text, log_prob = written(answer, model, ids, 4, **options)
        expect(
            (text.dtype, text.device.type) == (torch.int64, case.device.type),
            f"ids of {describe(ids)} came back as {describe(text)}",
            f"ids 是 {describe(ids)}，返回的却是 {describe(text)}",
        )
        expect(
            (log_prob.dtype, log_prob.device.type) == (case.dtype, case.device.type),
            f"a model in {case} gave log_prob in {describe(log_prob)}",
            f"模型是 {case}，log_prob 却是 {describe(log_prob)}",
        )
    expect_reads_model(answer, case)


@generate.property("leaves prompt and model as they were", "不改动提示和模型", ONCE)
def generate_untouched(answer, case):
    for training in (False, True):
        model, ids = small_model(case).train(training), random_ids(case, 2, 3)
        weights, before = {k: v.clone() for k, v in model.state_dict().items()}, ids.clone()
        written(answer, model, ids, 3, top_k=2)
        expect(torch.equal(ids, before), "ids was changed in place", "ids 被原地修改了")
        expect_model_untouched(model, weights, training)
    expect_reads_model(answer, case)


# --- online_softmax -------------------------------------------------------------------------------------------

online_softmax = Check("online_softmax")


def cut(scores: Tensor, values: Tensor, *sizes: int) -> list[tuple[Tensor, Tensor]]:
    """Blocks of these sizes; the last size goes on to the end."""
    total, blocks, at = scores.shape[-1], [], 0
    sizes = [*sizes]
    while at < total:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        blocks.append((scores[..., at : at + size], values[..., at : at + size, :]))
        at += size
    return blocks


def dense(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Context (…, T_q, d_v) and log of the sum of exponentials (…, T_q), in float64; zeros where nothing is read."""
    scores, values = scores.double(), values.double()
    lse = scores.logsumexp(-1)
    weights = (scores - lse.masked_fill(lse == -math.inf, 0)[..., None]).exp()
    return weights @ values, lse


def copied(blocks) -> list[tuple[Tensor, Tensor]]:
    """Blocks to hand to an answer, so that nothing done to them changes what is expected."""
    return [(scores.clone(), values.clone()) for scores, values in blocks]


def stages(answer, blocks) -> list[tuple[Tensor, Tensor]]:
    """What the answer gives after each block."""
    out = answer(blocks)
    expect(
        hasattr(out, "__iter__") and not isinstance(out, (Tensor, str, dict)),
        f"expected one pair (context, lse) after each block, got {type(out).__name__}",
        f"每块之后应给出一对 (context, lse)，得到的是 {type(out).__name__}",
    )
    pairs = [pair for _, pair in zip(range(len(blocks) + 1), out, strict=False)]
    once = (
        "one result came for all blocks; yield a pair (context, lse) after each block",
        "所有块只给了一个结果；每块之后都要给出一对 (context, lse)",
    )
    expect(not any(isinstance(pair, Tensor) for pair in pairs), *once)
    expect(
        len(pairs) == len(blocks),
        f"{len(blocks)} blocks gave {len(pairs)} results; yield one after each block",
        f"{len(blocks)} 块给出了 {len(pairs)} 个结果；每块之后应给出一个",
    )
    for (scores, values), pair in zip(blocks, pairs, strict=True):
        context, lse = expect_tensors(pair, "context", "lse")
        expect_shape("context", context, (*scores.shape[:-1], values.shape[-1]))
        expect_shape("lse", lse, scores.shape[:-1])
    return pairs


def online_arguments(case: Case, t_q=3, t_k=7, d_v=4) -> tuple[Tensor, Tensor]:
    return case.randn(t_q, t_k) * 2, case.randn(t_k, d_v)


def online_mistakes(blocks) -> list[tuple[dict, dict]]:
    """After each block, what known mistakes give: contexts and lse."""
    found, old_max, scaled, total, plain = [], None, None, None, None
    for scores, values in blocks:
        scores, values = scores.double(), values.double()
        block_max = scores.amax(-1, keepdim=True)
        new_max = block_max if old_max is None else torch.maximum(old_max, block_max)
        e = (scores - new_max).exp()
        # the sums of before are kept as they are
        total = e.sum(-1) if total is None else total + e.sum(-1)
        scaled = e @ values if scaled is None else scaled + e @ values
        context, lse = dense(scores, values)
        plain = [context] if plain is None else [*plain, context]
        no_rescale = ("the sums are not rescaled when the maximum moves", "最大值变了，累计的和却没有重新缩放")
        found.append(
            (
                {
                    no_rescale: scaled / total[..., None],
                    ("this is the softmax of this block alone", "这只是这一块的 softmax"): context,
                    ("the blocks' results are averaged with equal weights", "把各块的结果等权平均了"): torch.stack(
                        plain
                    ).mean(0),
                },
                {
                    no_rescale: new_max[..., 0] + total.log(),
                    ("this is lse of this block alone", "这只是这一块的 lse"): lse,
                },
            )
        )
        old_max = new_max
    return found


@online_softmax.property(
    "after each block it equals softmax over all read so far", "每块之后，等于对已读全部做 softmax", weight=3
)
def online_values(answer, case):
    for rising in (False, True):
        scores, values = online_arguments(case)
        if rising:  # the maximum moves in every block
            scores = scores.sort(-1).values
        blocks = cut(scores, values, 2)
        read = 0
        results, wrong = stages(answer, copied(blocks)), online_mistakes(blocks)
        for (context, _), (mistakes, _), (block, _) in zip(results, wrong, blocks, strict=True):
            read += block.shape[-1]
            right, lse = dense(scores[..., :read], values[:read])
            named = {k: v for k, v in mistakes.items() if not case.close(v, right)} | {
                ("the sum is not divided by the sum of the exponentials", "没有除以指数的总和"): right
                * (lse - scores[..., :read].double().amax(-1)).exp()[..., None],
            }
            case.expect_close(context, right, {k: v for k, v in named.items() if not case.close(v, right)})


@online_softmax.property("lse is the log of the sum of exponentials", "lse 是指数之和的对数", weight=3)
def online_lse(answer, case):
    scores, values = online_arguments(case)
    blocks, read = cut(scores, values, 2), 0
    for (_, got), (_, wrong), (block, _) in zip(
        stages(answer, copied(blocks)), online_mistakes(blocks), blocks, strict=True
    ):
        read += block.shape[-1]
        seen = scores[..., :read].double()
        right = seen.logsumexp(-1)
        mistakes = wrong | {
            ("the maximum is missing: add it to the log", "缺了最大值：要加到对数上"): right - seen.amax(-1),
            ("this is the sum; take its logarithm", "这是总和；应取对数"): right.exp(),
            (
                "this is the rescaled sum; take its logarithm and add the maximum",
                "这是缩放过的总和；应取对数再加上最大值",
            ): (right - seen.amax(-1)).exp(),
            ("this is the running maximum", "这是当前的最大值"): seen.amax(-1),
            ("the maximum was subtracted from the log; add it", "从对数里减去了最大值；应加上"): right
            - 2 * seen.amax(-1),
        }
        case.expect_close(got, right, {k: v for k, v in mistakes.items() if not case.close(v, right)})


@online_softmax.property("the cut into blocks does not matter", "与怎样分块无关", ONCE, weight=3)
def online_any_cut(answer, case):
    scores, values = online_arguments(case)
    context, lse = dense(scores, values)
    for sizes in ((7,), (1,), (3,), (6, 1), (1, 6), (2, 4, 1)):
        got, got_lse = stages(answer, copied(cut(scores, values, *sizes)))[-1]
        shown = [block.shape[-1] for block, _ in cut(scores, values, *sizes)]
        sentence = (
            f"cut into blocks of {shown} the result is another than in one piece",
            f"切成大小为 {shown} 的块，结果与不切时不同",
        )
        case.expect_close(got, context, otherwise=sentence)
        case.expect_close(got_lse, lse, otherwise=sentence)


@online_softmax.property("what may not be read counts for nothing", "不许读的不起作用")
def online_forbidden(answer, case):
    scores, values = online_arguments(case, t_q=4)
    scores[0, :4] = -math.inf  # whole blocks at the start
    scores[1, 3:] = -math.inf  # and at the end
    scores[2] = -math.inf  # everything
    right = [dense(scores[:, :read], values[:read]) for read in (2, 4, 6, 7)]
    scores.requires_grad_()
    results = stages(answer, cut(scores, values, 2))
    for (got, got_lse), (context, lse) in zip(results, right, strict=True):
        expect(
            not bool(got.isnan().any() | got_lse.isnan().any()),
            "NaN where a row may read nothing yet: −inf − (−inf), or 0/0",
            "有一行还什么都不许读时，出现了 NaN：算了 −inf − (−inf)，或 0/0",
        )
        sentence = (
            "a row that may read nothing should give zeros and lse −inf; others ignore what is −inf",
            "什么都不许读的行，应给出零，lse 为 −inf；其他行不理会 −inf 的位置",
        )
        case.expect_close(got, context, otherwise=sentence)
        case.expect_close(finite(got_lse), finite(lse), otherwise=sentence)
    if results[-1][0].requires_grad:
        results[-1][0].square().sum().backward()
    expect(
        scores.grad is not None and not bool(scores.grad.isnan().any()),
        "the gradient is NaN (or missing) where a score is −inf: give exp, log and / finite numbers before torch.where",
        "分数为 −inf 的地方，梯度是 NaN（或没有梯度）：在 torch.where 之前，就要让 exp、log 和除法拿到有限的数",
    )


@online_softmax.property("large scores do not overflow", "分数很大也不溢出")
def online_large(answer, case):
    values = case.randn(6, 4)
    for row in ([0, 9000, 100, 12000, 12000, -12000], [-9000, -9500, -12000, -9000, -12000, -9000]):
        scores = case.tensor([row])
        context, lse = dense(scores, values)
        got, got_lse = stages(answer, cut(scores, values, 2))[-1]
        case.expect_close(got, context)
        case.expect_close(got_lse, lse)


def flat(answer, scores: Tensor, values: Tensor, size: int = 2) -> tuple[Tensor, ...]:
    return tuple(part for pair in stages(answer, cut(scores, values, size)) for part in pair)


@online_softmax.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def online_batch(answer, case):
    scores, values = online_arguments(case)
    (got, got_lse), (other, other_lse) = (stages(answer, cut(s, values.clone(), 3))[-1] for s in (scores, 1 - scores))
    expect_shape("context", got, (3, 4))
    expect_shape("lse", got_lse, (3,))
    expect(
        not case.close(got, other) and not case.close(got_lse, other_lse),
        "other scores gave the same result",
        "换了分数，结果却一样",
    )
    leads = [((2, 3), (2, 3)), ((3,), (3,)), ((1,), (1,))]
    case.expect_batch(lambda s, v: flat(answer, s, v), (3, 5), (5, 4), leads=leads)


online_softmax.add_standard_properties(
    lambda case: online_arguments(case, t_q=2, t_k=5, d_v=3),
    lambda answer, case: lambda scores, values: flat(answer, scores, values),
)
