"""Reading editions of a bilingual notebook: pure functions from notebook to notebook.

A markdown cell tagged `lang-en` is followed by its counterpart tagged `lang-zh`; a cell without either tag
(code, labelled equations) stands in every edition.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass

LANG_ATTRIBUTE = {"en": "en", "zh": "zh-CN"}
"""The value of HTML's `lang` for each language tag."""


@dataclass(frozen=True)
class Edition:
    """One reading edition of the site.

    name: its folder; label: what the switcher shows; title: the book's; languages: tags whose cells it holds, the
    leading one first; locale: Sphinx's name of the language of its labels; search_bar: what the search field says.
    """

    name: str
    label: str
    title: str
    languages: tuple[str, ...]
    locale: str
    search_bar: str

    @property
    def lang(self) -> str:
        """The value of `<html lang>`."""
        return "zh-TW" if self.traditional else LANG_ATTRIBUTE[self.languages[0]]

    @property
    def traditional(self) -> bool:
        """Whether its Chinese is converted to Traditional characters."""
        return self.locale == "zh_TW"


EDITIONS = {
    e.name: e
    for e in (
        Edition("en", "EN", "Inside GPT-2", ("en",), "en", "Search this book"),
        Edition("zh", "简体", "走进 GPT-2", ("zh",), "zh_CN", "搜索本书"),
        Edition("zh-tw", "繁體", "走進 GPT-2", ("zh",), "zh_TW", "搜尋本書"),
        # en_GB: Sphinx takes no catalogue for plain "en", and this edition's labels are in both languages.
        Edition("en-zh", "双语", "Inside GPT-2 · 走进 GPT-2", ("en", "zh"), "en_GB", "Search · 搜索"),
    )
}

HEADING = re.compile(r"\A(?P<label>(?:\([\w:-]+\)=\s*\n)?)(?P<marks>#{1,6}) +(?P<title>.+?)\s*(?:\n|\Z)")
_ROLE = re.compile(r"\{(?P<role>ref|doc|numref)\}`(?P<target>[^`<>]+)`")
_FACTS = re.compile(r'\A<p class="page-facts">(?P<facts>.*)</p>\n+')
_LABEL_OR_NAME = re.compile(r"^\([\w:-]+\)=\s*\n|^:(?:name|label): .*\n", re.M)

_CHINESE_BOXES = {
    "note": "备注",
    "tip": "提示",
    "hint": "提示",
    "warning": "警告",
    "important": "重要",
    "seealso": "另请参阅",
}
"""Directives whose title Sphinx writes in the edition's one language."""
_BOX = re.compile(r"^(?P<fence>`{3,}|:{3,})\{(?P<name>" + "|".join(_CHINESE_BOXES) + r")\} *$", re.M)

Titles = dict[str, dict[str, str]]
"""Title by language, by label: what a reference without words of its own reads as."""


def language(cell: dict) -> str | None:
    """The language that a cell is tagged with, or None for a shared cell."""
    tags = cell["metadata"].get("tags", [])
    return next((lang for lang in LANG_ATTRIBUTE if f"lang-{lang}" in tags), None)


def source(cell: dict) -> str:
    """A cell's text, whether the file holds it as one string or as lines."""
    return "".join(cell["source"])


def titles(notebook: dict, docname: str) -> Titles:
    """The titles of a notebook's headings by label; the page's own also under `/docname`."""
    found: Titles = {}
    for cell in notebook["cells"]:
        heading, lang = HEADING.match(source(cell)), language(cell)
        if heading is None or lang is None:
            continue
        label = heading["label"].strip()[1:-2]
        found.setdefault(label, {})[lang] = heading["title"]
        if heading["marks"] == "#":
            found.setdefault(f"/{docname}", {})[lang] = heading["title"]
    return found


