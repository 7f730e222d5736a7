"""Values without identity as plain data, and back: numbers, strings, tuples, dtypes … What has an identity is a node.

A node stands in the data as its number; `number` and `node` turn one into the other. See `nodes` for what nodes hold.
"""

from __future__ import annotations

import builtins
from functools import partial
from types import BuiltinFunctionType, EllipsisType, FunctionType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bool),
        *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    )
}

FUNCTIONS = {
    name: function
    for name, function in vars(F).items()
    if isinstance(function, BuiltinFunctionType | FunctionType) and not name.startswith("_")
}
"""What modules have for their activations; as numbers, they are the same on both sides."""

_FUNCTION_NAMES = {function: name for name, function in FUNCTIONS.items()}

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """The name under which a dtype travels. Raises TypeError for one that does not."""
    if dtype not in _NAMES:
        raise TypeError(f"{dtype} cannot be handed over · 无法传递 {dtype}")
    return _NAMES[dtype]


def numpy_dtype(dtype: str) -> np.dtype:
    """The numpy dtype of this name. Raises TypeError unless its elements are numbers."""
    found = np.dtype(dtype)
    if found.kind not in "biufc":
        raise TypeError(f"numpy arrays of {found} cannot be handed over · 无法传递 {found} 类型的 numpy 数组")
    return found


def _integer(text: str) -> int:
    return int(text, 16) if len(text) < 1 << 16 else wrong("an integer of too many digits")


def _builtin(name: str) -> type:
    found = getattr(builtins, name)
    return found if isinstance(found, type) else wrong(name)


def wrong(what: str):
    """Raise ValueError: the data is not what it should be."""
    raise ValueError(what)


_READ = {
    "i": lambda read, text: _integer(text),
    "c": lambda read, real, imag: complex(real, imag),
    "t": lambda read, *items: tuple(map(read, items)),
    "f": lambda read, *items: frozenset(map(read, items)),
    "S": lambda read, *sizes: torch.Size(sizes),
    "d": lambda read, name: DTYPES[name],
    "D": lambda read, name: torch.device(name),
    "r": lambda read, *bounds: range(*bounds),
    "s": lambda read, *bounds: slice(*map(read, bounds)),
    "e": lambda read: ...,
    "n": lambda read, dtype, data: np.frombuffer(data, numpy_dtype(dtype))[0],
    "T": lambda read, name: _builtin(name),
    "F": lambda read, name: FUNCTIONS[name],
}

_PACK = {
    complex: lambda x, pack: ("c", x.real, x.imag),
    torch.Size: lambda x, pack: ("S", *x),
    torch.dtype: lambda x, pack: ("d", dtype_name(x)),
    torch.device: lambda x, pack: ("D", str(x)),
    range: lambda x, pack: ("r", x.start, x.stop, x.step),
    slice: lambda x, pack: ("s", pack(x.start), pack(x.stop), pack(x.step)),
    EllipsisType: lambda x, pack: ("e",),
}

_PLAIN = frozenset({type(None), bool, float, str, bytes})
_NODES = frozenset({Tensor, nn.Parameter, torch.UntypedStorage, torch.Generator, list, dict, set})
"""The commonest classes whose objects are nodes, so that they need not be tried for all else first."""
_BARE = frozenset({int, *_PLAIN})


def pack_value(number, x: object) -> object:
    """A value as plain data; number(x) gives the number of a node."""
    kind = type(x)
    if kind in _PLAIN:
        return x
    if kind in _NODES:
        return "@", number(x)
    pack = partial(pack_value, number)
    if kind in _PACK:
        return _PACK[kind](x, pack)
    if isinstance(x, np.generic):
        return "n", numpy_dtype(x.dtype.str).str, x.tobytes()
    if isinstance(x, int):
        return int(x) if -(1 << 63) <= x < 1 << 63 else ("i", hex(x))
    if isinstance(x, tuple):
        return "t", *map(pack, x)
    if isinstance(x, frozenset):
        return "f", *map(pack, x)
    for base in (float, str, bytes):
        if isinstance(x, base):
            return base(x)
    if isinstance(x, BuiltinFunctionType | FunctionType) and x in _FUNCTION_NAMES:
        return "F", _FUNCTION_NAMES[x]
    if isinstance(x, type) and getattr(builtins, x.__name__, None) is x:
        return "T", x.__name__
    return "@", number(x)


def read_value(node, data: object) -> object:
    """The value of plain data; node(number) gives a node."""
    if type(data) in _BARE:
        return data
    if data[0] == "@":
        return node(data[1])
    return _READ[data[0]](partial(read_value, node), *data[1:])
