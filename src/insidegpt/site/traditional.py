"""The Chinese of the book in Traditional characters: OpenCC's, after the glossary's forms and Taiwan's words.

An entry of the glossary ends in its English and, where it differs, its Traditional form: （causal mask；因果遮罩）.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

from insidegpt.site.editions import language, source
from insidegpt.site.taiwan import RULES, WORDS

_ENTRY = re.compile(r"^(?P<term>\S.*)\n  .*（[^（）；]*(?:；(?P<forms>[^（）；]+))?）。$", re.M)
_ROLE_OR_KEPT = re.compile(
    r"(?P<role>\{[\w:-]+\}`[^`]*`)"  # a role is no code: the words in it are converted
    r"|^(?P<fence>`{3,})(?!\{).*?^(?P=fence)|(?<!`)(?P<ticks>`{1,2})(?!`).+?(?P=ticks)(?!`)"
    r"|\$\$.*?\$\$|(?<!\\)\$[^$]+\$|(?<=\])\([^()\s]*\)",
    re.M | re.S,
)
_KEPT = "\ue000"
"""Stands for what is not converted; of Unicode's private use, so that no text holds it."""
_MISTAKEN = (
    (re.compile(r"(?<![皇王太])后"), "後"),
    (re.compile(r"(?<![公英])里(?!程)"), "裡"),
    (re.compile(r"(?<![\d 一二兩三四五六七八九十幾這那每])隻(?!字)"), "只"),
)
"""Where OpenCC's longest match cuts through a word: it takes 文本里 for 文 + 本里, and 最大只能 for 最 + 大只 + 能."""
_QUOTATION_MARKS = str.maketrans("“”‘’", "「」『』")


def glossary_forms(glossary: dict) -> dict[str, str]:
    """The Traditional form, the first where several are listed, by Simplified term of a glossary notebook."""
    chinese = "\n\n".join(source(cell) for cell in glossary["cells"] if language(cell) == "zh")
    forms = {}
    for entry in _ENTRY.finditer(chinese):
        listed = entry["forms"] or entry["term"]
        forms[entry["term"]] = listed.split("、")[0]
        forms[listed] = listed  # the list in the glossary is Traditional already
    return forms


@functools.cache
def converter(glossary: Path) -> Callable[[str], str]:
    """A function from Simplified Markdown to Traditional: all but code, formulas and the targets of links.

    glossary: the notebook whose forms come before OpenCC's.
    """
    from opencc import OpenCC

    taiwan = OpenCC("s2twp")
    forms = glossary_forms(json.loads(glossary.read_text("utf8")))
    own = WORDS | {term: form for term, form in forms.items() if taiwan.convert(term) != form}
    longest_first = map(re.escape, sorted(own, key=len, reverse=True))
    any_own = re.compile("|".join([*(f"({pattern})" for pattern in RULES), *longest_first]))
    by_rule = list(RULES.values())

    def convert(text: str) -> str:
        kept = []

        def keep(words: str) -> str:
            kept.append(words)
            return f"{_KEPT}{len(kept) - 1}{_KEPT}"

        text = _ROLE_OR_KEPT.sub(lambda found: found[0] if found["role"] else keep(found[0]), text)
        text = any_own.sub(lambda m: keep(by_rule[m.lastindex - 1] if m.lastindex else own[m[0]]), text)
        text = taiwan.convert(text).translate(_QUOTATION_MARKS)
        for mistaken, right in _MISTAKEN:
            text = mistaken.sub(right, text)
        return re.sub(f"{_KEPT}(\\d+){_KEPT}", lambda found: kept[int(found[1])], text)

    return convert


def in_traditional(notebook: dict, convert: Callable[[str], str]) -> dict:
    """A copy of a notebook with its Chinese cells, captions, alternative texts and names of examples converted."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        if language(cell) == "zh":
            cell["source"] = _ENTRY.sub(_other_forms, convert(source(cell)))
        shown = cell["metadata"].get("mystnb", {})
        for holder, name in ((shown.get("figure", {}), "caption"), (shown.get("image", {}), "alt")):
            if name in holder:
                holder[name] = convert(holder[name])
        for example in cell["metadata"].get("live", {}).get("examples", []):
            example["zh"] = convert(example["zh"])  # its name; the text is what the model knows
    return notebook


def _other_forms(entry: re.Match) -> str:
    """An entry of the Traditional glossary without the form that is its heading already."""
    if not entry["forms"]:
        return entry[0]
    others = "、".join(form for form in entry["forms"].split("、") if form != entry["term"])
    start, end = (at - entry.start() for at in entry.span("forms"))
    return entry[0][:start].removesuffix("；") + ("；" + others if others else "") + entry[0][end:]
