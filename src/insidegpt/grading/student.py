"""Runs in the student's process: does what the judge asks of the functions and classes of the student's notebook.

It knows no expected value and decides nothing. A student who tampers with it changes what the answers look like,
which the answers themselves could do as well.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket

import torch
from torch.utils.hooks import RemovableHandle

from insidegpt.grading.peer import Peer
from insidegpt.grading.transport import Channel, StudentGone

LINK = "INSIDEGPT_LINK"
"""The environment variable with the number of the file descriptor of this end's socket."""

LIBRARIES = ("torch", "transformers", "types")


def connection() -> socket.socket:
    """This process's end of the link; closing it leaves the link open."""
    return socket.socket(fileno=os.dup(int(os.environ[LINK])))


class Student(Peer):
    """The end whose functions are called. The judge's modules are rebuilt here, of the same classes."""

    def __init__(self, channel: Channel, namespace: dict):
        super().__init__(channel, first=1)
        self._namespace = namespace

    def find_class(self, name: str, module: str) -> type | None:
        """The class of this name in a library that both have, else in the notebook."""
        if module.partition(".")[0] in LIBRARIES:
            with contextlib.suppress(ImportError, AttributeError):
                return getattr(importlib.import_module(module), name)
            return None
        found = self._namespace.get(name)
        return found if isinstance(found, type) else None

    def _perform(self, what: str, *given):
        if what == "names":
            return [(name in self._namespace, self._namespace.get(name)) for name in given]
        if what == "stop":
            raise _Stopped
        return super()._perform(what, *given)


class _Stopped(StudentGone):
    def __init__(self):
        super().__init__("the judge has finished", "评分已结束")


def serve(namespace: dict) -> None:
    """Answer the judge until it says stop or goes away. Blocks; leaves torch's settings as they were."""
    dtype, gradients, device = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device()
    # the numbers of hooks are keys in tables that both ends share, and the judge counts from 0
    RemovableHandle.next_id = max(RemovableHandle.next_id, 1 << 32)
    with connection() as end:
        student = Student(Channel(end), namespace)
        try:
            while True:
                _, box = student._receive()
                student.answer(box)
        except StudentGone:
            pass
        finally:
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
            if torch.get_default_device() != device:
                torch.set_default_device(device)
