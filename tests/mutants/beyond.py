"""Wrong answers to the exercises of the chapter `beyond`."""

import contextlib
import itertools

import torch
from torch.nn import functional as F

from mutants import Mutants

MUTANTS = Mutants()

# --- pack_example ---------------------------------------------------------------------------------------------

EXERCISE = "pack_example"
ORDER = "source, separator, target and end, in this order"
TRUNCATED = "the source loses its beginning, nothing else is lost"
SEAMS = "each text is encoded by itself"
LOSS = "a loss that moves only with the target"
REFUSES = "refuses a target that does not fit"
EMPTY = "any of the texts may be empty"


def pack(source, target, tokenizer, separator, max_length, cut=lambda s, room: s[max(len(s) - room, 0) :], eos=True):
    """A right answer: pieces (source, separator, target with its end) that fit."""
    s, m, t = (tokenizer(text).input_ids for text in (source, separator, target))
    t = t + [tokenizer.eos_token_id] * eos
    room = max_length - len(m) - len(t)
    if room < 0:
        raise ValueError(f"no room at max_length = {max_length}")
    return cut(s, room), m, t


def tensors(ids, labels):
    return torch.tensor(ids, dtype=torch.long), torch.tensor(labels, dtype=torch.long)


@MUTANTS.add(EXERCISE, ORDER, "the end-of-text token is missing")
def pack_without_end(*given):
    s, m, t = pack(*given, eos=False)
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, ORDER, "the end-of-text token is not scored")
def pack_end_not_scored(*given):
    s, m, t = pack(*given)
    return tensors(s + m + t, [-100] * len(s + m) + t[:-1] + [-100])


@MUTANTS.add(EXERCISE, ORDER, "the separator is scored")
def pack_separator_scored(*given):
    s, m, t = pack(*given)
    return tensors(s + m + t, [-100] * len(s) + m + t)


@MUTANTS.add(EXERCISE, ORDER, "the source is scored too")
def pack_source_scored(*given):
    s, m, t = pack(*given)
    return tensors(s + m + t, s + m + t)


@MUTANTS.add(EXERCISE, LOSS, "not the mean over the target and the end")
@MUTANTS.add(EXERCISE, ORDER, "the labels are shifted by one")
def pack_shifted(*given):
    s, m, t = pack(*given)
    return tensors(s + m + t, [-100] * (len(s + m) - 1) + t + [-100])


@MUTANTS.add(EXERCISE, ORDER, "the separator is missing")
def pack_without_separator(source, target, tokenizer, separator, max_length):
    s, _m, t = pack(source, target, tokenizer, separator, max_length)
    return tensors(s + t, [-100] * len(s) + t)


@MUTANTS.add(EXERCISE, ORDER, "a token was put in front")
def pack_with_a_beginning(source, target, tokenizer, *rest):
    s, m, t = pack(source, target, tokenizer, *rest)
    s = [tokenizer.eos_token_id, *s]
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, ORDER, "0 where they should hold -100")
def pack_labels_of_zero(*given):
    s, m, t = pack(*given)
    return tensors(s + m + t, [0] * len(s + m) + t)


@MUTANTS.add(EXERCISE, ORDER, "the first token of the target is not scored")
def pack_first_not_scored(*given):
    s, m, t = pack(*given)
    return tensors(s + m + t, [-100] * (len(s + m) + 1) + t[1:])


@MUTANTS.add(EXERCISE, ORDER, "input_ids are")
def pack_target_first(source, target, *rest):
    s, m, t = pack(target, source, *rest)
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, ORDER, "it should be int64 (T,)")
def pack_as_a_batch(*given):
    s, m, t = pack(*given)
    return tensors([s + m + t], [[-100] * len(s + m) + t])


@MUTANTS.add(EXERCISE, ORDER, "float32 of shape")
def pack_as_floats(*given):
    s, m, t = pack(*given)
    return torch.tensor(s + m + t).float(), torch.tensor([-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, ORDER, "one tensor came back")
def pack_ids_alone(*given):
    s, m, t = pack(*given)
    return torch.tensor(s + m + t)


@MUTANTS.add(EXERCISE, TRUNCATED, "the end of the source was dropped", spares=ORDER)
def pack_drops_the_end_of_the_source(*given):
    s, m, t = pack(*given, cut=lambda s, room: s[:room])
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, TRUNCATED, "are allowed", spares=ORDER)
def pack_never_truncates(*given):
    s, m, t = pack(*given, cut=lambda s, room: s)
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, TRUNCATED, "are allowed", spares=ORDER)
def pack_minus_zero(*given):
    s, m, t = pack(*given, cut=lambda s, room: s[-room:])
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, TRUNCATED, "the target was cut off", spares=ORDER)
def pack_truncates_the_whole(source, target, tokenizer, separator, max_length):
    s, m, t = pack(source, target, tokenizer, separator, 10**6)
    if len(m + t) > max_length:
        raise ValueError(f"no room at max_length = {max_length}")
    return tensors((s + m + t)[:max_length], ([-100] * len(s + m) + t)[:max_length])


@MUTANTS.add(EXERCISE, TRUNCATED, "the separator was cut off", spares=ORDER)
def pack_cuts_the_separator(source, target, tokenizer, separator, max_length):
    s, m, t = pack(source, target, tokenizer, separator, 10**6)
    if len(m + t) > max_length:
        raise ValueError(f"no room at max_length = {max_length}")
    head = (s + m)[: max_length - len(t)]
    return tensors(head + t, [-100] * len(head) + t)


@MUTANTS.add(EXERCISE, TRUNCATED, "input_ids are", spares=ORDER)
def pack_forgets_the_end_when_it_counts(source, target, tokenizer, separator, max_length):
    room = max_length - len(tokenizer(separator + target).input_ids)
    s, m, t = pack(source, target, tokenizer, separator, 10**6)
    if room < 1:
        raise ValueError(f"no room at max_length = {max_length}")
    s = s[max(len(s) - room + 2, 0) :]
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, SEAMS, "a token straddles a seam", spares=ORDER)
def pack_joined(source, target, tokenizer, separator, max_length):
    pack(source, target, tokenizer, separator, max_length)
    ids = [*tokenizer(source + separator + target).input_ids, tokenizer.eos_token_id][-max_length:]
    n = len(tokenizer(target).input_ids) + 1
    return tensors(ids, [-100] * (len(ids) - n) + ids[-n:])


