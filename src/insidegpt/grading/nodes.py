"""What each kind of node holds as plain data, and back: the one place that reads what the other process says of them.

A node is an object with an identity: a list of tensors is a node that names the nodes of its tensors, and a tensor
names its storage, so what was the same object or the same memory stays so. A kind of node has three functions:

    state(x, pack)         what x holds now, as plain data; two equal states mean that nothing changed
    make(state, read)      a new object of this state; what it refers to need not be filled in yet
    fill(x, state, read)   give an object, new or old, this state, in place

Two kinds have a fourth, because nearly always nothing has changed:

    glance(x)              what is quickly read and differs, as `same` compares, whenever the state does

`pack` and `read` turn a value inside a state into data and back. Whatever is wrong with a state raises, and the
reader of the message makes BadReply of every exception.
"""

from __future__ import annotations

import builtins
import ctypes
import math
import operator

import numpy as np
import torch
from torch import Tensor, nn

from insidegpt.grading.values import DTYPES, dtype_name, numpy_dtype, wrong

NUMEL = 1 << 26
"""The most elements of a tensor that arrives; an expanded one costs the sender nothing and the reader everything."""

# --- memory and tensors ---------------------------------------------------------------------------------------


def _bytes_of(storage: torch.UntypedStorage) -> bytes:
    if storage.device.type != "cpu":
        storage = storage.cpu()
    return ctypes.string_at(storage.data_ptr(), storage.nbytes())


class Storage:
    """The memory of tensors. Its state goes beside the tree: the device and the bytes."""

    @staticmethod
    def state(x: torch.UntypedStorage) -> bytes:
        return _bytes_of(x)

    @staticmethod
    def make(device: str, data: bytes) -> torch.UntypedStorage:
        storage = torch.UntypedStorage(len(data), device=torch.device(device))
        Storage.fill(storage, data)
        return storage

    @staticmethod
    def fill(x: torch.UntypedStorage, data: bytes) -> None:
        if x.nbytes() != len(data):  # what looks into it here would look beyond its end
            wrong("the memory of a tensor was resized")
        if x.device.type == "cpu":
            ctypes.memmove(x.data_ptr(), data, len(data))
        elif data:
            there = torch.empty(0, dtype=torch.uint8, device=x.device).set_(x, 0, (len(data),), (1,))
            there.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))


def _view(storage: torch.UntypedStorage, dtype: str, size: tuple, stride: tuple, offset: int) -> Tensor:
    """The tensor at this place of the storage, when it lies in it."""
    if not isinstance(storage, torch.UntypedStorage) or not len(size) == len(stride) <= 16:
        wrong("a tensor without memory")
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in (*size, *stride, offset)) or math.prod(size) > NUMEL:
        wrong("a tensor of impossible size")
    found = DTYPES[dtype]
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and (last + 1) * found.itemsize > storage.nbytes():
        wrong("a tensor larger than its memory")
    # .data, because a new tensor's version is 0, and set_ counts as a change
    view = torch.empty(0, dtype=found, device=storage.device).set_(storage, offset, size, stride).data
    if found is torch.bool and bool((view.view(torch.uint8) > 1).any()):
        wrong("a bool that is neither true nor false")
    return view


LEAF, HISTORY = 1, 2
"""Whether a tensor requires a gradient: by itself, or because it was computed from one that does."""


class TensorNode:
    """A tensor or a parameter: its place in a storage, whether it requires a gradient, and its `.grad`."""

    @staticmethod
    def state(x: Tensor, pack) -> tuple:
        if x.layout != torch.strided or x.is_meta:
            kind = f"{x.layout}, {x.device}"
            raise TypeError(f"a tensor of {kind} cannot be handed over · 无法传递 {kind} 的张量")
        plain = x if type(x) in (Tensor, nn.Parameter) else x.as_subclass(Tensor)
        if x.is_conj() or x.is_neg():
            plain = plain.detach().resolve_conj().resolve_neg()
        gradient = (LEAF if x.is_leaf else HISTORY) if x.requires_grad else 0
        return (
            *(pack(plain.untyped_storage()), dtype_name(x.dtype), tuple(x.shape), plain.stride()),
            *(plain.storage_offset(), gradient, isinstance(x, nn.Parameter), pack(x.grad if x.is_leaf else None)),
        )

    same = staticmethod(operator.eq)

    @staticmethod
    def glance(x: Tensor) -> tuple:
        grad = x.grad if x.is_leaf else None
        place = id(x.untyped_storage()), x.storage_offset(), x.shape, x.stride(), x.dtype
        return *place, x.requires_grad, x.is_leaf, id(grad), x.is_conj(), x.is_neg()

    @staticmethod
    def make(state: tuple, read) -> Tensor:
        view = _view(read(state[0]), *state[1:5])
        return nn.Parameter(view, requires_grad=False) if state[6] else view

    @staticmethod
    def fill(x: Tensor, state: tuple, read) -> None:
        storage, *place, gradient, _, grad = state
        storage = read(storage)
        now = [dtype_name(x.dtype), tuple(x.shape), x.stride(), x.storage_offset()]
        if x.is_conj() or x.is_neg() or now != place or x.untyped_storage() is not storage:
            x.data = _view(storage, *place)
        if x.is_leaf and gradient != HISTORY and x.requires_grad != (gradient == LEAF):
            x.requires_grad_(gradient == LEAF)
        if x.is_leaf:
            grad = read(grad)
            if x.grad is not grad:
                x.grad = grad


