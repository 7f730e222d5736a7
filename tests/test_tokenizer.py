"""The tokenizer: byte-level, reproducible, and made for both languages."""

import random
import re
import sys

import pytest

from insidegpt.storyworld import STORY_WORLD
from insidegpt.tokenizer import END_OF_TEXT, VOCABULARY_SIZE, fertility, pretrained, train_tokenizer

TEXTS = [story.text(language) for story in STORY_WORLD.stories(1500, 1, "train") for language in ("en", "zh")]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS)


def random_strings(n, seed=0):
    rng = random.Random(seed)
    alphabets = [range(128), range(0x4E00, 0xA000), range(0x2000, 0x2070), range(0x1F300, 0x1F700), range(0x110000)]
    for _ in range(n):
        points = (rng.choice(rng.choice(alphabets)) for _ in range(rng.randrange(40)))
        yield "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


def test_every_string_comes_back(tokenizer):
    for text in random_strings(2000):
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_every_character_comes_back(tokenizer):
    for start in range(0, sys.maxunicode, 4096):
        text = "".join(chr(i) for i in range(start, start + 4096) if not 0xD800 <= i < 0xE000)
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_the_same_texts_give_the_same_file(tokenizer, tmp_path):
    for name, made in (("one", tokenizer), ("two", train_tokenizer(TEXTS))):
        pretrained(made).save_pretrained(tmp_path / name)
    assert (tmp_path / "one/tokenizer.json").read_bytes() == (tmp_path / "two/tokenizer.json").read_bytes()


def test_transformers_loads_the_file(tokenizer, tmp_path):
    from transformers import PreTrainedTokenizerFast

    pretrained(tokenizer).save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for text in [*TEXTS[:20], *random_strings(50, seed=1)]:
        assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
        assert loaded.decode(loaded(text)["input_ids"]) == text
    assert loaded.eos_token == END_OF_TEXT


def test_end_of_text_is_one_token_and_the_last(tokenizer):
    assert tokenizer.get_vocab_size() == VOCABULARY_SIZE
    assert tokenizer.token_to_id(END_OF_TEXT) == VOCABULARY_SIZE - 1
    assert tokenizer.encode(TEXTS[0] + END_OF_TEXT).ids[-1] == VOCABULARY_SIZE - 1


def test_punctuation_and_particles_stand_alone(tokenizer):
    for text in TEXTS[:200]:
        for token in map(tokenizer.decode, ([i] for i in tokenizer.encode(text).ids)):
            assert not re.search(r"[。，？！：“”的了着过].|.[。，？！：“”的了着过]|\w[.,?!:\"]", token), token


def test_names_and_frequent_words_are_single_tokens(tokenizer):
    for word in (" Hannah", " Xiaoming", " because", " robot", "小明", "汉娜", "机器人", "网球"):
        assert len(tokenizer.encode(word).ids) == 1, word


def test_a_word_takes_less_than_one_and_a_half_tokens(tokenizer):
    held_out = list(STORY_WORLD.stories(200, 2, "test"))
    assert 1 < fertility(tokenizer, [story.text("en") for story in held_out], "en") < 1.5
    assert 0.3 < fertility(tokenizer, [story.text("zh") for story in held_out], "zh") < 0.8
