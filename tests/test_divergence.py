"""Histograms, divergences and permutation tests of all layers at once, against loops over one at a time."""

import math

import pytest
import torch

from insidegpt.divergence import (
    histogram_counts,
    js_divergence,
    kl_divergence,
    permutation_test,
    permuted_labels,
)
from insidegpt.errors import UserError

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
BINS = 7


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def hits():
    """Whether each of 60 tokens was predicted."""
    return torch.rand(60, generator=seeded(1)) < 0.3


@pytest.fixture
def values(hits):
    """Four layers; in the last one, predicted tokens have other values."""
    values = torch.randn(4, 60, generator=seeded(2))
    values[3, hits] += 2
    return values


def plain_counts(values, hits, n_bins):
    """One layer's counts, with a loop over values: a bin holds its left edge, the last one both."""
    low, high = values.min().item(), values.max().item()
    counts = torch.zeros(2, n_bins, dtype=torch.int64)
    for value, hit in zip(values.tolist(), hits.tolist(), strict=True):
        counts[int(hit), min(int((value - low) / (high - low) * n_bins), n_bins - 1)] += 1
    return counts


def plain_distance(values, hits, divergence):
    """One layer's divergence under one set of labels."""
    p, q = (row / row.sum() for row in plain_counts(values, hits, BINS).double())
    return divergence(p, q)


def probabilities(*shape: int, seed: int = 0):
    return torch.rand(*shape, dtype=torch.float64, generator=seeded(seed)).softmax(-1)


@pytest.mark.parametrize("n_bins", [1, 2, 7, 30])
def test_counts_are_those_of_a_loop(values, hits, n_bins):
    counts = histogram_counts(values, hits, n_bins)
    assert counts.dtype == torch.int64
    assert torch.equal(counts, torch.stack([plain_counts(layer, hits, n_bins) for layer in values]))


def test_counts_are_those_of_torch_with_edges_that_both_groups_share(values, hits):
    for layer, counts in zip(values, histogram_counts(values, hits, BINS), strict=True):
        edges = torch.linspace(layer.min(), layer.max(), BINS + 1)
        for group, row in zip((layer[~hits], layer[hits]), counts, strict=True):
            assert torch.equal(torch.histogram(group, edges).hist.long(), row)


def test_every_value_is_counted_once_in_its_group(values, hits):
    counts = histogram_counts(values, hits, 30).sum(-1)
    assert (counts == torch.tensor([(~hits).sum(), hits.sum()])).all()


def test_a_value_on_an_edge_belongs_to_the_bin_on_its_right_and_the_greatest_to_the_last():
    values = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0]])
    counts = histogram_counts(values, torch.ones(5, dtype=torch.bool), 4)
    assert counts[0].tolist() == [[0, 0, 0, 0], [1, 1, 1, 2]]


def test_a_layer_of_equal_values_fills_one_bin(hits):
    test = permutation_test(torch.ones(1, 60), hits, BINS, 20, seeded())
    assert histogram_counts(torch.ones(1, 60), hits, BINS).count_nonzero() == 2
    assert (test.observed.item(), test.p_value.item()) == (0, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_values_of_any_dtype_are_counted(values, hits, dtype):
    rounded = values.to(dtype)
    assert torch.equal(histogram_counts(rounded, hits, BINS), histogram_counts(rounded.double(), hits, BINS))


def test_a_value_that_is_no_number_is_refused(values, hits):
    values[1, 3] = math.nan
    with pytest.raises(UserError, match="not a number"):
        histogram_counts(values, hits, BINS)


def test_kl_is_the_sum_over_bins_in_nats():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    assert kl_divergence(p, q).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))


def test_kl_has_a_direction_and_agrees_with_torch():
    p, q = probabilities(5, 9), probabilities(5, 9, seed=1)
    expected = torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(-1)
    torch.testing.assert_close(kl_divergence(p, q), expected)
    assert not torch.allclose(kl_divergence(q, p), expected)


def test_kl_takes_zero_times_log_zero_as_zero_and_is_infinite_where_only_q_is_zero():
    p, q = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.5, 0.5, 0.0])
    assert kl_divergence(p, q).item() == pytest.approx(math.log(2))
    assert kl_divergence(q, p).item() == math.inf


