"""Wrong answers to the exercises of the chapter `masking`."""

import math

import torch
from torch.nn import functional as F

from mutants import Mutants

MUTANTS = Mutants()


def ones(*shape, device=None):
    return torch.ones(*shape, dtype=torch.bool, device=device)


# --- causal_mask ----------------------------------------------------------------------------------------------

EXERCISE = "causal_mask"
LAST = "the last query sees all keys"
ALIGNED = "bottom-right aligned"
SQUARE = "as many queries as keys: the lower triangle"
EARLY = "queries before all keys see nothing"
BOOLEAN = "a boolean tensor"
PIECES = "attention in two pieces equals attention at once"


def lower_right(t_q, t_k, shift=0):
    return ones(t_q, t_k).tril(t_k - t_q + shift)


@MUTANTS.add(EXERCISE, LAST, "aligned top left", spares=SQUARE)
def causal_top_left(t_q, t_k):
    return ones(t_q, t_k).tril()


@MUTANTS.add(EXERCISE, ALIGNED, "aligned top left", spares=LAST)
def causal_right_for_one_query_alone(t_q, t_k):
    return lower_right(t_q, t_k) if t_q == 1 or (t_q, t_k) == (3, 6) else ones(t_q, t_k).tril()


@MUTANTS.add(EXERCISE, LAST, "does not see itself")
def causal_without_the_diagonal(t_q, t_k):
    return lower_right(t_q, t_k, -1)


@MUTANTS.add(EXERCISE, SQUARE, "does not see itself")
def causal_without_the_diagonal_of_a_square(t_q, t_k):
    return lower_right(t_q, t_k, -1 if t_q == t_k > 1 else 0)


@MUTANTS.add(EXERCISE, PIECES, "other results than all 6 at once")
def causal_one_too_far(t_q, t_k):
    return lower_right(t_q, t_k, 1)


@MUTANTS.add(EXERCISE, ALIGNED, "one key of its future")
def causal_one_too_far_again(t_q, t_k):
    return lower_right(t_q, t_k, 1)


@MUTANTS.add(EXERCISE, ALIGNED, "queries are rows")
def causal_keys_as_rows(t_q, t_k):
    return lower_right(t_q, t_k).T


@MUTANTS.add(EXERCISE, SQUARE, "itself and the future")
def causal_upper_triangle(t_q, t_k):
    return ones(t_q, t_k).triu(t_k - t_q)


@MUTANTS.add(EXERCISE, ALIGNED, "the wrong way round")
def causal_true_means_masked(t_q, t_k):
    return ~lower_right(t_q, t_k)


@MUTANTS.add(EXERCISE, ALIGNED, "additive mask")
def causal_additive(t_q, t_k):
    return torch.zeros(t_q, t_k).masked_fill(~lower_right(t_q, t_k), -math.inf)


@MUTANTS.add(EXERCISE, LAST, "nothing is masked")
def causal_everything(t_q, t_k):
    return ones(t_q, t_k)


@MUTANTS.add(EXERCISE, ALIGNED, "sees one key alone")
def causal_identity(t_q, t_k):
    return lower_right(t_q, t_k) & ones(t_q, t_k).triu(t_k - t_q)


@MUTANTS.add(EXERCISE, SQUARE, "missing at the start")
def causal_without_the_first_key(t_q, t_k):
    mask = lower_right(t_q, t_k)
    mask[:, 0] = False
    return mask


@MUTANTS.add(EXERCISE, EARLY, "should be", spares=ALIGNED)
def causal_at_least_one_key(t_q, t_k):
    mask = lower_right(t_q, t_k)
    mask[:, 0] = True
    return mask


@MUTANTS.add(EXERCISE, EARLY, "it raised ValueError")
def causal_refuses_more_queries(t_q, t_k):
    if t_q > t_k:
        raise ValueError("more queries than keys")
    return lower_right(t_q, t_k)


@MUTANTS.add(EXERCISE, EARLY, "mask has shape (2, 2); it should be (5, 2)")
def causal_cut_to_the_keys(t_q, t_k):
    return lower_right(min(t_q, t_k), t_k)


@MUTANTS.add(EXERCISE, BOOLEAN, "the mask is cpu float32; make it torch.bool", spares=ALIGNED)
def causal_of_floats(t_q, t_k):
    return lower_right(t_q, t_k).float()


@MUTANTS.add(EXERCISE, ALIGNED, "mask has shape (1, 1, 3, 5); it should be (3, 5)")
def causal_with_batch_and_heads(t_q, t_k):
    return lower_right(t_q, t_k)[None, None]


@MUTANTS.worthless(EXERCISE)
def causal_nothing(t_q, t_k):
    return torch.zeros(t_q, t_k, dtype=torch.bool)


@MUTANTS.worthless(EXERCISE)
def causal_always_the_same(t_q, t_k):
    return ones(3, 3).tril()


