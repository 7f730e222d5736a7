"""Two processes that call each other's functions as if they were one.

Each end is a `Peer` with a heap: the objects that both ends hold, by number. A message carries the values that it is
about, every object in them that the other end has not seen, and **every change** to those that it has; the other end
does the same to its own objects before anything else happens. So arguments go in by copy and come out by copy, what
was the same object or the same memory on one side is so on the other, and an argument that was changed in place is
changed for the caller too. An object leaves the heap when only one end still uses it; that end says so.

What cannot be copied (a function, a generator, an instance of a class) stays where it is and has a stand-in on the
other side, whose calls travel back. Gradients: what a call returned with a history behind it gets here a history of
one step, whose backward asks the other end for the vector-Jacobian product.

Messages alternate strictly, and while one end waits for its reply it answers the other's requests.
"""

from __future__ import annotations

import itertools
import sys
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from insidegpt.grading.transport import BadReply, Channel, LinkError, StudentGone, expect_fits, malformed, pack, unpack
from insidegpt.grading.values import DTYPES, HISTORY, KINDS, LEAF, SETTLED, dtype_name, kind_of, pack_value, read_value

REQUEST, REPLY = 0, 1

NODES = 200_000
"""How many objects both ends may hold at a time."""

FORWARDED = frozenset(
    ["__call__", "__len__", "__bool__", "__iter__", "__next__", "__reversed__", "__contains__", "__enter__", "__exit__", "__getitem__", "__setitem__", "__delitem__"]
)
"""The methods that Python looks up in the class: a stand-in has those that its original has."""


class Entry:
    """An object that both ends hold, and its state when both were last the same."""

    __slots__ = ("cut", "kept", "kind", "mine", "obj", "open", "state")

    def __init__(self, obj: object, kind: str, mine: bool, state: bytes = b""):
        self.obj, self.kind, self.mine, self.state = obj, kind, mine, state
        self.kept = kind == "class" or (mine and kind in ("object", "handle", "tokenizer"))  # until the other lets go
        self.open = False  # whether the other end may call it
        self.cut = False  # a tensor whose history is on the other side: a leaf here that stands for it


def _uses(entry: Entry) -> int:
    return sys.getrefcount(entry.obj)


UNUSED = _uses(Entry(object(), "list", mine=True))
"""How many references Python counts on an object that only the heap refers to. A history counts as one too."""


_FIRST = {"storage": 0, "class": 1}


def _outgoing(n: int, entry: Entry, state: bytes, bulk: list[bytes]) -> tuple:
    """A node as it stands in a message; the bytes of a storage stand in the bulk."""
    if entry.kind != "storage":
        return n, entry.kind, state
    bulk.append(state)
    return n, entry.kind, len(state), str(entry.obj.device)


def _incoming(nodes: tuple, bulk: memoryview) -> tuple[list[tuple], memoryview]:
    """The nodes with their states, the storages' taken from the bulk in turn; and what is left of it."""
    found = []
    for n, name, state, *device in nodes:
        if name == "storage":
            if not 0 <= state <= len(bulk):
                raise ValueError("fewer bytes than tensors")
            state, bulk = bytes(bulk[:state]), bulk[state:]
        found.append((n, name, state, device[0] if device else ""))
    return found, bulk


def _bare(error: BaseException) -> BaseException:
    """The exception without its traceback, which would keep every argument alive."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def _has_history(x: Tensor) -> bool:
    return x.requires_grad and not x.is_leaf


class Remote:
    """Stands in for an object of the other process. Its attributes and methods are that object's."""

    _peer: Peer

    def __new__(cls, *args, **kwargs):
        return cls._peer.request("call", cls, "__call__", args, kwargs)

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.request("get", self, name)

    def __setattr__(self, name: str, value: object):
        self._peer.request("set", self, name, value)


class RemoteModule(nn.Module):
    """Stands in for a module of the other process: the same parameters, buffers, submodules and attributes, here.

    What they hold is kept equal with each call; what the module computes is computed there.
    """

    _peer: Peer

    def __new__(cls, *args, **kwargs):
        return cls._peer.request("call", cls, "__call__", args, kwargs)

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return self._peer.request("get", self, name)

    def __call__(self, *args, **kwargs):
        return self._peer.request("call", self, "__call__", args, kwargs)

    def forward(self, *args, **kwargs):
        return self._peer.request("call", self, "forward", args, kwargs)


