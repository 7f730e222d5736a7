"""Runs in the trusted process: the student's functions and classes, as if they were defined here.

    bind(namespace, ["self_attention", "MultiHeadAttention"])
    ...                     # the graded cell, in that namespace
    release()

The judge reads data and nothing else. What it lends to the student (a function to call back, a model to look into)
may be called; of its attributes only public ones that are data can be read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from insidegpt.grading.peer import REQUEST, Peer
from insidegpt.grading.standins import RemoteModule, stand_in_for
from insidegpt.grading.student import connection
from insidegpt.grading.transport import Channel, LinkError, StudentGone

_DATA = (type(None), bool, int, float, complex, str, bytes, Tensor, torch.dtype, torch.device)


class Judge(Peer):
    """The end that calls. timeout: seconds that a call may take, with all that it calls back here."""

    def __init__(self, channel: Channel, timeout: float = 10):
        super().__init__(channel, first=2)
        self.timeout = timeout
        self._failed: LinkError | None = None
        self._made: dict[type, type] = {}

    def bind(self, namespace: dict, names: list[str]) -> None:
        """Set these names to what they are in the student's process; those that are missing there stay unset."""
        for name, (there, value) in zip(names, self.request("names", *names), strict=True):
            if there:
                namespace[name] = value

    def copies(self, kind: type) -> bool:
        """Configurations, tokenizers and the like: what is no more than its attributes."""
        library = kind.__module__.partition(".")[0]
        return kind is SimpleNamespace or dataclasses.is_dataclass(kind) or library == "transformers"

    def class_to_make(self, kind: type) -> type:
        """What the student has made stays there: even of a class of the judge's, this is a stand-in."""
        if not issubclass(kind, nn.Module):
            raise ValueError("an object of a class that is not the student's")
        if issubclass(kind, RemoteModule):
            return kind
        if kind not in self._made:
            self._made[kind] = stand_in_for(self, kind)
        return self._made[kind]

    def permit(self, target: object, what: str, name: str) -> None:
        """Let the student call what it was given to call, and read public attributes of it."""
        number = self.heap.number_of(target)
        entry = self.heap[number] if number is not None else None
        if entry is not None and entry.mine and entry.open and entry.kind in ("handle", "object"):
            if what == "call" and (name == "__call__" or (name == "forward" and isinstance(target, nn.Module))):
                return
            if what == "get" and not name.startswith("_") and self._is_data(getattr(target, name)):
                return
        raise AttributeError(f"{type(target).__name__}.{name} is not for answers to use · 答案不能使用它")

    def _is_data(self, x: object) -> bool:
        if isinstance(x, (list, tuple)):
            return all(map(self._is_data, x))
        if isinstance(x, dict):
            return all(self._is_data(key) and self._is_data(value) for key, value in x.items())
        return isinstance(x, _DATA) or self.copies(type(x))

    # --- one deadline a call, and no call after a failure

    def request(self, *root):
        """Ask the student. Raises BadReply or StudentGone, then and for every later request too."""
        if self._failed:
            raise self._failed.with_traceback(None)
        if self.channel.deadline is not None:  # within a call that the student makes while it answers
            return super().request(*root)
        self.channel.deadline = time.monotonic() + self.timeout
        try:
            return super().request(*root)
        finally:
            self.channel.deadline = None

    def _wait(self) -> tuple[bool, object]:
        try:
            return super()._wait()
        except BaseException as error:  # an interrupt too leaves an answer behind that is not awaited any more
            self._failed = error if isinstance(error, LinkError) else _over()
            with contextlib.suppress(OSError):
                self.channel.socket.shutdown(socket.SHUT_RDWR)
            raise

    def stop(self) -> None:
        """Let the student's process go on."""
        if self._failed is None:
            with contextlib.suppress(LinkError):
                self._send(REQUEST, ("stop",))
            self._failed = _over()
        self.channel.socket.close()


def _over() -> StudentGone:
    return StudentGone("the connection to your code is closed", "与你的代码的连接已关闭")


_judge: Judge | None = None


def bind(namespace: dict, names: list[str], timeout: float = 10) -> None:
    """Connect, and put the student's objects of these names into the namespace."""
    global _judge
    release()
    _judge = Judge(Channel(connection()), timeout)
    _judge.bind(namespace, names)


def release() -> None:
    """Let the student's process go on; what was bound cannot be used any more."""
    global _judge
    if _judge is not None:
        _judge.stop()
    _judge = None
