"""Wrong answers to the exercises of the chapter `similarity`."""

import math

import torch
from torch.nn import functional as F

from mutants import Mutants

MUTANTS = Mutants()

BATCH = "leading dimensions are a batch"
ORDER = "the order of the words does not matter"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves its inputs untouched"
GRADIENTS = "gradients reach every input"

# --- attention_scores -----------------------------------------------------------------------------------------

EXERCISE = "attention_scores"
DOTS = "the dot product of every pair of words"
NEAREST = "the nearest other word"


def nearest(scores):
    own = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(own, -math.inf).argmax(-1)


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
def scores_dot_loop_on_two_dimensions(x):
    scores = torch.empty(len(x), len(x), dtype=x.dtype, device=x.device)
    for i, one in enumerate(x):
        for j, other in enumerate(x):
            scores[i, j] = torch.dot(one, other)
    return scores, nearest(scores)


@MUTANTS.add(EXERCISE, BATCH, ".mT instead of .T")
def scores_transpose_of_everything(x):
    scores = x @ x.T
    return scores, nearest(scores)


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def scores_against_the_first_sequence(x):
    scores = x @ x[(0,) * (x.dim() - 2)].mT
    return scores, nearest(scores)


@MUTANTS.add(EXERCISE, BATCH, "nearest has shape (3, 4); it should be (2, 3, 4)")
def scores_nearest_of_the_first_sequences(x):
    scores = x @ x.mT
    return scores, nearest(scores)[0] if x.dim() == 4 else nearest(scores)


@MUTANTS.add(EXERCISE, DOTS, "this is the cosine")
def scores_cosine(x):
    unit = F.normalize(x, dim=-1)
    scores = unit @ unit.mT
    return scores, nearest(scores)


@MUTANTS.add(EXERCISE, DOTS, "divided by √d")
def scores_scaled(x):
    scores = x @ x.mT / math.sqrt(x.shape[-1])
    return scores, nearest(scores)


@MUTANTS.add(EXERCISE, DOTS, "leave out the softmax")
def scores_softmax(x):
    scores = x @ x.mT
    return scores.softmax(-1), nearest(scores)


@MUTANTS.add(EXERCISE, DOTS, "features are compared with features")
def scores_of_features(x):
    scores = x.mT @ x
    return scores, nearest(x @ x.mT)


@MUTANTS.add(EXERCISE, DOTS, "these are distances")
def scores_distances(x):
    return torch.cdist(x.float(), x.float()).to(x.dtype), nearest(x @ x.mT)


@MUTANTS.add(EXERCISE, DOTS, "the mean was subtracted")
def scores_centred(x):
    x = x - x.mean(-2, keepdim=True)
    return x @ x.mT, nearest(x @ x.mT)


@MUTANTS.add(EXERCISE, DOTS, "mask a copy of it", spares=NEAREST)
def scores_masked_in_place(x):
    scores = x @ x.mT
    scores.diagonal(dim1=-2, dim2=-1).fill_(-math.inf)
    return scores, scores.argmax(-1)


@MUTANTS.add(EXERCISE, DOTS, "became 0")
def scores_diagonal_zeroed(x):
    scores = x @ x.mT
    scores = scores - torch.diag_embed(scores.diagonal(dim1=-2, dim2=-1))
    return scores, scores.argmax(-1)


@MUTANTS.add(EXERCISE, DOTS, "only words up to the present one")
def scores_lower_half(x):
    return (x @ x.mT).tril(), nearest(x @ x.mT)


@MUTANTS.add(EXERCISE, DOTS, "each pair is scored once")
def scores_upper_half(x):
    return (x @ x.mT).triu(), nearest(x @ x.mT)


@MUTANTS.add(EXERCISE, DOTS, "return 2: (scores, nearest)")
def scores_alone(x):
    return x @ x.mT


@MUTANTS.add(EXERCISE, NEAREST, "nearest to itself", spares=DOTS)
def scores_own_word_counts(x):
    scores = x @ x.mT
    return scores, scores.argmax(-1)


@MUTANTS.add(EXERCISE, NEAREST, "0 is not low enough", spares=DOTS)
def scores_own_word_at_zero(x):
    scores = x @ x.mT
    own = torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
    return scores, scores.masked_fill(own, 0).argmax(-1)


@MUTANTS.add(EXERCISE, NEAREST, "the lowest score", spares=DOTS)
def scores_farthest(x):
    scores = x @ x.mT
    return scores, nearest(-scores)


@MUTANTS.add(EXERCISE, NEAREST, "goes by the cosine", spares=DOTS)
def scores_nearest_by_cosine(x):
    unit = F.normalize(x, dim=-1)
    return x @ x.mT, nearest(unit @ unit.mT)


