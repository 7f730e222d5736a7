"""The story world as a source: its probabilities are exact, its splits disjoint, its stories reproducible."""

import math
import random
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

from insidegpt.storyworld import STORY_WORLD, vocabulary
from insidegpt.storyworld.grammar import Plot, among, given, maybe, momentary, one_of, say, unlike
from insidegpt.storyworld.measures import best_token_accuracy, entropy, estimate_perplexity
from insidegpt.storyworld.source import SPLITS, Source
from insidegpt.tokenizer import train_tokenizer

LANGUAGES = ["en", "zh"]


@pytest.fixture(scope="module")
def small():
    """A source that can be enumerated, with a choice and a word that only English shows."""
    variables = {
        "hero": among(vocabulary.PEOPLE[15:25]),
        "friend": unlike(vocabulary.PEOPLE[15:25], "hero"),
        "winner": given("hero", "friend")(lambda *both: both),
        "thing": among(vocabulary.THINGS[:10]),
        "colour": among(vocabulary.COLOURS),
        "someone": momentary(vocabulary.PEOPLE[:2]),
    }
    story = [
        say("{hero} has {colour.a} {thing}.", "{hero}有一{thing.cl}{colour}{thing}。"),
        one_of(say("{hero.He} is glad.", "{hero.he}很高兴。"), say("{hero.He} is happy.", "{hero.he}很高兴。")),
        maybe([say("{someone} has left.", "有人走了。"), say("{someone} came.", "{someone}来了。")]),
    ]
    contest = [
        say("{hero} has {colour.a} {thing}.", "{hero}有一{thing.cl}{colour}{thing}。"),
        one_of(say("{winner} wins.", "{winner}赢。"), say("It is over.", "完了。"), weights=[3, 1]),
    ]
    key = ("hero", "thing", "colour")
    return Source([Plot("glad", key, story), Plot("contest", key, contest)], variables)


@pytest.fixture(scope="module")
def distribution(small):
    """language → {text: probability} of the small source, by enumerating every derivation."""
    totals = {language: defaultdict(float) for language in LANGUAGES}
    for language in LANGUAGES:
        for text, p in small.texts(language):
            totals[language][text] += p
    return totals


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_probabilities_of_all_texts_sum_to_one(distribution, language):
    assert math.fsum(distribution[language].values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("language", LANGUAGES)
def test_scoring_agrees_with_enumerating(small, distribution, language):
    for text in random.Random(1).sample(sorted(distribution[language]), 300):
        assert math.exp(small.log_probability(text, language)) == pytest.approx(distribution[language][text])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("part", ["first name", "what follows the first sentence"])
def test_stories_are_as_frequent_as_they_are_probable(small, distribution, language, part):
    stop = {"en": ".", "zh": "。"}[language]

    def group(text):
        return text[:3] if part == "first name" else text.partition(stop)[2]

    expected, n = Counter(), 20_000
    for text, p in distribution[language].items():
        expected[group(text)] += p
    counts = Counter(group(story.text(language)) for story in small.stories(n, seed=0))
    assert set(counts) <= set(expected)
    for what, p in expected.items():
        assert abs(counts[what] - n * p) < 5 * math.sqrt(n * p * (1 - p)) + 1, what


def test_derivations_with_the_same_text_are_added(small):
    zoe, glad, happy = "Zoe has a red kite.", " She is glad.", " She is happy."
    zh = small.log_probability("佐伊有一只红色的风筝。她很高兴。", "zh")
    en = [small.log_probability(zoe + mood, "en") for mood in (glad, happy)]
    assert math.exp(zh) == pytest.approx(sum(map(math.exp, en)))
    assert math.exp(zh) == pytest.approx(1 / 2 * 1 / 1000 * 1 / 2)


def test_a_word_that_one_language_does_not_show_is_summed_over(small):
    en = small.log_probability("Zoe has a red kite. She is glad. Anna has left. Alice came.", "en")
    zh = small.log_probability("佐伊有一只红色的风筝。她很高兴。有人走了。爱丽丝来了。", "zh")
    assert zh == pytest.approx(en + math.log(2) + math.log(2))  # glad or happy, and two people who can have left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Zoe has a red kite.",
        "Zoe has a red kite. She is glad",
        "Zoe has an red kite. She is glad.",
        "Zoe has a red kite. He is glad.",
        "Zoe has a red kite. She is glad. Zoe has left. Anna came.",
        "Zoe has a red kite. She is glad. ",
        "佐伊有一只红色的风筝。她很高兴。",
    ],
)
def test_a_text_that_is_no_story_has_probability_zero(small, text):
    assert small.log_probability(text, "en") == -math.inf


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("split", [None, "train"])
def test_surprisals_sum_to_the_storys_own(language, split):
    for story in STORY_WORLD.stories(3, 5, split):
        text = story.text(language)
        surprisals = STORY_WORLD.surprisals(text, language, split)
        assert len(surprisals) == len(text) + 1
        assert min(surprisals) > -1e-9
        assert math.fsum(surprisals) == pytest.approx(-STORY_WORLD.log_probability(text, language, split))


