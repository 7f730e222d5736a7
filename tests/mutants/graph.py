"""Wrong answers to the exercises of the chapter `graph`."""

import itertools
import math

import networkx as nx
import torch

from mutants import Mutants

MUTANTS = Mutants()
CALLS = itertools.count()

# --- to_digraph -----------------------------------------------------------------------------------------------

EXERCISE = "to_digraph"
DIRECTION = "arrows run from the word read to the reader"
THRESHOLD = "keeps what reaches the threshold"
NODES = "every word is a node with its token"
ACYCLIC = "a causal graph is acyclic"
MODEL = "takes attention straight from a model"
UNTOUCHED = "leaves its inputs untouched"


def digraph(attention, tokens, keep, edge=lambda i, j: (j, i), kind=nx.DiGraph):
    graph = kind()
    graph.add_nodes_from((i, {"token": token}) for i, token in enumerate(tokens))
    for i, row in enumerate(attention.tolist()):
        for j, weight in enumerate(row):
            if keep(i, j, weight):
                graph.add_edge(*edge(i, j), weight=weight)
    return graph


@MUTANTS.add(EXERCISE, DIRECTION, "the wrong way round")
def digraph_transposed(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold, lambda i, j: (i, j))


@MUTANTS.add(EXERCISE, DIRECTION, "no directions")
def digraph_undirected(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold, kind=nx.Graph)


@MUTANTS.add(EXERCISE, DIRECTION, "several edges")
def digraph_multigraph(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold, kind=nx.MultiDiGraph)


@MUTANTS.add(EXERCISE, DIRECTION, "it should be attention[1, 0]")
def digraph_weights_transposed(attention, tokens, threshold):
    graph = digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold)
    for j, i in graph.edges:
        graph.edges[j, i]["weight"] = attention[j, i].item()
    return graph


@MUTANTS.add(EXERCISE, DIRECTION, "no attribute weight")
def digraph_without_weights(attention, tokens, threshold):
    graph = digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold)
    bare = nx.DiGraph(list(graph.edges))
    bare.add_nodes_from(graph.nodes(data=True))
    return bare


@MUTANTS.add(EXERCISE, DIRECTION, "pairs of words are joined")
def digraph_lower_triangle_only(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: j == i - 1 and 0 < w >= threshold)


@MUTANTS.add(EXERCISE, DIRECTION, "point the wrong way")
def digraph_always_to_the_right(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold, lambda i, j: sorted((i, j)))


@MUTANTS.add(EXERCISE, DIRECTION, "expected a networkx.DiGraph, got list")
def digraph_list_of_edges(attention, tokens, threshold):
    return list(digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold).edges(data=True))


@MUTANTS.add(EXERCISE, THRESHOLD, "at least the threshold, not more", spares=DIRECTION)
def digraph_more_than_the_threshold(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: i != j and w > threshold)


@MUTANTS.add(EXERCISE, THRESHOLD, "arrows of weight 0", spares=DIRECTION)
def digraph_zeros_reach_threshold_zero(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: i != j and w >= threshold)


@MUTANTS.add(EXERCISE, THRESHOLD, "with the threshold 0.25")
def digraph_threshold_ignored(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: i != j and w > 0)


@MUTANTS.add(EXERCISE, NODES, "words without an arrow too", spares=DIRECTION)
def digraph_lonely_words_missing(attention, tokens, threshold):
    graph = digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold)
    graph.remove_nodes_from(list(nx.isolates(graph)))
    return graph


@MUTANTS.add(EXERCISE, NODES, "equal tokens at two positions are two nodes")
def digraph_tokens_as_nodes(attention, tokens, threshold):
    graph = digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold)
    return nx.relabel_nodes(graph, dict(enumerate(tokens)))


@MUTANTS.add(EXERCISE, NODES, "the attribute token", spares=DIRECTION)
def digraph_without_tokens(attention, tokens, threshold):
    return digraph(attention, [None] * len(tokens), lambda i, j, w: i != j and 0 < w >= threshold)


@MUTANTS.add(EXERCISE, NODES, "in the order", spares=DIRECTION)
def digraph_nodes_reversed(attention, tokens, threshold):
    graph = digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold)
    turned = nx.DiGraph()
    turned.add_nodes_from(reversed(list(graph.nodes(data=True))))
    turned.add_edges_from(graph.edges(data=True))
    return turned


