"""Wrong answers to the exercises of the chapter `attention`."""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

from mutants import Mutants

MUTANTS = Mutants()

# --- self_attention -------------------------------------------------------------------------------------------

EXERCISE = "self_attention"
GOLDEN = "known numbers of the six words"
SCALED = "scores divided by √d_k"
ROWS = "each row of weights is a distribution over the keys"
ORDER = "the order of the words does not matter"
BATCH = "leading dimensions are a batch"
LARGE = "large scores do not overflow"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves its inputs untouched"
GRADIENTS = "gradients reach every input"


def projected(x, w_q, w_k, w_v):
    return x @ w_q, x @ w_k, x @ w_v


def attend(q, k, v, scale=None):
    weights = (q @ k.mT / (scale or math.sqrt(k.shape[-1]))).softmax(-1)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, SCALED, "divided by √d_in")
def self_scaled_by_d_in(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_k, w_v), scale=math.sqrt(x.shape[-1]))


@MUTANTS.add(EXERCISE, SCALED, "divided by √T")
def self_scaled_by_length(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_k, w_v), scale=math.sqrt(x.shape[-2]))


@MUTANTS.add(EXERCISE, SCALED, "divided by √d_v")
def self_scaled_by_d_v(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_k, w_v), scale=math.sqrt(w_v.shape[-1]))


@MUTANTS.add(EXERCISE, SCALED, "not scaled")
def self_not_scaled(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_k, w_v), scale=1)


@MUTANTS.add(EXERCISE, SCALED, "divided by d_k, or by √d_k twice")
def self_root_forgotten(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_k, w_v), scale=w_k.shape[-1])


@MUTANTS.add(EXERCISE, SCALED, "multiplied by √d_k")
def self_multiplied(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_k, w_v), scale=w_k.shape[-1] ** -0.5)


@MUTANTS.add(EXERCISE, SCALED, "queries and keys have changed places")
def self_keys_ask(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    return attend(k, q, v)


@MUTANTS.add(EXERCISE, SCALED, "the weights mix x")
def self_values_not_projected(x, w_q, w_k, w_v):
    q, k, _ = projected(x, w_q, w_k, w_v)
    return attend(q, k, x)


@MUTANTS.add(EXERCISE, SCALED, "the weights stand first")
def self_pair_reversed(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_k, w_v))[::-1]


@MUTANTS.add(EXERCISE, SCALED, "one tensor came back")
def self_library_call(x, w_q, w_k, w_v):
    return F.scaled_dot_product_attention(*projected(x, w_q, w_k, w_v))


@MUTANTS.add(EXERCISE, SCALED, "expected 2 tensors (context, weights), got dict")
def self_dict(x, w_q, w_k, w_v):
    return dict(zip(("context", "weights"), attend(*projected(x, w_q, w_k, w_v)), strict=True))


@MUTANTS.add(EXERCISE, GOLDEN, "compare queries with values")
def self_queries_against_values(x, w_q, w_k, w_v):
    q, _, v = projected(x, w_q, w_k, w_v)
    return attend(q, v, v)


@MUTANTS.add(EXERCISE, GOLDEN, "compare keys with keys")
def self_keys_against_keys(x, w_q, w_k, w_v):
    _, k, v = projected(x, w_q, w_k, w_v)
    return attend(k, k, v)


@MUTANTS.add(EXERCISE, GOLDEN, "the weights mix keys")
def self_keys_mixed(x, w_q, w_k, w_v):
    q, k, _ = projected(x, w_q, w_k, w_v)
    return attend(q, k, k)


