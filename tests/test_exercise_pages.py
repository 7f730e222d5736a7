"""The exercises on the site: cards, the page of all of them, and notebooks in one language that grade like both."""

import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from insidegpt.grading.submission import assemble, trusted_cells
from insidegpt.site.editions import in_one_language
from insidegpt.site.exercises import Chapter, read_chapter, with_cards, with_overview
from insidegpt.site.reading import minutes, with_line_under_title
from test_grading import check

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted(path.stem for path in ROOT.glob("exercises/*/*.ipynb"))


def cell(text, lang=None, **mark):
    metadata = {"tags": [f"lang-{lang}"]} if lang else {"nbgrader": mark} if mark else {}
    return {"cell_type": "code" if mark else "markdown", "metadata": metadata, "source": text}


PAGE = {
    "cells": [
        cell("(small)=\n# Small numbers\n\nWords.", "en"),
        cell("(small)=\n# 小小的数\n\n一些话。", "zh"),
        cell("Do:\n\n| Exercise | Level | Points |\n|---|---|---|\n| `twice`: doubles | ★★ | 3 |", "en"),
        cell("请做：\n\n| 练习 | 难度 | 分值 |\n|---|---|---|\n| `twice`：加倍 | ★★ | 3 |", "zh"),
    ]
}
EXERCISES = {
    "cells": [
        cell("(ex-twice)=\n## ★★ Twice as much (3 points)\n\nWrite it.", "en"),
        cell("(ex-twice)=\n## ★★ 两倍（3 分）\n\n写出来。", "zh"),
        cell("", grade_id="twice", grade=False, solution=True),
        cell("", grade_id="test-twice", grade=True, points=3),
    ]
}


def sources(notebook, lang):
    return [c["source"] for c in notebook["cells"] if c["metadata"].get("tags") == [f"lang-{lang}"]]


def test_an_exercise_is_read_from_its_heading_its_metadata_and_the_row_of_its_chapter():
    chapter = read_chapter("small", PAGE, EXERCISES)
    (twice,) = chapter.exercises
    assert (twice.name, twice.label, twice.level, twice.points) == ("twice", "ex-twice", 2, 3)
    assert twice.title == {"en": "Twice as much", "zh": "两倍"}
    assert twice.phrase == {"en": "doubles", "zh": "加倍"}
    assert chapter.title == {"en": "Small numbers", "zh": "小小的数"}


def test_an_exercise_that_its_chapter_does_not_list_is_named():
    with pytest.raises(ValueError, match="`twice`"):
        read_chapter("small", {"cells": PAGE["cells"][:2]}, EXERCISES)


def test_cards_take_the_place_of_the_chapters_table():
    page = with_cards(PAGE, read_chapter("small", PAGE, EXERCISES))
    for lang, words in (
        ("en", ("Do:", "Twice as much", "doubles", "3 points")),
        ("zh", ("请做：", "两倍", "加倍", "3 分")),
    ):
        text = sources(page, lang)[1]
        assert all(text.count(word) == 1 for word in words) and "|" not in text


def test_a_card_does_not_say_its_title_twice():
    (twice,) = read_chapter("small", PAGE, EXERCISES).exercises
    chapter = Chapter("small", {}, (replace(twice, phrase={"en": "twice as much", "zh": "两倍"}),))
    for lang, title in (("en", "twice as much"), ("zh", "两倍")):
        assert sources(with_cards(PAGE, chapter), lang)[1].lower().count(title) == 1


def test_the_overview_stands_where_the_page_asks_for_it_in_both_languages():
    page = {"cells": [cell("# All", "en"), cell("# 全部", "zh"), cell("```{exercises}\n```")]}
    made = with_overview(page, [read_chapter("small", PAGE, EXERCISES)])
    for lang, heading, facts in (
        ("en", "## Small numbers\n", "{doc}`1 exercise </exercises/small/small>`, 3 points"),
        ("zh", "## 小小的数\n", "{doc}`1 道练习 </exercises/small/small>`，3 分"),
    ):
        assert heading in sources(made, lang)[-1] and facts in sources(made, lang)[-1]


