"""Right answers to the exercises of the chapter `generation`, written in other ways than the solutions."""

import math

import torch
from torch.nn import functional as F

# --- next_token_logits ----------------------------------------------------------------------------------------


@torch.no_grad()
def prefixes_by_loops(model, ids):
    if ids.dim() > 1:
        return torch.stack([prefixes_by_loops(model, text) for text in ids])
    return torch.cat([model(ids[None, : t + 1]).logits[:, t] for t in range(len(ids))])


def prefixes_by_recursion(model, ids):
    last = model(ids.reshape(-1, ids.size(-1))).logits[:, -1].view(*ids.shape[:-1], 1, -1)
    return last if ids.size(-1) == 1 else torch.cat([prefixes_by_recursion(model, ids[..., :-1]), last], dim=-2)


def prefixes_into_a_buffer(model, ids):
    texts, out = ids.flatten(0, -2) if ids.dim() > 1 else ids[None], None
    for end in range(texts.shape[1], 0, -1):
        with torch.inference_mode():
            logits = (
                model(input_ids=texts[:, :end]).logits if hasattr(model, "config") else model(texts[:, :end]).logits
            )
        if out is None:
            out = torch.empty(*texts.shape, logits.shape[-1], dtype=logits.dtype, device=logits.device)
        out[:, end - 1] = logits[:, end - 1]
    return out.view(*ids.shape, -1)


# --- KVCache --------------------------------------------------------------------------------------------------


class CacheByJoining:
    def __init__(self, n_layer, max_length):
        self.layers, self.max_length = [[] for _ in range(n_layer)], max_length

    def update(self, layer, k, v):
        held = self.layers[layer]
        if sum(chunk.size(-2) for chunk, _ in held) + k.size(-2) > self.max_length:
            raise ValueError(f"this cache has room for {self.max_length} positions")
        if held and held[0][0].shape[:-2] != k.shape[:-2]:
            raise ValueError("every chunk must have the same leading dimensions")
        held.append((k.detach().clone(), v.detach().clone()))
        return tuple(torch.cat(chunks, dim=-2) for chunks in zip(*held, strict=True))

    def __len__(self):
        return min(sum(k.size(-2) for k, _ in held) for held in self.layers)

    def reset(self):
        for held in self.layers:
            held.clear()


class CacheByDictionary:
    def __init__(self, n_layer, max_length):
        self.n_layer, self.max_length, self.rows = n_layer, max_length, {}

    def update(self, layer, k, v):
        rows = self.rows.get(layer, [])
        new = [(a.clone(), b.clone()) for a, b in zip(k.unbind(-2), v.unbind(-2), strict=True)]
        if len(rows) + len(new) > self.max_length:
            raise ValueError(f"{len(rows)} + {len(new)} positions, but max_length is {self.max_length}")
        if rows and rows[0][0].shape[:-1] != new[0][0].shape[:-1]:
            raise ValueError("the batch has changed")
        self.rows[layer] = rows + new
        return [torch.stack(part, dim=-2) for part in zip(*self.rows[layer], strict=True)]

    def __len__(self):
        return min((len(self.rows.get(layer, ())) for layer in range(self.n_layer)), default=0)

    def reset(self):
        self.rows = {}


class CacheInOneTensor:
    def __init__(self, n_layer, max_length):
        self.n_layer, self.max_length = n_layer, max_length
        self.reset()

    def reset(self):
        self.keys, self.values = None, None
        self.ends = torch.zeros(self.n_layer, dtype=torch.int64)

    @torch.no_grad()
    def update(self, layer, k, v):
        if self.keys is None:
            self.keys = torch.zeros(
                self.n_layer, *k.shape[:-2], self.max_length, k.shape[-1], dtype=k.dtype, device=k.device
            )
            self.values = torch.zeros(
                self.n_layer, *v.shape[:-2], self.max_length, v.shape[-1], dtype=v.dtype, device=v.device
            )
        start = int(self.ends[layer])
        end = start + k.shape[-2]
        if end > self.max_length or k.shape[:-2] != self.keys.shape[1:-2]:
            raise ValueError(f"{tuple(k.shape)} does not fit: max_length {self.max_length}, {start} positions held")
        self.keys[layer].narrow(-2, start, end - start).copy_(k)
        self.values[layer].narrow(-2, start, end - start).copy_(v)
        self.ends[layer] = end
        return self.keys[layer].narrow(-2, 0, end), self.values[layer].narrow(-2, 0, end)

    def __len__(self):
        return int(self.ends.min())