@MUTANTS.add(EXERCISE, ROWS, "softmax ran over the queries")
def self_softmax_over_queries(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    weights = (q @ k.mT / math.sqrt(k.shape[-1])).softmax(-2)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, ROWS, "no softmax")
def self_scores_returned(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    return attend(q, k, v)[0], q @ k.mT / math.sqrt(k.shape[-1])


@MUTANTS.add(EXERCISE, ROWS, "negative")
def self_sum_normalised(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    weights = q @ k.mT / math.sqrt(k.shape[-1])
    weights = weights / weights.sum(-1, keepdim=True)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, ROWS, "weights has shape (1, 5); it should be (5, 5)")
def self_last_word_only(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    return attend(q, k, v)[0], attend(q[..., -1:, :], k, v)[1]


@MUTANTS.add(EXERCISE, ORDER, "causal mask")
def self_causal(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    weights = (scores + torch.full_like(scores, -math.inf).triu(1)).softmax(-1)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, ORDER, "depends on the position")
def self_positions_added(x, w_q, w_k, w_v):
    position = torch.arange(x.shape[-2], dtype=x.dtype, device=x.device)[:, None]
    return attend(*projected(x + position, w_q, w_k, w_v))


@MUTANTS.add(EXERCISE, ORDER, "the same whatever the words")
def self_uniform(x, w_q, w_k, w_v):
    weights = x.new_full((*x.shape[:-1], x.shape[-2]), 1 / x.shape[-2])
    return weights @ (x @ w_v), weights


@MUTANTS.add(EXERCISE, BATCH, ".mT instead of .T")
def self_transpose_of_everything(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    weights = (q @ k.T / math.sqrt(k.shape[-1])).softmax(-1)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def self_softmax_over_dim_1(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    weights = (q @ k.mT / math.sqrt(k.shape[-1])).softmax(1)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def self_words_of_all_sequences(x, w_q, w_k, w_v):
    # every sequence looks into the first one
    q, k, v = projected(x, w_q, w_k, w_v)
    first = (0,) * (x.dim() - 2)
    weights = (q @ k[first].mT / math.sqrt(k.shape[-1])).softmax(-1)
    return weights @ v[first], weights


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def self_mean_sequence(x, w_q, w_k, w_v):
    mean = x.mean(tuple(range(x.dim() - 2)), keepdim=True) if x.dim() > 2 else x
    return attend(*projected(mean.expand_as(x), w_q, w_k, w_v))


@MUTANTS.add(EXERCISE, LARGE, "exp overflowed")
def self_exp_without_shift(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    e = (q @ k.mT / math.sqrt(k.shape[-1])).exp()
    weights = e / e.sum(-1, keepdim=True)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, LARGE, "each row's own maximum")
def self_one_maximum_for_all_rows(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    e = (scores - scores.max()).exp()
    weights = e / e.sum(-1, keepdim=True)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
def self_in_float32(x, w_q, w_k, w_v):
    return attend(*projected(x.float(), w_q.float(), w_k.float(), w_v.float()))


@MUTANTS.add(EXERCISE, DTYPE, "float32 went in, cpu float64 came out")
def self_in_float64(x, w_q, w_k, w_v):
    return attend(*projected(x.double(), w_q.double(), w_k.double(), w_v.double()))


@MUTANTS.add(EXERCISE, DTYPE, "does not depend on argument 3")
def self_one_projection(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_q, w_v))


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 2 was changed in place")
def self_scales_the_weights_in_place(x, w_q, w_k, w_v):
    w_q /= math.sqrt(w_q.shape[-1])
    return attend(*projected(x, w_q, w_k, w_v), scale=1)


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def self_clears_its_input(x, w_q, w_k, w_v):
    out = attend(*projected(x, w_q, w_k, w_v))
    x.zero_()
    return out


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
def self_detached(x, w_q, w_k, w_v):
    context, weights = attend(*projected(x, w_q, w_k, w_v))
    return context.detach(), weights.detach()


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
@torch.no_grad()
def self_no_grad(x, w_q, w_k, w_v):
    return attend(*projected(x, w_q, w_k, w_v))


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off")
def self_keys_cut_off(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    return attend(q, k.detach(), v)


@MUTANTS.add(EXERCISE, LARGE, "clamped or replaced")
def self_scores_clamped(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    weights = (q @ k.mT / math.sqrt(k.shape[-1])).clamp(-50, 50).softmax(-1)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, LARGE, "clamped or replaced")
def self_scores_clamped_before_exp(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    e = (q @ k.mT / math.sqrt(k.shape[-1])).clamp(max=10 if x.dtype == torch.float16 else 80).exp()
    weights = e / e.sum(-1, keepdim=True)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, LARGE, "clamped or replaced")
def self_nan_replaced(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    e = (q @ k.mT / math.sqrt(k.shape[-1])).exp()
    weights = (e / e.sum(-1, keepdim=True)).nan_to_num(1.0)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
def self_two_or_four_dimensions(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    if x.dim() == 2:
        weights = (q @ k.T / math.sqrt(k.shape[-1])).softmax(1)
    else:
        weights = (torch.einsum("abid,abjd->abij", q, k) / math.sqrt(k.shape[-1])).softmax(3)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, BATCH, "expected shape (1, 5, 6), got (5, 6)")
def self_squeezed(x, w_q, w_k, w_v):
    context, weights = attend(*projected(x, w_q, w_k, w_v))
    return context.squeeze(), weights.squeeze()


@MUTANTS.add(EXERCISE, ROWS, "weights has shape (); it should be (1, 1)")
def self_squeezed_where_one_word(x, w_q, w_k, w_v):
    return self_squeezed(x, w_q, w_k, w_v) if x.shape[-2] == 1 else attend(*projected(x, w_q, w_k, w_v))


@MUTANTS.add(EXERCISE, ORDER, "two calls with the same input gave different results")
def self_dropout(x, w_q, w_k, w_v):
    q, k, v = projected(x, w_q, w_k, w_v)
    weights = F.dropout(attend(q, k, v)[1], 0.5)
    return weights @ v, weights


@MUTANTS.add(EXERCISE, BATCH, "two calls with the same input gave different results")
def self_dropout_in_a_batch(x, w_q, w_k, w_v):
    return self_dropout(x, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was switched to requires_grad")
def self_asks_for_gradients(x, w_q, w_k, w_v):
    return attend(*projected(x.requires_grad_(), w_q, w_k, w_v))


@MUTANTS.worthless(EXERCISE)
def self_nothing(x, w_q, w_k, w_v):
    return None


@MUTANTS.worthless(EXERCISE)
def self_input(x, w_q, w_k, w_v):
    return x, x


@MUTANTS.worthless(EXERCISE)
def self_zeros(x, w_q, w_k, w_v):
    return x.new_zeros(*x.shape[:-1], w_v.shape[-1]), x.new_zeros(*x.shape[:-1], x.shape[-2])


@MUTANTS.worthless(EXERCISE)
def self_nan(x, w_q, w_k, w_v):
    return x @ w_v * torch.nan, x @ x.mT * torch.nan


CALLS = itertools.count()


@MUTANTS.worthless(EXERCISE)
def self_differs_at_every_call(x, w_q, w_k, w_v):
    return x @ w_v * 0 + next(CALLS), x @ x.mT * 0 + next(CALLS)


@MUTANTS.worthless(EXERCISE)
def self_makes_the_inputs_zero(x, w_q, w_k, w_v):
    for given in (x, w_q, w_k, w_v):
        given.detach().zero_()
    return x @ w_v, torch.softmax(x @ x.mT, -1)  # right, but for the zeros alone


@MUTANTS.worthless(EXERCISE)
def self_exits(x, w_q, w_k, w_v):
    raise SystemExit(0)


# --- transfer_weights -----------------------------------------------------------------------------------------

EXERCISE = "transfer_weights"
SQUARE = "square weights are transposed and in the right order"
RECTANGULAR = "d_in, d_k and d_v may all differ"
SOURCE = "the source is unchanged"
MEMORY = "no memory is shared"
OPTIMIZER = "an optimizer made before still trains the target"
TARGET_DTYPE = "the target keeps its dtype and device"
NOTHING = "nothing is returned"


def targets(module):
    return module.w_q, module.w_k, module.w_v


def rows(linear_module, parameter_module):
    return linear_module.w_qkv.weight.split([p.shape[1] for p in targets(parameter_module)])


def copy(linear_module, parameter_module):
    with torch.no_grad():
        for parameter, block in zip(targets(parameter_module), rows(linear_module, parameter_module), strict=True):
            parameter.copy_(block.T)


@MUTANTS.add(EXERCISE, SQUARE, "w_q is not transposed")
def transfer_not_transposed(linear_module, parameter_module):
    with torch.no_grad():
        for parameter, block in zip(targets(parameter_module), rows(linear_module, parameter_module), strict=True):
            parameter.copy_(block if block.shape == parameter.shape else block.T)


@MUTANTS.add(EXERCISE, SQUARE, "numbers in the wrong places")
def transfer_reshaped_into_three(linear_module, parameter_module):
    d_in, d_k = parameter_module.w_q.shape
    with torch.no_grad():
        blocks = linear_module.w_qkv.weight.T.reshape(3, d_in, d_k)
        for parameter, block in zip(targets(parameter_module), blocks, strict=True):
            parameter.copy_(block)


@MUTANTS.add(EXERCISE, SQUARE, "w_q got the rows of w_k")
def transfer_wrong_order(linear_module, parameter_module):
    q, k, v = rows(linear_module, parameter_module)
    with torch.no_grad():
        for parameter, block in zip(targets(parameter_module), (k, q, v), strict=True):
            parameter.copy_(block.T)


@MUTANTS.add(EXERCISE, SQUARE, "w_k got the rows of w_q")
def transfer_same_rows(linear_module, parameter_module):
    with torch.no_grad():
        for parameter in targets(parameter_module):
            parameter.copy_(linear_module.w_qkv.weight[: parameter.shape[1]].T)


@MUTANTS.add(EXERCISE, SQUARE, "w_q got every third row")
def transfer_interleaved(linear_module, parameter_module):
    with torch.no_grad():
        for i, parameter in enumerate(targets(parameter_module)):
            parameter.copy_(linear_module.w_qkv.weight[i::3].T)


@MUTANTS.add(EXERCISE, RECTANGULAR, "not three equal parts")
def transfer_three_equal_parts(linear_module, parameter_module):
    with torch.no_grad():
        for parameter, block in zip(targets(parameter_module), linear_module.w_qkv.weight.chunk(3), strict=True):
            parameter.copy_(block.T)


@MUTANTS.add(EXERCISE, RECTANGULAR, "give different q")
def transfer_reshaped(linear_module, parameter_module):
    # right for square weights alone
    with torch.no_grad():
        for parameter, block in zip(targets(parameter_module), rows(linear_module, parameter_module), strict=True):
            parameter.copy_(block.T if block.shape[0] == block.shape[1] else block.reshape(parameter.shape))


@MUTANTS.add(EXERCISE, SOURCE, "the source's weight was changed")
def transfer_transposes_the_source(linear_module, parameter_module):
    linear_module.w_qkv.weight.data = linear_module.w_qkv.weight.data.T
    columns = linear_module.w_qkv.weight.split([p.shape[1] for p in targets(parameter_module)], dim=1)
    with torch.no_grad():
        for parameter, block in zip(targets(parameter_module), columns, strict=True):
            parameter.copy_(block)


@MUTANTS.add(EXERCISE, SOURCE, "lost requires_grad")
def transfer_freezes_the_source(linear_module, parameter_module):
    linear_module.requires_grad_(False)
    copy(linear_module, parameter_module)


@MUTANTS.add(EXERCISE, MEMORY, "view of the source's memory")
def transfer_data_assigned(linear_module, parameter_module):
    for parameter, block in zip(targets(parameter_module), rows(linear_module, parameter_module), strict=True):
        parameter.data = block.data.T


@MUTANTS.add(EXERCISE, OPTIMIZER, "new parameter")
def transfer_new_parameters(linear_module, parameter_module):
    q, k, v = (
        block.detach().T.clone().to(parameter)
        for block, parameter in zip(rows(linear_module, parameter_module), targets(parameter_module), strict=True)
    )
    parameter_module.w_q, parameter_module.w_k, parameter_module.w_v = map(nn.Parameter, (q, k, v))


@MUTANTS.add(EXERCISE, OPTIMIZER, "lost requires_grad")
def transfer_freezes_the_target(linear_module, parameter_module):
    copy(linear_module, parameter_module)
    parameter_module.requires_grad_(False)


@MUTANTS.add(EXERCISE, OPTIMIZER, "leaf Variable that requires grad")
def transfer_without_no_grad(linear_module, parameter_module):
    for parameter, block in zip(targets(parameter_module), rows(linear_module, parameter_module), strict=True):
        parameter.copy_(block.T)


@MUTANTS.add(EXERCISE, TARGET_DTYPE, "took over the source's")
def transfer_data_cloned(linear_module, parameter_module):
    for parameter, block in zip(targets(parameter_module), rows(linear_module, parameter_module), strict=True):
        parameter.data = block.data.T.clone()


@MUTANTS.add(EXERCISE, SOURCE, "was cpu float32 and became cpu float64")
def transfer_casts_the_source(linear_module, parameter_module):
    copy(linear_module.to(parameter_module.w_q.dtype), parameter_module)


@MUTANTS.add(EXERCISE, SOURCE, "the source got a new weight")
def transfer_replaces_the_source(linear_module, parameter_module):
    linear_module.w_qkv.weight = nn.Parameter(linear_module.w_qkv.weight.detach().clone())
    copy(linear_module, parameter_module)


@MUTANTS.add(EXERCISE, SQUARE, "lost precision on the way")
def transfer_by_way_of_half(linear_module, parameter_module):
    with torch.no_grad():
        for parameter, block in zip(targets(parameter_module), rows(linear_module, parameter_module), strict=True):
            parameter.copy_(block.half().T)


@MUTANTS.add(EXERCISE, SQUARE, "lost precision on the way")
def transfer_by_way_of_float(linear_module, parameter_module):
    with torch.no_grad():
        for parameter, block in zip(targets(parameter_module), rows(linear_module, parameter_module), strict=True):
            parameter.copy_(block.float().T)


@MUTANTS.add(EXERCISE, NOTHING, "a ParameterProjections came back")
def transfer_returns_the_target(linear_module, parameter_module):
    copy(linear_module, parameter_module)
    return parameter_module


@MUTANTS.worthless(EXERCISE)
def transfer_nothing(linear_module, parameter_module):
    return linear_module


@MUTANTS.worthless(EXERCISE)
def transfer_zeros(linear_module, parameter_module):
    with torch.no_grad():
        for parameter in targets(parameter_module):
            parameter.zero_()


@MUTANTS.worthless(EXERCISE)
def transfer_state_dict(linear_module, parameter_module):
    parameter_module.load_state_dict(linear_module.state_dict())


# --- score_statistics -----------------------------------------------------------------------------------------

EXERCISE = "score_statistics"
VARIANCE = "variances of all n² scores, unbiased"
JACOBIAN = "norms of the softmax's Jacobian"
EXPECTATION = "variance ≈ d_k, scaled ≈ 1"
VANISHES = "without scaling the gradient vanishes"
GENERATOR = "randomness comes from the generator alone"


def drawn(d_k, n, generator, dtype=torch.float64):
    return [torch.randn(n, d_k, generator=generator, dtype=dtype, device=generator.device) for _ in range(2)]


def jacobians(scores):
    p = scores.softmax(-1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


def norm(scores):
    return torch.linalg.matrix_norm(jacobians(scores)).mean()


def statistics_of(q, k, variance=torch.var, gradient=norm, scale=None):
    scores = q @ k.mT
    scaled = scores / (scale or math.sqrt(q.shape[-1]))
    return {
        "variance": float(variance(scores)),
        "variance_scaled": float(variance(scaled)),
        "gradient": float(gradient(scores)),
        "gradient_scaled": float(gradient(scaled)),
    }


@MUTANTS.add(EXERCISE, VARIANCE, "divided by n²; the unbiased")
def statistics_biased(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), variance=lambda s: s.var(correction=0))


@MUTANTS.add(EXERCISE, VARIANCE, "the mean of the squares")
def statistics_mean_not_subtracted(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), variance=lambda s: s.square().mean())


@MUTANTS.add(EXERCISE, VARIANCE, "standard deviation")
def statistics_standard_deviation(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), variance=torch.std)


@MUTANTS.add(EXERCISE, VARIANCE, "only n pairs")
def statistics_n_pairs(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), variance=lambda s: s.diagonal().var())


@MUTANTS.add(EXERCISE, VARIANCE, "averages the variances of the rows")
def statistics_variance_of_rows(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), variance=lambda s: s.var(-1).mean())


@MUTANTS.add(EXERCISE, VARIANCE, "drawn in float32")
def statistics_in_float32(d_k, n, generator):
    return statistics_of(*(t.double() for t in drawn(d_k, n, generator, torch.float32)))


@MUTANTS.add(EXERCISE, VARIANCE, "drawn in float32")
def statistics_all_in_float32(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator, torch.float32))


@MUTANTS.add(EXERCISE, VARIANCE, "divided by d_k; divide them by √d_k")
def statistics_root_forgotten(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), scale=d_k)


@MUTANTS.add(EXERCISE, VARIANCE, "the variance was divided by √d_k")
def statistics_variance_scaled(d_k, n, generator):
    out = statistics_of(*drawn(d_k, n, generator))
    return out | {"variance_scaled": out["variance"] / math.sqrt(d_k)}


@MUTANTS.add(EXERCISE, VARIANCE, "make it a Python float")
def statistics_tensors(d_k, n, generator):
    return {key: torch.tensor(value) for key, value in statistics_of(*drawn(d_k, n, generator)).items()}


@MUTANTS.add(EXERCISE, VARIANCE, "expected a dict with the keys")
def statistics_tuple(d_k, n, generator):
    return tuple(statistics_of(*drawn(d_k, n, generator)).values())


@MUTANTS.add(EXERCISE, EXPECTATION, "it should be near 1")
def statistics_not_scaled(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), scale=1)