@MUTANTS.add(EXERCISE, NEAREST, "some other word has a higher score", spares=DOTS)
def scores_next_word(x):
    t = x.shape[-2]
    return x @ x.mT, ((torch.arange(t, device=x.device) + 1) % t).expand(x.shape[:-1])


@MUTANTS.add(EXERCISE, NEAREST, "indices are torch.int64", spares=DOTS)
def scores_nearest_as_float(x):
    return x @ x.mT, nearest(x @ x.mT).to(x.dtype)


@MUTANTS.add(EXERCISE, NEAREST, "nearest counts the words from 1", spares=DOTS)
def scores_counted_from_one(x):
    return x @ x.mT, nearest(x @ x.mT) + 1


@MUTANTS.add(EXERCISE, NEAREST, "the words are 0 to 5", spares=DOTS)
def scores_counted_through_the_matrix(x):
    t = x.shape[-2]
    return x @ x.mT, nearest(x @ x.mT) + t * torch.arange(t, device=x.device)


@MUTANTS.add(EXERCISE, NEAREST, "nearest has shape (6, 1)", spares=DOTS)
def scores_nearest_kept_dimension(x):
    return x @ x.mT, nearest(x @ x.mT)[..., None]


@MUTANTS.add(EXERCISE, ORDER, "depends on the position")
def scores_positions_added(x):
    x = x + torch.arange(x.shape[-2], dtype=x.dtype, device=x.device)[:, None]
    return x @ x.mT, nearest(x @ x.mT)


@MUTANTS.add(EXERCISE, ORDER, "causal mask")
def scores_causal(x):
    scores = x @ x.mT
    return scores.tril(), nearest(scores)


@MUTANTS.add(EXERCISE, DTYPE, "came out")
def scores_in_empty_float32(x):
    scores = torch.empty(*x.shape[:-1], x.shape[-2], device=x.device)
    scores[...] = x @ x.mT
    return scores, nearest(scores)


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def scores_normalised_in_place(x):
    scores = x @ x.mT
    x /= x.norm(dim=-1, keepdim=True)
    return scores, nearest(scores)


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
def scores_by_item(x):
    flat = x.reshape(-1, *x.shape[-2:])
    rows = [[[torch.dot(one, other).item() for other in words] for one in words] for words in flat]
    scores = torch.tensor(rows, dtype=x.dtype, device=x.device).reshape(*x.shape[:-1], x.shape[-2])
    return scores, nearest(scores)


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off")
def scores_keys_detached(x):
    scores = x @ x.detach().mT
    return scores, nearest(scores)


@MUTANTS.worthless(EXERCISE)
def scores_nothing(x):
    return None


@MUTANTS.worthless(EXERCISE)
def scores_inputs(x):
    return x, x


@MUTANTS.worthless(EXERCISE)
def scores_zeros(x):
    return x.new_zeros(*x.shape[:-1], x.shape[-2]), torch.zeros(x.shape[:-1], dtype=torch.int64, device=x.device)


@MUTANTS.worthless(EXERCISE)
def scores_identity(x):
    t = x.shape[-2]
    return torch.eye(t, dtype=x.dtype, device=x.device).expand(*x.shape[:-1], t), x.argmax(-1)


@MUTANTS.worthless(EXERCISE)
def scores_of_an_emptied_input(x):
    x.zero_()
    t = x.shape[-2]
    return x @ x.mT, ((torch.arange(t, device=x.device) + 1) % t).expand(x.shape[:-1])


@MUTANTS.worthless(EXERCISE)
def scores_the_same_for_all(x):
    t = x.shape[-2]
    return x.sum(-1, keepdim=True).expand(*x.shape[:-1], t), nearest(torch.eye(t)).expand(x.shape[:-1]).to(x.device)


# --- normalize ------------------------------------------------------------------------------------------------

EXERCISE = "normalize"
KNOWN = "known shares of six scores"
TEMPERATURE = "the temperature divides the scores"
ROWS = "each row adds up to one"
INVARIANCE = "softmax ignores a constant added to a row, sum a factor"
LARGE = "large scores and small temperatures do not overflow"
LIMITS = "cold picks the highest, hot shares evenly"
REFUSED = "a wrong `how` or temperature is refused"


def refuse(how, temperature):
    if how not in ("sum", "softmax") or not temperature > 0:
        raise ValueError(f"how = {how}, temperature = {temperature}")


def by_sum(scores, dim=-1):
    return scores / scores.sum(dim, keepdim=True)


def by_softmax(scores, temperature=1.0, dim=-1):
    return ((scores - scores.amax(dim, keepdim=True)) / temperature).softmax(dim)


def chosen(scores, how, softmax):
    return by_sum(scores) if how == "sum" else softmax