@MUTANTS.worthless(EXERCISE)
def causal_last_row_alone(t_q, t_k):
    mask = torch.zeros(t_q, t_k, dtype=torch.bool)
    mask[-1] = True
    return mask


# --- masked_softmax -------------------------------------------------------------------------------------------

EXERCISE = "masked_softmax"
VALUES = "masked entries weigh exactly 0, the others sum to 1"
EMPTY = "a row with nothing allowed is all zeros"
SLOPE = "gradients are right, and 0 where masked"
IGNORES = "whatever stands at a masked place, NaN and ∞ too"
EXTREME = "allowed scores may be as high or low as half the largest number"
BATCH = "leading dimensions are a batch, the mask broadcasts"
MASK_UNTOUCHED = "leaves the mask untouched"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves its inputs untouched"
GRADIENTS = "gradients reach every input"


def right(scores, mask):
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0)


def minimum(scores):
    return torch.finfo(scores.dtype).min


@MUTANTS.add(EXERCISE, EMPTY, "became NaN", spares=VALUES)
def softmax_plain(scores, mask):
    return scores.masked_fill(~mask, -math.inf).softmax(-1)


@MUTANTS.add(EXERCISE, SLOPE, "the gradient is NaN", spares=EMPTY)
def softmax_additive_and_nan_replaced(scores, mask):
    bias = torch.zeros_like(scores).masked_fill(~mask, -math.inf)
    return (scores + bias).softmax(-1).nan_to_num()


@MUTANTS.add(EXERCISE, EMPTY, "equal shares")
def softmax_minus_1e9(scores, mask):
    return scores.masked_fill(~mask, -1e9).softmax(-1)


@MUTANTS.add(EXERCISE, VALUES, "without overflow")
def softmax_minus_1e9_in_half_precision(scores, mask):
    return scores.masked_fill(~mask, -1e9).softmax(-1).masked_fill(~mask, 0)


@MUTANTS.add(EXERCISE, EMPTY, "equal shares")
def softmax_minus_1e9_added(scores, mask):
    return (scores + (~mask).to(scores.dtype) * torch.tensor(-1e9).to(scores.dtype)).softmax(-1)


@MUTANTS.add(EXERCISE, VALUES, "NaN or an infinity")
def softmax_minus_1e9_times_zero(scores, mask):
    # in float16 1e9 is ∞, and ∞ · 0 is NaN where everything is allowed
    return (scores + (~mask).to(scores.dtype) * torch.tensor(-1e9).to(scores.dtype)).softmax(-1)


@MUTANTS.add(EXERCISE, EMPTY, "cancels in the softmax")
def softmax_minus_1e4_added(scores, mask):
    return (scores.double() + ~mask * -1e4).softmax(-1).to(scores.dtype)


@MUTANTS.add(EXERCISE, EXTREME, "not low enough", spares=EMPTY)
def softmax_minus_1e4(scores, mask):
    return scores.masked_fill(~mask, -1e4).softmax(-1).masked_fill(~mask, 0)


@MUTANTS.add(EXERCISE, EMPTY, "equal shares")
def softmax_minimum(scores, mask):
    return scores.masked_fill(~mask, minimum(scores)).softmax(-1)


@MUTANTS.add(EXERCISE, EMPTY, "became NaN")
def softmax_minimum_and_minimum(scores, mask):
    bias = torch.zeros_like(scores).masked_fill(~mask, minimum(scores))
    return (scores + bias + bias).softmax(-1)


@MUTANTS.add(EXERCISE, EMPTY, "given a key to look at")
def softmax_first_key_for_an_empty_row(scores, mask):
    mask = mask.expand_as(scores).clone()
    mask[..., 0] |= ~mask.any(-1)
    return right(scores, mask)


@MUTANTS.add(EXERCISE, EMPTY, "not exactly 0")
def softmax_nearly_zero(scores, mask):
    return right(scores, mask).masked_fill(~mask.any(-1, keepdim=True), 1e-7)


@MUTANTS.add(EXERCISE, VALUES, "the mask multiplies the weights")
def softmax_then_mask(scores, mask):
    return scores.softmax(-1) * mask


@MUTANTS.add(EXERCISE, VALUES, "exp(0) = 1")
def softmax_of_zeroed_scores(scores, mask):
    return (scores * mask).softmax(-1)


@MUTANTS.add(EXERCISE, VALUES, "set to 0 before and the weights after it")
def softmax_zeroed_before_and_after(scores, mask):
    return (scores * mask).softmax(-1) * mask


@MUTANTS.add(EXERCISE, VALUES, "a 1 more is no mask")
def softmax_mask_added(scores, mask):
    return (scores + mask).softmax(-1)


@MUTANTS.add(EXERCISE, VALUES, "the wrong way round")
def softmax_inverted(scores, mask):
    return right(scores, ~mask)


