"""Right answers to the exercises of the chapter `perplexity`, as different people would write them."""

import itertools
import math

import numpy as np
import torch
from torch.nn import functional as F

# --- shifted_cross_entropy ------------------------------------------------------------------------------------


def loss_by_gather(logits, labels, ignore_index=-100):
    log_p = torch.log_softmax(logits[..., :-1, :], dim=-1)
    targets = labels[..., 1:]
    kept = targets.ne(ignore_index)
    if not kept.any():
        raise ValueError("nothing to score")
    picked = log_p.gather(-1, targets.where(kept, torch.zeros_like(targets)).unsqueeze(-1)).squeeze(-1)
    return -picked[kept].mean(), kept.sum()


def loss_by_loops(logits, labels, ignore_index=-100):
    total, n = 0, np.int64(0)
    rows, targets = logits.flatten(0, -3) if logits.dim() > 2 else logits[None], labels.reshape(-1, labels.shape[-1])
    for text, of_text in zip(rows, targets.tolist(), strict=True):
        for row, label in zip(text[:-1].double(), of_text[1:], strict=True):
            if label != ignore_index:
                total = total + row.logsumexp(0) - row[label]
                n += 1
    if n == 0:
        raise ValueError("every label is ignored")
    return [(total / n).to(logits.dtype), n]


def loss_by_new_labels(logits, labels, ignore_index=-100):
    # the labels are moved instead of cutting the logits; the last row gets a label that is ignored
    moved = torch.cat([labels[..., 1:], torch.full_like(labels[..., :1], ignore_index)], dim=-1)
    n = torch.count_nonzero(moved - ignore_index).item()
    if n < 1:
        raise ValueError(f"all labels are {ignore_index}")
    flat = (
        logits.contiguous().view(-1, logits.size(-1)).float() if logits.dtype.itemsize == 2 else logits.flatten(0, -2)
    )
    loss = F.cross_entropy(flat, moved.contiguous().view(-1), ignore_index=ignore_index, reduction="sum")
    return (loss / n).to(logits.dtype), n


# --- windows --------------------------------------------------------------------------------------------------


def windows_by_ends(n_tokens, max_length, stride):
    if not (max_length >= 2 and 1 <= stride <= max_length):
        raise ValueError(f"max_length={max_length} and stride={stride} do not go together")
    if n_tokens < 2:
        return []
    step = stride if stride < max_length else max_length - 1
    more = max(0, math.ceil((n_tokens - max_length) / step))
    ends = [n_tokens - k * step for k in range(more, -1, -1)]
    return [(max(0, end - max_length), end, 1 if k == 0 else ends[k - 1]) for k, end in enumerate(ends)]


def windows_as_tensor(n_tokens, max_length, stride):
    if max_length < 2:
        raise ValueError(f"A window of {max_length} tokens predicts nothing, whatever the stride ({stride}).")
    if stride < 1 or stride > max_length:
        raise ValueError(f"The stride {stride} is not between 1 and max_length = {max_length}.")
    if n_tokens < 2:
        return torch.empty(0, 3, dtype=torch.int64)
    if n_tokens <= max_length:
        return torch.tensor([[0, n_tokens, 1]])
    step = min(stride, max_length - 1)
    ends = torch.arange(n_tokens, max_length - step, -step).flip(0)
    return torch.stack([(ends - max_length).clamp(min=0), ends, torch.cat([torch.ones(1).long(), ends[:-1]])], dim=1)


def windows_lazily(n_tokens, max_length, stride):
    if stride > max_length or stride < 1 or max_length < 2:
        raise ValueError(f"stride {stride} with max_length {max_length}: targets would be lost")

    def laid():
        step = min(stride, max_length - 1)
        first, end = 1, n_tokens
        while end > max_length:
            end -= step
        while 1 < end <= n_tokens:
            yield [np.int64(max(0, end - max_length)), end, first]
            first, end = end, end + step

    return laid()


