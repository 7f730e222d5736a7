"""No cheating submission gets a point or does harm, and every honest one gets all points."""

import tempfile
from pathlib import Path

import pytest

from cheats import FAMILIES, load
from cheats.attempt import attempt, grade_classmate
from cheats.course import Course
from cheats.grader import Grader
from small_course import ROOT

CHEATS = load()


@pytest.fixture(scope="module")
def graded():
    """A course under this project's grading, and the grader that works in it. Not in /tmp; see `Course`."""
    (ROOT / "_build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "_build") as folder:
        course = Course(Path(folder), "course")
        grader = Grader(course)
        assert grade_classmate(course, grader) == 18
        yield course, grader
        grader.close()


def test_every_family_has_cheats():
    assert {c.family for c in CHEATS.values()} == set(FAMILIES)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_gains_nothing_and_harms_nobody(graded, name):
    outcome = attempt(CHEATS[name], *graded)
    assert (outcome.points, outcome.harm) == (0, [])


def test_an_honest_answer_still_gets_all_points_after_all_cheats(graded):
    assert grade_classmate(*graded) == 18