@MUTANTS.add(EXERCISE, KNOWN, "gave the shares of")
def normalize_always_softmax(scores, how, temperature):
    refuse(how, temperature)
    return by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, KNOWN, '"softmax" gave the shares of "sum"')
def normalize_always_sum(scores, how, temperature):
    refuse(how, temperature)
    return by_sum(scores)


@MUTANTS.add(EXERCISE, KNOWN, "powers are those of 2")
def normalize_powers_of_two(scores, how, temperature):
    refuse(how, temperature)
    e = torch.exp2((scores - scores.amax(-1, keepdim=True)) / temperature)
    return chosen(scores, how, by_sum(e))


@MUTANTS.add(EXERCISE, KNOWN, "off by up to")
def normalize_softplus(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_sum(F.softplus(scores / temperature)))


@MUTANTS.add(EXERCISE, TEMPERATURE, "multiplied by the temperature", spares=KNOWN)
def normalize_times_temperature(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores, 1 / temperature))


@MUTANTS.add(EXERCISE, TEMPERATURE, "the temperature is not used", spares=KNOWN)
def normalize_without_temperature(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores))


@MUTANTS.add(EXERCISE, TEMPERATURE, "divides the shares", spares=KNOWN)
def normalize_divided_afterwards(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores) / temperature)


@MUTANTS.add(EXERCISE, TEMPERATURE, "multiplies the shares", spares=KNOWN)
def normalize_multiplied_afterwards(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores) * temperature)


@MUTANTS.add(EXERCISE, TEMPERATURE, "squared", spares=KNOWN)
def normalize_temperature_twice(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores / temperature, temperature))


@MUTANTS.add(EXERCISE, TEMPERATURE, "were divided by it", spares=KNOWN)
def normalize_sum_divided_by_temperature(scores, how, temperature):
    refuse(how, temperature)
    return by_sum(scores) / temperature if how == "sum" else by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, TEMPERATURE, "were multiplied by it", spares=KNOWN)
def normalize_sum_of_divided(scores, how, temperature):
    refuse(how, temperature)
    if how == "sum":
        return scores / (scores / temperature).sum(-1, keepdim=True)
    return by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, TEMPERATURE, "there are no powers", spares=KNOWN)
def normalize_sum_of_powers(scores, how, temperature):
    refuse(how, temperature)
    return by_sum(scores ** (1 / temperature)) if how == "sum" else by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, TEMPERATURE, "over the rows; they run over the last dimension", spares=KNOWN)
def normalize_second_last_dimension(scores, how, temperature):
    refuse(how, temperature)
    dim = -2 if scores.dim() > 1 else -1
    return by_sum(scores, dim) if how == "sum" else by_softmax(scores, temperature, dim)


@MUTANTS.add(EXERCISE, ROWS, "over the rows; they run over the last dimension", spares=KNOWN)
def normalize_first_dimension(scores, how, temperature):
    refuse(how, temperature)
    return by_sum(scores, 0) if how == "sum" else by_softmax(scores, temperature, 0)


@MUTANTS.add(EXERCISE, ROWS, "off by up to", spares=KNOWN)
def normalize_one_sum_for_all(scores, how, temperature):
    refuse(how, temperature)
    e = scores if how == "sum" else ((scores - scores.amax(-1, keepdim=True)) / temperature).exp()
    return e / e.sum()


@MUTANTS.add(EXERCISE, ROWS, "off by up to")
def normalize_by_the_maximum(scores, how, temperature):
    refuse(how, temperature)
    e = scores if how == "sum" else ((scores - scores.amax(-1, keepdim=True)) / temperature).exp()
    return e / e.amax(-1, keepdim=True)


@MUTANTS.add(EXERCISE, INVARIANCE, "take no abs", spares=TEMPERATURE)
def normalize_sum_of_absolutes(scores, how, temperature):
    refuse(how, temperature)
    if how == "sum":
        return scores.abs() / scores.abs().sum(-1, keepdim=True)
    return by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, INVARIANCE, "take no abs", spares=TEMPERATURE)
def normalize_sum_over_absolutes(scores, how, temperature):
    refuse(how, temperature)
    if how == "sum":
        return F.normalize(scores, p=1, dim=-1)
    return by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, INVARIANCE, "change when a row is multiplied")
def normalize_shifted_sum(scores, how, temperature):
    refuse(how, temperature)
    return by_sum(scores - scores.amin(-1, keepdim=True)) if how == "sum" else by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, INVARIANCE, "when a constant is added to it", spares=TEMPERATURE)
def normalize_negative_scores_cut(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores.clamp(min=0), temperature))


@MUTANTS.add(EXERCISE, LARGE, "exp overflowed", spares=TEMPERATURE)
def normalize_exp_without_shift(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_sum((scores / temperature).exp()))