@MUTANTS.add(EXERCISE, EXPECTATION, "two draws gave the same variance")
def statistics_from_theory(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator)) | {"variance": float(d_k), "variance_scaled": 1.0}


@MUTANTS.add(EXERCISE, EXPECTATION, "it should be near 64")
def statistics_uniform(d_k, n, generator):
    return statistics_of(
        *(torch.rand(n, d_k, generator=generator, dtype=torch.float64, device=generator.device) for _ in "qk")
    )


@MUTANTS.add(EXERCISE, JACOBIAN, "the norms were added up")
def statistics_norms_added(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), gradient=lambda s: torch.linalg.matrix_norm(jacobians(s)).sum())


@MUTANTS.add(EXERCISE, JACOBIAN, "one norm of all rows together")
def statistics_one_norm(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), gradient=lambda s: jacobians(s).norm())


@MUTANTS.add(EXERCISE, JACOBIAN, "squared before averaging")
def statistics_norms_squared(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), gradient=lambda s: jacobians(s).square().sum((-2, -1)).mean())


@MUTANTS.add(EXERCISE, JACOBIAN, "spectral norm")
def statistics_spectral_norm(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), gradient=lambda s: torch.linalg.matrix_norm(jacobians(s), 2).mean())


@MUTANTS.add(EXERCISE, JACOBIAN, "only the diagonal")
def statistics_diagonal(d_k, n, generator):
    def gradient(scores):
        p = scores.softmax(-1)
        return (p * (1 - p)).norm(dim=-1).mean()

    return statistics_of(*drawn(d_k, n, generator), gradient=gradient)


