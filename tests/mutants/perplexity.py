"""Wrong answers to the exercises of the chapter `perplexity`."""

import math

import torch
from torch.nn import functional as F

from mutants import Mutants

MUTANTS = Mutants()

# --- shifted_cross_entropy ------------------------------------------------------------------------------------

EXERCISE = "shifted_cross_entropy"
GOLDEN = "known numbers, with -100 and without"
SHIFT = "row t speaks of label t + 1"
IGNORED = "ignored labels count neither in the sum nor in n"
MODEL = "equals the model's own loss"
BATCH = "one mean over the tokens of any batch"
LARGE = "large logits do not overflow"
NOTHING = "nothing to score is an error that says so"
LABELS = "leaves the labels as they were"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves its inputs untouched"
GRADIENTS = "gradients reach every input"


def cut(logits, labels, ignore_index):
    """Rows and targets of all texts, and how many targets count; ValueError when none does."""
    rows, targets = logits[..., :-1, :].reshape(-1, logits.shape[-1]), labels[..., 1:].reshape(-1)
    n = int((targets != ignore_index).sum())
    if n == 0:
        raise ValueError("no label to score")
    return rows, targets, n


def scored(rows, targets, ignore_index, **options):
    return F.cross_entropy(rows, targets, ignore_index=ignore_index, **options)


@MUTANTS.add(EXERCISE, SHIFT, "there is no shift")
def loss_unshifted(logits, labels, ignore_index=-100):
    _, _, n = cut(logits, labels, ignore_index)
    return scored(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index), n


@MUTANTS.add(EXERCISE, SHIFT, "the shift goes the wrong way")
def loss_shifted_backwards(logits, labels, ignore_index=-100):
    _, _, n = cut(logits, labels, ignore_index)
    return scored(logits[..., 1:, :].reshape(-1, logits.shape[-1]), labels[..., :-1].reshape(-1), ignore_index), n


@MUTANTS.add(EXERCISE, GOLDEN, "divided by all labels, the ignored ones included")
def loss_mean_over_ignored(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index, reduction="none").mean(), n


@MUTANTS.add(EXERCISE, GOLDEN, "this is the sum")
def loss_sum(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index, reduction="sum"), n


@MUTANTS.add(EXERCISE, GOLDEN, "this is the perplexity")
def loss_exponential(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index).exp(), n


@MUTANTS.add(EXERCISE, GOLDEN, "the loss is in bits")
def loss_in_bits(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index) / math.log(2), n


@MUTANTS.add(EXERCISE, GOLDEN, "the wrong sign")
def loss_negative(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return -scored(rows, targets, ignore_index), n


@MUTANTS.add(EXERCISE, GOLDEN, "divided by the number of labels before the shift")
def loss_divided_by_labels_before_the_shift(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index, reduction="sum") / (labels != ignore_index).sum(), n


@MUTANTS.add(EXERCISE, GOLDEN, "the first label too, which is never scored")
def loss_counts_the_first_label(logits, labels, ignore_index=-100):
    rows, targets, _ = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index), int((labels != ignore_index).sum())


@MUTANTS.add(EXERCISE, GOLDEN, "n counts the ignored labels too")
def loss_counts_ignored_labels(logits, labels, ignore_index=-100):
    rows, targets, _ = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index), targets.numel()


@MUTANTS.add(EXERCISE, GOLDEN, "the loss stands first")
def loss_pair_reversed(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return n, scored(rows, targets, ignore_index)


@MUTANTS.add(EXERCISE, GOLDEN, "expected the pair (loss, n), got Tensor")
def loss_alone(logits, labels, ignore_index=-100):
    rows, targets, _ = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index)


@MUTANTS.add(EXERCISE, SHIFT, "the last row was scored against the first label")
def loss_wraps_around(logits, labels, ignore_index=-100):
    _, _, n = cut(logits, labels, ignore_index)
    return scored(logits.reshape(-1, logits.shape[-1]), labels.roll(-1, -1).reshape(-1), ignore_index), n


