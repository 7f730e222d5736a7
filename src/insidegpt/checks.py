"""The kit that hidden reference tests are written with.

A `Check` belongs to one exercise and holds named properties. Called with a learner's answer it tries every
property on every device and dtype that is there, says in both languages which held, and returns the points:

    self_attention = Check("self_attention")

    @self_attention.property("the scores are divided by √d_k", "分数除以 √d_k")
    def scaled(answer, case):
        x = case.randn(5, 4)
        case.expect_close(answer(x), reference(x))

A property holds when its function returns, and fails when it raises; `expect` and everything named `expect_…`
raise a sentence for the learner. Nothing here raises for a wrong answer and nothing is written to stderr, because
nbgrader gives no points to a cell that does either.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from insidegpt.errors import UserError
from insidegpt.outcome import NOT_WRITTEN, REPORT, Result, Text, shares

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
ONCE = (torch.float32,)
"""For properties that no dtype changes: which numbers depend on which, what is refused, what has which shape."""

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""How far a result may lie from the reference computed in float64, relative to max(1, |reference|).

In float64 not tighter than 1e-6, because `scores / torch.tensor(d_k).sqrt()` rounds √d_k to float32.
"""

_POOL = 4
"""Sequences of which `expect_batch` makes its batches: few, because each is also tried alone."""


class PropertyFailed(Exception):
    """A property does not hold; the arguments say why, in English and in Chinese."""


def expect(condition: bool, en: str, zh: str) -> None:
    """Fail the property with a sentence in both languages unless the condition is true."""
    if not condition:
        raise PropertyFailed(en, zh)


def expect_shape(name: str, got: Tensor, shape: Iterable[int]) -> None:
    """Fail with both shapes unless the tensor of this name has this one."""
    given, wanted = tuple(got.shape), tuple(shape)
    expect(
        given == wanted,
        f"{name} has shape {given}; it should be {wanted}",
        f"{name} 的形状是 {given}；应为 {wanted}",
    )


def expect_tensor(out: object) -> Tensor:
    """The tensor that an answer returned; fails with a sentence when it is none."""
    expect(
        isinstance(out, Tensor),
        f"expected one tensor, got {type(out).__name__}",
        f"应返回一个张量，得到的是 {type(out).__name__}",
    )
    return out


def expect_tensors(out: object, *names: str) -> tuple[Tensor, ...]:
    """The tensors of these names that an answer returned; fails with a sentence that says what came instead."""
    wanted = f"({', '.join(names)})"
    expect(
        not isinstance(out, Tensor),
        f"one tensor came back; return {len(names)}: {wanted}",
        f"只返回了一个张量；应返回 {len(names)} 个：{wanted}",
    )
    expect(
        isinstance(out, (tuple, list)) and len(out) == len(names) and all(isinstance(t, Tensor) for t in out),
        f"expected {len(names)} tensors {wanted}, got {type(out).__name__}",
        f"应返回 {len(names)} 个张量 {wanted}，得到的是 {type(out).__name__}",
    )
    return tuple(out)


def expect_keys(out: object, keys: Iterable[str]) -> dict:
    """The dict with just these keys that an answer returned; fails with a sentence that says what came instead."""
    got = sorted(map(str, out)) if isinstance(out, dict) else type(out).__name__
    expect(
        isinstance(out, dict) and set(out) == set(keys),
        f"expected a dict with the keys {', '.join(keys)}, got {got}",
        f"应返回键为 {', '.join(keys)} 的 dict，得到的是 {got}",
    )
    return out


def expect_refused(call: Callable[[], object], what: Text, numbers: Iterable[int] = ()) -> None:
    """Fail unless `call()` raises a ValueError whose message is a sentence with these numbers; `what` is the call."""
    en, zh = what
    try:
        call()
    except UserError:  # the process with the answer has ended: that refuses nothing
        raise
    except Exception as error:
        if _is_blank(error):
            raise
        expect(
            isinstance(error, ValueError),
            f"{en} raised {type(error).__name__}; raise a ValueError that says why it cannot be",
            f"{zh} 抛出了 {type(error).__name__}；应抛出 ValueError 并说明原因",
        )
        said, wanted = str(error).replace("−", "-"), [str(number) for number in numbers]
        named = {*re.findall(r"\d+", said), *re.findall(r"-\d+", said)}  # both numbers of "1-4"
        expect(
            named.issuperset(wanted) and any(map(str.isalpha, said)),
            f"the ValueError of {en} is no sentence that names {' and '.join(wanted) or 'what is wrong'}",
            f"{zh} 的 ValueError，没有用一句话说明原因{'，并写出 ' + '、'.join(wanted) if wanted else ''}",
        )
    else:
        raise PropertyFailed(
            f"{en} was accepted; raise a ValueError that says why it cannot be",
            f"{zh} 没有报错；应抛出 ValueError 并说明原因",
        )