@MUTANTS.add(EXERCISE, JACOBIAN, "the softmax ran over the queries")
def statistics_softmax_over_queries(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator), gradient=lambda s: norm(s.mT))


@MUTANTS.add(EXERCISE, JACOBIAN, "k was drawn before q")
def statistics_keys_first(d_k, n, generator):
    k, q = drawn(d_k, n, generator)
    return statistics_of(q, k)


@MUTANTS.add(EXERCISE, JACOBIAN, "differentiates by the raw scores")
def statistics_chain_rule(d_k, n, generator):
    out = statistics_of(*drawn(d_k, n, generator))
    return out | {"gradient_scaled": out["gradient_scaled"] / math.sqrt(d_k)}


@MUTANTS.add(EXERCISE, VANISHES, "unscaled it vanishes")
def statistics_keys_exchanged(d_k, n, generator):
    out = statistics_of(*drawn(d_k, n, generator))
    return out | {"gradient": out["gradient_scaled"], "gradient_scaled": out["gradient"]}


@MUTANTS.add(EXERCISE, VANISHES, "scaled it hardly changes")
def statistics_gradient_not_scaled(d_k, n, generator):
    out = statistics_of(*drawn(d_k, n, generator))
    return out | {"gradient_scaled": out["gradient"]}


@MUTANTS.add(EXERCISE, GENERATOR, "drawn without generator=generator")
def statistics_global_random_numbers(d_k, n, generator):
    return statistics_of(*(torch.randn(n, d_k, dtype=torch.float64, device=generator.device) for _ in "qk"))


@MUTANTS.add(EXERCISE, GENERATOR, "drawn without generator=generator")
def statistics_keys_from_global_numbers(d_k, n, generator):
    q = drawn(d_k, n, generator)[0]
    return statistics_of(q, torch.randn_like(q))


@MUTANTS.add(EXERCISE, GENERATOR, "a seed of its own is set inside")
def statistics_global_seed(d_k, n, generator):
    torch.manual_seed(123)
    return statistics_global_random_numbers(d_k, n, generator)


@MUTANTS.add(EXERCISE, GENERATOR, "a seed of its own is set inside")
def statistics_generator_reseeded(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator.manual_seed(0)))


@MUTANTS.add(EXERCISE, GENERATOR, "it was set back, or not used at all")
def statistics_generator_set_back(d_k, n, generator):
    return statistics_of(*drawn(d_k, n, generator.manual_seed(generator.initial_seed())))


@MUTANTS.add(EXERCISE, GENERATOR, "or not used at all")
def statistics_global_numbers_from_its_seed(d_k, n, generator):
    torch.manual_seed(generator.initial_seed())
    return statistics_global_random_numbers(d_k, n, generator)


@MUTANTS.add(EXERCISE, GENERATOR, "more or less was")
def statistics_draws_too_much(d_k, n, generator):
    q, k = drawn(d_k, n, generator)
    torch.randn(3, generator=generator, device=generator.device)
    return statistics_of(q, k)


@MUTANTS.add(EXERCISE, GENERATOR, "global random numbers were drawn or seeded")
def statistics_touches_the_global_state(d_k, n, generator):
    torch.rand(3)
    return statistics_of(*drawn(d_k, n, generator))


@MUTANTS.worthless(EXERCISE)
def statistics_nothing(d_k, n, generator):
    return None


@MUTANTS.worthless(EXERCISE)
def statistics_constants(d_k, n, generator):
    return {"variance": float(d_k), "variance_scaled": 1.0, "gradient": 0.1, "gradient_scaled": 0.2}


# --- MultiHeadAttention ---------------------------------------------------------------------------------------