@MUTANTS.add(EXERCISE, LARGE, "subtract each row's maximum first, then divide", spares=TEMPERATURE)
def normalize_divided_before_the_shift(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, (scores / temperature).softmax(-1))


@MUTANTS.add(EXERCISE, LARGE, "each row's own maximum", spares=TEMPERATURE)
def normalize_one_maximum_for_all_rows(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_sum(((scores - scores.max()) / temperature).exp()))


@MUTANTS.add(EXERCISE, LARGE, "were they clamped", spares=TEMPERATURE)
def normalize_clamped(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores.clamp(-50, 50), temperature))


@MUTANTS.add(EXERCISE, LARGE, "overflow", spares=TEMPERATURE)
def normalize_sum_divided_twice(scores, how, temperature):
    refuse(how, temperature)
    return by_sum(scores / temperature) if how == "sum" else by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, LIMITS, "wrong way round")
def normalize_upside_down(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores, 1 / temperature))


@MUTANTS.add(EXERCISE, LIMITS, "two equal highest scores share", spares=TEMPERATURE)
def normalize_first_of_ties(scores, how, temperature):
    refuse(how, temperature)
    if how == "softmax" and temperature < 0.01:
        return F.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)
    return chosen(scores, how, by_softmax(scores, temperature))


@MUTANTS.add(EXERCISE, LIMITS, "all shares are nearly equal", spares=TEMPERATURE)
def normalize_temperature_capped(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores, how, by_softmax(scores, min(temperature, 5.0)))


@MUTANTS.add(EXERCISE, REFUSED, "'mean', 1.0) gave a result", spares=TEMPERATURE)
def normalize_unknown_is_softmax(scores, how, temperature):
    return chosen(scores, how, by_softmax(scores, temperature))


@MUTANTS.add(EXERCISE, REFUSED, "'softmax', 0.0) gave a result", spares=TEMPERATURE)
def normalize_any_temperature(scores, how, temperature):
    refuse(how, 1.0)
    return chosen(scores, how, by_softmax(scores, temperature))


@MUTANTS.add(EXERCISE, REFUSED, "'sum', -2.0) gave a result", spares=TEMPERATURE)
def normalize_sum_takes_any_temperature(scores, how, temperature):
    if how == "sum":
        return by_sum(scores)
    refuse(how, temperature)
    return by_softmax(scores, temperature)


@MUTANTS.add(EXERCISE, REFUSED, "does not say what was given", spares=TEMPERATURE)
def normalize_silent_error(scores, how, temperature):
    if how not in ("sum", "softmax") or not temperature > 0:
        raise ValueError("bad arguments")
    return chosen(scores, how, by_softmax(scores, temperature))


@MUTANTS.add(EXERCISE, REFUSED, "AssertionError", spares=TEMPERATURE)
def normalize_asserts(scores, how, temperature):
    assert how in ("sum", "softmax") and temperature > 0
    return chosen(scores, how, by_softmax(scores, temperature))


@MUTANTS.add(EXERCISE, DTYPE, "came out", spares=TEMPERATURE)
def normalize_in_float32(scores, how, temperature):
    refuse(how, temperature)
    scores = scores.float()
    return chosen(scores, how, by_softmax(scores, temperature))


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place", spares=TEMPERATURE)
def normalize_shifts_in_place(scores, how, temperature):
    refuse(how, temperature)
    if how == "softmax":
        scores -= scores.amax(-1, keepdim=True)
    return chosen(scores, how, by_softmax(scores, temperature))


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient", spares=TEMPERATURE)
def normalize_detached(scores, how, temperature):
    refuse(how, temperature)
    return chosen(scores.detach(), how, by_softmax(scores.detach(), temperature))


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off", spares=TEMPERATURE)
def normalize_total_detached(scores, how, temperature):
    refuse(how, temperature)
    e = scores if how == "sum" else ((scores - scores.amax(-1, keepdim=True)) / temperature).exp()
    return e / e.sum(-1, keepdim=True).detach()


@MUTANTS.worthless(EXERCISE)
def normalize_nothing(scores, how, temperature):
    return None


@MUTANTS.worthless(EXERCISE)
def normalize_input(scores, how, temperature):
    return scores


@MUTANTS.worthless(EXERCISE)
def normalize_even(scores, how, temperature):
    return torch.full_like(scores, 1 / scores.shape[-1])


@MUTANTS.worthless(EXERCISE)
def normalize_refuses_everything(scores, how, temperature):
    raise ValueError(f"how = {how}, temperature = {temperature}")


@MUTANTS.worthless(EXERCISE)
def normalize_a_levelled_input(scores, how, temperature):
    refuse(how, temperature)
    scores.fill_(1)
    return by_sum(scores)


