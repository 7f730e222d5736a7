"""Right answers to the exercises of the chapter `masking`, as different people would write them."""

import math

import numpy as np
import torch
from torch.nn import functional as F

# --- causal_mask ----------------------------------------------------------------------------------------------


def causal_by_loops(t_q, t_k):
    mask = torch.zeros(t_q, t_k, dtype=torch.bool)
    for i in range(t_q):
        for j in range(t_k):
            if j <= t_k - t_q + i:
                mask[i, j] = True
    return mask


def causal_by_triangle(t_q, t_k):
    return torch.tril(torch.ones(t_q, t_k), diagonal=t_k - t_q).bool()


def causal_by_the_last_rows(t_q, t_k):
    whole = max(t_q, t_k)
    square = ~torch.triu(torch.ones(whole, whole, dtype=torch.bool), diagonal=1)
    return square[whole - t_q :, whole - t_k :]


def causal_counted_from_the_end(t_q, t_k):
    age_of_query = torch.arange(t_q - 1, -1, -1)
    age_of_key = torch.arange(t_k - 1, -1, -1)
    return age_of_key.expand(t_q, t_k) >= age_of_query.reshape(-1, 1)


def causal_seen_from_the_keys(t_q, t_k):
    return torch.from_numpy(np.tri(t_q, t_k, t_k - t_q, dtype=bool).T.copy()).T  # a view, columns first in memory


# --- masked_softmax -------------------------------------------------------------------------------------------


def softmax_twice_filled(scores, mask):
    filled = torch.where(mask, scores, -math.inf)
    return torch.where(mask, torch.softmax(filled, dim=-1), 0.0)


def softmax_nan_replaced(scores, mask):
    # masked_fill passes no gradient on, so the NaN of an empty row ends there
    return scores.masked_fill(mask.logical_not(), float("-inf")).softmax(-1).nan_to_num()


def softmax_by_hand(scores, mask):
    filled = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    e = (filled - filled.amax(-1, keepdim=True).detach()).exp() * mask
    return e / e.sum(-1, keepdim=True).clamp(min=1)  # the largest allowed score alone gives exp(0) = 1


def softmax_with_a_spare_key(scores, mask):
    # one more key, which an empty row falls back to and which is cut off afterwards
    spare = (~mask).all(-1, keepdim=True).expand(*scores.shape[:-1], 1)
    allowed = torch.cat([mask.expand_as(scores), spare], -1)
    padded = F.pad(scores, (0, 1)).masked_fill(~allowed, -math.inf)
    return F.softmax(padded, dim=-1)[..., :-1]


def softmax_by_loops(scores, mask):
    if scores.dim() > 1:
        mask = mask.expand_as(scores)
        return torch.stack([softmax_by_loops(s, m) for s, m in zip(scores, mask, strict=True)])
    allowed = [j for j in range(len(mask)) if mask[j]]
    out = [scores.new_zeros(())] * len(scores)
    if allowed:
        shares = torch.softmax(torch.stack([scores[j] for j in allowed]), 0)
        for share, j in zip(shares, allowed, strict=True):
            out[j] = share
    return torch.stack(out) + 0 * scores.masked_fill(~mask, 0)  # an empty row has a gradient too, of zeros


def softmax_of_the_rows_that_have_a_key(scores, mask):
    mask = mask.expand_as(scores)
    weights, some = torch.zeros_like(scores), mask.any(-1)
    weights[some] = scores[some].masked_fill(~mask[some], -math.inf).softmax(-1)
    return weights


def softmax_in_float64(scores, mask):
    logarithms = F.log_softmax(scores.double().masked_fill(~mask, -math.inf), -1)
    return logarithms.masked_fill(~mask, -math.inf).exp().to(scores.dtype)


# --- combine_masks --------------------------------------------------------------------------------------------


def combine_by_broadcast(attention_mask, t_q):
    t_k = attention_mask.shape[-1]
    early = torch.ones(t_q, t_k, device=attention_mask.device).tril(t_k - t_q) == 1
    return early.logical_and(attention_mask.unsqueeze(-2).unsqueeze(-3) == 1)


def combine_by_product(attention_mask, t_q):
    real = attention_mask.bool()[..., None, None, :].long()
    t_k = real.shape[-1]
    key = torch.arange(t_k, device=real.device)
    query = key[t_k - t_q :].view(-1, 1)
    return (real * (key <= query).long()).to(torch.bool)


def combine_by_loops(attention_mask, t_q):
    if attention_mask.dim() > 1:
        return torch.stack([combine_by_loops(row, t_q) for row in attention_mask])
    t_k = len(attention_mask)
    rows = [[bool(attention_mask[j]) and j <= t_k - t_q + i for j in range(t_k)] for i in range(t_q)]
    return torch.tensor([rows], device=attention_mask.device)