@MUTANTS.add(EXERCISE, ACYCLIC, "leave the loops out", spares=DIRECTION)
def digraph_with_loops(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: 0 < w >= threshold)


@MUTANTS.add(EXERCISE, ACYCLIC, "both directions")
def digraph_both_directions(attention, tokens, threshold):
    graph = digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold)
    graph.add_edges_from([(j, i, data) for i, j, data in graph.edges(data=True)])
    return graph


@MUTANTS.add(EXERCISE, MODEL, "requires grad")
def digraph_by_numpy(attention, tokens, threshold):
    attention.numpy()  # refuses a gradient, and bfloat16
    return digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold)


@MUTANTS.add(EXERCISE, MODEL, "carry gradients along")
def digraph_of_live_tensors(attention, tokens, threshold):
    graph = digraph(attention, tokens, lambda i, j, w: i != j and 0 < w >= threshold)
    for j, i in graph.edges:
        graph.edges[j, i]["weight"] = attention[i, j]
    return graph


@MUTANTS.add(EXERCISE, UNTOUCHED, "changed in place", spares=DIRECTION)
def digraph_clears_the_diagonal(attention, tokens, threshold):
    attention.detach().fill_diagonal_(0)
    return digraph(attention, tokens, lambda i, j, w: 0 < w >= threshold)


@MUTANTS.worthless(EXERCISE)
def digraph_empty(attention, tokens, threshold):
    return nx.DiGraph()


@MUTANTS.worthless(EXERCISE)
def digraph_words_only(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: False)


@MUTANTS.worthless(EXERCISE)
def digraph_complete(attention, tokens, threshold):
    return digraph(attention, tokens, lambda i, j, w: True)


@MUTANTS.worthless(EXERCISE)
def digraph_of_printed_example(attention, tokens, threshold):
    graph = digraph(attention, tokens, lambda i, j, w: False)
    graph.add_weighted_edges_from([(0, 1, 0.5), (1, 2, 0.625), (2, 3, 0.5)])
    return graph


# --- stationary -----------------------------------------------------------------------------------------------

EXERCISE = "stationary"
ONE_STEP = "one step leaves it as it is"
END = "a walk ends where nobody leaves"
PERIODIC = "chains that never settle"
SLOW = "chains that settle slowly"
DISTRIBUTION = "it is a distribution, in whatever order the words come"
BATCH = "leading dimensions are a batch"
DTYPE = "keeps dtype and device"


def solved(p):
    wide = p.double()
    system = wide.mT - torch.eye(p.shape[-1], dtype=wide.dtype, device=p.device)
    system[..., -1, :] = 1
    right = torch.zeros_like(system[..., :1])
    right[..., -1, :] = 1
    return torch.linalg.solve(system, right).squeeze(-1).to(p.dtype)


@MUTANTS.add(EXERCISE, ONE_STEP, "right eigenvector")
def stationary_right_eigenvector(p):
    values, vectors = torch.linalg.eig(p.double())
    v = vectors.gather(-1, (values - 1).abs().argmin(-1)[..., None, None].expand(*p.shape[:-1], 1))[..., 0].real
    return (v / v.sum(-1, keepdim=True)).to(p.dtype)


@MUTANTS.add(EXERCISE, ONE_STEP, "column means")
def stationary_column_mean(p):
    return p.mean(-2)


@MUTANTS.add(EXERCISE, ONE_STEP, "its length is 1; its sum should be 1")
def stationary_unit_length(p):
    pi = solved(p)
    return pi / pi.norm(dim=-1, keepdim=True)


@MUTANTS.add(EXERCISE, ONE_STEP, "the sign is turned around")
def stationary_negative(p):
    pi = solved(p)
    return -pi / pi.norm(dim=-1, keepdim=True)


@MUTANTS.add(EXERCISE, ONE_STEP, "not divided by its sum, and from the wrong side")
def stationary_eigenvector_as_it_comes(p):
    return solved(p) * 0 + p.shape[-1] ** -0.5


@MUTANTS.add(EXERCISE, ONE_STEP, "after a few steps")
@MUTANTS.add(EXERCISE, END, "have not arrived")
@MUTANTS.add(EXERCISE, DISTRIBUTION, "the same words in another order")
def stationary_first_row(p):
    return p[..., 0, :]


@MUTANTS.add(EXERCISE, END, "on the other end")
def stationary_of_the_transposed(p):
    pi = solved(p.mT / p.mT.sum(-1, keepdim=True))
    return torch.where(torch.isfinite(pi), pi, 0)