def describe(tensor: Tensor) -> str:
    """Device and dtype as a learner reads them: `cpu float32`."""
    return f"{tensor.device.type} {str(tensor.dtype).removeprefix('torch.')}"


class Case:
    """One device and dtype to try a property on, with random numbers that are the same on all of them."""

    def __init__(self, device: torch.device, dtype: torch.dtype):
        self.device, self.dtype = device, dtype
        self._generator = torch.Generator().manual_seed(20)

    def __str__(self) -> str:
        return describe(torch.empty(0, device=self.device, dtype=self.dtype))

    def randn(self, *shape: int) -> Tensor:
        """Standard normal numbers of this shape, on the case's device and in its dtype."""
        return self.tensor(torch.randn(*shape, dtype=torch.float64, generator=self._generator))

    def tensor(self, values) -> Tensor:
        """These values on the case's device and in its dtype."""
        return torch.as_tensor(values, dtype=torch.float64).to(self.device, self.dtype)

    def expect_close(
        self,
        got,
        expected: Tensor,
        mistakes: Mapping[Text, Tensor] | Callable[[], Mapping[Text, Tensor]] | None = None,
        otherwise: Text | None = None,
    ) -> None:
        """Fail unless `got` is a tensor with the shape and, within `TOLERANCE`, the values of `expected`.

        mistakes: what known mistakes would give, by the sentence that names each in English and Chinese;
        the sentence of the first one that `got` equals becomes the message. A function that returns them is called for
        wrong answers alone. otherwise: what to say of any other finite values, instead of how far they are off.
        """
        if self.close(expect_tensor(got), expected):
            return
        for sentence, value in (mistakes() if callable(mistakes) else mistakes or {}).items():
            expect(not self.close(got, value), *sentence)
        _expect_result_shape(got, expected.shape)
        expect(
            bool(torch.isfinite(got).all()),
            "there is a NaN or an infinity: exp overflowed or 0 was divided by 0 (subtract each row's own maximum "
            "first, as torch.softmax does), or the numbers themselves became too large",
            "出现了 NaN 或无穷大：exp 溢出，或出现了 0/0（应先减去每一行自己的最大值，torch.softmax 就是这样做的），"
            "或者数本身就太大了",
        )
        if otherwise:
            raise PropertyFailed(*otherwise)
        off = (got.detach().double().cpu() - expected.detach().double().cpu()).abs().max().item()
        raise PropertyFailed(f"off by up to {off:.2g}", f"最大误差 {off:.2g}")

    def close(self, got: Tensor, expected: Tensor) -> bool:
        """Whether two tensors have the same shape and, within `TOLERANCE`, the same values.

        The coarser of the case's dtype and that of `got` counts: a lost dtype is for its own property to tell.
        """
        tolerance = max(TOLERANCE[self.dtype], TOLERANCE.get(got.dtype, 0))
        if got.shape != expected.shape:
            return False
        got, expected = got.detach().double().cpu(), expected.detach().double().cpu()
        return bool(((got - expected).abs() <= tolerance * expected.abs().clamp(min=1)).all())

    def expect_batch(
        self,
        function: Callable[..., Tensor | tuple[Tensor, ...]],
        *shapes: tuple[int, ...],
        leads: Iterable[tuple[tuple[int, ...], ...]],
    ) -> None:
        """Fail unless `function` takes leading dimensions as a batch: each entry gets the result it gets alone.

        function: of one tensor per shape in `shapes`, which are those without a batch; leads: the batches to try,
        each with the leading dimensions of every tensor. They broadcast against one another.
        """

        def call(*given: Tensor) -> list[Tensor]:
            try:
                return _tensors(function(*given))
            except (RuntimeError, ValueError, IndexError) as error:
                if _is_blank(error):
                    raise
                (en, zh), said = _shapes(given), _in_one_line(error)[:120]
                raise PropertyFailed(
                    f"shape {en} raised {said}; count dimensions from the end (.mT instead of .T, dim=-1, unflatten)",
                    f"形状 {zh} 抛出了 {said}；维度要从后往前数（用 .mT，不用 .T；还有 dim=-1、unflatten）",
                ) from None

        pools = [self.randn(_POOL, *shape) for shape in shapes]

        @functools.cache
        def alone(*which: int) -> list[Tensor]:
            return call(*(pool[n].clone() for pool, n in zip(pools, which, strict=True)))

        for number, lead in enumerate(leads):
            places = [torch.arange(math.prod(before)).remainder(_POOL).reshape(before) for before in lead]
            given = [pool[place].clone() for pool, place in zip(pools, places, strict=True)]
            batch = np.broadcast_shapes(*lead)  # torch's imports sympy, in every kernel
            # each index of each dimension at least once, not each combination of them
            entries = list(dict.fromkeys(tuple(i % n for n in batch) for i in range(max(batch, default=1))))
            which = [tuple(int(place.expand(batch)[entry]) for place in places) for entry in entries]
            each = [alone(*numbers) for numbers in which]
            if number == 0:
                self._expect_repeatable(each[0], alone.__wrapped__, *which[0])
            en, zh = _shapes(given)
            otherwise = (
                f"in shape {en} a sequence in the batch gets another result than alone: "
                "only the last two dimensions are positions and features",
                f"形状为 {zh} 时，批次中的序列，结果与单独计算时不同：只有最后两维是位置与特征",
            )
            for got, *parts in zip(call(*given), *each, strict=True):
                _expect_result_shape(got, (*batch, *parts[0].shape))
                found = torch.stack([got[entry] for entry in entries])
                self.expect_close(found, torch.stack(parts), otherwise=otherwise)
            expect(
                len(set(which)) == 1 or not self.close(each[0][0], each[-1][0]),
                "different sequences got the same result",
                "不同的序列得到了相同的结果",
            )

    def expect_follows_order(self, function: Callable[[Tensor], Tensor], x: Tensor, otherwise: Text) -> None:
        """Fail unless the results of the words (T, …) move with the words x (T, d); names a causal mask.

        otherwise: what to say when a word in another place gets another result.
        """
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3)).to(self.device)
        result = function(x)
        self._expect_repeatable([result], lambda x: [function(x)], x)
        last = x.clone()
        last[-1] = 3 - last[-1]
        expect(
            not self.close(function(last)[:-1], result[:-1]),
            "no word looks at a later one: there is a causal mask, and none was asked for",
            "没有词能看到后面的词：加了因果掩码，而题目没有要求",
        )
        self.expect_close(function(x[order]), result[order], otherwise=otherwise)

    def _expect_repeatable(self, first: list[Tensor], function: Callable[..., list[Tensor]], *given: Tensor) -> None:
        expect(
            all(self.close(one, two) for one, two in zip(first, function(*given), strict=True)),
            "two calls with the same input gave different results: something random is inside",
            "同样的输入，两次调用的结果不同：里面有随机的成分",
        )