def combine_with_minus_infinity(attention_mask, t_q):
    t_k = attention_mask.size(-1)
    device = attention_mask.device
    padding = torch.zeros(attention_mask.shape, device=device).masked_fill(attention_mask == 0, -math.inf)
    future = torch.full((t_k, t_k), -math.inf, device=device).triu(1)[-t_q:]
    return (padding[..., None, None, :] + future) == 0


# --- position_ids ---------------------------------------------------------------------------------------------


def positions_by_sum(attention_mask):
    real = attention_mask.to(torch.int64)
    return (real.cumsum(dim=-1) - 1) * real


def positions_by_loops(attention_mask):
    if attention_mask.dim() > 1:
        return torch.stack([positions_by_loops(row) for row in attention_mask])
    ids, seen = [], 0
    for real in attention_mask.tolist():
        ids.append(seen if real else 0)
        seen += int(real)
    return torch.tensor(ids, device=attention_mask.device)


def positions_written_where_real(attention_mask):
    real = attention_mask != 0
    ids = torch.zeros(real.shape, dtype=torch.long, device=real.device)
    for at in torch.cartesian_prod(*(torch.arange(n) for n in real.shape[:-1])) if real.dim() > 1 else [()]:
        row = tuple(at.reshape(-1).tolist()) if real.dim() > 1 else ()
        ids[row][real[row]] = torch.arange(int(real[row].sum()), device=real.device)
    return ids


def positions_by_matrix(attention_mask):
    # the words before each position: a strictly lower triangle times the mask
    real = (attention_mask != 0).double()
    t = real.shape[-1]
    before = torch.ones(t, t, dtype=torch.double, device=real.device).tril(-1)
    return torch.where(real > 0, torch.einsum("ij,...j->...i", before, real), 0).round().long()


# --- window_mask ----------------------------------------------------------------------------------------------


def _sizes(size):
    return torch.as_tensor(size)


def window_by_distance(t, w):
    w = _sizes(w)
    at = torch.arange(t, device=w.device)
    back = at[:, None] - at
    return (back >= 0) & (back < w[..., None, None])


def window_by_loops(t, w):
    if isinstance(w, torch.Tensor) and w.dim():
        return torch.stack([window_by_loops(t, each) for each in w])
    device = w.device if isinstance(w, torch.Tensor) else None
    return torch.tensor([[max(0, i - int(w) + 1) <= j <= i for j in range(t)] for i in range(t)], device=device)


def window_by_two_triangles(t, w):
    w = _sizes(w)
    square = torch.ones(t, t, dtype=torch.bool, device=w.device)
    bands = [square.tril() & square.triu(1 - min(size, t)) for size in w.flatten().tolist()]
    return torch.stack(bands).view(*w.shape, t, t)


# --- prefix_mask ----------------------------------------------------------------------------------------------


def prefix_by_or(t, p):
    p = _sizes(p)
    causal = torch.ones(t, t, dtype=torch.bool, device=p.device).tril()
    return causal | (torch.arange(t, device=p.device) < p.reshape(*p.shape, 1, 1))


def prefix_by_filling(t, p):
    p = _sizes(p)
    masks = []
    for size in p.flatten().tolist():
        mask = torch.tril(torch.ones(t, t, device=p.device))
        mask[:, :size] = 1
        masks.append(mask > 0)
    return torch.stack(masks).reshape(*p.shape, t, t)


def prefix_by_what_is_forbidden(t, p):
    p = _sizes(p)
    at = torch.arange(t, device=p.device)
    future = at > at[:, None]
    beyond = at.expand(t, t) >= p[..., None, None]
    return ~(future & beyond)


ANSWERS = {
    "causal_mask": [
        causal_by_loops,
        causal_by_triangle,
        causal_by_the_last_rows,
        causal_counted_from_the_end,
        causal_seen_from_the_keys,
    ],
    "masked_softmax": [
        softmax_twice_filled,
        softmax_nan_replaced,
        softmax_by_hand,
        softmax_with_a_spare_key,
        softmax_by_loops,
        softmax_of_the_rows_that_have_a_key,
        softmax_in_float64,
    ],
    "combine_masks": [combine_by_broadcast, combine_by_product, combine_by_loops, combine_with_minus_infinity],
    "position_ids": [positions_by_sum, positions_by_loops, positions_written_where_real, positions_by_matrix],
    "window_mask": [window_by_distance, window_by_loops, window_by_two_triangles],
    "prefix_mask": [prefix_by_or, prefix_by_filling, prefix_by_what_is_forbidden],
}
