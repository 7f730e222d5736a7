"""The objects that both processes hold, and how they are kept equal.

A message carries the values that it is about, every object in them that the other end has not seen, and **every
change** to those that it has. The other end does the same to its own objects before anything else happens. So
arguments go over by copy and changes to them come back, and what was one object, or one piece of memory, on one side
is one on the other. An object leaves the heap when one side no longer refers to it; that side says so.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from insidegpt.grading.nodes import GLANCED, HISTORY, KINDS, SETTLED, kind_of
from insidegpt.grading.standins import COPY, HANDLE, MODULE, Remote, describe
from insidegpt.grading.transport import pack, unpack
from insidegpt.grading.values import pack_value, read_value

NODES = 200_000
"""How many objects both ends may hold at a time."""


class Entry:
    """An object that both ends hold, and its state when both were last the same."""

    __slots__ = ("glance", "history", "kept", "kind", "mine", "obj", "open", "state")

    def __init__(self, obj: object, kind: str, mine: bool, state: bytes = b""):
        self.obj, self.kind, self.mine, self.state = obj, kind, mine, state
        self.glance = None  # at the object, when it was found to be in this state
        self.open = False  # whether the other end was given it to call
        self.history = edge(obj) if kind == "tensor" else None  # of a tensor: what both ends know it to come from
        # until the other end lets go of it: what stands there for it leads back to it
        self.kept = kind == "class" or (
            mine and (kind in ("object", "handle", "tokenizer") or self.history is not None)
        )


def edge(x: Tensor) -> tuple | None:
    """What a tensor was computed by, as autograd names it; None for a leaf."""
    return (x.grad_fn, x.output_nr) if x.grad_fn is not None else None


def _uses(entry: Entry) -> int:
    return sys.getrefcount(entry.obj)


UNUSED = _uses(Entry(object(), "list", mine=True))
"""How many references Python counts on an object that only the heap refers to. An autograd graph counts as one too."""


def _unchanged(entry: Entry) -> bool:
    """Whether a glance shows that it is in the state in which it was found before; False where one must look."""
    if entry.glance is None:
        return False
    kind = KINDS[entry.kind]
    return kind.same(kind.glance(entry.obj), entry.glance)


@dataclass
class Draft:
    """What is about to be sent: data, and the numbers of the objects in it that the other end has not seen."""

    root: object
    changes: list[tuple]
    nodes: list[tuple]
    bulk: list[bytes]
    known: list[tuple[int, Entry]]
    fresh: list[int]
    states: dict[int, bytes]


class Heap:
    """One end's part. first: the first number of what comes from here, 1 or 2; the other end's are odd or even too.

    copies, make_class and class_to_make are `Peer`'s.
    """

    def __init__(self, first: int, copies: Callable, make_class: Callable, class_to_make: Callable):
        self.numbers = itertools.count(first, 2)
        self._first = first
        self._copies, self._make_class, self._class_to_make = copies, make_class, class_to_make
        self._entries: dict[int, Entry] = {}
        self._number_of: dict[int, int] = {}  # id of an object here → its number
        # the global generator is one and the same on both sides from the start
        self._put(0, Entry(torch.default_generator, "generator", mine=False))
        self._entries[0].kept = True

    def __getitem__(self, number: int) -> Entry:
        return self._entries[number]

    def __len__(self) -> int:
        return len(self._entries)

    def number_of(self, x: object) -> int | None:
        """The number of an object that both ends hold."""
        return self._number_of.get(id(x))

    # --- sending

    def draft(self, root: object) -> Draft:
        """Data of a value, with all that is new in it and all that has changed here. `commit` or `undo` it."""
        known, fresh, bulk = list(self._entries.items()), [], []
        draft = Draft(None, [], [], bulk, known, fresh, {})

        def number(x: object, call: bool = True) -> int:
            n = self._number_of.get(id(x))
            if n is None:
                n = next(self.numbers)
                self._put(n, Entry(x, self._kind(x), mine=True))
                fresh.append(n)
            self._entries[n].open |= call
            return n

        share = partial(pack_value, number)
        try:
            draft.root = share(root)
            for n, entry in known:
                if entry.kind in SETTLED or _unchanged(entry):
                    continue
                state = self._state(entry, number, share)
                if state != entry.state:
                    draft.states[n] = state
                    draft.changes.append(_outgoing(n, entry, state, bulk))
                elif entry.kind in GLANCED:
                    entry.glance = KINDS[entry.kind].glance(entry.obj)
            for n in fresh:  # which grows by what its objects refer to
                draft.states[n] = self._state(self._entries[n], number, share)
                draft.nodes.append(_outgoing(n, self._entries[n], draft.states[n], bulk))
        except BaseException:
            self.undo(draft)
            raise
        return draft

    def undo(self, draft: Draft) -> None:
        """As if the draft had never been made."""
        for n in draft.fresh:
            self._forget(n)

    def commit(self, draft: Draft) -> list[int]:
        """The draft is being sent: from now on the other end has it. Returns what it need not hold any more."""
        for n, state in draft.states.items():
            self._entries[n].state = state
        dropped = []
        for n in list(self._entries):  # an object stands before what it refers to
            if not self._entries[n].kept and _uses(self._entries[n]) == UNUSED:
                self._forget(n)
                dropped.append(n)
        return dropped

    def _kind(self, x: object) -> str:
        kind = kind_of(x)
        if kind != "handle":
            return kind
        if isinstance(x, Remote):
            raise TypeError("this object is not known any more · 这个对象已经失效")
        if self._copies(type(x)):
            return "tokenizer" if hasattr(x, "backend_tokenizer") else "object"
        return kind

    def _state(self, entry: Entry, number: Callable, share: Callable) -> bytes:
        x, kind = entry.obj, entry.kind
        if kind == "storage":
            return KINDS[kind].state(x)
        if kind == "class":
            return pack(describe(x, MODULE if issubclass(x, nn.Module) else COPY if self._copies(x) else HANDLE))
        if kind == "handle":  # its class as a node even where it is Python's own, as for a zip
            return pack(("@", number(type(x))))
        if kind == "object":  # what is stored in an object was not handed over to be called; a module's hooks were
            return pack(KINDS[kind].state(x, share, partial(pack_value, partial(number, call=False))))
        return pack(KINDS[kind].state(x, share))

    def _put(self, n: int, entry: Entry) -> None:
        self._entries[n] = entry
        self._number_of[id(entry.obj)] = n

    def _forget(self, n: int) -> None:
        entry = self._entries.pop(n)
        if self._number_of.get(id(entry.obj)) == n:
            del self._number_of[id(entry.obj)]

    # --- receiving

    def read(self, data: object) -> object:
        """The value of data whose objects have been taken."""
        return read_value(lambda n: self._entries[n].obj, data)

    def take(self, changes: tuple, nodes: tuple, bulk: memoryview) -> list[Entry]:
        """Make the new objects and change the known ones. Returns the tensors that come with a history.

        Raises anything for data that is not right.
        """
        if len(nodes) + len(self) > NODES:
            raise ValueError("too many objects")
        changes, rest = _incoming(changes, bulk)
        nodes, rest = _incoming(nodes, rest)
        if len(rest):
            raise ValueError("more bytes than tensors")
        to_fill = []
        for n, name, state, device in sorted(nodes, key=lambda node: _ORDER.get(node[1], len(_ORDER))):
            if type(n) is not int or n in self._entries or n % 2 == self._first % 2:
                raise ValueError("a number that is taken")
            data = state if name == "storage" else unpack(state)
            self._put(n, Entry(self._make(name, data, device), name, mine=False, state=state))
            if name != "storage":  # which is whole when it is made
                to_fill.append((self._entries[n], data))
        for n, name, state, _ in changes:
            entry = self._entries[n]
            if entry.kind != name or name in SETTLED:
                raise ValueError("a change of what does not change")
            entry.state, entry.glance = state, None
            to_fill.append((entry, state if name == "storage" else unpack(state)))
        for entry, data in to_fill:
            if entry.kind == "storage":
                KINDS["storage"].fill(entry.obj, data)
            elif entry.kind not in SETTLED:
                KINDS[entry.kind].fill(entry.obj, data, self.read)
        return [entry for entry, data in to_fill if entry.kind == "tensor" and data[5] == HISTORY]

    def drop(self, numbers: tuple) -> None:
        """Forget what the other end does not hold any more."""
        for n in numbers:
            if n == 0 or self._entries[n].kind == "class":
                raise ValueError("what stays was dropped")
            self._forget(n)

    def _make(self, name: str, data, device: str) -> object:
        if name == "storage":
            return KINDS[name].make(device, data)
        if name == "class":
            return self._make_class(*data)
        if name == "handle":
            kind = self.read(data)
            if not issubclass(kind, Remote):
                raise ValueError("no class of stand-ins")
            return object.__new__(kind)
        if name == "object":
            return KINDS[name].make(self._class_to_make(self.read(data[0])))
        return KINDS[name].make(data, self.read)


_ORDER = {"storage": 0, "class": 1}
"""What others are made with is made first."""


def _outgoing(n: int, entry: Entry, state: bytes, bulk: list[bytes]) -> tuple:
    """A node as it stands in a message; the bytes of a storage stand in the bulk."""
    if entry.kind != "storage":
        return n, entry.kind, state
    bulk.append(state)
    return n, entry.kind, len(state), str(entry.obj.device)


def _incoming(nodes: tuple, bulk: memoryview) -> tuple[list[tuple], memoryview]:
    """The nodes with their states, those of storages taken from the bulk in turn; and what is left of the bulk."""
    found = []
    for n, name, state, *device in nodes:
        if name == "storage":
            if not 0 <= state <= len(bulk):
                raise ValueError("fewer bytes than tensors")
            state, bulk = bytes(bulk[:state]), bulk[state:]
        found.append((n, name, state, device[0] if device else ""))
    return found, bulk
