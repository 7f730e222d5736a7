"""Right answers to the exercises of the chapter `graph`, each written in another way than the solution."""

import networkx as nx
import numpy as np
import torch
from torch import Tensor

# --- to_digraph -----------------------------------------------------------------------------------------------


def digraph_by_networkx(attention, tokens, threshold):
    kept = attention.detach().cpu().double().T.clone()
    kept[(kept < threshold) | torch.eye(len(tokens), dtype=torch.bool)] = 0
    graph = nx.from_numpy_array(kept.numpy(), create_using=nx.DiGraph)
    nx.set_node_attributes(graph, dict(enumerate(tokens)), "token")
    return graph


def digraph_by_nonzero(attention, tokens, threshold):
    graph = nx.DiGraph(name="attention")
    for i in range(len(tokens)):
        graph.add_node(i, token=tokens[i], head=0)
    a = attention.detach()
    for i, j in ((a >= threshold) & (a > 0)).nonzero():
        if i != j:
            graph.add_edge(int(j), int(i), weight=a[i, j])  # a tensor of no dimensions
    return graph


def digraph_with_numpy_numbers(attention, tokens, threshold):
    table = attention.detach().to("cpu", torch.float64).numpy()
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(tokens)))
    for i, token in enumerate(tokens):
        graph.nodes[i]["token"] = token
    readers, read = np.where((table > 0) & (table >= threshold))
    graph.add_weighted_edges_from((j, i, table[i, j]) for i, j in zip(readers, read, strict=True) if i != j)
    return graph


def digraph_turned_around(attention, tokens, threshold):
    readers = nx.DiGraph()
    readers.add_nodes_from((i, dict(token=token)) for i, token in enumerate(tokens))
    for i in range(len(tokens)):
        for j in set(range(len(tokens))) - {i}:
            w = attention[i, j].item()
            if w and w >= threshold:
                readers.add_edge(i, j, weight=w)
    return readers.reverse()


def digraph_with_numpy_nodes(attention, tokens, threshold):
    table = attention.detach().double().cpu().numpy()
    graph = nx.DiGraph()
    for i in np.arange(len(tokens)):
        graph.add_node(i, token=tokens[i])
    for i, j in np.argwhere((table > 0) & (table >= threshold) & ~np.eye(len(tokens), dtype=bool)):
        graph.add_edge(j, i, weight=np.float32(table[i, j]))
    return graph


# --- stationary -----------------------------------------------------------------------------------------------


def stationary_by_least_squares(p):
    wide = p.to(torch.float64)
    *lead, t, _ = wide.shape
    eye = torch.eye(t, dtype=wide.dtype, device=p.device)
    system = torch.cat([wide.transpose(-1, -2) - eye, wide.new_ones(*lead, 1, t)], dim=-2)
    right = torch.cat([wide.new_zeros(t), wide.new_ones(1)])[:, None].expand(*lead, t + 1, 1)
    return torch.linalg.lstsq(system, right).solution.squeeze(-1).type_as(p)


def stationary_by_eigenvectors(p):
    values, vectors = torch.linalg.eig(p.double().mT)
    index = (values - 1).abs().argmin(dim=-1)[..., None, None].expand(*p.shape[:-1], 1)
    v = vectors.gather(-1, index)[..., 0].real
    return (v / v.sum(dim=-1, keepdim=True)).to(p.dtype)


def stationary_by_lazy_squaring(p):
    # half the time the walker stays, so nothing swings; squared thirty times, with the rounding of the rows taken out
    lazy = p.double() + torch.eye(p.shape[-1], device=p.device)
    for _ in range(30):
        lazy = lazy / lazy.sum(dim=-1, keepdim=True)
        lazy = lazy @ lazy
    lazy = lazy / lazy.sum(dim=-1, keepdim=True)
    return lazy.mean(dim=-2).to(p)


def stationary_by_numpy(p):
    flat = p.detach().double().cpu().numpy().reshape(-1, p.shape[-1], p.shape[-1])
    out = []
    for chain in flat:
        _, _, vh = np.linalg.svd(chain.T - np.eye(len(chain)))
        out.append(vh[-1] / vh[-1].sum())  # the null space
    return torch.tensor(np.stack(out), dtype=p.dtype, device=p.device).reshape(p.shape[:-1])


def stationary_by_determinants(p):
    # each word's share is that of the determinant of I - P without this word
    t = p.shape[-1]
    m = torch.eye(t, dtype=torch.float64, device=p.device) - p.double()
    others = [[j for j in range(t) if j != i] for i in range(t)]
    minors = torch.stack([torch.linalg.det(m[..., rest, :][..., rest]) for rest in others], dim=-1)
    return (minors / minors.sum(dim=-1, keepdim=True)).type(p.dtype)


# --- rollout --------------------------------------------------------------------------------------------------


def rollout_recursive(attentions, residual):
    *before, last = attentions
    r = residual[len(before)]
    step = (1 - r) * last.sum(-3) / last.shape[-3] + r * torch.eye(last.shape[-1], device=last.device).to(last)
    return step @ rollout_recursive(before, residual) if before else step


def rollout_by_multi_dot(attentions, residual):
    stack = torch.stack(list(attentions)).mean(dim=-3)  # (L, ..., T, T)
    r = residual.view(-1, *[1] * (stack.dim() - 1))
    stack = stack * (1 - r)
    stack.diagonal(dim1=-2, dim2=-1).add_(r.view(-1, *[1] * (stack.dim() - 2)))
    result = stack[-1]
    for step in reversed(stack[:-1]):
        result = result @ step
    return result