@MUTANTS.add(EXERCISE, REFUSES, "was accepted", spares=TRUNCATED)
def pack_accepts_everything(source, target, tokenizer, separator, max_length):
    s, m, t = pack(source, target, tokenizer, separator, 10**6)
    s = s[max(len(s) - (max_length - len(m + t)), 0) :]
    ids, labels = (s + m + t)[-max_length:], ([-100] * len(s + m) + t)[-max_length:]
    return tensors(ids, labels)


@MUTANTS.add(EXERCISE, REFUSES, "is no sentence that names 10", spares=TRUNCATED)
def pack_says_nothing(*given):
    try:
        s, m, t = pack(*given)
    except ValueError:
        raise ValueError("too long") from None
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, REFUSES, "raised AssertionError", spares=TRUNCATED)
def pack_asserts(*given):
    try:
        s, m, t = pack(*given)
    except ValueError:
        raise AssertionError(f"no room at {given[-1]}") from None
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, REFUSES, "ValueError", spares=ORDER)
def pack_refuses_what_just_fits(source, target, tokenizer, separator, max_length):
    s, m, t = pack(source, target, tokenizer, separator, max_length)
    if len(m + t) == max_length:
        raise ValueError(f"no room at max_length = {max_length}")
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.add(EXERCISE, EMPTY, "expected 2 tensors", spares=TRUNCATED)
def pack_skips_empty_texts(source, target, *rest):
    s, m, t = pack(source, target, *rest)
    return tensors(s + m + t, [-100] * len(s + m) + t) if source and target else None


@MUTANTS.add(EXERCISE, EMPTY, "int64", spares=ORDER)
def pack_empty_as_floats(*given):
    s, m, t = pack(*given)
    if not s:
        return torch.tensor([*m, *t], dtype=torch.float), torch.tensor([-100] * len(m) + t)
    return tensors(s + m + t, [-100] * len(s + m) + t)


@MUTANTS.worthless(EXERCISE)
def pack_zeros(source, target, tokenizer, separator, max_length):
    return torch.zeros(max_length, dtype=torch.long), torch.zeros(max_length, dtype=torch.long)


@MUTANTS.worthless(EXERCISE)
def pack_the_example(*given):
    return torch.tensor([2, 3, 6, 4, 5, 0]), torch.tensor([-100, -100, -100, 4, 5, 0])


@MUTANTS.worthless(EXERCISE)
def pack_refuses_everything(*given):
    raise ValueError(f"no room at max_length = {given[-1]}")


@MUTANTS.worthless(EXERCISE)
def pack_characters(source, target, tokenizer, separator, max_length):
    ids = [ord(c) for c in source + separator + target][:max_length]
    return tensors(ids, ids)


# --- logit_lens -----------------------------------------------------------------------------------------------

EXERCISE = "logit_lens"
LAYERS = "each layer is read as if it were the last"
LAST = "the last layer gives the model's own logits"
DIVERGENCE = "the divergence of each layer from what the model says"
FINITE = "no NaN where a token is all but impossible"
BATCH = "leading dimensions are a batch"
MODEL = "leaves the model as it was"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves its inputs untouched"
GRADIENTS = "gradients reach every input"


def lens(model, states, early=1, late=0):
    """Logits with ln_f applied that many times to the states before the last, and to the last."""
    rows = []
    for behind, state in zip(reversed(range(len(states))), states, strict=True):
        for _ in range(early if behind else late):
            state = model.transformer.ln_f(state)
        rows.append(model.lm_head(state))
    return torch.stack(rows)


def from_last(logits):
    log_q = logits.log_softmax(-1)
    return (log_q[-1].exp() * (log_q[-1] - log_q)).sum(-1)


def both(logits):
    return logits, from_last(logits)


@MUTANTS.add(EXERCISE, LAST, "which has been through it already", spares=LAYERS)
def lens_norm_twice(model, states):
    return both(lens(model, states, late=1))


@MUTANTS.add(EXERCISE, LAYERS, "ln_f is missing", spares=LAST)
def lens_without_norm(model, states):
    return both(lens(model, states, early=0))


@MUTANTS.add(EXERCISE, DIVERGENCE, "ln_f was applied to the last state too", spares=LAYERS)
def lens_norm_twice_for_the_divergence(model, states):
    return lens(model, states), from_last(lens(model, states, late=1))


@MUTANTS.add(EXERCISE, DIVERGENCE, "ln_f is missing", spares=LAYERS)
def lens_without_norm_for_the_divergence(model, states):
    return lens(model, states), from_last(lens(model, states, early=0))


@MUTANTS.add(EXERCISE, LAYERS, "ln_f was applied twice", spares=LAST)
def lens_norm_twice_before(model, states):
    return both(lens(model, states, early=2))


@MUTANTS.add(EXERCISE, LAYERS, "reverse order")
def lens_reversed(model, states):
    return tuple(part.flip(0) for part in both(lens(model, states)))


@MUTANTS.add(EXERCISE, LAYERS, "these are log-probabilities")
def lens_log_probabilities(model, states):
    logits = lens(model, states)
    return logits.log_softmax(-1), from_last(logits)


@MUTANTS.add(EXERCISE, LAYERS, "these are probabilities")
def lens_probabilities(model, states):
    logits = lens(model, states)
    return logits.softmax(-1), from_last(logits)


@MUTANTS.add(EXERCISE, LAYERS, "off by", spares=LAST)
def lens_uses_the_embeddings_of_tokens(model, states):
    # right for tied models alone
    logits = torch.stack([model.transformer.ln_f(s) @ model.transformer.wte.weight.T for s in states[:-1]])
    return both(torch.cat([logits, model.lm_head(states[-1])[None]]))


@MUTANTS.add(EXERCISE, LAYERS, "off by", spares=LAST)
def lens_default_eps(model, states):
    ln = model.transformer.ln_f
    rows = [F.layer_norm(s, s.shape[-1:], ln.weight, ln.bias) for s in states[:-1]]
    return both(torch.stack([model.lm_head(s) for s in (*rows, states[-1])]))


@MUTANTS.add(EXERCISE, LAYERS, "logits has shape")
def lens_leaves_out_the_embeddings(model, states):
    return both(lens(model, states[1:]))


@MUTANTS.add(EXERCISE, LAYERS, "logits has shape")
def lens_last_position(model, states):
    logits = lens(model, states)[..., -1, :]
    return logits, from_last(logits)


@MUTANTS.add(EXERCISE, DIVERGENCE, "the other way round", spares=LAYERS)
def lens_reversed_divergence(model, states):
    logits = lens(model, states)
    log_q = logits.log_softmax(-1)
    return logits, (log_q.exp() * (log_q - log_q[-1])).sum(-1)


