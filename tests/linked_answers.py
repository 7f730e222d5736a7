"""What the student's process of test_judge.py knows: small functions and classes, right and wrong."""

import contextlib
import copy
import gc
import os
import time

import numpy as np
import torch
from torch import nn

here = 3


def same(x):
    return x


def called_with(*args, **kwargs):
    return args, kwargs


def double(x):
    return 2 * x


def add_one_in_place(x):
    x += 1


def first_row(x):
    return x[0]


def storages_shared(a, b):
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def is_same(a, b):
    return a is b


def kinds_of_tensors():
    base = torch.arange(12.0).reshape(3, 4)
    return {
        "bf16": base.bfloat16(),
        "bool": base > 5,
        "complex": torch.complex(base, -base),
        "conj": torch.complex(base, -base).conj(),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "expanded": base[:, :1].expand(3, 5),
        "transposed": base.T,
        "parameter": nn.Parameter(base),
        "half": base.half(),
    }


def sparse():
    return torch.eye(3).to_sparse()


def tied(x):
    return x.view(-1), x.T


def square_and_sum(x, w):
    y = x * x @ w
    return {"y": y, "more": [y.sum(), (x.detach() * 3, x > 0)]}


class Cache:
    """A key cache: grows, has a length, can be emptied."""

    scale = 2.0

    def __init__(self, room):
        if room < 1:
            raise ValueError(f"no room: {room}")
        self.room = room
        self.keys = None

    def update(self, k):
        keys = k if self.keys is None else torch.cat([self.keys, k])
        if len(keys) > self.room:
            raise OverflowError(f"{len(keys)} of {self.room}")
        self.keys = keys
        return keys

    def reset(self):
        self.keys = None

    def __len__(self):
        return 0 if self.keys is None else len(self.keys)


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.one = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.two = nn.Linear(width, width)
        self.two.weight = self.one.weight
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x, shift=0):
        self.calls += 1
        return self.two(torch.tanh(self.norm(self.one(x)))) + shift

    def half_way(self, x):
        return self.one(x)


class MyError(KeyError):
    pass


def raises(kind):
    if kind == "blank":
        raise NotImplementedError
    if kind == "own":
        raise MyError("odd", 3)
    if kind == "index":
        return [][5]
    if kind == "exit":
        raise SystemExit(2)
    if kind == "interrupt":
        raise KeyboardInterrupt
    return torch.zeros(2) @ torch.zeros(3)


def pieces(x, n):
    for start in range(0, len(x), n):
        yield x[start : start + n]


def numbered(x):
    return zip(range(len(x)), x, strict=True)


def counts_calls(encode, texts):
    return [encode(text) for text in texts], encode.vocabulary


def looks_around(thing, name):
    return getattr(thing, name)


def calls_method(thing, name):
    return getattr(thing, name)()


@contextlib.contextmanager
def capture(model, names):
    seen, handles = {}, []
    for name in names:

        def hook(module, args, output, name=name):
            seen[name] = output.detach()

        handles.append(model.get_submodule(name).register_forward_hook(hook))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def capture_forgetting_the_hooks(model, names):
    seen = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda m, a, out, name=name: seen.update({name: out}))
    yield seen


@contextlib.contextmanager
def ablated(model, name):
    def hook(module, args):
        return (args[0] * 0,)

    handle = model.get_submodule(name).register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def changes_everything(model, items, table, generator, array):
    model.eval()
    model.colour = "red"
    model.register_buffer("mask", torch.ones(2))
    with torch.no_grad():
        model.weight.mul_(2)
    model.bias = None
    items.append(items[0])
    table["new"] = table.pop("old")
    torch.rand(3, generator=generator)
    array += 1


def gradient_inside(w):
    (w * w).sum().backward()


def in_place_of_something_computed(x, w):
    x *= w
    return x, x * 2


def draws():
    return torch.rand(4)


def default_dtype():
    return torch.tensor(1.5).dtype, torch.is_grad_enabled()


def numpy_things(array):
    return np.float64(1.5), array.astype(np.int16), array.dtype.kind


def graph():
    import networkx

    made = networkx.DiGraph(name="g")
    made.add_edge("a", "b", weight=0.5)
    return made


def copies(model):
    return copy.deepcopy(model)


def generated(model, ids):
    return model(ids).logits.argmax(-1)


def tokens(tokenizer, text):
    return tokenizer(text)["input_ids"], tokenizer.eos_token_id


def loops_for_ever():
    while True:
        time.sleep(0.01)


def dies():
    os._exit(1)


def objects_alive():
    gc.collect()
    return sum(isinstance(x, torch.Tensor) for x in gc.get_objects())


def too_much():
    return torch.zeros(300 << 20, dtype=torch.uint8)


nested_list = [[1, 2], {"three": (4, 5.0, None, True)}]