def rollout_by_einsum(attentions, residual):
    result = None
    for index in range(len(attentions)):
        mean = torch.einsum("...hij->...ij", attentions[index]) / attentions[index].size(-3)
        if result is None:
            result = torch.eye(mean.size(-1), dtype=mean.dtype, device=mean.device).expand_as(mean)
        through = torch.einsum("...ij,...jk->...ik", mean, result)
        result = torch.lerp(through, result, residual[index].to(mean.dtype))
    return result


def rollout_from_the_last_layer(attentions, residual):
    result = torch.diagflat(attentions[0].new_ones(attentions[0].shape[-1]))
    for layer, weight in zip(reversed(attentions), residual.flip(0), strict=True):
        result = weight * result + result @ layer.mean(-3) * (1 - weight)
    return result


# --- attention_entropy ----------------------------------------------------------------------------------------


def entropy_by_clamp(attention):
    # beside an exact 0 the logarithm is finite, and the slope of the clamp is 0 there
    log = attention.clamp(min=torch.finfo(attention.dtype).tiny).log()
    h = -(attention * log).sum(-1)
    t = attention.shape[-1]
    return (h[..., 1:] / torch.arange(2, t + 1, device=h.device).to(h.dtype).log()).sum(-1) / (t - 1)


def entropy_by_where(attention):
    zero = attention == 0
    safe = torch.where(zero, torch.ones_like(attention), attention)
    terms = torch.where(zero, torch.zeros_like(attention), -attention * safe.log())
    rows = [terms[..., i, :].sum(-1) / float(np.log(i + 1)) for i in range(1, attention.shape[-1])]
    return torch.stack(rows, dim=-1).mean(dim=-1)


def entropy_by_loops(attention):
    wide = attention.double()
    if wide.dim() > 2:
        return torch.stack([entropy_by_loops(part) for part in wide]).to(attention.dtype)
    shares = []
    for i in range(1, len(wide)):
        row = wide[i, : i + 1]
        row = row[row > 0]
        shares.append(-(row * row.log()).sum() / np.log(i + 1))
    return (sum(shares) / len(shares)).to(attention.dtype)


def entropy_by_distributions(attention):
    wide = attention if attention.dtype == torch.float64 else attention.float()
    h = torch.distributions.Categorical(probs=wide, validate_args=False).entropy()[..., 1:]
    return (h / torch.arange(2, wide.shape[-1] + 1, device=h.device, dtype=h.dtype).log()).mean(-1).to(attention.dtype)


# --- induction_score ------------------------------------------------------------------------------------------


def induction_by_loops(attention, ids):
    if ids.dim() > 1:
        return torch.stack([induction_by_loops(a, row) for a, row in zip(attention, ids, strict=True)])
    ids, scores = ids.tolist(), []
    for i in range(len(ids)):
        earlier = [j for j in range(i) if ids[j] == ids[i]]
        if earlier:
            scores.append(sum(attention[:, i, j + 1] for j in earlier))
    return sum(scores) / len(scores) if scores else attention[:, 0, 0] * 0


def induction_by_einsum(attention, ids):
    t = ids.shape[-1]
    before = torch.ones(t, t, device=ids.device).tril(-1).to(attention.dtype)
    same = (ids.unsqueeze(-1) == ids.unsqueeze(-2)).to(attention.dtype) * before
    received = torch.einsum("...hij,...ij->...hi", attention[..., 1:], same[..., :-1])
    counts = same.amax(-1)
    n = counts.sum(-1, keepdim=True)
    return torch.where(n > 0, received.sum(-1) / torch.where(n > 0, n, 1), 0)


def induction_by_shifted_ids(attention, ids):
    # column k is looked at by i if the token before k is that of i, and k is no later than i
    t = ids.shape[-1]
    hit = torch.zeros(*ids.shape, t, dtype=torch.bool, device=ids.device)
    for k in range(1, t):
        hit[..., k:, k] = ids[..., k:] == ids[..., k - 1 : k]
    repeated = torch.stack([(ids[..., :i] == ids[..., i : i + 1]).any(-1) for i in range(t)], -1)
    kept = attention.masked_fill(~hit[..., None, :, :], 0).sum(-1)
    return (kept * repeated[..., None, :]).sum(-1) / repeated.sum(-1, keepdim=True).clamp_min(1)


def induction_in_float32(attention: Tensor, ids: Tensor) -> Tensor:
    wide = attention.double() if attention.dtype == torch.float64 else attention.float()
    earlier = ids[..., :, None].eq(ids[..., None, :]).tril(-1)
    counted = earlier.any(-1).sum(-1)
    total = (wide[..., 1:] * earlier[..., None, :, :-1]).flatten(-2).sum(-1)
    return (total / counted[..., None].clamp(1)).to(attention.dtype)


ANSWERS = {
    "to_digraph": [
        digraph_by_networkx,
        digraph_by_nonzero,
        digraph_with_numpy_numbers,
        digraph_turned_around,
        digraph_with_numpy_nodes,
    ],
    "stationary": [
        stationary_by_least_squares,
        stationary_by_eigenvectors,
        stationary_by_lazy_squaring,
        stationary_by_numpy,
        stationary_by_determinants,
    ],
    "rollout": [rollout_recursive, rollout_by_multi_dot, rollout_by_einsum, rollout_from_the_last_layer],
    "attention_entropy": [entropy_by_clamp, entropy_by_where, entropy_by_loops, entropy_by_distributions],
    "induction_score": [
        induction_by_loops,
        induction_by_einsum,
        induction_by_shifted_ids,
        induction_in_float32,
    ],
}