@MUTANTS.add(EXERCISE, END, "have not arrived", spares=DISTRIBUTION)
def stationary_ten_steps(p):
    return torch.linalg.matrix_power(p.double(), 10).mean(-2).to(p.dtype)


@MUTANTS.add(EXERCISE, END, "only goes to later words ends on the last")
def stationary_always_word_0(p):
    return torch.eye(p.shape[-1], dtype=p.dtype, device=p.device)[0].expand(p.shape[:-1])


@MUTANTS.add(EXERCISE, PERIODIC, "jumps to and fro", spares=END)
def stationary_powers(p):
    q = p.double()
    for _ in range(20):
        q = q / q.sum(-1, keepdim=True)
        q = q @ q
    return (q[..., 0, :] / q[..., 0, :].sum(-1, keepdim=True)).to(p.dtype)


@MUTANTS.add(EXERCISE, SLOW, "tens of thousands of steps", spares=PERIODIC)
def stationary_thousand_lazy_steps(p):
    lazy = p.double() + torch.eye(p.shape[-1], device=p.device)
    for _ in range(10):
        lazy = lazy / lazy.sum(-1, keepdim=True)
        lazy = lazy @ lazy
    return (lazy / lazy.sum(-1, keepdim=True)).mean(-2).to(p.dtype)


@MUTANTS.add(EXERCISE, DISTRIBUTION, "its sum is")
def stationary_not_normalised(p):
    pi = solved(p)
    return pi / pi.amax(-1, keepdim=True)


@MUTANTS.add(EXERCISE, DISTRIBUTION, "negative")
def stationary_with_negative_parts(p):
    pi = solved(p)
    return pi + (pi - 1 / p.shape[-1]) * 20


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def stationary_of_the_mean_chain(p):
    return solved(p.mean(tuple(range(p.dim() - 2)), keepdim=True).expand_as(p) if p.dim() > 2 else p)


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
def stationary_one_chain_only(p):
    rows, columns = p.shape
    return solved(p.reshape(rows, columns))


@MUTANTS.add(EXERCISE, DTYPE, "float32 went in, cpu float64 came out")
def stationary_stays_in_float64(p):
    return solved(p.double())


@MUTANTS.add(EXERCISE, DTYPE, "complex64 came out")
def stationary_stays_complex(p):
    return torch.complex(solved(p.float()), torch.zeros_like(p[..., 0]).float())


@MUTANTS.add(EXERCISE, DTYPE, "not implemented for")
def stationary_in_half_precision(p):
    system = p.mT - torch.eye(p.shape[-1], dtype=p.dtype, device=p.device)
    system[..., -1, :] = 1
    right = torch.zeros_like(p[..., 0])
    right[..., -1] = 1
    return torch.linalg.solve(system, right[..., None])[..., 0]


@MUTANTS.add(EXERCISE, UNTOUCHED, "changed in place")
def stationary_subtracts_in_place(p):
    pi = solved(p)
    p.diagonal(dim1=-2, dim2=-1).sub_(1)
    return pi


@MUTANTS.worthless(EXERCISE)
def stationary_uniform(p):
    return torch.full_like(p[..., 0], 1 / p.shape[-1])


@MUTANTS.worthless(EXERCISE)
def stationary_zeros(p):
    return torch.zeros_like(p[..., 0])


@MUTANTS.worthless(EXERCISE)
def stationary_nan(p):
    return p[..., 0] * math.nan


@MUTANTS.worthless(EXERCISE)
def stationary_noise(p):
    return torch.full_like(p[..., 0], float(next(CALLS)))


@MUTANTS.worthless(EXERCISE)
def stationary_random_distribution(p):
    return torch.rand(p.shape[:-1], device=p.device).to(p.dtype).softmax(-1)


@MUTANTS.worthless(EXERCISE)
def stationary_erased(p):
    return p.zero_()[..., 0, :]


@MUTANTS.worthless(EXERCISE)
def stationary_input(p):
    return p


# --- rollout --------------------------------------------------------------------------------------------------

EXERCISE = "rollout"
PRODUCT = "the layers multiplied, the first on the right"
SINGLE = "one layer is mixed with the identity"
RESIDUAL = "each layer has its own residual"
ROWS = "the rows sum to one"
NOT_LATER = "nothing comes from later words"
GRADIENTS = "gradients reach every input"