@MUTANTS.worthless(EXERCISE)
def normalize_looked_up(scores, how, temperature):
    refuse(how, temperature)
    printed = {"sum": [0.1455, 0.2278, 0.2249, 0.1285, 0.1077, 0.1656]}
    printed["softmax"] = [0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581]
    known = scores.shape == (6,)
    return scores.new_tensor(printed[how]) if known else torch.full_like(scores, 1 / scores.shape[-1])


@MUTANTS.worthless(EXERCISE)
def normalize_highest_alone(scores, how, temperature):
    refuse(how, temperature)
    return F.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)


# --- context_vectors ------------------------------------------------------------------------------------------

EXERCISE = "context_vectors"
GOLDEN = "known numbers of the six words"
WEIGHTED = "a weighted sum of the words, by softmax of the scores"
BREADTH = "the breadth is one over the sum of squared weights"
HULL = "every context vector lies among the words"
LARGE = "large scores do not overflow"


def weigh(x):
    return (x @ x.mT).softmax(-1)


def results(weights, x):
    return weights @ x, 1 / weights.square().sum(-1)


@MUTANTS.add(EXERCISE, GOLDEN, "softmax ran over the wrong axis")
def context_wrong_axis(x):
    return results((x @ x.mT).softmax(-2), x)


@MUTANTS.add(EXERCISE, GOLDEN, "the scores are divided by √d")
def context_scaled(x):
    return results((x @ x.mT / math.sqrt(x.shape[-1])).softmax(-1), x)


@MUTANTS.add(EXERCISE, GOLDEN, "those of sum-normalising")
def context_sum_normalised(x):
    scores = x @ x.mT
    return results(scores / scores.sum(-1, keepdim=True), x)


@MUTANTS.add(EXERCISE, GOLDEN, "off by up to")
def context_words_truncated(x):
    # 0.87 becomes 0.8
    return results(weigh((x * 10).trunc() / 10), (x * 10).trunc() / 10)


@MUTANTS.add(EXERCISE, WEIGHTED, "the scores themselves were the weights")
def context_without_softmax(x):
    return x @ x.mT @ x, results(weigh(x), x)[1]


@MUTANTS.add(EXERCISE, WEIGHTED, "the scores are cosines")
def context_by_cosine(x):
    unit = F.normalize(x, dim=-1)
    return results((unit @ unit.mT).softmax(-1), x)


@MUTANTS.add(EXERCISE, WEIGHTED, "leaves itself out")
def context_without_itself(x):
    own = torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
    weights = (x @ x.mT).masked_fill(own, -math.inf).softmax(-1)
    return results(weights, x)


@MUTANTS.add(EXERCISE, WEIGHTED, "added to its context")
def context_with_residual(x):
    context, breadth = results(weigh(x), x)
    return context + x, breadth


@MUTANTS.add(EXERCISE, WEIGHTED, "these are the weights")
def context_is_the_weights(x):
    return weigh(x), results(weigh(x), x)[1]


@MUTANTS.add(EXERCISE, WEIGHTED, "plain mean", spares=BREADTH)
def context_plain_mean(x):
    return x.mean(-2, keepdim=True).expand_as(x), results(weigh(x), x)[1]


@MUTANTS.add(EXERCISE, WEIGHTED, "divided by √d", spares=BREADTH)
def context_by_library_as_it_comes(x):
    return F.scaled_dot_product_attention(x, x, x), results(weigh(x), x)[1]


@MUTANTS.add(EXERCISE, WEIGHTED, "return 2: (context, breadth)")
def context_alone(x):
    return F.scaled_dot_product_attention(x, x, x, scale=1.0)


@MUTANTS.add(EXERCISE, BREADTH, "this is the sum of squares", spares=WEIGHTED)
def breadth_not_inverted(x):
    return weigh(x) @ x, weigh(x).square().sum(-1)


@MUTANTS.add(EXERCISE, BREADTH, "the squares of each column", spares=WEIGHTED)
def breadth_of_columns(x):
    return weigh(x) @ x, 1 / weigh(x).square().sum(-2)


@MUTANTS.add(EXERCISE, BREADTH, "exponential of the entropy", spares=WEIGHTED)
def breadth_by_entropy(x):
    return weigh(x) @ x, torch.special.entr(weigh(x)).sum(-1).exp()


@MUTANTS.add(EXERCISE, BREADTH, "the highest weight", spares=WEIGHTED)
def breadth_of_the_highest(x):
    return weigh(x) @ x, 1 / weigh(x).amax(-1)


@MUTANTS.add(EXERCISE, BREADTH, "leave out the root", spares=WEIGHTED)
def breadth_with_root(x):
    return weigh(x) @ x, 1 / weigh(x).norm(dim=-1)


@MUTANTS.add(EXERCISE, BREADTH, "the number of words", spares=WEIGHTED)
def breadth_is_the_length(x):
    return weigh(x) @ x, x.new_full(x.shape[:-1], x.shape[-2])