class CachePositionsFirst:
    # with the axis of the positions in front, so that what comes back is a view
    def __init__(self, n_layer, max_length):
        self.n_layer, self.max_length = n_layer, max_length
        self.reset()

    def reset(self):
        self.held = {}

    def __len__(self):
        return min(len(self.held[i][0]) if i in self.held else 0 for i in range(self.n_layer))

    def update(self, layer, k, v):
        new = [part.detach().movedim(-2, 0) for part in (k, v)]
        old = self.held.get(layer, [part[:0] for part in new])
        if old[0].shape[1:-1] != new[0].shape[1:-1]:
            raise ValueError("the shape of the batch has changed")
        if len(old[0]) + len(new[0]) > self.max_length:
            raise ValueError(f"no room: max_length is {self.max_length}.")
        self.held[layer] = [torch.cat(both) for both in zip(old, new, strict=True)]
        return [part.movedim(0, -2) for part in self.held[layer]]


# --- filter_logits --------------------------------------------------------------------------------------------


def _checked(temperature, top_k, top_p):
    if temperature <= 0:
        raise ValueError("temperature must be above 0")
    if top_k is not None and top_k <= 0:
        raise ValueError("top_k must be at least 1")
    if top_p is not None and (top_p <= 0 or top_p > 1):
        raise ValueError("top_p must lie in (0, 1]")


def filter_by_pairs(logits, temperature=1.0, top_k=None, top_p=None):
    _checked(temperature, top_k, top_p)
    out = logits / temperature
    if top_k is not None:
        out = torch.where((out[..., None, :] > out[..., None]).sum(-1) < top_k, out, -math.inf)
    if top_p is not None:
        p = F.softmax(out, dim=-1)
        above = torch.einsum("...i,...ji->...j", p, (p[..., None, :] > p[..., None]).to(p.dtype))
        out = torch.where(above < top_p, out, -math.inf)
    return out


def filter_by_python(logits, temperature=1.0, top_k=None, top_p=None):
    _checked(temperature, top_k, top_p)
    if logits.dim() > 1:
        return torch.stack([filter_by_python(row, temperature, top_k, top_p) for row in logits])
    values = [value / temperature for value in logits.tolist()]
    kept = {i for i, value in enumerate(values) if value > -math.inf}
    if top_k is not None:
        kept = {i for i in kept if sum(other > values[i] for other in values) < top_k}
    if top_p is not None:
        top = max(values)
        weight = {i: math.exp(values[i] - top) for i in kept}
        whole = math.fsum(weight.values())
        kept = {i for i in kept if math.fsum(w for w in weight.values() if w > weight[i]) / whole < top_p}
    mask = torch.tensor([i in kept for i in range(len(values))], device=logits.device)
    return (logits / temperature).masked_fill(~mask, -math.inf)


def filter_by_threshold(logits, temperature=1.0, top_k=None, top_p=None):
    # in float64, and each step as the smallest logit that is kept
    _checked(temperature, top_k, top_p)
    exact = logits.detach().double() / temperature
    lowest = torch.full_like(exact[..., :1], -math.inf)
    if top_k is not None:
        lowest = exact.sort(dim=-1, descending=True).values[..., :top_k][..., -1:]
    if top_p is not None:
        ordered = exact.masked_fill(exact < lowest, -math.inf).sort(dim=-1, descending=True).values
        p = ordered.softmax(-1)
        reached = (p.cumsum(-1) - p < top_p) & (ordered > -math.inf)
        lowest = ordered.gather(-1, reached.sum(-1, keepdim=True) - 1)
    return (logits / temperature).masked_fill(exact < lowest, float("-inf"))


