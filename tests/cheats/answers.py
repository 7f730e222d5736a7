"""Answers that compute nothing and look as if they had."""

from cheats.kit import WRONG, cheat


@cheat("no cheat: the blank notebook", "不作弊：空白笔记本")
def blank(s):
    pass


@cheat("no cheat: zeros of the right shapes", "不作弊：形状正确的零")
def worthless(s):
    s.answer(WRONG)


@cheat("take the reference from a frame of the caller", "从调用者的栈帧里取参考实现")
def reference_in_frames(s):
    s.answer("""def self_attention(*given):
    import sys
    frame = sys._getframe()
    while frame:
        if "self_reference" in frame.f_globals:
            return tuple(t.to(given[0].dtype) for t in frame.f_globals["self_reference"](*given))
        frame = frame.f_back
    return given[0], given[0]""")


@cheat("return `expected` found in the callers' frames", "返回在调用者栈帧里找到的 expected")
def expected_in_frames(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    import sys
    shapes, found, frame = [(*x.shape[:-1], w_v.shape[-1]), (*x.shape[:-1], x.shape[-2])], {}, sys._getframe(1)
    while frame:
        for value in [v for v in frame.f_locals.values()] + list(frame.f_globals.values()):
            for t in value if isinstance(value, (tuple, list)) else [value]:
                if isinstance(t, torch.Tensor) and tuple(t.shape) in shapes and t is not x:
                    found[tuple(t.shape)] = t
        frame = frame.f_back
    return found.get(shapes[0], x).to(x.dtype), found.get(shapes[1], x).to(x.dtype)""")


@cheat("find the reference with gc", "用 gc 找到参考实现")
def reference_by_gc(s):
    s.answer("""def self_attention(*given):
    import gc, types
    for found in gc.get_objects():
        if isinstance(found, types.FunctionType) and found.__name__ == "self_reference":
            return tuple(t.to(given[0].dtype) for t in found(*given))
    return given[0], given[0]""")


@cheat("import the reference from the hidden tests", "从隐藏测试里导入参考实现")
def imported_reference(s):
    s.answer("""def self_attention(*given):
    from hidden.attention import self_reference
    return tuple(t.to(given[0].dtype) for t in self_reference(*given))""")
    s.answer(
        """def cross_attention(*given):
    from hidden.attention import cross_reference
    return tuple(t.to(given[0].dtype) for t in cross_reference(*given))""",
        "cross_attention",
    )


LIAR = """class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("all", "equal", "allclose", "__bool__", "any", "eq", "le", "__eq__", "__le__", "isfinite"):
            return torch.tensor(True)
        return super().__torch_function__(function, types, args, kwargs or {})
def self_attention(x, w_q, w_k, w_v):
    context = torch.zeros(*x.shape[:-1], w_v.shape[-1]).as_subclass(Liar)
    return context, torch.zeros(*x.shape[:-1], x.shape[-2]).as_subclass(Liar)"""


@cheat("a Tensor subclass whose __torch_function__ says yes", "一个张量子类，其 __torch_function__ 一律为真")
def lying_tensor(s):
    s.answer(LIAR)


@cheat("a Tensor subclass whose methods hand the other side's value back", "一个张量子类，把对方的值原样奉还")
def agreeing_tensor(s):
    s.answer("""class Agrees(torch.Tensor):
    def detach(self): return self
    def double(self): return self
    def cpu(self): return self
    def __sub__(self, other): return other * 0
    def __rsub__(self, other): return other * 0
    def sum(self, *a, **k): return torch.ones(self.shape[:-1])
def self_attention(x, w_q, w_k, w_v):
    context = torch.zeros(*x.shape[:-1], w_v.shape[-1]).as_subclass(Agrees)
    return context, torch.zeros(*x.shape[:-1], x.shape[-2]).as_subclass(Agrees)""")


@cheat("an object that pretends to be a Tensor by __class__ and __eq__", "用 __class__ 与 __eq__ 冒充张量的对象")
def false_tensor(s):
    s.answer("""class False_:
    __class__ = property(lambda self: torch.Tensor)
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __eq__(self, other): return True
    def __bool__(self): return True
    def __sub__(self, other): return self
    def __le__(self, other): return self
    def __getitem__(self, key): return self
def self_attention(x, w_q, w_k, w_v):
    return False_(), False_()""")


@cheat("floats that equal every number", "与任何数都相等的浮点数")
def agreeing_floats(s):
    s.answer(
        """class Any(float):
    def __eq__(self, other): return True
    def __le__(self, other): return True
    def __ge__(self, other): return True
    def __lt__(self, other): return True
    def __gt__(self, other): return True
    def __sub__(self, other): return Any(0)
    def __rsub__(self, other): return Any(0)
    def __abs__(self): return Any(0)
    __hash__ = float.__hash__
def score_statistics(d_k, n, generator):
    return dict.fromkeys(["variance", "variance_scaled", "gradient", "gradient_scaled"], Any(1))""",
        "score_statistics",
    )


@cheat("set the arguments to zero, for which the answer is known", "把参数清零：零的答案是已知的")
def zeroed_arguments(s):
    # a test that computes what it expects after the call, from the same tensors, expects this
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    for given in (x, w_q, w_k, w_v):
        given.detach().zero_()
    t = x.shape[-2]
    context = torch.zeros(*x.shape[:-1], w_v.shape[-1], dtype=x.dtype)
    return context, torch.full((*x.shape[:-1], t), 1 / t, dtype=x.dtype)""")
    s.answer(
        """def cross_attention(decoder, encoder, w_q, w_k, w_v):
    for given in (decoder, encoder, w_q, w_k, w_v):
        given.detach().zero_()
    lead = torch.broadcast_shapes(decoder.shape[:-2], encoder.shape[:-2])
    t_q, t_k = decoder.shape[-2], encoder.shape[-2]
    context = torch.zeros(*lead, t_q, w_v.shape[-1], dtype=decoder.dtype)
    return context, torch.full((*lead, t_k), t_q / t_k, dtype=decoder.dtype)""",
        "cross_attention",
    )


