"""Two processes that call each other's functions as if they were one.

Each end is a `Peer`. What can be copied is (see `heap`); what cannot (a function, a generator, an instance of a class)
stays where it is and has a stand-in on the other side, whose calls travel back. Messages alternate strictly, and
while one end waits for its reply it answers the other's requests:

    ("call", target, method, args, kwargs)    ("get", target, attribute)    ("set", target, attribute, value)
    ("vjp", tape, gradients)
"""

from __future__ import annotations

import torch
from torch import nn

from insidegpt.grading.heap import Heap
from insidegpt.grading.history import Tapes, stand_for_history
from insidegpt.grading.standins import HANDLE, MODULE, stand_in
from insidegpt.grading.transport import BadReply, Channel, LinkError, StudentGone, expect_fits, malformed, pack, unpack
from insidegpt.grading.values import DTYPES, dtype_name

REQUEST, REPLY = 0, 1


class Peer:
    """One end. first: the first number of the objects that come from here, 1 or 2; the other end has the other."""

    def __init__(self, channel: Channel, first: int):
        self.channel = channel
        self.heap = Heap(first, self.copies, self.make_class, self.class_to_make)
        self.tapes = Tapes(self.heap, lambda *given: self.request("vjp", *given))

    # --- what each end may decide for itself

    def copies(self, kind: type) -> bool:
        """Whether objects of this class, which are no modules, go over as their attributes."""
        return False

    def find_class(self, name: str, module: str) -> type | None:
        """The class here to be used for a class of the other end; None for a stand-in."""
        return None

    def make_class(self, name: str, module: str, use: str, methods: tuple) -> type:
        """The class here for one that the other end describes."""
        found = self.find_class(name, module) if use != HANDLE else None
        if found is not None and issubclass(found, nn.Module) == (use == MODULE):
            return found
        return stand_in(self, name, module, use, methods)

    def class_to_make(self, kind: type) -> type:
        """The class of an object that the other end has sent as one of this class."""
        return kind

    def permit(self, target: object, what: str, name: str) -> None:
        """Raise AttributeError unless the other end may do this with the target."""

    # --- asking and answering

    def request(self, *root):
        """Ask the other end; gives the value that comes back or raises the exception."""
        self._send(REQUEST, root)
        good, value = self._wait()
        if not good:
            raise value
        return value

    def _wait(self) -> tuple[bool, object]:
        """Answer requests until the reply comes: whether it is good, and the value or else the exception."""
        while True:
            kind, box = self._receive()
            if kind == REPLY:
                return box.pop()
            self.answer(box)

    def answer(self, box: list) -> None:
        """Do what the message in the box asks, and send the outcome.

        The box is emptied, so that nothing but the code that was called can still hold its arguments.
        """
        try:
            outcome = True, self._perform(*box.pop())
        except (StudentGone, BadReply):
            raise
        except BaseException as error:
            outcome = False, _bare(error)
        try:
            self._send(REPLY, outcome)
        except StudentGone:
            raise
        except Exception as error:  # the result cannot be handed over
            self._send(REPLY, (False, _bare(error)))

    def _perform(self, what: str, target: object, name: str = "", *given):
        if what == "vjp":
            return self.tapes.product(target, name)
        self.permit(target, what, name)
        if what == "get":
            return getattr(target, name)
        if what == "set":
            return setattr(target, name, *given)
        args, kwargs = given
        if name == "__exit__":  # tracebacks do not travel
            error = args[1]
            args = (None if error is None else type(error), error, None)
        try:
            return (target if name == "__call__" else getattr(target, name))(*args, **kwargs)
        finally:
            if name == "__exit__" and error is not None:
                _bare(error)

    # --- messages

    def _send(self, kind: int, root: object) -> None:
        draft, tape = self.heap.draft(root), None
        try:
            if kind == REPLY:
                tape = self.tapes.record(draft)
            settings = dtype_name(torch.get_default_dtype()), torch.is_grad_enabled(), str(torch.get_default_device())
            message = pack((kind, settings, draft.root, draft.changes, draft.nodes, self.tapes.done_with, tape))
            expect_fits(len(message) + 10 * len(self.heap), sum(map(len, draft.bulk)))
        except BaseException:
            self.heap.undo(draft)
            self.tapes.forget(tape[:1] if tape else [])
            raise
        self.tapes.done_with.clear()
        self.channel.send((message, self.heap.commit(draft)), draft.bulk)

    def _receive(self) -> tuple[int, list]:
        """The next message: its kind, and a box with what it is about."""
        tree, bulk = self.channel.receive()
        try:
            return self._take(tree, bulk)
        except LinkError:
            raise
        except Exception as error:  # whatever wrong data leads to
            raise malformed(f"{type(error).__name__}: {error}") from None

    def _take(self, tree: tuple, bulk: memoryview) -> tuple[int, list]:
        message, dropped = tree
        kind, settings, root, changes, nodes, done_with, tape = unpack(message)
        with_history = self.heap.take(changes, nodes, bulk)
        if kind == REQUEST:
            for entry in with_history:
                stand_for_history(entry)
        elif tape is not None:
            self.tapes.resume(*tape)
        self.tapes.forget(done_with)
        self._apply(kind, *settings)
        box = [self.heap.read(root)]
        self.heap.drop(dropped)
        if kind == REPLY:
            good, value = box[0]
            if not (good or isinstance(value, BaseException)):
                raise ValueError("no exception")
        elif kind != REQUEST:
            raise ValueError("neither request nor reply")
        return kind, box

    def _apply(self, kind: int, dtype: str, gradients: bool, device: str) -> None:
        """Take over the settings that what is called shares with its caller."""
        if DTYPES[dtype] != torch.get_default_dtype():
            torch.set_default_dtype(DTYPES[dtype])
        if gradients != torch.is_grad_enabled():
            torch.set_grad_enabled(bool(gradients))
        if kind == REQUEST and device != str(torch.get_default_device()):
            torch.set_default_device(device)


def _bare(error: BaseException) -> BaseException:
    """The exception without its traceback, which would keep every argument alive."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error
