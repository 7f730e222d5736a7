"""Right answers to the exercises of the chapter `similarity`, as different people would write them."""

import math
from collections import Counter

import numpy as np
import torch
from torch.nn import functional as F

# --- attention_scores -----------------------------------------------------------------------------------------


def scores_by_einsum(x):
    scores = torch.einsum("...id,...jd->...ij", x, x)
    t = x.size(-2)
    return scores, (scores + torch.full((t, t), -math.inf, dtype=x.dtype, device=x.device).tril().triu()).argmax(-1)


def scores_by_loops(x):
    if x.dim() > 2:
        parts = [scores_by_loops(sequence) for sequence in x]
        return torch.stack([s for s, _ in parts]), torch.stack([n for _, n in parts])
    rows = [torch.stack([torch.dot(one, other) for other in x]) for one in x]
    nearest = [max((j for j in range(len(x)) if j != i), key=lambda j, row=row: row[j]) for i, row in enumerate(rows)]
    return torch.stack(rows), torch.tensor(nearest, device=x.device)


def scores_by_removing_the_diagonal(x):
    # the others' scores as (..., T, T - 1): an index at or beyond one's own is one too small
    scores = x.matmul(x.transpose(-2, -1))
    t = x.shape[-2]
    own = torch.eye(t, dtype=torch.bool, device=x.device)
    rest = scores[..., ~own].unflatten(-1, (t, t - 1))
    index = rest.max(dim=-1).indices
    return [scores, index + (index >= torch.arange(t, device=x.device))]


def scores_by_sum_of_products(x):
    scores = (x.unsqueeze(-2) * x.unsqueeze(-3)).sum(-1)
    without = scores.detach().clone()
    without.diagonal(dim1=-2, dim2=-1).fill_(-math.inf)
    return scores, without.topk(1, dim=-1).indices.squeeze(-1)


def scores_by_the_two_best(x):
    # of the two best words one may be the word itself
    scores = (x.float() @ x.float().mT).to(x.dtype)
    best = scores.topk(2).indices
    own = torch.arange(x.shape[-2], device=x.device)
    return scores, torch.where(best[..., 0] == own, best[..., 1], best[..., 0])


# --- normalize ------------------------------------------------------------------------------------------------


def normalize_by_hand(scores, how, temperature):
    if how not in ("sum", "softmax"):
        raise ValueError("unknown way " + how)
    if temperature <= 0:
        raise ValueError("temperature must be positive, not " + str(temperature))
    if how == "softmax":
        scores = torch.exp((scores - scores.max(-1, keepdim=True).values) / temperature)
    return scores / scores.sum(-1, keepdim=True)


def normalize_by_rows(scores, how, temperature):
    assert isinstance(how, str)
    if scores.dim() > 1:
        return torch.stack([normalize_by_rows(row, how, temperature) for row in scores])
    if not temperature > 0 or how not in {"sum", "softmax"}:
        raise ValueError(f"bad arguments: how={how}, temperature={temperature}")
    if how == "sum":
        return torch.stack([score / sum(scores) for score in scores])
    best = max(scores)
    e = [((score - best) / temperature).exp() for score in scores]
    return torch.stack([each / sum(e) for each in e])


def normalize_in_float64(scores, how, temperature):
    if temperature <= 0:
        raise ValueError(f"{temperature=}")
    wide = scores.double() / temperature
    match how:
        case "sum":
            out = F.normalize(wide, p=1, dim=-1) if (wide > 0).all() else wide / wide.sum(-1, keepdim=True)
        case "softmax":
            out = wide.softmax(-1)
        case _:
            raise ValueError(f"{how=}")
    return out.to(scores.dtype)


def normalize_by_logsumexp(scores, how, temperature):
    if temperature <= 0:
        raise ValueError(f"the temperature {temperature} is not greater than 0")
    if how == "sum":
        return scores.div(scores.sum(dim=-1, keepdim=True))
    if how != "softmax":
        raise ValueError(f"neither sum nor softmax: {how}")
    wide = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    wide = (wide - wide.amax(-1, keepdim=True)) / temperature
    return (wide - wide.logsumexp(-1, keepdim=True)).exp().to(scores.dtype)


