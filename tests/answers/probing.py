"""Right answers to the exercises of the chapter `probing`, as different people would write them."""

import contextlib
import math

import numpy as np
import torch
from torch.nn import functional as F

# --- capture --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def capture_with_finally(model, names):
    seen, handles = {}, []
    try:
        for name in names:

            def hook(module, args, output, name=name):
                seen[name] = (output[0] if isinstance(output, (tuple, list)) else output).clone().detach()

            handles.append(model.get_submodule(name).register_forward_hook(hook))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class CaptureAsClass:
    def __init__(self, model, names):
        self.modules = {name: model.get_submodule(name) for name in names}  # raises before any hook is put on
        self.seen, self.handles = {}, []

    def __enter__(self):
        for name, module in self.modules.items():
            self.handles.append(module.register_forward_hook(lambda m, a, out, name=name: self.keep(name, out)))
        return self.seen

    def keep(self, name, out):
        while isinstance(out, tuple):
            out = out[0]
        self.seen[name] = torch.empty_like(out, requires_grad=False).copy_(out.detach())

    def __exit__(self, *error):
        while self.handles:
            self.handles.pop().remove()
        return False


def capture_by_a_class(model, names):
    return CaptureAsClass(model, names)


@contextlib.contextmanager
def capture_by_all_modules(model, names):
    by_name = dict(model.named_modules())
    seen = {}

    def listen(module, args, output):
        with torch.no_grad():
            for name in names:
                if by_name[name] is module:
                    seen[name] = (output[0] if isinstance(output, tuple) else output) * 1

    handles = [module.register_forward_hook(listen) for module in {id(by_name[n]): by_name[n] for n in names}.values()]
    try:
        yield seen
    finally:
        [handle.remove() for handle in handles]


# --- next_token_hits ------------------------------------------------------------------------------------------


def hits_by_loops(logits, ids):
    rows, tokens = logits.reshape(-1, *logits.shape[-2:]), ids.reshape(-1, ids.shape[-1])
    out = torch.zeros(len(rows), ids.shape[-1] - 1, dtype=torch.bool, device=logits.device)
    for n, (row, text) in enumerate(zip(rows, tokens, strict=True)):
        for t in range(len(text) - 1):
            rest = row[t].clone()
            rest[text[t + 1]] = -math.inf
            out[n, t] = bool(row[t, text[t + 1]] > rest.max())
    return out.reshape(*ids.shape[:-1], -1) if out.numel() else out.reshape(*ids.shape[:-1], ids.shape[-1] - 1)


def hits_by_the_two_largest(logits, ids):
    best = logits[..., :-1, :].topk(2, dim=-1)
    return (best.indices[..., 0] == ids[..., 1:]) & (best.values[..., 0] > best.values[..., 1])


def hits_by_one_hot(logits, ids):
    target = F.one_hot(ids, logits.shape[-1]).bool()[..., 1:, :]
    logits = logits[..., :-1, :].double()
    return logits.masked_fill(~target, -math.inf).amax(-1) > logits.masked_fill(target, -math.inf).amax(-1)


# --- histogram_probabilities ----------------------------------------------------------------------------------


def histogram_by_one_hot(a, b, n_bins):
    both = torch.cat([a, b], -1).float()
    low, span = both.amin(-1, keepdim=True), both.amax(-1, keepdim=True) - both.amin(-1, keepdim=True)
    place = torch.nan_to_num((both - low) / span * n_bins).floor().clamp(0, n_bins - 1).long()
    hot = F.one_hot(place, n_bins).to(a.dtype)
    return hot[..., : a.shape[-1], :].float().mean(-2).to(a.dtype), hot[..., a.shape[-1] :, :].float().mean(-2).to(
        a.dtype
    )


def histogram_by_numpy(a, b, n_bins):
    def row(x, edges):
        return np.histogram(x, bins=edges)[0] / len(x)

    rows_a, rows_b = (x.detach().double().cpu().numpy().reshape(-1, x.shape[-1]) for x in (a, b))
    p, q = [], []
    for x, y in zip(rows_a, rows_b, strict=True):
        both = np.concatenate([x, y])
        edges = np.histogram_bin_edges(both, bins=n_bins)
        p.append(row(x, edges))
        q.append(row(y, edges))
    shape = (*a.shape[:-1], n_bins)
    return [torch.tensor(np.array(rows)).reshape(shape).to(a) for rows in (p, q)]


