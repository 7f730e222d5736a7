"""The story world as language: what a reader of English or Chinese would stumble over must not occur."""

import re
from collections import Counter

import pytest

from insidegpt.storyworld import STORY_WORLD, vocabulary
from insidegpt.storyworld.grammar import LANGUAGES, OneOf, Sentence
from insidegpt.tokenizer import train_tokenizer

STORIES = list(STORY_WORLD.stories(600, seed=11))
ENGLISH = [story.text("en") for story in STORIES]
CHINESE = [story.text("zh") for story in STORIES]

NOUNS = [*vocabulary.THINGS, *vocabulary.FOODS, *vocabulary.INGREDIENTS, *vocabulary.DISHES, *vocabulary.ANIMALS]
NOUNS += vocabulary.PLANTS


def any_of(words):
    return "|".join(sorted(map(re.escape, set(words)), key=len, reverse=True))


def sentences_of(part):
    if isinstance(part, Sentence):
        return [part]
    parts = part.parts if isinstance(part, OneOf) else part
    return [sentence for inner in parts for sentence in sentences_of(inner)]


@pytest.mark.parametrize("plot", STORY_WORLD.plots, ids=lambda plot: plot.name)
def test_every_slot_has_the_form_it_asks_for(plot):
    assignments = [
        {name: v.values()[i % len(v.values())] for name, v in STORY_WORLD.variables.items() if not v.parents}
        for i in range(40)
    ]
    for assignment in assignments:
        for name, variable in STORY_WORLD.variables.items():
            if variable.parents:
                assignment[name] = variable.values(*(assignment[parent] for parent in variable.parents))[0]
        for sentence in sentences_of(plot.story):
            assert all(sentence.render(language, assignment) for language in LANGUAGES)


def test_momentary_words_are_used_once_a_sentence():
    for plot in STORY_WORLD.plots:
        for sentence in sentences_of(plot.story):
            for language in LANGUAGES:
                used = Counter(name for _, name, _ in sentence.pieces(language) if name)
                assert all(used[name] == 1 for name in used if STORY_WORLD.variables[name].momentary), sentence


def test_the_world_is_as_rich_as_promised():
    assert len(STORY_WORLD.plots) >= 12
    assert len({word.en[""] for word in vocabulary.PEOPLE}) >= 40
    assert len({word.en[""] for word in NOUNS}) >= 60
    assert len({word.en[""] for word in vocabulary.PLACES}) >= 40
    actions = [*vocabulary.TASKS, *vocabulary.HOBBIES, *vocabulary.MOVES]
    assert len({word.en[""] for word in actions}) >= 60


def test_stories_have_60_to_250_words():
    assert all(60 <= len(text.split()) <= 250 for text in ENGLISH)


def test_robots_obey_journeys_begin_and_tennis_is_loved():
    english = "\n".join(ENGLISH).lower()
    assert "a robot must obey orders" in english
    assert "your journey starts with one step" in english
    assert "loved tennis" in english


def test_both_languages_say_the_same_sentences():
    for story in STORIES:
        for en, zh in story.sentences:
            assert re.search(r'([.?!:,]"?|Your friend \w+)$', en), en
            assert re.search(r"([。？！：]”?|你的朋友\w+)$", zh), zh
            spoken = re.sub(r"“\w+号”", "", zh)  # a ship's name
            assert en.count('"') == spoken.count("“") + spoken.count("”"), (en, zh)


def test_an_stands_before_vowels_and_a_before_consonants():
    for text in ENGLISH:
        for article, first in re.findall(r"\b([Aa]n?) (\w)", text):
            assert (article.lower() == "an") == (first.lower() in "aeiou"), text


def test_english_numbers_agree_with_their_nouns():
    numbers = any_of(word.en[""] for word in vocabulary.NUMBERS[1:])
    singular = any_of(noun.en[""] for noun in NOUNS)
    for text in ENGLISH:
        assert not re.search(rf"\b({numbers}) ({singular})\b", text, re.IGNORECASE), text
        assert not re.search(r"\bone \w+ were|\b(two|three|four|five|six) \w+ was\b", text), text


def test_a_measure_word_belongs_to_its_noun():
    proper = {}
    for noun in NOUNS:
        proper.setdefault(noun.zh[""], set()).add(noun.zh["cl"])
    counts = any_of([word.zh[""] for word in vocabulary.NUMBERS] + ["这", "那"])
    colours = any_of(word.zh[""] for word in vocabulary.COLOURS)
    classifiers = any_of(noun.zh["cl"] for noun in NOUNS)
    phrase = re.compile(rf"(?:{counts})({classifiers})(?:{colours})?({any_of(proper)})")
    found = [match for text in CHINESE for match in phrase.findall(text)]
    assert len(found) > len(CHINESE)
    for classifier, noun in found:
        assert classifier in proper[noun], (classifier, noun)


