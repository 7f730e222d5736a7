"""One cheat in one course: handed in, graded, looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass

import nbformat

from cheats.course import CLASSMATE, Course
from cheats.grader import NOT_GRADED, Grader
from cheats.kit import Cheat, Submission


@dataclass(frozen=True)
class Outcome:
    """What a submission got: points, what harm it did in both languages, the first error that the grader met in it."""

    points: float
    harm: list[str]
    said: str


def grade_classmate(course: Course, grader: Grader) -> float:
    """Grade the honest classmate and return the points."""
    grader.grade(CLASSMATE)
    return course.points(CLASSMATE)


def attempt(cheat: Cheat, course: Course, grader: Grader) -> Outcome:
    """Hand the cheat in, have it graded, and put everything back as it was."""
    token = "t" + os.urandom(6).hex()  # also the student's name
    submission = Submission(course.released(), course, token)
    cheat.change(submission)
    submission.tell()
    folder = course.folder_of(token)
    folder.mkdir(parents=True)
    nbformat.write(submission.notebook, folder / submission.name)
    for name, content in submission.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    for name, target in submission.links.items():
        (folder / name).symlink_to(target)
    course.photograph()
    ends = grader.grade(token)
    points, said = course.points(token), course.said(token)
    harm = course.harm(token, token)
    if ends not in ("", NOT_GRADED):
        harm.insert(0, ends)
    return Outcome(points, harm, said or ends)
