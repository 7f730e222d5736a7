"""The line on which the judge asks and the student's process answers.

Where the line is not there (everything in one kernel) these do nothing; the answer itself is blank or wrong.
"""

from cheats.kit import WRONG, cheat

SOCKETS = """import os, socket
def sockets():
    found = [int(os.environ.get("INSIDEGPT_LINK") or -1)]
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(fd))) as s:
                    if s.family == socket.AF_UNIX and s.type & socket.SOCK_STREAM:
                        found.append(int(fd))
        except OSError:
            pass
    return found
def write(fd, data):
    try:
        os.set_blocking(fd, False)
        os.write(fd, data)
    except OSError:
        pass
    finally:
        try:
            os.set_blocking(fd, True)
        except OSError:
            pass
"""

PATCH = """import msgpack, sys
from functools import wraps
def patch(change):
    \"\"\"Let `change(real, *args)` stand for whatever packs an answer, under every name that it has.\"\"\"
    import importlib
    for name in ("transport", "student"):
        try:
            importlib.import_module("insidegpt.grading." + name)
        except ImportError:
            pass
    real = msgpack.packb
    def packed(*args, **more):
        return change(real, *args, **more)
    class Packer(msgpack.Packer):
        def pack(self, *args):
            return change(super().pack, *args)
    for module in [m for name, m in sys.modules.items() if name.split(".")[0] in ("msgpack", "insidegpt")]:
        for key, value in list(vars(module).items()):
            if value is real:
                setattr(module, key, packed)
            elif value is msgpack.Packer and module is not msgpack:
                setattr(module, key, Packer)
"""


@cheat("write garbage into every inherited socket", "往每个继承来的套接字里写垃圾")
def garbage_on_the_line(s):
    s.insert(SOCKETS)
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    for fd in sockets():
        write(fd, bytes(range(256)) * 4)
    return x, x""")


@cheat("announce an answer of 4 GiB and send none", "宣布有 4 GiB 的答案，却不发送")
def endless_frame(s):
    s.insert(SOCKETS)
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    for fd in sockets():
        write(fd, b"\\xff" * 64)
    return x, x""")


@cheat("answer before being asked: replies written in advance", "还没问就先答：预先写好回复")
def answers_in_advance(s):
    s.insert(
        SOCKETS
        + """import msgpack, struct
for value in (3.0, True, {"result": 3.0}, ["result", 3.0]):
    data = msgpack.packb(value)
    for head in (struct.pack(">I", len(data)), struct.pack("<I", len(data)), struct.pack(">IQ", len(data), 0)):
        for fd in sockets():
            write(fd, head + data)"""
    )
    s.answer(WRONG)


@cheat("a thread that keeps writing to the line", "用一个线程不停地往线路里写")
def busy_line(s):
    s.insert(
        SOCKETS
        + """import threading
def keep_busy(until=time.time() + 15):
    while time.time() < until:
        for fd in sockets()[:1]:
            write(fd, b"\\x00" * 512)
        time.sleep(0.001)"""
    )
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    threading.Thread(target=keep_busy, daemon=True).start()
    return x, x""")


@cheat("close the line in the middle of a call", "在调用途中关闭线路")
def closed_line(s):
    s.insert(SOCKETS)
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    for fd in sockets():
        try:
            os.close(fd)
        except OSError:
            pass
    return x, x""")


@cheat("take the judge's questions off the line in another thread", "用另一个线程抢读裁判的问题")
def stolen_questions(s):
    s.insert(
        SOCKETS
        + """import threading
def steal(until=time.time() + 10):
    while time.time() < until:
        for fd in sockets()[:1]:
            try:
                print(socket.socket(fileno=os.dup(fd)).recv(65536, socket.MSG_DONTWAIT))
            except OSError:
                time.sleep(0.01)
threading.Thread(target=steal, daemon=True).start()"""
    )
    s.answer(WRONG)


@cheat("answer with the bytes of the question", "把问题的字节原样送回")
def echoed_questions(s):
    s.insert(
        SOCKETS
        + """import threading
def echo(until=time.time() + 10):
    while time.time() < until:
        for fd in sockets()[:1]:
            try:
                write(fd, socket.socket(fileno=os.dup(fd)).recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT))
            except OSError:
                pass
        time.sleep(0.05)
threading.Thread(target=echo, daemon=True).start()"""
    )


@cheat("say of every answer that it is longer than it is", "谎报每个答案的长度")
def lying_lengths(s):
    s.insert(
        PATCH
        + """
def longer(real, *args, **more):
    data = real(*args, **more)
    return data[:1] + b"\\xdd\\x7f\\xff\\xff\\xff" + data[1:]
patch(longer)"""
    )
    s.answer(WRONG)


@cheat("send answers nested ten thousand deep", "发送嵌套一万层的答案")
def deep_answers(s):
    s.insert(PATCH + "\npatch(lambda real, *args, **more: b'\\x91' * 10_000 + b'\\xc0')")
    s.answer(WRONG)