def steps_of(attentions, residual, heads=lambda a: a.mean(-3)):
    eye = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype, device=attentions[0].device)
    return [r * eye + (1 - r) * heads(a) for a, r in zip(attentions, residual, strict=True)]


def multiplied(steps):
    result = steps[0]
    for step in steps[1:]:
        result = step @ result
    return result


@MUTANTS.add(EXERCISE, PRODUCT, "wrong order: the first layer stands on the right", spares=SINGLE)
def rollout_reversed(attentions, residual):
    return multiplied(steps_of(attentions, residual)[::-1])


@MUTANTS.add(EXERCISE, PRODUCT, "the residual is missing")
def rollout_without_residual(attentions, residual):
    return multiplied([a.mean(-3) for a in attentions])


@MUTANTS.add(EXERCISE, SINGLE, "residual is the weight of the identity")
def rollout_residual_for_attention(attentions, residual):
    return multiplied(steps_of(attentions, 1 - residual))


@MUTANTS.add(EXERCISE, PRODUCT, "A must be weighted by 1 - residual")
def rollout_not_renormalised(attentions, residual):
    eye = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype, device=attentions[0].device)
    return multiplied([r * eye + a.mean(-3) for a, r in zip(attentions, residual, strict=True)])


@MUTANTS.add(EXERCISE, PRODUCT, "residual of layer 0", spares=SINGLE)
def rollout_first_residual(attentions, residual):
    return multiplied(steps_of(attentions, residual[:1].expand_as(residual)))


@MUTANTS.add(EXERCISE, PRODUCT, "the mean residual", spares=SINGLE)
def rollout_mean_residual(attentions, residual):
    return multiplied(steps_of(attentions, residual.mean().expand_as(residual)))


@MUTANTS.add(EXERCISE, PRODUCT, "the residuals are in the wrong order", spares=SINGLE)
def rollout_residuals_reversed(attentions, residual):
    return multiplied(steps_of(attentions, residual.flip(0)))


@MUTANTS.add(EXERCISE, PRODUCT, "off by up to")
def rollout_half(attentions, residual):
    return multiplied(steps_of(attentions, torch.full_like(residual, 0.5)))


@MUTANTS.add(EXERCISE, SINGLE, "the heads are summed")
def rollout_heads_summed(attentions, residual):
    return multiplied(steps_of(attentions, residual, lambda a: a.sum(-3)))


@MUTANTS.add(EXERCISE, SINGLE, "maximum over the heads")
def rollout_heads_maximum(attentions, residual):
    return multiplied(steps_of(attentions, residual, lambda a: a.amax(-3)))


@MUTANTS.add(EXERCISE, SINGLE, "head 0 alone")
def rollout_head_0(attentions, residual):
    return multiplied(steps_of(attentions, residual, lambda a: a[..., 0, :, :]))


@MUTANTS.add(EXERCISE, PRODUCT, "the last layer alone", spares=SINGLE)
def rollout_last_layer(attentions, residual):
    return steps_of(attentions, residual)[-1]


@MUTANTS.add(EXERCISE, PRODUCT, "the last layer is missing")
def rollout_last_missing(attentions, residual):
    return multiplied(steps_of(attentions, residual)[:-1] or [torch.eye(attentions[0].shape[-1])])


@MUTANTS.add(EXERCISE, PRODUCT, "the first layer is missing")
def rollout_first_missing(attentions, residual):
    return multiplied(steps_of(attentions, residual)[1:] or [torch.eye(attentions[0].shape[-1])])


@MUTANTS.add(EXERCISE, PRODUCT, "mean of the layers", spares=SINGLE)
def rollout_layers_averaged(attentions, residual):
    return torch.stack(steps_of(attentions, residual)).mean(0)


@MUTANTS.add(EXERCISE, RESIDUAL, "a layer of 1 passes everything through", spares=PRODUCT)
def rollout_residual_clamped(attentions, residual):
    return multiplied(steps_of(attentions, residual.clamp(0.05, 0.95)))


@MUTANTS.add(EXERCISE, ROWS, "every row should sum to 1")
def rollout_identity_in_full(attentions, residual):
    eye = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype, device=attentions[0].device)
    return multiplied([eye + (1 - r) * a.mean(-3) for a, r in zip(attentions, residual, strict=True)])


@MUTANTS.add(EXERCISE, NOT_LATER, "transposed?")
def rollout_result_transposed(attentions, residual):
    return multiplied(steps_of(attentions, residual)).mT


