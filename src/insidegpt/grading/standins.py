"""Classes whose objects stand in for those of the other process, and how a class is described to it."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from insidegpt.grading.peer import Peer

FORWARDED = frozenset(
    {"__call__", "__len__", "__bool__", "__iter__", "__next__", "__reversed__", "__contains__"}
    | {"__enter__", "__exit__", "__getitem__", "__setitem__", "__delitem__"}
)
"""The methods that Python looks up in the class: a stand-in has those that its original has."""

MODULE, COPY, HANDLE = "module", "copy", "handle"
"""What the objects of a class are on the other side: modules, copies of their attributes, or stand-ins."""


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
    """Stands in for a module of the other process, with parameters, buffers, submodules and attributes of its own.

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

    def __deepcopy__(self, memo: dict) -> RemoteModule:
        memo[id(self)] = twin = object.__new__(type(self))  # the other process makes one of its own when it sees it
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin


def describe(kind: type, use: str) -> tuple:
    """A class as plain data: its name, its module, what its objects are, and its methods in FORWARDED."""
    methods = {name for base in kind.__mro__[:-1] for name in vars(base)} & FORWARDED
    return kind.__name__, kind.__module__, use, sorted(methods)


def stand_in(peer: Peer, name: str, module: str, use: str, methods: tuple) -> type:
    """A class of stand-ins, or of plain copies, for what `describe` says of a class of the other end."""
    body = {"_peer": peer, "__module__": str(module)}
    forwarded = {method: _forwarded(method) for method in methods if method in FORWARDED}
    if use == COPY:
        return type(name, (SimpleNamespace,), {})
    if use == HANDLE:
        return type(name, (Remote,), body | forwarded)
    known = getattr(nn, name, None) if module.startswith("torch.nn.") else None
    if isinstance(known, type) and issubclass(known, nn.Module) and known is not nn.Module:
        return stand_in_for(peer, known)
    forwarded.pop("__call__", None)  # a module's is RemoteModule's
    return type(name, (RemoteModule,), body | forwarded)


def stand_in_for(peer: Peer, known: type[nn.Module]) -> type:
    """A class of stand-ins for modules of a class that is known here; its methods but `forward` run here."""
    return type(known.__name__, (RemoteModule, known), {"_peer": peer, "__module__": known.__module__})


def _forwarded(name: str):
    def method(self, *args, **kwargs):
        return self._peer.request("call", self, name, args, kwargs)

    return method
