"""Grade a class: everything in `submitted/` that is new or has changed, with nbgrader's converters and gradebook.

The submissions are work for an executor: processes on this machine (`processes.py`) or a Dask cluster (`cluster.py`).
Its workers run notebooks (`work.py`), this process alone records what came of them (`record.py`), one submission after
the other: into the gradebook, then, as the last step, complete, to its place in `feedback/` and `autograded/`. The
graded notebook notes what it was made from. So a run can be killed at any moment, and the next one goes on with what
is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from insidegpt.errors import UserError
from insidegpt.grading.grades import print_table, rows, write_csv, write_for
from insidegpt.grading.intake import Course, Submission, submissions
from insidegpt.grading.preloaded import modules_for
from insidegpt.grading.processes import Processes
from insidegpt.grading.record import STAGED, GradebookLost, Recorder
from insidegpt.grading.work import OWN, Outcome, Work, pack

if TYPE_CHECKING:
    from insidegpt.grading.cluster import Cluster

NOT_YET = "not graded yet: run `insidegpt grade` · 尚未批改：请运行 `insidegpt grade`"

LONGEST = 30 * 60
"""Seconds that grading one submission may take; the cells' own time limits end nearly everything earlier."""


LOST = Outcome()
"""The outcome of work that was cancelled: nothing is known about it."""


def grade_class(
    root: Path,
    chapter: str | None,
    workers: int,
    console: Console,
    dask: str | None = None,
    stage: bool = False,
    system: str | None = None,
) -> bool:
    """Grade what is new or changed in the course at `root`, and write feedback, `grades.csv` and a table.

    chapter: only this one; None: all. workers: the code of how many submissions runs at the same time. dask: the
    address of a scheduler whose workers are used instead. stage: they do not see `root`, so their work brings along
    all that it takes. system: also write what this learning platform imports (`grades.write_for`).
    Returns whether everything that was handed in for these chapters is graded. Raises UserError when there is nothing
    to do or to go by, when another run is at work, or when nothing can go on.
    """
    course = Course.at(root)
    if chapter is not None and chapter not in course.chapters:
        known = ", ".join(course.chapters)
        raise UserError(
            f"No chapter {chapter} has been released, only {known}: check the name, or run `make exercises`.",
            f"没有发布过 {chapter} 这一章，只有 {known}：请检查名字，或运行 `make exercises`。",
        )
    with _alone(root / OWN):
        found = submissions(course)
        asked = [s for s in found if chapter in (None, s.chapter)]
        if not asked:
            raise UserError(f"Nothing has been handed in for {chapter}.", f"还没有人提交 {chapter}。")
        not_graded = {s: s.trouble for s in asked if s.trouble}
        for submission, reason in not_graded.items():
            _tell(console, course, submission, reason)
        to_do = [s for s in asked if not (s.trouble or s.current)]
        console.print(
            f"{len(to_do)} to grade, {len(asked) - len(to_do) - len(not_graded)} graded before · "
            f"待批改 {len(to_do)} 份，之前已批改 {len(asked) - len(to_do) - len(not_graded)} 份"
        )
        if to_do:
            course.config.ExecuteSubmission.preload = modules_for(root, chapter)
            with (root / OWN / "log").open("w", encoding="utf-8", errors="replace") as log:
                books, work = Recorder(course, log), pack(course, to_do, stage)
                with books, _executor(course, len(to_do), workers, dask, stage, log, console) as executor:
                    not_graded |= _grade_all(course, to_do, work, executor, books, log, console)
        for submission in not_graded:
            _withdraw(course, submission)
        others = {s: s.trouble or NOT_YET for s in found if s not in asked and not s.current}
        grades = rows(course, not_graded | others)
        write_csv(grades, root / "grades.csv")
        if system:
            write_for(system, grades, root / f"grades-{system}.csv")
    print_table([row for row in grades if chapter in (None, row.chapter)], console)
    return not not_graded


def _tell(console: Console, course: Course, submission: Submission, reason: str) -> None:
    where = os.path.relpath(submission.folder, course.root)
    console.print(f"[red]✗[/] {escape(where)}: {escape(reason)}", soft_wrap=True, highlight=False)


def _say(console: Console, sentence: str) -> None:
    console.print(escape(sentence), soft_wrap=True, highlight=False)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the course's lock; it goes with the process and those it forked. Raises UserError when another has it.

    What an earlier run left unfinished is swept away.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        for wait in (0.1, 0.5, 1, 2, None):  # the processes of a run that was just killed take a moment to follow it
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if wait is None:
                    raise UserError(
                        "Another `insidegpt grade` is at work in this course: wait until it has ended.",
                        "这门课程里已有一个 `insidegpt grade` 在运行：请等它结束。",
                    ) from None
                time.sleep(wait)
        _sweep(folder)
        (folder / STAGED).mkdir()
        try:
            yield
        finally:
            _sweep(folder)


