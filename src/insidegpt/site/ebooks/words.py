"""What a book says of itself before its first page, by edition."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

from insidegpt.site.editions import Edition
from insidegpt.site.traditional import converter


@dataclass(frozen=True)
class Words:
    """subtitle: under the title; contents: over the table of contents; cover: what the cover shows."""

    subtitle: str
    contents: str
    cover: str


_WORDS = {
    "en": Words(
        "How attention and GPT-2 work",
        "Contents",
        "Cover: how much each token of a story takes from itself and from those before it, "
        "the mean of all attention heads of the book’s own GPT-2.",
    ),
    "zh": Words(
        "注意力与 GPT-2 如何工作",
        "目录",
        "封面：一篇故事里，每个词元从自己和前面的词元各取多少；这是本书自带的 GPT-2 所有注意力头的平均。",
    ),
}


def book_words(root: Path, edition: Edition) -> Words:
    """The words of an edition of the book of the repository at `root`: of both languages, or converted."""
    each = zip(*(astuple(_WORDS[language]) for language in edition.languages), strict=True)
    words = map(" · ".join, each)
    if edition.traditional:
        words = map(converter(root / "book" / "glossary.ipynb"), words)
    return Words(*words)