EXERCISE = "MultiHeadAttention"
PARAMETERS = "parameters by name, gates open at first"
REFERENCE = "equals the reference with copied weights"
SINGLE = "one head is plain attention"
GATE = "a gate of 0 switches its head off"
INDEPENDENT = "a head depends on its own weights alone"
TRAINS = "every parameter gets a gradient"
REFUSED = "refuses a width that the heads cannot share"


class Heads(nn.Module):
    """A right answer in small steps; each mutant replaces one of them."""

    def __init__(self, d_model, n_head):
        super().__init__()
        if d_model % n_head:
            raise ValueError(f"{n_head} heads cannot share d_model = {d_model}")
        self.n_head, self.d_k = n_head, d_model // n_head
        for name in ("w_q", "w_k", "w_v", "w_o"):
            setattr(self, name, nn.Linear(d_model, d_model, bias=False))
        self.gate = nn.Parameter(torch.ones(n_head))

    def split(self, x):
        return x.unflatten(-1, (self.n_head, self.d_k)).transpose(-3, -2)

    def merge(self, z):
        return z.transpose(-3, -2).flatten(-2)

    def weights(self, q, k):
        return (q @ k.mT / math.sqrt(self.d_k)).softmax(-1)

    def gated(self, z):
        return self.gate[:, None, None] * z

    def forward(self, x):
        q, k, v = self.split(self.w_q(x)), self.split(self.w_k(x)), self.split(self.w_v(x))
        return self.w_o(self.merge(self.gated(self.weights(q, k) @ v)))


def view_heads(self, x):
    return x.reshape(*x.shape[:-2], self.n_head, x.shape[-2], self.d_k)


@MUTANTS.add(EXERCISE, REFERENCE, "split by view(…, H, T, d_k) without transpose")
class SplitByView(Heads):
    split = view_heads


@MUTANTS.add(EXERCISE, INDEPENDENT, "heads mix before w_o")
class SplitByViewMovesOtherHeads(Heads):
    split = view_heads


@MUTANTS.add(EXERCISE, REFERENCE, "split and merged by view")
class SplitAndMergedByView(Heads):
    split = view_heads

    def merge(self, z):
        return z.reshape(*z.shape[:-3], z.shape[-2], -1)


@MUTANTS.add(EXERCISE, REFERENCE, "merged without transposing back")
class MergedByView(Heads):
    def merge(self, z):
        return z.reshape(*z.shape[:-3], z.shape[-2], -1)


@MUTANTS.add(EXERCISE, ORDER, "words were mixed up")
class MergedByViewDependsOnOrder(MergedByView):
    pass


@MUTANTS.add(EXERCISE, REFERENCE, "every H-th feature")
class Interleaved(Heads):
    def split(self, x):
        return x.unflatten(-1, (self.d_k, self.n_head)).movedim(-1, -3)


@MUTANTS.add(EXERCISE, REFERENCE, "softmax runs over the heads")
class SoftmaxOverHeads(Heads):
    def weights(self, q, k):
        return (q @ k.mT / math.sqrt(self.d_k)).softmax(-3)


@MUTANTS.add(EXERCISE, REFERENCE, "softmax runs over the queries")
class SoftmaxOverQueries(Heads):
    def weights(self, q, k):
        return (q @ k.mT / math.sqrt(self.d_k)).softmax(-2)


@MUTANTS.add(EXERCISE, REFERENCE, "divided by √d_model")
class ScaledByModelWidth(Heads):
    def weights(self, q, k):
        return (q @ k.mT / math.sqrt(self.d_k * self.n_head)).softmax(-1)


@MUTANTS.add(EXERCISE, SINGLE, "not scaled")
class NotScaled(Heads):
    def weights(self, q, k):
        return (q @ k.mT).softmax(-1)


@MUTANTS.add(EXERCISE, SINGLE, "by √d_k twice")
class ScaledTwice(Heads):
    def forward(self, x):
        q, k, v = self.split(self.w_q(x)), self.split(self.w_k(x)), self.split(self.w_v(x))
        z = F.scaled_dot_product_attention(q / math.sqrt(self.d_k), k, v)
        return self.w_o(self.merge(self.gated(z)))


@MUTANTS.add(EXERCISE, SINGLE, "w_o is not applied")
class NoOutputProjection(Heads):
    def forward(self, x):
        q, k, v = self.split(self.w_q(x)), self.split(self.w_k(x)), self.split(self.w_v(x))
        return self.merge(self.gated(self.weights(q, k) @ v))


@MUTANTS.add(EXERCISE, GATE, "multiplied by its gate")
class GateIgnored(Heads):
    def gated(self, z):
        return z


@MUTANTS.add(EXERCISE, REFERENCE, "the gate is not applied", spares=INDEPENDENT)
class GateForgotten(GateIgnored):
    pass


@MUTANTS.add(EXERCISE, GATE, "multiplied by its gate", spares=INDEPENDENT)
class GateOnScores(Heads):
    def weights(self, q, k):
        return (self.gate[:, None, None] * (q @ k.mT) / math.sqrt(self.d_k)).softmax(-1)

    def gated(self, z):
        return z


@MUTANTS.add(EXERCISE, GATE, "something still passes")
class GateFromOneUp(Heads):
    def gated(self, z):
        return z if not self.gate.any() else super().gated(z)


@MUTANTS.add(EXERCISE, REFERENCE, "laid out feature by feature")
class GateRepeated(Heads):
    def forward(self, x):
        q, k, v = self.split(self.w_q(x)), self.split(self.w_k(x)), self.split(self.w_v(x))
        return self.w_o(self.merge(self.weights(q, k) @ v) * self.gate.repeat(self.d_k))


@MUTANTS.add(EXERCISE, REFERENCE, "applied after w_o", spares=INDEPENDENT)
class GateAfterOutput(Heads):
    def forward(self, x):
        q, k, v = self.split(self.w_q(x)), self.split(self.w_k(x)), self.split(self.w_v(x))
        return self.w_o(self.merge(self.weights(q, k) @ v)) * self.gate.repeat_interleave(self.d_k)


@MUTANTS.add(
    EXERCISE, GATE, "head 0 alone should pass: each head's result is multiplied by its gate", spares=INDEPENDENT
)
class GateSquashed(Heads):
    def gated(self, z):
        return self.gate.sigmoid()[:, None, None] * z


@MUTANTS.add(EXERCISE, GATE, "head 0 alone should pass", spares=INDEPENDENT)
class GatesReversed(Heads):
    def gated(self, z):
        return self.gate.flip(0)[:, None, None] * z


@MUTANTS.add(EXERCISE, TRAINS, "no gradient reaches gate,")
class GateData(Heads):
    def gated(self, z):
        return self.gate.data[:, None, None] * z


@MUTANTS.add(EXERCISE, TRAINS, "no gradient reaches gate,")
class GateNumbers(Heads):
    def gated(self, z):
        return torch.stack([self.gate[h].item() * one for h, one in enumerate(z.unbind(-3))], -3)


