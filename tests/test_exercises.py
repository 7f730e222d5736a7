"""The parts of an exercise that stand in different files belong together."""

import importlib
import re
from pathlib import Path

import nbformat
import pytest

from insidegpt.checks import Check
from insidegpt.grading.submission import grade_id, is_graded, is_solution

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted(path.parent.name for path in ROOT.glob("solutions/*/*.ipynb"))


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return request.param


@pytest.fixture
def notebook(chapter):
    return nbformat.read(ROOT / "solutions" / chapter / f"{chapter}.ipynb", as_version=4)


def test_every_test_cell_has_its_answer_cell_and_every_answer_cell_its_test(notebook):
    answers = [grade_id(cell) for cell in notebook.cells if is_solution(cell)]
    tests = [grade_id(cell) for cell in notebook.cells if is_graded(cell)]
    assert tests == [f"test-{name}" for name in answers]
    assert len(set(answers)) == len(answers) > 0


def test_every_test_cell_calls_the_check_of_its_exercise_for_the_points_it_states(chapter, notebook):
    for cell in filter(is_graded, notebook.cells):
        name = grade_id(cell).removeprefix("test-")
        assert f"from hidden.{chapter} import {name} as check" in cell.source
        assert f"check({name}, points={cell.metadata.nbgrader['points']:g})" in cell.source
        check = getattr(importlib.import_module(f"hidden.{chapter}"), name)
        assert isinstance(check, Check) and check.exercise == name


def test_the_statement_names_the_level_and_the_points_in_both_languages(notebook):
    points = [f"{cell.metadata.nbgrader['points']:g}" for cell in notebook.cells if is_graded(cell)]
    titles = re.findall(
        r"^## (★+) .*?[(（](\d+)(?: points?| 分)[)）]$", "\n".join(c.source for c in notebook.cells), re.M
    )
    assert [p for _, p in titles] == [p for p in points for _ in ("en", "zh")]
    assert all(en == zh for en, zh in zip(titles[::2], titles[1::2], strict=True))


def test_the_chapter_lists_its_exercises_with_the_points_that_they_give(chapter, notebook):
    page = nbformat.read(ROOT / "book" / f"{chapter}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in page.cells)
    for cell in filter(is_graded, notebook.cells):
        name = grade_id(cell).removeprefix("test-")
        rows = re.findall(rf"^\| `{name}`.*\| ★+ \| (\d+) \|$", text, re.M)
        assert rows == [f"{cell.metadata.nbgrader['points']:g}"] * 2, f"{name}: a row in each language"


def test_no_line_of_code_is_wider_than_the_page(chapter):
    """88 columns, as in the book's chapters."""
    released = nbformat.read(ROOT / "exercises" / chapter / f"{chapter}.ipynb", as_version=4)
    lines = [line for cell in released.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > 88] == []