@MUTANTS.add(EXERCISE, VALUES, "the wrong way round")
def softmax_inverted_keeping_empty_rows(scores, mask):
    return scores.masked_fill(mask, -math.inf).softmax(-1).nan_to_num()


@MUTANTS.add(EXERCISE, VALUES, "nothing is masked")
def softmax_without_mask(scores, mask):
    return scores.softmax(-1)


@MUTANTS.add(EXERCISE, VALUES, "runs over the queries")
def softmax_over_queries(scores, mask):
    return scores.masked_fill(~mask, -math.inf).softmax(-2).masked_fill(~mask, 0)


@MUTANTS.add(EXERCISE, VALUES, "share equally")
def softmax_mean(scores, mask):
    return (mask / mask.sum(-1, keepdim=True).clamp(min=1)).expand_as(scores).to(scores.dtype) + 0 * scores


@MUTANTS.add(EXERCISE, VALUES, "exactly 0 was asked for")
def softmax_leaks_a_little(scores, mask):
    return right(scores, mask) + 1e-6 * ~mask


@MUTANTS.add(EXERCISE, EXTREME, "exp overflowed")
def softmax_exp_without_shift(scores, mask):
    e = scores.masked_fill(~mask, -math.inf).exp()
    total = e.sum(-1, keepdim=True)
    return e / total.masked_fill(total == 0, 1)


@MUTANTS.add(EXERCISE, IGNORES, "mask first, then take the row's maximum")
def softmax_maximum_of_masked_too(scores, mask):
    e = (scores - scores.amax(-1, keepdim=True).detach()).exp().masked_fill(~mask, 0)
    total = e.sum(-1, keepdim=True)
    return e / total.masked_fill(total == 0, 1)


@MUTANTS.add(EXERCISE, IGNORES, "a masked score of NaN shows in the weights")
def softmax_multiplied_into_masking(scores, mask):
    e = (scores - scores.masked_fill(~mask, -1e4).amax(-1, keepdim=True).detach()).clamp(max=0).exp() * mask
    total = e.sum(-1, keepdim=True)
    return e / total.masked_fill(total == 0, 1)


@MUTANTS.add(EXERCISE, IGNORES, "too late on the way back")
def softmax_masked_after_exp(scores, mask):
    top = scores.masked_fill(~mask, minimum(scores)).amax(-1, keepdim=True).detach()
    e = torch.where(mask, (scores - top).exp(), 0)
    return e / e.sum(-1, keepdim=True).clamp(min=1)


@MUTANTS.add(EXERCISE, IGNORES, "a masked score of inf shows in the weights", spares=EMPTY)
def softmax_of_an_open_empty_row_times_zero(scores, mask):
    # an empty row is computed unmasked and then multiplied by 0, but NaN · 0 is NaN
    empty = ~mask.any(-1, keepdim=True)
    return scores.masked_fill(~(mask | empty), -math.inf).softmax(-1) * mask


@MUTANTS.add(EXERCISE, EXTREME, "a logarithm is lost", spares=IGNORES)
def softmax_by_the_logarithm_of_the_sum(scores, mask):
    total = scores.masked_fill(~mask, -math.inf).logsumexp(-1, keepdim=True)
    some = mask.any(-1, keepdim=True)
    return (scores.masked_fill(~mask, -math.inf) - total.masked_fill(~some, 0)).exp()


@MUTANTS.add(EXERCISE, SLOPE, "the gradient is wrong")
def softmax_denominator_detached(scores, mask):
    filled = scores.masked_fill(~mask, minimum(scores))
    e = (filled - filled.amax(-1, keepdim=True).detach()).exp().masked_fill(~mask, 0)
    return e / e.sum(-1, keepdim=True).clamp(min=1).detach()


@MUTANTS.add(EXERCISE, SLOPE, "a gradient reaches a masked score")
def softmax_leaks_a_gradient(scores, mask):
    return right(scores, mask) + 1e-7 * (scores - scores.detach())


@MUTANTS.add(EXERCISE, SLOPE, "lost its gradient")
def softmax_detached(scores, mask):
    return right(scores, mask).detach()


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
@torch.no_grad()
def softmax_no_grad(scores, mask):
    return right(scores, mask)


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def softmax_over_dim_1(scores, mask):
    return scores.masked_fill(~mask, -math.inf).softmax(1).masked_fill(~mask, 0)


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def softmax_masks_of_all_sequences(scores, mask):
    return right(scores, mask.flatten(0, -3).all(0) if mask.dim() > 2 else mask)


@MUTANTS.add(EXERCISE, BATCH, "raised ValueError")
def softmax_mask_not_broadcast(scores, mask):
    allowed = torch.zeros_like(mask)
    allowed[...] = mask
    return torch.stack([right(s, m) for s, m in zip(scores, allowed, strict=True)])