@pytest.mark.parametrize("edition", ["en", "zh", "zh-tw", "en-zh"])
def test_every_exercise_has_one_card_in_the_overview_and_one_in_its_chapter(site, edition):
    overview = (site / edition / "book/exercises.html").read_text("utf8")
    halves = 2 if edition == "en-zh" else 1
    for chapter in CHAPTERS:
        page = (site / edition / "book" / f"{chapter}.html").read_text("utf8")
        notebook = nbformat.read(ROOT / "exercises" / chapter / f"{chapter}.ipynb", as_version=4)
        for label in re.findall(r"^\((ex-[\w-]+)\)=\n## ", "\n".join(c.source for c in notebook.cells), re.M):
            card = rf'<li><p><a class="reference internal" href="[^"]*{chapter}\.html#{label}">'
            assert len(re.findall(card, overview)) == len(re.findall(card, page)) == halves, label


@pytest.mark.parametrize("edition", ["en", "zh", "zh-tw", "en-zh"])
def test_each_page_of_exercises_offers_its_notebook(site, edition):
    for chapter in CHAPTERS:
        page = site / edition / "exercises" / chapter / f"{chapter}.html"
        (href,) = set(re.findall(r'<a href="([^"]*)" download>', page.read_text("utf8")))
        kept = json.loads((page.parent / href).read_text("utf8"))
        tags = {t for c in kept["cells"] for t in c["metadata"].get("tags", [])}
        assert tags == ({"lang-en", "lang-zh"} if edition == "en-zh" else {f"lang-{edition[:2]}"})


def code(notebook):
    return [(c.source, c.metadata) for c in notebook.cells if c.cell_type == "code"]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_notebook_in_one_language_is_put_together_for_grading_like_the_bilingual_one(chapter, lang):
    solved = nbformat.read(ROOT / "solutions" / chapter / f"{chapter}.ipynb", as_version=4)
    alone = in_one_language(solved, lang)
    assert len(alone.cells) < len(solved.cells)
    assert code(assemble(alone, trusted_cells(solved))) == code(assemble(solved, trusted_cells(solved)))


@pytest.mark.parametrize("edition", ["en", "zh"])
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_notebook_that_a_reader_downloads_and_solves_gets_all_points(site, chapter, edition, tmp_path):
    kept = nbformat.read(site / edition / "_sources/exercises" / chapter / f"{chapter}.ipynb", as_version=4)
    solved = nbformat.read(ROOT / "solutions" / chapter / f"{chapter}.ipynb", as_version=4)
    answers = {c.metadata.nbgrader["grade_id"]: c.source for c in solved.cells if "nbgrader" in c.metadata}
    for c in kept.cells:
        if c.metadata.get("nbgrader", {}).get("solution"):
            c.source = answers[c.metadata.nbgrader["grade_id"]]
    nbformat.write(kept, tmp_path / "mine.ipynb")
    report = check(tmp_path / "mine.ipynb")[1]
    assert report["points"] == report["maximum"] > 0


def test_reading_takes_longer_with_more_words_or_more_code():
    short = {"cells": [cell("word " * 600, "en"), cell("字" * 900, "zh")]}
    assert minutes(short, "en") == minutes(short, "zh") == 3
    with_code = {"cells": [*short["cells"], cell("x = 1\n" * 60, grade=False)]}
    assert minutes(with_code, "en") == minutes(with_code, "zh") == 6
    long = {"cells": [cell("word " * 2600, "en")]}
    assert minutes(long, "en") == 15, "13 minutes, said in fives"


def test_a_line_stands_under_the_title_and_before_the_text():
    made = with_line_under_title(PAGE, {"en": "3 minutes", "zh": "3 分钟"})
    assert sources(made, "en")[0] == '(small)=\n# Small numbers\n\n<p class="page-facts">3 minutes</p>\n\nWords.'
    assert '<p class="page-facts">3 分钟</p>' in sources(made, "zh")[0]
