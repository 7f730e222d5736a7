"""How far apart two groups of values are, for all layers at once: histograms, divergences, permutation tests."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from insidegpt.errors import UserError

_CHUNK = 1 << 22
"""Labels or counts in memory at a time."""


class PermutationTest(NamedTuple):
    """observed: (L,); null: (n, L), the same under permuted labels; p_value: (L,), (1 + #null ≥ observed) / (1 + n)."""

    observed: Tensor
    null: Tensor
    p_value: Tensor


def histogram_counts(values: Tensor, hits: Tensor, n_bins: int) -> Tensor:
    """How many values of each group fall into each of `n_bins` bins of equal width.

    values: (L, T), finite; hits: (T,) bool, the same split for every layer. A layer's edges run from its least to its
    greatest value and serve both groups; a bin holds its left edge, the last one both. Returns (L, 2, n_bins) int64:
    row 0 counts where hits is False, row 1 where it is True.
    """
    one_hot = _one_hot_bins(values, n_bins)  # (T, L · n_bins)
    return _counts(hits[None].to(values.device), one_hot, len(values))[0].long()


def kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p‖q) along the last dimension, in nats: Σ p ln(p/q), with 0 · ln 0 = 0, infinite where q = 0 < p.

    p, q: (…, K), non-negative, each summing to 1.
    """
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def js_divergence(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence along the last dimension, in nats: the mean of KL(p‖m) and KL(q‖m), m = (p + q)/2.

    p, q: (…, K), non-negative, each summing to 1. Symmetric, from 0 to ln 2. Lin, 1991.
    """
    m = (p + q) / 2
    return (kl_divergence(p, m) + kl_divergence(q, m)) / 2


def permuted_labels(hits: Tensor, n: int, generator: torch.Generator, circular: bool = False) -> Tensor:
    """`n` random rearrangements of the labels; (n, T) bool on the device of `hits`.

    circular: turn the labels in a circle by a random amount instead, which keeps neighbours together.
    """
    device, length = generator.device, len(hits)
    if circular:
        shift = torch.randint(length, (n, 1), generator=generator, device=device)
        order = (torch.arange(length, device=device) - shift) % length
    else:
        order = torch.rand(n, length, generator=generator, device=device).argsort(1)
    return hits[order.to(hits.device)]


def permutation_test(
    values: Tensor,
    hits: Tensor,
    n_bins: int,
    n: int,
    generator: torch.Generator,
    divergence: Callable[[Tensor, Tensor], Tensor] = js_divergence,
    circular: bool = False,
) -> PermutationTest:
    """Test for every layer whether its values are spread differently where `hits` is True.

    values: (L, T); hits: (T,) bool with both answers in it; n: permutations, the same ones for all layers; divergence:
    maps two tensors of probabilities (…, n_bins), hits False and hits True, to (…). circular: see `permuted_labels`.
    Runs on the device of the values, whatever the generator's. Raises UserError where a group is empty.

    Phipson and Smyth, 2010, for the p-value: the data as they are count as one permutation, so it is never 0.
    """
    hits = hits.to(values.device)
    if hits.all() or not hits.any():
        raise UserError(
            "All labels are the same, so there are no two groups to compare.",
            "所有标签都相同，没有两组可比。",
        )
    one_hot = _one_hot_bins(values, n_bins)

    def distances(labels: Tensor) -> Tensor:  # (m, T) -> (m, L)
        counts = _counts(labels, one_hot, len(values))  # (m, L, 2, n_bins)
        p, q = (counts / counts.sum(-1, keepdim=True)).unbind(2)
        return divergence(p, q)

    observed = distances(hits[None])[0]
    at_once = max(1, _CHUNK // max(one_hot.shape))
    null = torch.cat(
        [distances(permuted_labels(hits, min(at_once, n - done), generator, circular)) for done in range(0, n, at_once)]
    )
    # Equal divergences tie, though rounding may part their last bits.
    tied = torch.isclose(null, observed, rtol=100 * torch.finfo(null.dtype).eps, atol=0)
    p_value = (1 + ((null >= observed) | tied).sum(0)) / (1 + n)
    return PermutationTest(observed, null, p_value)


def _one_hot_bins(values: Tensor, n_bins: int) -> Tensor:
    """(T, L · n_bins) float32: 1 at the bin of each value of each layer."""
    if not values.isfinite().all():
        raise UserError("A value is infinite or not a number.", "有的值是无穷大或不是数。")
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    low, high = values.aminmax(dim=1, keepdim=True)
    edges = low + (high - low) * torch.linspace(0, 1, n_bins + 1, dtype=values.dtype, device=values.device)
    bins = torch.searchsorted(edges[:, 1:-1].contiguous(), values.contiguous(), right=True)  # (L, T)
    one_hot = torch.zeros(values.shape[1], len(values), n_bins, device=values.device)
    one_hot.scatter_(2, bins.T[..., None], 1)
    return one_hot.flatten(1)


def _counts(labels: Tensor, one_hot: Tensor, n_layers: int) -> Tensor:
    """(m, L, 2, n_bins): how many values fall into each bin, labels False, then True. labels: (m, T)."""
    # One matrix product counts for all layers and permutations; sums of ones are exact in float32 up to 2²⁴.
    true = (labels.float() @ one_hot).view(len(labels), n_layers, -1)
    total = one_hot.sum(0).view(n_layers, -1)
    return torch.stack([total - true, true], dim=2)
