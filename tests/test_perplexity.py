"""Sliding windows, and the perplexity scored in them, against brute force and the well-known loop."""

import math
from copy import deepcopy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from insidegpt.errors import UserError
from insidegpt.perplexity import Window, sliding_windows, strided_perplexity

POSITIONS = 12
LENGTHS = [2, 3, POSITIONS - 1, POSITIONS, POSITIONS + 1, 2 * POSITIONS - 1, 2 * POSITIONS, 2 * POSITIONS + 1, 50]
STRIDES = [1, 5, POSITIONS // 2, POSITIONS - 1, POSITIONS]


@pytest.fixture(scope="module")
def model():
    """A GPT-2 with random weights, large enough that what it predicts depends on all it reads."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=40, n_positions=POSITIONS, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5)
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def ids():
    """Fifty random tokens."""
    return torch.randint(40, (50,), generator=torch.Generator().manual_seed(1))


def nats_of(model, context, target) -> float:
    """-ln P of one token after its context, from the model's own logits."""
    with torch.no_grad():
        return -model(context[None]).logits[0, -1].double().log_softmax(-1)[target].item()


def well_known_loop(model, ids, max_length, stride) -> float:
    """The value of https://huggingface.co/docs/transformers/perplexity: labels, -100, and the mean of window means."""
    means, end = [], 0
    for begin in range(0, len(ids), stride):
        before, end = end, min(begin + max_length, len(ids))
        window = ids[None, begin:end]
        labels = window.clone()
        labels[:, : -(end - before)] = -100
        with torch.no_grad():
            means.append(model(window, labels=labels).loss)
        if end == len(ids):
            break
    return torch.stack(means).mean().exp().item()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("n_tokens", LENGTHS)
def test_every_target_is_scored_once_with_the_most_context(n_tokens, stride):
    windows = sliding_windows(n_tokens, POSITIONS, stride)
    scored = [(target, w) for w in windows for target in range(w.first, w.end)]
    assert [target for target, _ in scored] == list(range(1, n_tokens))
    for target, window in scored:
        contexts = [target - w.begin for w in windows if w.begin < target < w.end]
        assert target - window.begin == max(contexts)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("n_tokens", LENGTHS)
def test_windows_are_full_but_for_the_last_and_lie_within_the_text(n_tokens, stride):
    windows = sliding_windows(n_tokens, POSITIONS, stride)
    assert all(w.end - w.begin == POSITIONS for w in windows[:-1])
    assert 0 < windows[-1].end - windows[-1].begin <= POSITIONS
    assert (windows[0].begin, windows[-1].end) == (0, n_tokens)


def test_a_text_as_long_as_the_window_is_read_whole():
    assert sliding_windows(POSITIONS, POSITIONS, 3) == [Window(0, POSITIONS, 1)]


def test_one_token_more_than_the_window_takes_a_second_window():
    assert sliding_windows(POSITIONS + 1, POSITIONS, 5) == [
        Window(0, POSITIONS, 1),
        Window(5, POSITIONS + 1, POSITIONS),
    ]


def test_a_stride_as_long_as_the_window_loses_no_target_at_the_seam():
    assert sliding_windows(20, 10, 10) == [Window(0, 10, 1), Window(9, 19, 10), Window(18, 20, 19)]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("n_tokens", LENGTHS)
def test_nats_are_those_of_each_target_alone(model, ids, n_tokens, stride):
    text = ids[:n_tokens]
    scores = strided_perplexity(model, text, stride)
    windows = sliding_windows(n_tokens, POSITIONS, stride)
    nats = math.fsum(nats_of(model, text[w.begin : t], text[t]) for w in windows for t in range(w.first, w.end))
    assert (scores.n_targets, scores.windows) == (n_tokens - 1, len(windows))
    assert scores.nats == pytest.approx(nats, rel=1e-5)
    assert scores.perplexity == pytest.approx(math.exp(nats / (n_tokens - 1)), rel=1e-4)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("n_tokens", LENGTHS)
def test_the_recipe_is_the_well_known_loops(model, ids, n_tokens, stride):
    recipe = strided_perplexity(model, ids[:n_tokens], stride).recipe
    assert recipe == pytest.approx(well_known_loop(model, ids[:n_tokens], POSITIONS, stride), rel=1e-4, nan_ok=True)


def test_the_recipe_is_not_a_number_where_its_last_window_has_no_target(model, ids):
    scores = strided_perplexity(model, ids[: 2 * POSITIONS + 1], POSITIONS)
    assert math.isnan(scores.recipe)
    assert math.isfinite(scores.perplexity)


@pytest.mark.parametrize("batch_size", [2, 3, 8, 100])
@pytest.mark.parametrize("stride", STRIDES)
def test_the_batch_size_changes_nothing(model, ids, stride, batch_size):
    alone, together = (strided_perplexity(model, ids, stride, batch_size=size) for size in (1, batch_size))
    assert together.nats == pytest.approx(alone.nats, rel=1e-6)
    assert together.recipe == pytest.approx(alone.recipe, rel=1e-5, nan_ok=True)


def test_a_shorter_window_is_a_shorter_context(model, ids):
    scores = strided_perplexity(model, ids, 1, max_length=2)
    assert scores.windows == len(ids) - 1
    assert scores.nats == pytest.approx(
        sum(nats_of(model, ids[t - 1 : t], ids[t]) for t in range(1, len(ids))), rel=1e-5
    )


def test_a_row_of_ids_is_a_text_too(model, ids):
    assert strided_perplexity(model, ids[None], 6) == strided_perplexity(model, ids, 6)


def test_logits_are_made_only_where_a_target_is_scored(model, ids):
    rows = []
    hook = model.lm_head.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    strided_perplexity(model, ids, 3)
    hook.remove()
    first, second, *rows = rows  # whether the head is a plain one is tried on the text's beginning
    assert first == second == 1
    assert sum(rows) == len(ids) - 1


def test_a_model_that_bends_its_logits_is_refused(model, ids):
    class Capped(GPT2LMHeadModel):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            out.logits = out.logits.tanh()
            return out

    with pytest.raises(UserError, match=r"Capped does more to its logits.*不只是"):
        strided_perplexity(Capped(model.config).eval(), ids, 3)


def test_no_more_windows_than_the_batch_size_are_read_at_a_time(model, ids):
    shapes = []
    hook = model.transformer.register_forward_pre_hook(lambda module, args: shapes.append(args[0].shape))
    strided_perplexity(model, ids, 3, batch_size=4)
    hook.remove()
    assert max(rows for rows, _ in shapes) == 4
    assert all(length < POSITIONS for _, length in shapes)


def test_progress_counts_windows_to_the_last(model, ids):
    seen = []
    scores = strided_perplexity(model, ids, 5, batch_size=3, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (scores.windows, scores.windows)


def test_bfloat16_comes_near(model, ids):
    exact, rounded = (strided_perplexity(m, ids, 6).nats for m in (model, deepcopy(model).to(torch.bfloat16)))
    assert rounded == pytest.approx(exact, rel=0.02)
    assert rounded != exact


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_gives_the_same_number(model, ids):
    here, there = (strided_perplexity(m, ids, 5).nats for m in (model, deepcopy(model).cuda()))
    assert there == pytest.approx(here, rel=1e-4)


def test_ids_and_weights_are_left_as_they_were(model, ids):
    before = ids.clone()
    strided_perplexity(model, ids, 5)
    assert torch.equal(ids, before)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("n_tokens", "max_length", "stride", "words"),
    [
        (0, 8, 4, "takes two at least"),
        (1, 8, 4, "takes two at least"),
        (9, 1, 1, "predicts nothing"),
        (9, 8, 9, "A stride of 9"),
        (9, 8, 0, "A stride of 0"),
        (9, 8, -1, "A stride of -1"),
        (9, POSITIONS + 1, 4, f"has {POSITIONS} positions"),
    ],
)
def test_lengths_that_cannot_be_are_refused_in_one_sentence(model, ids, n_tokens, max_length, stride, words):
    with pytest.raises(UserError, match=words):
        strided_perplexity(model, ids[:n_tokens], stride, max_length)


def test_a_stride_longer_than_the_window_is_refused():
    with pytest.raises(UserError, match="步长 9"):
        sliding_windows(20, 8, 9)