class GeneratorNode:
    """A source of random numbers and where it is in its sequence."""

    @staticmethod
    def state(x: torch.Generator, pack) -> tuple:
        now = x.get_state()
        return str(x.device), ctypes.string_at(now.data_ptr(), now.numel())

    @staticmethod
    def make(state: tuple, read) -> torch.Generator:
        return torch.Generator(state[0])

    @staticmethod
    def fill(x: torch.Generator, state: tuple, read) -> None:
        x.set_state(torch.frombuffer(bytearray(state[1]), dtype=torch.uint8))


class Array:
    """A numpy array; its memory is its own here."""

    @staticmethod
    def state(x: np.ndarray, pack) -> tuple:
        return numpy_dtype(x.dtype.str).str, x.shape, x.tobytes()

    @staticmethod
    def make(state: tuple, read) -> np.ndarray:
        dtype, shape, data = state
        return np.frombuffer(data, numpy_dtype(dtype)).reshape(shape).copy()

    @staticmethod
    def fill(x: np.ndarray, state: tuple, read) -> None:
        x[...] = Array.make(state, read)


# --- containers -----------------------------------------------------------------------------------------------


class List:
    """A list."""

    @staticmethod
    def state(x: list, pack) -> tuple:
        return tuple(map(pack, x))

    @staticmethod
    def make(state: tuple, read) -> list:
        return []

    @staticmethod
    def fill(x: list, state: tuple, read) -> None:
        x[:] = map(read, state)


class Dict:
    """A dict, in its order."""

    @staticmethod
    def state(x: dict, pack) -> tuple:
        return tuple((pack(key), pack(value)) for key, value in x.items())

    @staticmethod
    def make(state: tuple, read) -> dict:
        return {}

    @staticmethod
    def fill(x: dict, state: tuple, read) -> None:
        items = [(read(key), read(value)) for key, value in state]
        x.clear()
        x.update(items)


class Set:
    """A set; its elements are sorted by what they are as data, because their own order is another in each process."""

    @staticmethod
    def state(x: set, pack) -> tuple:
        return tuple(sorted(map(pack, x), key=repr))

    @staticmethod
    def make(state: tuple, read) -> set:
        return set()

    @staticmethod
    def fill(x: set, state: tuple, read) -> None:
        items = set(map(read, state))
        x.clear()
        x.update(items)


class GraphNode:
    """A networkx graph: directed or not, its attributes, nodes and edges."""

    @staticmethod
    def state(x, pack) -> tuple:
        nodes = tuple((pack(node), Dict.state(data, pack)) for node, data in x.nodes(data=True))
        edges = tuple((pack(u), pack(v), Dict.state(data, pack)) for u, v, data in x.edges(data=True))
        return x.is_directed(), x.is_multigraph(), Dict.state(x.graph, pack), nodes, edges

    @staticmethod
    def make(state: tuple, read):
        import networkx

        directed, multi, *_ = state
        name = ("Multi" if multi else "") + ("DiGraph" if directed else "Graph")
        return getattr(networkx, name)()

    @staticmethod
    def fill(x, state: tuple, read) -> None:
        def attributes(pairs):
            return {read(key): read(value) for key, value in pairs}

        *_, graph, nodes, edges = state
        x.clear()
        x.graph.update(attributes(graph))
        x.add_nodes_from((read(node), attributes(data)) for node, data in nodes)
        x.add_edges_from((read(u), read(v), attributes(data)) for u, v, data in edges)


# --- objects --------------------------------------------------------------------------------------------------

_TABLES = {name: type(value) for name, value in vars(nn.Module()).items() if isinstance(value, (dict, set))}
"""The parameters, buffers, submodules, hooks … of a module: tables of its own, which nothing else refers to."""