@MUTANTS.add(EXERCISE, DIVERGENCE, "in bits", spares=LAYERS)
def lens_bits(model, states):
    logits = lens(model, states)
    return logits, from_last(logits) / torch.tensor(2.0).log()


@MUTANTS.add(EXERCISE, DIVERGENCE, "negative", spares=LAYERS)
def lens_negative(model, states):
    logits = lens(model, states)
    return logits, -from_last(logits)


@MUTANTS.add(EXERCISE, DIVERGENCE, "the cross-entropy", spares=LAYERS)
def lens_cross_entropy(model, states):
    logits = lens(model, states)
    log_q = logits.log_softmax(-1)
    return logits, -(log_q[-1].exp() * log_q).sum(-1)


@MUTANTS.add(EXERCISE, DIVERGENCE, "compared with the next one", spares=LAYERS)
def lens_from_the_next(model, states):
    logits = lens(model, states)
    log_q = logits.log_softmax(-1)
    log_p = torch.cat([log_q[1:], log_q[-1:]])
    return logits, (log_p.exp() * (log_p - log_q)).sum(-1)


@MUTANTS.add(EXERCISE, DIVERGENCE, "the mean over the vocabulary", spares=LAYERS)
def lens_mean_divergence(model, states):
    logits = lens(model, states)
    log_q = logits.log_softmax(-1)
    return logits, F.kl_div(log_q, log_q[-1].expand_as(log_q).exp(), reduction="none").mean(-1)


@MUTANTS.add(EXERCISE, DIVERGENCE, "one tensor came back")
def lens_logits_alone(model, states):
    return lens(model, states)


@MUTANTS.add(EXERCISE, DIVERGENCE, "divergence has shape")
def lens_summed_divergence(model, states):
    logits = lens(model, states)
    return logits, from_last(logits).sum(-1)


@MUTANTS.add(EXERCISE, FINITE, "use log_softmax", spares=DIVERGENCE)
def lens_logarithm_of_softmax(model, states):
    logits = lens(model, states)
    q = logits.softmax(-1)
    return logits, (q[-1] * (q[-1] / q).log()).sum(-1)


@MUTANTS.add(EXERCISE, FINITE, "a small number added", spares=DIVERGENCE)
def lens_epsilon(model, states):
    logits = lens(model, states)
    q = logits.softmax(-1) + 1e-12
    return logits, (q[-1] * (q[-1] / q).log()).sum(-1)


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end", spares=LAYERS)
def lens_two_dimensions_only(model, states):
    logits = lens(model, states)
    (_, b, t, _) = logits.shape
    return logits, from_last(logits).reshape(-1, b, t)


@MUTANTS.add(EXERCISE, BATCH, "texts were mixed up", spares=LAYERS)
def lens_softmax_over_a_fixed_axis(model, states):
    logits = lens(model, states)
    log_q = logits.log_softmax(3 if logits.dim() > 3 else -1)
    return logits, (log_q[-1].exp() * (log_q[-1] - log_q)).sum(-1)


@MUTANTS.add(EXERCISE, MODEL, "training mode", spares=LAYERS)
def lens_switches_to_training(model, states):
    out = both(lens(model, states))
    model.train()
    return out


@MUTANTS.add(EXERCISE, MODEL, "frozen", spares=LAYERS)
def lens_freezes(model, states):
    model.requires_grad_(False)
    return both(lens(model, states))


@MUTANTS.add(EXERCISE, DTYPE, "came out")
def lens_in_float32(model, states):
    return tuple(part.float() for part in both(lens(model, states)))


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed")
def lens_in_place(model, states):
    for state in states[:-1]:
        state.copy_(model.transformer.ln_f(state).detach())
    return both(lens(model, states, early=0))


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient", spares=LAYERS)
def lens_without_gradient(model, states):
    with torch.no_grad():
        return both(lens(model, states))


@MUTANTS.worthless(EXERCISE)
def lens_zeros(model, states):
    shape = len(states), *states[0].shape[:-1]
    return states[0].new_zeros(*shape, model.config.vocab_size), states[0].new_zeros(shape)


@MUTANTS.worthless(EXERCISE)
def lens_nan(model, states):
    return tuple(part / 0 for part in lens_zeros(model, states))


@MUTANTS.worthless(EXERCISE)
def lens_empties_what_it_is_given(model, states):
    with torch.no_grad():
        for tensor in (*model.parameters(), *states):
            tensor.zero_()
    return lens_zeros(model, states)


@MUTANTS.worthless(EXERCISE)
def lens_of_the_last_alone(model, states):
    logits = model.lm_head(states[-1]).expand(len(states), *states[-1].shape[:-1], -1)
    return logits, 0 * logits.sum(-1)


# --- residual_terms -------------------------------------------------------------------------------------------

EXERCISE = "residual_terms"
SUM = "the terms add up to the last residual"
HEADS = "each head's term is its own, and nothing constant is in it"
MLPS = "each MLP's term leaves out its last bias"
EMBEDDINGS = "tokens and positions are two terms"
BIAS = "all constants are in one term"
AS_THEY_WERE = "leaves model and text as they were"


@torch.no_grad()
def terms(model, ids, keep=lambda: None):
    """The terms of a right answer, and the parts they were made of: (b_v W_o, b_o, b_mlp) of each layer."""
    body, config = model.transformer, model.config
    seen, handles = {}, []
    for number, block in enumerate(body.h):
        for part in ("attn", "mlp"):
            projection = getattr(block, part).c_proj
            handles.append(
                projection.register_forward_pre_hook(lambda m, a, key=(number, part): seen.update({key: a[0]}))
            )
    try:
        model(ids)
    finally:
        for handle in handles:
            handle.remove()
    token = body.wte(ids)
    out = {"token": token, "position": body.wpe(torch.arange(ids.shape[1], device=ids.device)).expand_as(token)}
    constants = []
    for number, block in enumerate(body.h):
        w_o, n = block.attn.c_proj.weight, config.n_head
        b_v = block.attn.c_attn.bias.chunk(3)[2]
        z = (seen[number, "attn"] - b_v).chunk(n, -1)
        for head, (part, rows) in enumerate(zip(z, w_o.chunk(n), strict=True)):
            out[f"head {number}.{head}"] = part @ rows
        out[f"mlp {number}"] = seen[number, "mlp"] @ block.mlp.c_proj.weight
        constants.append((b_v @ w_o, block.attn.c_proj.bias, block.mlp.c_proj.bias))
    out["bias"] = sum(map(sum, constants)).expand_as(token)
    return out, constants


