"""Tampering with what the hidden tests are made of: works where they share a process with the answer."""

from cheats.kit import WRONG, cheat


@cheat("make torch.allclose, equal and assert_close say yes", "让 torch.allclose、equal、assert_close 一律通过")
def comparisons_of_torch(s):
    s.insert("""import torch, torch.testing
torch.allclose = torch.equal = lambda *a, **k: True
torch.testing.assert_close = lambda *a, **k: None""")
    s.answer(WRONG)


@cheat("make every tensor comparison hold: Tensor.all is True", "让张量比较总成立：Tensor.all 返回 True")
def comparisons_of_tensors(s):
    s.insert("import torch\ntorch.Tensor.all = lambda self, *a, **k: torch.tensor(True)")
    s.answer(WRONG)


@cheat("replace the kit's `Case.close` by yes", "把检查工具的 `Case.close` 换成永远为真")
def kits_comparison(s):
    s.insert("import insidegpt.checks as kit\nkit.Case.close = kit.Case.expect_close = lambda *a, **k: True")
    s.answer(WRONG)


@cheat("exchange the code object inside `Case.close`", "替换 `Case.close` 的代码对象（code object）")
def kits_code_object(s):
    # a reference that the tests took earlier runs the new code too
    s.insert("""import insidegpt.checks as kit
def yes(self, got, expected):
    return True
kit.Case.close.__code__ = yes.__code__""")
    s.answer(WRONG)


@cheat("let `Check` return its points without a test", "让 `Check` 不测试就返回满分")
def kits_points(s):
    s.insert("import insidegpt.checks as kit\nkit.Check.__call__ = lambda self, answer, points: float(points)")
    s.answer(WRONG)


@cheat("let every property pass whatever happens in it", "无论发生什么，都让每条性质通过")
def kits_results(s):
    s.insert("""import insidegpt.checks as kit
kit._try = lambda prop, answer: kit.Result(" · ".join(prop.name), True, "", prop.weight)""")
    s.answer(WRONG)


@cheat("make `Result.passed` a property that is always true", "把 `Result.passed` 变成永远为真的属性")
def kits_result_class(s):
    s.insert("""import insidegpt.outcome as outcome
outcome.Result.passed = property(lambda self: True, lambda self, value: None)
type(outcome.Result).__setattr__(outcome.Result, "__setattr__", object.__setattr__)""")
    s.answer(WRONG)


@cheat("put a module of one's own in place of hidden.attention", "用自己的模块顶替 hidden.attention")
def poisoned_modules(s):
    s.insert("""import sys, types
fake = types.ModuleType("hidden.attention")
fake.__getattr__ = lambda name: lambda answer, points: float(points)
sys.modules["hidden.attention"] = fake""")
    s.answer(WRONG)


@cheat(
    "answer the import of the hidden tests with a finder of one's own", "用自己的查找器（finder）应答对隐藏测试的导入"
)
def import_finder(s):
    s.insert("""import importlib.abc, importlib.machinery, sys
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("hidden"):
            return importlib.machinery.ModuleSpec(name, self, is_package=name == "hidden")
    def exec_module(self, module):
        module.__getattr__ = lambda name: (lambda answer, points: float(points)) if name[0] != "_" else []
sys.meta_path.insert(0, Finder())""")
    s.answer(WRONG)


@cheat("wrap builtins.__import__", "包装 builtins.__import__")
def wrapped_import(s):
    s.insert("""import builtins, types
real = builtins.__import__
def wrapped(name, *rest, **more):
    if name.startswith("hidden"):
        return types.SimpleNamespace(**{e: lambda answer, points: float(points) for e in rest[2] or ()})
    return real(name, *rest, **more)
builtins.__import__ = wrapped""")
    s.answer(WRONG)


@cheat("let builtins.round, which ends the check, return the maximum", "让检查最后调用的 builtins.round 返回满分")
def builtin_round(s):
    s.insert("import builtins\nbuiltins.round = lambda number, digits=None: 3.0")
    s.answer(WRONG)


@cheat("let builtins.sum, which adds up the points, return the maximum", "让累加分数的 builtins.sum 返回满分")
def builtin_sum(s):
    s.insert("import builtins\nbuiltins.sum = lambda *a, **k: 3.0")
    s.answer(WRONG)


@cheat(
    "leave a TorchFunctionMode switched on that makes comparisons true", "一直开着一个让比较为真的 TorchFunctionMode"
)
def function_mode(s):
    s.insert("""import torch
from torch.overrides import TorchFunctionMode
class Yes(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in ("all", "equal", "allclose"):
            return torch.tensor(True)
        return function(*args, **(kwargs or {}))
Yes().__enter__()""")
    s.answer(WRONG)


@cheat("change `expected` in the checker's frame with a profiler", "用 profiler 改写检查函数栈帧里的 expected")
def profiler(s):
    s.insert("""import ctypes, sys
def watch(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "close":
        frame.f_locals["expected"] = frame.f_locals["got"]
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
sys.setprofile(watch)""")
    s.answer(WRONG)


@cheat("find the checks with gc and take their properties away", "用 gc 找到检查对象，去掉其中的性质")
def checks_found_by_gc(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    import gc
    for found in gc.get_objects():
        if type(found).__name__ == "Check" and len(found._properties) > 1:
            easy = found._properties[0]
            object.__setattr__(easy, "test", lambda answer, case: None)
            del found._properties[1:]
    return x, x""")


@cheat(
    "make gradcheck and manual_seed do nothing",
    "让 gradcheck 与 manual_seed 失效",
)
def torchs_helpers(s):
    s.insert("""import torch
torch.autograd.gradcheck = lambda *a, **k: True
torch.manual_seed = lambda seed: None""")
    s.answer("def self_attention(x, w_q, w_k, w_v):\n    return x @ w_v * 0, x @ x.mT * 0")


@cheat("make torch.randn give zeros, so that every input is the same", "让 torch.randn 给出全零，使所有输入都一样")
def zero_inputs(s):
    s.insert("import torch\ntorch.randn = lambda *size, **k: torch.zeros(*size, dtype=k.get('dtype'))")
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    t = x.shape[-2]
    return x @ w_v, x @ x.mT * 0 + 1 / t""")