def test_js_is_the_mean_distance_to_the_middle():
    p, q = probabilities(5, 9), probabilities(5, 9, seed=1)
    m = (p + q) / 2
    torch.testing.assert_close(js_divergence(p, q), (kl_divergence(p, m) + kl_divergence(q, m)) / 2)
    torch.testing.assert_close(js_divergence(p, q), js_divergence(q, p))


def test_js_runs_from_zero_to_ln_2():
    p, q = torch.tensor([0.3, 0.7, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    assert js_divergence(p, p).item() == 0
    assert js_divergence(p, q).item() == pytest.approx(math.log(2))


def test_permuted_labels_keep_the_sizes_of_the_groups(hits):
    labels = permuted_labels(hits, 50, seeded())
    assert labels.shape == (50, 60)
    assert (labels.sum(1) == hits.sum()).all()
    assert len(labels.unique(dim=0)) == 50


def test_every_token_is_as_likely_to_be_drawn(hits):
    share = permuted_labels(hits, 4000, seeded()).double().mean(0)
    assert (share - hits.double().mean()).abs().max() < 5 * math.sqrt(0.25 / 4000)


def test_circular_labels_are_turned_in_a_circle(hits):
    turns = {tuple(hits.roll(shift).tolist()) for shift in range(60)}
    seen = {tuple(row.tolist()) for row in permuted_labels(hits, 2000, seeded(), circular=True)}
    assert seen == turns


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("divergence", [js_divergence, kl_divergence])
def test_p_values_are_those_of_a_loop_over_the_same_permutations(values, hits, divergence, circular):
    n = 60
    test = permutation_test(values, hits, BINS, n, seeded(5), divergence, circular)
    labels = permuted_labels(hits, n, seeded(5), circular)
    for layer, row in enumerate(values):
        observed = plain_distance(row, hits, divergence)
        null = torch.stack([plain_distance(row, fake, divergence) for fake in labels])
        assert test.observed[layer].item() == pytest.approx(observed.item(), rel=1e-4, abs=1e-6)
        torch.testing.assert_close(test.null[:, layer].double(), null, rtol=1e-4, atol=1e-6)
        as_far = (null >= observed) | torch.isclose(null, observed, rtol=1e-9)
        assert test.p_value[layer].item() == pytest.approx((1 + as_far.sum().item()) / (1 + n))


def test_the_p_value_finds_the_layer_that_differs(values, hits):
    p = permutation_test(values, hits, BINS, 999, seeded()).p_value
    assert p[3] == 1 / 1000
    assert (p[:3] > 0.01).all()


def test_labels_that_tie_with_the_observed_ones_count(hits):
    # Turning labels of period 2 gives the same two groups each time, so every divergence equals the observed one.
    labels = torch.arange(60) % 2 == 0
    test = permutation_test(torch.randn(1, 60, generator=seeded()), labels, BINS, 200, seeded(), circular=True)
    assert test.p_value.item() == 1


def test_p_values_are_uniform_where_there_is_nothing_to_find():
    values = torch.randn(2000, 40, generator=seeded(3))
    p = permutation_test(values, torch.arange(40) < 15, 5, 199, seeded(4)).p_value
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).double().mean() == pytest.approx(level, abs=0.04)


def test_a_test_in_many_chunks_is_the_same(values, hits, monkeypatch):
    whole = permutation_test(values, hits, BINS, 100, seeded())
    monkeypatch.setattr("insidegpt.divergence._CHUNK", 1)
    chunked = permutation_test(values, hits, BINS, 100, seeded())
    torch.testing.assert_close(chunked.null, whole.null)
    assert torch.equal(chunked.p_value, whole.p_value)


@pytest.mark.parametrize("device", DEVICES)
def test_results_stay_on_the_device_of_the_values_and_inputs_as_they_were(values, hits, device):
    before = values.clone(), hits.clone()
    test = permutation_test(values.to(device), hits, BINS, 100, seeded())
    assert {t.device.type for t in test} == {device}
    torch.testing.assert_close(test.p_value.cpu(), permutation_test(values, hits, BINS, 100, seeded()).p_value)
    assert torch.equal(values, before[0]) and torch.equal(hits, before[1])


@pytest.mark.parametrize("label", [True, False])
def test_one_group_alone_is_refused(values, label):
    with pytest.raises(UserError, match="no two groups"):
        permutation_test(values, torch.full((60,), label), BINS, 10, seeded())
