"""Wrong answers to the exercises of the chapter `probing`."""

import contextlib
import math

import torch
from torch.nn import functional as F

from mutants import Mutants

MUTANTS = Mutants()

# --- capture --------------------------------------------------------------------------------------------------

EXERCISE = "capture"
OUTPUTS = "holds what each module put out last"
LEAK = "leaves no hook, however the block ends"
NEUTRAL = "what the model computes does not change"
NO_GRADIENT = "keeps no gradient"
COPY = "keeps a copy that nothing later reaches"
TUPLE = "takes the first entry of a tuple"
NESTED = "leaves the hooks of others alone"
DTYPE = "keeps dtype and device"


def first_of(output):
    return output[0] if isinstance(output, tuple) else output


def kept(output):
    return first_of(output).detach().clone()


@contextlib.contextmanager
def listening(model, names, keep=kept, replace=False):
    """A right capture, but for what `keep` makes of an output, and whether the hook puts that in its place."""
    seen, handles = {}, []
    try:
        for name in names:

            def hook(module, args, output, name=name):
                seen[name] = keep(output)
                return seen[name] if replace else None

            handles.append(model.get_submodule(name).register_forward_hook(hook))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@MUTANTS.add(EXERCISE, LEAK, "after the block", spares=OUTPUTS)
@contextlib.contextmanager
def capture_never_removes(model, names):
    seen = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda m, a, out, name=name: seen.update({name: kept(out)}))
    yield seen


@MUTANTS.add(EXERCISE, LEAK, "after an exception in the block", spares=NESTED)
@contextlib.contextmanager
def capture_without_finally(model, names):
    seen, handles = {}, []
    for name in names:
        listen = model.get_submodule(name).register_forward_hook
        handles.append(listen(lambda m, a, out, name=name: seen.update({name: kept(out)})))
    yield seen
    for handle in handles:
        handle.remove()


@MUTANTS.add(EXERCISE, LEAK, "after a name that does not exist", spares=NESTED)
@contextlib.contextmanager
def capture_tries_too_late(model, names):
    seen, handles = {}, []
    for name in names:
        listen = model.get_submodule(name).register_forward_hook
        handles.append(listen(lambda m, a, out, name=name: seen.update({name: kept(out)})))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@MUTANTS.add(EXERCISE, LEAK, "swallowed", spares=OUTPUTS)
@contextlib.contextmanager
def capture_swallows(model, names):
    with listening(model, names) as seen, contextlib.suppress(ValueError):
        yield seen


@MUTANTS.add(EXERCISE, LEAK, "passed over in silence", spares=OUTPUTS)
@contextlib.contextmanager
def capture_ignores_unknown_names(model, names):
    there = dict(model.named_modules())
    with listening(model, [name for name in names if name in there]) as seen:
        yield seen


@MUTANTS.add(EXERCISE, LEAK, "a hook is left on 0")
@contextlib.contextmanager
def capture_removes_the_last_alone(model, names):
    seen = {}
    for name in names:
        listen = model.get_submodule(name).register_forward_hook
        handle = listen(lambda m, a, out, name=name: seen.update({name: kept(out)}))
    try:
        yield seen
    finally:
        handle.remove()


@MUTANTS.add(EXERCISE, NESTED, "made the outer one deaf", spares=LEAK)
@contextlib.contextmanager
def capture_clears_all_hooks(model, names):
    with listening(model, names) as seen:
        yield seen
        for name in names:
            model.get_submodule(name)._forward_hooks.clear()


@MUTANTS.add(EXERCISE, NO_GRADIENT, "detach it", spares=LEAK)
def capture_without_detach(model, names):
    return listening(model, names, lambda output: first_of(output).clone())


@MUTANTS.add(EXERCISE, COPY, "clone it", spares=LEAK)
def capture_without_clone(model, names):
    return listening(model, names, lambda output: first_of(output).detach())


@MUTANTS.add(EXERCISE, TUPLE, "is a tuple")
def capture_whole_tuple(model, names):
    return listening(
        model, names, lambda out: tuple(kept(x) for x in out if x is not None) if isinstance(out, tuple) else kept(out)
    )


@MUTANTS.add(EXERCISE, TUPLE, "it raised AttributeError", spares=OUTPUTS)
def capture_knows_no_tuples(model, names):
    return listening(model, names, lambda output: output.detach().clone())


@MUTANTS.add(EXERCISE, NEUTRAL, "no gradient flows through the model", spares=OUTPUTS)
def capture_replaces_the_output(model, names):
    return listening(model, names, replace=True)


@MUTANTS.add(EXERCISE, NEUTRAL, "no gradient flows through the model")
@contextlib.contextmanager
def capture_switches_gradients_off(model, names):
    with listening(model, names) as seen, torch.no_grad():
        yield seen


@MUTANTS.add(EXERCISE, NEUTRAL, "another mode", spares=OUTPUTS)
@contextlib.contextmanager
def capture_switches_to_evaluation(model, names):
    model.eval()
    with listening(model, names) as seen:
        yield seen


@MUTANTS.add(EXERCISE, OUTPUTS, "the first pass")
@contextlib.contextmanager
def capture_keeps_the_first(model, names):
    seen, handles = {}, []
    try:
        for name in names:
            listen = model.get_submodule(name).register_forward_hook
            handles.append(listen(lambda m, a, out, name=name: seen.update({name: seen.get(name, kept(out))})))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@MUTANTS.add(EXERCISE, OUTPUTS, "the first pass")