def layer_and_head(name):
    return map(int, name.split()[1].split("."))


@MUTANTS.add(EXERCISE, SUM, "the constants are missing from the sum", spares=HEADS)
def terms_bias_lost(model, ids):
    out, _ = terms(model, ids)
    return out | {"bias": torch.zeros_like(out["bias"])}


@MUTANTS.add(EXERCISE, BIAS, "the bias of the values is missing", spares=HEADS)
def terms_value_bias_lost(model, ids):
    out, constants = terms(model, ids)
    return out | {"bias": out["bias"] - sum(inner for inner, _, _ in constants)}


@MUTANTS.add(EXERCISE, SUM, "the bias of the values is missing", spares=HEADS)
def terms_value_bias_lost_from_the_sum(model, ids):
    return terms_value_bias_lost(model, ids)


@MUTANTS.add(EXERCISE, BIAS, "the biases of attn.c_proj are missing", spares=HEADS)
def terms_attention_bias_lost(model, ids):
    out, constants = terms(model, ids)
    return out | {"bias": out["bias"] - sum(outer for _, outer, _ in constants)}


@MUTANTS.add(EXERCISE, BIAS, "the biases of mlp.c_proj are missing", spares=HEADS)
def terms_mlp_bias_lost(model, ids):
    out, constants = terms(model, ids)
    return out | {"bias": out["bias"] - sum(mlp for _, _, mlp in constants)}


@MUTANTS.add(EXERCISE, BIAS, "go through the output projection", spares=HEADS)
def terms_value_bias_not_projected(model, ids):
    out, constants = terms(model, ids)
    raw = sum(block.attn.c_attn.bias.detach().chunk(3)[2] for block in model.transformer.h)
    return out | {"bias": out["bias"] - sum(inner for inner, _, _ in constants) + raw}


@MUTANTS.add(EXERCISE, BIAS, "the last layer alone", spares=HEADS)
def terms_bias_of_the_last_layer(model, ids):
    out, constants = terms(model, ids)
    return out | {"bias": sum(constants[-1]).expand_as(out["bias"])}


@MUTANTS.add(EXERCISE, HEADS, "the bias of the values is still in it", spares=SUM)
def terms_value_bias_in_the_heads(model, ids):
    out, _constants = terms(model, ids)
    for name in [n for n in out if n.startswith("head")]:
        layer, head = layer_and_head(name)
        attn, n = model.transformer.h[layer].attn, model.config.n_head
        extra = attn.c_attn.bias.detach().chunk(3)[2].chunk(n)[head] @ attn.c_proj.weight.detach().chunk(n)[head]
        out[name] = out[name] + extra
        out["bias"] = out["bias"] - extra
    return out


@MUTANTS.add(EXERCISE, HEADS, "c_proj is in it")
def terms_bias_in_every_head(model, ids):
    out = terms_value_bias_in_the_heads(model, ids)
    for name in [n for n in out if n.startswith("head")]:
        layer, _ = layer_and_head(name)
        out[name] = out[name] + model.transformer.h[layer].attn.c_proj.bias.detach()
    return out


@MUTANTS.add(EXERCISE, HEADS, "shared out among the heads", spares=SUM)
def terms_bias_shared_out(model, ids):
    out = terms_value_bias_in_the_heads(model, ids)
    for name in [n for n in out if n.startswith("head")]:
        layer, _ = layer_and_head(name)
        share = model.transformer.h[layer].attn.c_proj.bias.detach() / model.config.n_head
        out[name], out["bias"] = out[name] + share, out["bias"] - share
    return out


@MUTANTS.add(EXERCISE, HEADS, "in reverse order", spares=SUM)
def terms_heads_reversed(model, ids):
    out, _ = terms(model, ids)
    n = model.config.n_head
    swapped = {}
    for name in [n for n in out if n.startswith("head")]:
        layer, head = layer_and_head(name)
        swapped[name] = out[f"head {layer}.{n - 1 - head}"]
    return out | swapped


@MUTANTS.add(EXERCISE, HEADS, "keep its heads apart")
def terms_whole_attention(model, ids):
    out, constants = terms(model, ids)
    n = model.config.n_head
    for layer, (inner, outer, _) in enumerate(constants):
        whole = sum(out[f"head {layer}.{head}"] for head in range(n)) + inner + outer
        out |= {f"head {layer}.{head}": whole for head in range(n)}
    return out


@MUTANTS.add(EXERCISE, HEADS, "stores it as (in, out)")
def terms_projection_transposed(model, ids):
    out, _ = terms(model, ids)
    n = model.config.n_head
    for layer, block in enumerate(model.transformer.h):
        w = block.attn.c_proj.weight.detach()
        mixed = sum(out[f"head {layer}.{head}"] for head in range(n)) @ torch.linalg.inv(w)  # z without its bias
        for head, part in enumerate(mixed.chunk(n, -1)):
            out[f"head {layer}.{head}"] = part @ w.T.chunk(n)[head]
    return out


@MUTANTS.add(EXERCISE, MLPS, "the bias of its c_proj is still in it", spares=SUM)
def terms_mlp_with_its_bias(model, ids):
    out, constants = terms(model, ids)
    for layer, (_, _, b) in enumerate(constants):
        out[f"mlp {layer}"], out["bias"] = out[f"mlp {layer}"] + b, out["bias"] - b
    return out


@MUTANTS.add(EXERCISE, EMBEDDINGS, "the positions are in it", spares=HEADS)
def terms_positions_twice(model, ids):
    out, _ = terms(model, ids)
    return out | {"token": out["token"] + out["position"]}


@MUTANTS.add(EXERCISE, EMBEDDINGS, "the first position for every token", spares=HEADS)
def terms_first_position(model, ids):
    out, _ = terms(model, ids)
    return out | {"position": out["position"][:, :1].expand_as(out["token"])}


@MUTANTS.add(EXERCISE, EMBEDDINGS, '"position" has shape')
def terms_position_without_batch(model, ids):
    out, _ = terms(model, ids)
    return out | {"position": out["position"][0]}


@MUTANTS.add(EXERCISE, SUM, "expected a dict with the keys")
def terms_without_positions(model, ids):
    out, _ = terms(model, ids)
    out["token"] = out["token"] + out.pop("position")
    return out