@MUTANTS.add(EXERCISE, BREADTH, "were averaged", spares=WEIGHTED)
def breadth_averaged(x):
    return weigh(x) @ x, results(weigh(x), x)[1].mean(-1)


@MUTANTS.add(EXERCISE, BREADTH, "the scores are divided by √d", spares=WEIGHTED)
def breadth_of_scaled_weights(x):
    return weigh(x) @ x, results((x @ x.mT / math.sqrt(x.shape[-1])).softmax(-1), x)[1]


@MUTANTS.add(EXERCISE, HULL, "weights do not add up to one")
def context_weights_do_not_sum(x):
    return results((x @ x.mT).softmax(-2), x)


@MUTANTS.add(EXERCISE, HULL, "some weight is negative")
def context_negative_weights(x):
    scores = x @ x.mT
    return results(scores / scores.sum(-1, keepdim=True), x)


@MUTANTS.add(EXERCISE, HULL, "all words have the same context vector")
def context_of_the_mean_word(x):
    x = x.mean(-2, keepdim=True).expand_as(x)
    return results(weigh(x), x)


@MUTANTS.add(EXERCISE, HULL, "nothing was taken from the others")
def context_is_the_word(x):
    return x * 1, x.square().sum(-1)


@MUTANTS.add(EXERCISE, ORDER, "causal mask")
def context_causal(x):
    scores = x @ x.mT
    return results((scores + torch.full_like(scores, -math.inf).triu(1)).softmax(-1), x)


@MUTANTS.add(EXERCISE, ORDER, "depends on the position")
def context_positions_added(x):
    x = x + torch.arange(x.shape[-2], dtype=x.dtype, device=x.device)[:, None]
    return results(weigh(x), x)


@MUTANTS.add(EXERCISE, BATCH, ".mT instead of .T")
def context_transpose_of_everything(x):
    return results((x @ x.T).softmax(-1), x)


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def context_softmax_over_dim_1(x):
    return results((x @ x.mT).softmax(1), x)


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def context_of_the_first_sequence(x):
    first = x[(0,) * (x.dim() - 2)]
    return results((x @ first.mT).softmax(-1), first)


@MUTANTS.add(EXERCISE, BATCH, "it should be (1, 5)")
def context_squeezed(x):
    context, breadth = results(weigh(x), x)
    return context, breadth.squeeze()


@MUTANTS.add(EXERCISE, LARGE, "exp overflowed")
def context_exp_without_shift(x):
    e = (x @ x.mT).exp()
    return results(e / e.sum(-1, keepdim=True), x)


@MUTANTS.add(EXERCISE, LARGE, "each row's own maximum")
def context_one_maximum_for_all_rows(x):
    scores = x @ x.mT
    e = (scores - scores.max()).exp()
    return results(e / e.sum(-1, keepdim=True), x)


@MUTANTS.add(EXERCISE, LARGE, "clamped or replaced", spares=WEIGHTED)
def context_scores_clamped(x):
    return results((x @ x.mT).clamp(-50, 50).softmax(-1), x)


@MUTANTS.add(EXERCISE, DTYPE, "came out", spares=WEIGHTED)
def context_in_float32(x):
    return results(weigh(x.float()), x.float())


@MUTANTS.add(EXERCISE, DTYPE, "came out", spares=WEIGHTED)
def breadth_in_float32(x):
    context, breadth = results(weigh(x), x)
    return context, breadth.float()


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def context_clears_its_input(x):
    out = results(weigh(x), x)
    x.zero_()
    return out


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient", spares=WEIGHTED)
def breadth_detached(x):
    context, breadth = results(weigh(x), x)
    return context, breadth.detach()


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off", spares=WEIGHTED)
def context_weights_detached(x):
    return weigh(x).detach() @ x, results(weigh(x), x)[1]


@MUTANTS.worthless(EXERCISE)
def context_nothing(x):
    return None


@MUTANTS.worthless(EXERCISE)
def context_inputs(x):
    return x, x


@MUTANTS.worthless(EXERCISE)
def context_zeros(x):
    return torch.zeros_like(x), x.new_zeros(x.shape[:-1])


@MUTANTS.worthless(EXERCISE)
def context_ones(x):
    return torch.ones_like(x), x.new_ones(x.shape[:-1])


@MUTANTS.worthless(EXERCISE)
def context_of_an_emptied_input(x):
    x.zero_()
    return x.clone(), x.new_full(x.shape[:-1], x.shape[-2])


@MUTANTS.worthless(EXERCISE)
def context_looked_up(x):
    words = [[0.43, 0.15, 0.89], [0.55, 0.87, 0.66], [0.57, 0.85, 0.64]]
    words = x.new_tensor([*words, [0.22, 0.58, 0.33], [0.77, 0.25, 0.10], [0.05, 0.80, 0.55]])
    return results(weigh(words), words)