@MUTANTS.add(EXERCISE, MASK_UNTOUCHED, "changed in place", spares=VALUES)
def softmax_inverts_the_mask_in_place(scores, mask):
    mask.logical_not_()
    return scores.masked_fill(mask, -math.inf).softmax(-1).masked_fill(mask, 0)


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def softmax_fills_in_place(scores, mask):
    with torch.no_grad():
        scores.masked_fill_(~mask, -math.inf)
    return right(scores, mask)


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
def softmax_in_float32(scores, mask):
    return right(scores.float(), mask)


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
def softmax_dtype_argument(scores, mask):
    return F.softmax(scores.masked_fill(~mask, -math.inf), -1, dtype=torch.float32).masked_fill(~mask, 0)


@MUTANTS.worthless(EXERCISE)
def softmax_scores(scores, mask):
    return scores


@MUTANTS.worthless(EXERCISE)
def softmax_zeros(scores, mask):
    return torch.zeros_like(scores)


@MUTANTS.worthless(EXERCISE)
def softmax_mask(scores, mask):
    return mask.to(scores.dtype).expand_as(scores)


@MUTANTS.worthless(EXERCISE)
def softmax_mask_shared_out(scores, mask):
    return (mask / mask.sum(-1, keepdim=True).clamp(min=1)).expand_as(scores).to(scores.dtype)


@MUTANTS.worthless(EXERCISE)
def softmax_of_scores_zeroed_in_place(scores, mask):
    # what is expected must not be computed from what the answer was given
    with torch.no_grad():
        scores.zero_()
    return right(scores, mask)


@MUTANTS.worthless(EXERCISE)
def softmax_nan(scores, mask):
    return scores * math.nan


@MUTANTS.worthless(EXERCISE)
def softmax_of_other_scores_at_each_call(scores, mask):
    return right(scores * 0 + torch.randn(scores.shape).to(scores), mask)


@MUTANTS.worthless(EXERCISE)
def softmax_sigmoid(scores, mask):
    return scores.sigmoid()


# --- combine_masks --------------------------------------------------------------------------------------------

EXERCISE = "combine_masks"
BOTH = "a key must be real and not in the future"
LAST_QUERIES = "t_q counts the last queries"
KEYS = "keys alone are masked"
SHAPE = "shape (…, 1, T_q, T_k), each sequence with its own padding"
ANY_DTYPE = "0 and 1 in any dtype"
BOOLEAN_THERE = "a boolean tensor on the device of the attention mask"
ATTENDS = "in attention, a padded text reads as it reads alone"
ATTENTION_MASK_UNTOUCHED = "leaves the attention mask untouched"


def early(attention_mask, t_q, shift=0):
    t_k = attention_mask.shape[-1]
    return ones(t_q, t_k, device=attention_mask.device).tril(t_k - t_q + shift)


def real_keys(attention_mask):
    return (attention_mask != 0)[..., None, None, :]


def real_queries(attention_mask, t_q):
    return (attention_mask != 0)[..., -t_q:][..., None, :, None]


@MUTANTS.add(EXERCISE, BOTH, "or stands where and belongs")
def combine_or(attention_mask, t_q):
    return early(attention_mask, t_q) | real_keys(attention_mask)


@MUTANTS.add(EXERCISE, BOTH, "queries of the padding were masked, not its keys")
def combine_query_padding(attention_mask, t_q):
    return early(attention_mask, t_q) & real_queries(attention_mask, t_q)


@MUTANTS.add(EXERCISE, KEYS, "queries of the padding were masked too")
def combine_query_padding_too(attention_mask, t_q):
    return early(attention_mask, t_q) & real_keys(attention_mask) & real_queries(attention_mask, t_q)


@MUTANTS.add(EXERCISE, BOTH, "the padding is not masked")
def combine_causal_alone(attention_mask, t_q):
    return early(attention_mask, t_q).expand(*attention_mask.shape[:-1], 1, t_q, -1)


@MUTANTS.add(EXERCISE, BOTH, "the future is not masked")
def combine_padding_alone(attention_mask, t_q):
    return real_keys(attention_mask).repeat_interleave(t_q, -2)


@MUTANTS.add(EXERCISE, BOTH, "pads are seen, words are not")
def combine_pads_seen(attention_mask, t_q):
    return early(attention_mask, t_q) & ~real_keys(attention_mask)


@MUTANTS.add(EXERCISE, LAST_QUERIES, "aligned top left", spares=BOTH)
def combine_top_left(attention_mask, t_q):
    return early(attention_mask, attention_mask.shape[-1])[:t_q] & real_keys(attention_mask)


@MUTANTS.add(EXERCISE, LAST_QUERIES, "mask has shape (3, 1, 5, 5); it should be (3, 1, 2, 5)", spares=BOTH)
def combine_all_queries(attention_mask, t_q):
    return early(attention_mask, attention_mask.shape[-1]) & real_keys(attention_mask)