def test_two_of_a_thing_are_liang_and_not_er():
    classifiers = any_of(noun.zh["cl"] for noun in NOUNS)
    assert not any(re.search(rf"(?<![十期])二(?:{classifiers})", text) for text in CHINESE)


def test_pronouns_agree_with_the_people_in_the_story():
    girls, boys = ({word.en[""] for word in words} for words in (vocabulary.GIRLS, vocabulary.BOYS))
    checked = Counter()
    for story, en, zh in zip(STORIES, ENGLISH, CHINESE, strict=True):
        named = set(re.findall(r"\w+", en))
        zh = zh.replace("他们", "")
        if not named & boys:
            assert not re.search(r"\b(he|him|his|himself)\b", en, re.IGNORECASE), en
            assert "他" not in zh, zh
            checked["girls"] += 1
        if not named & girls:
            assert not re.search(r"\b(she|her|herself)\b", en, re.IGNORECASE), en
            assert "她" not in zh, zh
            checked["boys"] += 1
        hero = re.match(r"Once upon a time there was a (girl|boy) called (\w+)\. (\w+)", en)
        if hero and hero[3] in ("He", "She"):
            assert hero[3] == {"girl": "She", "boy": "He"}[hero[1]]
            assert hero[2] in {"girl": girls, "boy": boys}[hero[1]]
            checked["openings"] += 1
        assert story.text("zh").count("他们") == 0 or story.plot == "voyage"
    assert min(checked[kind] for kind in ("girls", "boys", "openings")) >= 20


def test_spaces_and_quotation_marks_are_tidy():
    for text in ENGLISH + CHINESE:
        assert text == text.strip()
        assert not re.search(r"  |\s[.,?!:]", text), text
        assert text.count('"') % 2 == 0, text
        assert text.count("“") == text.count("”"), text
        assert not re.search(r"“[^”]*“|”[^“]*”", text), text


def test_the_languages_do_not_mix():
    for en, zh in zip(ENGLISH, CHINESE, strict=True):
        assert en.isascii(), en
        assert not re.search(r"[a-zA-Z.,?!:;\"' ]", zh), zh


def test_names_are_rendered_consistently():
    people = [*vocabulary.PEOPLE, *vocabulary.ROBOTS]
    assert len({word.zh[""] for word in people}) == len(people)
    for en, zh in zip(ENGLISH, CHINESE, strict=True):
        for word in vocabulary.PEOPLE:
            assert (word.en[""] in re.findall(r"\w+", en)) == (word.zh[""] in zh), (word.en[""], en, zh)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_number_left_is_the_number_there_was_less_those_given_and_eaten(language):
    value = {getattr(word, language)[""]: word.value for word in vocabulary.NUMBERS}
    number = f"({any_of(value)})"
    food = any_of(noun.zh["cl"] for noun in vocabulary.FOODS)
    patterns = {
        "en": (rf"(?:with|buy) {number} ", rf"gave \w+ {number} ", rf": {number} [\w ]+ left", "ate one"),
        "zh": (rf"(?:带回了|里面有){number}", rf"给了\w+?{number}(?:{food})", rf"还剩{number}", f"吃掉了一(?:{food})"),
    }[language]
    stories = [story.text(language) for story in STORIES if story.plot == "counting"]
    assert len(stories) >= 20
    for text in stories:
        had, given, left = (value[re.search(pattern, text)[1]] for pattern in patterns[:3])
        assert left == had - given - bool(re.search(patterns[3], text)), text


def test_what_was_hidden_is_found_where_it_was_put():
    spots = any_of(word.en[""] for word in vocabulary.SPOTS)
    for story, text in zip(STORIES, ENGLISH, strict=True):
        if story.plot == "hidden":
            put = re.search(rf"(?:hid|put) the \w+ ({spots}),", text)[1]
            assert text.endswith(f"{put}.")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_story_fits_a_context_of_256_tokens(language):
    tokenizer = train_tokenizer(
        story.text(each) for story in STORY_WORLD.stories(1500, 1, "train") for each in LANGUAGES
    )
    texts = {"en": ENGLISH, "zh": CHINESE}[language]
    assert max(len(encoding.ids) + 1 for encoding in tokenizer.encode_batch(texts)) <= 256
