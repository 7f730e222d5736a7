"""Grade a class: everything in `submitted/` that is new or has changed, with nbgrader's converters and gradebook.

Workers are processes forked from this one that grade one submission after the other; when one of them ends early, that
is the end of this submission alone, and another takes its place. Where there are cores to spare, two of them take
turns: while the code of one submission runs, the next one is converted and its processes start. A worker writes into a
staging folder and, as the last step, moves what is complete to its place in `feedback/` and `autograded/`. The graded
notebook notes what it was made from. So a run can be killed at any moment, and the next one goes on with what is
missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from multiprocessing import connection
from pathlib import Path

import nbformat
import nbgrader.api
import psutil
from nbformat.v4 import new_notebook
from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from traitlets import import_item

from insidegpt.errors import UserError
from insidegpt.grading.grades import print_table, rows, write_csv
from insidegpt.grading.intake import Course, Submission, mark, submissions
from insidegpt.grading.release import reason
from insidegpt.grading.submission import read_notebook
from insidegpt.grading.warm import Zygote, modules_for

OWN = ".grading"
"""The folder in the course for the lock, the log and the staging folder."""

STAGED = "staged"
"""The folder in it for what is not complete yet."""

NOT_YET = "not graded yet: run `insidegpt grade` · 尚未批改：请运行 `insidegpt grade`"

LONGEST = 30 * 60
"""Seconds that grading one submission may take; the cells' own time limits end nearly everything earlier."""


def grade_class(root: Path, chapter: str | None, workers: int, console: Console) -> bool:
    """Grade what is new or changed in the course at `root`, and write feedback, `grades.csv` and a table.

    chapter: only this one; None: all. workers: the code of how many submissions runs at the same time. Returns whether
    everything that was handed in for these chapters is graded. Raises UserError when there is nothing to do or to go
    by, or when another run is at work.
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
            _prepare(course)
            not_graded |= _grade_all(course, to_do, workers, console)
        for submission in not_graded:
            _withdraw(course, submission)
        others = {s: s.trouble or NOT_YET for s in found if s not in asked and not s.current}
        grades = rows(course, not_graded | others)
        write_csv(grades, root / "grades.csv")
    print_table([row for row in grades if chapter in (None, row.chapter)], console)
    return not not_graded


def _tell(console: Console, course: Course, submission: Submission, reason: str) -> None:
    where = os.path.relpath(submission.folder, course.root)
    console.print(f"[red]✗[/] {escape(where)}: {escape(reason)}", soft_wrap=True, highlight=False)


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
        try:
            yield
        finally:
            _sweep(folder)


def _sweep(folder: Path) -> None:
    shutil.rmtree(folder / STAGED, ignore_errors=True)


def _prepare(course: Course) -> None:
    """Do here, once, what each forked process would have to do again: import what grading takes."""
    autograde = Autograde(coursedir=course.places, config=course.config)
    feedback = GenerateFeedback(coursedir=course.places, config=course.config)
    for step in (*autograde.sanitize_preprocessors, *autograde.autograde_preprocessors, *feedback.preprocessors):
        if isinstance(step, str):
            import_item(step)
    nbformat.validate(new_notebook())  # compiles the schema
    Zygote.of(course.config.ExecuteSubmission.preload)
    gc.freeze()  # what is here by now is never collected, so its memory stays shared


def _grade_all(course: Course, to_do: list[Submission], workers: int, console: Console) -> dict[Submission, str]:
    """Grade these, running the code of `workers` at a time; return those that could not be graded, with the reason."""
    waiting, not_graded, confined = deque(to_do), {}, set()
    with (
        _progress(console) as progress,
        (course.root / OWN / "log").open("w", encoding="utf-8") as log,
        tempfile.TemporaryFile() as turns,
    ):
        task = progress.add_task("grading · 批改中", total=len(to_do))

        def hire(number: int) -> Worker:
            return Worker(course, number, log.fileno(), partial(_turn, turns.fileno(), number % workers))

        processes = min(len(to_do), max(workers, min(2 * workers, len(_cores()))))
        idle, running = [hire(n) for n in range(processes)], {}
        try:
            while waiting or running:
                while waiting and idle:
                    worker = idle.pop()
                    worker.begin(waiting.popleft())
                    running[worker.pipe] = worker
                for ready in connection.wait(list(running), timeout=0.25):
                    worker = running.pop(ready)
                    reason, sandbox = worker.outcome()
                    if sandbox and sandbox not in confined:
                        confined.add(sandbox)
                        console.print(escape(sandbox), soft_wrap=True, highlight=False)
                    if reason:
                        not_graded[worker.submission] = reason
                        _tell(console, course, worker.submission, reason)
                    idle.append(worker if worker.process.is_alive() else hire(worker.number))
                    progress.advance(task)
                for worker in running.values():
                    if worker.seconds > LONGEST:
                        worker.stop()
                progress.refresh()
        finally:
            for worker in [*idle, *running.values()]:
                worker.stop()
    return not_graded


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


class Worker:
    """A forked process that grades submissions. number: which of the workers it is."""

    def __init__(self, course: Course, number: int, log: int, turn: Callable):
        """Start it. log: the file descriptor where everything that it prints goes. turn: held while code runs."""
        context = multiprocessing.get_context("fork")
        self.number = number
        self.submission: Submission | None = None
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(course, number, theirs, self.pipe, log, turn))
        self.process.start()
        theirs.close()

    def begin(self, submission: Submission) -> None:
        """Have it grade this one; `pipe` can be read when `outcome` is there."""
        self.submission, self._started = submission, time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # it has ended: `outcome` says so
            self.pipe.send(submission)

    @property
    def seconds(self) -> float:
        """How long it has been at work on the submission."""
        return time.monotonic() - self._started

    def outcome(self) -> tuple[str, str]:
        """Why it could not grade the submission, or ''; and how the student's code was confined, or ''."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):  # it ended before it could say anything
            self.process.join()
        if self.seconds > LONGEST:
            minutes = LONGEST // 60
            return f"not finished after {minutes} minutes, stopped · {minutes} 分钟后仍未批改完，已停止", ""
        status = self.process.exitcode
        end = signal.Signals(-status).name if status < 0 else f"status {status}"
        return (
            f"the process that graded it ended early ({end}): see {OWN}/log, and run this again · "
            f"批改它的进程提前结束（{end}）：请看 {OWN}/log，然后重新运行",
            "",
        )

    def stop(self) -> None:
        """End it, with its kernels."""
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            _kill_with_children(self.process.pid)
            self.process.join()