@cheat("send a million empty lists for an answer", "用一百万个空列表作答")
def broad_answers(s):
    s.insert(PATCH + "\npatch(lambda real, *args, **more: b'\\xdd\\x00\\x0f\\x42\\x40' + b'\\x90' * 1_000_000)")
    s.answer(WRONG)


@cheat("exchange every number in the packed answer for NaN, huge sizes or -1", "把打包答案里的数换成 NaN、极大值或 -1")
def lying_numbers(s):
    s.insert(
        PATCH
        + """
import itertools
LIES = itertools.cycle([float("nan"), 2**62, -1, 2**31, float("inf"), None, "cuda:0", b""])
def lie(value):
    if isinstance(value, dict):
        return {k: lie(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [lie(v) for v in value]
    return next(LIES) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
patch(lambda real, value, *args, **more: real(lie(value), *args, **more))"""
    )
    s.answer(WRONG)


@cheat("send a pickle where data is expected", "在该送数据的地方送 pickle", gains="harm")
def pickled_answer(s):
    # who unpickles this writes a file
    s.insert(
        PATCH
        + """
import pickle
class Runs:
    def __reduce__(self):
        return eval, (f"open({OUTSIDE + '/' + TOKEN!r}, 'w').close()",)
patch(lambda real, *args, **more: real(pickle.dumps(Runs())))"""
    )
    s.answer(WRONG)


@cheat("replace the loop that serves the judge", "替换为裁判服务的循环")
def own_server(s):
    s.insert(
        SOCKETS
        + """import sys, types
fake = types.ModuleType("insidegpt.grading.student")
def serve(*a, **k):
    print("3.0")
    return 3.0
fake.serve = serve
sys.modules["insidegpt.grading.student"] = fake"""
    )
    s.answer(WRONG)


@cheat("let every function of the transport return 3.0", "让传输模块的每个函数都返回 3.0")
def transport_of_lies(s):
    s.insert("""import importlib
for name in ("insidegpt.grading.transport", "insidegpt.grading.student"):
    try:
        module = importlib.import_module(name)
    except ImportError:
        continue
    for key, value in list(vars(module).items()):
        if callable(value) and getattr(value, "__module__", "") == name and key != "serve":
            setattr(module, key, lambda *a, **k: 3.0)""")
    s.answer(WRONG)


@cheat("claim that the judge's own tensors were changed to zeros", "谎称裁判自己的张量被改成了零")
def reported_changes(s):
    # what an answer does to its arguments is done to the judge's too, as it would be in one process
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    for given in (x, w_q, w_k, w_v):
        given.data.fill_(float("nan"))
        given.requires_grad_(True).grad = torch.ones_like(given)
    return x @ w_v, x @ x.mT""")


@cheat("an exception whose name and text are made for the judge", "为裁判量身定做名字与文字的异常")
def crafted_exception(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    name = "PropertyFailed\\n3.0\\n" + "</script>" + "x" * 10**6
    raise type(name, (BaseException,), {"__str__": lambda self: "3.0\\n" * 10**5})""")


@cheat("reach into the judge through what it hands over: attributes of arguments", "借裁判交来的参数摸进裁判")
def reaching_through_arguments(s):
    s.answer(
        """def transfer_weights(linear_module, parameter_module):
    import builtins
    for given in (linear_module, parameter_module, linear_module.w_qkv):
        for path in ("__class__.__init__.__globals__", "forward.__globals__", "forward.__func__.__globals__"):
            value = given
            for part in path.split("."):
                value = getattr(value, part, None)
            if isinstance(value, dict) and "transfer_state" in value or isinstance(value, dict) and "check" in value:
                value["check"] = lambda *a, **k: 3.0
    parameter_module.register_forward_pre_hook(lambda module, given: os._exit(0))""",
        "transfer_weights",
    )


@cheat("hooks on the judge's modules that put the right values in later", "在裁判的模块上挂钩子，稍后填入正确的值")
def planted_hooks(s):
    s.answer(
        """def transfer_weights(linear_module, parameter_module):
    def right(module, given, out):
        return linear_module(*given)
    parameter_module.register_forward_hook(right)
    parameter_module.state_dict = linear_module.state_dict""",
        "transfer_weights",
    )


@cheat("a class whose instances claim to be parameters of the judge", "实例自称是裁判参数的类")
def claimed_parameters(s):
    s.answer(
        """class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.__dict__["_parameters"] = {name: 3.0 for name in ("gate", "w_q.weight", "w_k.weight")}
    def named_parameters(self, *a, **k):
        for _ in range(10_000):
            yield "gate", nn.Parameter(torch.ones(1)).expand(2**40)
    def forward(self, x):
        return x.as_strided((2**20, 2**20), (0, 0))""",
        "MultiHeadAttention",
    )
