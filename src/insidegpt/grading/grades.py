"""The grades of a class as the gradebook has them now, manual points and penalties included: a table and a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nbgrader.api import Assignment, Gradebook, SubmittedAssignment, SubmittedNotebook
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Query, selectinload, undefer

from insidegpt.grading.intake import Course, Submission


@dataclass(frozen=True)
class Row:
    """What one student has for one chapter.

    points: after the penalty for being late; None where nothing is graded, and then `reason` says why, in both
    languages. exercises: points by the exercise's name.
    """

    student: str
    chapter: str
    reason: str = ""
    points: float | None = None
    maximum: float | None = None
    hours_late: float = 0.0
    penalty: float = 0.0
    exercises: dict[str, float] = field(default_factory=dict)


def rows(course: Course, not_graded: Mapping[Submission, str]) -> list[Row]:
    """One row for each student and chapter; `not_graded` gives the reasons for the submissions without points.

    What was graded once and has since been removed from `submitted/` keeps its row, as it keeps its grade.
    """
    graded = {}
    with course.gradebook() as gradebook:
        for chapter in course.chapters:
            for submission in _submissions(gradebook, chapter):
                penalty = submission.late_submission_penalty or 0.0
                graded[submission.student_id, chapter] = Row(
                    submission.student_id,
                    chapter,
                    points=round(max(0.0, submission.score - penalty), 2),
                    maximum=submission.max_score,
                    hours_late=round(submission.total_seconds_late / 3600, 2),
                    penalty=penalty,
                    exercises={
                        grade.name.removeprefix("test-"): round(grade.score, 2)
                        for notebook in submission.notebooks
                        for grade in notebook.grades
                    },
                )
    graded |= {(s.student, s.chapter): Row(s.student, s.chapter, reason) for s, reason in not_graded.items()}
    return [graded[key] for key in sorted(graded, key=lambda key: (key[1], key[0]))]


def _submissions(gradebook: Gradebook, chapter: str) -> Query:
    """The graded submissions of a chapter with all that a row says, in a query for each table, not for each student."""
    of = SubmittedAssignment
    found = gradebook.db.query(of).join(of.assignment).filter(Assignment.name == chapter)
    sums = undefer(of.score), undefer(of.max_score), undefer(of.late_submission_penalty)
    return found.options(*sums, selectinload(of.notebooks).selectinload(SubmittedNotebook.grades))


def write_csv(grades: list[Row], path: Path) -> None:
    """Write the rows as a file that spreadsheet programs open with its Chinese intact; it is replaced as a whole."""
    exercises = dict.fromkeys((row.chapter, name) for row in grades for name in sorted(row.exercises))
    head = ["student", "chapter", "points", "maximum", "hours late", "penalty", "reason"]
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8-sig", newline="", errors="replace") as file:
        table = csv.writer(file)
        table.writerow([*head, *(f"{chapter}/{name}" for chapter, name in exercises)])
        for row in grades:
            known = [row.student, row.chapter, row.points, row.maximum, row.hours_late, row.penalty, row.reason]
            table.writerow([*known, *(row.exercises.get(e) if c == row.chapter else None for c, e in exercises)])
    os.replace(fresh, path)


def write_for(system: str, grades: list[Row], path: Path) -> None:
    """Write a file that the grade book of this learning platform, 'moodle' or 'canvas', imports.

    One row for a student, one column for a chapter; empty where nothing is graded. Canvas wants four columns before
    them and a second row with the maxima; it finds the students by their login, which is the name of their folder.
    """
    maxima = {row.chapter: row.maximum for row in grades if row.maximum is not None}
    points = {(row.student, row.chapter): row.points for row in grades}
    first = ["Student", "ID", "SIS Login ID", "Section"] if system == "canvas" else ["student"]
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        table = csv.writer(file)
        table.writerow([*first, *maxima])
        if system == "canvas":
            table.writerow(["Points Possible", "", "", "", *maxima.values()])
        for student in sorted({row.student for row in grades if row.points is not None}):
            known = [student, "", student, ""] if system == "canvas" else [student]
            table.writerow([*known, *(points.get((student, chapter)) for chapter in maxima)])


def print_table(grades: list[Row], console: Console) -> None:
    """Print a row for each submission."""
    table = Table()
    for title in ("student\n学生", "chapter\n章"):
        table.add_column(title, overflow="fold")
    for title in ("points\n分", "of\n满分", "hours late\n迟交（小时）"):
        table.add_column(title, justify="right")
    table.add_column("why not graded\n未批改的原因", overflow="fold")
    for row in grades:
        numbers = ("", "", "") if row.reason else (f"{row.points:g}", f"{row.maximum:g}", f"{row.hours_late:g}")
        table.add_row(*map(Text, (row.student, row.chapter, *numbers)), Text(row.reason.replace(" · ", "\n", 1), "red"))
    console.print(table)