@MUTANTS.add(EXERCISE, IGNORED, "ignore_index was not used")
def loss_always_ignores_minus_100(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return scored(rows, targets.where(targets >= 0, -100), -100), n


@MUTANTS.add(EXERCISE, MODEL, "each text of the batch was averaged by itself")
def loss_mean_of_rows(logits, labels, ignore_index=-100):
    _, _, n = cut(logits, labels, ignore_index)
    texts = zip(logits.reshape(-1, *logits.shape[-2:]), labels.reshape(-1, labels.shape[-1]), strict=True)
    each = [scored(r[:-1], t[1:], ignore_index) for r, t in texts if (t[1:] != ignore_index).any()]
    return torch.stack(each).mean(), n


@MUTANTS.add(EXERCISE, BATCH, "cut with [..., :-1, :], then flatten")
def loss_of_three_dimensions_alone(logits, labels, ignore_index=-100):
    if logits.dim() == 2:
        logits, labels = logits[None], labels[None]
    _, _, n = cut(logits, labels, ignore_index)
    batch, length, vocabulary = logits.shape
    rows = logits[:, :-1].reshape(batch * (length - 1), vocabulary)
    return scored(rows, labels[:, 1:].flatten(), ignore_index), n


@MUTANTS.add(EXERCISE, LARGE, "NaN or an infinity")
def loss_without_shift_of_the_maximum(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    p = rows.exp() / rows.exp().sum(-1, keepdim=True)
    return F.nll_loss(p.log(), targets, ignore_index=ignore_index), n


@MUTANTS.add(EXERCISE, LARGE, "NaN or an infinity")
def loss_logarithm_of_softmax(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return F.nll_loss(rows.softmax(-1).log(), targets, ignore_index=ignore_index), n


@MUTANTS.add(EXERCISE, LARGE, "large logits gave a wrong loss")
def loss_with_a_small_number_inside(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return F.nll_loss((rows.softmax(-1) + 1e-9).log(), targets, ignore_index=ignore_index), n


@MUTANTS.add(EXERCISE, NOTHING, "was accepted")
def loss_nan_when_nothing_is_left(logits, labels, ignore_index=-100):
    rows, targets = logits[..., :-1, :].reshape(-1, logits.shape[-1]), labels[..., 1:].reshape(-1)
    return scored(rows, targets, ignore_index), int((targets != ignore_index).sum())


@MUTANTS.add(EXERCISE, NOTHING, "was accepted")
def loss_zero_when_nothing_is_left(logits, labels, ignore_index=-100):
    rows, targets = logits[..., :-1, :].reshape(-1, logits.shape[-1]), labels[..., 1:].reshape(-1)
    n = int((targets != ignore_index).sum())
    return scored(rows, targets, ignore_index, reduction="sum") / max(n, 1), n


@MUTANTS.add(EXERCISE, NOTHING, "raised ZeroDivisionError")
def loss_divides_by_nothing(logits, labels, ignore_index=-100):
    rows, targets = logits[..., :-1, :].reshape(-1, logits.shape[-1]), labels[..., 1:].reshape(-1)
    n = int((targets != ignore_index).sum())
    return scored(rows, targets, ignore_index, reduction="sum") * (1 / n), n


@MUTANTS.add(EXERCISE, NOTHING, "a batch whose first labels alone count was accepted")
def loss_looks_for_labels_before_the_shift(logits, labels, ignore_index=-100):
    if not (labels != ignore_index).any():
        raise ValueError("no label to score")
    return loss_nan_when_nothing_is_left(logits, labels, ignore_index)


@MUTANTS.add(EXERCISE, LABELS, "labels were changed in place")
def loss_replaces_ignored_labels_in_place(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    kept = targets != ignore_index
    labels[labels == ignore_index] = 0
    log_p = rows.log_softmax(-1).gather(-1, labels[..., 1:].reshape(-1, 1))[:, 0]
    return -log_p[kept].mean(), n


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
def loss_in_float32(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return scored(rows.float(), targets, ignore_index), n


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def loss_subtracts_the_maximum_in_place(logits, labels, ignore_index=-100):
    logits -= logits.amax(-1, keepdim=True)
    rows, targets, n = cut(logits, labels, ignore_index)
    return scored(rows, targets, ignore_index), n


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
def loss_from_item(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return logits.new_tensor(scored(rows, targets, ignore_index).item()), n


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off")
def loss_normaliser_cut_off(logits, labels, ignore_index=-100):
    rows, targets, n = cut(logits, labels, ignore_index)
    return F.nll_loss(rows - rows.logsumexp(-1, keepdim=True).detach(), targets, ignore_index=ignore_index), n


@MUTANTS.worthless(EXERCISE)
def loss_constant(logits, labels, ignore_index=-100):
    return logits.new_tensor(2.4607), 3


@MUTANTS.worthless(EXERCISE)
def loss_always_refused(logits, labels, ignore_index=-100):
    raise ValueError("no label to score")


@MUTANTS.worthless(EXERCISE)
def loss_zero(logits, labels, ignore_index=-100):
    return 0 * logits.sum(), int((labels[..., 1:] != ignore_index).sum())


# --- windows --------------------------------------------------------------------------------------------------

EXERCISE = "windows"
ONCE = "every token but the first is scored exactly once"
CONTEXT = "a target has the token before it in its window"
ALIKE = "all windows but the first are alike"
ONE = "a text that fits needs one window"
NONE = "without a target there is no window"
REFUSED = "refuses a stride that loses targets"


def refuse(max_length, stride):
    if max_length < 2 or not 1 <= stride <= max_length:
        raise ValueError(f"max_length = {max_length} and stride = {stride} lose targets")


def laid(n_tokens, max_length, step):
    """The right windows, for a step that is below max_length."""
    found, end = [], n_tokens
    while end > max_length:
        found.append((end - max_length, end, end - step))
        end -= step
    return found[::-1] if end < 2 else [(0, end, 1), *found[::-1]]


def from_the_beginning(n_tokens, max_length, step):
    first, found = 1, []
    for begin in range(0, n_tokens - 1, step):
        end = min(begin + max_length, n_tokens)
        found.append((begin, end, first))
        first = end
        if end == n_tokens:
            break
    return found


@MUTANTS.add(EXERCISE, ALIKE, "laid from the beginning, with a ragged last window")
def windows_of_the_chapter(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return from_the_beginning(n_tokens, max_length, min(stride, max_length - 1))


@MUTANTS.add(EXERCISE, CONTEXT, "the window must begin before its first target")
def windows_of_the_recipe(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return from_the_beginning(n_tokens, max_length, stride)


@MUTANTS.add(EXERCISE, ONCE, "never scores [4, 7]: targets are lost at a seam")
def windows_lose_a_target_at_each_seam(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(b, e, f + (f > 1)) for b, e, f in laid(n_tokens, max_length, min(stride, max_length - 1))]


@MUTANTS.add(EXERCISE, ONCE, "scores token 0")
def windows_score_token_0(n_tokens, max_length, stride):
    refuse(max_length, stride)
    found = laid(n_tokens, max_length, min(stride, max_length - 1))
    return [(b, e, f - (b == 0)) if k == 0 else (b, e, f) for k, (b, e, f) in enumerate(found)]


@MUTANTS.add(EXERCISE, ONCE, "more than once")
def windows_score_the_overlap(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(b, e, b + 1) for b, e, _ in laid(n_tokens, max_length, min(stride, max_length - 1))]


@MUTANTS.add(EXERCISE, ONCE, "never scores [3, 6, 9]")
def windows_with_inclusive_ends(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(b, e - 1, f) for b, e, f in laid(n_tokens, max_length, min(stride, max_length - 1))]


@MUTANTS.add(EXERCISE, ONCE, "beyond the text")
def windows_reach_beyond_the_text(n_tokens, max_length, stride):
    refuse(max_length, stride)
    found = from_the_beginning(n_tokens, max_length, min(stride, max_length - 1))
    return [(b, b + max_length, f) for b, _, f in found] if n_tokens > max_length else found


@MUTANTS.add(EXERCISE, ONCE, "never scores")
def windows_drop_the_ragged_one(n_tokens, max_length, stride):
    refuse(max_length, stride)
    found = laid(n_tokens, max_length, min(stride, max_length - 1))
    return found if len(found) < 2 or found[0][1] == max_length else found[1:]


@MUTANTS.add(EXERCISE, CONTEXT, "could see")
def windows_read_little_more_than_they_score(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(f - 1, e, f) for _, e, f in laid(n_tokens, max_length, min(stride, max_length - 1))]


@MUTANTS.add(EXERCISE, CONTEXT, "at most 4 fit")
def windows_read_one_token_too_many(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(max(0, b - 1), e, f) for b, e, f in laid(n_tokens, max_length, min(stride, max_length - 1))]


@MUTANTS.add(EXERCISE, CONTEXT, "the window must begin before its first target")
def windows_without_overlap(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return laid(n_tokens, max_length, stride)


@MUTANTS.add(EXERCISE, ALIKE, "from right to left")
def windows_from_right_to_left(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return laid(n_tokens, max_length, min(stride, max_length - 1))[::-1]


@MUTANTS.add(EXERCISE, ALIKE, "are enough")
def windows_more_than_needed(n_tokens, max_length, stride):
    refuse(max_length, stride)
    step, found, end = min(stride, max_length - 1), [], n_tokens
    while end - step > 1:
        found.append((max(0, end - max_length), end, end - step))
        end -= step
    return [(0, end, 1), *found[::-1]] if end > 1 and n_tokens > max_length else laid(n_tokens, max_length, step)


@MUTANTS.add(EXERCISE, ALIKE, "all but the first read 4 and score 3")
def windows_whose_last_one_reaches_back(n_tokens, max_length, stride):
    refuse(max_length, stride)
    found = from_the_beginning(n_tokens, max_length, min(stride, max_length - 1))
    return [(max(0, e - max_length), e, f) for _, e, f in found]


@MUTANTS.add(EXERCISE, ALIKE, "each window is (begin, end, first)")
def windows_without_first(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(b, e) for b, e, _ in laid(n_tokens, max_length, min(stride, max_length - 1))]


@MUTANTS.add(EXERCISE, ONE, "fits into one window")
def windows_two_for_a_short_text(n_tokens, max_length, stride):
    refuse(max_length, stride)
    step = min(stride, max_length - 1)
    if 2 < n_tokens <= max_length and n_tokens - step > 1:
        return [(0, n_tokens - step, 1), (0, n_tokens, n_tokens - step)]
    return laid(n_tokens, max_length, step)


@MUTANTS.add(EXERCISE, NONE, "the list is empty")
def windows_for_a_text_without_targets(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return laid(n_tokens, max_length, min(stride, max_length - 1)) or [(0, n_tokens, 1)]


@MUTANTS.add(EXERCISE, NONE, "it raised")
def windows_refuse_a_text_without_targets(n_tokens, max_length, stride):
    refuse(max_length, stride)
    if n_tokens < 2:
        raise ValueError("no target")
    return laid(n_tokens, max_length, min(stride, max_length - 1))


@MUTANTS.add(EXERCISE, REFUSED, "windows(9, 4, 5) was accepted")
def windows_accept_every_stride(n_tokens, max_length, stride):
    return laid(n_tokens, max_length, max(1, min(stride, max_length - 1)))


@MUTANTS.add(EXERCISE, REFUSED, "raised AssertionError")
def windows_assert(n_tokens, max_length, stride):
    assert max_length >= 2 and 1 <= stride <= max_length
    return laid(n_tokens, max_length, min(stride, max_length - 1))


@MUTANTS.add(EXERCISE, REFUSED, "names 4 and 5")
def windows_refuse_without_a_reason(n_tokens, max_length, stride):
    if max_length < 2 or not 1 <= stride <= max_length:
        raise ValueError("bad arguments")
    return laid(n_tokens, max_length, min(stride, max_length - 1))


@MUTANTS.add(EXERCISE, REFUSED, "windows(3, 4, 6) was accepted")
def windows_check_long_texts_alone(n_tokens, max_length, stride):
    if n_tokens > max_length:
        refuse(max_length, stride)
    return laid(n_tokens, max_length, max(1, min(stride, max_length - 1)))


@MUTANTS.worthless(EXERCISE)
def windows_constant(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(0, 4, 1), (3, 7, 4), (6, 10, 7)]


@MUTANTS.worthless(EXERCISE)
def windows_empty(n_tokens, max_length, stride):
    return []


@MUTANTS.worthless(EXERCISE)
def windows_in_one_piece(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(0, n_tokens, 1)] if n_tokens > 1 else []


@MUTANTS.worthless(EXERCISE)
def windows_of_two_tokens(n_tokens, max_length, stride):
    refuse(max_length, stride)
    return [(token - 1, token + 1, token) for token in range(1, n_tokens)]


@MUTANTS.worthless(EXERCISE)
def windows_always_refused(n_tokens, max_length, stride):
    raise ValueError(f"{max_length} and {stride}")


# --- strided_perplexity ---------------------------------------------------------------------------------------

EXERCISE = "strided_perplexity"
BRUTE = "equals reading each window by itself"
WEIGHT = "every target has the same weight"
BATCHES = "the batch size changes nothing"
CALLS = "batches are full and no larger than allowed"
SHORT = "short texts, and no target at all"
HALF = "thousands of targets in half precision"
KEPT = "leaves model and texts as they were"


def corpus(
    model, texts, max_length, stride, batch_size,
    first_of=lambda begin, end, first: first, pad=0, score_padding=False, dtype=torch.float64, chunks=None,
):  # fmt: skip
    """A list with the losses of each window, batch by batch."""
    pieces = [
        (text[begin:end], first_of(begin, end, first) - begin)
        for text in texts
        for begin, end, first in from_the_beginning(len(text), max_length, stride)
    ]
    found = []
    size = chunks or batch_size
    for start in range(0, len(pieces), size):
        batch = pieces[start : start + size]
        rows = torch.nn.utils.rnn.pad_sequence([ids for ids, _ in batch], batch_first=True, padding_value=pad)
        with torch.no_grad():
            logits = model(rows).logits[:, :-1].to(dtype)
        losses = F.cross_entropy(logits.mT, rows[:, 1:], reduction="none")
        ends = [rows.shape[1] if score_padding else len(ids) for ids, _ in batch]
        found.append([row[first - 1 : end - 1] for row, (_, first), end in zip(losses, batch, ends, strict=True)])
    return found


def summed(found):
    flat = [window for batch in found for window in batch]
    if not sum(map(len, flat)):
        raise ValueError("there is no target")
    everything = torch.cat(flat)
    return everything.mean().exp().item(), len(everything)


@MUTANTS.add(EXERCISE, WEIGHT, "the means of the windows were averaged")
def corpus_mean_of_windows(model, texts, *sizes):
    found = corpus(model, texts, *sizes)
    return torch.stack([w.mean() for batch in found for w in batch]).mean().exp().item(), summed(found)[1]


@MUTANTS.add(EXERCISE, WEIGHT, "the means of the texts were averaged")
def corpus_mean_of_texts(model, texts, *sizes):
    each = [torch.cat([w for batch in corpus(model, [t], *sizes) for w in batch]) for t in texts if len(t) > 1]
    return torch.stack([e.mean() for e in each]).mean().exp().item(), sum(map(len, each))


@MUTANTS.add(EXERCISE, WEIGHT, "the means of the batches were averaged")
def corpus_mean_of_batches(model, texts, *sizes):
    found = corpus(model, texts, *sizes)
    return torch.stack([torch.cat(batch).mean() for batch in found]).mean().exp().item(), summed(found)[1]


@MUTANTS.add(EXERCISE, WEIGHT, "this is a mean of perplexities")
def corpus_mean_of_perplexities(model, texts, *sizes):
    each = [torch.cat([w for batch in corpus(model, [t], *sizes) for w in batch]) for t in texts if len(t) > 1]
    return torch.stack([e.mean().exp() for e in each]).mean().item(), sum(map(len, each))


@MUTANTS.add(EXERCISE, BRUTE, "this is the mean loss")
def corpus_without_exponential(model, texts, *sizes):
    perplexity, n = summed(corpus(model, texts, *sizes))
    return math.log(perplexity), n


@MUTANTS.add(EXERCISE, BATCHES, "padding was scored")
def corpus_scores_padding(model, texts, *sizes):
    found = corpus(model, texts, *sizes, score_padding=True)
    return summed(found)[0], summed(corpus(model, texts, *sizes))[1]


@MUTANTS.add(EXERCISE, BRUTE, "the texts were joined")
def corpus_joins_the_texts(model, texts, *sizes):
    perplexity, _ = summed(corpus(model, [torch.cat(texts)] if texts else [], *sizes))
    return perplexity, sum(len(t) - 1 for t in texts)


@MUTANTS.add(EXERCISE, BRUTE, "scored again in the overlap")
def corpus_scores_the_overlap(model, texts, *sizes):
    perplexity, _ = summed(corpus(model, texts, *sizes, first_of=lambda begin, end, first: begin + 1))
    return perplexity, sum(len(t) - 1 for t in texts)


@MUTANTS.add(EXERCISE, BRUTE, "a target is lost at each seam")
def corpus_loses_seams(model, texts, *sizes):
    perplexity, _ = summed(corpus(model, texts, *sizes, first_of=lambda begin, end, first: first + (first > 1)))
    return perplexity, sum(len(t) - 1 for t in texts)


@MUTANTS.add(EXERCISE, BRUTE, "only the first window of each text was scored")
def corpus_reads_the_first_window(model, texts, max_length, *sizes):
    perplexity, _ = summed(corpus(model, [t[:max_length] for t in texts], max_length, *sizes))
    return perplexity, sum(len(t) - 1 for t in texts)


@MUTANTS.add(EXERCISE, BRUTE, "stride was not used")
def corpus_without_overlap(model, texts, max_length, stride, batch_size):
    return summed(corpus(model, texts, max_length, max_length - 1, batch_size))


@MUTANTS.add(EXERCISE, BRUTE, "max_length was not used")
def corpus_in_one_piece(model, texts, max_length, stride, batch_size):
    return summed(corpus(model, texts, 10**6, stride, batch_size))


@MUTANTS.add(EXERCISE, BATCHES, "perplexity is")
def corpus_padded_on_the_left(model, texts, max_length, stride, batch_size):
    # without a mask or position ids, the padding is read
    pieces = [
        (t[b:e], e - f) for t in texts for b, e, f in from_the_beginning(len(t), max_length, stride)
    ]  # fmt: skip
    total, n = 0.0, 0
    for start in range(0, len(pieces), batch_size):
        batch = pieces[start : start + batch_size]
        width = max(len(ids) for ids, _ in batch)
        rows = torch.stack([F.pad(ids, (width - len(ids), 0)) for ids, _ in batch])
        with torch.no_grad():
            losses = F.cross_entropy(model(rows).logits[:, :-1].double().mT, rows[:, 1:], reduction="none")
        total += sum(row[len(row) - count :].sum().item() for row, (_, count) in zip(losses, batch, strict=True))
        n += sum(count for _, count in batch)
    if not n:
        raise ValueError("there is no target")
    return math.exp(total / n), n


@MUTANTS.add(EXERCISE, BRUTE, "perplexity is")
def corpus_row_of_the_next_token(model, texts, max_length, stride, batch_size):
    # off by one: each target is looked up in the row that has already read it
    total, n = 0.0, 0
    for text in texts:
        for begin, end, first in from_the_beginning(len(text), max_length, stride):
            with torch.no_grad():
                logits = model(text[None, begin:end]).logits[0].double()
            total += F.cross_entropy(logits[first - begin : end - begin], text[first:end], reduction="sum").item()
            n += end - first
    return math.exp(total / n), n


@MUTANTS.add(EXERCISE, BRUTE, "the number of tokens; the first of each text is no target")
def corpus_counts_tokens(model, texts, *sizes):
    return summed(corpus(model, texts, *sizes))[0], sum(map(len, texts))


@MUTANTS.add(EXERCISE, BRUTE, "n is the number of windows")
def corpus_counts_windows(model, texts, *sizes):
    found = corpus(model, texts, *sizes)
    return summed(found)[0], sum(map(len, found))


@MUTANTS.add(EXERCISE, BRUTE, "expected the pair (perplexity, n)")
def corpus_returns_one_number(model, texts, *sizes):
    return summed(corpus(model, texts, *sizes))[0]


@MUTANTS.add(EXERCISE, CALLS, "full batches need")
def corpus_one_window_at_a_time(model, texts, max_length, stride, batch_size):
    return summed(corpus(model, texts, max_length, stride, 1))


@MUTANTS.add(EXERCISE, CALLS, "full batches need")
def corpus_batches_each_text_alone(model, texts, *sizes):
    return summed([batch for t in texts for batch in corpus(model, [t], *sizes)])


@MUTANTS.add(EXERCISE, CALLS, "allow no more")
def corpus_all_windows_at_once(model, texts, max_length, stride, batch_size):
    return summed(corpus(model, texts, max_length, stride, batch_size, chunks=10**6))


@MUTANTS.add(EXERCISE, SHORT, "was accepted")
def corpus_nan_without_targets(model, texts, *sizes):
    found = corpus(model, texts, *sizes)
    flat = [window for batch in found for window in batch]
    if not flat:
        return math.nan, 0
    return summed(found)


@MUTANTS.add(EXERCISE, SHORT, "it raised")
def corpus_refuses_any_short_text(model, texts, *sizes):
    if any(len(t) < 2 for t in texts):
        raise ValueError("a text of one token")
    return summed(corpus(model, texts, *sizes))


@MUTANTS.add(EXERCISE, SHORT, "raised ZeroDivisionError")
def corpus_divides_by_no_targets(model, texts, *sizes):
    flat = [window for batch in corpus(model, texts, *sizes) for window in batch]
    return math.exp(sum(w.sum().item() for w in flat) / sum(map(len, flat))), sum(map(len, flat))


@MUTANTS.add(EXERCISE, HALF, "add up in float64")
def corpus_adds_up_in_the_models_dtype(model, texts, *sizes):
    flat = [w for batch in corpus(model, texts, *sizes, dtype=None) for w in batch]
    if not flat:
        raise ValueError("there is no target")
    total = torch.zeros((), dtype=flat[0].dtype, device=flat[0].device)
    for window in flat:
        for loss in window:
            total += loss
    n = sum(map(len, flat))
    return math.exp(total.item() / n), n


@MUTANTS.add(EXERCISE, KEPT, "came in training mode and left in the other")
def corpus_switches_the_mode(model, texts, *sizes):
    if hasattr(model, "eval"):
        model.eval()
    return summed(corpus(model, texts, *sizes))


@MUTANTS.add(EXERCISE, KEPT, "the texts were changed in place")
def corpus_empties_the_list(model, texts, *sizes):
    result = summed(corpus(model, texts, *sizes))
    texts.clear()
    return result


@MUTANTS.add(EXERCISE, KEPT, "weights were changed")
def corpus_rounds_the_weights(model, texts, *sizes):
    result = summed(corpus(model, texts, *sizes))
    if hasattr(model, "half"):
        model.to(torch.bfloat16)
    return result


@MUTANTS.worthless(EXERCISE)
def corpus_constant(model, texts, *sizes):
    if not any(len(t) > 1 for t in texts):
        raise ValueError("there is no target")
    return 2.0, sum(max(0, len(t) - 1) for t in texts)


@MUTANTS.worthless(EXERCISE)
def corpus_always_refused(model, texts, *sizes):
    raise ValueError("there is no target")


@MUTANTS.worthless(EXERCISE)
def corpus_uniform(model, texts, *sizes):
    with torch.no_grad():
        return float(model(texts[0][None, :1]).logits.shape[-1]), sum(max(0, len(t) - 1) for t in texts)


# --- bits_per_byte --------------------------------------------------------------------------------------------

EXERCISE = "bits_per_byte"
COIN = "a coin costs one bit"
BYTES = "bytes are those of the UTF-8 text as it is"
RATIO = "one ratio for the whole collection"
TOKENS = "the cut into tokens does not matter"
LOSSLESS = "adds up half-precision numbers without loss"
NO_RATIO = "refuses what has no ratio"
NUMBER = "returns a number and leaves its inputs untouched"


def total_bits(nll):
    return sum(t.double().sum().item() for t in nll) / math.log(2)


def total_bytes(nll, text):
    n = sum(len(t.encode()) for t in text)
    if len(nll) != len(text) or n == 0:
        raise ValueError("no ratio")
    return n


@MUTANTS.add(EXERCISE, BYTES, "these are bits per character")
def bits_per_character(nll, text):
    total_bytes(nll, text)
    return total_bits(nll) / sum(map(len, text))


@MUTANTS.add(EXERCISE, COIN, "these are nats per byte")
def nats_per_byte(nll, text):
    return total_bits(nll) * math.log(2) / total_bytes(nll, text)


@MUTANTS.add(EXERCISE, COIN, "multiplied by ln 2")
def bits_multiplied_by_ln_2(nll, text):
    return total_bits(nll) * math.log(2) ** 2 / total_bytes(nll, text)


@MUTANTS.add(EXERCISE, COIN, "the base of the logarithm is not 2")
def bits_to_base_10(nll, text):
    return total_bits(nll) * math.log(2) / math.log(10) / total_bytes(nll, text)


@MUTANTS.add(EXERCISE, COIN, "these are bits per token")
def bits_per_token(nll, text):
    total_bytes(nll, text)
    return total_bits(nll) / sum(map(len, nll))


@MUTANTS.add(EXERCISE, COIN, "the mean nats were divided by the bytes")
def bits_of_the_mean(nll, text):
    return total_bits(nll) / sum(map(len, nll)) / total_bytes(nll, text)


@MUTANTS.add(EXERCISE, COIN, "upside down")
def bits_upside_down(nll, text):
    return total_bytes(nll, text) / total_bits(nll)


@MUTANTS.add(EXERCISE, COIN, "divided by 8 once more")
def bytes_per_byte(nll, text):
    return total_bits(nll) / total_bytes(nll, text) / 8


@MUTANTS.add(EXERCISE, BYTES, "those of UTF-16")
def bits_per_byte_of_utf_16(nll, text):
    total_bytes(nll, text)
    return total_bits(nll) / sum(len(t.encode("utf-16")) for t in text)


@MUTANTS.add(EXERCISE, BYTES, "were stripped before counting")
def bits_per_byte_of_stripped_text(nll, text):
    total_bytes(nll, text)
    return total_bits(nll) / sum(len(t.strip().encode()) for t in text)


@MUTANTS.add(EXERCISE, BYTES, "should be")
def bits_per_byte_of_gbk(nll, text):
    total_bytes(nll, text)
    return total_bits(nll) / sum(len(t.encode("gbk", "replace")) for t in text)


@MUTANTS.add(EXERCISE, RATIO, "the ratios of the texts were averaged")
def bits_mean_of_ratios(nll, text):
    total_bytes(nll, text)
    each = [total_bits([n]) / len(t.encode()) for n, t in zip(nll, text, strict=True) if t]
    return sum(each) / len(each)


@MUTANTS.add(EXERCISE, RATIO, "should be")
def bits_of_the_first_text(nll, text):
    total_bytes(nll, text)
    return total_bits(nll[:1]) / len(text[0].encode())


@MUTANTS.add(EXERCISE, TOKENS, "should be")
def bits_without_the_first_token(nll, text):
    return total_bits([n[1:] for n in nll]) / total_bytes(nll, text)


@MUTANTS.add(EXERCISE, LOSSLESS, "overflowed")
def bits_added_up_in_their_dtype(nll, text):
    n_bytes = total_bytes(nll, text)
    return sum(t.sum() for t in nll).item() / math.log(2) / n_bytes


@MUTANTS.add(EXERCISE, NO_RATIO, "two empty texts raised ZeroDivisionError")
def bits_divided_by_no_bytes(nll, text):
    if len(nll) != len(text):
        raise ValueError("lists of different length")
    return total_bits(nll) / sum(len(t.encode()) for t in text)


@MUTANTS.add(EXERCISE, NO_RATIO, "two tensors with one text was accepted")
def bits_of_lists_that_do_not_fit(nll, text):
    total_bytes(text, text)
    pairs = [*zip(nll, text, strict=False)]
    return total_bits([n for n, _ in pairs]) / total_bytes(pairs, [t for _, t in pairs])


@MUTANTS.add(EXERCISE, NO_RATIO, "was accepted")
def bits_zero_without_bytes(nll, text):
    if len(nll) != len(text):
        raise ValueError("lists of different length")
    return total_bits(nll) / max(1, sum(len(t.encode()) for t in text))


@MUTANTS.add(EXERCISE, NUMBER, "were changed")
def bits_pops_the_texts(nll, text):
    result = total_bits(nll) / total_bytes(nll, text)
    while text:
        text.pop()
    return result


@MUTANTS.add(EXERCISE, NUMBER, "were changed")
def bits_converts_in_place(nll, text):
    n_bytes = total_bytes(nll, text)
    for t in nll:
        t /= math.log(2)
    return sum(t.double().sum().item() for t in nll) / n_bytes


@MUTANTS.worthless(EXERCISE)
def bits_constant(nll, text):
    total_bytes(nll, text)
    return 0.8


@MUTANTS.worthless(EXERCISE)
def bits_always_refused(nll, text):
    raise ValueError("no ratio")


@MUTANTS.worthless(EXERCISE)
def bits_zero(nll, text):
    return 0.0


# --- calibration_error ----------------------------------------------------------------------------------------

EXERCISE = "calibration_error"
GAP = "gap is the share of right guesses minus confidence"
PERFECT = "a perfect forecaster has no error"
SIZE = "a bin weighs as much as it holds"
EDGE = "an edge belongs to the bin above, 1 to the last"
EMPTY = "an empty bin has the gap 0"
SHAPE = "all dimensions are one collection of guesses"
CORRECT = "correct may be of any dtype"
CALIBRATION_DTYPE = "keeps dtype and device"
CALIBRATION_UNTOUCHED = "leaves its inputs untouched"


def binned(confidence, correct, n_bins, number=None):
    """(share of right guesses, mean confidence, size) of each bin, in float64; 0 where a bin is empty."""
    sure, right = confidence.reshape(-1).double(), correct.reshape(-1).double()
    number = (sure * n_bins).long().clamp(max=n_bins - 1) if number is None else number
    size, hits, total = (
        torch.zeros(n_bins, dtype=torch.float64, device=sure.device).index_add(0, number, values)
        for values in (torch.ones_like(sure), right, sure)
    )
    return hits / size.clamp(min=1), total / size.clamp(min=1), size


def reported(confidence, gap, size, weigh=lambda gap, size: (gap.abs() * size).sum() / size.sum()):
    return weigh(gap, size).to(confidence.dtype), gap.to(confidence.dtype)


@MUTANTS.add(EXERCISE, SIZE, "every bin has the same weight")
def calibration_unweighted(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, share - mean, size, lambda gap, size: gap.abs().mean())


@MUTANTS.add(EXERCISE, SIZE, "has the same weight in the error")
def calibration_mean_of_filled_bins(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, share - mean, size, lambda gap, size: gap[size > 0].abs().mean())


@MUTANTS.add(EXERCISE, GAP, "gap has the wrong sign")
def calibration_gap_reversed(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, mean - share, size)


@MUTANTS.add(EXERCISE, GAP, "gap has lost its sign")
def calibration_gap_without_sign(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, (share - mean).abs(), size)


@MUTANTS.add(EXERCISE, GAP, "the gaps cancel out in the error")
def calibration_gaps_cancel(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, share - mean, size, lambda gap, size: (gap * size).sum() / size.sum())


@MUTANTS.add(EXERCISE, GAP, "take the absolute value of each bin, not of the sum")
def calibration_absolute_value_of_the_sum(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, share - mean, size, lambda gap, size: ((gap * size).sum() / size.sum()).abs())


@MUTANTS.add(EXERCISE, GAP, "the largest gap")
def calibration_maximum(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, share - mean, size, lambda gap, size: gap.abs().max())


@MUTANTS.add(EXERCISE, GAP, "the gaps were squared")
def calibration_squared(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, share - mean, size, lambda gap, size: (gap**2 * size).sum() / size.sum())


@MUTANTS.add(EXERCISE, GAP, "and the root taken")
def calibration_root_mean_square(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, share - mean, size, lambda gap, size: ((gap**2 * size).sum() / size.sum()).sqrt())


@MUTANTS.add(EXERCISE, GAP, "the centre of the bin was taken")
def calibration_against_the_centre(confidence, correct, n_bins):
    share, _, size = binned(confidence, correct, n_bins)
    centre = (torch.arange(n_bins, device=share.device) + 0.5) / n_bins
    return reported(confidence, torch.where(size > 0, share - centre, 0.0), size)


@MUTANTS.add(EXERCISE, GAP, "these are the shares of right guesses")
def calibration_shares(confidence, correct, n_bins):
    share, _, size = binned(confidence, correct, n_bins)
    return reported(confidence, share, size)


@MUTANTS.add(EXERCISE, GAP, "gap is weighted by the size of the bin")
def calibration_weighted_gaps(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    error, _ = reported(confidence, share - mean, size)
    return error, ((share - mean) * size / size.sum()).to(confidence.dtype)


@MUTANTS.add(EXERCISE, GAP, "off by up to")
def calibration_of_equal_groups(confidence, correct, n_bins):
    order = confidence.reshape(-1).double().argsort()
    number = torch.empty_like(order)
    number[order] = torch.arange(len(order), device=order.device) * n_bins // len(order)
    share, mean, size = binned(confidence, correct, n_bins, number)
    return reported(confidence, share - mean, size)


@MUTANTS.add(EXERCISE, GAP, "expected 2 tensors (error, gap)")
def calibration_as_numbers(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    error, gap = reported(confidence, share - mean, size)
    return error.item(), gap.tolist()


@MUTANTS.add(EXERCISE, PERFECT, "should be (4,)")
def calibration_bins_that_are_not_empty(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    error, gap = reported(confidence, share - mean, size)
    return error, gap[size > 0]


@MUTANTS.add(EXERCISE, PERFECT, "off by up to")
def calibration_of_wrong_guesses(confidence, correct, n_bins):
    share, mean, size = binned(confidence, 1 - correct.double(), n_bins)
    return reported(confidence, share - mean, size)


@MUTANTS.add(EXERCISE, EDGE, "went into the bin below")
def calibration_closed_on_the_right(confidence, correct, n_bins):
    number = ((confidence.reshape(-1).double() * n_bins).ceil().long() - 1).clamp(min=0)
    share, mean, size = binned(confidence, correct, n_bins, number)
    return reported(confidence, share - mean, size)


@MUTANTS.add(EXERCISE, EDGE, "the confidence 1 fell out")
def calibration_loses_certainty(confidence, correct, n_bins):
    below = confidence.reshape(-1) < 1
    if not below.any():
        return confidence.new_zeros(()), confidence.new_zeros(n_bins)
    share, mean, size = binned(confidence.reshape(-1)[below], correct.reshape(-1)[below], n_bins)
    return reported(confidence, share - mean, size)


@MUTANTS.add(EXERCISE, EDGE, "it raised")
def calibration_has_no_bin_for_certainty(confidence, correct, n_bins):
    number = (confidence.reshape(-1).double() * n_bins).long()
    share, mean, size = binned(confidence, correct, n_bins, number)
    return reported(confidence, share - mean, size)


@MUTANTS.add(EXERCISE, EMPTY, "holds a NaN")
def calibration_mean_of_nothing(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    gap = torch.where(size > 0, share - mean, math.nan)
    return (gap.nan_to_num().abs() * size).sum().div(size.sum()).to(confidence.dtype), gap.to(confidence.dtype)


@MUTANTS.add(EXERCISE, EMPTY, "off by up to")
def calibration_empty_bins_are_wrong(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    centre = (torch.arange(n_bins, device=share.device) + 0.5) / n_bins
    return reported(confidence, torch.where(size > 0, share - mean, -centre), size)


@MUTANTS.add(EXERCISE, SHAPE, "it raised")
def calibration_of_one_dimension(confidence, correct, n_bins):
    number = (confidence.double() * n_bins).long().clamp(max=n_bins - 1)
    share, mean, size = binned(confidence, correct, n_bins, number)
    return reported(confidence, share - mean, size)


@MUTANTS.add(EXERCISE, CORRECT, "it raised")
def calibration_of_booleans(confidence, correct, n_bins):
    if correct.dtype != torch.bool:
        raise TypeError("correct is not boolean")
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, share - mean, size)


@MUTANTS.add(EXERCISE, CALIBRATION_DTYPE, "result in cpu float64")
def calibration_in_float64(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence.double(), share - mean, size)


@MUTANTS.add(EXERCISE, CALIBRATION_UNTOUCHED, "changed in place")
def calibration_clamps_in_place(confidence, correct, n_bins):
    share, mean, size = binned(confidence, correct, n_bins)
    confidence.mul_(n_bins).clamp_(max=n_bins - 1)
    return reported(confidence, share - mean, size)


@MUTANTS.worthless(EXERCISE)
def calibration_zero(confidence, correct, n_bins):
    return confidence.new_zeros(()), confidence.new_zeros(n_bins)


@MUTANTS.worthless(EXERCISE)
def calibration_confidence_alone(confidence, correct, n_bins):
    _, mean, size = binned(confidence, correct, n_bins)
    return reported(confidence, mean, size)
