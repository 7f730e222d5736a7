"""The exercises as the site shows them: cards in the chapters, a page of all of them, the way to each notebook.

Pure functions from notebook to notebook, before an edition is selected. All is read from the notebooks as they stand:
title, level and label from an exercise's heading, name and points from nbgrader's metadata, what it teaches from the
row of its chapter's table. On the site, cards take the place of that table.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

from insidegpt.site.editions import HEADING, language, source

_STATEMENT = re.compile(r"\A\((?P<label>[\w-]+)\)=\n## (?P<level>★+) (?P<title>.+?) ?[(（]\d+ (?:points?|分)[)）]\n")
_ROW = re.compile(r"^\| `(?P<name>\w+)`[:：] ?(?P<phrase>.+?) \| ★+ \| \d+ \|$", re.M)
_TABLE = re.compile(r"^\|.*\|\n\|[-|]+\|\n(?:\| `\w+`[:：].*\| ★+ \| \d+ \|(?:\n|\Z))+", re.M)
_OVERVIEW = re.compile(r"\A```\{exercises\}\s*```\s*\Z")


@dataclass(frozen=True)
class Exercise:
    """One exercise. level: 1 to 3; title and phrase (what it teaches): by language."""

    name: str
    label: str
    level: int
    points: float
    title: dict[str, str]
    phrase: dict[str, str]


@dataclass(frozen=True)
class Chapter:
    """A chapter and its exercises. name: that of its notebooks; title: by language."""

    name: str
    title: dict[str, str]
    exercises: tuple[Exercise, ...]

    @property
    def points(self) -> float:
        """What all exercises together can give."""
        return sum(exercise.points for exercise in self.exercises)


def read_chapter(name: str, page: dict, exercises: dict) -> Chapter:
    """The chapter called `name`, from its page and from its notebook of exercises.

    Raises ValueError when the page lists no exercise of a name that the notebook has.
    """
    phrases: dict[str, dict[str, str]] = {}
    title: dict[str, str] = {}
    for cell in page["cells"]:
        lang, heading = language(cell), HEADING.match(source(cell))
        if lang and heading and heading["marks"] == "#":
            title[lang] = heading["title"]
        for row in _ROW.finditer(source(cell)) if lang else ():
            phrases.setdefault(row["name"], {})[lang] = row["phrase"]
    found, statements = [], {}
    for cell in exercises["cells"]:
        statement, mark = _STATEMENT.match(source(cell)), cell["metadata"].get("nbgrader", {})
        if statement:
            statements[language(cell)] = statement
        elif mark.get("grade"):
            exercise = mark["grade_id"].removeprefix("test-")
            if exercise not in phrases:
                raise ValueError(f"book/{name}.ipynb lists no exercise `{exercise}`: add its row to the table")
            one = statements["en"]
            titles = {lang: match["title"] for lang, match in statements.items()}
            found.append(Exercise(exercise, one["label"], len(one["level"]), mark["points"], titles, phrases[exercise]))
    return Chapter(name, title, tuple(found))


def with_cards(page: dict, chapter: Chapter) -> dict:
    """A copy of a chapter's page with a card for each exercise where its table of them stands."""
    page = copy.deepcopy(page)
    for cell in page["cells"]:
        if lang := language(cell):
            cell["source"] = _TABLE.sub(lambda _, lang=lang: _cards(chapter, lang), source(cell))
    return page


def with_overview(page: dict, chapters: list[Chapter]) -> dict:
    """A copy of a page with all exercises, chapter by chapter, where a shared cell says `{exercises}`."""
    cells = []
    for cell in page["cells"]:
        if language(cell) is None and _OVERVIEW.match(source(cell)):
            for number, text in enumerate([_totals(chapters), *map(_section, chapters)]):
                cells += [_markdown(text[lang], lang, f"overview-{number}-{lang}") for lang in ("en", "zh")]
        else:
            cells.append(cell)
    return copy.deepcopy(page) | {"cells": cells}


def download(name: str, lang: str, to_root: str) -> str:
    """A link that keeps a chapter's notebook of exercises in the page's language; `to_root` is like `../../`."""
    words = "下载笔记本" if lang == "zh" else "Download the notebook"
    return f'<a href="{to_root}_sources/exercises/{name}/{name}.ipynb" download>{words}</a>'


def _markdown(text: str, lang: str, name: str) -> dict:
    return {"cell_type": "markdown", "id": name, "metadata": {"tags": [f"lang-{lang}"]}, "source": text}


def _totals(chapters: list[Chapter]) -> dict[str, str]:
    number = sum(len(chapter.exercises) for chapter in chapters)
    points = f"{sum(chapter.points for chapter in chapters):g}"
    return {
        "en": f"In all: {len(chapters)} chapters, {number} exercises, {points} points.",
        "zh": f"总计：{len(chapters)} 章，{number} 道练习，{points} 分。",
    }


def _section(chapter: Chapter) -> dict[str, str]:
    """The part of the overview that belongs to one chapter, by language."""
    name, number, points = chapter.name, len(chapter.exercises), f"{chapter.points:g}"
    page = f"/exercises/{name}/{name}"
    exercises = f"{number} exercise{'s' * (number != 1)}"
    facts = {
        "en": f"{{doc}}`The chapter </book/{name}>` · {{doc}}`{exercises} <{page}>`, {points} points",
        "zh": f"{{doc}}`本章正文 </book/{name}>` · {{doc}}`{number} 道练习 <{page}>`，{points} 分",
    }
    return {
        lang: f"(exercises-{name})=\n## {chapter.title[lang]}\n\n"
        f"{facts[lang]} · {download(name, lang, '../')}\n\n{_cards(chapter, lang)}"
        for lang in ("en", "zh")
    }


def _cards(chapter: Chapter, lang: str) -> str:
    return ":::{div} exercise-cards\n" + "\n".join(_card(e, lang) for e in chapter.exercises) + "\n:::\n"


def _card(exercise: Exercise, lang: str) -> str:
    stars, points = "★" * exercise.level, f"{exercise.points:g}"
    if lang == "zh":
        label, worth, colon = f"难度 {exercise.level}，最高 3", f"{points} 分", "："
    else:
        label, worth, colon = f"level {exercise.level} of 3", f"{points} point{'s' * (points != '1')}", ": "
    title, phrase = exercise.title[lang], exercise.phrase[lang]
    teaches = "" if phrase.casefold() == title.casefold() else colon + phrase
    return (
        f"- {{ref}}`{title} <{exercise.label}>`\n\n"
        f"  `{exercise.name}`{teaches}\n\n"
        f'  <span role="img" aria-label="{label}">{stars}</span> · {worth}\n'
    )