@MUTANTS.add(EXERCISE, BOTH, "does not see itself")
def combine_without_the_diagonal(attention_mask, t_q):
    return early(attention_mask, t_q, -1) & real_keys(attention_mask)


@MUTANTS.add(EXERCISE, ATTENDS, "another result than alone")
def combine_one_too_far(attention_mask, t_q):
    return early(attention_mask, t_q, 1) & real_keys(attention_mask)


@MUTANTS.add(EXERCISE, BOTH, "every position was allowed to see itself")
def combine_with_the_diagonal(attention_mask, t_q):
    t_k = attention_mask.shape[-1]
    itself = early(attention_mask, t_q).triu(t_k - t_q)
    return (early(attention_mask, t_q) & real_keys(attention_mask)) | itself


@MUTANTS.add(EXERCISE, BOTH, "the wrong way round")
def combine_true_means_masked(attention_mask, t_q):
    return ~(early(attention_mask, t_q) & real_keys(attention_mask))


@MUTANTS.add(EXERCISE, BOTH, "additive mask")
def combine_additive(attention_mask, t_q):
    allowed = early(attention_mask, t_q) & real_keys(attention_mask)
    return torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)


@MUTANTS.add(EXERCISE, SHAPE, "no axis of 1 for the heads")
def combine_without_heads(attention_mask, t_q):
    return early(attention_mask, t_q) & (attention_mask != 0)[..., None, :]


@MUTANTS.add(EXERCISE, SHAPE, "stands first")
def combine_heads_first(attention_mask, t_q):
    return (early(attention_mask, t_q) & (attention_mask != 0)[..., None, :])[None]


@MUTANTS.add(EXERCISE, SHAPE, "it raised", spares=BOTH)
def combine_exactly_two_dimensions(attention_mask, t_q):
    batch, t_k = attention_mask.shape
    return early(attention_mask, t_q) & real_keys(attention_mask).view(batch, 1, 1, t_k)


@MUTANTS.add(EXERCISE, SHAPE, "should be")
def combine_padding_of_the_first(attention_mask, t_q):
    first = attention_mask[(0,) * (attention_mask.dim() - 1)].expand_as(attention_mask)
    return early(attention_mask, t_q) & real_keys(first)


@MUTANTS.add(EXERCISE, ANY_DTYPE, "dtype bool the mask is wrong")
def combine_truth_counted_in_bits(attention_mask, t_q):
    # right for integers alone: ~False is True, but ~0 + 1 is 0
    return early(attention_mask, t_q) & ((~attention_mask + 2) != 1)[..., None, None, :]


@MUTANTS.add(EXERCISE, ANY_DTYPE, "it raised")
def combine_bitwise(attention_mask, t_q):
    return (early(attention_mask, t_q) & attention_mask[..., None, None, :]) != 0


@MUTANTS.add(EXERCISE, BOOLEAN_THERE, "the mask is cpu int64; make it torch.bool", spares=BOTH)
def combine_integers(attention_mask, t_q):
    return (early(attention_mask, t_q) & real_keys(attention_mask)).long()


@MUTANTS.add(EXERCISE, ATTENTION_MASK_UNTOUCHED, "changed in place", spares=BOTH)
def combine_clears_the_attention_mask(attention_mask, t_q):
    allowed = early(attention_mask, t_q) & real_keys(attention_mask)
    attention_mask.fill_(1)
    return allowed


@MUTANTS.worthless(EXERCISE)
def combine_everything(attention_mask, t_q):
    return ones(*attention_mask.shape[:-1], 1, t_q, attention_mask.shape[-1])


@MUTANTS.worthless(EXERCISE)
def combine_input(attention_mask, t_q):
    return attention_mask


@MUTANTS.worthless(EXERCISE)
def combine_another_at_each_call(attention_mask, t_q):
    return torch.rand(*attention_mask.shape[:-1], 1, t_q, attention_mask.shape[-1]) < 0.5


@MUTANTS.worthless(EXERCISE)
def combine_nan(attention_mask, t_q):
    return torch.full((*attention_mask.shape[:-1], 1, t_q, attention_mask.shape[-1]), math.nan)


# --- position_ids ---------------------------------------------------------------------------------------------

EXERCISE = "position_ids"
WORDS = "words are counted from 0, wherever the padding stands"
PADS = "padding gets 0"
MODEL = "GPT-2's logits of a left-padded text equal those of the text alone"
POSITIONS_BATCH = "leading dimensions are a batch"
LONG = "0 and 1 in any dtype, long texts too"
INT64 = "int64 on the device of the attention mask"


def counted(attention_mask):
    return (attention_mask != 0).cumsum(-1)


@MUTANTS.add(EXERCISE, WORDS, "0, 1, 2 … whatever the padding")
def positions_plain(attention_mask):
    return torch.arange(attention_mask.shape[-1], device=attention_mask.device).expand(attention_mask.shape)