def _work(
    course: Course,
    number: int,
    pipe: connection.Connection,
    parents: connection.Connection,
    log: int,
    turn: Callable,
) -> None:
    """Grade the submissions that come through the pipe, and send for each what `Worker.outcome` returns."""
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the kernels are shut down
    threading.Thread(target=_follow_parent, daemon=True).start()
    os.dup2(log, 1)
    os.dup2(log, 2)
    _stay_on_one_core(number)
    course.config.ExecuteSubmission.turn = turn
    # nbgrader opens the gradebook nine times a submission, and each new engine would compile every query again
    nbgrader.api.create_engine = functools.cache(nbgrader.api.create_engine)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_outcome(course, pipe.recv()))


def _outcome(course: Course, submission: Submission) -> tuple[str, str]:
    """Grade a submission: what `Worker.outcome` returns."""
    try:
        return "", _grade(course, submission)
    except UserError as error:
        return str(error), ""
    except Exception as error:
        traceback.print_exc()
        what = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return f"grading failed ({what}): see {OWN}/log · 批改失败（{what}）：请看 {OWN}/log", ""


@contextlib.contextmanager
def _turn(turns: int, which: int) -> Iterator[None]:
    """Hold one of the turns, which are bytes of a file: the system takes it back when the process ends."""
    fcntl.lockf(turns, fcntl.LOCK_EX, 1, which)
    try:
        yield
    finally:
        fcntl.lockf(turns, fcntl.LOCK_UN, 1, which)


def _cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _stay_on_one_core(number: int) -> None:
    """Keep the worker with its kernels on one core: they take turns, and hand over twice as fast without a move."""
    if hasattr(os, "sched_setaffinity"):
        cores = _cores()
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def _follow_parent() -> None:
    """Wait until the parent has died, however it did, then end this process and its kernels at once."""
    connection.wait([multiprocessing.parent_process().sentinel])
    _kill_with_children(os.getpid())


def _kill_with_children(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        os.kill(pid, signal.SIGKILL)


def _grade(course: Course, submission: Submission) -> str:
    """Grade it, write its feedback, put both in place; return how the student's code was confined, or ''."""
    student, chapter = submission.student, submission.chapter
    try:
        read_notebook(submission.folder / f"{chapter}.ipynb")
    except UserError as error:
        raise UserError("this is not a notebook that can be read", "这不是能读取的笔记本") from error
    final, staged = course.places, _staged(course, submission)
    _run(Autograde, staged)
    graded = Path(staged.format_path(staged.autograded_directory, student, chapter))
    mark(graded / f"{chapter}.ipynb", submission.fingerprint)
    _run(GenerateFeedback, staged)
    feedback = Path(staged.format_path(staged.feedback_directory, student, chapter))
    sandbox = json.loads((graded / f"{chapter}.ipynb").read_bytes())["metadata"]["insidegpt"].get("sandbox", "")
    _put(feedback, course.folder(final.feedback_directory, student, chapter))
    _put(graded, course.folder(final.autograded_directory, student, chapter))  # last: this says that all is done
    return sandbox


def _staged(course: Course, submission: Submission) -> CourseDirectory:
    """The course as nbgrader is to see it for this submission: what it writes goes into the staging folder."""
    config = deepcopy(course.config)
    for step in ("autograded_directory", "feedback_directory"):
        config.CourseDirectory[step] = f"{OWN}/{STAGED}/{step}"
    return CourseDirectory(config=config, assignment_id=submission.chapter, student_id=submission.student)


def _run(converter: type[BaseConverter], staged: CourseDirectory) -> None:
    """Let nbgrader do one step. Raises UserError with what went wrong; nbgrader's own words go to the log."""
    ran = capture_log(converter(coursedir=staged, config=staged.config))
    if not ran["success"]:
        said = ran.get("log", "") + ran["error"]
        print(said, file=sys.stderr)
        why = reason(said)
        raise UserError(
            f"nbgrader could not grade it ({why}): see {OWN}/log", f"nbgrader 无法批改（{why}）：请看 {OWN}/log"
        )


def _put(new: Path, place: Path) -> None:
    """Move a complete folder to its place; what was there goes to the staging folder, to be swept."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(new.with_name(f"{new.name} before"))
    new.rename(place)
