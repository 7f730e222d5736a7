"""The two languages of every notebook agree, and the check that says so catches what it should."""

import copy
import json
from pathlib import Path

import pytest

from insidegpt.site.pairs import problems, stamp

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted([*ROOT.glob("book/*.ipynb"), *ROOT.glob("solutions/*/*.ipynb"), *ROOT.glob("exercises/*/*.ipynb")])


def test_there_are_notebooks_to_compare():
    assert len(NOTEBOOKS) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: str(p.relative_to(ROOT)))
def test_languages_agree(path):
    assert list(problems(json.loads(path.read_text("utf8")))) == []


EN = (
    "(sec-why)=\n## Why\n\nScores are divided by $\\sqrt{d_k}$ in `attention` {cite}`vaswani2017attention`, see "
    "{eq}`eq-attention`. There are **12** heads; each of them looks at the words in its own way, and their outputs "
    "are joined again.\n\n- one\n- two"
)
ZH = (
    "(sec-why)=\n## 为什么\n\n在 `attention` 中，分数要除以 $\\sqrt{d_k}$ {cite}`vaswani2017attention`，见 "
    "{eq}`eq-attention`。共有 **12** 个头，每个头以自己的方式看这些词，最后再把各头的输出拼接起来。\n\n- 一\n- 二"
)


def pair(en=EN, zh=ZH):
    nb = {
        "cells": [
            {"cell_type": "markdown", "metadata": {"tags": ["lang-en"]}, "source": en},
            {"cell_type": "markdown", "metadata": {"tags": ["lang-zh"]}, "source": zh},
        ]
    }
    stamp(nb)
    return nb


def test_a_faithful_pair_has_no_problem():
    assert list(problems(pair())) == []


FAULTS = {
    "label": pair(zh=ZH.replace("sec-why", "sec-how")),
    "heading level": pair(zh=ZH.replace("## ", "### ")),
    "inline maths": pair(zh=ZH.replace("d_k", "d_v")),
    "inline code": pair(zh=ZH.replace("`attention`", "`softmax`")),
    "cross-reference": pair(zh=ZH.replace("{eq}`eq-attention`", "上式")),
    "number": pair(zh=ZH.replace("12", "16")),
    "list item": pair(zh=ZH.replace("- 二", "")),
    "bold": pair(zh=ZH.replace("**12**", "12")),
    "characters": pair(zh=ZH.replace("每个头以自己的方式看这些词，最后再把各头的输出拼接起来。", "")),
    "half-width": pair(zh=ZH.replace("头，", "头,")),
    "a space between Chinese": pair(zh=ZH.replace("这些词", "这些 词")),
    "no Chinese in": pair(zh=EN),
    "Chinese characters in the English": pair(en=EN.replace("heads", "heads 头")),
    "labelled equation": pair(en=EN + "\n\n$$ x $$ (eq-x)", zh=ZH + "\n\n$$ x $$ (eq-x)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(name):
    assert any(name in problem for problem in problems(FAULTS[name]))


def test_english_that_changed_makes_its_chinese_stale():
    nb = pair()
    nb["cells"][0]["source"] = EN.replace("looks at", "stares at")
    assert any("the English has changed" in p for p in problems(nb))


def test_a_cell_without_its_counterpart_is_named():
    for alone in (0, 1):
        nb = {"cells": [copy.deepcopy(pair()["cells"][alone])]}
        assert any("stands before" in p or "follows" in p for p in problems(nb))


def test_prose_without_a_language_tag_is_named():
    nb = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": "These words have no counterpart."}]}
    assert any("without a language tag" in p for p in problems(nb))


def test_a_figure_without_both_captions_and_alternative_texts_is_named():
    metadata = {"mystnb": {"figure": {"name": "fig-a"}}, "i18n": {"caption": {"en": "A figure."}}}
    nb = {"cells": [{"cell_type": "code", "metadata": metadata, "source": "plot()"}]}
    found = " ".join(problems(nb))
    assert "caption needs both languages" in found and "alternative text" in found