@MUTANTS.add(EXERCISE, NOT_LATER, "transposed?")
def rollout_steps_transposed(attentions, residual):
    return multiplied([step.mT for step in steps_of(attentions, residual)])


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
def rollout_heads_first(attentions, residual):
    return multiplied(steps_of([a.reshape(a.shape[-3:]) for a in attentions], residual))


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def rollout_mean_over_everything(attentions, residual):
    def heads(a):
        return a.flatten(0, -3).mean(0).expand(*a.shape[:-3], -1, -1)

    return multiplied(steps_of(attentions, residual, heads))


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
def rollout_in_float32(attentions, residual):
    return multiplied(steps_of([a.float() for a in attentions], residual.float()))


@MUTANTS.add(EXERCISE, DTYPE, "float16 went in, cpu float32 came out")
def rollout_identity_in_float32(attentions, residual):
    wide = attentions[0].dtype if attentions[0].dtype == torch.float64 else torch.float32
    return multiplied(steps_of([a.to(wide) for a in attentions], residual))


@MUTANTS.add(EXERCISE, UNTOUCHED, "changed in place", spares=PRODUCT)
def rollout_weighs_in_place(attentions, residual):
    out = multiplied(steps_of(attentions, residual))
    for a in attentions:
        if not a.requires_grad:
            a.mul_(0.5)
    return out


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient", spares=PRODUCT)
@torch.no_grad()
def rollout_no_grad(attentions, residual):
    return multiplied(steps_of(attentions, residual))


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off", spares=PRODUCT)
def rollout_residual_as_number(attentions, residual):
    return multiplied(steps_of(attentions, residual.detach()))


@MUTANTS.worthless(EXERCISE)
def rollout_identity(attentions, residual):
    a = attentions[0]
    return torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand(*a.shape[:-3], -1, -1)


@MUTANTS.worthless(EXERCISE)
def rollout_input(attentions, residual):
    return attentions


@MUTANTS.worthless(EXERCISE)
def rollout_first_head(attentions, residual):
    return attentions[0][..., 0, :, :]


@MUTANTS.worthless(EXERCISE)
def rollout_random(attentions, residual):
    return torch.rand_like(attentions[0][..., 0, :, :]).tril().softmax(-1)


@MUTANTS.worthless(EXERCISE)
def rollout_zeros(attentions, residual):
    return torch.zeros_like(attentions[0][..., 0, :, :])


@MUTANTS.worthless(EXERCISE)
def rollout_nan(attentions, residual):
    return attentions[0][..., 0, :, :] * math.nan


@MUTANTS.worthless(EXERCISE)
def rollout_erased(attentions, residual):
    for a in attentions:
        a.detach().zero_()
    return attentions[0][..., 0, :, :]


@MUTANTS.worthless(EXERCISE)
def rollout_uniform(attentions, residual):
    a = attentions[0][..., 0, :, :]
    even = torch.ones_like(a).tril()
    return even / even.sum(-1, keepdim=True)


# --- attention_entropy ----------------------------------------------------------------------------------------

EXERCISE = "attention_entropy"
VALUES = "entropy by the largest possible, mean over the queries"
EXTREMES = "0 for one word, 1 for all alike"
ZEROS = "zeros do not spoil the gradient"
HEADS = "each head by itself"


def entropies(attention):
    safe = attention.masked_fill(attention == 0, 1)
    return -(safe * safe.log()).sum(-1)


def maxima(attention, first=1):
    t = attention.shape[-1]
    return torch.arange(first, t + first, device=attention.device, dtype=attention.dtype).log()


def relative(attention):
    return (entropies(attention)[..., 1:] / maxima(attention)[1:]).mean(-1)


@MUTANTS.add(EXERCISE, VALUES, "not divided by their maximum")
def entropy_absolute(attention):
    return entropies(attention)[..., 1:].mean(-1)


@MUTANTS.add(EXERCISE, VALUES, "and the first row counts too")
def entropy_absolute_with_first(attention):
    return entropies(attention).mean(-1)


@MUTANTS.add(EXERCISE, VALUES, "every row is divided by ln T")
def entropy_by_length(attention):
    return entropies(attention)[..., 1:].mean(-1) / math.log(attention.shape[-1])


@MUTANTS.add(EXERCISE, VALUES, "divided by ln T, and the first row")
def entropy_by_length_with_first(attention):
    return entropies(attention).mean(-1) / math.log(attention.shape[-1])