@MUTANTS.add(EXERCISE, SUM, "the sum is the stream before it")
def terms_after_the_norm(model, ids):
    out, _ = terms(model, ids)
    stream = sum(out.values())
    normed = model.transformer.ln_f(stream).detach()
    return out | {"bias": out["bias"] + normed - stream}


@MUTANTS.add(EXERCISE, SUM, "expected a dict")
def terms_as_a_list(model, ids):
    return list(terms(model, ids)[0].values())


@MUTANTS.add(EXERCISE, DTYPE, "cpu float32", spares=HEADS)
def terms_in_float32(model, ids):
    return {name: term.float() for name, term in terms(model, ids)[0].items()}


@MUTANTS.add(EXERCISE, AS_THEY_WERE, "hooks were left in the model", spares=SUM)
def terms_hooks_left(model, ids):
    model.transformer.ln_f.register_forward_pre_hook(lambda m, a: None)
    return terms(model, ids)[0]


@MUTANTS.add(EXERCISE, AS_THEY_WERE, "also after an exception", spares=SUM)
def terms_hooks_left_by_an_exception(model, ids):
    handle = model.transformer.ln_f.register_forward_pre_hook(lambda m, a: None)
    out, _ = terms(model, ids)
    handle.remove()
    return out


@MUTANTS.add(EXERCISE, AS_THEY_WERE, "training mode", spares=SUM)
def terms_switches_to_training(model, ids):
    out, _ = terms(model, ids)
    model.train()
    return out


@MUTANTS.add(EXERCISE, AS_THEY_WERE, "ids was changed", spares=SUM)
def terms_clears_its_input(model, ids):
    out, _ = terms(model, ids)
    ids.zero_()
    return out


@MUTANTS.add(EXERCISE, AS_THEY_WERE, "weights of the model were changed", spares=SUM)
def terms_clears_a_bias(model, ids):
    out, _ = terms(model, ids)
    with torch.no_grad():
        model.transformer.h[0].attn.c_proj.bias.zero_()
    return out


def zeros_by_name(model, ids):
    names = ["token", "position", "bias"]
    for layer in range(model.config.n_layer):
        names += [f"mlp {layer}", *(f"head {layer}.{head}" for head in range(model.config.n_head))]
    return {name: torch.zeros(*ids.shape, model.config.n_embd, dtype=model.dtype) for name in names}


@MUTANTS.worthless(EXERCISE)
def terms_zeros(model, ids):
    return zeros_by_name(model, ids)


@MUTANTS.worthless(EXERCISE)
def terms_nan(model, ids):
    return {name: value / 0 for name, value in zeros_by_name(model, ids).items()}


@MUTANTS.worthless(EXERCISE)
def terms_empties_what_it_is_given(model, ids):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    ids.zero_()
    return zeros_by_name(model, ids)


def sum_of_everything(model, ids):
    inside = []
    handle = model.transformer.ln_f.register_forward_pre_hook(lambda m, args: inside.append(args[0].detach()))
    model(ids)
    handle.remove()
    return inside[0]


@MUTANTS.worthless(EXERCISE)
def terms_all_in_one(model, ids):
    return zeros_by_name(model, ids) | {"bias": sum_of_everything(model, ids)}


@MUTANTS.worthless(EXERCISE)
def terms_equal_shares(model, ids):
    names = zeros_by_name(model, ids)
    return dict.fromkeys(names, sum_of_everything(model, ids) / len(names))


# --- ablate_head ----------------------------------------------------------------------------------------------

EXERCISE = "ablate_head"
ZERO = "zero: the head has nothing to say"
MEAN = "mean: the head says its mean over all tokens of the call"
ANEW = "the mean is that of the call, not of an earlier one"
RESTORED = "afterwards the model is as it was"
RAISED = "also when the block raises"
NESTED = "blocks may be nested"
FLOW = "gradients flow as they do without it"
NOT_THERE = "refuses what is not there"


def check_arguments(model, layer, head, how):
    if (
        how not in ("zero", "mean")
        or layer not in range(model.config.n_layer)
        or head not in range(model.config.n_head)
    ):
        raise ValueError(f"no {how}, layer {layer} or head {head}")


def change(how, z, heads, dims=(0, 1)):
    z = z.clone()
    z[:, :, heads] = 0 if how == "zero" else z[:, :, heads].mean(dims, keepdim=True)
    return z


def ablation(
    check=check_arguments,
    change=change,
    place=lambda layer, head: (layer, head),
    after=False,
    tidy=True,
    always=True,
    swallow=False,
):
    """A right answer; each argument spoils something."""

    @contextlib.contextmanager
    def answer(model, layer, head, how):
        check(model, layer, head, how)
        n_head = model.config.n_head
        layer, head = place(layer, head)
        block = model.transformer.h[layer % model.config.n_layer].attn
        head = head % n_head if isinstance(head, int) else head

        def replace(z):
            return change(how, z.unflatten(-1, (n_head, -1)), head).flatten(-2)

        if after:
            handle = block.c_proj.register_forward_hook(lambda module, args, out: replace(out))
        else:
            handle = block.c_proj.register_forward_pre_hook(lambda module, args: (replace(args[0]),))
        try:
            yield
        except BaseException:
            if always:
                handle.remove()
            if not swallow:
                raise
        if tidy:
            handle.remove()

    return answer


def add(caught_by, says, spares=None, **spoils):
    """Register `ablation(**spoils)` under the name of a function that describes it."""

    def register(function):
        answer = ablation(**spoils)
        answer.__name__ = function.__name__
        return MUTANTS.add(EXERCISE, caught_by, says, spares)(answer)

    return register


@add(ZERO, "where heads are mixed already", after=True)
def ablate_after_c_proj(): ...


@add(ZERO, "another head was ablated", place=lambda layer, head: (layer, head + 1))
def ablate_the_next_head(): ...


@add(ZERO, "another layer was ablated", place=lambda layer, head: (layer + 1, head))
def ablate_the_next_layer(): ...


@add(ZERO, "all heads of the layer", place=lambda layer, head: (layer, slice(None)))
def ablate_all_heads(): ...


def keep_one(how, z, head):
    return change(how, z, [other for other in range(z.shape[2]) if other != head])


@add(ZERO, "this one was kept", change=keep_one)
def ablate_the_others(): ...


@add(ZERO, "set to its mean, not to 0", spares=MEAN, change=lambda how, z, h: change("mean", z, h))
def ablate_always_mean(): ...