@dataclass(frozen=True)
class _Property:
    name: Text
    test: Callable[[object, Case], None]
    dtypes: tuple[torch.dtype, ...]
    weight: int


def devices() -> list[torch.device]:
    """The devices to try: the CPU, and a GPU where there is one."""
    return [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])


class Check:
    """The hidden reference test of one exercise: `check(answer, points)` returns the points earned."""

    def __init__(self, exercise: str):
        self.exercise = exercise
        self._properties: list[_Property] = []
        self._seen: dict[tuple[int, str], Text | None] = {}  # what `expect_once` has found, by answer

    def property(self, en: str, zh: str, dtypes: Iterable[torch.dtype] = FLOATS, weight: int = 1):
        """Decorate `test(answer, case)`; it is tried in each of these dtypes, on each device.

        weight: how much it counts beside the others. What defines the exercise counts 3, so that a mistake about
        the matter itself costs more than one of form.
        """

        def add(test: Callable[[object, Case], None]):
            self._properties.append(_Property((en, zh), test, tuple(dtypes), weight))
            return test

        return add

    def expect_once(self, answer: object, what: str, look: Callable[[], None]) -> None:
        """Fail if `look()` fails; what several properties need is looked at once for an answer, whatever it gives."""
        key = id(answer), what
        if key not in self._seen:
            try:
                look()
                self._seen[key] = None
            except PropertyFailed as failed:
                self._seen[key] = failed.args
        if why := self._seen[key]:
            raise PropertyFailed(*why)

    def add_standard_properties(
        self,
        arguments: Callable[[Case], tuple[Tensor, ...]],
        prepare: Callable[[object, Case], Callable] = lambda answer, case: answer,
    ) -> None:
        """Add the three properties that every differentiable function of floating tensors has here.

        arguments: what to call with, fresh at each call, plain leaves; prepare: makes the function to be called
        out of the answer (a module has to be built first). The function returns a tensor or a tuple of tensors.
        An answer that ignores an argument has none of these properties, so a constant earns nothing by them.
        Gradients are tried for the arguments alone: whether a module's parameters get theirs is for the exercise.
        """

        def expect_used(answer: object, device: torch.device) -> None:
            def look() -> None:
                case = Case(device, FLOATS[0])
                _expect_every_argument_used(prepare(answer, case), arguments(case), case)

            self.expect_once(answer, f"uses its arguments on {device}", look)

        @self.property("keeps dtype and device", "保持 dtype 与设备")
        def keeps_dtype(answer, case):
            function, given = prepare(answer, case), arguments(case)
            for out in _tensors(function(*given)):
                expect(
                    (out.dtype, out.device.type) == (case.dtype, case.device.type),
                    f"{case} went in, {describe(out)} came out",
                    f"输入是 {case}，输出却是 {describe(out)}",
                )
            expect_used(answer, case.device)

        # In place what `.float()` or `.double()` gives back is changed only where that was no copy.
        @self.property("leaves its inputs untouched", "不改动输入", (torch.float32, torch.float64))
        def untouched(answer, case):
            function, given = prepare(answer, case), arguments(case)
            before = [a.clone() for a in given]
            _tensors(function(*given))
            for number, (now, then) in enumerate(zip(given, before, strict=True), start=1):
                expect(
                    torch.equal(now, then),
                    f"argument {number} was changed in place",
                    f"第 {number} 个参数被原地修改了",
                )
                expect(
                    not now.requires_grad,
                    f"argument {number} was switched to requires_grad, which is for the caller to decide",
                    f"第 {number} 个参数被设成了 requires_grad；这应由调用者决定",
                )
            expect_used(answer, case.device)

        @self.property("gradients reach every input", "梯度传到每个输入", (torch.float64,))
        def differentiable(answer, case):
            expect_used(answer, case.device)
            function, given = prepare(answer, case), arguments(case)
            directions = [case.randn(*a.shape) for a in given]

            def along(step: Tensor) -> tuple[Tensor, ...]:
                """The results one step away from `given`, in all arguments at once: few calls, whose slopes add up."""
                return tuple(_tensors(function(*(a + step * d for a, d in zip(given, directions, strict=True)))))

            here = case.tensor(0).requires_grad_()
            results = along(here)
            expect(
                all(out.requires_grad for out in results),
                "the result has lost its gradient (detach, .data, item, numpy, no_grad or torch.tensor cut it off)",
                "结果没有梯度了（detach、.data、item、numpy、no_grad、torch.tensor 都会切断梯度）",
            )
            # in one random direction of the results too: seconds in a class, which a whole Jacobian would cost
            mix = [case.randn(*(out.shape or (1,))) / out.numel() ** 0.5 for out in results]

            def mixed(results: tuple[Tensor, ...]) -> Tensor:
                return sum((m * out).sum() for m, out in zip(mix, results, strict=True))

            (slope,) = torch.autograd.grad(mixed(results), here, allow_unused=True)
            step = 1e-3  # as wide as that, because a softmax inside may be computed in float32
            quotient = (mixed(along(case.tensor(step))) - mixed(along(case.tensor(-step)))) / (2 * step)
            expect(
                slope is not None and torch.allclose(slope, quotient, rtol=1e-3, atol=1e-4),
                "the gradient differs from the difference quotient: part of the path is cut off",
                "梯度与差商不符：有一段计算图被切断了",
            )

    def run(self, answer: object) -> list[Result]:
        """Try every property on the answer; the first device and dtype where one fails gives its message."""
        self._seen.clear()
        return [_try(p, answer) for p in self._properties]

    def __call__(self, answer: object, points: float) -> float:
        """Report every property and return the points earned: the shares of those that hold, to two digits."""
        results = self.run(answer)
        _publish(self.exercise, results)
        earned = zip(results, shares(results, points), strict=True)
        return round(sum((share for result, share in earned if result.passed), start=0.0), 2)