def windows_zipped(n_tokens, max_length, stride):
    if stride not in range(1, max_length + 1) or max_length == 1:
        raise ValueError(f"the stride must lie in 1-{max_length}, and {stride} does not, or a window is too short")
    ends = list(range(n_tokens, 1, -min(stride, max_length - 1)))
    while len(ends) > 1 and ends[-2] <= max_length:
        ends.pop()
    ends.reverse()
    return zip([max(0, end - max_length) for end in ends], ends, [1, *ends], strict=False)


# --- strided_perplexity ---------------------------------------------------------------------------------------


def _windows(n_tokens, max_length, stride):
    first = 1
    for begin in range(0, n_tokens - 1, stride):
        end = min(begin + max_length, n_tokens)
        yield begin, end, first
        first = end
        if end == n_tokens:
            return


def corpus_by_probabilities(model, texts, max_length, stride, batch_size):
    jobs = [(text, *window) for text in texts for window in _windows(len(text), max_length, stride)]
    collected = []
    for at in range(0, len(jobs), batch_size):
        group = jobs[at : at + batch_size]
        width = max(end - begin for _, begin, end, _ in group)
        rows = group[0][0].new_ones(len(group), width)
        for i, (text, begin, end, _) in enumerate(group):
            rows[i, : end - begin] = text[begin:end]
        log_p = model(rows).logits.detach().float().log_softmax(-1)
        for i, (text, begin, end, first) in enumerate(group):
            for t in range(first, end):
                collected.append(log_p[i, t - 1 - begin, text[t]].item())
    if not collected:
        raise ValueError("no target")
    return np.exp(-np.mean(collected)), np.int64(len(collected))


@torch.inference_mode()
def corpus_sorted_by_length(model, texts, max_length, stride, batch_size):
    pieces = [(t[b:e], f - b) for t in texts for b, e, f in _windows(t.numel(), max_length, stride)]
    pieces.sort(key=lambda piece: len(piece[0]), reverse=True)
    total, n = torch.zeros((), dtype=torch.float64), 0
    while pieces:
        now, pieces = pieces[:batch_size], pieces[batch_size:]
        longest = len(now[0][0])
        rows = torch.stack([F.pad(ids, (0, longest - len(ids)), value=2) for ids, _ in now])
        logits = model(rows).logits
        losses = F.cross_entropy(logits[:, :-1].double().mT, rows[:, 1:], reduction="none")
        place = torch.arange(1, longest, device=rows.device)
        length = torch.tensor([len(ids) for ids, _ in now], device=rows.device)[:, None]
        first = torch.tensor([f for _, f in now], device=rows.device)[:, None]
        kept = (place >= first) & (place < length)
        total += losses[kept].sum().cpu()
        n += kept.sum()
    if n == 0:
        raise ValueError("there is nothing to score")
    return (total / n).exp(), n


def corpus_by_generator(model, texts, max_length, stride, batch_size):
    def jobs():
        for text in texts:
            for begin, end, first in _windows(len(text), max_length, stride):
                yield text[begin:end].tolist(), first - begin

    queue, log_sum, count = jobs(), [], 0
    device = texts[0].device if texts else None
    while group := list(itertools.islice(queue, batch_size)):
        width = max(len(ids) for ids, _ in group)
        padded = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in group], device=device)
        with torch.no_grad():
            out = model(padded).logits
        for row, (ids, first) in zip(out, group, strict=True):
            rows = row[first - 1 : len(ids) - 1].to(torch.float64)
            targets = torch.tensor(ids[first:], device=rows.device)
            log_sum.append(F.cross_entropy(rows, targets, reduction="sum").item())
            count += len(targets)
    if count == 0:
        raise ValueError("the texts hold no target")
    return [math.exp(math.fsum(log_sum) / count), count]


