"""The kit that hidden reference tests are written with.

A `Check` belongs to one exercise and holds named properties. Called with a learner's answer it tries every
property on every device and dtype that is there, says in both languages which held, and returns the points:

    self_attention = Check("self_attention")

    @self_attention.property("the scores are divided by √d_k", "分数除以 √d_k")
    def scaled(answer, case):
        x = case.randn(5, 4)
        case.expect_close(answer(x), reference(x))

A property holds when its function returns, and fails when it raises; `expect` and `Case.expect_close` raise a
sentence for the learner. Nothing here raises for a wrong answer and nothing is written to stderr, because
nbgrader gives no points to a cell that does either.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from insidegpt.mime import REPORT

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""How far a result may lie from the reference computed in float64, relative to max(1, |reference|)."""

Text = tuple[str, str]
"""The same sentence in English and in Chinese."""


class PropertyFailed(Exception):
    """A property does not hold; the arguments say why, in English and in Chinese."""


def expect(condition: bool, en: str, zh: str) -> None:
    """Fail the property with a sentence in both languages unless the condition is true."""
    if not condition:
        raise PropertyFailed(en, zh)


@dataclass(frozen=True)
class Result:
    """What one property showed: its bilingual name, whether it held, and if not, why (else '')."""

    name: str
    passed: bool
    message: str


class Case:
    """One device and dtype to try a property on, with random numbers that are the same on all of them."""

    def __init__(self, device: torch.device, dtype: torch.dtype):
        self.device, self.dtype = device, dtype
        self._generator = torch.Generator().manual_seed(20)

    def __str__(self) -> str:
        return f"{self.device.type} {str(self.dtype).removeprefix('torch.')}"

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
        mistakes: Mapping[Text, Tensor] | None = None,
        otherwise: Text | None = None,
    ) -> None:
        """Fail unless `got` is a tensor with the shape and, within `TOLERANCE`, the values of `expected`.

        mistakes: what known mistakes would give, by the sentence that names each in English and Chinese;
        the sentence of the first one that `got` equals becomes the message. otherwise: what to say of any other
        finite values, instead of how far they are off.
        """
        expect(
            isinstance(got, Tensor),
            f"expected a tensor, got {type(got).__name__}",
            f"应返回张量，得到的是 {type(got).__name__}",
        )
        if self.close(got, expected):
            return
        for sentence, value in (mistakes or {}).items():
            expect(not self.close(got, value), *sentence)
        expect(
            got.shape == expected.shape,
            f"expected shape {tuple(expected.shape)}, got {tuple(got.shape)}",
            f"形状应为 {tuple(expected.shape)}，得到的是 {tuple(got.shape)}",
        )
        expect(bool(torch.isfinite(got).all()), "there is a NaN or an infinity in the result", "结果中有 NaN 或无穷大")
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


@dataclass(frozen=True)
class _Property:
    name: Text
    test: Callable[[object, Case], None]
    dtypes: tuple[torch.dtype, ...]


def devices() -> list[torch.device]:
    """The devices to try: the CPU, and a GPU where there is one."""
    return [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])