def _try(prop: _Property, answer: object) -> Result:
    why = ""
    for device, dtype in itertools.product(devices(), prop.dtypes):
        case = Case(device, dtype)
        try:
            with _quiet(), _usual_settings():
                prop.test(answer, case)
        except PropertyFailed as failed:
            why = f"{failed.args[0]} · {failed.args[1]} ({case})"
        except UserError as stopped:  # the process with the answer has ended, or sent what nobody can read
            why = f"{stopped} ({case})"
        except (Exception, SystemExit) as error:  # an answer may raise anything; Ctrl-C still stops the check
            said = _in_one_line(error)[:200]
            why = NOT_WRITTEN if _is_blank(error) else f"it raised {said} · 代码抛出异常 {said} ({case})"
        if why:
            break
    return Result(" · ".join(prop.name), not why, why, prop.weight)


def _is_blank(error: BaseException) -> bool:
    """Whether this is what an unwritten answer raises; torch too raises NotImplementedError, but not without a word."""
    return isinstance(error, NotImplementedError) and not str(error)


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")


def _shapes(tensors: Iterable[Tensor]) -> Text:
    """The shapes, joined as in English and as in Chinese."""
    shown = [str(tuple(t.shape)) for t in tensors]
    return " with ".join(shown), " 配 ".join(shown)


