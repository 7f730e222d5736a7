"""The trusted process as the grader sees it: it is given pieces of code, and says what came of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from socket import socket

import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from insidegpt.grading.kernel import PRINTED, error
from insidegpt.grading.preloaded import Zygote
from insidegpt.grading.zygote import LINK

GRACE = 1.0
"""Seconds in which a piece that is interrupted can still say what it did."""


class JudgeProcess:
    """The process of `judge_shell.py`. It ends when this object's connection closes, with the grader at the latest."""

    def __init__(self, folder: Path, tests: str, preload: list[str], seconds: float, link: socket):
        """Start it, and do not wait until it is ready.

        folder: where it runs. tests: what stands first on its PYTHONPATH. preload: what it has imported.
        seconds: how long a piece may take. link: its end of the connection to the learner's process.
        """
        path = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "PYTHONPATH": path}
        self.seconds = seconds
        self._connection, other = Pipe()
        with other:
            if sys.platform == "linux":
                Zygote.ask(preload, {"judge": True, "env": env, "cwd": os.path.abspath(folder)}, other, link)
            else:
                _start_cold(env, folder, other, link)
        self.alive = True
        """Whether it can run code: it has not ended, and has not run out of time."""

    def bind(self, names: list[str], seconds: float) -> None:
        """Have it know the learner's objects of these names; a call of them may take so many seconds."""
        self._send({"bind": names, "seconds": seconds})

    def release(self) -> None:
        """Have it let the learner's process go on."""
        self._send({"release": True})

    def run(self, source: str) -> NotebookNode:
        """Run code; the cell that comes back says in its outputs what happened, even that the process has ended."""
        cell = new_code_cell(source)
        self._send({"run": source})
        try:
            late = not self._connection.poll(self.seconds)
            if late:
                self._send({"interrupt": True})
            if not late or self._connection.poll(GRACE):
                cell.update(nbformat.from_dict(json.loads(self._connection.recv_bytes())))
            stop = CellTimeoutError if late else None
        except (EOFError, OSError):
            stop = DeadKernelError
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = output.text[:PRINTED]
        if stop:
            cell.outputs.append(error(stop.__name__))
            self.alive = False
        return cell

    def stop(self) -> None:
        """Have it end, and do not wait until it has."""
        self._connection.close()
        self.alive = False

    def _send(self, message: dict) -> None:
        with suppress(OSError):  # it has ended: `run` will say so
            self._connection.send_bytes(json.dumps(message).encode())


def _start_cold(env: dict[str, str], folder: Path, connection: Connection, link: socket) -> None:
    """Start it as a new process, where there is none to be forked."""
    numbers = connection.fileno(), link.fileno()
    subprocess.Popen(
        [sys.executable, "-P", "-m", "insidegpt.grading.judge_shell", str(numbers[0])],
        env=env | {LINK: str(numbers[1])},
        cwd=folder,
        pass_fds=numbers,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
