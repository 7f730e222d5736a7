"""Where the two languages of a notebook have drifted apart.

    python -m insidegpt.site.pairs book/*.ipynb            names what does not agree
    python -m insidegpt.site.pairs --stamp book/*.ipynb    says that the Chinese now follows the English

Every Chinese cell keeps a hash of the English it was written from, so that an English cell that changes later
makes its Chinese stale until somebody has read both and stamped it again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from insidegpt.site.editions import language, source

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")

_ALIKE = {
    "label": r"^\(([\w:-]+)\)=",
    "heading level": r"^(#+) ",
    "inline maths": r"(?<![\\$])\$([^$\n]+)\$(?!\$)",
    "inline code": r"(?<![`}])`([^`\n]+)`(?!`)",
    "cross-reference": r"\{(?:eq|ref|numref|doc|cite\w*)(?::\w+)?\}`(?:[^`<]*<)?([^`>]+)>?`",
    "link": r"\]\(([^)\s]+)\)",
    "directive": r"^(?:`{3,}|:{3,})\{([\w:-]+)\}",
    "number": r"(?<![\w.^_{-])(\d+(?:[.,]\d+)*)(?![\w`}])",
}
"""What must stand equally often, with the same text, in both cells of a pair."""

_AS_MANY = {
    "list item": r"^\s*(?:[-*+]|\d+\.) ",
    "table row": r"^\|",
    "glossary term": r"\{term\}`",
    "bold passage": r"\*\*[^*]+\*\*",
    "HTML tag": r"<(?:details|summary|/)",
}
"""What must stand equally often."""

_ROLE = re.compile(r"\{[\w:-]+\}`[^`]*`")
_CHARACTERS_A_WORD = (0.8, 3.2)
"""Chinese characters to English words in a faithful pair; outside it, something was left out or added."""


def problems(notebook: dict) -> Iterator[str]:
    """One sentence for each place where the languages of a notebook do not agree."""
    cells = notebook["cells"]
    for at, cell in enumerate(cells):
        lang, text = language(cell), source(cell)
        if cell["cell_type"] != "markdown":
            yield from _code_problems(at, cell)
        elif lang is None:
            words = prose(text)
            if _HAN.search(words) or re.search(r"[A-Za-z]{3,} [a-z]{2,}", words):
                yield f"cell {at}: prose without a language tag"
        elif lang == "en":
            after = cells[at + 1] if at + 1 < len(cells) else None
            if after is None or language(after) != "zh":
                yield f"cell {at}: no Chinese cell follows the English one"
            else:
                yield from _pair_problems(at, text, source(after))
                if after["metadata"].get("i18n", {}).get("of") != english_hash(text):
                    yield f"cell {at + 1}: the English has changed since: read both, mend the Chinese, `make stamp`"
        elif at == 0 or language(cells[at - 1]) != "en":
            yield f"cell {at}: no English cell stands before the Chinese one"


def _code_problems(at: int, cell: dict) -> Iterator[str]:
    if language(cell):
        yield f"cell {at}: a code cell is shared and takes no language tag"
    texts = cell["metadata"].get("i18n", {})
    for kind in ("caption", "alt"):
        if kind in texts and not all(texts[kind].get(lang) for lang in ("en", "zh")):
            yield f"cell {at}: the {kind} needs both languages"
    if "figure" in cell["metadata"].get("mystnb", {}) and not {"caption", "alt"} <= set(texts):
        yield f"cell {at}: a figure needs a caption and an alternative text"
    if "caption" in texts and _HAN.search(texts["caption"]["en"]):
        yield f"cell {at}: Chinese characters in the English caption"


def _pair_problems(at: int, en: str, zh: str) -> Iterator[str]:
    if _HAN.search(re.sub(r"（[^）]*）|\([^)]*\)|“[^”]*”|\"[^\"]*\"|\*[^*]*\*", "", prose(en))):
        yield f"cell {at}: Chinese characters in the English cell"
    words, characters = len(re.findall(r"[A-Za-z]+", prose(en))), len(_HAN.findall(prose(zh)))
    low, high = _CHARACTERS_A_WORD
    if characters == 0 and words > 0:
        yield f"cell {at + 1}: no Chinese in the Chinese cell"
    elif words >= 20 and not low <= characters / words <= high:
        yield f"cell {at}: {words} English words against {characters} Chinese characters"
    if found := re.search(r"[\u4e00-\u9fff][,;:?!]|[\u4e00-\u9fff]\.(?:\s|$)", prose(zh)):
        yield f"cell {at + 1}: half-width punctuation after a Chinese character: {found[0]}"
    if found := re.search(r"[\u4e00-\u9fff，。；：、] +[\u4e00-\u9fff，。；：、]", prose(zh)):
        yield f"cell {at + 1}: a space between Chinese characters: {found[0]}"
    if re.search(r"^\s*\$\$ *\([\w-]+\)|\$\$ *\([\w-]+\) *$", en, re.M):
        yield f"cell {at}: a labelled equation belongs in a shared cell"
    for name, pattern in _ALIKE.items():
        one, two = (Counter(re.findall(pattern, _ready(t, name), re.M)) for t in (en, zh))
        if one != two:
            yield f"cell {at}: {name}: only in English {list(one - two)}, only in Chinese {list(two - one)}"
    for name, pattern in _AS_MANY.items():
        one, two = (len(re.findall(pattern, t, re.M)) for t in (en, zh))
        if one != two:
            yield f"cell {at}: {one} {name}s in English, {two} in Chinese"


def _ready(text: str, name: str) -> str:
    """The text in which one kind of mark is sought: roles hold no inline code, maths and code hold no numbers."""
    if name == "inline code":
        return _ROLE.sub(" ", text)
    return prose(text) if name == "number" else text


def prose(text: str) -> str:
    """The words that a reader reads: without maths, code, roles, addresses, directives' lines and tags."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$\n]+\$|\{[\w:]+\}`[^`]*`|`[^`]*`", "¤", text, flags=re.S)
    text = re.sub(r"\]\([^)]*\)|https?://\S+|<[^>]+>", "]", text)
    return re.sub(r"^:{3,}.*$|^\([\w:-]+\)=$|^:\w+:.*$", " ", text, flags=re.M)


def english_hash(text: str) -> str:
    """What a Chinese cell remembers of the English it was written from."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def stamp(notebook: dict) -> None:
    """Note in every Chinese cell the English that now stands before it."""
    cells = notebook["cells"]
    for before, cell in itertools.pairwise(cells):
        if language(before) == "en" and language(cell) == "zh":
            cell["metadata"]["i18n"] = {"of": english_hash(source(before))}


def main(arguments: list[str]) -> None:
    """Report or, with `--stamp`, stamp the notebooks named; exits with 1 if any disagrees."""
    stamping, disagree = "--stamp" in arguments, False
    for path in (Path(a) for a in arguments if a != "--stamp"):
        if not path.is_file():
            sys.exit(f"There is no notebook {path}: check the name. · 找不到笔记本 {path}：请检查文件名。")
        notebook = json.loads(path.read_text("utf8"))
        if stamping:
            stamp(notebook)
            path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", "utf8")
        found = list(problems(notebook))
        disagree |= bool(found)
        for problem in found:
            print(f"{path}: {problem}")
    sys.exit(disagree)


if __name__ == "__main__":
    main(sys.argv[1:])