@contextlib.contextmanager
def _usual_settings():
    """Settings as in a fresh Python, whatever the notebook has set: float32 on the CPU, gradients on, the same seed."""
    dtype = torch.get_default_dtype()
    # The context of a device costs something at every call of torch, so it is entered only where it changes something.
    on_cpu = torch.device("cpu") if torch.get_default_device().type != "cpu" else contextlib.nullcontext()
    with torch.random.fork_rng(), torch.enable_grad(), on_cpu:
        # Not torch.manual_seed: where there is no GPU it keeps a stack trace each time, for when there will be one.
        torch.default_generator.manual_seed(0)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(0)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


@contextlib.contextmanager
def _quiet():
    """Keep what an answer prints or warns out of the graded cell's output."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _tensors(out: object) -> list[Tensor]:
    """The tensors that an answer returned: one, or a tuple of them."""
    found = list(out) if isinstance(out, (tuple, list)) else [out]
    odd = next((type(t).__name__ for t in found if not isinstance(t, Tensor)), None if found else "()")
    expect(odd is None, f"expected tensors, got {odd}", f"应返回张量，得到的是 {odd}")
    return found


def _expect_result_shape(got: Tensor, shape: tuple[int, ...]) -> None:
    expect(
        got.shape == shape,
        f"expected shape {tuple(shape)}, got {tuple(got.shape)}",
        f"形状应为 {tuple(shape)}，得到的是 {tuple(got.shape)}",
    )


def _expect_every_argument_used(function: Callable, given: tuple[Tensor, ...], case: Case) -> None:
    """Fail unless the result depends on each argument and on nothing else."""

    def call(*given: Tensor) -> list[Tensor]:
        return _tensors(function(*given))

    whole = call(*given)
    expect(
        all(bool(torch.isfinite(t).all()) for t in whole),  # a NaN differs from itself, so it seems to depend on all
        "there is a NaN or an infinity in the result",
        "结果里出现了 NaN 或无穷大",
    )
    case._expect_repeatable(whole, call, *given)  # else it seems to depend on all
    for number, argument in enumerate(given, start=1):
        changed = [*given]
        changed[number - 1] = argument.flip(-1) / 2
        expect(
            not all(case.close(a, b) for a, b in zip(whole, call(*changed), strict=True)),
            f"the result does not depend on argument {number}",
            f"结果与第 {number} 个参数无关",
        )


def _publish(exercise: str, results: list[Result]) -> None:
    """One line a property; in a notebook also as data, so that a program need not read the lines."""
    text = "\n".join(f"{'✓' if r.passed else '✗'} {r.name}" + (f": {r.message}" if r.message else "") for r in results)
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from IPython.display import display

        report = {"exercise": exercise, "properties": [asdict(r) for r in results]}
        display({"text/plain": text, REPORT: report}, raw=True)
    else:
        print(text)