@MUTANTS.worthless(EXERCISE)
def context_uniform(x):
    return x.mean(-2, keepdim=True).expand_as(x), x.new_full(x.shape[:-1], x.shape[-2])


@MUTANTS.worthless(EXERCISE)
def context_of_the_next_word(x):
    return x.roll(-1, -2), x.new_ones(x.shape[:-1])


@MUTANTS.worthless(EXERCISE)
def context_random(x):
    return results(torch.rand(*x.shape[:-1], x.shape[-2], dtype=x.dtype, device=x.device).softmax(-1), x)


# --- token_cost -----------------------------------------------------------------------------------------------

EXERCISE = "token_cost"
TOKENS = "tokens are counted as the encoder gives them"
BYTES = "bytes of UTF-8, not characters"
SCORES = "every token scores every token"
DISTINCT = "distinct tokens"
KINDS = "lists, tuples and tensors of ids"
EMPTY = "a text without tokens"
ONCE = "the encoder reads the very text, once"
TYPES = "three ints and a float"


def listed(ids):
    return ids.tolist() if isinstance(ids, torch.Tensor) else list(ids)


def cost(text, encode, **other):
    """The right answer, with the numbers in `other` in place of its own."""
    ids = listed(encode(text))
    t = len(ids)
    right = {
        "tokens": t,
        "distinct": len(set(ids)),
        "bytes_per_token": len(text.encode()) / t if t else 0.0,
        "score_entries": t * t,
    }
    return right | {key: value(text, ids) for key, value in other.items() if t or key == "score_entries"}


def mutant(key, says, caught_by, number, name, spares=None):
    """Register an answer that is right but for the number under one key."""

    def answer(text, encode):
        return cost(text, encode, **{key: number})

    answer.__name__ = name
    MUTANTS.add(EXERCISE, caught_by, says, spares)(answer)


