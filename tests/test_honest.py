"""Honest work loses nothing: every right answer, in every manner, saved by every program, gets all points."""

import pytest

import honest
from answers.attention import ANSWERS
from cheats.course import CHAPTER, Course
from cheats.grader import Grader

MANNERS, PROGRAMS = list(honest.MANNERS), ["JupyterLab", "VS Code", "Colab"]
MOST = max(map(len, ANSWERS.values()))
# every answer, every manner and every program at least once
STUDENTS = [(n % MOST, manner, PROGRAMS[n % 3]) for n, manner in enumerate(MANNERS)]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    course = Course(tmp_path_factory.mktemp("honest"), "course", timeout=60)
    grader = Grader(course)
    yield course, grader
    grader.close()


@pytest.mark.parametrize(("number", "manner", "program"), STUDENTS)
def test_a_right_answer_gets_all_points(graded, number, manner, program):
    course, grader = graded
    student = f"student{number}{manner}"
    path = course.folder_of(student) / f"{CHAPTER}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(honest.saved_by(program, honest.write(course.released(), number, manner)), encoding="utf-8")
    assert grader.grade(student) == ""
    assert course.points(student) == 18, course.said(student)


def test_every_right_answer_is_handed_in_by_somebody():
    assert {number for number, _, _ in STUDENTS} == set(range(MOST))