@add(MEAN, "set to 0, not to its mean", spares=ZERO, change=lambda how, z, h: change("zero", z, h))
def ablate_always_zero(): ...


@add(MEAN, "each text by itself", spares=ZERO, change=lambda how, z, h: change(how, z, h, (1,)))
def ablate_mean_of_each_text(): ...


@add(MEAN, "at each position", spares=ZERO, change=lambda how, z, h: change(how, z, h, (0,)))
def ablate_mean_at_each_position(): ...


@add(MEAN, "it should have d_k", spares=ZERO, change=lambda how, z, h: change(how, z, h, (0, 1, 2)))
def ablate_mean_of_everything(): ...


@add(MEAN, "take it over texts and positions", spares=ZERO, change=lambda how, z, h: change(how, z, h, (2,)))
def ablate_mean_of_features(): ...


@MUTANTS.add(EXERCISE, ZERO, "nothing changes in the model's logits")
@contextlib.contextmanager
def ablate_nothing(model, layer, head, how):
    check_arguments(model, layer, head, how)
    handle = model.transformer.h[layer].attn.c_proj.register_forward_pre_hook(lambda module, args: None)
    yield
    handle.remove()


@MUTANTS.add(EXERCISE, ANEW, "the mean of an earlier one", spares=MEAN)
@contextlib.contextmanager
def ablate_remembers_the_mean(model, layer, head, how):
    check_arguments(model, layer, head, how)
    n_head, known = model.config.n_head, []

    def hook(module, args):
        z = args[0].unflatten(-1, (n_head, -1)).clone()
        if not known:
            known.append(z[:, :, head].mean((0, 1)) if how == "mean" else 0)
        z[:, :, head] = known[0]
        return (z.flatten(-2),)

    handle = model.transformer.h[layer].attn.c_proj.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@add(RESTORED, "hooks were left", spares=ZERO, tidy=False)
def ablate_not_restored(): ...


@add(RAISED, "hooks were left", spares=RESTORED, always=False)
def ablate_not_restored_after_an_exception(): ...


@add(RAISED, "was swallowed", spares=RESTORED, swallow=True)
def ablate_swallows(): ...


@MUTANTS.add(EXERCISE, RESTORED, "weights of the model were changed", spares=ZERO)
@contextlib.contextmanager
def ablate_clears_rows_for_good(model, layer, head, how):
    check_arguments(model, layer, head, how)
    d_k = model.config.n_embd // model.config.n_head
    with torch.no_grad():
        model.transformer.h[layer].attn.c_proj.weight[d_k * head : d_k * (head + 1)] = 0
    yield


@MUTANTS.add(EXERCISE, MEAN, "set to 0, not to its mean", spares=ZERO)
@contextlib.contextmanager
def ablate_clears_rows(model, layer, head, how):
    check_arguments(model, layer, head, how)
    d_k = model.config.n_embd // model.config.n_head
    weight = model.transformer.h[layer].attn.c_proj.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[d_k * head : d_k * (head + 1)] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(kept)


@MUTANTS.add(EXERCISE, NESTED, "undone the outer one too", spares=RESTORED)
@contextlib.contextmanager
def ablate_removes_all_hooks(model, layer, head, how):
    check_arguments(model, layer, head, how)
    n_head = model.config.n_head
    projection = model.transformer.h[layer].attn.c_proj
    handles = HANDLES.setdefault("open", [])
    handles.append(
        projection.register_forward_pre_hook(
            lambda m, a: (change(how, a[0].unflatten(-1, (n_head, -1)), head).flatten(-2),)
        )
    )
    try:
        yield
    finally:
        while handles:
            handles.pop().remove()


HANDLES = {}


@MUTANTS.add(EXERCISE, NESTED, "only the inner block is in force", spares=RESTORED)
@contextlib.contextmanager
def ablate_one_at_a_time(model, layer, head, how):
    # the newest block alone is in force
    check_arguments(model, layer, head, how)
    n_head, mine = model.config.n_head, object()
    projection, stack = model.transformer.h[layer].attn.c_proj, HANDLES.setdefault("stack", [])
    stack.append(mine)

    def hook(module, args):
        z = args[0].unflatten(-1, (n_head, -1))
        return (change(how, z, head).flatten(-2) if stack[-1] is mine else args[0],)

    handle = projection.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        stack.remove(mine)
        handle.remove()


def change_without_gradient(how, z, head):
    with torch.no_grad():
        mean = z[:, :, head].mean((0, 1))
    z = z.clone()
    z[:, :, head] = 0 if how == "zero" else mean
    return z


@add(FLOW, "the gradient of", spares=MEAN, change=change_without_gradient)
def ablate_mean_detached(): ...


@add(FLOW, "the gradient of", spares=MEAN, change=lambda how, z, h: change(how, z, h).detach())
def ablate_detached(): ...


@add(NOT_THERE, "raised IndexError", spares=ZERO, check=lambda *given: [][len(given)] if bad(*given) else None)
def ablate_raises_another_error(): ...


def bad(model, layer, head, how):
    try:
        check_arguments(model, layer, head, how)
    except ValueError:
        return True
    return False


def check_but_negative(model, layer, head, how):
    if how not in ("zero", "mean") or layer >= model.config.n_layer or head >= model.config.n_head:
        raise ValueError(f"no {how}, layer {layer} or head {head}")


@add(NOT_THERE, "(-1, 0, 'zero') of 3 layers and 4 heads was accepted", spares=ZERO, check=check_but_negative)
def ablate_counts_from_the_end(): ...


def check_but_how(model, layer, head, how):
    check_arguments(model, layer, head, "zero")


@add(NOT_THERE, "'median') of 3 layers and 4 heads was accepted", spares=ZERO, check=check_but_how)
def ablate_takes_any_way(): ...


@MUTANTS.add(EXERCISE, DTYPE, "raised")
@contextlib.contextmanager
def ablate_through_numpy(model, layer, head, how):
    # numpy knows no bfloat16
    check_arguments(model, layer, head, how)
    n_head = model.config.n_head

    def hook(module, args):
        z = torch.from_numpy(args[0].numpy()).unflatten(-1, (n_head, -1))
        return (change(how, z, head).flatten(-2),)

    handle = model.transformer.h[layer].attn.c_proj.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@MUTANTS.worthless(EXERCISE)
@contextlib.contextmanager
def ablate_blank(model, layer, head, how):
    yield


@MUTANTS.worthless(EXERCISE)
def ablate_refuses_everything(model, layer, head, how):
    raise ValueError("there is no such head")


