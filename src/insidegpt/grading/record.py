"""Put what has run into the gradebook, write its feedback, and move both to their places.

The process that the teacher started does this alone, one submission at a time. So nothing is counted twice, and what a
worker says after it was given up is never written. Every step can be done again: a grade has its row in nbgrader's
tables, a folder its place.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TextIO

from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

from insidegpt.errors import UserError
from insidegpt.grading.intake import Course, Submission, contents, expect_gradebook, mark
from insidegpt.grading.release import reason
from insidegpt.grading.work import OWN, steps, write

STAGED = "staged"
"""The folder in `OWN` for what is not complete yet."""

WAITS = 1, 4, 15
"""Seconds before the second, third and fourth try, where the database has refused."""

PASSING = OperationalError, InterfaceError, IntegrityError
"""What may be otherwise the next time: the connection is lost, or another program has added the same student."""


class GradebookLost(UserError):
    """The database does not answer: nothing more can be recorded."""


class Keep(Autograde):
    """nbgrader's second half of autograding, with the steps that keep grades: the first has been done."""

    def convert_single_notebook(self, notebook_filename: str) -> None:
        self._sanitizing = False
        self._init_preprocessors()
        place = Path(self._format_dest(self.coursedir.assignment_id, self.coursedir.student_id))
        place.mkdir(parents=True, exist_ok=True)
        BaseConverter.convert_single_notebook(self, shutil.copy(notebook_filename, place))


class Recorder:
    """Records what has run. log: where nbgrader's words go. Use it as a context manager."""

    def __init__(self, course: Course, log: TextIO):
        self._course, self._log, self._refused = course, log, False
        self._config = deepcopy(course.config)
        self._config.CourseDirectory.submitted_directory = f"{OWN}/{STAGED}/ran"
        for step in ("autograded_directory", "feedback_directory"):
            self._config.CourseDirectory[step] = f"{OWN}/{STAGED}/{step}"
        self._config.Autograde.autograde_preprocessors = steps(course)[1]

    def __enter__(self) -> Recorder:
        event.listen(Engine, "handle_error", self._on_error)
        self._open, self._opened = Gradebook.__init__, {}
        Gradebook.__init__ = functools.partialmethod(_open_once, self._open, self._opened)
        self._course.gradebook().close()  # now, while nothing waits for it
        return self

    def __exit__(self, *error) -> None:
        Gradebook.__init__ = self._open
        event.remove(Engine, "handle_error", self._on_error)

    def _on_error(self, context) -> None:
        self._refused |= isinstance(context.sqlalchemy_exception, PASSING)

    def record(self, submission: Submission, notebook: str) -> str:
        """Record the notebook, which has run; return how the student's code was confined, or ''.

        Where the database refuses, it is tried again. Raises UserError when nbgrader cannot do it, and GradebookLost
        when the database no longer answers.
        """
        for wait in (*WAITS, None):
            self._refused = False
            try:
                return self._record(submission, notebook)
            except UserError:
                if not self._refused:
                    raise
                if wait is None:
                    self._expect_gradebook()
                    raise
            print(f"the gradebook refused, again in {wait} s", file=self._log, flush=True)
            time.sleep(wait)

    def _expect_gradebook(self) -> None:
        try:
            expect_gradebook(self._course.places.db_url)
        except UserError as error:
            raise GradebookLost(error.en, error.zh) from error

    def _record(self, submission: Submission, notebook: str) -> str:
        student, chapter, final = submission.student, submission.chapter, self._course.places
        staged = CourseDirectory(config=self._config, assignment_id=chapter, student_id=student)

        def place(step: str) -> Path:
            return Path(staged.format_path(step, student, chapter))

        graded = place(staged.autograded_directory)
        write(contents(self._course, submission), place(staged.submitted_directory))
        (place(staged.submitted_directory) / f"{chapter}.ipynb").write_text(notebook, encoding="utf-8")
        self._convert(Keep, staged)
        mark(graded / f"{chapter}.ipynb", submission.fingerprint)
        self._convert(GenerateFeedback, staged)
        _put(place(staged.feedback_directory), self._course.folder(final.feedback_directory, student, chapter))
        shutil.rmtree(place(staged.submitted_directory))
        _put(graded, self._course.folder(final.autograded_directory, student, chapter))  # last: all is done
        return json.loads(notebook)["metadata"].get("insidegpt", {}).get("sandbox", "")

    def _convert(self, converter: type[BaseConverter], staged: CourseDirectory) -> None:
        """Let nbgrader do one step. Raises UserError with what went wrong; nbgrader's own words go to the log."""
        with contextlib.redirect_stderr(self._log):
            ran = capture_log(converter(coursedir=staged, config=self._config, force=True))
        if not ran["success"]:
            said = ran.get("log", "") + ran["error"]
            print(said, file=self._log, flush=True)
            why = reason(said)
            raise UserError(
                f"nbgrader could not grade it ({why}): see {OWN}/log", f"nbgrader 无法批改（{why}）：请看 {OWN}/log"
            )


def _open_once(gradebook: Gradebook, first: Callable, opened: dict, *given, **named) -> None:
    """In place of `Gradebook.__init__`, which nbgrader calls nine times a submission.

    Each time it would look for every table, and compile every query again.
    """
    if not opened:
        first(gradebook, *given, **named)
        opened.update(vars(gradebook))
    vars(gradebook).update(opened)


def _put(new: Path, place: Path) -> None:
    """Move a complete folder to its place; what was there goes to the staging folder, to be swept."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(new.with_name(f"{new.name} before"))
    new.rename(place)