@contextlib.contextmanager
def capture_once(model, names):
    seen, handles = {}, {}

    def listener(name):
        def hook(module, args, output):
            seen[name] = kept(output)
            handles[name].remove()

        return hook

    try:
        for name in names:
            handles[name] = model.get_submodule(name).register_forward_hook(listener(name))
        yield seen
    finally:
        for handle in handles.values():
            handle.remove()


@MUTANTS.add(EXERCISE, OUTPUTS, "went into the module")
@contextlib.contextmanager
def capture_inputs(model, names):
    seen, handles = {}, []
    try:
        for name in names:
            listen = model.get_submodule(name).register_forward_pre_hook
            handles.append(listen(lambda m, args, name=name: seen.update({name: kept(args)})))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@MUTANTS.add(EXERCISE, OUTPUTS, "went into the module")
@contextlib.contextmanager
def capture_arguments(model, names):
    seen, handles = {}, []
    try:
        for name in names:
            listen = model.get_submodule(name).register_forward_hook
            handles.append(listen(lambda m, args, out, name=name: seen.update({name: kept(args)})))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@MUTANTS.add(EXERCISE, OUTPUTS, "seen has the names ['2']")
@contextlib.contextmanager
def capture_late_binding(model, names):
    seen, handles = {}, []
    for name in names:
        listen = model.get_submodule(name).register_forward_hook
        handles.append(listen(lambda m, a, out: seen.update({name: kept(out)})))  # noqa: B023
    yield seen
    for handle in handles:
        handle.remove()