def corpus_in_evaluation_mode(model, texts, max_length, stride, batch_size):
    training, device = model.training, next(model.parameters()).device
    model.eval()
    nll = []
    try:
        jobs = [(t[b:e], f - b) for t in texts for b, e, f in _windows(len(t), max_length, stride)]
        for start in range(0, len(jobs), batch_size):
            group = jobs[start : start + batch_size]
            rows = torch.zeros(len(group), max_length, dtype=torch.int64, device=device)
            kept = torch.zeros_like(rows, dtype=torch.bool)
            for row, (ids, first) in enumerate(group):
                rows[row, : len(ids)] = ids
                kept[row, first : len(ids)] = True
            with torch.inference_mode():
                log_p = torch.log_softmax(model(rows).logits.float(), dim=-1)
            picked = log_p[:, :-1].gather(-1, rows[:, 1:, None])[..., 0]
            nll.append(-picked[kept[:, 1:]])
        if not nll:
            raise ValueError("no target in any text")
    finally:
        model.train(training)
    nll = torch.cat(nll)
    return nll.mean().exp(), nll.numel()


# --- bits_per_byte --------------------------------------------------------------------------------------------


def bits_with_numpy(nll, text):
    n_bytes = len("".join(text).encode())
    if len(nll) != len(text) or n_bytes == 0:
        raise ValueError("nothing to divide by, or lists of different length")
    return np.concatenate([t.double().cpu().numpy() for t in nll]).sum() / np.log(2) / n_bytes


def bits_by_loops(nll, text):
    bits, n_bytes = 0.0, 0
    for tensor, string in zip(nll, text, strict=True):
        bits += math.fsum(nats / math.log(2) for nats in tensor.tolist())
        n_bytes += len(bytes(string, "utf-8"))
    if not n_bytes:
        raise ValueError("no bytes")
    return bits / n_bytes


def bits_as_tensor(nll, text):
    if len(nll) != len(text) or not any(text):
        raise ValueError("the lists do not fit together or hold no byte")
    nats = torch.cat([t.to(torch.float64) for t in nll]).sum()
    return nats * math.log2(math.e) / sum(len(t.encode()) for t in text)


# --- calibration_error ----------------------------------------------------------------------------------------


def calibration_by_loops(confidence, correct, n_bins):
    sure, right = confidence.flatten().tolist(), correct.flatten().tolist()
    gaps, error = [], 0.0
    for b in range(n_bins):
        held = [i for i, c in enumerate(sure) if b / n_bins <= c and (c < (b + 1) / n_bins or b == n_bins - 1)]
        gap = sum(float(right[i]) - sure[i] for i in held) / len(held) if held else 0.0
        gaps.append(gap)
        error += abs(gap) * len(held) / len(sure)
    return torch.tensor(error).to(confidence), torch.tensor(gaps).to(confidence)


def calibration_by_bincount(confidence, correct, n_bins):
    c, r = confidence.ravel().float(), correct.ravel().float()
    edges = torch.linspace(0, 1, n_bins + 1, device=c.device)
    bins = torch.bucketize(c, edges[1:-1].contiguous(), right=True)
    held = torch.bincount(bins, minlength=n_bins)
    difference = torch.bincount(bins, weights=r - c, minlength=n_bins)
    gap = difference / held.clamp(min=1)
    error = difference.abs().sum() / c.numel()
    return [error.to(confidence.dtype), gap.to(confidence.dtype)]


def calibration_by_one_hot(confidence, correct, n_bins):
    c, r = confidence.reshape(-1), correct.reshape(-1).to(confidence.dtype)
    member = F.one_hot((c * n_bins).floor().long().clamp_max(n_bins - 1), n_bins).to(c.dtype)  # (N, n_bins)
    held = member.sum(0)
    gap = torch.where(held > 0, ((r - c) @ member) / held.clamp(min=1), torch.zeros_like(held))
    return (gap.abs() * held).sum() / len(c), gap


ANSWERS = {
    "shifted_cross_entropy": [loss_by_gather, loss_by_loops, loss_by_new_labels],
    "windows": [windows_by_ends, windows_as_tensor, windows_lazily, windows_zipped],
    "strided_perplexity": [
        corpus_by_probabilities,
        corpus_sorted_by_length,
        corpus_by_generator,
        corpus_in_evaluation_mode,
    ],
    "bits_per_byte": [bits_with_numpy, bits_by_loops, bits_as_tensor],
    "calibration_error": [calibration_by_loops, calibration_by_bincount, calibration_by_one_hot],
}