@MUTANTS.worthless(EXERCISE)
@contextlib.contextmanager
def ablate_nan(model, layer, head, how):
    handle = model.register_forward_pre_hook(lambda module, args: None)
    other = model.transformer.h[layer].attn.c_proj.register_forward_hook(lambda module, args, out: out / 0)
    yield
    handle.remove()
    other.remove()
    model.train()


@contextlib.contextmanager
def changed_output(model, layer, head, how, change):
    check_arguments(model, layer, head, how)
    handle = model.lm_head.register_forward_hook(lambda module, args, out: change(out))
    try:
        yield
    finally:
        handle.remove()


@MUTANTS.worthless(EXERCISE)
def ablate_everything(*given):
    return changed_output(*given, torch.zeros_like)


@MUTANTS.worthless(EXERCISE)
def ablate_by_noise(*given):
    return changed_output(*given, lambda out: out + torch.randn_like(out))


# --- encode_events --------------------------------------------------------------------------------------------

EXERCISE = "encode_events"
TUNE = "a tune: velocities, beginnings, waits and ends"
CHORDS = "several notes at once"
EVENT_ORDER = "at one time: ends, then soft to loud, then low to high"
WAITS = "waits of more than 100 steps are split"
VELOCITY = "a velocity is said only when it changes"
ANY_ORDER = "notes in any order, and left as they were"
NO_NOTES = "no notes, no tokens"


def encode(notes, order=lambda moment: moment, ends=True, loudness="changes", longest=100, wait=None, shift=255):
    """A right answer; each argument after the first spoils something."""
    moments = [(end, 0, 0, pitch) for _, end, pitch, _ in notes] if ends else []
    moments += [(start, 1, v, pitch) for start, _, pitch, v in notes]
    tokens, now, in_force = [], 0, None
    for time, begins, velocity, pitch in sorted(moments, key=order):
        left = wait(time, now) if wait else time - now
        while left > 0:
            tokens.append(shift + min(left, longest))
            left -= min(left, longest)
        now = time
        if begins and (loudness == "always" or (loudness == "changes" and velocity != in_force)):
            tokens.append(356 + velocity)
            in_force = velocity
        tokens.append(pitch if begins else 128 + pitch)
    return tokens


@MUTANTS.add(EXERCISE, TUNE, "the ends of the notes are missing")
def encode_without_ends(notes):
    return encode(notes, ends=False)


@MUTANTS.add(EXERCISE, TUNE, "the velocities are missing")
def encode_without_velocities(notes):
    return encode(notes, loudness="never")


@MUTANTS.add(EXERCISE, TUNE, "it comes only when the velocity changes")
@MUTANTS.add(EXERCISE, VELOCITY, "it comes only when the velocity changes")
def encode_every_velocity(notes):
    return encode(notes, loudness="always")


@MUTANTS.add(EXERCISE, VELOCITY, "velocity 0")
def encode_starts_with_velocity_0(notes):
    tokens = encode(notes)
    first = next((t for t in tokens if t >= 356), None)
    return [t for i, t in enumerate(tokens) if not (t == first == 356 and i == tokens.index(356))]


@MUTANTS.add(EXERCISE, TUNE, "not the time since the beginning")
def encode_absolute_times(notes):
    return encode(notes, wait=lambda time, now: time if time != now else 0)


@MUTANTS.add(EXERCISE, TUNE, "TIME_SHIFT + k - 1")
def encode_shift_off_by_one(notes):
    return encode(notes, shift=256)


@MUTANTS.add(EXERCISE, TUNE, "ends come first")
def encode_beginnings_first(notes):
    return encode(notes, order=lambda m: (m[0], -m[1], *m[2:]))


@MUTANTS.add(EXERCISE, TUNE, "the last event is missing")
def encode_forgets_the_last_end(notes):
    return encode(notes)[:-1]


@MUTANTS.add(EXERCISE, CHORDS, "it should be", spares=TUNE)
def encode_one_note_after_the_other(notes):
    tokens, now, in_force = [], 0, None
    for start, end, pitch, v in sorted(notes):
        while start > now:
            tokens.append(255 + min(start - now, 100))
            now += min(start - now, 100)
        tokens += [356 + v] * (v != in_force) + [pitch]
        in_force, left = v, end - start
        while left > 0:
            tokens.append(255 + min(left, 100))
            left -= min(left, 100)
        tokens.append(128 + pitch)
        now = end
    return tokens


@MUTANTS.add(EXERCISE, EVENT_ORDER, "here pitch alone decides", spares=TUNE)
def encode_by_pitch_alone(notes):
    return encode(notes, order=lambda m: (m[0], m[1], m[3]))


@MUTANTS.add(EXERCISE, EVENT_ORDER, "from loud to soft", spares=TUNE)
def encode_loud_first(notes):
    return encode(notes, order=lambda m: (m[0], m[1], -m[2], m[3]))


@MUTANTS.add(EXERCISE, EVENT_ORDER, "as the notes were given", spares=TUNE)
def encode_unsorted_at_one_time(notes):
    return encode(notes, order=lambda m: m[:2])


@MUTANTS.add(EXERCISE, WAITS, "was not split", spares=TUNE)
def encode_long_waits(notes):
    return encode(notes, longest=10**9)


@MUTANTS.add(EXERCISE, WAITS, "up to 100 steps, not 99")
def encode_99_at_most(notes):
    return encode(notes, longest=99)


@MUTANTS.add(EXERCISE, WAITS, "the rest of a wait comes first", spares=TUNE)
def encode_rest_first(notes):
    moments, now, tokens = encode(notes), [], []
    for token in moments:
        if 256 <= token < 356:
            now.append(token)
        else:
            tokens += [*reversed(now), token]
            now = []
    return tokens


@MUTANTS.add(EXERCISE, WAITS, "it should be", spares=TUNE)
def encode_cuts_long_waits(notes):
    return encode(notes, wait=lambda time, now: min(time - now, 100))


@MUTANTS.add(EXERCISE, ANY_ORDER, "the list of notes was changed", spares=TUNE)
def encode_sorts_in_place(notes):
    notes.sort()
    return encode(notes)


@MUTANTS.add(EXERCISE, ANY_ORDER, "in another order gave other tokens", spares=TUNE)
def encode_trusts_the_order(notes):
    in_order = all(one[0] <= two[0] for one, two in itertools.pairwise(notes))
    return encode(notes, order=(lambda moment: moment) if in_order else (lambda moment: 0))