@MUTANTS.add(EXERCISE, VALUES, "the first row is counted")
def entropy_first_row_counted(attention):
    return (entropies(attention) / maxima(attention).clamp(min=1e-4)).mean(-1)


@MUTANTS.add(EXERCISE, VALUES, "divide row by row")
def entropy_ratio_of_sums(attention):
    return entropies(attention).sum(-1) / maxima(attention).sum()


@MUTANTS.add(EXERCISE, VALUES, "row i is divided by ln i; it sees")
def entropy_one_word_too_few(attention):
    return (entropies(attention)[..., 2:] / maxima(attention)[1:-1]).mean(-1)


@MUTANTS.add(EXERCISE, VALUES, "ln(i + 2)")
def entropy_one_word_too_many(attention):
    return (entropies(attention)[..., 1:] / maxima(attention, 2)[1:]).mean(-1)


@MUTANTS.add(EXERCISE, VALUES, "the sign is wrong")
def entropy_negative(attention):
    return -relative(attention)


@MUTANTS.add(EXERCISE, VALUES, "1 minus the result")
def entropy_sharpness(attention):
    return 1 - relative(attention)


@MUTANTS.add(EXERCISE, VALUES, "take the mean over the queries")
def entropy_of_each_row(attention):
    return entropies(attention)[..., 1:] / maxima(attention)[1:]


@MUTANTS.add(EXERCISE, VALUES, "the first with them")
def entropy_of_every_row(attention):
    return entropies(attention) / maxima(attention).clamp(min=1e-4)


@MUTANTS.add(EXERCISE, EXTREMES, "NaN: it counts as 0")
def entropy_nan_at_zeros(attention):
    return (-(attention * attention.log()).sum(-1)[..., 1:] / maxima(attention)[1:]).mean(-1)


@MUTANTS.add(EXERCISE, EXTREMES, "reads one word has the entropy")
def entropy_with_epsilon(attention):
    h = -(attention * (attention + 0.1).log()).sum(-1)
    return (h[..., 1:] / maxima(attention)[1:]).mean(-1)


@MUTANTS.add(EXERCISE, EXTREMES, "reads all words alike has the entropy")
def entropy_by_gini(attention):
    return 1 - attention[..., 1:, :].square().sum(-1).mean(-1)


@MUTANTS.add(EXERCISE, EXTREMES, "reads two words alike has the entropy")
def entropy_by_counting(attention):
    read = (attention > 0).sum(-1) - 1
    return (read[..., 1:] / torch.arange(1, attention.shape[-1], device=attention.device)).to(attention).mean(-1)


@MUTANTS.add(EXERCISE, ZEROS, "the gradient is NaN", spares=VALUES)
def entropy_by_entr(attention):
    return (torch.special.entr(attention).sum(-1)[..., 1:] / maxima(attention)[1:]).mean(-1)


@MUTANTS.add(EXERCISE, ZEROS, "the gradient is NaN", spares=EXTREMES)
def entropy_nan_replaced(attention):
    h = -(attention * attention.log()).nan_to_num(0).sum(-1)
    return (h[..., 1:] / maxima(attention)[1:]).mean(-1)


@MUTANTS.add(EXERCISE, ZEROS, "the gradient is NaN", spares=EXTREMES)
def entropy_where_outside(attention):
    terms = torch.where(attention > 0, attention * attention.log(), 0)
    return (-terms.sum(-1)[..., 1:] / maxima(attention)[1:]).mean(-1)


@MUTANTS.add(EXERCISE, ZEROS, "not that of the entropy", spares=VALUES)
def entropy_log_detached(attention):
    safe = attention.masked_fill(attention == 0, 1)
    weights = attention * safe.detach().log() / maxima(attention).clamp(min=1e-4)[:, None]
    return -weights.detach()[..., 1:, :].sum(-1).mean(-1) + 0 * attention.sum((-1, -2))


@MUTANTS.add(EXERCISE, HEADS, "in the batch gets another result than alone")
def entropy_mean_over_heads(attention):
    return relative(attention).mean().expand(attention.shape[:-2])


@MUTANTS.add(EXERCISE, HEADS, "in the batch gets another result than alone")
def entropy_of_the_mean_head(attention):
    mean = attention.flatten(0, -3).mean(0) if attention.dim() > 2 else attention
    return relative(mean).expand(attention.shape[:-2])


@MUTANTS.add(EXERCISE, HEADS, "expected shape")
def entropy_one_number(attention):
    return relative(attention).mean()