def _forwarded(name: str):
    def method(self, *args, **kwargs):
        return self._peer.request("call", self, name, args, kwargs)

    return method


class Peer:
    """One end. first: the first number of the objects that come from here, 1 or 2; the other end has the other."""

    def __init__(self, channel: Channel, first: int):
        self.channel, self._first = channel, first
        self._numbers = itertools.count(first, 2)
        self._heap: dict[int, Entry] = {}
        self._number_of: dict[int, int] = {}  # id of an object in the heap → its number
        self._tapes: dict[int, tuple[list[Tensor], list[Tensor]]] = {}  # of what was returned from here
        self._done_with: list[int] = []  # the other end's tapes that no graph here needs any more
        # the global generator is the same object on both sides from the start
        self._put(0, Entry(torch.default_generator, "generator", mine=False))
        self._heap[0].kept = True

    # --- what each end may decide for itself

    def copies(self, kind: type) -> bool:
        """Whether objects of this class, which are no modules, go over as their attributes."""
        return False

    def find_class(self, name: str, module: str) -> type | None:
        """The class here to be used for a class of the other end; None for a stand-in."""
        return None

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
                good, value = box.pop()
                if not good and not isinstance(value, BaseException):
                    raise malformed("no exception")
                return good, value
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
            return self._vjp(target, name)
        self.permit(target, what, name)
        if what == "get":
            return getattr(target, name)
        if what == "set":
            return setattr(target, name, *given)
        args, kwargs = given
        if name == "__exit__":  # tracebacks do not travel
            error = args[1]
            args = (type(error) if error else None, error, None)
        try:
            return (target if name == "__call__" else getattr(target, name))(*args, **kwargs)
        finally:
            if name == "__exit__" and error:
                _bare(error)

    # --- gradients

    def _tape(self, known: list, fresh: list[int]) -> tuple | None:
        """The number of a new tape, and of the tensors that are its outputs and inputs; None where there are none.

        The outputs are the new tensors with a history; the inputs are those that the other end has and that the
        history starts from. Where it goes through a tensor that the other end has, it starts there.
        """
        outputs = [n for n in fresh if self._heap[n].kind == "tensor" and _has_history(self._heap[n].obj)]
        if not outputs:
            return None
        between = {
            (entry.obj.grad_fn, entry.obj.output_nr): n
            for n, entry in known
            if entry.kind == "tensor" and _has_history(entry.obj)
        }
        stack = [self._heap[n].obj.grad_fn for n in outputs]
        seen, inputs = set(stack), {}
        while stack:
            for node, place in stack.pop().next_functions:
                if (node, place) in between:
                    inputs[between[node, place]] = None
                elif node is not None and node not in seen:
                    seen.add(node)
                    stack.append(node)
                    if type(node).__name__ == "AccumulateGrad" and id(node.variable) in self._number_of:
                        inputs[self._number_of[id(node.variable)]] = None
        tape = next(self._numbers)
        self._tapes[tape] = [self._heap[n].obj for n in outputs], [self._heap[n].obj for n in inputs]
        return tape, outputs, list(inputs)

    def _vjp(self, tape: int, gradients: list) -> list:
        """The gradients of a tape's inputs, given those of its outputs. Each input's is its own share alone."""
        outputs, inputs = self._tapes[tape]
        given = [(out, gradient) for out, gradient in zip(outputs, gradients, strict=True) if gradient is not None]
        if not given or not inputs:
            return [None] * len(inputs)
        arrived = {}

        def stop(place: int):  # what is before this input is for the other end to go through
            def hook(gradient: Tensor) -> Tensor:
                arrived[place] = gradient
                return torch.zeros_like(gradient)

            return hook

        hooks = [x.register_hook(stop(place)) for place, x in enumerate(inputs) if _has_history(x)]
        outputs, gradients = zip(*given, strict=True)
        found = torch.autograd.grad(outputs, inputs, gradients, retain_graph=True, allow_unused=True)
        for hook in hooks:
            hook.remove()
        return [arrived.get(place, gradient) for place, gradient in enumerate(found)]

    # --- sending

    def _send(self, kind: int, root: object) -> None:
        known, fresh = list(self._heap.items()), []

        def number(x: object, open_: bool = True) -> int:
            found = self._number_of.get(id(x))
            if found is None:
                found = next(self._numbers)
                self._put(found, Entry(x, self._kind(x), mine=True))
                fresh.append(found)
            self._heap[found].open |= open_
            return found

        tape = None
        try:
            tree = pack_value(number, root)
            bulk, nodes, changes, states = [], [], [], {}
            for n, entry in known:
                if entry.kind not in SETTLED:
                    state = self._state(entry, number)
                    if state != entry.state:
                        states[n] = state
                        changes.append(_outgoing(n, entry, state, bulk))
            for n in fresh:  # which grows by what its objects refer to
                states[n] = self._state(self._heap[n], number)
                nodes.append(_outgoing(n, self._heap[n], states[n], bulk))
            tape = self._tape(known, fresh) if kind == REPLY else None
            settings = dtype_name(torch.get_default_dtype()), torch.is_grad_enabled(), str(torch.get_default_device())
            message = pack((kind, settings, tree, nodes, changes, self._done_with, tape))
            expect_fits(len(message) + 10 * len(self._heap), sum(map(len, bulk)))
        except BaseException:
            for n in fresh:
                self._forget(n)
            if tape:
                del self._tapes[tape[0]]
            raise
        for n, state in states.items():
            self._heap[n].state = state
        self._done_with = []
        self.channel.send((message, self._sweep()), bulk)

    def _kind(self, x: object) -> str:
        kind = kind_of(x)
        if kind == "handle" and isinstance(x, Remote):
            raise TypeError("this object is not known any more · 这个对象已经失效")
        if kind == "handle" and self.copies(type(x)):
            return "tokenizer" if hasattr(x, "backend_tokenizer") else "object"
        return kind

    def _state(self, entry: Entry, number) -> bytes:
        x, kind = entry.obj, entry.kind
        if kind == "storage":
            return KINDS[kind].state(x)

        share = partial(pack_value, number)
        if kind == "class":
            use = "module" if issubclass(x, nn.Module) else "copy" if self.copies(x) else "handle"
            methods = {name for base in x.__mro__[:-1] for name in vars(base)} & FORWARDED
            return pack((x.__name__, x.__module__, use, sorted(methods)))
        if kind == "handle":
            return pack(share(type(x)))
        if kind == "object":  # what a module keeps for itself is not there to be called, its hooks are
            return pack(KINDS[kind].state(x, share, partial(pack_value, partial(number, open_=False))))
        state = KINDS[kind].state(x, share)
        if entry.cut and state[5] == LEAF:
            state = (*state[:5], HISTORY, *state[6:])
        return pack(state)

    def _sweep(self) -> list[int]:
        """Forget what nothing on this side refers to any more; the other end is told."""
        drops = []
        for n in list(self._heap):  # an object stands before what it refers to
            if not self._heap[n].kept and _uses(self._heap[n]) == UNUSED:
                self._forget(n)
                drops.append(n)
        return drops

    def _put(self, n: int, entry: Entry) -> None:
        self._heap[n] = entry
        self._number_of[id(entry.obj)] = n

    def _forget(self, n: int) -> None:
        entry = self._heap.pop(n)
        if self._number_of.get(id(entry.obj)) == n:
            del self._number_of[id(entry.obj)]

    # --- receiving

    def _receive(self) -> tuple[int, list]:
        tree, bulk = self.channel.receive()
        try:
            return self._take(tree, bulk)
        except LinkError:
            raise
        except Exception as error:  # whatever wrong data leads to
            raise malformed(f"{type(error).__name__}: {error}") from None

    def _take(self, tree: tuple, bulk: memoryview) -> tuple[int, list]:
        message, drops = tree
        kind, settings, root, nodes, changes, done_with, tape = unpack(message)
        if kind not in (REQUEST, REPLY) or len(nodes) + len(self._heap) > NODES:
            raise ValueError("too many objects")
        changes, rest = _incoming(changes, bulk)
        nodes, rest = _incoming(nodes, rest)
        if len(rest):
            raise ValueError("more bytes than tensors")

        read = partial(read_value, lambda n: self._heap[n].obj)
        nodes.sort(key=lambda node: _FIRST.get(node[1], len(_FIRST)))  # what others are made with stands first
        to_fill = []
        for n, name, state, device in nodes:
            if type(n) is not int or n in self._heap or n % 2 == self._first % 2:
                raise ValueError("a number that is taken")
            data = state if name == "storage" else unpack(state)
            entry = Entry(self._make(name, data, device, read), name, mine=False, state=state)
            self._put(n, entry)
            if name == "tensor" and data[5] == HISTORY:
                entry.cut = kind == REQUEST
                data = data if entry.cut else (*data[:5], 0, *data[6:])  # a reply's history comes with its tape
            if name != "storage":
                to_fill.append((entry, data))
        for n, name, state, _ in changes:
            entry = self._heap[n]
            if entry.kind != name or name in SETTLED:
                raise ValueError("a change of what does not change")
            entry.state = state
            to_fill.append((entry, state if name == "storage" else unpack(state)))
        for entry, data in to_fill:
            if entry.kind == "storage":
                KINDS["storage"].fill(entry.obj, data)
            elif entry.kind not in SETTLED:
                KINDS[entry.kind].fill(entry.obj, data, read)

        self._apply(kind, *settings)
        if tape and kind == REPLY:
            self._continue_history(*tape)
        for n in done_with:
            self._tapes.pop(n, None)
        box = [read(root)]
        for n in drops:
            if n == 0 or self._heap[n].kind == "class":
                raise ValueError("what stays was dropped")
            self._forget(n)
        return kind, box

    def _make(self, name: str, data, device: str, read) -> object:
        if name == "storage":
            return KINDS[name].make(device, data)
        if name == "class":
            return self._make_class(*data)
        if name == "handle":
            kind = read(data)
            if not issubclass(kind, Remote):
                raise ValueError("no class of a stand-in")
            return object.__new__(kind)
        if name == "object":
            return KINDS[name].make(self.class_to_make(read(data[0])))
        return KINDS[name].make(data, read)

    def _make_class(self, name: str, module: str, use: str, methods: tuple) -> type:
        found = self.find_class(name, module) if use != "handle" else None
        if found is not None:
            return found
        if use == "copy":
            return type(name, (SimpleNamespace,), {})
        body = {method: _forwarded(method) for method in methods if method in FORWARDED} | {"_peer": self}
        if use == "handle":
            return type(name, (Remote,), body)
        known = getattr(nn, name, None) if module.startswith("torch.nn.") else None
        if isinstance(known, type) and issubclass(known, nn.Module) and known is not nn.Module:
            return type(name, (RemoteModule, known), {"_peer": self})
        return type(name, (RemoteModule,), {**body, "__call__": RemoteModule.__call__})

    def _apply(self, kind: int, dtype: str, gradients: bool, device: str) -> None:
        """Take over the settings that what is called and its caller share."""
        if DTYPES[dtype] != torch.get_default_dtype():
            torch.set_default_dtype(DTYPES[dtype])
        if gradients != torch.is_grad_enabled():
            torch.set_grad_enabled(bool(gradients))
        if kind == REQUEST and device != str(torch.get_default_device()):
            torch.set_default_device(device)

    def _continue_history(self, tape: int, outputs: list[int], inputs: list[int]) -> None:
        """Give the outputs of a tape the history that its inputs have here."""
        outputs, inputs = ([self._heap[n].obj for n in numbers] for numbers in (outputs, inputs))
        floating = all(type(t) is Tensor and (t.is_floating_point() or t.is_complex()) for t in outputs)
        if not floating or any(t.requires_grad for t in outputs):
            raise ValueError("a gradient of what has none")
        # the anchor requires a gradient where only something that the other end keeps to itself does
        with torch.enable_grad():
            _History.apply(_Tape(self, tape), outputs, torch.zeros((), requires_grad=True), *inputs)


class _Tape:
    """A tape of the other end, for as long as a graph here may go back along it."""

    def __init__(self, peer: Peer, number: int):
        self._peer, self._number = peer, number

    def gradients(self, outputs: tuple, count: int) -> list:
        found = self._peer.request("vjp", self._number, list(outputs))
        if not isinstance(found, list) or len(found) != count:
            raise malformed("gradients of another number")
        return found

    def __del__(self):
        self._peer._done_with.append(self._number)


class _History(torch.autograd.Function):
    """The step of a graph here that stands for what the other end has computed."""

    @staticmethod
    def forward(ctx, tape: _Tape, outputs: list[Tensor], anchor: Tensor, *inputs: Tensor):
        ctx.set_materialize_grads(False)
        ctx.tape, ctx.count = tape, len(inputs)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        return None, None, None, *ctx.tape.gradients(gradients, ctx.count)
