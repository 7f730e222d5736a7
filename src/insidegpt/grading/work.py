"""Run one submission: what a worker does, on this machine or on another one.

A worker is given a piece of work and gives an outcome back, both of them data. It has no gradebook and writes nowhere
but into a folder of its own, so what a worker that is killed, doubled or cut off has done is nothing at all.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.converters import Autograde
from nbgrader.preprocessors import SaveAutoGrades
from traitlets import import_item

from insidegpt.errors import UserError
from insidegpt.grading.intake import Course, Submission, contents, hidden_tests
from insidegpt.grading.preprocessors import recorded_cells
from insidegpt.grading.submission import read_notebook

OWN = ".grading"
"""The folder in the course for the lock, the log and the staging folder."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""What a disk that takes no more says: nothing about the submission."""

ROOM = 64 << 20
"""Bytes that must be free for temporary files, before a submission runs and after; else it may have lacked them."""


@dataclass(frozen=True)
class Work:
    """A submission to run. course: with no address of the gradebook. trusted: the chapter's cells, as recorded there.

    steps: what to do with the notebook, one after the other: nbgrader's preprocessors, or where they are to be found.
    files, tests: what `intake.contents` and `intake.hidden_tests` give; None: to be read from the course's folder.
    """

    submission: Submission
    course: Course
    trusted: list[NotebookNode]
    steps: list[type | str]
    files: dict[str, bytes] | None = None
    tests: dict[str, bytes] | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it: `notebook`, which has run, or the `reason` why it has not, with more for the log.

    unfit: why the worker, named `worker`, cannot run any submission; about this one nothing is said then.
    """

    notebook: str = ""
    reason: str = ""
    log: str = ""
    unfit: str = ""
    worker: str = ""


def pack(course: Course, found: list[Submission], stage: bool) -> Callable[[Submission], Work]:
    """What makes the work of each of these submissions. stage: it holds all that a worker without the folder needs."""
    config = deepcopy(course.config)
    del config.CourseDirectory["db_url"]
    chapters = {submission.chapter for submission in found}
    with course.gradebook() as gradebook:
        trusted = {chapter: recorded_cells(gradebook.find_notebook(chapter, chapter)) for chapter in chapters}
    tests = {chapter: hidden_tests(course, chapter) for chapter in chapters} if stage else {}
    to_run, _ = steps(course)

    def work(submission: Submission) -> Work:
        """Raises UserError when the submission's folder can no longer be read."""
        files = contents(course, submission) if stage else None
        chapter = submission.chapter
        return Work(submission, Course(course.root, config), trusted[chapter], to_run, files, tests.get(chapter))

    return work


def steps(course: Course) -> tuple[list[type | str], list[type | str]]:
    """nbgrader's steps as the course has them: those that make and run a notebook, and those that keep its grades."""
    autograde = Autograde(config=course.config)
    found = [*autograde.sanitize_preprocessors, *autograde.autograde_preprocessors]
    cut = next((n for n, step in enumerate(found) if issubclass(_class(step), SaveAutoGrades)), len(found))
    return found[:cut], found[cut:]


def _class(step: type | str) -> type:
    return import_item(step) if isinstance(step, str) else step


def execute(work: Work, scratch: Path | None = None, turn: Callable = nullcontext) -> Outcome:
    """Run a submission. scratch: where its folder may lie for the time; turn: called for what is held while it runs."""
    try:
        _expect_room(scratch)
        with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as place:
            outcome = _outcome(work, Path(place), turn)
        _expect_room(scratch)
    except OSError as error:
        if error.errno not in FULL:
            raise
        place = error.filename or tempfile.gettempdir()
        return Outcome(unfit=f"{place}: {error.strerror} · {place} 无法再写入（{error.strerror}）")
    return outcome


def _expect_room(scratch: Path | None) -> None:
    for place in {tempfile.gettempdir(), str(scratch or tempfile.gettempdir())}:
        if shutil.disk_usage(place).free < ROOM:
            raise OSError(errno.ENOSPC, "No space left on device", place)


def _outcome(work: Work, place: Path, turn: Callable) -> Outcome:
    try:
        return Outcome(_run(work, place, turn))
    except UserError as error:
        return Outcome(reason=str(error))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return Outcome(
            reason=f"nbgrader could not grade it ({what}): see {OWN}/log · nbgrader 无法批改（{what}）：请看 {OWN}/log",
            log=traceback.format_exc(),
        )


def _run(work: Work, place: Path, turn: Callable) -> str:
    """The notebook after the steps up to that which keeps grades, as JSON."""
    chapter, folder, config = work.submission.chapter, place / "submission", deepcopy(work.course.config)
    files = contents(work.course, work.submission) if work.files is None else work.files
    write(files, folder)
    if work.tests is not None:
        write(work.tests, place / "tests")
        config.ExecuteSubmission.tests = str(place / "tests")
    config.ExecuteSubmission.turn = turn
    names = {"student": work.submission.student, "assignment": chapter, "notebook": chapter, "trusted": work.trusted}
    resources = {"unique_key": chapter, "metadata": {"path": str(folder)}, "nbgrader": names}
    try:
        notebook = read_notebook(folder / f"{chapter}.ipynb")
    except UserError as error:
        raise UserError("this is not a notebook that can be read", "这不是能读取的笔记本") from error
    for step in work.steps:
        notebook, resources = _class(step)(config=config)(notebook, resources)
    return nbformat.writes(notebook)


def write(files: dict[str, bytes], folder: Path) -> None:
    """Write what `intake.contents` or `intake.hidden_tests` gave."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
