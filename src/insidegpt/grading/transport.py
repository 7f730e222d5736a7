"""Frames over a connected stream socket: plain data in msgpack and the bytes of tensors, within caps and a deadline.

    frame = length of the tree (4 bytes) · length of the bulk (8 bytes) · tree (msgpack) · bulk

Only None, bool, int, float, str, bytes and nested arrays are read; nothing that arrives is ever executed. What a
tree means is for `values` and `peer` to say.
"""

from __future__ import annotations

import socket
import struct
import time

import msgpack

from insidegpt.errors import UserError

TREE, BULK = 8 << 20, 256 << 20
"""The most bytes of a frame's tree and of its bulk. A tree takes up to about 30 times its size once unpacked."""

_HEADER = struct.Struct(">IQ")
_PIECE = 1 << 16


class LinkError(UserError):
    """What went wrong between the two processes, in English and in Chinese."""


class BadReply(LinkError):
    """What came back is not what was agreed: wrong sizes, shapes or kinds, cut off, too large, too deep."""


class StudentGone(LinkError):
    """The other process ended, or did not answer in time."""


class TooLarge(LinkError):
    """A value does not fit into a frame; nothing has been sent."""


def malformed(why: str) -> BadReply:
    """The BadReply for this reason, which is for whoever looks into it."""
    why = why.replace("\n", " ")[:120]
    return BadReply(
        f"the process that runs your code sent something malformed ({why})",
        f"运行你的代码的进程发来了格式错误的数据（{why}）",
    )


def expect_fits(tree: int, bulk: int) -> None:
    """Raise TooLarge unless a frame may have a tree and a bulk of so many bytes."""
    for size, limit in ((tree, TREE), (bulk, BULK)):
        if size > limit:
            raise TooLarge(
                f"{size:,} bytes are too many to hand over, at most {limit:,} can be: return something smaller",
                f"数据有 {size:,} 字节，最多能传 {limit:,} 字节：请返回小一些的结果",
            )


def pack(tree: object) -> bytes:
    """The bytes of plain data. Raises TypeError or ValueError where it is not."""
    return msgpack.packb(tree, unicode_errors="surrogatepass")


def unpack(data: bytes) -> object:
    """The plain data in these bytes, arrays as tuples. Raises BadReply when there is anything else in them."""
    try:
        return msgpack.unpackb(
            data, use_list=False, unicode_errors="surrogatepass", object_pairs_hook=_refuse, ext_hook=_refuse
        )
    except Exception as error:
        raise malformed(type(error).__name__) from None


def _refuse(*what):
    raise ValueError("maps and extensions are not used")


class Channel:
    """One end of the connection. `deadline`, a time of `time.monotonic()`, ends every wait with StudentGone."""

    def __init__(self, connection: socket.socket):
        self.socket = connection
        self.deadline: float | None = None
        self._arrived = bytearray()  # and not yet read: a short frame comes whole

    def send(self, tree: object, bulk: list[bytes]) -> None:
        """Send one frame, which fits. Raises StudentGone when nobody reads it."""
        body, size = pack(tree), sum(map(len, bulk))
        try:
            self._wait()
            self.socket.sendall(b"".join((_HEADER.pack(len(body), size), body, *bulk)))
        except OSError as error:
            raise _gone(error) from None

    def receive(self) -> tuple[object, memoryview]:
        """The next frame: its tree and its bulk. Raises BadReply or StudentGone."""
        body, size = _HEADER.unpack(self._exactly(_HEADER.size))
        if body > TREE or size > BULK:
            raise malformed("too large")
        data = self._exactly(body + size)
        return unpack(data[:body]), memoryview(data)[body:]

    def _exactly(self, size: int) -> bytearray:
        """So many bytes; memory is taken as they arrive, whatever was announced."""
        try:
            while len(self._arrived) < size:
                self._wait()
                piece = self.socket.recv(_PIECE)
                if not piece:
                    raise ConnectionResetError
                self._arrived += piece
        except OSError as error:
            raise _gone(error) from None
        data, self._arrived = self._arrived[:size], self._arrived[size:]
        return data

    def _wait(self) -> None:
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
        else:
            self.socket.settimeout(None)


def _gone(error: OSError) -> StudentGone:
    if isinstance(error, TimeoutError):
        return StudentGone(
            "your code did not answer in time and was given up: is there an endless loop?",
            "你的代码没有按时返回结果，已放弃等待：是否有死循环？",
        )
    return StudentGone(
        "the process that runs your code has ended (it exited, crashed or ran out of memory)",
        "运行你的代码的进程已经结束（退出、崩溃或内存不足）",
    )