def select(notebook: dict, edition: Edition, titles: Titles | None = None) -> dict:
    """A copy of the notebook for one edition.

    Cells of the other language are tagged `remove-cell` rather than deleted, so that cell numbers in build
    warnings stay those of the file. In an edition of two languages a pair becomes one block of two halves.
    titles: what references read as there, each half in its own language.
    """
    notebook = copy.deepcopy(notebook)
    cells = notebook["cells"]
    for index, cell in enumerate(cells):
        _choose_caption(cell, edition.languages)
        lang = language(cell)
        if lang is None:
            continue
        if lang not in edition.languages:
            cell["metadata"]["tags"].append("remove-cell")
        elif len(edition.languages) == 2 and lang == edition.languages[0]:
            _join_pair(cell, cells[index + 1], titles or {})
    return notebook


def in_one_language(notebook: dict, lang: str) -> dict:
    """A copy of the notebook without the cells of other languages: what a reader of one edition downloads."""
    notebook = copy.deepcopy(notebook)
    notebook["cells"] = [c for c in notebook["cells"] if language(c) in (None, lang)]
    return notebook


def _choose_caption(cell: dict, languages: Iterable[str]) -> None:
    texts = cell["metadata"].get("i18n", {})
    options = cell["metadata"].get("mystnb", {})
    if "caption" in texts:
        options["figure"]["caption"] = "\n\n".join(texts["caption"][lang] for lang in languages)
    if "alt" in texts:
        options.setdefault("image", {})["alt"] = " ".join(texts["alt"][lang] for lang in languages)


def _join_pair(first: dict, second: dict, titles: Titles) -> None:
    """Write the pair's common heading and both bodies, each in a div of its language, into the two cells."""
    heads = [HEADING.match(source(cell)) for cell in (first, second)]
    bodies = [source(cell)[head.end() if head else 0 :] for cell, head in zip((first, second), heads, strict=True)]
    head = ""
    if all(heads):
        title = f"{heads[0]['title']}\N{NO-BREAK SPACE}· {heads[1]['title']}"  # no line begins with the dot
        head = f"{heads[0]['label']}{heads[0]['marks']} {title}\n\n"
    facts = [_FACTS.match(body) for body in bodies]
    if all(facts):  # under the common title, as the one line that it is
        head += f'<p class="page-facts">{" · ".join(found["facts"] for found in facts)}</p>\n\n'
        bodies = [body[found.end() :] for body, found in zip(bodies, facts, strict=True)]
    if not any(body.strip() for body in bodies):
        first["source"], second["source"] = head, ""
        return
    one, two = language(first), language(second)
    english = _with_titles(bodies[0], one, titles)
    chinese = _with_titles(_BOX.sub(_titled_box, _LABEL_OR_NAME.sub("", bodies[1])), two, titles)
    *before, last = zip(_entry_by_entry(english), _entry_by_entry(chinese), strict=True)
    for halves in before:
        head += f'<div class="pair">\n\n{_half(one, halves[0])}\n\n{_half(two, halves[1])}\n\n</div>\n\n'
    first["source"] = head + '<div class="pair">\n\n' + _half(one, last[0])
    second["source"] = _half(two, last[1]) + "\n\n</div>"


def _entry_by_entry(body: str) -> list[str]:
    """The body, or where it is a glossary, what stands before it and a glossary of each entry alone."""
    before, *glossary = body.split(":::{glossary}\n")
    if not glossary:
        return [body]
    entries = glossary[0].strip().removesuffix("\n:::").split("\n\n")
    return [before, *(f":::{{glossary}}\n{entry}\n:::" for entry in entries)]


def _half(lang: str, body: str) -> str:
    return f'<div class="half-{lang}" lang="{LANG_ATTRIBUTE[lang]}">\n\n{body.strip()}\n\n</div>'


def _titled_box(match: re.Match) -> str:
    return f"{match['fence']}{{admonition}} {_CHINESE_BOXES[match['name']]}\n:class: {match['name']}"


def _with_titles(text: str, lang: str, titles: Titles) -> str:
    """Give references without words of their own the words of this language."""

    def words(match: re.Match) -> str:
        role, target = match["role"], match["target"]
        if role == "numref":
            return f"{{numref}}`图 {{number}} <{target}>`" if lang == "zh" else match[0]
        title = titles.get(target, {}).get(lang)
        return f"{{{role}}}`{title} <{target}>`" if title else match[0]

    return _ROLE.sub(words, text)