class Object:
    """A module, or an object that is no more than its attributes: its class and what `vars` gives.

    Made without its `__init__`. Hooks are functions in a module's tables, so they come and go like all it holds.
    """

    @staticmethod
    def state(x: object, pack, pack_attribute) -> tuple:
        attributes = vars(x)
        tables = {name: attributes[name] for name in _TABLES if attributes.get(name)}
        return (
            pack(type(x)),
            tuple((n, Set.state(t, pack) if _TABLES[n] is set else Dict.state(t, pack)) for n, t in tables.items()),
            tuple((n, pack_attribute(attributes[n])) for n in sorted(attributes) if n not in _TABLES),
        )

    @staticmethod
    def glance(x: object) -> list:
        """All that its attributes and tables refer to. What can change in place is a node of its own."""
        attributes = vars(x)
        seen = [type(x), *attributes, *attributes.values()]
        for name in _TABLES:
            if table := attributes.get(name):
                seen += table
                seen += table.values() if type(table) is not set else ()
        return seen

    @staticmethod
    def same(now: list, before: list) -> bool:
        return len(now) == len(before) and all(map(operator.is_, now, before))

    @staticmethod
    def make(kind: type) -> object:
        if not issubclass(kind, nn.Module):
            return kind.__new__(kind)
        x = object.__new__(kind)  # a stand-in's own __new__ asks the other process for one
        nn.Module.__init__(x)
        return x

    @staticmethod
    def fill(x: object, state: tuple, read) -> None:
        _, tables, attributes = state
        now, tables = vars(x), dict(tables)
        new = {name: read(value) for name, value in attributes if isinstance(name, str) and name not in _TABLES}
        if isinstance(x, nn.Module):
            for name, kind in _TABLES.items():
                (Set if kind is set else Dict).fill(now[name], tables.get(name, ()), read)
        for name in [name for name in now if name not in new and name not in _TABLES]:
            del now[name]
        now.update(new)


class Tokenizer:
    """A fast tokenizer of transformers: its class, its backend as JSON, its settings."""

    @staticmethod
    def state(x, pack) -> tuple:
        settings = {key: value for key, value in x.init_kwargs.items() if isinstance(value, (str, int, float))}
        return pack(type(x)), x.backend_tokenizer.to_str(), Dict.state(settings | x.special_tokens_map, pack)

    @staticmethod
    def make(state: tuple, read):
        from tokenizers import Tokenizer as Backend

        kind, backend, settings = state
        settings = {name: read(value) for name, value in settings}
        return read(kind)(tokenizer_object=Backend.from_str(backend), **settings)

    @staticmethod
    def fill(x, state: tuple, read) -> None:
        """A tokenizer is whole when it is made."""


class Error:
    """An exception: the names of its classes, what it says, and its arguments where they are plain."""

    @staticmethod
    def state(x: BaseException, pack) -> tuple:
        names = tuple(c.__name__ for c in type(x).__mro__ if issubclass(c, BaseException))
        try:
            said = str(x)[:2000]
        except Exception:
            said = ""
        return names, said, tuple(a if type(a) in (int, float, bool, str) else None for a in x.args)[:8]

    @staticmethod
    def make(state: tuple, read) -> BaseException:
        names, said, arguments = state
        found = (getattr(builtins, name, None) for name in names)
        base = next((c for c in found if isinstance(c, type) and issubclass(c, (Exception, SystemExit))), RuntimeError)
        # a class of its own, because the arguments alone do not always give the message back
        kind = type(str(names[0])[:80], (base,), {"__str__": lambda self: said})
        return kind.__new__(kind, *arguments)

    @staticmethod
    def fill(x, state: tuple, read) -> None:
        """An exception is whole when it is made."""


SETTLED = frozenset({"error", "tokenizer", "class", "handle"})
"""Kinds of nodes that are never looked at again for changes."""

KINDS = {
    "storage": Storage,
    "tensor": TensorNode,
    "list": List,
    "dict": Dict,
    "set": Set,
    "generator": GeneratorNode,
    "array": Array,
    "graph": GraphNode,
    "object": Object,
    "tokenizer": Tokenizer,
    "error": Error,
}

GLANCED = frozenset(name for name, kind in KINDS.items() if hasattr(kind, "glance"))

_BY_CLASS = (
    (Tensor, "tensor"),
    (torch.UntypedStorage, "storage"),
    (list, "list"),
    (dict, "dict"),
    (set, "set"),
    (nn.Module, "object"),
    (torch.Generator, "generator"),
    (np.ndarray, "array"),
    (type, "class"),
    (BaseException, "error"),
)


def kind_of(x: object) -> str:
    """The kind of node that a value is; "handle" for what stays where it is and is called from afar."""
    for base, name in _BY_CLASS:
        if isinstance(x, base):
            return name
    library = type(x).__module__.partition(".")[0]
    if library == "networkx" and hasattr(x, "is_multigraph"):
        return "graph"
    return "handle"
