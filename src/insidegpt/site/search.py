"""Full-text search for Chinese mixed with English: overlapping pairs of characters.

Sphinx's own Chinese search cuts the index into dictionary words but never the query, so that a word the
dictionary does not know (因果掩码) finds nothing. Here the index and the query cut a run of Chinese characters
into the same pairs, and no dictionary is needed. English words are stemmed as Sphinx does it.
"""

from __future__ import annotations

import re

from sphinx.search.en import SearchEnglish

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_RUN = re.compile(f"[{_HAN}]+|[^\\W{_HAN}]+")
_IS_HAN = re.compile(f"[{_HAN}]")


class BilingualSearch(SearchEnglish):
    """Sphinx's search language `zh`, replaced."""

    lang = "zh"
    language_name = "Chinese and English"
    # `var`, because Sphinx's own script may have declared the same function before.
    js_splitter_code = """
var splitQuery = (query) => (query.match(/[HAN]+|[^\\s\\p{P}\\p{S}HAN]+(?:_[^\\s\\p{P}\\p{S}HAN]+)*/gu) || [])
  .flatMap((run) => /^[HAN]{2,}$/u.test(run)
    ? Array.from({length: run.length - 1}, (_, i) => run.slice(i, i + 2)) : [run]);
""".replace("HAN", _HAN)

    def split(self, text: str) -> list[str]:
        """The words of a text: English words, and single Chinese characters and their pairs."""
        words = []
        for run in _RUN.findall(text):
            if _IS_HAN.match(run):
                words += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
            else:
                words.append(run)
        return words

    def word_filter(self, word: str) -> bool:
        """Whether a word goes into the index: every Chinese one, however short."""
        return bool(_IS_HAN.match(word)) or super().word_filter(word)


def setup(app):
    """Register the search language with Sphinx."""
    app.add_search_language(BilingualSearch)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