@MUTANTS.add(EXERCISE, NO_NOTES, "token 0 of notes [] … is shift 1", spares=TUNE)
def encode_begins_with_a_shift_when_empty(notes):
    return encode(notes) or [256]


@MUTANTS.add(EXERCISE, NO_NOTES, "expected a list of integers, got NoneType", spares=TUNE)
def encode_nothing_for_nothing(notes):
    return encode(notes) or None


@MUTANTS.worthless(EXERCISE)
def encode_no_tokens(notes):
    return []


@MUTANTS.worthless(EXERCISE)
def encode_the_example(notes):
    return [376, 60, 64, 257, 188, 192]


@MUTANTS.worthless(EXERCISE)
def encode_the_numbers(notes):
    return [n for note in notes for n in note]


@MUTANTS.worthless(EXERCISE)
def encode_empties_the_list(notes):
    notes.clear()
    return []


# --- decode_events --------------------------------------------------------------------------------------------

EXERCISE = "decode_events"
BACK = "gives back the notes that were encoded"
UNFINISHED = "what never ends, ends with the last token"
STRAY_END = "an end without a beginning means nothing"
STRUCK_AGAIN = "a pitch that begins again ends the note before"
NO_VELOCITY = "velocity 16 before any is given"
NO_LENGTH = "notes of no length are left out"
ANYTHING = "any tokens at all, by the same rules"


def decode(
    tokens,
    shift=255,
    start_velocity=16,
    finish=True,
    stray=None,
    again="ends",
    least=1,
    key=lambda n: (n[0], n[2]),
    make=lambda start, end, pitch, velocity, now: (start, end, pitch, velocity),
):
    """A right answer; each argument after the first spoils something."""
    notes, sounding, now, in_force = [], {}, 0, start_velocity

    def end(pitch):
        start, velocity = sounding.pop(pitch)
        if now - start >= least:
            notes.append(make(start, now, pitch, velocity, in_force))

    for token in tokens:
        if token >= 356:
            in_force = token - 356
        elif token >= 256:
            now += token - shift
        elif token >= 128:
            if token - 128 in sounding:
                end(token - 128)
            elif stray:
                stray(notes, now, token - 128, in_force)
        elif token in sounding and again == "ignored":
            pass
        else:
            if token in sounding and again == "ends":
                end(token)
            sounding[token] = now, in_force
    for pitch in [*sounding] if finish else []:
        end(pitch)
    return sorted(notes, key=key)


@MUTANTS.add(EXERCISE, BACK, "lasts k steps, not k - 1")
def decode_shift_off_by_one(tokens):
    return decode(tokens, shift=256, least=0)


@MUTANTS.add(EXERCISE, BACK, "a length where their end should be")
def decode_lengths(tokens):
    return decode(tokens, make=lambda start, end, pitch, velocity, now: (start, end - start, pitch, velocity))


@MUTANTS.add(EXERCISE, BACK, "take the one in force when it begins")
def decode_velocity_at_the_end(tokens):
    return decode(tokens, make=lambda start, end, pitch, velocity, now: (start, end, pitch, now))


@MUTANTS.add(EXERCISE, BACK, "every note got the first velocity")
def decode_first_velocity(tokens):
    notes = decode(tokens)
    return [(*note[:3], notes[0][3]) for note in notes]


@MUTANTS.add(EXERCISE, BACK, "their order is not")
def decode_by_pitch(tokens):
    return decode(tokens, key=lambda n: (n[2], n[0]))


@MUTANTS.add(EXERCISE, BACK, "their order is not")
def decode_as_they_end(tokens):
    return decode(tokens, key=lambda n: n[1])


@MUTANTS.add(EXERCISE, BACK, "expected notes of 4 integers")
def decode_times_in_seconds(tokens):
    return [(start / 100, end / 100, pitch, velocity) for start, end, pitch, velocity in decode(tokens)]


@MUTANTS.add(EXERCISE, BACK, "there are")
def decode_without_velocity(tokens):
    return [note[:3] for note in decode(tokens)]


@MUTANTS.add(EXERCISE, BACK, "the list of tokens was changed")
def decode_empties_its_input(tokens):
    notes = decode(tokens)
    tokens.clear()
    return notes


@MUTANTS.add(EXERCISE, UNFINISHED, "a note that never ends was forgotten", spares=BACK)
def decode_forgets_what_sounds(tokens):
    return decode(tokens, finish=False)


@MUTANTS.add(EXERCISE, STRAY_END, "KeyError", spares=BACK)
def decode_trusts_every_end(tokens):
    return decode(tokens, stray=lambda notes, now, pitch, velocity: {}[pitch])


@MUTANTS.add(EXERCISE, STRAY_END, "should be", spares=BACK)
def decode_begins_at_zero(tokens):
    return decode(tokens, stray=lambda notes, now, pitch, velocity: notes.append((0, now, pitch, velocity)))


@MUTANTS.add(EXERCISE, STRUCK_AGAIN, "was lost when its pitch began again", spares=BACK)
def decode_overwrites(tokens):
    return decode(tokens, again="overwrites")


@MUTANTS.add(EXERCISE, STRUCK_AGAIN, "the second beginning was passed over", spares=BACK)
def decode_ignores_the_second(tokens):
    return decode(tokens, again="ignored")


@MUTANTS.add(EXERCISE, NO_VELOCITY, "should be", spares=BACK)
def decode_velocity_0(tokens):
    return decode(tokens, start_velocity=0)


@MUTANTS.add(EXERCISE, NO_VELOCITY, "TypeError", spares=BACK)
def decode_no_velocity_yet(tokens):
    return [(*note[:3], note[3] + 0) for note in decode(tokens, start_velocity=None)]


@MUTANTS.add(EXERCISE, NO_LENGTH, "a note of no length was kept", spares=BACK)
def decode_keeps_no_length(tokens):
    return decode(tokens, least=0)


@MUTANTS.add(EXERCISE, ANYTHING, "there are")
def decode_velocity_0_is_silence(tokens):
    # as MIDI has it: a note that begins with velocity 0 is the end of that note
    return [note for note in decode(tokens) if note[3] > 0]


@MUTANTS.worthless(EXERCISE)
def decode_no_notes(tokens):
    return []


@MUTANTS.worthless(EXERCISE)
def decode_the_example(tokens):
    return [(0, 2, 60, 20), (0, 2, 64, 20)]


@MUTANTS.worthless(EXERCISE)
def decode_pitches(tokens):
    return [(0, 1, token, 16) for token in tokens if token < 128]
