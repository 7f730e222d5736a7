"""Hidden reference tests of the chapter `beyond`."""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
from collections.abc import Callable, Iterable
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
    expect_refused,
    expect_shape,
    expect_tensor,
    expect_tensors,
)

EXACT = (torch.float32, torch.float64)
VOCABULARY = 11


def small_model(case: Case, **sizes) -> nn.Module:
    """A GPT2LMHeadModel with random weights, biases and gains among them; 11 tokens, two layers of two heads."""
    from transformers import GPT2Config, GPT2LMHeadModel

    small = dict(vocab_size=VOCABULARY, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    # the default token ids lie outside this vocabulary, which transformers warns of
    config = GPT2Config(**small | sizes, bos_token_id=None, eos_token_id=None)
    model = GPT2LMHeadModel(config)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.7)
    return model.to(case.device, case.dtype).eval()


def random_ids(case: Case, *shape: int) -> Tensor:
    return case.randn(*shape, VOCABULARY).argmax(-1)


def ask_for_more(model: nn.Module, ids: Tensor):
    """The model's outputs, hidden states among them; transformers hangs up hooks of its own for that, which stay."""
    with torch.no_grad():
        return model(ids, output_hidden_states=True, output_attentions=True)


def hooks(model: nn.Module) -> dict[str, int]:
    """How many hooks each module has, when transformers has hung up its own."""
    ask_for_more(model, torch.tensor([[1]], device=next(model.parameters()).device))
    return {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in model.named_modules()}


@contextlib.contextmanager
def expect_model_untouched(model: nn.Module):
    """Fail unless the model is the same at the end of the block: weights, mode, gradients, hooks."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = hooks(copy.deepcopy(model))  # not of the model itself, whose hooks an answer would have to copy with it
    yield
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])]
    expect(not changed, f"weights of the model were changed: {changed[:2]}", f"模型的权重被改动了：{changed[:2]}")
    expect(
        not any(module.training for module in model.modules()),
        "the model came in evaluation mode and left in training mode",
        "模型进来时是评估模式，出去时成了训练模式",
    )
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    expect(not frozen, f"parameters of the model were frozen: {frozen[:2]}", f"模型的参数被冻结了：{frozen[:2]}")
    graded = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    expect(not graded, f"gradients were left in the model: {graded[:2]}", f"模型里留下了梯度：{graded[:2]}")
    hooked = [name for name, count in hooks(model).items() if count != before[name]]
    expect(
        not hooked,
        f"hooks were left in the model, at {', '.join(hooked[:2])}: remove each handle, also after an exception",
        f"模型里留下了钩子，在 {', '.join(hooked[:2])}：每个句柄都要 remove，抛出异常之后也一样",
    )


# --- pack_example ---------------------------------------------------------------------------------------------

pack_example = Check("pack_example")

IGNORED = -100


def letter_tokenizer(pairs: Iterable[str] = ()):
    """A tokenizer of transformers with one token a letter, joining these pairs of letters as BPE does; `#` ends."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    letters = "#abcdefgxyz>|"
    vocabulary = {piece: number for number, piece in enumerate([*letters, *pairs])}
    backend = Tokenizer(models.BPE(vocabulary, [tuple(pair) for pair in pairs], unk_token="#"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="#", unk_token="#")


def packed(source: list[int], separator: list[int], target: list[int], eos: int, room: int) -> tuple[list, list]:
    """ids and labels, with the last `room` tokens of the source."""
    head = source[max(len(source) - room, 0) :] + separator
    return head + target + [eos], [IGNORED] * len(head) + target + [eos]


def pack_pieces(tokenizer, *texts: str) -> list[list[int]]:
    return [tokenizer(text).input_ids for text in texts]


def expect_packed(answer, source, target, tokenizer, separator, max_length: int) -> None:
    """Fail unless the answer is the packed pair, with the name of the mistake where it is a known one."""
    s, m, t = pack_pieces(tokenizer, source, separator, target)
    eos = tokenizer.eos_token_id
    room = max_length - len(m) - len(t) - 1
    ids, labels = packed(s, m, t, eos, room)
    joined = [*tokenizer(source + separator + target).input_ids, eos]
    got_ids, got_labels = expect_tensors(
        answer(source, target, tokenizer, separator, max_length), "input_ids", "labels"
    )
    for name, got in (("input_ids", got_ids), ("labels", got_labels)):
        expect(
            got.dtype == torch.int64 and got.dim() == 1,
            f"{name} is {str(got.dtype).removeprefix('torch.')} of shape {tuple(got.shape)}; it should be int64 (T,)",
            f"{name} 是形状为 {tuple(got.shape)} 的 {str(got.dtype).removeprefix('torch.')}；应为 int64 的 (T,)",
        )
    right_length = len(joined) > max_length
    mistakes = [
        (
            joined != ids and len(s) <= room and got_ids.tolist() == joined,
            "the three texts were joined and then encoded, so a token straddles a seam: encode each by itself",
            "三段文本先接起来再编码，有词元跨过了接缝：应各自单独编码",
        ),
        (
            got_ids.tolist() == ids[:-1],
            "the end-of-text token is missing: without it the model never learns to stop",
            "漏了文本结束词元：没有它，模型学不会停下来",
        ),
        (
            s + m + t + [eos] != ids and got_ids.tolist() == s + m + t + [eos],
            f"{len(s + m + t) + 1} tokens came back where {max_length} are allowed",
            f"只允许 {max_length} 个词元，却返回了 {len(s + m + t) + 1} 个",
        ),
        (
            got_ids.tolist() != ids and got_ids.tolist() == s[: max(room, 0)] + m + t + [eos],
            "the end of the source was dropped; drop its beginning",
            "舍弃了源文本的结尾；应舍弃开头",
        ),
        (
            right_length
            and got_ids.tolist() in ((s + m + t + [eos])[:max_length], [*(s + m + t)[: max_length - 1], eos]),
            "the target was cut off; only the source may lose tokens",
            "目标文本被截掉了；只有源文本可以舍弃词元",
        ),
        (
            right_length and got_ids.tolist() == (s + m)[: max(max_length - len(t) - 1, 0)] + t + [eos],
            "the separator was cut off; only the source may lose tokens",
            "分隔符被截掉了；只有源文本可以舍弃词元",
        ),
        (
            bool(m) and got_ids.tolist() == s[max(len(s) - room - len(m), 0) :] + t + [eos],
            "the separator is missing",
            "漏了分隔符",
        ),
        (
            got_ids.tolist() == [eos, *ids][: len(got_ids)] and got_ids.tolist() != ids,
            "a token was put in front; the sequence begins with the source",
            "前面多放了一个词元；序列从源文本开始",
        ),
    ]
    for wrong, en, zh in mistakes:
        expect(not wrong, en, zh)
    expect(
        got_ids.tolist() == ids,
        f"input_ids are {got_ids.tolist()} where {ids} are expected",
        f"input_ids 是 {got_ids.tolist()}；应为 {ids}",
    )
    n, scored = len(ids) - len(t) - 1, got_labels.tolist()
    known = {
        (
            "the source is scored too: its labels are -100",
            "源文本也计了分：它的标签应是 -100",
        ): (ids, [IGNORED if m and i in range(n - len(m), n) else v for i, v in enumerate(ids)]),
        (
            "the separator is scored; its labels are -100",
            "分隔符计了分；它的标签应是 -100",
        ): ([IGNORED] * (n - len(m)) + ids[n - len(m) :],),
        (
            "the end-of-text token is not scored, so the model never learns to stop",
            "文本结束词元没有计分，模型就学不会停下来",
        ): ([*labels[:-1], IGNORED],),
        (
            "the labels are shifted by one; the loss of transformers does that itself",
            "标签错开了一位；transformers 的损失函数会自己错开",
        ): ([*labels[1:], IGNORED], [*labels[1:], eos]),
        (
            "the first token of the target is not scored",
            "目标文本的第一个词元没有计分",
        ): ([*labels[:n], IGNORED, *labels[n + 1 :]],),
        (
            "the labels hold 0 where they should hold -100, and 0 is a token",
            "该是 -100 的标签成了 0，而 0 是一个词元",
        ): ([0] * n + labels[n:],),
    }
    for sentence, wrong in known.items():
        expect(not any(w == scored and w != labels for w in wrong), *sentence)
    expect(
        scored == labels,
        f"labels are {scored} where {labels} are expected",
        f"labels 是 {scored}；应为 {labels}",
    )


@pack_example.property(
    "source, separator, target and end, in this order", "依次是源、分隔符、目标、结束", ONCE, weight=3
)
def pack_order(answer, case):
    tokenizer = letter_tokenizer()
    for source, target, separator in (("abc", "xyz", ">"), ("abcdef", "y", "|>"), ("gab", "xxyyz", ">>|")):
        expect_packed(answer, source, target, tokenizer, separator, 16)


@pack_example.property("the source loses its beginning, nothing else is lost", "只舍弃源文本的开头", ONCE, weight=3)
def pack_truncates(answer, case):
    tokenizer = letter_tokenizer()
    for max_length in range(6, 13):
        expect_packed(answer, "abcdefg", "xyz", tokenizer, ">|", max_length)


@pack_example.property("each text is encoded by itself", "每段文本单独编码", ONCE)
def pack_seams(answer, case):
    for pairs in (["c>"], [">x"], ["c>", "ab"]):
        expect_packed(answer, "abc", "xyz", letter_tokenizer(pairs), ">", 16)


@pack_example.property("a loss that moves only with the target", "损失只随目标而变", ONCE)
def pack_loss(answer, case):
    model, tokenizer = small_model(case, vocab_size=13), letter_tokenizer()
    given = answer("abc", "xyz", tokenizer, ">", 16)
    ids, labels = (part[None].clone() for part in expect_tensors(given, "input_ids", "labels"))
    s, m, t = pack_pieces(tokenizer, "abc", ">", "xyz")
    right = [torch.tensor([part]) for part in packed(s, m, t, 0, 12)]
    with torch.no_grad():
        logits = model(right[0].to(case.device)).logits.log_softmax(-1)[0]
        of_target = -logits[range(3, 7), [*t, 0]].double().mean()
        logits = model(ids.to(case.device)).logits[0, :-1]
    # as transformers does it: labels are shifted here
    loss = nn.functional.cross_entropy(logits, labels[0, 1:].to(case.device), ignore_index=IGNORED)
    case.expect_close(
        loss,
        of_target,
        otherwise=(
            "the loss that transformers computes from them is not the mean over the target and the end",
            "transformers 用它们算出的损失，不是目标与结束词元上的平均",
        ),
    )


@pack_example.property("refuses a target that does not fit", "目标放不下就拒绝", ONCE)
def pack_refuses(answer, case):
    tokenizer = letter_tokenizer()
    expect_packed(answer, "abc", "xyzxyzxy", tokenizer, ">", 10)
    for target, separator, max_length in (("xyzxyzxyz", ">", 10), ("xyz", ">>>>>>>", 10)):
        expect_refused(
            lambda t=target, s=separator, n=max_length: answer("abc", t, tokenizer, s, n),
            (
                f"11 tokens without the source at max_length = {max_length}",
                f"不算源文本就有 11 个词元，max_length 为 {max_length}",
            ),
            [max_length],
        )


@pack_example.property("any of the texts may be empty", "哪段文本都可以为空", ONCE)
def pack_empty(answer, case):
    tokenizer = letter_tokenizer()
    for source, target, separator in (("", "xyz", ">"), ("abc", "", ">"), ("abc", "xyz", ""), ("ab", "", "")):
        expect_packed(answer, source, target, tokenizer, separator, 16)


# --- logit_lens -----------------------------------------------------------------------------------------------

logit_lens = Check("logit_lens")


def hidden_states(model: nn.Module, ids: Tensor) -> tuple[Tensor, ...]:
    return ask_for_more(copy.deepcopy(model), ids).hidden_states


def norm_f(model: nn.Module, x: Tensor) -> Tensor:
    ln, x = model.transformer.ln_f, x.double()
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + ln.eps).sqrt()
    return x * ln.weight.double() + ln.bias.double()