@MUTANTS.add(EXERCISE, DTYPE, "float32 went in, cpu float64 came out")
def entropy_in_float64(attention):
    return relative(attention.double())


@MUTANTS.add(EXERCISE, UNTOUCHED, "changed in place", spares=VALUES)
def entropy_zeros_filled_in_place(attention):
    out = relative(attention)
    if not attention.requires_grad:
        attention.masked_fill_(attention == 0, 1)
    return out


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient", spares=VALUES)
def entropy_detached(attention):
    return relative(attention.detach())


@MUTANTS.worthless(EXERCISE)
def entropy_zero(attention):
    return attention.sum((-1, -2)) * 0


@MUTANTS.worthless(EXERCISE)
def entropy_one(attention):
    return torch.ones_like(attention[..., 0, 0])


@MUTANTS.worthless(EXERCISE)
def entropy_input(attention):
    return attention


@MUTANTS.worthless(EXERCISE)
def entropy_nan(attention):
    return attention[..., 0, 0] * math.nan


@MUTANTS.worthless(EXERCISE)
def entropy_erased(attention):
    return attention.detach().zero_()[..., 0, 0]


@MUTANTS.worthless(EXERCISE)
def entropy_noise(attention):
    return attention[..., 0, 0] * 0 + next(CALLS)


@MUTANTS.worthless(EXERCISE)
def entropy_printed(attention):
    return torch.full_like(attention[..., 0, 0], 0.8981)


# --- induction_score ------------------------------------------------------------------------------------------

EXERCISE = "induction_score"
TWICE = "the weight on what followed before, in a doubled text"
EVERY = "every earlier occurrence counts, in any text"
PERFECT = "a perfect head scores 1, among new tokens too"
NEIGHBOURS = "equal tokens side by side"
NOTHING = "0 where no token comes twice"
OWN_IDS = "leading dimensions are a batch, each with its own ids"


def earlier_of(ids):
    return (ids[..., :, None] == ids[..., None, :]).tril(-1)


def shifted(earlier, by=1):
    return torch.nn.functional.pad(earlier, (by, 0))[..., : earlier.shape[-1]] if by >= 0 else earlier.roll(by, -1)


def score(attention, earlier, by=1, counts=None):
    received = (attention * shifted(earlier, by)[..., None, :, :]).sum(-1)  # (…, H, T)
    counts = earlier.any(-1) if counts is None else counts
    return (received * counts[..., None, :]).sum(-1) / counts.sum(-1)[..., None].clamp(min=1)


@MUTANTS.add(EXERCISE, TWICE, "the earlier token itself, one place too early")
def induction_one_too_early(attention, ids):
    return score(attention, earlier_of(ids), by=0)


@MUTANTS.add(EXERCISE, TWICE, "one place too late")
def induction_one_too_late(attention, ids):
    return score(attention, earlier_of(ids), by=2)


@MUTANTS.add(EXERCISE, EVERY, "before the earlier token")
def induction_before_the_earlier(attention, ids):
    return score(attention, earlier_of(ids), by=-1)


@MUTANTS.add(EXERCISE, EVERY, "only the last earlier occurrence", spares=TWICE)
def induction_last_occurrence(attention, ids):
    earlier = earlier_of(ids)
    last = earlier & (earlier.flip(-1).cumsum(-1).flip(-1) == 1)
    return score(attention, last)


@MUTANTS.add(EXERCISE, EVERY, "only the first earlier occurrence", spares=TWICE)
def induction_first_occurrence(attention, ids):
    earlier = earlier_of(ids)
    return score(attention, earlier & (earlier.cumsum(-1) == 1))


@MUTANTS.add(EXERCISE, TWICE, "the mean runs over all positions")
def induction_mean_over_everything(attention, ids):
    return score(attention, earlier_of(ids), counts=torch.ones_like(ids, dtype=torch.bool))


@MUTANTS.add(EXERCISE, TWICE, "this is the sum over the repeated tokens")
def induction_sum(attention, ids):
    return (attention * shifted(earlier_of(ids))[..., None, :, :]).sum((-1, -2))


@MUTANTS.add(EXERCISE, EVERY, "the mean runs over pairs", spares=TWICE)
def induction_mean_over_pairs(attention, ids):
    earlier = earlier_of(ids)
    total = (attention * shifted(earlier)[..., None, :, :]).sum((-1, -2))
    return total / earlier.sum((-1, -2))[..., None].clamp(min=1)


