"""Runs in the trusted process: takes pieces of code from the grader, runs them in IPython, says what came of each.

A message to it is one of

    {"bind": names, "seconds": …}    the learner's functions and classes take part, see `judge.bind`
    {"run": source}                  answered by {"outputs": those of a notebook's cell, "execution_count": …}
    {"interrupt": true}              ends what runs with KeyboardInterrupt
    {"release": true}                see `judge.release`

When the connection closes, however that happened, the process ends at once.
"""

from __future__ import annotations

import json
import linecache
import os
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread

from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.jsonutil import json_default
from traitlets import Type
from traitlets.config import Config

from insidegpt.grading import judge


class LastValue(DisplayHook):
    """Makes the value of a piece's last expression an output."""

    def __call__(self, value: object = None) -> None:
        if value is not None and not self.quiet():
            data, metadata = self.compute_format_data(value)
            count = self.shell.execution_count
            self.shell.values.append(_output("execute_result", data=data, metadata=metadata, execution_count=count))


class JudgeShell(InteractiveShell):
    """IPython without a terminal: what a piece of code prints, shows and raises is there as a notebook's outputs."""

    displayhook_class = Type(LastValue)

    def piece(self, source: str) -> dict:
        """Run code; the answer to a message `run`."""
        self.values: list[dict] = []
        with capture_output() as said:
            ran = self.run_cell(source)
        printed = {"stdout": said.stdout, "stderr": said.stderr}
        outputs = [_output("stream", name=name, text=text) for name, text in printed.items() if text]
        outputs += [_output("display_data", data=o.data, metadata=o.metadata or {}) for o in said.outputs]
        outputs += self.values
        if error := ran.error_before_exec or ran.error_in_exec:
            outputs.append(self._error(error))
        self.execution_count += 1
        return {"outputs": outputs, "execution_count": self.execution_count - 1}

    def _error(self, error: BaseException) -> dict:
        """The error as an output; its traceback is the lines of cells that it went through, the first one first."""
        here = (step for step in traceback.walk_tb(error.__traceback__) if step[0].f_globals is self.user_ns)
        lines = [linecache.getline(frame.f_code.co_filename, number) for frame, number in here]
        return _output("error", ename=type(error).__name__, evalue=str(error), traceback=lines)

    def showtraceback(self, *args, **kwargs) -> None:
        """Print nothing: the error is among the outputs."""


def _output(kind: str, **fields: object) -> dict:
    """As nbformat's `new_output`, whose import takes long."""
    return {"output_type": kind, **fields}


def attend(connection: Connection) -> None:
    """Do what the messages say, one after the other, for as long as there is somebody at the other end."""
    todo: SimpleQueue[dict] = SimpleQueue()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_listen, args=(connection, todo), daemon=True).start()
    shell = JudgeShell.instance(config=Config(HistoryManager={"enabled": False}))
    while True:
        message = todo.get()
        if "bind" in message:
            with suppress(Exception):  # then the names are not there, as the code that wants them will say
                judge.bind(shell.user_ns, message["bind"], message["seconds"])
        elif "release" in message:
            judge.release()
        else:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            answer = shell.piece(message["run"])
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            connection.send_bytes(json.dumps(answer, default=json_default).encode())


def _listen(connection: Connection, todo: SimpleQueue) -> None:
    try:
        while True:
            message = json.loads(connection.recv_bytes())
            if "interrupt" in message:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                todo.put(message)
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    attend(Connection(int(sys.argv[1])))