@torch.no_grad()
def lens(model: nn.Module, states: Iterable[Tensor], norms: Callable[[int], int]) -> Tensor:
    """(L + 1, …, T, V) in float64; norms(l) is how many more times state l, counted from the end, is normalised."""
    rows = []
    for behind, state in zip(reversed(range(len(states))), states, strict=True):
        x = state.double()
        for _ in range(norms(behind)):
            x = norm_f(model, x)
        rows.append(x @ model.lm_head.weight.double().T)
    return torch.stack(rows)


def right_lens(model, states) -> Tensor:
    return lens(model, states, lambda behind: int(behind > 0))


def divergences(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def expect_lens(answer, model, states) -> tuple[Tensor, Tensor]:
    """The answer's two tensors with the right shapes."""
    logits, divergence = expect_tensors(answer(model, states), "logits", "divergence")
    wanted = (len(states), *states[0].shape[:-1])
    expect_shape("logits", logits, (*wanted, model.config.vocab_size))
    expect_shape("divergence", divergence, wanted)
    return logits, divergence


def lens_mistakes(model, states) -> dict[Text, Tensor]:
    right = right_lens(model, states)
    return {
        (
            "ln_f was applied to the last state too, which has been through it already",
            "最后一个状态也过了 ln_f，而它已经过了一次",
        ): lens(model, states, lambda behind: 1),
        (
            "ln_f is missing: every state but the last must go through it",
            "漏了 ln_f：除最后一个外，每个状态都要过一次",
        ): lens(model, states, lambda behind: 0),
        ("ln_f was applied twice before the last layer", "最后一层之前，ln_f 用了两次"): lens(
            model, states, lambda behind: 2 * (behind > 0)
        ),
        ("the layers are in reverse order: the embeddings come first", "各层的次序反了：嵌入排在最前"): right.flip(0),
        ("these are log-probabilities; return the logits", "这是对数概率；应返回 logits"): right.log_softmax(-1),
        ("these are probabilities; return the logits", "这是概率；应返回 logits"): right.softmax(-1),
    }


LENS_TEXTS = dict(), dict(n_layer=3), dict(tie_word_embeddings=False), dict(layer_norm_epsilon=0.3)


@logit_lens.property("each layer is read as if it were the last", "每一层都当作最后一层来读", EXACT, weight=3)
def lens_layers(answer, case):
    for sizes in LENS_TEXTS:
        model, ids = small_model(case, **sizes), random_ids(case, 2, 5)
        states = hidden_states(model, ids)
        mistakes, right = lens_mistakes(model, states), right_lens(model, states)
        logits, _ = expect_lens(answer, model, tuple(state.clone() for state in states))
        before = {
            sentence: wrong[:-1] for sentence, wrong in mistakes.items() if not case.close(wrong[:-1], right[:-1])
        }
        case.expect_close(logits[:-1], right[:-1], before)


@logit_lens.property("the last layer gives the model's own logits", "最后一层给出模型自己的 logits", EXACT, weight=3)
def lens_last(answer, case):
    for sizes in LENS_TEXTS:
        model, ids = small_model(case, **sizes), random_ids(case, 2, 5)
        states = hidden_states(model, ids)
        with torch.no_grad():
            own = model(ids).logits
        mistakes = {
            sentence: wrong[-1]
            for sentence, wrong in lens_mistakes(model, states).items()
            if not case.close(wrong[-1], own)
        }
        logits, _ = expect_lens(answer, model, tuple(state.clone() for state in states))
        case.expect_close(logits[-1], own, mistakes)
        expect(not case.close(logits[0], logits[-1]), "all layers say the same", "每一层说的都一样")


@logit_lens.property("the divergence of each layer from what the model says", "每一层与模型结论的散度", EXACT, weight=3)
def lens_divergence(answer, case):
    for sizes in LENS_TEXTS[:2]:
        model, ids = small_model(case, **sizes), random_ids(case, 2, 5)
        states = hidden_states(model, ids)
        right = right_lens(model, states)
        log_q = right.log_softmax(-1)
        log_p = log_q[-1:].expand_as(log_q)
        expected, middle = divergences(log_p, log_q), torch.logaddexp(log_p, log_q) - torch.tensor(2.0).log()
        mistakes = {
            (
                "this is D(q‖p), the divergence the other way round: p is what the model says",
                "这是反过来的散度 D(q‖p)：p 是模型的结论",
            ): divergences(log_q, log_p),
            ("the divergence is in bits; ln gives nats", "单位成了比特；用 ln 得到的才是奈特"): expected
            / torch.tensor(2.0, dtype=torch.float64).log(),
            (
                "the divergence is negative: p over q, not q over p",
                "散度成了负数：应是 p 除以 q，而不是 q 除以 p",
            ): -expected,
            (
                "this is the cross-entropy; subtract the entropy of p",
                "这是交叉熵；还要减去 p 的熵",
            ): -(log_p.exp() * log_q).sum(-1),
            (
                "each layer was compared with the next one; compare it with the last",
                "每一层是与下一层比的；应与最后一层比",
            ): divergences(torch.cat([log_q[1:], log_q[-1:]]), log_q),
            (
                "this is the mean over the vocabulary; add up instead",
                "这是词表上的平均；应求和",
            ): expected / VOCABULARY,
            ("this is the Jensen-Shannon divergence", "这是 Jensen-Shannon 散度"): (
                divergences(log_p, middle) + divergences(log_q, middle)
            )
            / 2,
            (
                "ln_f was applied to the last state too, so p is not what the model says",
                "最后一个状态也过了 ln_f，所以 p 不是模型的结论",
            ): self_divergences(lens(model, states, lambda behind: 1)),
            (
                "ln_f is missing before the divergence is taken",
                "算散度之前漏了 ln_f",
            ): self_divergences(lens(model, states, lambda behind: 0)),
        }
        _, divergence = expect_lens(answer, model, tuple(state.clone() for state in states))
        case.expect_close(divergence, expected, mistakes)


def self_divergences(logits: Tensor) -> Tensor:
    log_q = logits.log_softmax(-1)
    return divergences(log_q[-1:], log_q)


@logit_lens.property("no NaN where a token is all but impossible", "某个词元几乎不可能时也没有 NaN", ONCE)
def lens_finite(answer, case):
    model, ids = small_model(case), random_ids(case, 1, 4)
    with torch.no_grad():
        model.transformer.ln_f.weight.mul_(300)  # logits so far apart that probabilities are 0 in float32
    states = hidden_states(model, ids)
    expected = self_divergences(right_lens(model, states))
    logits, divergence = expect_lens(answer, model, states)
    expect(
        bool(torch.isfinite(logits).all() and torch.isfinite(divergence).all()),
        "there is a NaN or an infinity: a probability of 0 was put into a logarithm; use log_softmax",
        "出现了 NaN 或无穷大：对等于 0 的概率取了对数；应使用 log_softmax",
    )
    off = (
        "the divergence is wrong where probabilities are very small: something was clipped, or a small number added",
        "概率极小的地方散度不对：可能做了截断，或者加了一个小数",
    )
    case.expect_close(divergence, expected, otherwise=off)


@logit_lens.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def lens_batch(answer, case):
    model = small_model(case)
    for lead in ((), (1,), (2, 3)):
        states = tuple(case.randn(*lead, 4, 8) for _ in range(3))
        right = right_lens(model, states)
        try:
            logits, divergence = expect_lens(answer, model, states)
        except (RuntimeError, ValueError, IndexError) as error:
            if not str(error):
                raise
            said = str(error).splitlines()[0][:120]
            raise PropertyFailed(
                f"states of shape {(*lead, 4, 8)} raised {said}; count dimensions from the end",
                f"形状为 {(*lead, 4, 8)} 的状态抛出了 {said}；维度要从后往前数",
            ) from None
        case.expect_close(logits, right, lens_mistakes(model, states))
        case.expect_close(divergence, self_divergences(right), otherwise=("texts were mixed up", "文本混到了一起"))


@logit_lens.property("leaves the model as it was", "不改动模型", ONCE)
def lens_untouched(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 5)
    states = hidden_states(model, ids)
    right = right_lens(model, states)
    with expect_model_untouched(model):
        logits, _ = expect_lens(answer, model, states)
    case.expect_close(logits, right, lens_mistakes(model, states))


logit_lens.add_standard_properties(
    lambda case: tuple(case.randn(1, 3, 8) for _ in range(3)),
    lambda answer, case: (lambda model: lambda *states: expect_lens(answer, model, states))(small_model(case)),
)


# --- residual_terms -------------------------------------------------------------------------------------------

residual_terms = Check("residual_terms")


def term_names(config) -> list[str]:
    layers, heads = range(config.n_layer), range(config.n_head)
    return [
        *("token", "position", "bias"),
        *(f"head {layer}.{head}" for layer in layers for head in heads),
        *(f"mlp {layer}" for layer in layers),
    ]


@torch.no_grad()
def stations(model: nn.Module, ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The last residual (B, T, d), and what goes into each c_proj, in float64."""
    seen, handles = {}, []

    def listen(module: nn.Module, name: str) -> None:
        handles.append(module.register_forward_pre_hook(lambda _, args: seen.update({name: args[0].double()})))

    listen(model.transformer.ln_f, "last")
    for number, block in enumerate(model.transformer.h):
        listen(block.attn.c_proj, f"z {number}")
        listen(block.mlp.c_proj, f"hidden {number}")
    model(ids)
    for handle in handles:
        handle.remove()
    return seen.pop("last"), seen


@torch.no_grad()
def terms_reference(model: nn.Module, ids: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, dict[Text, Tensor]]]:
    """The last residual, the terms, and what known mistakes would give for each term, by sentence; in float64."""
    last, seen = stations(model, ids)
    body, config = model.transformer, model.config
    d_k = config.n_embd // config.n_head
    token = body.wte.weight.double()[ids]
    position = body.wpe.weight.double()[: ids.shape[1]].expand_as(token)
    terms, wrong, bias = {"token": token, "position": position}, {}, 0
    wrong["token"] = {
        ("the positions are in it; they are a term of their own", "里面混进了位置；位置自成一项"): token + position
    }
    wrong["position"] = {
        ("this is the first position for every token", "每个词元都成了第一个位置"): position[:, :1].expand_as(token)
    }
    all_inner, all_outer, all_mlp = 0, 0, 0
    for layer, block in enumerate(body.h):
        w_o, b_o = (p.double() for p in (block.attn.c_proj.weight, block.attn.c_proj.bias))
        b_v = block.attn.c_attn.bias.double()[-config.n_embd :]
        for head in range(config.n_head):
            rows = slice(head * d_k, (head + 1) * d_k)
            z = seen[f"z {layer}"][..., rows]
            term = (z - b_v[rows]) @ w_o[rows]
            terms[f"head {layer}.{head}"] = term
            other = slice(*((config.n_head - 1 - head) * d_k + n for n in (0, d_k)))
            constant = b_v[rows] @ w_o[rows]
            wrong[f"head {layer}.{head}"] = {
                (
                    "the bias of the values is still in it; it is a constant, because attention weights add up to one",
                    "值的偏置还在里面；注意力权重之和是一，所以它是常数",
                ): term + constant,
                (
                    "the bias of c_proj is in it; it belongs to no head",
                    "里面混进了 c_proj 的偏置；它不属于任何一个头",
                ): term + constant + b_o,
                (
                    "the bias of c_proj was shared out among the heads; it belongs to none",
                    "c_proj 的偏置分摊给了各头；它不属于任何一个头",
                ): term + constant + b_o / config.n_head,
                ("the heads are in reverse order", "头的次序反了"): (
                    (seen[f"z {layer}"][..., other] - b_v[other]) @ w_o[other]
                ),
                (
                    "this is what the whole layer of attention writes; keep its heads apart",
                    "这是整层注意力写入的内容；应把各头分开",
                ): seen[f"z {layer}"] @ w_o + b_o,
                (
                    "w_o is used transposed: Conv1D stores it as (in, out)",
                    "w_o 用反了：Conv1D 按（入，出）存放",
                ): (z - b_v[rows]) @ w_o.T[rows],
            }
        b_mlp = block.mlp.c_proj.bias.double()
        written = seen[f"hidden {layer}"] @ block.mlp.c_proj.weight.double()
        terms[f"mlp {layer}"] = written
        wrong[f"mlp {layer}"] = {
            ("the bias of its c_proj is still in it; it is a constant", "它的 c_proj 的偏置还在里面；那是常数"): written
            + b_mlp
        }
        all_inner, all_outer, all_mlp = all_inner + b_v @ w_o, all_outer + b_o, all_mlp + b_mlp
    bias = all_inner + all_outer + all_mlp
    terms["bias"] = bias.expand_as(token)
    wrong["bias"] = {
        (en, zh): value.expand_as(token)
        for (en, zh), value in {
            (
                "the bias of the values is missing: what passes through the output projection is constant too",
                "漏了值的偏置：它经过输出投影之后也是常数",
            ): all_outer + all_mlp,
            ("the biases of attn.c_proj are missing", "漏了 attn.c_proj 的偏置"): all_inner + all_mlp,
            ("the biases of mlp.c_proj are missing", "漏了 mlp.c_proj 的偏置"): all_inner + all_outer,
            (
                "the bias of the values must go through the output projection before it is added",
                "值的偏置要先经过输出投影再加",
            ): all_outer + all_mlp + sum(b.attn.c_attn.bias.double()[-config.n_embd :] for b in body.h),
            ("the bias is 0", "偏置成了 0"): 0 * bias,
            (
                "these are the constants of the last layer alone; add up all layers",
                "这只是最后一层的常数；各层要加起来",
            ): (b_v @ w_o + b_o + b_mlp),
        }.items()
        if config.n_layer > 1 or not torch.equal(value, bias)
    }
    return last, terms, wrong


def expect_terms(answer, model, ids) -> dict[str, Tensor]:
    """The answer's dict with the right keys and shapes."""
    out = expect_keys(answer(model, ids), term_names(model.config))
    for name, term in out.items():
        expect_shape(f'"{name}"', expect_tensor(term), (*ids.shape, model.config.n_embd))
    return out


def expect_term(case, name: str, got: Tensor, right: Tensor, wrong: dict[Text, Tensor]) -> None:
    named = {
        (f'"{name}": {en}', f'"{name}"：{zh}'): value
        for (en, zh), value in wrong.items()
        if not case.close(value, right)
    }
    off = f'"{name}" has other values than this part of the model writes', f'"{name}" 的数值与模型这部分写入的不同'
    case.expect_close(got, right, named, off)


def expect_shared_out(case, terms: dict[str, Tensor]) -> None:
    """Fail where the sum is right because one term holds it all, or each the same share of it."""
    for name, term in terms.items():
        expect(
            name in ("position", "bias") or not case.close(term, term[:1, :1].expand_as(term)),
            f'"{name}" is the same at every token, as "bias" alone is',
            f'"{name}" 在每个词元处都相同；只有 "bias" 是这样',
        )
    for (one, a), (two, b) in itertools.combinations(terms.items(), 2):
        expect(not case.close(a, b), f'"{one}" and "{two}" are equal', f'"{one}" 与 "{two}" 相等')


TERM_SIZES = dict(), dict(n_layer=3, n_head=4), dict(n_layer=1, n_head=1, n_inner=5)


def terms_part(en: str, zh: str, begins: str, weight: int = 1) -> None:
    """Add the property that the terms whose names begin like this have the right values."""

    @residual_terms.property(en, zh, EXACT, weight=weight)
    def part(answer, case):
        for sizes in TERM_SIZES:
            model, ids = small_model(case, **sizes), random_ids(case, 2, 5)
            _, right, wrong = terms_reference(model, ids)
            out = expect_terms(answer, model, ids.clone())
            for name in right:
                if name.startswith(begins):
                    expect_term(case, name, out[name], right[name], wrong[name])


@residual_terms.property("the terms add up to the last residual", "各项之和就是最后的残差流", EXACT, weight=3)
def terms_sum(answer, case):
    for sizes in TERM_SIZES:
        model, ids = small_model(case, **sizes), random_ids(case, 2, 5)
        last, right, wrong = terms_reference(model, ids)
        out = expect_terms(answer, model, ids.clone())
        total = sum(term.double() for term in out.values())
        mistakes = {
            (
                "ln_f was applied, or taken apart: the sum is the stream before it",
                "用了 ln_f：各项之和应是它之前的残差流",
            ): norm_f(model, last),
            ("the constants are missing from the sum", "和里缺了常数"): last - right["bias"],
            ("the constants are counted twice", "常数算了两遍"): last + right["bias"],
            **{value: last + w - right["bias"] for value, w in wrong["bias"].items()},
            ("the positions are counted twice", "位置算了两遍"): last + right["position"],
        }
        mistakes = {sentence: value for sentence, value in mistakes.items() if not case.close(value, last)}
        case.expect_close(total, last, mistakes, ("the sum is another than the last residual", "和不等于最后的残差流"))
        expect_shared_out(case, out)


terms_part(
    "each head's term is its own, and nothing constant is in it", "每个头只有自己的一项，不含常数", "head", weight=3
)
terms_part("each MLP's term leaves out its last bias", "每个 MLP 的项不含最后的偏置", "mlp")
terms_part("tokens and positions are two terms", "词元与位置是两项", ("token", "position"))
terms_part("all constants are in one term", "所有常数在一项里", "bias")


@residual_terms.property("keeps dtype and device", "保持 dtype 与设备", EXACT)
def terms_dtype(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 5)
    _, right, _ = terms_reference(model, ids)
    out = expect_terms(answer, model, ids.clone())
    for name, term in out.items():
        expect(
            (term.dtype, term.device.type) == (case.dtype, case.device.type),
            f'a model in {case} gave "{name}" in {describe(term)}',
            f'模型是 {case}，"{name}" 却是 {describe(term)}',
        )
    token, expected = (term - term[:1, :1] for term in (out["token"], right["token"]))
    case.expect_close(token, expected, otherwise=('"token" is not what wte holds', '"token" 不是 wte 里的内容'))


@residual_terms.property("leaves model and text as they were", "不改动模型和文本", ONCE)
def terms_untouched(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 5)
    _, right, _ = terms_reference(model, ids)
    before = ids.clone()
    with expect_model_untouched(model):
        out = expect_terms(answer, model, ids)
        last = model.transformer.h[-1].mlp
        act, last.act = last.act, nn.Linear(1, 1)  # of another width: the next call of the model raises half-way
        with contextlib.suppress(Exception):
            answer(model, before.clone())
        last.act = act
    expect(torch.equal(ids, before), "ids was changed in place", "ids 被原地修改了")
    token, expected = (term - term[:1, :1] for term in (out["token"], right["token"]))  # without what is added to all
    case.expect_close(token, expected, otherwise=('"token" is another than before', '"token" 与应有的不同'))


# --- ablate_head ----------------------------------------------------------------------------------------------

ablate_head = Check("ablate_head")


@contextlib.contextmanager
def ablated(model: nn.Module, layer: int, change: Callable[[Tensor], Tensor], after: bool = False):
    """While the block runs, z (B, T, H, d_k) of this layer is changed; with `after`, c_proj's output is."""
    block = model.transformer.h[layer].attn
    n_head = model.config.n_head

    def replace(value: Tensor) -> Tensor:
        return change(value.unflatten(-1, (n_head, -1)).clone()).flatten(-2)

    if after:
        handle = block.c_proj.register_forward_hook(lambda module, args, out: replace(out))
    else:
        handle = block.c_proj.register_forward_pre_hook(lambda module, args: (replace(args[0]),))
    try:
        yield
    finally:
        handle.remove()


def silence(heads: object) -> Callable[[Tensor], Tensor]:
    def change(z: Tensor) -> Tensor:
        z[:, :, heads] = 0
        return z

    return change


def average(head: int, dims: tuple[int, ...] = (0, 1)) -> Callable[[Tensor], Tensor]:
    def change(z: Tensor) -> Tensor:
        z[:, :, head] = z[:, :, head].mean(dims, keepdim=True)
        return z

    return change


CHANGES = {"zero": silence, "mean": average}


@torch.no_grad()
def ablated_logits(model, ids, layer: int, change, after: bool = False) -> Tensor:
    with ablated(model, layer, change, after):
        return model(ids).logits


def ablation_mistakes(model, ids, layer: int, head: int, how: str) -> dict[Text, Tensor]:
    n_layer, n_head = model.config.n_layer, model.config.n_head
    with torch.no_grad():
        whole = model(ids).logits
    right = CHANGES[how]
    other, elsewhere = (head + 1) % n_head, (layer + 1) % n_layer

    def rest(z: Tensor) -> Tensor:
        return silence([h for h in range(n_head) if h != head])(z)

    mistakes = {
        ("nothing changes in the model's logits", "模型的 logits 没有变"): whole,
        (
            "c_proj's output was changed, where heads are mixed already; change what goes into c_proj",
            "改的是 c_proj 的输出，那里各头已经混在一起；应改送进 c_proj 的内容",
        ): ablated_logits(model, ids, layer, right(head), after=True),
        ("another head was ablated", "改的是另一个头"): ablated_logits(model, ids, layer, right(other)),
        ("another layer was ablated", "改的是另一层"): ablated_logits(model, ids, elsewhere, right(head)),
        ("the other heads were ablated, and this one was kept", "别的头被改了，这个头却留着"): ablated_logits(
            model, ids, layer, rest
        ),
        ("all heads of the layer were ablated", "这一层的头全被改了"): ablated_logits(
            model, ids, layer, silence(slice(None)) if how == "zero" else average(slice(None))
        ),
    }
    mean = {
        (
            "the mean is over the tokens of each text by itself; take it over all texts of the call",
            "平均只在每段文本之内；应在这次调用的所有文本上取",
        ): average(head, (1,)),
        (
            "the mean is over the texts at each position; take it over all positions too",
            "平均只在每个位置上、各文本之间；还应在所有位置上取",
        ): average(head, (0,)),
        (
            "the mean has one number; it should have d_k, one for each feature",
            "平均值只有一个数；应有 d_k 个，每个特征一个",
        ): average(head, (0, 1, 2)),
        (
            "the mean is over the features; take it over texts and positions",
            "平均取在特征上；应取在文本和位置上",
        ): average(head, (2,)),
        ("the head was set to 0, not to its mean", "这个头被置成了 0，而不是平均值"): silence(head),
    }
    zero = {("the head was set to its mean, not to 0", "这个头被换成了平均值，而不是 0"): average(head)}
    for sentence, change in (mean if how == "mean" else zero).items():
        mistakes[sentence] = ablated_logits(model, ids, layer, change)
    return mistakes


ABLATED_SIZES = dict(n_layer=3, n_head=4)


def expect_ablated(answer, case, model, ids, layer: int, head: int, how: str) -> None:
    right = ablated_logits(model, ids, layer, CHANGES[how](head))
    mistakes = ablation_mistakes(model, ids, layer, head, how)
    with torch.no_grad():
        with answer(model, layer, head, how):
            got = [model(ids).logits, model(ids).logits]
        for logits in got:  # a second call is ablated as well
            case.expect_close(logits, right, {k: v for k, v in mistakes.items() if not case.close(v, right)})


@ablate_head.property("zero: the head has nothing to say", "zero：这个头什么也不说", EXACT, weight=3)
def ablate_zero(answer, case):
    for layer, head in ((0, 0), (1, 2), (2, 3)):
        expect_ablated(answer, case, small_model(case, **ABLATED_SIZES), random_ids(case, 3, 5), layer, head, "zero")


@ablate_head.property(
    "mean: the head says its mean over all tokens of the call", "mean：这个头说它在所有词元上的平均", EXACT, weight=3
)
def ablate_mean(answer, case):
    for layer, head in ((0, 0), (1, 2), (2, 3)):
        expect_ablated(answer, case, small_model(case, **ABLATED_SIZES), random_ids(case, 3, 5), layer, head, "mean")


@ablate_head.property("the mean is that of the call, not of an earlier one", "平均值属于这次调用，不是以前的", EXACT)
def ablate_mean_anew(answer, case):
    model = small_model(case)
    one, two = random_ids(case, 2, 5), random_ids(case, 3, 4)
    with torch.no_grad(), answer(model, 1, 0, "mean"):
        got = [model(ids).logits for ids in (one, two)]
    for ids, logits in zip((one, two), got, strict=True):
        off = ("a later call is given the mean of an earlier one", "后一次调用用了前一次的平均值")
        right = ablated_logits(model, ids, 1, average(0))
        mistakes = ablation_mistakes(model, ids, 1, 0, "mean")
        case.expect_close(logits, right, {k: v for k, v in mistakes.items() if not case.close(v, right)}, off)


@torch.no_grad()
def expect_other_logits(case, model, ids, before: Tensor) -> Tensor:
    """The model's logits, inside a block; fails unless they still follow from the text, and are not those `before`."""
    inside, again, of_other_text = (model(given).logits for given in (ids, ids, (ids + 1) % VOCABULARY))
    expect(
        not case.close(inside, before),
        "nothing changes in the model's logits inside the block",
        "在代码块里，模型的 logits 没有变",
    )
    expect(
        bool(torch.isfinite(inside).all()) and case.close(inside, again) and not case.close(inside, of_other_text),
        "inside the block the logits no longer follow from the text: not finite, random, or always the same",
        "在代码块里，logits 不再由文本决定：不是有限的数、带有随机成分，或者总是一样",
    )
    return inside


@ablate_head.property("afterwards the model is as it was", "事后模型恢复原样", ONCE)
def ablate_restores(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 5)
    with torch.no_grad():
        before = model(ids).logits
        with expect_model_untouched(model):
            for how in ("zero", "mean"):
                with answer(model, 0, 1, how):
                    expect_other_logits(case, model, ids, before)
        after = (
            "after the block the model's logits are not what they were",
            "离开代码块之后，模型的 logits 与原来不同",
        )
        case.expect_close(model(ids).logits, before, otherwise=after)


class Interrupted(Exception):
    """Leaves a block early."""


@ablate_head.property("also when the block raises", "代码块抛出异常时也一样", ONCE)
def ablate_raises(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 5)
    with torch.no_grad():
        before = model(ids).logits
    through = False
    with expect_model_untouched(model):
        try:
            with torch.no_grad(), answer(model, 1, 1, "zero"):
                expect_other_logits(case, model, ids, before)
                raise Interrupted("in between")
        except Exception as error:
            if "in between" not in str(error):
                raise
            through = True
        expect(
            through,
            "the exception of the block was swallowed; it should go on its way",
            "代码块的异常被吞掉了；应让它继续向外抛",
        )


@ablate_head.property("blocks may be nested", "代码块可以嵌套", EXACT)
def ablate_nested(answer, case):
    model, ids = small_model(case, **ABLATED_SIZES), random_ids(case, 2, 5)
    first = ablated_logits(model, ids, 1, silence(0))
    second = ablated_logits(model, ids, 1, silence(2))
    both = ablated_logits(model, ids, 1, silence([0, 2]))
    with ablated(model, 2, average(1)):
        across = ablated_logits(model, ids, 1, silence(0))
    with torch.no_grad(), answer(model, 1, 0, "zero"):
        with answer(model, 1, 2, "zero"):
            inner = model(ids).logits
        outer = model(ids).logits
        with answer(model, 2, 1, "mean"):
            layers = model(ids).logits
    case.expect_close(
        inner,
        both,
        {
            ("only the outer block is in force inside the inner one", "在里层，只有外层有效"): first,
            ("only the inner block is in force inside it", "在里层，只有里层有效"): second,
        },
    )
    off = ("leaving the inner block has undone the outer one too", "离开里层时，外层也一起失效了")
    case.expect_close(outer, first, otherwise=off)
    case.expect_close(layers, across, otherwise=("two layers at once give another result", "同时改两层，结果不对"))


@ablate_head.property("gradients flow as they do without it", "梯度照常流动", (torch.float64,))
def ablate_gradients(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 5)

    def gradients(block) -> list[Tensor]:
        with block:
            parameters = [*model.parameters()]
            found = torch.autograd.grad(model(ids).logits.square().sum(), parameters, allow_unused=True)
            return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]

    for how in ("zero", "mean"):
        right = gradients(ablated(model, 0, CHANGES[how](1)))
        got = gradients(answer(model, 0, 1, how))
        for (name, _), one, two in zip(model.named_parameters(), got, right, strict=True):
            off = (
                f"with {how} the gradient of {name} is another: something is detached or computed without gradients",
                f"{how} 时，{name} 的梯度不对：有东西被 detach 了，或者是在没有梯度的情况下算的",
            )
            case.expect_close(one, two, otherwise=off)


@ablate_head.property("refuses what is not there", "没有的就拒绝", ONCE)
def ablate_refuses(answer, case):
    expect_ablated(answer, case, small_model(case, **ABLATED_SIZES), random_ids(case, 2, 5), 2, 3, "zero")

    def enter(model: nn.Module, *given):
        with answer(model, *given):
            pass

    for given in ((3, 0, "zero"), (0, 4, "mean"), (-1, 0, "zero"), (0, -1, "mean"), (0, 0, "median")):
        model = small_model(case, **ABLATED_SIZES)
        with expect_model_untouched(model):
            refused = partial(enter, model, *given)
            expect_refused(refused, (f"{given} of 3 layers and 4 heads", f"3 层 4 头，参数为 {given}"))


@ablate_head.property("keeps dtype and device", "保持 dtype 与设备")
def ablate_dtype(answer, case):
    model, ids = small_model(case), random_ids(case, 2, 5)
    with torch.no_grad():
        plain = model(ids).logits
        for how in ("zero", "mean"):
            with answer(model, 1, 0, how):
                inside = expect_other_logits(case, model, ids, plain)
            expect(
                (inside.dtype, inside.device.type) == (case.dtype, case.device.type),
                f"a model in {case} gives logits in {describe(inside)}",
                f"模型是 {case}，logits 却是 {describe(inside)}",
            )


# --- encode_events --------------------------------------------------------------------------------------------

encode_events = Check("encode_events")

NOTE_ON, NOTE_OFF, TIME_SHIFT, VELOCITY, N_EVENTS = 0, 128, 256, 356, 388

Note = tuple[int, int, int, int]


def events(
    notes: Iterable[Note], order=None, ends=True, loudness="changes", longest=100, absolute=False, short_first=False
) -> list[int]:
    """The tokens; the arguments after the first spoil one rule each."""
    order = order or (lambda time, begins, velocity, pitch: (time, begins, velocity, pitch))
    moments = [(end, 0, 0, pitch) for _, end, pitch, _ in notes] if ends else []
    moments += [(start, 1, velocity, pitch) for start, _, pitch, velocity in notes]
    tokens, now, in_force = [], 0, None
    for time, begins, velocity, pitch in sorted(moments, key=lambda moment: order(*moment)):
        wait = time if absolute and time != now else time - now
        shifts = [longest] * (wait // longest) + [wait % longest] * (wait % longest > 0)
        tokens += [TIME_SHIFT + steps - 1 for steps in (reversed(shifts) if short_first else shifts)]
        now = time
        if begins and (loudness == "always" or (loudness == "changes" and velocity != in_force)):
            tokens.append(VELOCITY + velocity)
            in_force = velocity
        tokens.append((NOTE_ON if begins else NOTE_OFF) + pitch)
    return tokens


def said(token: int) -> str:
    """An event as a person reads it."""
    for name, first, shift in (("velocity", VELOCITY, 0), ("shift", TIME_SHIFT, 1), ("off", NOTE_OFF, 0), ("on", 0, 0)):
        if token >= first:
            return f"{name} {token - first + shift}"
    return str(token)


def whole_numbers(out: object, names_en: str, names_zh: str) -> list[int]:
    """The whole numbers that came, in whatever holds them; fails with a sentence where they are none."""
    try:
        numbers = [n.item() if hasattr(n, "item") else n for n in out]
    except TypeError:
        numbers = [None]
    expect(
        not isinstance(out, (str, dict)) and all(isinstance(n, int) and not isinstance(n, bool) for n in numbers),
        f"expected {names_en}, got {type(out).__name__}",
        f"应返回{names_zh}，得到的是 {type(out).__name__}",
    )
    return numbers


EVENT_MISTAKES = {
    (
        "the ends of the notes are missing: each pitch that begins must end",
        "漏了音符的结束：开始的音高都要结束",
    ): dict(ends=False),
    (
        "at one time, notes began before others had ended: ends come first",
        "同一时刻，有音符在别的音符结束之前就开始了：应先结束",
    ): dict(order=lambda time, begins, velocity, pitch: (time, -begins, velocity, pitch)),
    (
        "at one time, notes begin from soft to loud, then from low to high; here pitch alone decides",
        "同一时刻，音符从轻到重开始，一样重的从低到高；这里只看了音高",
    ): dict(order=lambda time, begins, velocity, pitch: (time, begins, pitch)),
    (
        "at one time, notes begin from soft to loud; here they begin from loud to soft",
        "同一时刻，音符应从轻到重开始；这里成了从重到轻",
    ): dict(order=lambda time, begins, velocity, pitch: (time, begins, -velocity, pitch)),
    (
        "events at one time must be ordered; here they stand as the notes were given",
        "同一时刻的事件要排序；这里照搬了给出的次序",
    ): dict(order=lambda time, begins, velocity, pitch: (time, begins)),
    (
        "a velocity token stands before every note; it comes only when the velocity changes",
        "每个音符前都有力度词元；只有力度变了才需要",
    ): dict(loudness="always"),
    ("the velocities are missing", "漏了力度"): dict(loudness="never"),
    (
        "a shift is the time that passes, not the time since the beginning",
        "推移是过去了多少时间，不是从头算起的时刻",
    ): dict(absolute=True),
    (
        "a wait of more than 100 steps was not split: 100, 100, …, then the rest",
        "超过 100 步的等待没有拆开：应是 100、100、…，然后是余下的",
    ): dict(longest=10**9),
    ("shifts go up to 100 steps, not 99", "推移最多 100 步，不是 99 步"): dict(longest=99),
    (
        "the rest of a wait comes first; first as many of 100 steps as fit, then the rest",
        "余下的步数排在了前面；应先放 100 步的，再放余下的",
    ): dict(short_first=True),
}


def expect_events(answer, notes: list[Note]) -> None:
    """Fail unless the answer's tokens are those of these notes, with the name of the mistake where it is known."""
    right = events(notes)
    got = whole_numbers(answer(list(notes)), "a list of integers", "整数列表")
    if got == right:
        return
    for sentence, flags in EVENT_MISTAKES.items():
        wrong = events(notes, **flags)
        expect(got != wrong or wrong == right, *sentence)
    for wrong, en, zh in (
        (
            [t + 1 if TIME_SHIFT <= t < VELOCITY else t for t in right],
            "a shift of k steps is TIME_SHIFT + k - 1",
            "推移 k 步是 TIME_SHIFT + k - 1",
        ),
        (right[:-1], "the last event is missing", "漏了最后一个事件"),
    ):
        expect(got != wrong, en, zh)
    place = next((i for i, (a, b) in enumerate(itertools.zip_longest(got, right)) if a != b), 0)
    have, want = (said(tokens[place]) if place < len(tokens) else "…" for tokens in (got, right))
    raise PropertyFailed(
        f"token {place} of notes {notes[:3]} … is {have}; it should be {want}",
        f"音符 {notes[:3]} … 的第 {place} 个词元是 {have}；应为 {want}",
    )


TUNE = [(0, 3, 60, 20), (3, 6, 62, 20), (8, 12, 64, 25), (12, 13, 60, 25), (20, 90, 67, 3)]
CHORDS = [(0, 40, 48, 12), (0, 9, 60, 12), (5, 30, 64, 18), (9, 30, 67, 12), (30, 45, 64, 18), (40, 45, 43, 12)]


def piece(seed: int, n: int = 30) -> list[Note]:
    """Random notes, several at once, none of the same pitch overlapping; long waits and repeated notes among them."""
    draw, free, notes, now = random.Random(seed), {}, [], 0
    for _ in range(n):
        now += draw.choice([0, 0, 1, 4, 25, 130, 317])
        pitch = draw.choice([40, 55, 60, 61, 64, 72])
        start = max(now, free.get(pitch, 0))
        free[pitch] = start + draw.choice([1, 3, 25, 100, 240])
        notes.append((start, free[pitch], pitch, draw.choice([0, 7, 7, 19, 31])))
    return notes


@encode_events.property(
    "a tune: velocities, beginnings, waits and ends", "一支曲子：力度、开始、等待、结束", ONCE, weight=3
)
def encode_tune(answer, case):
    for notes in (TUNE, [(5, 7, 0, 0)], [(0, 100, 127, 31), (100, 101, 126, 0)]):
        expect_events(answer, notes)


@encode_events.property("several notes at once", "同时有几个音", ONCE, weight=3)
def encode_chords(answer, case):
    expect_events(answer, CHORDS)
    for seed in range(6):
        expect_events(answer, [note for note in piece(seed) if note[3] != 0])


@encode_events.property(
    "at one time: ends, then soft to loud, then low to high", "同一时刻：先结束，再由轻到重、由低到高", ONCE
)
def encode_order(answer, case):
    for notes in (
        [(0, 9, 70, 5), (0, 9, 65, 30), (0, 9, 60, 5), (9, 12, 60, 5), (9, 10, 10, 30), (4, 9, 80, 5)],
        [(0, 4, 60, 8), (4, 8, 60, 8), (4, 6, 40, 2), (0, 4, 90, 1)],
    ):
        expect_events(answer, notes)


@encode_events.property("waits of more than 100 steps are split", "超过 100 步的等待要拆开", ONCE)
def encode_waits(answer, case):
    for wait in (99, 100, 101, 199, 200, 201, 1000, 1234):
        expect_events(answer, [(wait, 2 * wait + 3, 60, 9)])


@encode_events.property("a velocity is said only when it changes", "力度变了才说", ONCE)
def encode_velocity(answer, case):
    for velocities in ((7, 7, 7), (7, 9, 7), (0, 0, 31), (31, 0, 0), (16, 16, 3)):
        expect_events(answer, [(4 * i, 4 * i + 2, 60 + i, v) for i, v in enumerate(velocities)])


@encode_events.property("notes in any order, and left as they were", "音符次序任意，且不被改动", ONCE)
def encode_any_order(answer, case):
    for seed in range(4):
        notes = piece(seed)
        mixed = random.Random(seed).sample(notes, len(notes))
        given = list(mixed)
        got = whole_numbers(answer(given), "a list of integers", "整数列表")
        expect(given == mixed, "the list of notes was changed", "音符列表被改动了")
        expect(
            got != events(mixed, lambda time, begins, velocity, pitch: 0) and got == events(notes),
            "the same notes in another order gave other tokens",
            "同样的音符换了次序，得到的词元就不同",
        )


@encode_events.property("no notes, no tokens", "没有音符就没有词元", ONCE)
def encode_empty(answer, case):
    expect_events(answer, [(0, 1, 60, 9)])
    expect_events(answer, [])


# --- decode_events --------------------------------------------------------------------------------------------

decode_events = Check("decode_events")


def expect_notes(answer, tokens: list[int], right: list[Note], mistakes: dict[Text, list[Note]] | None = None) -> None:
    """Fail unless the answer's notes are these; `mistakes` are what known mistakes give, by sentence."""
    given = list(tokens)
    out = answer(given)
    expect(given == tokens, "the list of tokens was changed", "词元列表被改动了")
    try:
        got = [tuple(whole_numbers(note, "notes of 4 integers", "由 4 个整数组成的音符")) for note in out]
    except TypeError:
        raise PropertyFailed(
            f"expected a list of notes, got {type(out).__name__}", f"应返回音符的列表，得到的是 {type(out).__name__}"
        ) from None
    if got == right:
        return
    for sentence, wrong in (mistakes or {}).items():
        expect(got != wrong or wrong == right, *sentence)
    expect(
        sorted(got) != sorted(right),
        "the notes are right, their order is not: by start, then by pitch",
        "音符都对，次序不对：先按起始时间，再按音高",
    )
    odd = [note for note in got if note not in right][:2] or "…"
    missing = [note for note in right if note not in got][:2] or "…"
    raise PropertyFailed(f"there are {odd} where {missing} should be", f"应有 {missing}，得到的是 {odd}")


def in_order(notes: Iterable[Note]) -> list[Note]:
    return sorted(notes, key=lambda note: (note[0], note[2]))


@decode_events.property("gives back the notes that were encoded", "变回原来的音符", ONCE, weight=3)
def decode_back(answer, case):
    for notes in (TUNE, CHORDS, *map(piece, range(6)), [(1234, 2345, 0, 0), (0, 1, 127, 31)]):
        right = in_order(notes)
        loud = next(v for *_, v in right)
        mistakes = {
            (
                "a shift of TIME_SHIFT + k - 1 lasts k steps, not k - 1",
                "TIME_SHIFT + k - 1 推移 k 步，不是 k - 1 步",
            ): shorter(events(notes)),
            ("every note got the first velocity", "每个音符都用了第一个力度"): [(*n[:3], loud) for n in right],
            ("the notes hold a length where their end should be", "该写结束时刻的地方写了长度"): [
                (s, e - s, p, v) for s, e, p, v in right
            ],
            (
                "the velocity is that at the end of the note; take the one in force when it begins",
                "力度取了音符结束时的；应取开始时的",
            ): velocities_at_the_end(events(notes)),
        }
        expect_notes(answer, events(notes), right, mistakes)


def shorter(tokens: list[int]) -> list[Note]:
    """The notes when each shift is taken for one step less."""
    return decoded(tokens, shift=0)


def velocities_at_the_end(tokens: list[int]) -> list[Note]:
    return decoded(tokens, at_the_end=True)


def decoded(tokens: list[int], shift: int = 1, at_the_end: bool = False) -> list[Note]:
    """Notes of tokens that come from notes; the arguments after the first spoil one rule each."""
    notes, sounding, now, in_force = [], {}, 0, None
    for token in tokens:
        if token >= VELOCITY:
            in_force = token - VELOCITY
        elif token >= TIME_SHIFT:
            now += token - TIME_SHIFT + shift
        elif token >= NOTE_OFF:
            start, velocity = sounding.pop(token - NOTE_OFF)
            notes.append((start, now, token - NOTE_OFF, in_force if at_the_end else velocity))
        else:
            sounding[token] = now, in_force
    return in_order(notes)


def shift(steps: int) -> int:
    return TIME_SHIFT + steps - 1


LOUD = VELOCITY + 20


@decode_events.property("what never ends, ends with the last token", "没有结束的，到最后一个词元结束", ONCE)
def decode_unfinished(answer, case):
    tokens = [LOUD, 60, shift(4), 64, shift(3)]
    forgotten = {("a note that never ends was forgotten", "没有结束的音符被丢掉了"): []}
    expect_notes(answer, tokens, [(0, 7, 60, 20), (4, 7, 64, 20)], forgotten)
    # of no length: it begins where everything ends
    expect_notes(answer, [*tokens, 67], [(0, 7, 60, 20), (4, 7, 64, 20)])


@decode_events.property("an end without a beginning means nothing", "没有开始的结束不起作用", ONCE)
def decode_stray_end(answer, case):
    tokens = [NOTE_OFF + 50, LOUD, 60, shift(4), NOTE_OFF + 61, NOTE_OFF + 60, shift(2), NOTE_OFF + 60]
    expect_notes(answer, tokens, [(0, 4, 60, 20)])


@decode_events.property("a pitch that begins again ends the note before", "音高再次开始，前一个音符就结束", ONCE)
def decode_struck_again(answer, case):
    tokens = [LOUD, 60, shift(4), VELOCITY + 9, 60, shift(2), NOTE_OFF + 60]
    mistakes = {
        ("the note before was lost when its pitch began again", "音高再次开始时，前一个音符丢了"): [(4, 6, 60, 9)],
        ("the second beginning was passed over", "第二次开始被忽略了"): [(0, 6, 60, 20)],
        ("the note before goes on to the end", "前一个音符一直响到了最后"): [(0, 6, 60, 20), (4, 6, 60, 9)],
    }
    expect_notes(answer, tokens, [(0, 4, 60, 20), (4, 6, 60, 9)], mistakes)
    expect_notes(answer, [LOUD, 60, VELOCITY + 9, 60, shift(2), NOTE_OFF + 60], [(0, 2, 60, 9)])


@decode_events.property("velocity 16 before any is given", "给出力度之前，力度为 16", ONCE)
def decode_no_velocity(answer, case):
    tokens = [60, shift(4), NOTE_OFF + 60, LOUD, 62, shift(1), NOTE_OFF + 62]
    expect_notes(answer, tokens, [(0, 4, 60, 16), (4, 5, 62, 20)])


@decode_events.property("notes of no length are left out", "长度为零的音符略去", ONCE)
def decode_no_length(answer, case):
    tokens = [LOUD, 60, NOTE_OFF + 60, 62, shift(3), NOTE_OFF + 62, 64, NOTE_OFF + 64, shift(2)]
    kept = {("a note of no length was kept", "留下了长度为零的音符"): [(0, 0, 60, 20), (0, 3, 62, 20), (3, 3, 64, 20)]}
    expect_notes(answer, tokens, [(0, 3, 62, 20)], kept)


@decode_events.property("any tokens at all, by the same rules", "任意的词元，同样的规则", ONCE, weight=3)
def decode_anything(answer, case):
    for seed in range(8):
        draw = random.Random(seed)
        tokens = []
        for pitch in draw.choices([0, 60, 64, 127], k=60):
            other = VELOCITY + draw.randrange(32), shift(draw.choice([1, 40, 100]))
            tokens.append(draw.choice([pitch, pitch, NOTE_OFF + pitch, *other]))
        expect_notes(answer, tokens, played(tokens))


def played(tokens: list[int]) -> list[Note]:
    """The notes of any tokens, by all the rules."""
    notes, sounding, now, in_force = [], {}, 0, 16
    for token in [*tokens, *range(NOTE_OFF, TIME_SHIFT)]:
        if token >= VELOCITY:
            in_force = token - VELOCITY
        elif token >= TIME_SHIFT:
            now += token - TIME_SHIFT + 1
        else:
            if token % NOTE_OFF in sounding:
                start, velocity = sounding.pop(token % NOTE_OFF)
                notes.append((start, now, token % NOTE_OFF, velocity))
            if token < NOTE_OFF:
                sounding[token] = now, in_force
    return in_order(note for note in notes if note[0] < note[1])