def filter_in_float32(logits, temperature=1.0, top_k=None, top_p=None):
    _checked(temperature, top_k, top_p)
    x = logits.float() / temperature
    if top_k is not None:
        size = x.shape[-1]
        x = x.where(x >= x.kthvalue(max(1, size - top_k + 1), dim=-1, keepdim=True).values, -math.inf)
    if top_p is not None:
        ordered = x.sort(dim=-1, descending=True).values
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        x = x.masked_fill(x < ordered.masked_fill(before >= top_p, math.inf).amin(-1, keepdim=True), -math.inf)
    return x.to(logits.dtype)


# --- generate -------------------------------------------------------------------------------------------------


@torch.no_grad()
def generate_by_rows(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
    texts, sums = [], []
    for row in ids:
        total, text, open_ = model(row[None]).logits[0, -1, 0] * 0, row, True
        for _ in range(n):
            if not open_:
                text = torch.cat([text, text.new_tensor([pad_id])])
                continue
            logits = model(text[None]).logits[0, -1]
            scaled = logits / temperature
            best = scaled.argsort(descending=True)[: top_k or None]
            token = best[torch.multinomial(scaled[best].softmax(0), 1, generator=generator)]
            total = total + logits.log_softmax(0)[token[0]]
            text = torch.cat([text, token])
            open_ = eos_id is None or token.item() != eos_id
        texts.append(text)
        sums.append(total)
    return torch.stack(texts), torch.stack(sums)


def generate_by_gumbel(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
    # the largest of log p + Gumbel noise is a draw from p
    B, T = ids.shape
    out = ids.new_full((B, T + n), pad_id)
    out[:, :T] = ids
    alive = ids.new_ones(B, dtype=torch.bool)
    with torch.no_grad():
        log_prob = torch.zeros_like(model(ids).logits[:, 0, 0])
        for t in range(T, T + n):
            logits = model(out[:, :t]).logits[:, -1]
            noise = torch.rand(logits.shape, generator=generator, dtype=torch.float64, device=ids.device)
            scores = logits.double() / temperature - (-noise.clamp(min=1e-300).log()).log()
            if top_k:
                last = logits.topk(min(top_k, logits.shape[1])).values[:, [-1]]
                scores[logits < last] = -math.inf
            token = scores.argmax(1)
            log_prob += torch.where(alive, -F.cross_entropy(logits, token, reduction="none"), 0)
            out[alive, t] = token[alive]
            if eos_id is not None:
                alive = alive & (token != eos_id)
    return out, log_prob


def generate_by_cumulated_sum(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
    # the inverse of the cumulative distribution; log_prob afterwards, from one pass over the text
    start, text = ids.shape[1], ids
    with torch.no_grad():
        for _ in range(n):
            p = (model(text).logits[:, -1].double() / temperature).softmax(-1)
            if top_k is not None:
                p = p * (p >= p.sort(descending=True).values[:, :top_k][:, -1:])
            total = p.cumsum(-1)
            u = torch.rand(len(p), 1, generator=generator, dtype=torch.float64, device=p.device) * total[:, -1:]
            text = torch.cat([text, torch.searchsorted(total, u, right=True)], dim=1)
        log_p = model(text).logits.log_softmax(-1)[:, start - 1 : -1]
        new = text[:, start:]
        each = log_p.gather(-1, new[..., None]).squeeze(-1)
    if eos_id is not None:
        behind = (new == eos_id).cumsum(1) - (new == eos_id).long() > 0
        text = torch.cat([ids, new.masked_fill(behind, pad_id)], dim=1)
        each = each.masked_fill(behind, 0)
    return text, each.sum(1)


def generate_until_all_have_ended(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
    # draws among the ranks; sums in Python; stops early
    B, T = ids.shape
    text, sums, ended = torch.cat([ids, ids.new_full((B, n), pad_id)], dim=1), [0.0] * B, [False] * B
    for t in range(T, T + n):
        if all(ended):
            break
        with torch.inference_mode():
            logits = model(text[:, :t]).logits[:, -1].double()
        largest, order = logits.topk(min(top_k or logits.shape[-1], logits.shape[-1]))
        rank = torch.multinomial((largest / temperature).softmax(-1), 1, generator=generator)
        for row, token in enumerate(order.gather(-1, rank)[:, 0].tolist()):
            if not ended[row]:
                text[row, t], ended[row] = token, token == eos_id
                sums[row] += logits[row].log_softmax(-1)[token].item()
    return [text, torch.tensor(sums, dtype=next(model.parameters()).dtype, device=ids.device)]


# --- online_softmax -------------------------------------------------------------------------------------------


def online_by_partial_results(blocks):
    # a maximum, a sum and a weighted sum for each block; the blocks meet only when a result is asked for
    parts = []
    for scores, values in blocks:
        top = scores.amax(-1)
        e = (scores - torch.where(top > -math.inf, top, 0)[..., None]).exp()
        parts.append((top, e.sum(-1), e @ values))
        tops, sums, weighted = (torch.stack(part) for part in zip(*parts, strict=True))
        top = tops.amax(0)
        finite = torch.where(top > -math.inf, top, 0)
        share = (tops - finite).exp()  # (blocks, ..., T_q)
        total = (share * sums).sum(0)
        nothing = total == 0
        total = total + nothing
        yield (
            (share[..., None] * weighted).sum(0) / total[..., None],
            (finite + total.log()).masked_fill(nothing, -math.inf),
        )


def online_in_float64(blocks):
    results, state = [], None
    for scores, values in blocks:
        s, v = scores.double(), values.double()
        top = s.detach().amax(-1, keepdim=True).clamp(min=-1e6)
        if state is None:
            state = (top, torch.zeros_like(top), torch.zeros_like(top))
        old, total, weighted = state
        new = torch.maximum(old, top)
        e = torch.exp(s - new)
        total = total * torch.exp(old - new) + e.sum(-1, keepdim=True)
        weighted = weighted * torch.exp(old - new) + torch.einsum("...qn,...nd->...qd", e, v)
        state = (new, total, weighted)
        read = total > 0
        divisor = torch.where(read, total, torch.ones_like(total))
        lse = torch.where(read, new + divisor.log(), torch.full_like(new, -math.inf))
        results.append(((weighted / divisor).to(values.dtype), lse[..., 0].to(scores.dtype)))
    return results


def online_column_by_column(blocks):
    largest = total = weighted = None
    for scores, values in blocks:
        for j in range(scores.shape[-1]):
            s, v = scores[..., j], values[..., j : j + 1, :]  # (..., T_q), (..., 1, d_v)
            if largest is None:
                largest, total, weighted = torch.full_like(s, -math.inf), s.new_zeros(s.shape), 0
            new = torch.maximum(largest, s)
            shift = torch.where(new == -math.inf, torch.zeros_like(new), new)
            kept, e = torch.exp(largest - shift), torch.exp(s - shift)
            total = total * kept + e
            weighted = weighted * kept[..., None] + e[..., None] * v
            largest = new
        empty = total == 0
        divisor = torch.where(empty, torch.ones_like(total), total)
        yield weighted / divisor[..., None], (shift + divisor.log()).masked_fill(empty, -math.inf)


class online_as_an_iterator:
    def __init__(self, blocks):
        self.blocks, self.read = iter(blocks), []

    def __iter__(self):
        return self

    def __next__(self):
        self.read.append(next(self.blocks))
        scores, values = torch.cat([s for s, _ in self.read], -1), torch.cat([v for _, v in self.read], -2)
        nothing = (scores == -math.inf).all(-1, keepdim=True)
        scores = scores.masked_fill(nothing, 0)
        context = scores.softmax(-1).masked_fill(nothing, 0) @ values
        return context, scores.logsumexp(-1).masked_fill(nothing.squeeze(-1), -math.inf)


ANSWERS = {
    "next_token_logits": [prefixes_by_loops, prefixes_by_recursion, prefixes_into_a_buffer],
    "KVCache": [CacheByJoining, CacheByDictionary, CacheInOneTensor, CachePositionsFirst],
    "filter_logits": [filter_by_pairs, filter_by_python, filter_by_threshold, filter_in_float32],
    "generate": [
        generate_by_rows,
        generate_by_gumbel,
        generate_by_cumulated_sum,
        generate_until_all_have_ended,
    ],
    "online_softmax": [
        online_by_partial_results,
        online_in_float64,
        online_column_by_column,
        online_as_an_iterator,
    ],
}
