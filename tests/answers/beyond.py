"""Right answers to the exercises of the chapter `beyond`, as different people would write them."""

import contextlib
import copy
import itertools

import numpy as np
import torch
from torch.nn import functional as F

# --- pack_example ---------------------------------------------------------------------------------------------


def pack_by_dropping(source, target, tokenizer, separator, max_length):
    encode = tokenizer.encode
    s, m, t = encode(source), encode(separator), [*encode(target), tokenizer.eos_token_id]
    if len(m) + len(t) > max_length:
        raise ValueError(f"the target does not fit into max_length={max_length}")
    while len(s) + len(m) + len(t) > max_length:
        s.pop(0)
    labels = [-100 for _ in s + m] + t
    return [torch.tensor(s + m + t), torch.tensor(labels)]


def pack_by_masking(source, target, tokenizer, separator, max_length):
    s, m, t = (torch.tensor(tokenizer(text)["input_ids"], dtype=torch.long) for text in (source, separator, target))
    t = F.pad(t, (0, 1), value=tokenizer.eos_token_id)
    if len(m) + len(t) > max_length:
        raise ValueError("没有地方放目标文本：max_length = %d" % max_length)  # noqa: UP031
    ids = torch.cat([s, m, t])[-max_length:]
    return ids, ids.masked_fill(torch.arange(len(ids)) < len(ids) - len(t), -100)


class TooLong(ValueError):
    pass


def pack_in_numpy(source, target, tokenizer, separator, max_length):
    pieces = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) for text in (source, separator, target)]
    pieces[2].append(tokenizer.eos_token_id)
    room = max_length - len(pieces[1]) - len(pieces[2])
    if room < 0:
        raise TooLong(f"{-room} tokens more than {max_length}, even without the source")
    pieces[0] = pieces[0][::-1][:room][::-1]
    ids = np.array(list(itertools.chain(*pieces)), dtype=np.int64)
    labels = np.full_like(ids, -100)
    labels[len(pieces[0]) + len(pieces[1]) :] = pieces[2]
    return torch.from_numpy(ids), torch.from_numpy(labels)


# --- logit_lens -----------------------------------------------------------------------------------------------


def lens_stacked(model, hidden_states):
    streams = torch.stack(list(hidden_states))
    normed = torch.cat([model.transformer.ln_f(streams[:-1]), streams[-1:]])
    logits = model.lm_head(normed)
    log_q = F.log_softmax(logits, dim=-1)
    kl = F.kl_div(log_q, log_q[-1].expand_as(log_q), reduction="none", log_target=True)
    return [logits, kl.sum(dim=-1)]