@cheat("set the weights of both modules to zero: then they agree", "把两个模块的权重都清零：于是它们一致")
def zeroed_modules(s):
    s.answer(
        """def transfer_weights(linear_module, parameter_module):
    with torch.no_grad():
        for parameter in [*linear_module.parameters(), *parameter_module.parameters()]:
            parameter.zero_()""",
        "transfer_weights",
    )


@cheat("give the second module the first one's forward", "让第二个模块用第一个模块的 forward")
def borrowed_forward(s):
    s.answer(
        """def transfer_weights(linear_module, parameter_module):
    parameter_module.forward = linear_module.forward""",
        "transfer_weights",
    )


@cheat("change the class of the second module to that of the first", "把第二个模块的类改成第一个模块的类")
def borrowed_class(s):
    s.answer(
        """def transfer_weights(linear_module, parameter_module):
    parameter_module.__dict__.update(linear_module.__dict__)
    parameter_module.__class__ = linear_module.__class__""",
        "transfer_weights",
    )


@cheat("return the arguments' own memory", "返回参数自己的内存")
def own_memory(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    t, d_v = x.shape[-2], w_v.shape[-1]
    flat = x.reshape(-1)
    return flat.as_strided((*x.shape[:-1], d_v), (0,) * (x.dim() - 1) + (1 if d_v <= flat.numel() else 0,)), x""")


@cheat("NaN everywhere, since a NaN is close to nothing and far from nothing", "到处是 NaN：它与什么都不近，也不远")
def nan_everywhere(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    nan = sum(t.sum() for t in (x, w_q, w_k, w_v)) * float("nan")
    return nan.expand(*x.shape[:-1], w_v.shape[-1]), nan.expand(*x.shape[:-1], x.shape[-2])""")


@cheat("the numbers of the visible example, for every input", "对任何输入都返回可见例子的数")
def visible_example(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    return torch.tensor([[11.192], [15.0]]), torch.tensor([[0.8808, 0.1192], [0.5, 0.5]])""")


@cheat(
    "the numbers that the book prints for the six words, looked up by the input",
    "按输入查表，返回书中印出的六个词的结果",
)
def published_numbers(s):
    s.answer("""FIRST = [
    [0.2996, 0.8053], [0.3061, 0.8210], [0.3058, 0.8203], [0.2948, 0.7939], [0.2927, 0.7891], [0.2990, 0.8040]]
ROW = [0.1500, 0.2264, 0.2199, 0.1311, 0.0906, 0.1820]
SECOND = [
    [-0.0739, 0.0713], [-0.0748, 0.0703], [-0.0749, 0.0702], [-0.0760, 0.0685], [-0.0763, 0.0679], [-0.0754, 0.0693]]
def self_attention(x, w_q, w_k, w_v):
    first = bool((w_q >= 0).all())
    return torch.tensor(FIRST if first else SECOND), torch.tensor([ROW] * 6)""")


@cheat("a callable that answers differently at every call", "每次调用都给出不同答案的可调用对象")
def changing_answer(s):
    s.answer("""class Changing:
    calls = 0
    def __call__(self, x, w_q, w_k, w_v):
        Changing.calls += 1
        scale = float(Changing.calls)
        context = (x @ w_v) * scale
        weights = torch.softmax(x @ x.mT * 0 + torch.arange(x.shape[-2], dtype=x.dtype) * scale, -1)
        return context.cumsum(-2) * 1e-30, weights * 0
self_attention = Changing()""")


@cheat("a module class whose metaclass makes a new class at every call", "元类在每次调用时都造一个新类的模块")
def changing_class(s):
    s.answer(
        """class Meta(type(nn.Module)):
    calls = 0
    def __call__(cls, *a, **k):
        Meta.calls += 1
        made = super().__call__(*a, **k)
        made.__class__ = type(f"Other{Meta.calls}", (nn.Module,), {"forward": lambda self, x: x * 0})
        return made
    def __instancecheck__(cls, other): return True
    def __subclasscheck__(cls, other): return True
class MultiHeadAttention(nn.Module, metaclass=Meta):
    def __init__(self, *a):
        super().__init__()
    def named_parameters(self, *a, **k): return iter(())
    def state_dict(self, *a, **k): return {}
    def load_state_dict(self, *a, **k): return None""",
        "MultiHeadAttention",
    )


@cheat(
    "replay: keep every input and answer a known input with an input of the next shape", "记下每个输入，再拿它们当答案"
)
def replayed_inputs(s):
    s.answer("""SEEN = []
def self_attention(x, w_q, w_k, w_v):
    SEEN.append((x, w_q, w_k, w_v))
    wanted = (*x.shape[:-1], w_v.shape[-1]), (*x.shape[:-1], x.shape[-2])
    pool = [t for call in SEEN for t in call]
    return tuple(next((t for t in pool if t.shape == shape), x.new_zeros(shape)) for shape in wanted)""")