class Check:
    """The hidden reference test of one exercise: `check(answer, points)` returns the points earned."""

    def __init__(self, exercise: str):
        self.exercise = exercise
        self._properties: list[_Property] = []

    def property(self, en: str, zh: str, dtypes: Iterable[torch.dtype] = FLOATS):
        """Decorate `test(answer, case)`; it is tried in each of these dtypes, on each device."""

        def add(test: Callable[[object, Case], None]):
            self._properties.append(_Property((en, zh), test, tuple(dtypes)))
            return test

        return add

    def add_standard_properties(
        self,
        arguments: Callable[[Case], tuple[Tensor, ...]],
        prepare: Callable[[object, Case], Callable] = lambda answer, case: answer,
    ) -> None:
        """Add the three properties that every differentiable function of floating tensors has here.

        arguments: what to call with, fresh at each call, plain leaves; prepare: makes the function to be called
        out of the answer (a module has to be built first). The function returns a tensor or a tuple of tensors.
        An answer that ignores an argument has none of these properties, so a constant earns nothing by them.
        """

        @self.property("keeps dtype and device", "保持 dtype 与设备")
        def kept(answer, case):
            function, given = prepare(answer, case), arguments(case)
            for out in _tensors(function(*given)):
                expect(
                    (out.dtype, out.device.type) == (case.dtype, case.device.type),
                    f"{case} went in, {_describe(out)} came out",
                    f"输入是 {case}，输出却是 {_describe(out)}",
                )
            _expect_every_argument_used(function, given, case)

        @self.property("leaves its inputs untouched", "不改动输入")
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
            _expect_every_argument_used(function, given, case)

        @self.property("gradients reach every input", "梯度传到每个输入", (torch.float64,))
        def differentiable(answer, case):
            function, given = prepare(answer, case), arguments(case)
            _expect_every_argument_used(function, given, case)
            for a in given:
                a.requires_grad_()
            expect(
                all(out.requires_grad for out in _tensors(function(*given))),
                "the result has lost its gradient (detach, .data, item, numpy, no_grad or torch.tensor cut it off)",
                "结果没有梯度了（detach、.data、item、numpy、no_grad、torch.tensor 都会切断梯度）",
            )
            expect(
                torch.autograd.gradcheck(
                    lambda *a: tuple(_tensors(function(*a))), given, fast_mode=True, raise_exception=False
                ),
                "the gradient differs from the difference quotient: part of the path is cut off",
                "梯度与差商不符：有一段计算图被切断了",
            )

    def run(self, answer: object) -> list[Result]:
        """Try every property on the answer; the first device and dtype where one fails gives its message."""
        return [_try(p, answer) for p in self._properties]

    def __call__(self, answer: object, points: float) -> float:
        """Report every property and return the points earned: their share of `points`, to two digits."""
        results = self.run(answer)
        _publish(self.exercise, results)
        return round(points * sum(r.passed for r in results) / len(results), 2)


def _try(prop: _Property, answer: object) -> Result:
    name = " · ".join(prop.name)
    for device in devices():
        for dtype in prop.dtypes:
            case = Case(device, dtype)
            try:
                with _quiet(), torch.random.fork_rng(), torch.enable_grad():
                    torch.manual_seed(0)
                    prop.test(answer, case)
            except PropertyFailed as failed:
                return Result(name, False, f"{failed.args[0]} · {failed.args[1]} ({case})")
            except NotImplementedError:
                return Result(name, False, "not written yet · 尚未作答")
            except (Exception, SystemExit) as error:  # an answer may raise anything; Ctrl-C still stops the check
                said = f"{type(error).__name__}: {error}".splitlines()[0][:200].rstrip(": ")
                return Result(name, False, f"it raised {said} · 代码抛出异常 {said} ({case})")
    return Result(name, True, "")


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


def _expect_every_argument_used(function: Callable, given: tuple[Tensor, ...], case: Case) -> None:
    whole = _tensors(function(*given))
    for number, argument in enumerate(given, start=1):
        changed = [*given]
        changed[number - 1] = argument.flip(-1) / 2
        other = _tensors(function(*changed))
        expect(
            not all(case.close(a, b) for a, b in zip(whole, other, strict=True)),
            f"the result does not depend on argument {number}",
            f"结果与第 {number} 个参数无关",
        )


def _describe(value: Tensor) -> str:
    return f"{value.device.type} {str(value.dtype).removeprefix('torch.')}"


def _publish(exercise: str, results: list[Result]) -> None:
    """One line a property; in a notebook also as data, so that a program need not read the lines."""
    text = "\n".join(f"{'✓' if r.passed else '✗'} {r.name}" + (f": {r.message}" if r.message else "") for r in results)
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from IPython.display import display

        report = {"exercise": exercise, "properties": [asdict(r) for r in results]}
        display({"text/plain": text, REPORT: report}, raw=True)
    else:
        print(text)