@MUTANTS.add(EXERCISE, OUTPUTS, "joined")
@contextlib.contextmanager
def capture_joins_passes(model, names):
    seen, handles = {}, []

    def add(name, out):
        seen[name] = torch.cat([*([seen[name]] if name in seen else []), kept(out)])

    try:
        for name in names:
            listen = model.get_submodule(name).register_forward_hook
            handles.append(listen(lambda m, a, out, name=name: add(name, out)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@MUTANTS.add(EXERCISE, OUTPUTS, "seen has the names []")
@contextlib.contextmanager
def capture_gives_the_dict_afterwards_away(model, names):
    with listening(model, names) as seen:
        yield seen
    seen.clear()


@MUTANTS.add(EXERCISE, DTYPE, "came out", spares=LEAK)
def capture_as_float32(model, names):
    return listening(model, names, lambda output: kept(output).float())


@MUTANTS.worthless(EXERCISE)
@contextlib.contextmanager
def capture_nothing(model, names):
    yield {}


@MUTANTS.worthless(EXERCISE)
@contextlib.contextmanager
def capture_zeros(model, names):
    yield {name: torch.zeros(3, 4) for name in names}


@MUTANTS.worthless(EXERCISE)
def capture_the_model(model, names):
    return contextlib.nullcontext(model)


@MUTANTS.worthless(EXERCISE)
@contextlib.contextmanager
def capture_nan(model, names):
    with listening(model, names, lambda output: kept(output) * math.nan) as seen:
        yield seen


@MUTANTS.worthless(EXERCISE)
@contextlib.contextmanager
def capture_noise(model, names):
    with listening(model, names, lambda output: torch.randn_like(first_of(output).detach())) as seen:
        yield seen


# --- next_token_hits ------------------------------------------------------------------------------------------

EXERCISE = "next_token_hits"
NEXT = "row t is judged by token t + 1"
TIE = "a tie for the first place is no hit"
LENGTH = "T tokens give T − 1 results"
BATCH = "leading dimensions are a batch"
HITS_BOOLEAN = "a boolean tensor on the device of the logits"
UNTOUCHED = "leaves its inputs untouched"


def alone(logits, targets):
    wanted = logits.gather(-1, targets[..., None])
    return (logits >= wanted).sum(-1) == 1


@MUTANTS.add(EXERCISE, NEXT, "its own token")
def hits_unshifted(logits, ids):
    return alone(logits, ids)[..., :-1]


@MUTANTS.add(EXERCISE, NEXT, "T results came")
def hits_unshifted_whole(logits, ids):
    return alone(logits, ids)


@MUTANTS.add(EXERCISE, NEXT, "T results came")
def hits_last_row_kept(logits, ids):
    return alone(logits, ids.roll(-1, dims=-1))


@MUTANTS.add(EXERCISE, NEXT, "T results came")
def hits_last_row_false(logits, ids):
    return F.pad(alone(logits[..., :-1, :], ids[..., 1:]), (0, 1))


@MUTANTS.add(EXERCISE, NEXT, "the token before it")
def hits_shifted_backwards(logits, ids):
    return alone(logits[..., 1:, :], ids[..., :-1])


@MUTANTS.add(EXERCISE, NEXT, "the favourites themselves")
def hits_favourites(logits, ids):
    return logits[..., :-1, :].argmax(-1)


@MUTANTS.add(EXERCISE, NEXT, "the wrong way round")
def hits_misses(logits, ids):
    return ~alone(logits[..., :-1, :], ids[..., 1:])


@MUTANTS.add(EXERCISE, TIE, "argmax meets the target first", spares=NEXT)
def hits_argmax(logits, ids):
    return logits[..., :-1, :].argmax(-1) == ids[..., 1:]


@MUTANTS.add(EXERCISE, TIE, "counted as a hit", spares=NEXT)
def hits_among_the_best(logits, ids):
    wanted = logits[..., :-1, :].gather(-1, ids[..., 1:, None])[..., 0]
    return wanted >= logits[..., :-1, :].amax(-1)


@MUTANTS.add(EXERCISE, LENGTH, "it raised", spares=NEXT)
def hits_needs_two(logits, ids):
    if ids.shape[-1] < 2:
        raise ValueError("no next token")
    return alone(logits[..., :-1, :], ids[..., 1:])


@MUTANTS.add(EXERCISE, LENGTH, "should be (0,)", spares=NEXT)
def hits_of_one_token(logits, ids):
    return alone(logits[..., :-1, :], ids[..., 1:]) if ids.shape[-1] > 1 else ids[..., :1] < 0


@MUTANTS.add(EXERCISE, BATCH, "the result has shape", spares=NEXT)
def hits_of_one_text(logits, ids):
    return alone(logits[:-1], ids[1:])


@MUTANTS.add(EXERCISE, BATCH, "the result has shape", spares=NEXT)
def hits_flat(logits, ids):
    return alone(logits[..., :-1, :], ids[..., 1:]).flatten()


@MUTANTS.add(EXERCISE, HITS_BOOLEAN, "make it torch.bool", spares=NEXT)
def hits_as_numbers(logits, ids):
    return alone(logits[..., :-1, :], ids[..., 1:]).float()


@MUTANTS.add(EXERCISE, UNTOUCHED, "logits was changed in place", spares=NEXT)
def hits_in_place(logits, ids):
    wanted = logits[..., :-1, :].gather(-1, ids[..., 1:, None])
    logits[..., :-1, :].scatter_(-1, ids[..., 1:, None], -math.inf)
    return wanted[..., 0] > logits[..., :-1, :].amax(-1)


@MUTANTS.worthless(EXERCISE)
def hits_always(logits, ids):
    return torch.ones_like(ids[..., 1:], dtype=torch.bool)


@MUTANTS.worthless(EXERCISE)
def hits_never(logits, ids):
    return torch.zeros_like(ids[..., 1:], dtype=torch.bool)


@MUTANTS.worthless(EXERCISE)
def hits_nan(logits, ids):
    return torch.full(ids[..., 1:].shape, math.nan)


@MUTANTS.worthless(EXERCISE)
def hits_by_chance(logits, ids):
    return torch.rand(ids[..., 1:].shape) < 0.5


@MUTANTS.worthless(EXERCISE)
def hits_ids(logits, ids):
    return ids


# --- histogram_probabilities ----------------------------------------------------------------------------------

EXERCISE = "histogram_probabilities"
SHARES = "the shares of both groups in the same bins"
OWN_BINS = "each entry of a batch has bins of its own"
SUMS = "shares are ≥ 0 and sum to 1"
EDGES = "a bin holds its left edge, the last one both"
CONSTANT = "equal numbers share one bin"


def place(x, low, high, n_bins):
    width = torch.where(high > low, high - low, 1)
    return ((x.double() - low) / width * n_bins).floor().clamp(0, n_bins - 1).long()


def counted(index, n_bins, dtype):
    return F.one_hot(index, n_bins).double().mean(-2).to(dtype)


def span(*groups):
    both = torch.cat(groups, -1).double()
    return both.amin(-1, keepdim=True), both.amax(-1, keepdim=True)


def histograms(a, b, n_bins):
    low, high = span(a, b)
    return tuple(counted(place(x, low, high, n_bins), n_bins, x.dtype) for x in (a, b))


@MUTANTS.add(EXERCISE, SHARES, "edges of its own")
def histogram_own_edges(a, b, n_bins):
    return tuple(counted(place(x, *span(x), n_bins), n_bins, x.dtype) for x in (a, b))


@MUTANTS.add(EXERCISE, SHARES, "one bin too few")
def histogram_as_many_edges_as_bins(a, b, n_bins):
    return histograms(a, b, max(n_bins - 1, 1))


@MUTANTS.add(EXERCISE, SHARES, "densities")
def histogram_density(a, b, n_bins):
    low, high = span(a, b)
    return tuple((x * n_bins / (high - low)).to(a.dtype) for x in histograms(a, b, n_bins))


@MUTANTS.add(EXERCISE, SHARES, "these are counts")
def histogram_counts(a, b, n_bins):
    p, q = histograms(a, b, n_bins)
    return p * a.shape[-1], q * b.shape[-1]


@MUTANTS.add(EXERCISE, SHARES, "the size of the two groups together")
def histogram_joint(a, b, n_bins):
    p, q = histograms(a, b, n_bins)
    n, m = a.shape[-1], b.shape[-1]
    return p * n / (n + m), q * m / (n + m)


@MUTANTS.add(EXERCISE, SHARES, "changed places")
def histogram_swapped(a, b, n_bins):
    return histograms(a, b, n_bins)[::-1]


@MUTANTS.add(EXERCISE, SHARES, "edges of its own")
def histogram_edges_of_a(a, b, n_bins):
    return tuple(counted(place(x, *span(a), n_bins), n_bins, x.dtype) for x in (a, b))


@MUTANTS.add(EXERCISE, OWN_BINS, "shares its edges", spares=SHARES)
def histogram_one_range_for_the_batch(a, b, n_bins):
    both = torch.cat([a, b], -1).double()
    return tuple(counted(place(x, both.min(), both.max(), n_bins), n_bins, x.dtype) for x in (a, b))


@MUTANTS.add(EXERCISE, OWN_BINS, "it raised", spares=SHARES)
def histogram_of_one_vector(a, b, n_bins):
    if a.dim() > 1:
        raise ValueError("one vector")
    return histograms(a, b, n_bins)


@MUTANTS.add(EXERCISE, OWN_BINS, "p has shape (6,); it should be (3, 6)", spares=SHARES)
def histogram_of_the_whole_batch(a, b, n_bins):
    return histograms(a.flatten(), b.flatten(), n_bins)


@MUTANTS.add(EXERCISE, SUMS, "sums to", spares=SHARES)
def histogram_of_at_most_hundred(a, b, n_bins):
    p, q = histograms(a[..., :100], b[..., :100], n_bins)
    return p * min(100, a.shape[-1]) / a.shape[-1], q * min(100, b.shape[-1]) / b.shape[-1]


@MUTANTS.add(EXERCISE, EDGES, "the largest number is lost")
def histogram_loses_the_largest(a, b, n_bins):
    low, high = span(a, b)

    def shares(x):
        index = ((x.double() - low) / (high - low) * n_bins).floor().nan_to_num().long()
        return (F.one_hot(index, n_bins + 1).double().mean(-2))[..., :n_bins].to(x.dtype)

    return shares(a), shares(b)


@MUTANTS.add(EXERCISE, EDGES, "hold their right edge", spares=SHARES)
def histogram_right_edges(a, b, n_bins):
    low, high = span(a, b)

    def shares(x):
        index = ((x.double() - low) / torch.where(high > low, high - low, 1) * n_bins).ceil() - 1
        return counted(index.clamp(0, n_bins - 1).long(), n_bins, x.dtype)

    return shares(a), shares(b)


@MUTANTS.add(EXERCISE, CONSTANT, "NaN where all numbers are the same", spares=SHARES)
def histogram_divides_by_nothing(a, b, n_bins):
    low, high = span(a, b)
    return tuple(x + (0 * (1 / (high - low))).to(x.dtype) for x in histograms(a, b, n_bins))


@MUTANTS.add(EXERCISE, CONSTANT, "is not in one bin", spares=SHARES)
def histogram_spreads_equal_numbers(a, b, n_bins):
    low, high = span(a, b)
    p, q = histograms(a, b, n_bins)
    even = torch.full_like(p, 1 / n_bins)
    return torch.where(high > low, p, even), torch.where(high > low, q, even)


@MUTANTS.add(EXERCISE, DTYPE, "came out", spares=SHARES)
def histogram_in_float64(a, b, n_bins):
    return tuple(x.double() for x in histograms(a, b, n_bins))


@MUTANTS.add(EXERCISE, UNTOUCHED, "a was changed in place", spares=SHARES)
def histogram_in_place(a, b, n_bins):
    p, q = histograms(a, b, n_bins)
    a -= a.amin(-1, keepdim=True) - 1
    return p, q


@MUTANTS.worthless(EXERCISE)
def histogram_even(a, b, n_bins):
    return torch.full((*a.shape[:-1], n_bins), 1 / n_bins), torch.full((*b.shape[:-1], n_bins), 1 / n_bins)


@MUTANTS.worthless(EXERCISE)
def histogram_one_bin(a, b, n_bins):
    p = torch.zeros(*a.shape[:-1], n_bins, dtype=a.dtype)
    p[..., 0] = 1
    return p, p.clone()


@MUTANTS.worthless(EXERCISE)
def histogram_nan(a, b, n_bins):
    return torch.full((*a.shape[:-1], n_bins), math.nan), torch.full((*b.shape[:-1], n_bins), math.nan)


@MUTANTS.worthless(EXERCISE)
def histogram_noise(a, b, n_bins):
    return torch.rand(*a.shape[:-1], n_bins), torch.rand(*b.shape[:-1], n_bins)


@MUTANTS.worthless(EXERCISE)
def histogram_noise_that_sums_to_one(a, b, n_bins):
    shares = torch.randn(2, *a.shape[:-1], n_bins, dtype=torch.float64).softmax(-1)
    return shares[0].to(a.dtype), shares[1].to(b.dtype)


@MUTANTS.worthless(EXERCISE)
def histogram_inputs(a, b, n_bins):
    return a, b


# --- kl -------------------------------------------------------------------------------------------------------

EXERCISE = "kl"
NATS = "it is KL(P‖Q), in nats"
ZEROS = "zeros count as the definition says"
SELF = "0 for equal proportions, and not symmetric"
PROPORTIONS = "depends on the proportions alone"
GRADIENTS = "gradients reach every input"


def proportions(x):
    return x / x.sum(-1, keepdim=True)


def right_kl(p, q):
    p, q = proportions(p), proportions(q)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


@MUTANTS.add(EXERCISE, NATS, "the other direction")
def kl_reversed(p, q):
    return right_kl(q, p)


@MUTANTS.add(EXERCISE, NATS, "the other direction")
def kl_of_f_kl_div_reversed(p, q):
    return F.kl_div(proportions(p).log(), proportions(q), reduction="none").sum(-1)


@MUTANTS.add(EXERCISE, NATS, "batchmean")
def kl_batchmean(p, q):
    return right_kl(p, q) / p.shape[-1]


@MUTANTS.add(EXERCISE, NATS, "in bits")
def kl_in_bits(p, q):
    return right_kl(p, q) / math.log(2)


@MUTANTS.add(EXERCISE, NATS, "the sign")
def kl_negative(p, q):
    return -right_kl(p, q)


@MUTANTS.add(EXERCISE, NATS, "softmax was taken")
def kl_of_softmax(p, q):
    return right_kl(p.softmax(-1), q.softmax(-1))


@MUTANTS.add(EXERCISE, NATS, "cross-entropy")
def kl_cross_entropy(p, q):
    return -torch.xlogy(proportions(p), proportions(q)).sum(-1)


@MUTANTS.add(EXERCISE, NATS, "the mean of both directions")
def kl_of_both_directions(p, q):
    return (right_kl(p, q) + right_kl(q, p)) / 2


@MUTANTS.add(EXERCISE, SELF, "both directions give the same")
def kl_symmetric(p, q):
    return (right_kl(p, q) + right_kl(q, p)) / 2


@MUTANTS.add(EXERCISE, NATS, "Jensen–Shannon")
def kl_to_the_mixture(p, q):
    p, q = proportions(p), proportions(q)
    m = (p + q) / 2
    return (right_kl(p, m) + right_kl(q, m)) / 2


@MUTANTS.add(EXERCISE, PROPORTIONS, "not normalised")
def kl_not_normalised(p, q):
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


@MUTANTS.add(EXERCISE, PROPORTIONS, "another result than their shares")
def kl_p_normalised_alone(p, q):
    p = proportions(p)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


@MUTANTS.add(EXERCISE, ZEROS, "a small number added", spares=NATS)
def kl_epsilon(p, q):
    p, q = proportions(p), proportions(q)
    return (torch.xlogy(p, p) - p * (q + 1e-15).log()).sum(-1)


@MUTANTS.add(EXERCISE, ZEROS, "a small number added", spares=NATS)
def kl_clamped(p, q):
    p, q = proportions(p), proportions(q)
    return (torch.xlogy(p, p) - torch.xlogy(p, q.clamp(min=1e-6))).sum(-1)


@MUTANTS.add(EXERCISE, ZEROS, "it is infinite", spares=NATS)
def kl_leaves_empty_bins_out(p, q):
    p, q = proportions(p), proportions(q)
    return ((torch.xlogy(p, p) - torch.xlogy(p, q)).masked_fill(q == 0, 0)).sum(-1)


@MUTANTS.add(EXERCISE, ZEROS, "0 · ln 0 is 0 by definition", spares=NATS)
def kl_nan(p, q):
    p, q = proportions(p), proportions(q)
    return (p * (p / q).log()).sum(-1)


@MUTANTS.add(EXERCISE, ZEROS, "0 · ln 0 is 0 by definition", spares=NATS)
def kl_of_f_kl_div(p, q):
    return F.kl_div(proportions(q).log(), proportions(p), reduction="none").sum(-1)


@MUTANTS.add(EXERCISE, BATCH, "expected shape", spares=NATS)
def kl_of_all(p, q):
    p, q = proportions(p), proportions(q)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum()


@MUTANTS.add(EXERCISE, BATCH, "another result than alone", spares=NATS)
def kl_normalises_over_the_batch(p, q):
    p, q = p / p.sum(), q / q.sum()
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


@MUTANTS.add(EXERCISE, DTYPE, "came out", spares=NATS)
def kl_in_float64(p, q):
    return right_kl(p.double(), q.double())


@MUTANTS.add(EXERCISE, UNTOUCHED, "changed in place", spares=NATS)
def kl_in_place(p, q):
    result = right_kl(p, q)
    with torch.no_grad():
        p /= p.sum(-1, keepdim=True) * 2
    return result


@MUTANTS.add(EXERCISE, GRADIENTS, "the gradient differs", spares=NATS)
def kl_detached(p, q):
    return right_kl(p, q.detach())


@MUTANTS.worthless(EXERCISE)
def kl_zero(p, q):
    return torch.zeros(p.shape[:-1], dtype=p.dtype)


@MUTANTS.worthless(EXERCISE)
def kl_nan_always(p, q):
    return p.sum(-1) * math.nan


@MUTANTS.worthless(EXERCISE)
def kl_random(p, q):
    return torch.rand(p.shape[:-1], dtype=p.dtype)


@MUTANTS.worthless(EXERCISE)
def kl_input(p, q):
    return p


@MUTANTS.worthless(EXERCISE)
def kl_always_infinite(p, q):
    return p.sum(-1) * math.inf


# --- jsd ------------------------------------------------------------------------------------------------------

EXERCISE = "jsd"
HALVES = "it is half of KL(P‖M) and half of KL(Q‖M)"
FINITE = "finite, ln 2 where no bin is shared"
SYMMETRIC = "symmetric, and between 0 and ln 2"


def right_jsd(p, q):
    p, q = proportions(p), proportions(q)
    m = (p + q) / 2
    return (right_kl(p, m) + right_kl(q, m)) / 2


@MUTANTS.add(EXERCISE, HALVES, "KL(M‖P)")
def jsd_reversed_with_epsilon(p, q):
    p, q = proportions(p), proportions(q)
    m = (p + q) / 2
    return sum((torch.xlogy(m, m) - m * (x + 1e-15).log()).sum(-1) for x in (p, q)) / 2


@MUTANTS.add(EXERCISE, HALVES, "batchmean")
def jsd_batchmean(p, q):
    return right_jsd(p, q) / p.shape[-1]


@MUTANTS.add(EXERCISE, HALVES, "in bits")
def jsd_in_bits(p, q):
    return right_jsd(p, q) / math.log(2)


@MUTANTS.add(EXERCISE, HALVES, "take half of each")
def jsd_sum(p, q):
    return 2 * right_jsd(p, q)


@MUTANTS.add(EXERCISE, HALVES, "its square root")
def jsd_distance(p, q):
    return right_jsd(p, q).sqrt()


@MUTANTS.add(EXERCISE, HALVES, "KL(P‖M) alone")
def jsd_one_half(p, q):
    p, q = proportions(p), proportions(q)
    return right_kl(p, (p + q) / 2)


@MUTANTS.add(EXERCISE, HALVES, "KL(P‖Q) and KL(Q‖P)")
def jsd_mean_of_both_kl(p, q):
    return ((right_kl(p, q) + right_kl(q, p)) / 2).nan_to_num(posinf=1000)


@MUTANTS.add(EXERCISE, HALVES, "mixed before they were normalised")
def jsd_mixes_counts(p, q):
    m = p + q
    return (right_kl(p, m) + right_kl(q, m)) / 2


@MUTANTS.add(EXERCISE, HALVES, "by their sizes")
def jsd_weighted_by_size(p, q):
    m, n, k = p + q, p.sum(-1), q.sum(-1)
    return (n * right_kl(p, m) + k * right_kl(q, m)) / (n + k)


@MUTANTS.add(EXERCISE, PROPORTIONS, "not normalised")
def jsd_not_normalised(p, q):
    m = (p + q) / 2
    return sum((torch.xlogy(x, x) - torch.xlogy(x, m)).sum(-1) for x in (p, q)) / 2


@MUTANTS.add(EXERCISE, FINITE, "0 · ln 0 is 0 by definition", spares=PROPORTIONS)
def jsd_nan(p, q):
    p, q = proportions(p), proportions(q)
    m = (p + q) / 2
    return ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)) / 2


