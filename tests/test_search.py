"""How the index cuts Chinese and English; the query's side is tested in a browser."""

import pytest

from insidegpt.site.search import BilingualSearch


@pytest.fixture
def search():
    return BilingualSearch({})


def test_a_chinese_word_is_indexed_as_its_pairs_and_characters(search):
    assert search.split("因果掩码") == ["因", "果", "掩", "码", "因果", "果掩", "掩码"]


def test_mixed_text_falls_into_words_of_each_script(search):
    assert search.split("GPT-2 的 masked_softmax") == ["GPT", "2", "的", "masked_softmax"]


def test_short_chinese_words_are_kept_and_english_stop_words_are_not(search):
    assert search.word_filter("键") and not search.word_filter("the")
