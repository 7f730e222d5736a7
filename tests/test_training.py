"""Training: it learns, what it learns from, and that an interruption changes nothing."""

import math
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from insidegpt import training
from insidegpt.cli import app
from insidegpt.errors import UserError
from insidegpt.storyworld import STORY_WORLD
from insidegpt.tokenizer import END_OF_TEXT
from insidegpt.training import CHECKPOINT, NOT_SCORED, Length, Recipe, drill_row, story_row, train, training_rows

SMALL = Recipe(
    n_layer=2,
    n_embd=32,
    n_head=2,
    vocabulary=2000,
    tokenizer_stories=200,
    rows=4,
    learning_rate=1e-2,
    warm_up=5,
    steps_between_validations=10,
    validation_stories=2,
    test_stories=2,
)


def with_(**changes) -> Recipe:
    return Recipe(**vars(SMALL) | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A small model after 30 steps in one go."""
    out = tmp_path_factory.mktemp("trained") / "model"
    train(out, Length(steps=30), SMALL)
    return out


@pytest.fixture(scope="module")
def tokenizer():
    return training.make_tokenizer(SMALL)


def curve(folder: Path) -> list[dict[str, float]]:
    names, *rows = (line.split(",") for line in (folder / training.CURVE).read_text().splitlines())
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def test_the_loss_falls_from_that_of_a_guess(trained):
    losses = [row["train_loss"] for row in curve(trained)]
    assert losses[0] < math.log(2000) + 0.5
    assert losses[-1] < losses[0] - 0.5


def test_the_source_is_a_floor_that_the_model_stays_above(trained):
    for row in curve(trained):
        assert 1 < row["source_en"] < row["perplexity_en"]
        assert 1 < row["source_zh"] < row["perplexity_zh"]


def test_the_result_is_a_folder_that_transformers_loads(trained):
    model = AutoModelForCausalLM.from_pretrained(trained)
    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert model.config.activation_function == "gelu_new"
    assert model.config.eos_token_id == tokenizer.eos_token_id == tokenizer(END_OF_TEXT).input_ids[0]
    assert model.generate(**tokenizer("Once", return_tensors="pt"), max_new_tokens=3).shape[1] > 1
    assert "| English |" in (trained / "README.md").read_text(encoding="utf-8")
    assert not (trained / CHECKPOINT).exists()


def test_a_run_that_is_killed_goes_on_to_the_same_weights(trained, tmp_path):
    out = tmp_path / "model"
    code = f"""
import os, signal
from pathlib import Path
from insidegpt import training
from insidegpt.cli import app
from test_training import SMALL

training.SECONDS_BETWEEN_CHECKPOINTS = 0
learn_step = training.learn_step

def killed_in_step_17(run, *batch):
    if run.step == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return learn_step(run, *batch)

training.learn_step = killed_in_step_17
training.train(Path({str(out)!r}), training.Length(steps=30), SMALL)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path])}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert torch.load(out / CHECKPOINT)["step"] == 17
    train(out, Length(steps=30), SMALL)
    for file in ("model.safetensors", training.CURVE):
        assert (out / file).read_bytes() == (trained / file).read_bytes()


def test_ctrl_c_ends_the_step_saves_and_the_next_run_ends_with_the_same_weights(trained, tmp_path, monkeypatch):
    out = tmp_path / "model"
    learn_step = training.learn_step

    def pressed_in_step_7(run, *batch):
        if run.step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return learn_step(run, *batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "learn_step", pressed_in_step_7)
        train(out, Length(steps=30), SMALL)
    assert torch.load(out / CHECKPOINT)["step"] == 8
    train(out, Length(steps=30), SMALL)
    ours, theirs = load_file(out / "model.safetensors"), load_file(trained / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "finish", lambda *_: pytest.skip("unreachable"))
    tokenizer = training.make_tokenizer(SMALL)
    training.begin(SMALL, tokenizer, torch.device("cpu")).save(tmp_path / CHECKPOINT)
    with pytest.raises(UserError, match="another recipe"):
        train(tmp_path, Length(steps=1), with_(seed=1))


def test_a_finished_model_is_never_written_over(trained):
    before = (trained / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="finished model"):
        train(trained, Length(steps=1), SMALL)
    assert (trained / "model.safetensors").read_bytes() == before