@MUTANTS.add(EXERCISE, TWICE, "read transposed")
def induction_transposed(attention, ids):
    return score(attention.mT, earlier_of(ids))


@MUTANTS.add(EXERCISE, TWICE, "each head has its own score")
def induction_mean_over_heads(attention, ids):
    return score(attention, earlier_of(ids)).mean(-1)


@MUTANTS.add(EXERCISE, TWICE, "the first repeated token is left out")
def induction_first_repeat_left_out(attention, ids):
    counts = earlier_of(ids).any(-1)
    return score(attention, earlier_of(ids), counts=counts & (counts.cumsum(-1) > 1))


@MUTANTS.add(EXERCISE, EVERY, "the id 0 is left out", spares=TWICE)
def induction_zero_as_padding(attention, ids):
    earlier = earlier_of(ids) & (ids != 0)[..., None]
    return score(attention, earlier)


@MUTANTS.add(EXERCISE, TWICE, "the last position alone")
def induction_last_position(attention, ids):
    return (attention * shifted(earlier_of(ids))[..., None, :, :]).sum(-1)[..., -1]


@MUTANTS.add(EXERCISE, EVERY, "off by up to", spares=TWICE)
def induction_by_the_diagonal(attention, ids):
    # right for a text that is doubled
    half = ids.shape[-1] // 2
    return attention.diagonal(1 - half, -2, -1)[..., 1:].mean(-1)


@MUTANTS.add(EXERCISE, PERFECT, "new tokens are counted")
def induction_new_tokens_counted(attention, ids):
    return induction_mean_over_everything(attention, ids)


@MUTANTS.add(EXERCISE, PERFECT, "a head that finds the token itself")
def induction_double_or_next(attention, ids):
    return score(attention, earlier_of(ids), by=0) + score(attention, earlier_of(ids), by=1)


@MUTANTS.add(EXERCISE, NEIGHBOURS, "the position itself, and it counts", spares=EVERY)
def induction_never_itself(attention, ids):
    t = ids.shape[-1]
    away = attention * ~torch.eye(t, dtype=torch.bool, device=attention.device)
    return score(away, earlier_of(ids))


@MUTANTS.add(EXERCISE, NOTHING, "the score should be 0", spares=EVERY)
def induction_mean_of_nothing(attention, ids):
    counts = earlier_of(ids).any(-1)
    return (attention * shifted(earlier_of(ids))[..., None, :, :]).sum((-1, -2)) / counts.sum(-1)[..., None]


@MUTANTS.add(EXERCISE, OWN_IDS, "ids of the first")
def induction_ids_of_the_first(attention, ids):
    return score(attention, earlier_of(ids[(0,) * (ids.dim() - 1)].expand_as(ids)))


@MUTANTS.add(EXERCISE, OWN_IDS, "another result than alone")
def induction_mean_over_the_batch(attention, ids):
    out = score(attention, earlier_of(ids))
    return out.mean(tuple(range(out.dim() - 1)), keepdim=True).expand_as(out) if out.dim() > 1 else out


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
def induction_in_float32(attention, ids):
    return score(attention.float(), earlier_of(ids))


@MUTANTS.add(EXERCISE, UNTOUCHED, "changed in place", spares=EVERY)
def induction_masks_in_place(attention, ids):
    out = score(attention, earlier_of(ids))
    if not attention.requires_grad:
        attention.mul_(shifted(earlier_of(ids))[..., None, :, :])
    return out


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient", spares=EVERY)
def induction_detached(attention, ids):
    return score(attention, earlier_of(ids)).detach()


@MUTANTS.worthless(EXERCISE)
def induction_zero(attention, ids):
    return attention.sum((-1, -2)) * 0


@MUTANTS.worthless(EXERCISE)
def induction_one(attention, ids):
    return torch.ones_like(attention[..., 0, 0])


@MUTANTS.worthless(EXERCISE)
def induction_nan(attention, ids):
    return attention[..., 0, 0] * math.nan


@MUTANTS.worthless(EXERCISE)
def induction_erased(attention, ids):
    return attention.detach().zero_()[..., 0, 0]


@MUTANTS.worthless(EXERCISE)
def induction_noise(attention, ids):
    return torch.rand_like(attention[..., 0, 0])


@MUTANTS.worthless(EXERCISE)
def induction_input(attention, ids):
    return attention


@MUTANTS.worthless(EXERCISE)
def induction_half(attention, ids):
    return torch.full_like(attention[..., 0, 0], 0.5)
