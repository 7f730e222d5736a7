"""The workers on this machine: processes forked from this one, as a `concurrent.futures.Executor`."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_notebook

from insidegpt.errors import UserError
from insidegpt.grading.preloaded import Zygote
from insidegpt.grading.work import Outcome, Work, execute


@dataclass
class Lane:
    """A pool of one process, and what it was last given."""

    number: int
    pool: ProcessPoolExecutor
    process: multiprocessing.Process
    future: Future | None = None


class Processes(Executor):
    """So many processes that the code of `workers` submissions runs at a time; `slots` is their number.

    Each is a pool of its own: in a pool of several, the end of one process would be the end of all work. Where there
    are cores to spare, two of them take turns: while the code of one submission runs, the next one's processes start.
    """

    def __init__(self, workers: int, most: int, preload: list[str], scratch: Path, log: int):
        """Start them.

        most: how many are of use. preload: what a submission's processes have imported. scratch: a folder for theirs.
        log: where all that they print goes.
        """
        nbformat.validate(new_notebook())  # compiles the schema
        Zygote.of(preload)
        gc.freeze()  # what is here by now is never collected, so its memory stays shared
        self.slots = min(most, max(workers, min(2 * workers, len(_cores()))))
        self._turns = tempfile.TemporaryFile()  # noqa: SIM115  closed by `shutdown`
        self._begin = partial(_begin, workers, self._turns.fileno(), scratch, log)
        self._lanes = [self._lane(n) for n in range(self.slots)]

    def _lane(self, number: int) -> Lane:
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"), self._begin, (number,))
        pid = pool.submit(os.getpid).result()
        return Lane(number, pool, next(p for p in multiprocessing.active_children() if p.pid == pid))

    @staticmethod
    def task(work: Work) -> Outcome:
        """What to submit: `execute`, in a turn."""
        return execute(work, _here.scratch, _here.turn)

    def submit(self, function: Callable, /, *args, **kwargs) -> Future:
        """Have an idle process call it; there is one as long as fewer than `slots` futures are not done."""
        lane = next(lane for lane in self._lanes if lane.future is None or lane.future.done())
        if not lane.process.is_alive():
            lane.pool.shutdown()
            lane = self._lanes[lane.number] = self._lane(lane.number)
        lane.future = lane.pool.submit(function, *args, **kwargs)
        return lane.future

    def stop(self, future: Future) -> None:
        """End the process that works on this one."""
        _kill_with_children(self._of(future).process.pid)

    def ending(self, future: Future) -> str:
        """How the process that worked on this one has ended."""
        process = self._of(future).process
        process.join(1)
        if process.exitcode is None:  # it has not: what it did could not be sent here
            return type(future.exception()).__name__
        return signal.Signals(-process.exitcode).name if process.exitcode < 0 else f"status {process.exitcode}"

    def _of(self, future: Future) -> Lane:
        return next(lane for lane in self._lanes if lane.future is future)

    def dismiss(self, outcome: Outcome) -> None:
        """Of a worker that is not fit. All use the same disk here, so this raises UserError."""
        en, _, zh = outcome.unfit.partition(" · ")
        raise UserError(
            f"Nothing can be graded here ({en}): mend that, then run this again.",
            f"这里无法批改（{zh}）：请先解决，然后重新运行。",
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes, with their kernels; what they work on is lost."""
        for lane in self._lanes:
            _kill_with_children(lane.process.pid)
        for lane in self._lanes:
            lane.pool.shutdown(wait, cancel_futures=True)
        self._turns.close()


@dataclass(frozen=True)
class Here:
    """What a worker knows: where its folders may lie, and what to hold while a submission's code runs."""

    scratch: Path
    turn: Callable


_here: Here


def _begin(workers: int, turns: int, scratch: Path, log: int, number: int) -> None:
    """Make this process the worker of that number."""
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    threading.Thread(target=_follow_parent, daemon=True).start()
    os.dup2(log, 1)
    os.dup2(log, 2)
    _stay_on_one_core(number)
    _here = Here(scratch, partial(_turn, turns, number % workers))


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
        psutil.Process(pid).kill()
