"""A student's process for tests: `python linked.py MODULE` serves the names of a test module over INSIDEGPT_LINK."""

import contextlib
import importlib
import os
import socket
import subprocess
import sys

from insidegpt.grading.judge import Judge
from insidegpt.grading.student import LINK, serve
from insidegpt.grading.transport import Channel


@contextlib.contextmanager
def student(module: str, timeout: float = 120):
    """A judge whose student's process knows the names of this test module."""
    here, there = socket.socketpair()
    environment = {**os.environ, LINK: str(there.fileno())}
    process = subprocess.Popen([sys.executable, __file__, module], pass_fds=[there.fileno()], env=environment)
    there.close()
    judge = Judge(Channel(here), timeout)
    try:
        yield judge
    finally:
        judge.stop()
        process.kill()
        process.wait()


if __name__ == "__main__":
    serve(vars(importlib.import_module(sys.argv[1])))