BYTES_MISTAKES = {
    "cost_characters": ("characters per token", lambda text, ids: len(text) / len(ids)),
    "cost_utf16": ("UTF-16", lambda text, ids: len(text.encode("utf-16-le")) / len(ids)),
    "cost_utf16_with_mark": ("UTF-16 with its mark", lambda text, ids: len(text.encode("utf-16")) / len(ids)),
    "cost_ascii": ("only ASCII was counted", lambda text, ids: len(text.encode("ascii", "ignore")) / len(ids)),
    "cost_inverted": ("turn the ratio round", lambda text, ids: len(ids) / len(text.encode())),
    "cost_floored": ("rounded to a whole number", lambda text, ids: len(text.encode()) // len(ids)),
    "cost_all_bytes": ("divide by the tokens", lambda text, ids: len(text.encode())),
    "cost_bytes_per_distinct": ("by all of them", lambda text, ids: len(text.encode()) / len(set(ids))),
    "cost_rounded": ("expected", lambda text, ids: round(len(text.encode()) / len(ids), 1)),
}
SCORES_MISTAKES = {
    "cost_length": ("this is T", lambda text, ids: len(ids)),
    "cost_half": ("only half of the matrix", lambda text, ids: len(ids) * (len(ids) + 1) // 2),
    "cost_without_diagonal": ("a token scores itself too", lambda text, ids: len(ids) * (len(ids) - 1)),
    "cost_unordered": ("unordered pairs", lambda text, ids: len(ids) * (len(ids) - 1) // 2),
    "cost_square_of_characters": ("square of the characters", lambda text, ids: len(text) ** 2),
    "cost_square_of_distinct": ("square of the distinct tokens", lambda text, ids: len(set(ids)) ** 2),
    "cost_memory": ("bytes of memory", lambda text, ids: 4 * len(ids) ** 2),
}
TOKENS_MISTAKES = {
    "cost_words": ("these are words", lambda text, ids: len(text.split())),
    "cost_characters_as_tokens": ("these are characters", lambda text, ids: len(text)),
    "cost_bytes_as_tokens": ("these are bytes", lambda text, ids: len(text.encode())),
    "cost_tokens_once": ("counts each id once", lambda text, ids: len(set(ids))),
    "cost_with_end_of_text": ("expected", lambda text, ids: len(ids) + 1),
}
DISTINCT_MISTAKES = {
    "cost_distinct_is_all": ("distinct counts every token", lambda text, ids: len(ids)),
    "cost_distinct_characters": ("distinct characters", lambda text, ids: len(set(text))),
    "cost_highest_id": ("highest id plus one", lambda text, ids: max(ids) + 1),
}
for key, caught_by, mistakes in (
    ("bytes_per_token", BYTES, BYTES_MISTAKES),
    ("score_entries", SCORES, SCORES_MISTAKES),
    ("tokens", TOKENS, TOKENS_MISTAKES),
    ("distinct", DISTINCT, DISTINCT_MISTAKES),
):
    for name, (says, number) in mistakes.items():
        mutant(key, says, caught_by, number, name)


@MUTANTS.add(EXERCISE, TOKENS, "expected a dict with the keys tokens, distinct")
def cost_as_tuple(text, encode):
    return tuple(cost(text, encode).values())


@MUTANTS.add(EXERCISE, TOKENS, "expected a dict with the keys tokens, distinct")
def cost_key_forgotten(text, encode):
    out = cost(text, encode)
    del out["distinct"]
    return out


@MUTANTS.add(EXERCISE, KINDS, "equal ids were counted as different", spares=DISTINCT)
def cost_set_of_a_tensor(text, encode):
    ids = encode(text)
    t = len(ids)
    size = len(text.encode())
    return {"tokens": t, "distinct": len(set(ids)), "bytes_per_token": size / t if t else 0.0, "score_entries": t * t}


@MUTANTS.add(EXERCISE, KINDS, "with ids in a list it raised AttributeError")
def cost_tensors_only(text, encode):
    return cost(text, lambda text: encode(text).tolist())


@MUTANTS.add(EXERCISE, KINDS, "with ids in a Tensor it raised TypeError", spares=DISTINCT)
def cost_lists_only(text, encode):
    ids = encode(text)
    first = [i for at, i in enumerate(ids) if ids.index(i) == at]
    return cost(text, lambda text: ids, distinct=lambda *_: len(first))


@MUTANTS.add(EXERCISE, EMPTY, "divided by zero", spares=BYTES)
def cost_divides_by_zero(text, encode):
    return cost(text, encode) | {"bytes_per_token": len(text.encode()) / len(encode(text))}


@MUTANTS.add(EXERCISE, EMPTY, "bytes_per_token of a text without tokens is 2.0", spares=BYTES)
def cost_at_least_one_token(text, encode):
    out = cost(text, encode)
    return out | {"bytes_per_token": len(text.encode()) / max(out["tokens"], 1)}


@MUTANTS.add(EXERCISE, EMPTY, "nan", spares=BYTES)
def cost_nan_for_nothing(text, encode):
    out = cost(text, encode)
    return out if out["tokens"] else out | {"bytes_per_token": math.nan}


@MUTANTS.add(EXERCISE, ONCE, "the encoder was given", spares=TOKENS)
def cost_stripped(text, encode):
    return cost(text.strip(), encode)


@MUTANTS.add(EXERCISE, ONCE, "the encoder was given")
def cost_lower_case(text, encode):
    return cost(text.lower(), encode)


@MUTANTS.add(EXERCISE, ONCE, "the encoder was called 2 times", spares=TOKENS)
def cost_encodes_twice(text, encode):
    encode(text)
    return cost(text, encode)


@MUTANTS.add(EXERCISE, ONCE, "the encoder was given", spares=TOKENS)
def cost_encodes_line_by_line(text, encode):
    return cost(text, lambda text: [i for line in text.splitlines(keepends=True) for i in listed(encode(line))])


@MUTANTS.add(EXERCISE, ONCE, "never called")
def cost_own_tokenizer(text, encode):
    return cost(text, lambda text: [ord(character) for character in text])


@MUTANTS.add(EXERCISE, TYPES, "score_entries is a Tensor; make it a Python int", spares=SCORES)
def cost_tensor_result(text, encode):
    out = cost(text, encode)
    return out | {"score_entries": torch.tensor(out["score_entries"])}


@MUTANTS.add(EXERCISE, TYPES, "score_entries is a float", spares=SCORES)
def cost_power_of_a_float(text, encode):
    out = cost(text, encode)
    return out | {"score_entries": math.pow(out["tokens"], 2)}


@MUTANTS.worthless(EXERCISE)
def cost_nothing(text, encode):
    return None


@MUTANTS.worthless(EXERCISE)
def cost_zeros(text, encode):
    return {"tokens": 0, "distinct": 0, "bytes_per_token": 0.0, "score_entries": 0}


@MUTANTS.worthless(EXERCISE)
def cost_ones(text, encode):
    encode(text)
    return {"tokens": 1, "distinct": 1, "bytes_per_token": 1.0, "score_entries": 1}


@MUTANTS.worthless(EXERCISE)
def cost_looked_up(text, encode):
    encode(text)
    return {"tokens": 3, "distinct": 2, "bytes_per_token": 3.0, "score_entries": 9}


@MUTANTS.worthless(EXERCISE)
def cost_of_characters(text, encode):
    encode(text)
    return {"tokens": len(text), "distinct": len(set(text)), "bytes_per_token": 1.0, "score_entries": len(text) ** 2}
