"""The workers of a Dask cluster, as a `concurrent.futures.Executor`. Imported only for `insidegpt grade --dask`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import insidegpt
from insidegpt.errors import UserError
from insidegpt.grading.work import Outcome, Work, execute
from insidegpt.repository import MARK

try:
    from distributed import Client, get_worker
except ModuleNotFoundError as error:
    raise UserError(
        "A cluster needs Dask, which is not installed: .venv/bin/pip install -e '.[cluster]'.",
        "使用集群需要 Dask，但尚未安装：.venv/bin/pip install -e '.[cluster]'。",
    ) from error

PATIENCE = 120
"""Seconds to wait for a worker when there is none: a scheduler and its workers may be starting again."""

LOOK = 1.0
"""Seconds between two looks at which workers there are."""


class Cluster(Executor):
    """A Dask cluster as it is at each moment: `slots` is the number of its workers that can grade.

    A worker runs one submission at a time. One that is killed has done nothing: Dask gives its work to another one, and
    reports the work of which several workers have died. When the scheduler is lost, the futures are cancelled.
    """

    def __init__(self, address: str, root: Path | None, tell: Callable[[str], None]):
        """Connect. root: the folder that workers must see; None: they need none. tell: called with a sentence.

        Raises UserError when no scheduler answers.
        """
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is lost is told here
        self._address, self._root, self._tell = address, root, tell
        self._fit: dict[str, bool] = {}
        self._given: dict[Future, set[str]] = {}
        self._looked, self._seen = 0.0, time.monotonic()
        self._connect()

    def _connect(self) -> None:
        try:
            self._client = Client(self._address, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"No Dask scheduler answers at {self._address}: start one with `dask scheduler`, or mend the address.",
                f"{self._address} 处没有 Dask 调度器回应：请用 `dask scheduler` 启动，或改正地址。",
            ) from error
        self._addresses: list[str] = []

    @property
    def slots(self) -> int:
        """How many submissions can run at a time now. Raises UserError when there has been no worker for a while."""
        if time.monotonic() - self._looked > LOOK:
            self._addresses, alone = self._look()
            self._looked = time.monotonic()
            if self._addresses:
                self._seen = self._looked
            elif self._looked - self._seen > PATIENCE:
                raise UserError(
                    f"There has been no worker that can grade at {self._address} for {PATIENCE} s: start some, then "
                    "run this again; it goes on from here.",
                    f"{self._address} 处已有 {PATIENCE} 秒没有能批改的 worker：请启动几个，再重新运行，会接着做。",
                )
            for future, workers in list(self._given.items()):
                if future.done():
                    del self._given[future]
                elif not alone and workers.isdisjoint(self._addresses):
                    future.cancel()  # no worker is left that may take it
        return len(self._addresses)

    def _look(self) -> tuple[list[str], bool]:
        """The workers there are that can grade; and whether there is no scheduler to ask."""
        try:
            if self._client.status == "closed":
                self._connect()
            threads = self._client.nthreads()
            new = [worker for worker in threads if worker not in self._fit]
            answers = self._client.run(_introduce, self._root, workers=new, on_error="return") if new else {}
        except (OSError, UserError):
            return [], True
        for worker, said in answers.items():
            if not isinstance(said, OSError):  # it has gone, or is busy: the next look tells
                self._welcome(worker, threads[worker], said)
        return [worker for worker in threads if self._fit.get(worker)], False

    def _welcome(self, worker: str, threads: int, said) -> None:
        """Note whether a worker can grade. said: what `_introduce` said there, or the exception that it raised."""
        why = ""
        if isinstance(said, Exception):
            why = f"it cannot run insidegpt ({said}) · 它不能运行 insidegpt（{said}）"
        elif said[0] != version():
            why = "its insidegpt is another version than here · 它的 insidegpt 与这里版本不同"
        elif not said[1]:
            why = f"it does not see {self._root}: share that folder, or grade with --stage · "
            why += f"它看不到 {self._root}：请共享该文件夹，或加上 --stage"
        elif threads != 1:
            why = f"it has {threads} threads: give it --nthreads 1 · 它有 {threads} 个线程：启动时请加 --nthreads 1"
        self._fit[worker] = not why
        if why:
            self._tell(f"{worker}: {why}")

    @staticmethod
    def task(work: Work) -> Outcome:
        """What to submit: `execute`, with the name of the worker."""
        worker = get_worker()
        return replace(execute(work, Path(worker.local_directory)), worker=worker.address)

    def submit(self, function: Callable, /, *args, **kwargs) -> Future:
        """Have one of the workers that can grade call it."""
        executor = self._client.get_executor(pure=False, workers=self._addresses)
        future = executor.submit(function, *args, **kwargs)
        self._given[future] = set(self._addresses)
        return future

    def stop(self, future: Future) -> None:
        """Give this one up; it may go on for a while, and nobody hears of it."""
        future.cancel()

    def ending(self, future: Future) -> str:
        """How the process that worked on this one has ended."""
        return type(future.exception()).__name__

    def dismiss(self, outcome: Outcome) -> None:
        """Give no more work to the worker that has said it is not fit."""
        self._tell(f"{outcome.worker}: {outcome.unfit}")
        self._fit[outcome.worker] = False
        self._addresses = [worker for worker in self._addresses if worker != outcome.worker]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster; what is not done is given up."""
        for future in self._given:
            future.cancel()
        self._client.close()


@cache
def version() -> str:
    """What the program of this package is, file by file."""
    digest = sha256()
    root = Path(insidegpt.__path__[0])
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)} ".encode() + path.read_bytes())
    return digest.hexdigest()


def _introduce(root: Path | None) -> tuple[str, bool]:
    """On a worker: its `version`, and whether it sees the folder."""
    return version(), root is None or (root / MARK).is_file()