def histogram_by_comparing(a, b, n_bins):
    both = torch.cat([a, b], -1).double()
    low, high = both.min(-1).values[..., None], both.max(-1).values[..., None]
    edges = low + (high - low) * torch.arange(1, n_bins, device=a.device, dtype=torch.float64) / n_bins  # inner ones

    def shares(x):
        place = (x.double()[..., None] >= edges[..., None, :]).sum(-1)
        return torch.stack([(place == k).double().mean(-1) for k in range(n_bins)], -1).to(x.dtype)

    return shares(a), shares(b)


def histogram_in_the_given_dtype(a, b, n_bins):
    low = torch.minimum(a.amin(-1), b.amin(-1))[..., None]
    high = torch.maximum(a.amax(-1), b.amax(-1))[..., None]

    def shares(x):
        place = ((x - low) * n_bins / (high - low)).nan_to_num(0).floor().clamp(0, n_bins - 1).long()
        return (place[..., None] == torch.arange(n_bins, device=x.device)).to(x.dtype).mean(-2)

    return shares(a), shares(b)


# --- kl and jsd -----------------------------------------------------------------------------------------------


def kl_by_mask(p, q):
    p, q = torch.broadcast_tensors(p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True))
    there = p > 0
    ratio = torch.where(there, p, 1) / torch.where(there, q, 1)
    return torch.where(there, p * ratio.log(), 0).sum(-1)


def kl_by_torch(p, q):
    dtype = p.dtype
    p, q = (x.double() / x.double().sum(-1, keepdim=True) for x in (p, q))
    log_q = q.masked_fill((p == 0) & (q == 0), 1).log()
    return F.kl_div(log_q, p, reduction="none").sum(-1).to(dtype)


def kl_by_entropies(p, q):
    p, q = p / p.sum(-1, True), q / q.sum(-1, True)
    cross = torch.where(p > 0, -p * q.log(), torch.zeros_like(p)).sum(-1)
    return cross - torch.special.entr(p).sum(-1)


def kl_by_loop(p, q):
    p, q = torch.broadcast_tensors(p, q)
    total = 0
    n, m = p.sum(-1), q.sum(-1)
    for x, y in zip(p.unbind(-1), q.unbind(-1), strict=True):
        zero = x == 0
        ratio = torch.where(zero, 1, x / n) / torch.where(zero, 1, y / m)
        total = total + torch.where(zero, 0, x / n * ratio.log())
    return total


def jsd_by_entropies(p, q):
    p, q = p / p.sum(-1, True), q / q.sum(-1, True)

    def entropy(x):
        return torch.special.entr(x).sum(-1)

    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


def jsd_by_mask(p, q):
    p, q = torch.broadcast_tensors(F.normalize(p, p=1, dim=-1), F.normalize(q, p=1, dim=-1))
    m = p.lerp(q, 0.5)
    parts = [torch.where(x > 0, x * (torch.where(x > 0, x, 1) / torch.where(x > 0, m, 1)).log(), 0) for x in (p, q)]
    return sum(parts).sum(-1) / 2


def jsd_by_torch(p, q):
    dtype = p.dtype
    p, q = (x.double() / x.double().sum(-1, keepdim=True) for x in (p, q))
    m = (p + q) / 2
    safe = m.where(m > 0, torch.ones_like(m)).log()
    return ((F.kl_div(safe, p, reduction="none") + F.kl_div(safe, q, reduction="none")).sum(-1) / 2).to(dtype)


# --- permutation_pvalue ---------------------------------------------------------------------------------------


def permutation_of_values(values, labels, statistic, n, generator):
    count = values.shape[-1]
    ordered = torch.cat([values[..., labels], values[..., ~labels]], -1)
    first = int(labels.sum())
    observed = statistic(ordered[..., :first], ordered[..., first:])
    reached = 1
    for _ in range(n):
        mixed = ordered[..., torch.rand(count, generator=generator, device=generator.device).argsort()]
        reached = reached + (statistic(mixed[..., :first], mixed[..., first:]) >= observed).double()
    return (reached / (n + 1)).to(values.dtype)


def permutation_at_once(values, labels, statistic, n, generator):
    inside = labels.nonzero()[:, 0]
    outside = (~labels).nonzero()[:, 0]
    start = torch.cat([inside, outside])
    random = torch.rand(n, len(labels), generator=generator, device=generator.device).argsort(-1)
    orders = torch.cat([torch.arange(len(labels), device=labels.device)[None], random])  # the observed one is the first
    groups = values[..., start][..., orders].movedim(-2, 0)  # (1 + n, ..., T)
    found = statistic(groups[..., : len(inside)], groups[..., len(inside) :])
    return (found >= found[0]).double().mean(0).to(values.dtype)