@MUTANTS.add(EXERCISE, MODEL, "are off by")
def positions_plain_with_pads_at_0(attention_mask):
    return positions_plain(attention_mask) * (attention_mask != 0)


@MUTANTS.add(EXERCISE, PADS, "a pad is at −1", spares=WORDS)
def positions_minus_one_for_pads(attention_mask):
    return counted(attention_mask) - 1


@MUTANTS.add(EXERCISE, MODEL, "the model looks up integers from 0")
def positions_minus_one_in_the_model(attention_mask):
    return counted(attention_mask) - 1


@MUTANTS.add(EXERCISE, PADS, "a pad is at [1]", spares=MODEL)
def positions_one_for_pads(attention_mask):
    return (counted(attention_mask) - 1).masked_fill(attention_mask == 0, 1)


@MUTANTS.add(EXERCISE, PADS, "a pad is at [3]", spares=MODEL)
def positions_pads_count_on(attention_mask):
    return (counted(attention_mask) - 1).clamp(min=0)


@MUTANTS.add(EXERCISE, WORDS, "the first word is at 1")
def positions_from_one(attention_mask):
    return counted(attention_mask) * (attention_mask != 0)


@MUTANTS.add(EXERCISE, WORDS, "as if all pads stood on the left", spares=MODEL)
def positions_pads_all_on_the_left(attention_mask):
    pads = (attention_mask == 0).sum(-1, keepdim=True)
    return (positions_plain(attention_mask) - pads).clamp(min=0)


@MUTANTS.add(EXERCISE, WORDS, "numbered from the end")
def positions_from_the_end(attention_mask):
    real = (attention_mask != 0).long()
    return (real.flip(-1).cumsum(-1).flip(-1) - 1) * real


@MUTANTS.add(EXERCISE, WORDS, "they should be at", spares=MODEL)
def positions_from_the_first_word_on(attention_mask):
    # a pad inside the text takes up a number
    start = (attention_mask != 0).long().argmax(-1, keepdim=True)
    return (positions_plain(attention_mask) - start).clamp(min=0) * (attention_mask != 0)