def test_surprisals_of_what_is_no_story_are_refused():
    with pytest.raises(ValueError, match="not a story"):
        STORY_WORLD.surprisals("Hello.", "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("split", [None, "test"])
def test_prefix_probability_is_the_sum_over_the_stories_that_start_so(small, language, split):
    texts = list(small.texts(language, split))
    text = texts[1234][0]
    for end in range(len(text) + 1):
        total = math.fsum(p for other, p in texts if other.startswith(text[:end]))
        assert math.exp(small.prefix_log_probability(text[:end], language, split)) == pytest.approx(total)


@pytest.mark.parametrize("language", LANGUAGES)
def test_next_options_are_a_distribution_all_along_a_story(language):
    text = next(STORY_WORLD.stories(1, 8)).text(language)
    for end in range(0, len(text) + 1, 5):
        options = STORY_WORLD.next_options(text[:end], language)
        assert math.fsum(options.values()) == pytest.approx(1)
        assert any(text[end:].startswith(option) for option in options)
    assert STORY_WORLD.next_options(text, language) == {"": pytest.approx(1)}


def test_what_no_story_starts_with_has_no_next_options():
    assert STORY_WORLD.next_options("Hello", "en") == {}


def test_a_noun_follows_its_measure_word(small):
    options = small.next_options("佐伊有一张红色的", "zh")
    assert options == {"地图": pytest.approx(1)}


# Splits


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_split_is_the_source_restricted_and_renormalised(small, distribution, language, split):
    within = defaultdict(float)
    for text, p in small.texts(language, split):
        within[text] += p
    share = len(SPLITS[split]) / 10
    assert math.fsum(within.values()) == pytest.approx(1)
    for text, p in within.items():
        assert p * share == pytest.approx(distribution[language][text])


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_story_is_in_two_splits(language):
    for split in SPLITS:
        for story in STORY_WORLD.stories(10, 2, split):
            text = story.text(language)
            known = {other: STORY_WORLD.log_probability(text, language, other) for other in SPLITS}
            everywhere = STORY_WORLD.log_probability(text, language)
            assert known.pop(split) == pytest.approx(everywhere - math.log(len(SPLITS[split]) / 10))
            assert set(known.values()) == {-math.inf}


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="no split 'dev': take one of train, validation, test"):
        next(STORY_WORLD.stories(1, 0, "dev"))


def test_a_key_that_cannot_be_split_evenly_is_refused():
    variables = {"hero": among(vocabulary.PEOPLE[:7])}
    with pytest.raises(ValueError, match="'hero' of plot 'short' has 7 values"):
        Source([Plot("short", ("hero", "hero", "hero"), [])], variables)


# The story world itself


def test_every_sampled_story_is_scored_in_both_languages():
    for story in STORY_WORLD.stories(100, 3):
        for language in LANGUAGES:
            assert -150 < STORY_WORLD.log_probability(story.text(language), language) < -30


def test_the_same_seed_tells_the_same_stories():
    assert list(STORY_WORLD.stories(20, 7)) == list(STORY_WORLD.stories(20, 7))
    assert list(STORY_WORLD.stories(20, 7)) != list(STORY_WORLD.stories(20, 8))


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_more_than_a_billion_stories(language):
    nats, error = entropy(STORY_WORLD, language, n=100)
    assert nats - 5 * error > math.log(1e9)


@pytest.mark.parametrize("language", LANGUAGES)
def test_estimated_perplexity_agrees_with_the_enumerated_one(small, distribution, language):
    p = distribution[language]
    nats = -math.fsum(q * math.log(q) for q in p.values())
    characters = math.fsum(q * (len(text) + 1) for text, q in p.items())
    value, error = estimate_perplexity(small, language, lambda text: len(text) + 1, n=1000)
    assert abs(value - math.exp(nats / characters)) < 4 * error


@pytest.mark.parametrize("language", LANGUAGES)
def test_best_token_accuracy_agrees_with_counting_all_texts(small, distribution, language):
    tokenizer = train_tokenizer(distribution[language], vocabulary_size=320)
    encoded = {text: [*tokenizer.encode(text).ids, None] for text in distribution[language]}
    text = sorted(encoded)[777]
    bounds = best_token_accuracy(small, text, language, tokenizer, tolerance=1e-6)
    assert len(bounds) == len(encoded[text])
    for i, (low, high) in enumerate(bounds):
        following = Counter()
        for other, ids in encoded.items():
            if ids[:i] == encoded[text][:i]:
                following[ids[i]] += distribution[language][other]
        best = max(following.values()) / following.total()
        assert low - 1e-9 <= best <= high + 1e-9
        assert high - low < 1e-5


def test_the_story_world_needs_neither_torch_nor_a_tokenizer():
    heavy = "{'torch', 'numpy', 'tokenizers', 'transformers'}"
    script = f"import sys, insidegpt.storyworld.measures; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