@MUTANTS.add(EXERCISE, FINITE, "empty in one or both", spares=PROPORTIONS)
def jsd_of_shared_bins_alone(p, q):
    p, q = proportions(p), proportions(q)
    m = (p + q) / 2
    parts = sum(torch.xlogy(x, x) - torch.xlogy(x, m) for x in (p, q)) / 2
    return parts.masked_fill((p == 0) | (q == 0), 0).sum(-1)


@MUTANTS.add(EXERCISE, SYMMETRIC, "change places")
def jsd_skewed(p, q):
    p, q = proportions(p), proportions(q)
    m = 0.75 * p + 0.25 * q
    return (right_kl(p, m) + right_kl(q, m)) / 2


@MUTANTS.add(EXERCISE, BATCH, "expected shape")
def jsd_of_all(p, q):
    return right_jsd(p, q).sum()


@MUTANTS.add(EXERCISE, BATCH, "another result than alone")
def jsd_mean_of_the_batch(p, q):
    return right_jsd(p, q).mean().expand(torch.broadcast_shapes(p.shape, q.shape)[:-1])


@MUTANTS.add(EXERCISE, DTYPE, "came out", spares=HALVES)
def jsd_in_float64(p, q):
    return right_jsd(p.double(), q.double())


@MUTANTS.add(EXERCISE, UNTOUCHED, "changed in place", spares=HALVES)
def jsd_in_place(p, q):
    result = right_jsd(p, q)
    with torch.no_grad():
        q /= q.sum(-1, keepdim=True) * 2
    return result