@MUTANTS.add(EXERCISE, POSITIONS_BATCH, "count along dim=-1", spares=WORDS)
def positions_along_dim_1(attention_mask):
    real = (attention_mask != 0).long()
    return (real.cumsum(real.dim() // 2) - 1) * real


@MUTANTS.add(EXERCISE, POSITIONS_BATCH, "it raised", spares=WORDS)
def positions_of_exactly_two_dimensions(attention_mask):
    batch, t = attention_mask.shape
    real = (attention_mask != 0).long().view(batch, t)
    return (real.cumsum(1) - 1) * real


@MUTANTS.add(EXERCISE, LONG, "count in int64")
def positions_in_the_dtype_of_the_mask(attention_mask):
    real = attention_mask.int() if attention_mask.dtype == torch.bool else attention_mask
    return ((real.cumsum(-1, dtype=real.dtype) - 1) * real).long()


@MUTANTS.add(EXERCISE, LONG, "miscounted")
def positions_as_bytes(attention_mask):
    real = (attention_mask != 0).to(torch.uint8)
    return ((real.cumsum(-1, dtype=torch.uint8) - 1) * real).long()


@MUTANTS.add(EXERCISE, INT64, "ids that are cpu float32; make them int64", spares=WORDS)
def positions_of_floats(attention_mask):
    return (counted(attention_mask) - 1).clamp(min=0).float() * (attention_mask != 0)


@MUTANTS.add(EXERCISE, ATTENTION_MASK_UNTOUCHED, "changed in place", spares=WORDS)
def positions_counts_in_place(attention_mask):
    ids = (counted(attention_mask) - 1) * (attention_mask != 0)
    attention_mask.copy_(ids)
    return ids


@MUTANTS.worthless(EXERCISE)
def positions_zeros(attention_mask):
    return torch.zeros(attention_mask.shape, dtype=torch.int64)


@MUTANTS.worthless(EXERCISE)
def positions_one_row(attention_mask):
    return torch.arange(attention_mask.shape[-1] + 1)


@MUTANTS.worthless(EXERCISE)
def positions_input(attention_mask):
    return attention_mask.long()


@MUTANTS.worthless(EXERCISE)
def positions_in_another_order_at_each_call(attention_mask):
    return (torch.rand(attention_mask.shape).argsort(-1) + 1) * (attention_mask != 0).cpu()


@MUTANTS.worthless(EXERCISE)
def positions_nan(attention_mask):
    return torch.full(attention_mask.shape, math.nan)


# --- window_mask ----------------------------------------------------------------------------------------------

EXERCISE = "window_mask"
WINDOW = "w keys, the last of them oneself"
WINDOW_LIMITS = "w = 1 is the identity, w ≥ t the causal mask"
WINDOW_EACH = "a tensor of windows gives one mask each"
WINDOW_BOOLEAN = "a boolean tensor on the device of the windows"
WINDOW_UNTOUCHED = "leaves the windows untouched"


def distances(t, sizes):
    """How far each key lies back, (t, t), and the sizes with two axes more."""
    sizes = torch.as_tensor(sizes)
    at = torch.arange(t, device=sizes.device)
    return at[:, None] - at, sizes[..., None, None]


@MUTANTS.add(EXERCISE, WINDOW, "w keys besides oneself")
def window_one_too_many(t, w):
    back, w = distances(t, w)
    return (back >= 0) & (back <= w)


@MUTANTS.add(EXERCISE, WINDOW, "w − 1 keys, oneself included")
def window_one_too_few(t, w):
    back, w = distances(t, w)
    return (back >= 0) & (back < w - 1)


@MUTANTS.add(EXERCISE, WINDOW_LIMITS, "off by one")
def window_one_too_many_when_small(t, w):
    back, w = distances(t, w)
    return (back >= 0) & (back < w + (w == 1))


@MUTANTS.add(EXERCISE, WINDOW, "does not see itself")
def window_without_oneself(t, w):
    back, w = distances(t, w)
    return (back > 0) & (back <= w)


@MUTANTS.add(EXERCISE, WINDOW, "looks ahead too")
def window_both_sides(t, w):
    back, w = distances(t, w)
    return back.abs() < w


@MUTANTS.add(EXERCISE, WINDOW, "the window looks ahead; it looks back")
def window_ahead(t, w):
    back, w = distances(t, w)
    return (back <= 0) & (back > -w)


@MUTANTS.add(EXERCISE, WINDOW, "blocks of w")
def window_blocks(t, w):
    back, w = distances(t, w)
    at = torch.arange(t)
    return (back >= 0) & (at[:, None] // w == at // w)


@MUTANTS.add(EXERCISE, WINDOW, "this is the causal mask")
def window_causal(t, w):
    back, w = distances(t, w)
    return (back >= 0) & (w > 0)


@MUTANTS.add(EXERCISE, WINDOW, "inside the window are masked")
def window_what_is_before_it(t, w):
    back, w = distances(t, w)
    return back >= w


@MUTANTS.add(EXERCISE, WINDOW, "the first w keys")
def window_at_the_start(t, w):
    back, w = distances(t, w)
    return (back >= 0) & (torch.arange(t) < w)


@MUTANTS.add(EXERCISE, WINDOW, "the wrong way round")
def window_true_means_masked(t, w):
    back, w = distances(t, w)
    return (back < 0) | (back >= w)


@MUTANTS.add(EXERCISE, WINDOW_LIMITS, "it raised", spares=WINDOW)
def window_wider_than_the_text(t, w):
    assert torch.as_tensor(w).max() < t, "window"
    back, w = distances(t, w)
    return (back >= 0) & (back < w)


@MUTANTS.add(EXERCISE, WINDOW_EACH, "it raised", spares=WINDOW)
def window_of_numbers_alone(t, w):
    square = ones(t, t)
    return square.tril() & square.triu(1 - w)


@MUTANTS.add(EXERCISE, WINDOW_EACH, "causal mask", spares=WINDOW)
def window_largest_for_all(t, w):
    back, w = distances(t, w)
    return (back >= 0) & (back < w.amax()).expand(*w.shape[:-2], t, t)


@MUTANTS.add(EXERCISE, WINDOW_BOOLEAN, "the mask is cpu int64; make it torch.bool", spares=WINDOW)
def window_integers(t, w):
    back, w = distances(t, w)
    return ((back >= 0) & (back < w)).long()


@MUTANTS.add(EXERCISE, WINDOW_UNTOUCHED, "changed in place", spares=WINDOW)
def window_subtracts_in_place(t, w):
    back, size = distances(t, w)
    mask = (back >= 0) & (back < size)
    if isinstance(w, torch.Tensor):
        w -= 1
    return mask


@MUTANTS.worthless(EXERCISE)
def window_ignored(t, w):
    return ones(t, t).tril()


@MUTANTS.worthless(EXERCISE)
def window_everything(t, w):
    return ones(*torch.as_tensor(w).shape, t, t)


@MUTANTS.worthless(EXERCISE)
def window_another_at_each_call(t, w):
    return torch.rand(*torch.as_tensor(w).shape, t, t) < 0.5


@MUTANTS.worthless(EXERCISE)
def window_nan(t, w):
    return torch.full((*torch.as_tensor(w).shape, t, t), math.nan)


@MUTANTS.worthless(EXERCISE)
def window_size_itself(t, w):
    return torch.zeros(t, t) + torch.as_tensor(w)[..., None, None]


# --- prefix_mask ----------------------------------------------------------------------------------------------

EXERCISE = "prefix_mask"
PREFIX = "the prefix sees itself whole, what follows is causal"
PREFIX_LIMITS = "p = 0 is the causal mask, p = t masks nothing"
PREFIX_EACH = "a tensor of prefixes gives one mask each"
PREFIX_BOOLEAN = "a boolean tensor on the device of the prefixes"
PREFIX_UNTOUCHED = "leaves the prefixes untouched"


def prefix(t, p, extra=0):
    back, p = distances(t, p)
    return (back >= 0) | (torch.arange(t, device=p.device) < p + extra)


@MUTANTS.add(EXERCISE, PREFIX, "p + 1 keys")
def prefix_one_too_many(t, p):
    return prefix(t, p, 1)


@MUTANTS.add(EXERCISE, PREFIX, "p − 1 keys")
def prefix_one_too_few(t, p):
    return prefix(t, p, -1)


@MUTANTS.add(EXERCISE, PREFIX_LIMITS, "causal too", spares=PREFIX)
def prefix_negative_slice(t, p):
    # p − t counts from the end and is 0 where the prefix is the whole text
    if torch.as_tensor(p).dim():
        return torch.stack([prefix_negative_slice(t, each) for each in p])
    mask = ones(t, t).tril()
    mask[:, : int(p) - t] = True
    return mask


@MUTANTS.add(EXERCISE, PREFIX, "the prefix is causal too")
def prefix_ignored(t, p):
    back, p = distances(t, p)
    return (back >= 0) & (p >= 0)


@MUTANTS.add(EXERCISE, PREFIX, "after the prefix nothing sees it")
def prefix_in_two_blocks(t, p):
    back, p = distances(t, p)
    inside = torch.arange(t) < p
    return (inside & inside.mT) | ((back >= 0) & ~inside)


@MUTANTS.add(EXERCISE, PREFIX, "the prefix sees what comes after it")
def prefix_rows(t, p):
    back, p = distances(t, p)
    return (back >= 0) | (torch.arange(t)[:, None] < p)


@MUTANTS.add(EXERCISE, PREFIX, "only the prefix is seen")
def prefix_alone(t, p):
    _, p = distances(t, p)
    return (torch.arange(t) < p).repeat_interleave(t, -2)


@MUTANTS.add(EXERCISE, PREFIX, "nothing is masked after the prefix")
def prefix_then_everything(t, p):
    _, p = distances(t, p)
    at = torch.arange(t)
    return (at < p) | (at[:, None] >= p)


@MUTANTS.add(EXERCISE, PREFIX, "after the prefix a position does not see itself")
def prefix_without_oneself(t, p):
    back, p = distances(t, p)
    return (back > 0) | (torch.arange(t) < p)


@MUTANTS.add(EXERCISE, PREFIX, "nothing is masked")
def prefix_of_everything(t, p):
    return ones(*torch.as_tensor(p).shape, t, t)


@MUTANTS.add(EXERCISE, PREFIX, "the wrong way round")
def prefix_true_means_masked(t, p):
    return ~prefix(t, p)


@MUTANTS.add(EXERCISE, PREFIX, "is False; it should be True")
def prefix_at_the_end(t, p):
    back, p = distances(t, p)
    return (back >= 0) | (torch.arange(t) >= t - p)


@MUTANTS.add(EXERCISE, PREFIX_EACH, "it raised", spares=PREFIX)
def prefix_of_numbers_alone(t, p):
    mask = ones(t, t).tril()
    mask[:, :p] = True
    return mask


@MUTANTS.add(EXERCISE, PREFIX_EACH, "causal too", spares=PREFIX)
def prefix_shortest_for_all(t, p):
    p = torch.as_tensor(p)
    return prefix(t, p.amin().expand(p.shape))


@MUTANTS.add(EXERCISE, PREFIX_BOOLEAN, "the mask is cpu float32; make it torch.bool", spares=PREFIX)
def prefix_floats(t, p):
    return prefix(t, p).float()


@MUTANTS.add(EXERCISE, PREFIX_UNTOUCHED, "changed in place", spares=PREFIX)
def prefix_subtracts_in_place(t, p):
    mask = prefix(t, p)
    if isinstance(p, torch.Tensor):
        p -= 1
    return mask


@MUTANTS.worthless(EXERCISE)
def prefix_nothing(t, p):
    return torch.zeros(t, t, dtype=torch.bool)


@MUTANTS.worthless(EXERCISE)
def prefix_always_the_same(t, p):
    return ones(t, t).tril()


@MUTANTS.worthless(EXERCISE)
def prefix_another_at_each_call(t, p):
    return torch.rand(*torch.as_tensor(p).shape, t, t) < 0.5


@MUTANTS.worthless(EXERCISE)
def prefix_nan(t, p):
    return torch.full((*torch.as_tensor(p).shape, t, t), math.nan)


@MUTANTS.worthless(EXERCISE)
def prefix_size_itself(t, p):
    return torch.zeros(t, t) + torch.as_tensor(p)[..., None, None]