@MUTANTS.add(EXERCISE, TRAINS, "no gradient reaches w_q.weight, w_k.weight, w_v.weight, w_o.weight, gate,")
class NothingTrains(Heads):
    def forward(self, x):
        q, k, v = (self.split(x @ w.weight.data.T) for w in (self.w_q, self.w_k, self.w_v))
        z = self.gate.data[:, None, None] * (self.weights(q, k) @ v)
        return self.merge(z) @ self.w_o.weight.data.T


@MUTANTS.add(EXERCISE, PARAMETERS, "w_k.weight is not trainable: make it a parameter of its own")
class QueriesAndKeysTied(Heads):
    def __init__(self, d_model, n_head):
        super().__init__(d_model, n_head)
        self.w_k = self.w_q


@MUTANTS.add(EXERCISE, REFERENCE, "never split")
class OneBigHead(Heads):
    def forward(self, x):
        z, _ = attend(self.w_q(x), self.w_k(x), self.w_v(x))
        return self.w_o(z * self.gate.repeat_interleave(self.d_k))


@MUTANTS.add(EXERCISE, REFERENCE, "residual connection")
class Residual(Heads):
    def forward(self, x):
        return x + super().forward(x)


@MUTANTS.add(EXERCISE, REFERENCE, "queries and keys have changed places")
class KeysAsk(Heads):
    def weights(self, q, k):
        return super().weights(k, q)


@MUTANTS.add(EXERCISE, PARAMETERS, "the gates start at 0")
class GateClosed(Heads):
    def __init__(self, d_model, n_head):
        super().__init__(d_model, n_head)
        self.gate = nn.Parameter(torch.zeros(n_head))


@MUTANTS.add(EXERCISE, PARAMETERS, "gate is not trainable")
class GateBuffer(Heads):
    def __init__(self, d_model, n_head):
        super().__init__(d_model, n_head)
        del self.gate
        self.register_buffer("gate", torch.ones(n_head))


@MUTANTS.add(EXERCISE, PARAMETERS, "there is no parameter gate")
class GateAttribute(Heads):
    def __init__(self, d_model, n_head):
        super().__init__(d_model, n_head)
        del self.gate
        self.gate = torch.ones(n_head)


@MUTANTS.add(EXERCISE, PARAMETERS, "gate has shape (3, 1, 1)")
class GateShaped(Heads):
    def __init__(self, d_model, n_head):
        super().__init__(d_model, n_head)
        self.gate = nn.Parameter(torch.ones(n_head, 1, 1))


@MUTANTS.add(EXERCISE, PARAMETERS, "no bias")
class Biased(Heads):
    def __init__(self, d_model, n_head):
        super().__init__(d_model, n_head)
        self.w_o = nn.Linear(d_model, d_model)


@MUTANTS.add(EXERCISE, PARAMETERS, "beyond the parameters asked for there is norm.weight")
class WithNorm(Heads):
    def __init__(self, d_model, n_head):
        super().__init__(d_model, n_head)
        self.norm = nn.RMSNorm(d_model)


