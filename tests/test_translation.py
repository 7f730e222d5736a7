"""Translation with a decoder alone: what a pair looks like as one sequence, what is unseen, what the model can do."""

import dataclasses
import itertools
import random

import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

from insidegpt import translation
from insidegpt.errors import UserError
from insidegpt.models import SHIPPED, model_name
from insidegpt.storyworld import STORY_WORLD
from insidegpt.translation import (
    TRANSLATOR,
    begin,
    draw_pairs,
    finish,
    learn,
    load_translator,
    main,
    make_recipe,
    pack,
    story_pairs,
    training_parts,
    translate,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(SHIPPED)


@pytest.fixture(scope="module")
def translator():
    return load_translator()


@pytest.fixture(scope="module")
def unseen():
    return story_pairs(100, seed=1, split="test")


# The pairs


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_pairs_are_different_sentences_of_the_splits_stories_side_by_side(split):
    pairs = story_pairs(300, seed=0, split=split)
    assert len(pairs) == len(set(pairs)) == 300
    told = {(en.strip(), zh.strip()) for story in STORY_WORLD.stories(600, 0, split) for en, zh in story.sentences}
    assert set(pairs) <= told


def test_the_same_seed_gives_the_same_pairs_and_another_seed_others():
    assert story_pairs(50, seed=3) == story_pairs(50, seed=3) == story_pairs(60, seed=3)[:50]
    assert story_pairs(50, seed=3) != story_pairs(50, seed=4)


def test_a_sentence_of_the_test_is_in_no_other_split_whatever_the_seed():
    seen = {source for seed in range(2) for source, _ in story_pairs(6000, seed, "train")}
    validated = {source for source, _ in story_pairs(600, 2, "validation")}
    tested = {source for seed in range(3) for source, _ in story_pairs(600, seed, "test")}
    assert not tested & seen
    assert not tested & validated
    assert not validated & seen


def test_stories_of_both_splits_share_sentences_so_the_split_of_the_stories_alone_would_not_do():
    told = [
        {pair for story in STORY_WORLD.stories(500, 0, split) for pair in story.sentences}
        for split in ("train", "test")
    ]
    assert told[0] & told[1]


def test_what_is_unseen_is_the_sentence_and_hardly_ever_a_word():
    def words(source):
        return {word.strip('.,?!:"') for word in source.split()}

    seen = set().union(*(words(source) for source, _ in story_pairs(15_000, 0, "train")))
    tested = story_pairs(1000, 0, "test")
    assert sum(words(source) <= seen for source, _ in tested) > 0.99 * len(tested)


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no split 'tests'"):
        story_pairs(1, 0, "tests")


# A pair as one sequence


def test_a_pair_is_source_separator_target_and_end_and_only_target_and_end_are_scored(tokenizer):
    ids, labels = pack("He liked singing.", "他喜欢唱歌。", tokenizer)
    assert tokenizer.decode(ids) == " He liked singing.\n他喜欢唱歌。<|endoftext|>"
    answer = tokenizer("他喜欢唱歌。<|endoftext|>").input_ids
    assert ids[-len(answer) :] == answer
    assert labels == [-100] * (len(ids) - len(answer)) + answer


def test_the_separator_is_one_token_that_no_sentence_has(tokenizer):
    (separator,) = tokenizer("\n").input_ids
    for pair in story_pairs(500, 0):
        ids, labels = pack(*pair, tokenizer)
        assert ids.count(separator) == 1 and labels[ids.index(separator)] == -100


def test_the_separator_does_not_change_how_source_and_target_are_cut(tokenizer):
    for source, target in story_pairs(200, 0):
        parts = tokenizer([f" {source}", "\n", f"{target}<|endoftext|>"]).input_ids
        assert pack(source, target, tokenizer)[0] == [*itertools.chain(*parts)]


def test_a_sentence_with_a_line_break_is_refused(tokenizer):
    for pair in (("Dear Tom,\nI am well.", "好"), ("I am well.", "好\n")):
        with pytest.raises(UserError, match="line break"):
            pack(*pair, tokenizer)


# Learning


def test_a_step_learns_every_target_once_and_wastes_little_on_padding(tokenizer):
    recipe = make_recipe()
    parts = training_parts(tokenizer, recipe, 5)
    drawn = [*itertools.islice(draw_pairs(random.Random(f"{recipe.seed} 5"), "train"), recipe.rows)]
    expected = sorted(target for _, target in drawn)
    rows = [row for _, targets in parts for row in targets]
    assert sorted(tokenizer.decode(row[row != -100][:-1]) for row in rows) == expected
    assert all((row[row != -100][-1] == tokenizer.eos_token_id) for row in rows)
    used = sum(len(pack(*pair, tokenizer)[0]) - 1 for pair in drawn)
    assert used / sum(inputs.numel() for inputs, _ in parts) > 0.75


def test_targets_are_the_tokens_one_place_further_on(tokenizer):
    for inputs, targets in training_parts(tokenizer, make_recipe(), 1):
        following, predicted = inputs[:, 1:], targets[:, :-1]
        within = (predicted != -100) & (predicted != tokenizer.eos_token_id)
        assert within.any() and torch.equal(following[within], predicted[within])


def learnt(tokenizer, steps, **changes):
    run = begin(dataclasses.replace(make_recipe(), **changes), CPU)
    learn(run, tokenizer, steps)
    return run


def test_three_steps_lower_the_loss(tokenizer):
    losses = learnt(tokenizer, 3, warm_up=1).losses
    print(losses)
    assert len(losses) == 3 and losses[2] < losses[0] - 0.5


def test_the_same_seed_gives_the_same_weights_and_another_one_others(tokenizer):
    first, again, other = (learnt(tokenizer, 2, rows=8, seed=seed) for seed in (1, 1, 2))
    assert first.losses == again.losses != other.losses
    for ours, theirs in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_is_written_is_half_the_size_and_has_a_card_with_its_scores(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(translation, "TEST_PAIRS", 5)
    finish(learnt(tokenizer, 2, rows=8), tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 7_500_000
    assert GPT2LMHeadModel.from_pretrained(tmp_path / "model").config.activation_function == "gelu_new"
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "2 steps of 8 pairs, 16 pairs" in card and "on 5 different pairs" in card and "chrF" in card


def test_a_finished_model_is_never_written_over():
    with pytest.raises(UserError, match="finished model"):
        main(TRANSLATOR)


# The shipped translator


def test_it_shares_the_shipped_tokenizer_and_takes_half_of_the_space(translator):
    model, tokenizer = translator
    assert model_name(model) == "story-translator" and not model.training
    assert next(model.parameters()).dtype == torch.float32
    assert tokenizer.eos_token_id == model.config.eos_token_id
    assert not (TRANSLATOR / "tokenizer.json").exists()
    assert (TRANSLATOR / "model.safetensors").stat().st_size < 7_500_000


def test_most_unseen_sentences_are_translated_exactly(translator, unseen):
    sources, references = zip(*unseen, strict=True)
    exact = sum(a == b for a, b in zip(translate(*translator, sources), references, strict=True))
    print(f"{exact} of {len(unseen)}")
    assert exact >= 90


def test_the_gpt2_it_was_made_from_translates_none(unseen):
    from insidegpt.models import load_model

    sources, references = zip(*unseen[:20], strict=True)
    assert not any(a == b for a, b in zip(translate(*load_model(SHIPPED), sources), references, strict=True))


def test_a_translation_is_the_same_alone_and_beside_others(translator, unseen):
    sources = [source for source, _ in unseen[:24]]
    together = translate(*translator, sources)
    assert together == [translate(*translator, [source])[0] for source in sources]
    assert together[::-1] == translate(*translator, sources[::-1])


def test_translating_is_greedy(translator, unseen):
    model, tokenizer = translator
    source = unseen[0][0]
    ids = tokenizer(f" {source}\n").input_ids
    start = len(ids)
    while ids[-1] != tokenizer.eos_token_id:
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert translate(model, tokenizer, [source]) == [tokenizer.decode(ids[start:-1])]


def test_a_translation_is_cut_off_after_so_many_tokens(translator, unseen):
    model, tokenizer = translator
    source = unseen[0][0]
    whole = translate(model, tokenizer, [source])[0]
    assert translate(model, tokenizer, [source], max_new_tokens=2) == [tokenizer.decode(tokenizer(whole).input_ids[:2])]


def test_no_sentences_have_no_translations(translator):
    assert translate(*translator, []) == []


def test_what_cannot_be_translated_is_refused_with_a_reason(translator):
    with pytest.raises(UserError, match="line break"):
        translate(*translator, ["Dear Tom,\nI am well."])
    with pytest.raises(UserError, match="shorten it"):
        translate(*translator, ["word " * 250])