@MUTANTS.add(EXERCISE, GRADIENTS, "has lost its gradient", spares=HALVES)
def jsd_without_gradient(p, q):
    return right_jsd(p.detach(), q.detach())


@MUTANTS.worthless(EXERCISE)
def jsd_zero(p, q):
    return torch.zeros(p.shape[:-1], dtype=p.dtype)


@MUTANTS.worthless(EXERCISE)
def jsd_ln_2(p, q):
    return torch.full(p.shape[:-1], math.log(2), dtype=p.dtype)


@MUTANTS.worthless(EXERCISE)
def jsd_nan_always(p, q):
    return p.sum(-1) * math.nan


@MUTANTS.worthless(EXERCISE)
def jsd_random(p, q):
    return torch.rand(p.shape[:-1], dtype=p.dtype)


@MUTANTS.worthless(EXERCISE)
def jsd_input(p, q):
    return q


# --- permutation_pvalue ---------------------------------------------------------------------------------------

EXERCISE = "permutation_pvalue"
FORMULA = "(1 + k) / (1 + n), ties counted"
UNIFORM = "uniform where nothing differs"
GROUPS = "groups keep their sizes, each value is used once"
GENERATOR = "randomness comes from the generator alone"


def null(values, labels, statistic, n, generator, order=None):
    """Observed statistic and that of n groupings (n, ...), by shuffled labels unless `order` draws something else."""
    observed = statistic(values[..., labels], values[..., ~labels])
    found = []
    for _ in range(n):
        shuffled = labels[torch.randperm(len(labels), generator=generator, device=values.device)]
        found.append(statistic(values[..., shuffled], values[..., ~shuffled]))
    return observed, torch.stack(found)