def normalize_by_differences(scores, how, temperature):
    if how not in ["sum", "softmax"]:
        raise ValueError(f"no way {how}")
    if temperature <= 0:
        raise ValueError(f"no temperature {temperature}")
    mine, others = scores.unsqueeze(-1), scores.unsqueeze(-2)
    if how == "sum":
        return (others / mine).sum(-1).reciprocal()
    return ((others - mine) / torch.tensor(temperature)).exp().sum(-1).reciprocal()


# --- context_vectors ------------------------------------------------------------------------------------------


def context_by_einsum(x):
    weights = F.softmax(torch.einsum("...id,...jd->...ij", x, x), dim=-1)
    squares = torch.einsum("...ij,...ij->...i", weights, weights)
    return torch.einsum("...ij,...jd->...id", weights, x), squares.reciprocal()


def context_by_loops(x):
    if x.dim() > 2:
        parts = [context_by_loops(sequence) for sequence in x]
        return torch.stack([c for c, _ in parts]), torch.stack([b for _, b in parts])
    contexts, breadths = [], []
    for asking in x:
        scores = torch.stack([asking.dot(other) for other in x])
        e = (scores - scores.max()).exp()
        row = e / e.sum()
        contexts.append(sum(share * word for share, word in zip(row, x, strict=True)))
        breadths.append(1 / sum(share**2 for share in row))
    return torch.stack(contexts), torch.stack(breadths)


def context_by_library(x):
    # attention over the rows of the identity shows the weights
    t = x.size(-2)
    eye = torch.eye(t, dtype=x.dtype, device=x.device).expand(*x.shape[:-1], t)
    weights = F.scaled_dot_product_attention(x, x, eye, scale=1.0)
    return F.scaled_dot_product_attention(x, x, x, scale=1.0), weights.norm(dim=-1) ** -2


def context_by_columns(x):
    # the scores are symmetric: softmax down the columns, and the transpose is what is asked for
    columns = torch.softmax(x @ x.mT, dim=-2)  # (..., T, T)
    return columns.mT @ x, 1 / (columns * columns).sum(-2)


def context_by_exponentials(x):
    # the total divides last: (e @ x) / Σ e, and (Σ e)² / Σ e² for the breadth
    scores = x @ x.mT
    e = torch.exp(scores - scores.max(-1, keepdim=True).values)
    total = e.sum(-1)
    return (e @ x) / total[..., None], total * total / (e * e).sum(-1)


# --- token_cost -----------------------------------------------------------------------------------------------


def cost_by_counter(text, encode):
    ids = [int(i) for i in encode(text)]
    counts = Counter(ids)
    n = sum(counts.values())
    return {
        "score_entries": n * n,
        "bytes_per_token": len(bytes(text, "utf8")) / n if n else 0.0,
        "distinct": len(counts),
        "tokens": n,
    }


def cost_by_tensor(text, encode):
    ids = torch.as_tensor(encode(text))
    t = ids.numel()
    return dict(
        tokens=t,
        distinct=ids.unique().numel(),
        bytes_per_token=len(text.encode()) / t if t else 0.0,
        score_entries=torch.Size((t, t)).numel(),
    )


def cost_by_loops(text, encode):
    tokens, seen = 0, set()
    for token in encode(text):
        tokens += 1
        seen.add(token.item() if hasattr(token, "item") else token)
    size = sum(1 for _ in text.encode())
    cost = {"tokens": tokens, "distinct": len(seen), "bytes_per_token": 0.0, "score_entries": tokens**2}
    if tokens:
        cost["bytes_per_token"] = size / tokens
    return cost


def cost_by_numpy(text, encode):
    ids = encode(text)
    ids = ids.cpu().numpy() if hasattr(ids, "cpu") else np.array(ids)
    return {
        "tokens": ids.size,
        "distinct": np.unique(ids).size,
        "bytes_per_token": np.float64(len(text.encode())) / ids.size if ids.size else np.float64(0),
        "score_entries": ids.size**2,
    }


ANSWERS = {
    "attention_scores": [
        scores_by_einsum,
        scores_by_loops,
        scores_by_removing_the_diagonal,
        scores_by_sum_of_products,
        scores_by_the_two_best,
    ],
    "normalize": [
        normalize_by_hand,
        normalize_by_rows,
        normalize_in_float64,
        normalize_by_logsumexp,
        normalize_by_differences,
    ],
    "context_vectors": [
        context_by_einsum,
        context_by_loops,
        context_by_library,
        context_by_columns,
        context_by_exponentials,
    ],
    "token_cost": [cost_by_counter, cost_by_tensor, cost_by_loops, cost_by_numpy],
}