def lens_by_hand(model, hidden_states):
    norm, w = model.transformer.ln_f, model.lm_head.weight
    rows = []
    for i, x in enumerate(hidden_states):
        if i < len(hidden_states) - 1:
            centred = x - x.mean(-1, keepdim=True)
            x = centred / (centred.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias
        rows.append(torch.einsum("...d,vd->...v", x, w))
    p = rows[-1].softmax(-1)
    divergence = [
        (p * (rows[-1] - row)).sum(-1) + row.logsumexp(-1) - rows[-1].logsumexp(-1)  # the logits' constants cancel
        for row in rows
    ]
    return torch.stack(rows), torch.stack(divergence)


def lens_in_float64(model, hidden_states):
    *early, late = hidden_states
    w, ln = model.lm_head.weight.double(), model.transformer.ln_f
    early = [F.layer_norm(x.double(), x.shape[-1:], ln.weight.double(), ln.bias.double(), ln.eps) for x in early]
    logits = torch.stack([x @ w.T for x in (*early, late.double())])
    log_p = logits[-1].log_softmax(-1)
    kl = torch.stack([(log_p.exp() * (log_p - row.log_softmax(-1))).sum(-1) for row in logits])
    return logits.to(late.dtype), kl.to(late.dtype)


# --- residual_terms -------------------------------------------------------------------------------------------


@torch.no_grad()
def terms_without_hooks(model, ids):
    body, config = model.transformer, model.config
    positions = torch.arange(ids.shape[1], device=ids.device)
    token = body.wte(ids)
    position = body.wpe(positions)[None].repeat(len(ids), 1, 1)
    out, x, constant = {}, token + position, torch.zeros_like(token)
    for layer, block in enumerate(body.h):
        split = block.attn.c_attn(block.ln_1(x)).unflatten(-1, (3, config.n_head, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)  # (B, H, T, d_k)
        b_v = block.attn.c_attn.bias.view(3, config.n_head, 1, -1)[2]
        z = F.scaled_dot_product_attention(q, k, v - b_v, is_causal=True)
        rows = block.attn.c_proj.weight.view(config.n_head, -1, config.n_embd)
        written = torch.einsum("bhtk,hkd->hbtd", z, rows)
        for head in range(config.n_head):
            out[f"head {layer}.{head}"] = written[head]
        fixed = block.attn.c_proj.bias + torch.einsum("hok,hkd->d", b_v, rows)
        x = x + written.sum(0) + fixed
        inner = block.mlp.act(block.mlp.c_fc(block.ln_2(x)))
        out[f"mlp {layer}"] = inner @ block.mlp.c_proj.weight
        x = x + out[f"mlp {layer}"] + block.mlp.c_proj.bias
        constant = constant + fixed + block.mlp.c_proj.bias
    return {**out, "bias": constant, "position": position, "token": token}


def terms_by_silencing(model, ids):
    # each head alone is let through c_proj; what it says of zeros is the constant
    seen, handles = {}, []

    def listen(module, name):
        handles.append(module.register_forward_hook(lambda m, a, out: seen.__setitem__(name, (m, a[0], out))))

    listen(model.transformer.wte, "token")
    listen(model.transformer.wpe, "position")
    for layer, block in enumerate(model.transformer.h):
        listen(block.attn.c_proj, ("attn", layer))
        listen(block.mlp.c_proj, ("mlp", layer))
    try:
        with torch.no_grad():
            model(ids)
    finally:
        [handle.remove() for handle in handles]
    with torch.no_grad():
        token, d_k = seen["token"][2], model.config.n_embd // model.config.n_head
        terms = {"token": token.clone(), "position": seen["position"][2].expand(token.shape).clone()}
        constant = torch.zeros_like(token)
        for layer in range(model.config.n_layer):
            project, z, _ = seen["attn", layer]
            b_v = model.transformer.h[layer].attn.c_attn.bias[-model.config.n_embd :].expand_as(z)
            silent = project(torch.zeros_like(z))
            for head in range(model.config.n_head):
                alone = torch.zeros_like(z)
                part = slice(head * d_k, head * d_k + d_k)
                alone[..., part] = z[..., part] - b_v[..., part]
                terms[f"head {layer}.{head}"] = project(alone) - silent
            constant += project(b_v)
            last, hidden, out = seen["mlp", layer]
            silent = last(torch.zeros_like(hidden))
            terms[f"mlp {layer}"] = out - silent
            constant += silent
        terms["bias"] = constant
    return terms


def terms_of_a_copy(model, ids):
    twin = copy.deepcopy(model)
    for block in twin.transformer.h:
        for module in (block.attn.c_proj, block.mlp.c_proj):
            module.register_forward_pre_hook(lambda m, args: vars(m).update(given=args[0]))
    n_head, out, fixed = model.config.n_head, {}, 0
    with torch.inference_mode():
        twin(ids)
        out["token"] = twin.transformer.wte.weight[ids]
        out["position"] = twin.transformer.wpe.weight[: ids.size(1)].expand_as(out["token"])
        for layer, block in enumerate(twin.transformer.h):
            attn, mlp, b_v = block.attn.c_proj, block.mlp.c_proj, block.attn.c_attn.bias.split(model.config.n_embd)[-1]
            z = (attn.given - b_v).unflatten(-1, (n_head, -1))  # (B, T, H, d_k)
            written = torch.einsum("bthk,hkd->hbtd", z, attn.weight.unflatten(0, (n_head, -1)))
            out |= {f"head {layer}.{head}": written[head] for head in range(n_head)}
            out[f"mlp {layer}"] = mlp.given @ mlp.weight
            fixed = fixed + attn(b_v[None])[0] + mlp.bias
        return out | {"bias": fixed.expand_as(out["token"])}


def terms_one_text_at_a_time(model, ids):
    parts = [terms_without_hooks(model, row[None]) for row in ids]
    return {name: torch.cat([part[name] for part in parts]) for name in reversed(parts[0])}


# --- ablate_head ----------------------------------------------------------------------------------------------


class AblateAsAClass:
    def __init__(self, model, layer, head, how):
        if how not in {"zero", "mean"}:
            raise ValueError(f"how is {how}, not zero or mean")
        if not (0 <= layer < len(model.transformer.h) and 0 <= head < model.config.n_head):
            raise ValueError("no such head")
        self.projection = model.transformer.h[layer].attn.c_proj
        self.d_k = model.config.n_embd // model.config.n_head
        self.head, self.how = head, how

    def __enter__(self):
        self.handle = self.projection.register_forward_pre_hook(self.hook)
        return self

    def hook(self, module, args):
        before, z, after = args[0].split(
            [self.d_k * self.head, self.d_k, args[0].shape[-1] - self.d_k * (1 + self.head)], -1
        )
        if self.how == "zero":
            z = torch.zeros_like(z)
        else:
            z = z.mean(dim=tuple(range(z.dim() - 1)), keepdim=True).expand_as(z)
        return (torch.cat([before, z, after], -1),)

    def __exit__(self, *error):
        self.handle.remove()
        return False


@contextlib.contextmanager
def ablate_by_a_mask(model, layer, head, how):
    heads = range(model.config.n_head)
    if layer < 0 or layer >= model.config.n_layer or head not in heads or how not in ["zero", "mean"]:
        raise ValueError("there is no such layer, head or way")
    keep = torch.tensor([h != head for h in heads]).repeat_interleave(model.config.n_embd // len(heads))

    def hook(module, args):
        (z,) = args
        other = torch.zeros_like(z[:1, :1]) if how == "zero" else z.mean((0, 1), keepdim=True)
        return torch.where(keep.to(z.device), z, other)

    with contextlib.ExitStack() as stack:
        stack.callback(model.transformer.h[layer].attn.c_proj.register_forward_pre_hook(hook).remove)
        yield model


@contextlib.contextmanager
def ablate_after_the_projection(model, layer, head, how):
    # what the head has written is taken out again, and its mean put in
    if how not in ("zero", "mean"):
        raise ValueError(how)
    if not 0 <= layer < model.config.n_layer or not 0 <= head < model.config.n_head:
        raise ValueError(f"layer {layer}, head {head}")
    d_k = model.config.n_embd // model.config.n_head
    rows = slice(d_k * head, d_k * (head + 1))

    def hook(module, args, out):
        z = args[0][..., rows]
        instead = z.mean((0, 1)) if how == "mean" else torch.zeros_like(z)
        return out + (instead - z) @ module.weight[rows]

    handle = model.transformer.h[layer].attn.c_proj.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class WithoutAHead(torch.nn.Module):
    def __init__(self, inner, keep, how):
        super().__init__()
        self.inner, self.keep, self.how = inner, keep, how

    def forward(self, z):
        instead = 0 if self.how == "zero" else z.mean(dim=(0, 1), keepdim=True)
        return self.inner(z * self.keep + instead * (1 - self.keep))


class AblateByAnotherModule(contextlib.AbstractContextManager):
    # no hook: c_proj itself is exchanged for a while
    def __init__(self, model, layer, head, how):
        if how not in ("zero", "mean") or not (0 <= layer < model.config.n_layer and 0 <= head < model.config.n_head):
            raise ValueError("no such head, or no such way")
        self.attn = model.transformer.h[layer].attn
        keep = torch.arange(model.config.n_head) != head
        keep = keep.repeat_interleave(model.config.n_embd // model.config.n_head).to(model.device, model.dtype)
        self.other = WithoutAHead(self.attn.c_proj, keep, how)

    def __enter__(self):
        self.attn.c_proj = self.other

    def __exit__(self, *error):
        self.attn.c_proj = self.other.inner


# --- encode_events --------------------------------------------------------------------------------------------


def encode_in_numpy(notes):
    events = [(start, 1, v, pitch) for start, _, pitch, v in notes] + [(end, 0, 0, pitch) for _, end, pitch, _ in notes]
    now, last, out = 0, -1, []
    for time, begins, velocity, pitch in sorted(events):
        full, rest = divmod(time - now, 100)
        out += [355] * full + ([255 + rest] if rest else [])
        now = time
        if begins:
            out += [356 + velocity] * (velocity != last) + [pitch]
            last = velocity
        else:
            out.append(128 + pitch)
    return np.array(out, dtype=np.int64)


def encode_step_by_step(notes):
    # walks through time, one step after the other
    waited, loudness = 0, None
    for now in range(1 + max((end for _, end, _, _ in notes), default=-1)):
        off = sorted(p for _, end, p, _ in notes if end == now)
        on = sorted((v, p) for start, _, p, v in notes if start == now)
        if off or on:
            while waited > 0:
                yield 255 + min(waited, 100)
                waited -= min(waited, 100)
        for p in off:
            yield p + 128
        for v, p in on:
            if v != loudness:
                loudness = v
                yield v + 356
            yield p
        waited += 1


def encode_by_grouping(notes):
    moments = [(time, kind, note) for note in notes for time, kind in ((note[1], "end"), (note[0], "start"))]
    tokens, now, velocity = (), 0, None
    for time, group in itertools.groupby(sorted(moments, key=lambda m: m[0]), key=lambda m: m[0]):
        group = list(group)
        while time - now > 100:
            tokens, now = (*tokens, 355), now + 100
        if time > now:
            tokens += (255 + time - now,)
        now = time
        tokens += tuple(sorted(128 + note[2] for _, kind, note in group if kind == "end"))
        for _, _, pitch, v in sorted((n for _, kind, n in group if kind == "start"), key=lambda n: (n[3], n[2])):
            if v != velocity:
                tokens, velocity = (*tokens, 356 + v), v
            tokens += (pitch,)
    return tokens


# --- decode_events --------------------------------------------------------------------------------------------


def decode_as_a_generator(tokens):
    times = list(itertools.accumulate((t - 255 if 256 <= t < 356 else 0 for t in tokens), initial=0))
    notes, velocity = [], 16
    for i, token in enumerate(tokens):
        if token >= 356:
            velocity = token - 356
        elif token < 128:
            stop = next((j for j in range(i + 1, len(tokens)) if tokens[j] in (token, token + 128)), len(tokens))
            notes.append((times[i], times[stop], token, velocity))
    yield from (note for note in sorted(notes, key=lambda n: (n[0], n[2])) if note[0] != note[1])


def decode_with_arrays(tokens):
    since, loud = np.full(128, -1), np.zeros(128, dtype=int)
    notes, now, velocity = [], 0, 16
    for token in [*tokens, *range(128, 256)]:  # at the end everything is switched off
        kind, value = divmod(token, 128) if token < 256 else (2 if token < 356 else 3, token)
        if kind < 2:
            if 0 <= since[value] < now:
                notes.append([since[value], now, value, loud[value]])
            since[value], loud[value] = (now, velocity) if kind == 0 else (-1, 0)
        elif kind == 2:
            now += value - 255
        else:
            velocity = value - 356
    return np.array(sorted(notes, key=lambda n: (n[0], n[2])), dtype=int).reshape(-1, 4)


def decode_into_tensors(tokens):
    open_notes, closed, clock, velocity = [], [], 0, 16
    for token in tokens:
        if token < 256:
            for note in [n for n in open_notes if n[2] == token % 128]:
                open_notes.remove(note)
                closed.append([note[0], clock, *note[2:]])
        if token < 128:
            open_notes.append([clock, None, token, velocity])
        elif 256 <= token < 356:
            clock += token - 255
        elif token >= 356:
            velocity = token - 356
    closed += [[start, clock, pitch, v] for start, _, pitch, v in open_notes]
    closed = [note for note in closed if note[1] > note[0]]
    return tuple(map(torch.tensor, sorted(closed, key=lambda n: (n[0], n[2]))))


ANSWERS = {
    "pack_example": [pack_by_dropping, pack_by_masking, pack_in_numpy],
    "logit_lens": [lens_stacked, lens_by_hand, lens_in_float64],
    "residual_terms": [terms_without_hooks, terms_by_silencing, terms_of_a_copy, terms_one_text_at_a_time],
    "ablate_head": [AblateAsAClass, ablate_by_a_mask, ablate_after_the_projection, AblateByAnotherModule],
    "encode_events": [encode_in_numpy, encode_step_by_step, encode_by_grouping],
    "decode_events": [decode_as_a_generator, decode_with_arrays, decode_into_tensors],
}