def test_minutes_end_a_run_too(tmp_path):
    train(tmp_path, Length(minutes=1 / 60), SMALL)
    assert (tmp_path / "model.safetensors").exists()


def test_rows_are_the_same_whenever_they_are_drawn_and_differ_from_step_to_step(tokenizer):
    inputs, targets = training_rows(tokenizer, SMALL, 3)
    assert inputs.shape == targets.shape == (SMALL.rows, SMALL.context)
    assert torch.equal(inputs, training_rows(tokenizer, SMALL, 3)[0])
    assert torch.equal(targets, training_rows(tokenizer, SMALL, 3)[1])
    assert not torch.equal(inputs, training_rows(tokenizer, SMALL, 4)[0])


def test_one_row_of_each_step_is_a_drill_and_in_the_others_every_token_is_predicted(tokenizer):
    for step in range(2 * SMALL.rows):
        _, targets = training_rows(tokenizer, SMALL, step)
        drills = (targets == NOT_SCORED).any(dim=1).nonzero().flatten().tolist()
        assert drills == [step % SMALL.rows]


@pytest.mark.parametrize("row", [story_row, drill_row])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_to_be_predicted_is_the_token_one_place_further_on(tokenizer, row, language):
    for seed in range(20):
        ids, targets = row(tokenizer, 64, random.Random(seed), language)
        assert len(ids) == len(targets) == 64
        assert all(target in (following, NOT_SCORED) for following, target in zip(ids[1:], targets[:-1], strict=True))


def test_a_drill_repeats_different_tokens_and_scores_only_what_came_before(tokenizer):
    lengths = set()
    for seed in range(200):
        ids, targets = drill_row(tokenizer, 256, random.Random(seed), "en")
        length = ids.index(ids[0], 1)
        lengths.add(length)
        assert len(set(ids)) == length and ids[length:] == ids[:-length]
        assert [target == NOT_SCORED for target in targets] == [i < length for i in range(256)]
    assert min(lengths) == 3 and max(lengths) > 56


def test_story_rows_begin_with_the_mark_with_a_story_and_inside_one(tokenizer):
    rng = random.Random(0)
    texts = tokenizer.batch_decode([story_row(tokenizer, 64, rng, ("en", "zh")[i % 2])[0] for i in range(100)])
    openings = {text[:3] for story in STORY_WORLD.stories(500, 0) for text in (story.text("en"), story.text("zh"))}
    with_mark = sum(text.startswith(END_OF_TEXT) for text in texts)
    with_story = sum(text.startswith(tuple(openings)) for text in texts)
    assert 35 < with_mark < 65
    assert 12 < with_story < 45
    assert len(texts) - with_mark - with_story > 10


@pytest.mark.parametrize("language", ["en", "zh"])
def test_story_rows_are_in_one_language_and_all_their_stories_from_the_training_split(tokenizer, language):
    for seed in range(4):
        row = tokenizer.decode(story_row(tokenizer, 400, random.Random(seed), language)[0])
        whole = [story for story in row.split(END_OF_TEXT)[1:-1] if story]
        assert whole
        for story in whole:
            assert STORY_WORLD.log_probability(story, language, "train") > -math.inf


def test_the_command_trains_and_says_where_the_model_is(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "Recipe", lambda: SMALL)
    ran = CliRunner().invoke(app, ["train", "--steps", "2", "--out", str(tmp_path / "model")])
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.splitlines()[-1].endswith(str(tmp_path / "model"))
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_the_command_says_after_ctrl_c_where_it_stopped_and_how_to_go_on(tmp_path, monkeypatch):
    learn_step = training.learn_step

    def pressed(run, *batch):
        os.kill(os.getpid(), signal.SIGINT)
        return learn_step(run, *batch)

    monkeypatch.setattr(training, "Recipe", lambda: SMALL)
    monkeypatch.setattr(training, "learn_step", pressed)
    ran = CliRunner().invoke(app, ["train", "--steps", "2", "--out", str(tmp_path)])
    assert ran.exit_code == 130
    assert "Stopped after step 1; the same command goes on from there." in ran.stdout
    assert "Traceback" not in ran.output


def test_the_command_refuses_a_device_that_does_not_exist(tmp_path):
    ran = CliRunner().invoke(app, ["train", "--device", "abacus", "--out", str(tmp_path)])
    assert ran.exit_code == 2 and ran.stderr.count("\n") == 1 and "abacus" in ran.stderr
