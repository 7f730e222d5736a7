"""Gradients through a call that another process computed.

What a call returns may have a history there. Here it gets a history of one step from the tensors that it depends on
and that both ends hold. Its backward asks the other end for the vector-Jacobian product along the *tape* on which that
end keeps the outputs and inputs, for as long as the step here exists.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import GradientEdge

from insidegpt.grading.heap import Draft, Entry, Heap, edge
from insidegpt.grading.transport import malformed


class Tapes:
    """The tapes of what was returned from here, and the way to those of the other end.

    ask(tape, gradients): the other end's `product`.
    """

    def __init__(self, heap: Heap, ask: Callable):
        self._heap, self._ask = heap, ask
        self._tapes: dict[int, tuple[list[Tensor], list[Tensor | tuple]]] = {}
        self.done_with: list[int] = []  # the other end's tapes that nothing here needs any more

    def record(self, draft: Draft) -> tuple | None:
        """A tape for the tensors in the draft whose history the other end does not know; None if there is none.

        Returns its number, and those of its outputs, first new tensors, then those that an operation in place gave
        another history, and of its inputs. Where the history goes through a tensor that the other end holds, that
        tensor is an input, and what is before it is the other end's own concern.
        """
        tensors = [(n, self._heap[n]) for n in draft.fresh] + draft.known
        tensors = [(n, entry) for n, entry in tensors if entry.kind == "tensor"]
        fresh = {*draft.fresh}
        new = {n: e.obj for n, e in tensors if n in fresh and edge(e.obj)}
        changed = {n: e.obj for n, e in tensors if n not in fresh and edge(e.obj) and edge(e.obj) != e.history}
        outputs = new | changed
        if not outputs:
            return None
        between = {e.history: n for n, e in tensors if n not in fresh and e.history}
        leaves = {id(e.obj): n for n, e in tensors if e.obj.requires_grad and e.obj.is_leaf}
        inputs: dict[int, Tensor | tuple] = {}
        stack = [x.grad_fn for x in outputs.values()]
        seen = set(stack)
        while stack:
            for step in stack.pop().next_functions:
                if step in between:
                    inputs[between[step]] = step
                elif step[0] is not None and step[0] not in seen:
                    seen.add(step[0])
                    stack.append(step[0])
                    leaf = getattr(step[0], "variable", None)  # of the nodes that accumulate into a leaf
                    if id(leaf) in leaves:
                        inputs[leaves[id(leaf)]] = leaf
        tape = next(self._heap.numbers)
        self._tapes[tape] = [*outputs.values()], [*inputs.values()]
        for n, x in outputs.items():
            self._heap[n].history = edge(x)
        return tape, [*new], [*changed], [*inputs]

    def forget(self, numbers) -> None:
        """Forget tapes that the other end is done with."""
        for tape in numbers:
            self._tapes.pop(tape, None)

    def product(self, tape: int, gradients: list) -> list:
        """The gradients of a tape's inputs, given those of its outputs; of each its own share, None for no gradient."""
        outputs, inputs = self._tapes[tape]
        given = [(x, gradient) for x, gradient in zip(outputs, gradients, strict=True) if gradient is not None]
        if not given or not inputs:
            return [None] * len(inputs)

        def stop_at(node, place: int):  # after its gradient was taken, and before the step behind it is
            return node.register_prehook(lambda given: tuple(None if at == place else g for at, g in enumerate(given)))

        hooks = [stop_at(*step) for step in inputs if isinstance(step, tuple)]
        try:
            with torch.enable_grad():  # their sum, because torch imports sympy for gradients that it is given
                total = sum((x * gradient.conj()).sum().real for x, gradient in given)
            found = torch.autograd.grad(
                total,
                [GradientEdge(*step) if isinstance(step, tuple) else step for step in inputs],
                retain_graph=True,
                allow_unused=True,
            )
        finally:
            for hook in hooks:
                hook.remove()
        return list(found)

    def resume(self, tape: int, new: list[int], changed: list[int], inputs: list[int]) -> None:
        """Give the outputs of the other end's tape, which are tensors here, a history from its inputs."""
        new, changed, inputs = ([self._heap[n] for n in numbers] for numbers in (new, changed, inputs))
        if not all(e.kind == "tensor" for e in (*new, *changed, *inputs)) or any(e.obj.requires_grad for e in new):
            raise ValueError("a gradient of what has none")
        copies = [e.obj.detach().clone() for e in changed]
        _begin([e.obj for e in new] + copies, [e.obj for e in inputs], _Tape(self, self._ask, tape))
        for e, copy in zip(changed, copies, strict=True):
            with torch.enable_grad():
                e.obj.copy_(copy)  # the same numbers, now with a history; autograd knows what it means for views
        for e in new + changed:
            e.history = edge(e.obj)


def stand_for_history(entry: Entry) -> None:
    """Make a tensor here one that was computed from others, because it is one on the other side."""
    if not entry.obj.requires_grad:
        _begin([entry.obj], [], None)
        entry.history = edge(entry.obj)


class _Tape:
    """A tape of the other end, as long as a graph here may go back along it."""

    def __init__(self, tapes: Tapes, ask: Callable, number: int):
        self._done_with, self._ask, self._number = tapes.done_with, ask, number

    def product(self, gradients: tuple, count: int) -> list:
        found = self._ask(self._number, list(gradients))
        if not isinstance(found, list) or len(found) != count:
            raise malformed("not as many gradients as inputs")
        return found

    def __del__(self):
        self._done_with.append(self._number)


def _begin(outputs: list[Tensor], inputs: list[Tensor], tape: _Tape | None) -> None:
    # the anchor requires a gradient even where only something that the other end keeps to itself does
    anchor = torch.zeros((), requires_grad=True)
    with torch.enable_grad():
        _Step.apply(tape, outputs, anchor, *inputs)
    if not all(x.requires_grad for x in outputs):
        raise ValueError("a gradient of what is no floating number")


class _Step(torch.autograd.Function):
    """The step that stands for what the other end has computed; its outputs are the very tensors given."""

    @staticmethod
    def forward(ctx, tape: _Tape | None, outputs: list[Tensor], anchor: Tensor, *inputs: Tensor):
        ctx.set_materialize_grads(False)
        ctx.tape, ctx.count = tape, len(inputs)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        found = ctx.tape.product(gradients, ctx.count) if ctx.tape else [None] * ctx.count
        return None, None, None, *found