def permutation_row_by_row(values, labels, statistic, n, generator):
    rows = values.reshape(-1, values.shape[-1])
    orders = [torch.randperm(len(labels), generator=generator, device=generator.device) for _ in range(n)]
    observed = statistic(rows[:, labels], rows[:, labels.logical_not()])
    null = torch.stack([statistic(rows[:, labels[o]], rows[:, ~labels[o]]) for o in orders])
    return ((null >= observed).sum(0).add(1).double() / (n + 1)).reshape(values.shape[:-1]).type_as(values)


def permutation_with_a_dimension_in_front(values, labels, statistic, n, generator):
    values, size = values[None], int((~labels).sum())
    observed = statistic(values[..., labels], values[..., ~labels])
    pool = torch.cat((values[..., ~labels], values[..., labels]), -1)
    orders = (torch.randperm(pool.shape[-1], generator=generator, device=generator.device) for _ in range(n))
    mixed = (pool[..., order] for order in orders)
    reached = sum((statistic(x[..., size:], x[..., :size]) >= observed).double() for x in mixed)
    return ((1 + reached) / (1 + n))[0].to(values.dtype)


def permutation_of_each_row_by_itself(values, labels, statistic, n, generator):
    rows = values.reshape(-1, values.shape[-1])
    draws = torch.rand(len(rows), n, len(labels), generator=generator, device=generator.device).argsort(-1)
    orders = torch.cat([torch.arange(len(labels), device=labels.device).expand(len(rows), 1, -1), draws], 1)
    mixed = rows[:, None].expand(-1, 1 + n, -1).gather(-1, orders)  # (rows, 1 + n, T)
    found = statistic(mixed[..., labels], mixed[..., ~labels])
    return (found >= found[:, :1]).float().mean(-1).reshape(values.shape[:-1]).to(values.dtype)


# --- benjamini_hochberg ---------------------------------------------------------------------------------------


def discoveries_by_loops(p, q):
    out = torch.zeros(p.shape, dtype=torch.bool, device=p.device)
    flat, rows = out.view(-1, p.shape[-1]), p.reshape(-1, p.shape[-1])
    for row, found in zip(rows.tolist(), flat, strict=True):
        order = sorted((k for k in range(len(row)) if not math.isnan(row[k])), key=row.__getitem__)
        last = max((rank for rank, k in enumerate(order, 1) if row[k] <= q * rank / len(order)), default=0)
        for k in order[:last]:
            found[k] = True
    return out


def discoveries_by_adjusted_values(p, q):
    made = ~p.isnan()
    ordered, order = torch.where(made, p, 2.0).double().sort(-1)
    rank = torch.arange(1, p.shape[-1] + 1, device=p.device)
    adjusted = (ordered * made.sum(-1, keepdim=True) / rank).flip(-1).cummin(-1).values.flip(-1)
    back = torch.empty_like(adjusted).scatter(-1, order, adjusted)
    return (back <= q) & made


def discoveries_by_counting(p, q):
    rank = (p[..., None, :] <= p[..., :, None]).sum(-1)  # how many are at most this one; NaN compares as False
    under = p * (~p.isnan()).sum(-1, keepdim=True) <= q * rank
    return ((p[..., None, :] >= p[..., :, None]) & under[..., None, :]).any(-1)


def discoveries_by_limits_in_float32(p, q):
    ordered, rank = p.sort(-1).values, torch.arange(1, p.shape[-1] + 1, device=p.device)
    under = ordered <= rank / (~p.isnan()).sum(-1, keepdim=True).clamp(min=1) * q
    last = (rank * under).amax(-1, keepdim=True)
    return (p <= ordered.gather(-1, (last - 1).clamp(min=0))) & (last > 0)


ANSWERS = {
    "capture": [capture_with_finally, capture_by_a_class, capture_by_all_modules],
    "next_token_hits": [hits_by_loops, hits_by_the_two_largest, hits_by_one_hot],
    "histogram_probabilities": [
        histogram_by_one_hot,
        histogram_by_numpy,
        histogram_by_comparing,
        histogram_in_the_given_dtype,
    ],
    "kl": [kl_by_mask, kl_by_torch, kl_by_entropies, kl_by_loop],
    "jsd": [jsd_by_entropies, jsd_by_mask, jsd_by_torch],
    "permutation_pvalue": [
        permutation_of_values,
        permutation_at_once,
        permutation_row_by_row,
        permutation_with_a_dimension_in_front,
        permutation_of_each_row_by_itself,
    ],
    "benjamini_hochberg": [
        discoveries_by_loops,
        discoveries_by_adjusted_values,
        discoveries_by_counting,
        discoveries_by_limits_in_float32,
    ],
}