def right_p(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    return ((1 + (found >= observed).sum(0)).double() / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, FORMULA, "use ≥, not >")
def permutation_strict(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    return ((1 + (found > observed).sum(0)).double() / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, FORMULA, "a p-value is 0")
def permutation_zero_possible(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    return (found >= observed).double().mean(0).to(values.dtype)


@MUTANTS.add(EXERCISE, FORMULA, "use ≥, not >")
def permutation_as_in_the_source(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    return (found > observed).double().mean(0).to(values.dtype)


@MUTANTS.add(EXERCISE, FORMULA, "no multiple of")
def permutation_divides_by_n(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    return ((1 + (found >= observed).sum(0)).double() / n).clamp(max=1).to(values.dtype)


@MUTANTS.add(EXERCISE, FORMULA, "at or below")
def permutation_other_tail(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    return ((1 + (found <= observed).sum(0)).double() / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, FORMULA, "the two groups have changed places")
def permutation_groups_swapped(values, labels, statistic, n, generator):
    return right_p(values, ~labels, statistic, n, generator)


@MUTANTS.add(EXERCISE, FORMULA, "use ≥, not >")
def permutation_ties_count_half(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    reached = (found > observed).sum(0) + (found == observed).sum(0) / 2
    return ((1 + reached).double() / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, FORMULA, "it should be 1")
def permutation_one_shuffle_short(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n - 1, generator)
    return ((1 + (found >= observed).sum(0)).double() / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, UNIFORM, "do not get small p-values")
def permutation_one_minus_p(values, labels, statistic, n, generator):
    p = right_p(values, labels, statistic, n, generator)
    return 1 + 1 / (1 + n) - p


@MUTANTS.add(EXERCISE, UNIFORM, "a quarter should")
def permutation_doubled(values, labels, statistic, n, generator):
    p = right_p(values, labels, statistic, n, generator)
    return (2 * p).clamp(max=1)


@MUTANTS.add(EXERCISE, UNIFORM, "a quarter should", spares=FORMULA)
def permutation_minimum_of_the_rows(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    largest = found.reshape(n, -1).amax(1).reshape(-1, *[1] * observed.dim())  # over all rows: another, stricter test
    return ((1 + (largest >= observed).sum(0)).double() / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, GROUPS, "draw without replacement")
def permutation_bootstrap(values, labels, statistic, n, generator):
    observed = statistic(values[..., labels], values[..., ~labels])
    reached = torch.ones_like(observed)
    for _ in range(n):
        chosen = torch.randint(len(labels), (len(labels),), generator=generator, device=values.device)
        drawn = values[..., chosen]
        reached = reached + (statistic(drawn[..., labels], drawn[..., ~labels]) >= observed)
    return (reached / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, GROUPS, "they have 3 and 6 values")
def permutation_of_coin_tosses(values, labels, statistic, n, generator):
    observed = statistic(values[..., labels], values[..., ~labels])
    reached = torch.ones_like(observed)
    for _ in range(n):
        toss = torch.rand(len(labels), generator=generator, device=values.device) < labels.float().mean()
        if toss.any() and not toss.all():
            reached = reached + (statistic(values[..., toss], values[..., ~toss]) >= observed)
    return (reached / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, GROUPS, "nearly always the same")
def permutation_circular(values, labels, statistic, n, generator):
    observed = statistic(values[..., labels], values[..., ~labels])
    reached = torch.ones_like(observed)
    for _ in range(n):
        shift = int(torch.randint(len(labels), (1,), generator=generator, device=values.device))
        shuffled = labels.roll(shift)
        reached = reached + (statistic(values[..., shuffled], values[..., ~shuffled]) >= observed)
    return (reached / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, GENERATOR, "the global random state moved", spares=FORMULA)
def permutation_global_randomness(values, labels, statistic, n, generator):
    return right_p(values, labels, statistic, n, None)


@MUTANTS.add(EXERCISE, GENERATOR, "a seed is set inside", spares=FORMULA)
def permutation_own_seed(values, labels, statistic, n, generator):
    return right_p(values, labels, statistic, n, torch.Generator(values.device).manual_seed(0))


@MUTANTS.add(EXERCISE, GENERATOR, "the generator copied", spares=FORMULA)
def permutation_copies_the_generator(values, labels, statistic, n, generator):
    twin = torch.Generator(values.device)
    twin.set_state(generator.get_state())
    return right_p(values, labels, statistic, n, twin)


@MUTANTS.add(EXERCISE, BATCH, "has shape ()")
def permutation_of_one_row(values, labels, statistic, n, generator):
    observed, found = null(values, labels, statistic, n, generator)
    return ((1 + (found >= observed).sum()).double() / (1 + n)).to(values.dtype)


@MUTANTS.add(EXERCISE, BATCH, "it raised ValueError", spares=FORMULA)
def permutation_of_rows_alone(values, labels, statistic, n, generator):
    if values.dim() > 2:
        raise ValueError("rows alone")
    return right_p(values, labels, statistic, n, generator)


@MUTANTS.add(EXERCISE, DTYPE, "came out", spares=FORMULA)
def permutation_in_float64(values, labels, statistic, n, generator):
    return right_p(values.double(), labels, statistic, n, generator)


@MUTANTS.add(EXERCISE, UNTOUCHED, "was changed in place", spares=FORMULA)
def permutation_in_place(values, labels, statistic, n, generator):
    p = right_p(values, labels, statistic, n, generator)
    values.copy_(values.flip(-1))
    return p


@MUTANTS.worthless(EXERCISE)
def permutation_one(values, labels, statistic, n, generator):
    return torch.ones(values.shape[:-1], dtype=values.dtype)


@MUTANTS.worthless(EXERCISE)
def permutation_smallest(values, labels, statistic, n, generator):
    return torch.full(values.shape[:-1], 1 / (1 + n), dtype=values.dtype)


@MUTANTS.worthless(EXERCISE)
def permutation_random(values, labels, statistic, n, generator):
    k = torch.randint(1, n + 2, values.shape[:-1], generator=generator)
    return (k / (1 + n)).to(values.dtype)


@MUTANTS.worthless(EXERCISE)
def permutation_nan(values, labels, statistic, n, generator):
    return torch.full(values.shape[:-1], math.nan, dtype=values.dtype)


@MUTANTS.worthless(EXERCISE)
def permutation_statistic_itself(values, labels, statistic, n, generator):
    return statistic(values[..., labels], values[..., ~labels])


# --- benjamini_hochberg ---------------------------------------------------------------------------------------

EXERCISE = "benjamini_hochberg"
STEP_UP = "all up to the largest k under its limit"
ORDER = "each p-value keeps its place"
EXTREMES = "all, none, and a limit that is met exactly"
TIES = "equal p-values share their fate"
NAN = "NaN is no test, and counts for nothing"
FAMILIES = "each row is a family of its own"
FOUND_BOOLEAN = "a boolean tensor on the device of p"
P_UNTOUCHED = "leaves its input untouched"


def ranks(p):
    return torch.arange(1, p.shape[-1] + 1, device=p.device, dtype=p.dtype)


def made(p):
    return (~p.isnan()).sum(-1, keepdim=True).clamp(min=1)


def sorted_and_limits(p, q):
    return p.sort(-1).values, q * ranks(p) / made(p)


def right_discoveries(p, q):
    ordered, limits = sorted_and_limits(p, q)
    return p <= ordered.masked_fill(~(ordered <= limits), -1).amax(-1, keepdim=True)


@MUTANTS.add(EXERCISE, STEP_UP, "Bonferroni")
def discoveries_bonferroni(p, q):
    return p <= q / made(p)


@MUTANTS.add(EXERCISE, STEP_UP, "nothing is corrected")
def discoveries_uncorrected(p, q):
    return p <= q


@MUTANTS.add(EXERCISE, STEP_UP, "stops at the first")
def discoveries_step_down(p, q):
    ordered, limits = sorted_and_limits(p, q)
    below = (ordered <= limits).long().cumprod(-1).bool()
    return p <= ordered.masked_fill(~below, -1).amax(-1, keepdim=True)


@MUTANTS.add(EXERCISE, STEP_UP, "its own limit alone")
def discoveries_each_by_its_limit(p, q):
    return p <= q * (p.argsort(-1).argsort(-1) + 1).to(p.dtype) / made(p)


@MUTANTS.add(EXERCISE, STEP_UP, "Holm")
def discoveries_holm(p, q):
    ordered = p.sort(-1).values
    below = (ordered <= q / (made(p) + 1 - ranks(p))).long().cumprod(-1).bool()
    return p <= ordered.masked_fill(~below, -1).amax(-1, keepdim=True)


@MUTANTS.add(EXERCISE, STEP_UP, "Yekutieli")
def discoveries_yekutieli(p, q):
    return right_discoveries(p, q / (1 / ranks(p)).sum().item())


@MUTANTS.add(EXERCISE, STEP_UP, "rank 1")
def discoveries_ranks_from_zero(p, q):
    ordered, limits = sorted_and_limits(p, q)
    limits = limits - q / made(p)
    return p <= ordered.masked_fill(~(ordered <= limits), -1).amax(-1, keepdim=True)


@MUTANTS.add(EXERCISE, STEP_UP, "the wrong way round")
def discoveries_of_nothing(p, q):
    return ~right_discoveries(p, q)


@MUTANTS.add(EXERCISE, ORDER, "sort the p-values first")
def discoveries_unsorted(p, q):
    return p <= q * ranks(p) / made(p)


@MUTANTS.add(EXERCISE, ORDER, "bring it back", spares=STEP_UP)
def discoveries_in_sorted_order(p, q):
    return right_discoveries(p.sort(-1).values, q)


@MUTANTS.add(EXERCISE, EXTREMES, "equal to its limit", spares=STEP_UP)
def discoveries_strict(p, q):
    ordered, limits = sorted_and_limits(p, q)
    return p <= ordered.masked_fill(~(ordered < limits), -1).amax(-1, keepdim=True)


@MUTANTS.add(EXERCISE, EXTREMES, "should not be", spares=STEP_UP)
def discoveries_at_least_one(p, q):
    return right_discoveries(p, q) | (p == p.amin(-1, keepdim=True))


@MUTANTS.add(EXERCISE, TIES, "of equal p-values", spares=STEP_UP)
def discoveries_of_ties_once(p, q):
    earlier = (p[..., None, :] == p[..., :, None]).tril(-1).any(-1)
    return right_discoveries(p, q) & ~earlier


@MUTANTS.add(EXERCISE, NAN, "counted in m", spares=STEP_UP)
def discoveries_counting_nan(p, q):
    return right_discoveries(p.nan_to_num(nan=1.0), q) & ~p.isnan()


@MUTANTS.add(EXERCISE, NAN, "a NaN became a discovery", spares=STEP_UP)
def discoveries_nan_is_zero(p, q):
    return right_discoveries(p.nan_to_num(nan=0.0), q)


@MUTANTS.add(EXERCISE, NAN, "taken for a p-value of 0", spares=STEP_UP)
def discoveries_nan_takes_a_rank(p, q):
    return right_discoveries(p.nan_to_num(nan=0.0), q) & ~p.isnan()


@MUTANTS.add(EXERCISE, NAN, "should be (6,)", spares=STEP_UP)
def discoveries_dropping_nan(p, q):
    return right_discoveries(p[~p.isnan()], q) if p.dim() == 1 else right_discoveries(p, q)


@MUTANTS.add(EXERCISE, FAMILIES, "as one family", spares=STEP_UP)
def discoveries_of_one_family(p, q):
    return right_discoveries(p.flatten(), q).reshape(p.shape)


@MUTANTS.add(EXERCISE, FAMILIES, "should not be", spares=STEP_UP)
def discoveries_of_one_row(p, q):
    ordered, limits = sorted_and_limits(p, q)
    return p <= ordered.masked_fill(~(ordered <= limits), -1).max()


@MUTANTS.add(EXERCISE, FOUND_BOOLEAN, "make it torch.bool", spares=STEP_UP)
def discoveries_as_numbers(p, q):
    return right_discoveries(p, q).long()


@MUTANTS.add(EXERCISE, P_UNTOUCHED, "p was changed in place", spares=STEP_UP)
def discoveries_in_place(p, q):
    found = right_discoveries(p, q)
    p.copy_(p.sort(-1).values)
    return found


@MUTANTS.worthless(EXERCISE)
def discoveries_always(p, q):
    return torch.ones_like(p, dtype=torch.bool)


@MUTANTS.worthless(EXERCISE)
def discoveries_never(p, q):
    return torch.zeros_like(p, dtype=torch.bool)


@MUTANTS.worthless(EXERCISE)
def discoveries_nan(p, q):
    return p * math.nan


@MUTANTS.worthless(EXERCISE)
def discoveries_random(p, q):
    return torch.rand(p.shape) < 0.5


@MUTANTS.worthless(EXERCISE)
def discoveries_input(p, q):
    return p