@MUTANTS.add(EXERCISE, PARAMETERS, "nn.MultiheadAttention")
class LibraryModule(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.attention = nn.MultiheadAttention(d_model, n_head, bias=False, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


@MUTANTS.add(EXERCISE, ORDER, "causal mask")
class Causal(Heads):
    def weights(self, q, k):
        scores = q @ k.mT / math.sqrt(self.d_k)
        return (scores + torch.full_like(scores, -math.inf).triu(1)).softmax(-1)


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
class ThreeDimensionsOnly(Heads):
    def split(self, x):
        b, t, _ = x.shape
        return x.view(b, t, self.n_head, self.d_k).transpose(1, 2)


@MUTANTS.add(EXERCISE, BATCH, "expected shape (1, 5, 12), got (5, 12)")
class Squeezed(Heads):
    def forward(self, x):
        return super().forward(x).squeeze()


@MUTANTS.add(EXERCISE, REFERENCE, "forward(x), of x (2, 4, 12), has shape (4, 2, 12)")
class WordsFirst(Heads):
    def forward(self, x):
        return super().forward(x).transpose(0, 1)


@MUTANTS.add(EXERCISE, ORDER, "two calls with the same input gave different results")
class Dropout(Heads):
    def weights(self, q, k):
        return F.dropout(super().weights(q, k), 0.5)


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
class NormalisesAcrossTheBatch(Heads):
    def split(self, x):
        return super().split(x - x.mean(tuple(range(x.dim() - 2)), keepdim=True) if x.shape[0] > 1 else x)


@MUTANTS.add(EXERCISE, REFUSED, "was built")
class WidthNotChecked(Heads):
    def __init__(self, d_model, n_head):
        super().__init__(d_model - d_model % n_head, n_head)


@MUTANTS.add(EXERCISE, REFUSED, "raised AssertionError; raise a ValueError")
class WidthAsserted(Heads):
    def __init__(self, d_model, n_head):
        assert d_model % n_head == 0
        super().__init__(d_model, n_head)


@MUTANTS.add(EXERCISE, REFUSED, "no sentence that names both numbers")
class WidthRefusedSilently(Heads):
    def __init__(self, d_model, n_head):
        if d_model % n_head:
            raise ValueError
        super().__init__(d_model, n_head)


@MUTANTS.add(EXERCISE, REFUSED, "no sentence that names both numbers")
class WidthRefusedWithOneNumber(Heads):
    def __init__(self, d_model, n_head):
        if d_model % n_head:
            raise ValueError(f"not possible: {d_model}{n_head}")
        super().__init__(d_model, n_head)


@MUTANTS.add(EXERCISE, REFUSED, "no sentence that names both numbers")
class WidthRefusedWithoutWords(Heads):
    def __init__(self, d_model, n_head):
        if d_model % n_head:
            raise ValueError(d_model, n_head)
        super().__init__(d_model, n_head)


@MUTANTS.add(EXERCISE, REFUSED, "MultiHeadAttention(4, 8) was built")
class OnlyOneWidthRefused(Heads):
    def __init__(self, d_model, n_head):
        if d_model == 10:
            raise ValueError(f"{n_head} heads cannot share d_model = {d_model}")
        super().__init__(d_model - d_model % n_head, n_head)


@MUTANTS.add(EXERCISE, DTYPE, "came out")
class InFloat32(Heads):
    def merge(self, z):
        return super().merge(z).float()

    def forward(self, x):
        q, k, v = self.split(self.w_q(x)), self.split(self.w_k(x)), self.split(self.w_v(x))
        return self.merge(self.gated(self.weights(q, k) @ v)) @ self.w_o.weight.float().T


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
class ResidualInPlace(Heads):
    def forward(self, x):
        out = super().forward(x)
        x += out
        return out


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off")
class WeightsDetached(Heads):
    def weights(self, q, k):
        return super().weights(q, k).detach()


@MUTANTS.add(EXERCISE, REFERENCE, "one tensor")
class ReturnsPair(Heads):
    def forward(self, x):
        return super().forward(x), None


@MUTANTS.worthless(EXERCISE)
class ReturnsInput(Heads):
    def forward(self, x):
        return x


@MUTANTS.worthless(EXERCISE)
class ReturnsProjection(Heads):
    def forward(self, x):
        return self.w_o(self.w_v(x))


@MUTANTS.worthless(EXERCISE)
class AlwaysRefuses(nn.Module):
    def __init__(self, d_model, n_head):
        raise ValueError("no")


@MUTANTS.worthless(EXERCISE)
def not_a_class(d_model, n_head):
    return None


# --- cross_attention ------------------------------------------------------------------------------------------

EXERCISE = "cross_attention"
VALUES = "from decoder to encoder, scores divided by √d_k"
SIZES = "decoder and encoder may differ in length and width"
COVERAGE = "coverage is what each encoder position receives"
DECODER = "a decoder position moves its own context alone"
ENCODER = "an encoder position moves every context"
ENCODER_ORDER = "the order of the encoder does not matter"
BROADCAST = "leading dimensions are a batch and broadcast"


def crossed(decoder, encoder, w_q, w_k, w_v, scale=None):
    context, weights = attend(decoder @ w_q, encoder @ w_k, encoder @ w_v, scale)
    return context, weights.sum(-2)


@MUTANTS.add(EXERCISE, VALUES, "the roles are reversed")
def cross_roles_reversed(decoder, encoder, w_q, w_k, w_v):
    return crossed(encoder, decoder, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, VALUES, "the decoder attends to itself")
def cross_decoder_alone(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, decoder, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, VALUES, "the encoder attends to itself")
def cross_encoder_alone(decoder, encoder, w_q, w_k, w_v):
    return crossed(encoder, encoder, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, VALUES, "the keys come from the decoder")
def cross_keys_of_decoder(decoder, encoder, w_q, w_k, w_v):
    context, weights = attend(decoder @ w_q, decoder @ w_k, encoder @ w_v)
    return context, weights.sum(-2)


@MUTANTS.add(EXERCISE, VALUES, "the values come from the decoder")
def cross_values_of_decoder(decoder, encoder, w_q, w_k, w_v):
    context, weights = attend(decoder @ w_q, encoder @ w_k, decoder @ w_v)
    return context, weights.sum(-2)


@MUTANTS.add(EXERCISE, VALUES, "queries and keys have changed places")
def cross_keys_ask(decoder, encoder, w_q, w_k, w_v):
    context, weights = attend(encoder @ w_k, decoder @ w_q, encoder @ w_v)
    return context, weights.sum(-2)


@MUTANTS.add(EXERCISE, VALUES, "not scaled")
def cross_not_scaled(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder, w_q, w_k, w_v, scale=1)


@MUTANTS.add(EXERCISE, VALUES, "by √d_k twice")
def cross_root_forgotten(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder, w_q, w_k, w_v, scale=w_k.shape[-1])


@MUTANTS.add(EXERCISE, VALUES, "divided by √d_decoder_or_encoder")
def cross_scaled_by_width(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder, w_q, w_k, w_v, scale=math.sqrt(decoder.shape[-1]))


@MUTANTS.add(EXERCISE, VALUES, "divided by √T;")
def cross_scaled_by_length(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder, w_q, w_k, w_v, scale=math.sqrt(encoder.shape[-2]))


@MUTANTS.add(EXERCISE, VALUES, "one tensor came back")
def cross_library_call(decoder, encoder, w_q, w_k, w_v):
    return F.scaled_dot_product_attention(decoder @ w_q, encoder @ w_k, encoder @ w_v)


@MUTANTS.add(EXERCISE, VALUES, "coverage stands first")
def cross_coverage_first(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder, w_q, w_k, w_v)[::-1]


def cut(decoder, encoder):
    return encoder[..., : decoder.shape[-2], :]


@MUTANTS.add(EXERCISE, SIZES, "was cut to the decoder's length")
def cross_encoder_cut(decoder, encoder, w_q, w_k, w_v):
    context, coverage = crossed(decoder, cut(decoder, encoder), w_q, w_k, w_v)
    return context, F.pad(coverage, (0, encoder.shape[-2] - coverage.shape[-1]))


@MUTANTS.add(EXERCISE, ENCODER, "masked or cut off")
def cross_last_position_hidden(decoder, encoder, w_q, w_k, w_v):
    context, coverage = crossed(decoder, encoder[..., :-1, :] if encoder.shape[-2] > 1 else encoder, w_q, w_k, w_v)
    return context, F.pad(coverage, (0, encoder.shape[-2] - coverage.shape[-1]))


@MUTANTS.add(EXERCISE, ENCODER, "masked or cut off")
def cross_causal(decoder, encoder, w_q, w_k, w_v):
    scores = decoder @ w_q @ (encoder @ w_k).mT / math.sqrt(w_k.shape[-1])
    weights = (scores + torch.full_like(scores, -math.inf).triu(1)).softmax(-1)
    return weights @ (encoder @ w_v), weights.sum(-2)


@MUTANTS.add(EXERCISE, VALUES, "causal mask")
def cross_masked(decoder, encoder, w_q, w_k, w_v):
    return cross_causal(decoder, encoder, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, ENCODER_ORDER, "depends on the position")
def cross_positions_added(decoder, encoder, w_q, w_k, w_v):
    position = torch.arange(encoder.shape[-2], dtype=encoder.dtype, device=encoder.device)[:, None]
    return crossed(decoder, encoder + position, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, ENCODER_ORDER, "coverage does not follow")
def cross_coverage_sorted(decoder, encoder, w_q, w_k, w_v):
    context, coverage = crossed(decoder, encoder, w_q, w_k, w_v)
    return context, coverage.sort(-1).values


@MUTANTS.add(EXERCISE, ENCODER_ORDER, "every encoder position received the same")
def cross_uniform(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder * 0, encoder, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, COVERAGE, "coverage is the sum")
def cross_mean(decoder, encoder, w_q, w_k, w_v):
    context, coverage = crossed(decoder, encoder, w_q, w_k, w_v)
    return context, coverage / decoder.shape[-2]


@MUTANTS.add(EXERCISE, COVERAGE, "maximum over the queries")
def cross_maximum(decoder, encoder, w_q, w_k, w_v):
    context, weights = attend(decoder @ w_q, encoder @ w_k, encoder @ w_v)
    return context, weights.amax(-2)


@MUTANTS.add(EXERCISE, COVERAGE, "summed over the keys")
def cross_summed_over_keys(decoder, encoder, w_q, w_k, w_v):
    context, weights = attend(decoder @ w_q, encoder @ w_k, encoder @ w_v)
    return context, weights.sum(-1)


@MUTANTS.add(EXERCISE, COVERAGE, "the weights themselves")
def cross_weights(decoder, encoder, w_q, w_k, w_v):
    return attend(decoder @ w_q, encoder @ w_k, encoder @ w_v)


@MUTANTS.add(EXERCISE, COVERAGE, "the softmax runs over the queries")
def cross_softmax_over_queries(decoder, encoder, w_q, w_k, w_v):
    weights = (decoder @ w_q @ (encoder @ w_k).mT / math.sqrt(w_k.shape[-1])).softmax(-2)
    return weights @ (encoder @ w_v), weights.sum(-2)


@MUTANTS.add(EXERCISE, DECODER, "the softmax runs over queries")
def cross_softmax_over_queries_moves_others(decoder, encoder, w_q, w_k, w_v):
    return cross_softmax_over_queries(decoder, encoder, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, DECODER, "queries do not come from the decoder")
def cross_decoder_ignored(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder * 0 + 1, encoder, w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, BROADCAST, ".mT instead of .T")
def cross_transpose_of_everything(decoder, encoder, w_q, w_k, w_v):
    weights = (decoder @ w_q @ (encoder @ w_k).T / math.sqrt(w_k.shape[-1])).softmax(-1)
    return weights @ (encoder @ w_v), weights.sum(-2)


@MUTANTS.add(EXERCISE, BROADCAST, "expected shape (2, 3, 5)")
def cross_sum_over_dim_0(decoder, encoder, w_q, w_k, w_v):
    context, weights = attend(decoder @ w_q, encoder @ w_k, encoder @ w_v)
    return context, weights.sum(0)


@MUTANTS.add(EXERCISE, BROADCAST, "in the batch gets another result than alone")
def cross_softmax_over_dim_1(decoder, encoder, w_q, w_k, w_v):
    weights = (decoder @ w_q @ (encoder @ w_k).mT / math.sqrt(w_k.shape[-1])).softmax(1)
    return weights @ (encoder @ w_v), weights.sum(-2)


@MUTANTS.add(EXERCISE, LARGE, "exp overflowed")
def cross_exp_without_shift(decoder, encoder, w_q, w_k, w_v):
    e = (decoder @ w_q @ (encoder @ w_k).mT / math.sqrt(w_k.shape[-1])).exp()
    weights = e / e.sum(-1, keepdim=True)
    return weights @ (encoder @ w_v), weights.sum(-2)


@MUTANTS.add(EXERCISE, DTYPE, "came out")
def cross_coverage_in_float32(decoder, encoder, w_q, w_k, w_v):
    context, coverage = crossed(decoder, encoder, w_q, w_k, w_v)
    return context, coverage.float()


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def cross_scales_in_place(decoder, encoder, w_q, w_k, w_v):
    decoder /= math.sqrt(w_q.shape[-1])
    return crossed(decoder, encoder, w_q, w_k, w_v, scale=1)


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
def cross_coverage_detached(decoder, encoder, w_q, w_k, w_v):
    context, coverage = crossed(decoder, encoder, w_q, w_k, w_v)
    return context, coverage.detach()


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off")
def cross_encoder_frozen(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder.detach(), w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, SIZES, "divided by √d_encoder;")
def cross_scaled_by_encoder(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder, w_q, w_k, w_v, scale=math.sqrt(encoder.shape[-1]))


@MUTANTS.add(EXERCISE, VALUES, "divided by √d_v")
def cross_scaled_by_d_v(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder, w_q, w_k, w_v, scale=math.sqrt(w_v.shape[-1]))


@MUTANTS.add(EXERCISE, SIZES, "context of 3 decoder and 5 encoder positions has shape (5,)")
def cross_pair_reversed(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder, w_q, w_k, w_v)[::-1]


@MUTANTS.add(EXERCISE, SIZES, "context of 1 decoder and 4 encoder positions has shape ()")
def cross_squeezed(decoder, encoder, w_q, w_k, w_v):
    context, coverage = crossed(decoder, encoder, w_q, w_k, w_v)
    return context.squeeze(), coverage.squeeze()


@MUTANTS.add(EXERCISE, COVERAGE, "every encoder position was given the same")
def cross_library_with_even_coverage(decoder, encoder, w_q, w_k, w_v):
    context = F.scaled_dot_product_attention(decoder @ w_q, encoder @ w_k, encoder @ w_v)
    t_q, t_k = decoder.shape[-2], encoder.shape[-2]
    return context, context.new_full((*context.shape[:-2], t_k), t_q / t_k)


@MUTANTS.add(EXERCISE, BROADCAST, "shape (4, 4) with (3, 5, 6) raised")
def cross_encoder_expanded(decoder, encoder, w_q, w_k, w_v):
    return crossed(decoder, encoder.expand(*decoder.shape[:-2], *encoder.shape[-2:]), w_q, w_k, w_v)


@MUTANTS.add(EXERCISE, BROADCAST, "expected shape (3, 5), got (5,)")
def cross_coverage_of_all_beams(decoder, encoder, w_q, w_k, w_v):
    context, coverage = crossed(decoder, encoder, w_q, w_k, w_v)
    return context, coverage.sum(0) if encoder.dim() < decoder.dim() else coverage


@MUTANTS.add(EXERCISE, BROADCAST, "count dimensions from the end")
def cross_two_or_four_dimensions(decoder, encoder, w_q, w_k, w_v):
    if decoder.dim() == encoder.dim() == 2:
        return crossed(decoder, encoder, w_q, w_k, w_v)
    scores = torch.einsum("abqd,abkd->abqk", decoder @ w_q, encoder @ w_k) / math.sqrt(w_q.shape[1])
    weights = scores.softmax(-1)
    return torch.einsum("abqk,abkd->abqd", weights, (encoder @ w_v).expand(*weights.shape[:2], -1, -1)), weights.sum(2)


@MUTANTS.add(EXERCISE, LARGE, "clamped or replaced")
def cross_scores_clamped(decoder, encoder, w_q, w_k, w_v):
    weights = (decoder @ w_q @ (encoder @ w_k).mT / math.sqrt(w_k.shape[-1])).clamp(-50, 50).softmax(-1)
    return weights @ (encoder @ w_v), weights.sum(-2)


@MUTANTS.worthless(EXERCISE)
def cross_nothing(decoder, encoder, w_q, w_k, w_v):
    return None


@MUTANTS.worthless(EXERCISE)
def cross_inputs(decoder, encoder, w_q, w_k, w_v):
    return decoder, encoder


@MUTANTS.worthless(EXERCISE)
def cross_zeros(decoder, encoder, w_q, w_k, w_v):
    return decoder.new_zeros(*decoder.shape[:-1], w_v.shape[-1]), encoder.new_zeros(encoder.shape[:-1])