def _sweep(folder: Path) -> None:
    shutil.rmtree(folder / STAGED, ignore_errors=True)


def _executor(
    course: Course, most: int, workers: int, dask: str | None, stage: bool, log: TextIO, console: Console
) -> Processes | Cluster:
    if dask is None:
        preload = course.config.ExecuteSubmission.preload
        return Processes(workers, most, preload, course.root / OWN / STAGED, log.fileno())
    from insidegpt.grading.cluster import Cluster  # only here: Dask need not be installed

    return Cluster(dask, None if stage else course.root, partial(_say, console))


def _grade_all(
    course: Course,
    to_do: list[Submission],
    work: Callable[[Submission], Work],
    executor: Processes | Cluster,
    books: Recorder,
    log: TextIO,
    console: Console,
) -> dict[Submission, str]:
    """Have the executor run the work of these and record what comes of it; return those not graded, with the reason."""
    waiting, ran, not_graded, confined = deque(to_do), deque(), {}, set()
    running: dict[Future, tuple[Submission, float]] = {}
    with _progress(console) as progress:
        task = progress.add_task("grading · 批改中", total=len(to_do))
        while waiting or running or ran:
            for _ in range(min(len(waiting), executor.slots - len(running))):
                submission = waiting.popleft()
                try:
                    running[executor.submit(executor.task, work(submission))] = submission, time.monotonic()
                except UserError as error:  # it has changed since it was examined
                    ran.append((submission, Outcome(reason=str(error))))
            if ran:
                submission, outcome = ran.popleft()
                reason, sandbox = _recorded(submission, outcome, books, log)
                if sandbox and sandbox not in confined:
                    confined.add(sandbox)
                    _say(console, sandbox)
                if reason:
                    not_graded[submission] = reason
                    _tell(console, course, submission, reason)
                progress.advance(task)
            for future in _next(running, 0.25 if (waiting or running) and not ran else 0):
                submission, begun = running.pop(future)
                outcome = _outcome(executor, future, time.monotonic() - begun)
                if outcome.unfit:
                    executor.dismiss(outcome)
                if outcome.unfit or outcome == LOST:
                    waiting.appendleft(submission)
                else:
                    ran.append((submission, outcome))
            for future, (_, begun) in running.items():
                if time.monotonic() - begun > LONGEST:
                    executor.stop(future)
            progress.refresh()
    return not_graded


def _next(running: dict[Future, tuple], seconds: float) -> set[Future]:
    """Those that are done; where there are none, wait a while for the first."""
    if not running:
        time.sleep(seconds)
    return wait(running, seconds, FIRST_COMPLETED).done


def _outcome(executor: Processes | Cluster, future: Future, seconds: float) -> Outcome:
    """What came of work that is done; LOST when it is to be done again."""
    try:
        return future.result()
    except Exception as error:
        if seconds > LONGEST:
            minutes = LONGEST // 60
            return Outcome(reason=f"not finished after {minutes} minutes, stopped · {minutes} 分钟后仍未批改完，已停止")
        if isinstance(error, CancelledError):
            return LOST
        end = executor.ending(future)
        return Outcome(
            reason=f"the process that graded it ended early ({end}): see {OWN}/log, and run this again · "
            f"批改它的进程提前结束（{end}）：请看 {OWN}/log，然后重新运行"
        )


def _recorded(submission: Submission, outcome: Outcome, books: Recorder, log: TextIO) -> tuple[str, str]:
    """Record it: why that could not be done, or ''; and how the student's code was confined, or ''."""
    print(outcome.log, end="", file=log, flush=True)
    if outcome.reason:
        return outcome.reason, ""
    try:
        return "", books.record(submission, outcome.notebook)
    except GradebookLost:
        raise
    except UserError as error:
        return str(error), ""


def _withdraw(course: Course, submission: Submission) -> None:
    """Take back what was graded of an earlier version, as nbgrader does: its grade is not this submission's."""
    if submission.chapter in course.chapters:
        graded = course.folder(course.places.autograded_directory, submission.student, submission.chapter)
        if graded.exists():
            aside = course.root / OWN / STAGED / "withdrawn" / submission.student / submission.chapter
            aside.parent.mkdir(parents=True, exist_ok=True)
            graded.rename(aside)


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # No thread for the display and no redirection: a process that is forked would inherit the thread's locks.
    return Progress(
        *columns,
        console=console,
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    )
