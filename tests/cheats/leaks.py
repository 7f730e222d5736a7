"""Carrying out what the code could read, by every way that leads to the student."""

from cheats.kit import cheat

READ = 'secret = open(f"{COURSE}/tests/hidden/attention.py").read().splitlines()[-1]\n'


@cheat("print a hidden test", "打印隐藏测试", gains="harm")
def printed(s):
    s.insert(READ + "print(secret)")


@cheat("raise an exception that carries a hidden test", "抛出带有隐藏测试内容的异常", gains="harm")
def in_an_exception(s):
    s.answer(READ + "raise ValueError(secret)")


@cheat(
    "an exception in the graded cell that carries a hidden test",
    "在评分单元格里抛出带有隐藏测试内容的异常",
    gains="harm",
)
def in_a_graded_exception(s):
    s.answer("def self_attention(x, w_q, w_k, w_v):\n    " + READ + "    raise ValueError(secret)")


@cheat(
    "interrupt the check, so that the traceback shows the hidden tests",
    "中断检查，让回溯信息露出隐藏测试",
    gains="harm",
)
def in_a_traceback(s):
    # only Exception is caught by a check, and IPython shows the lines around every frame
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    if len(x) != 2:
        raise KeyboardInterrupt
    return torch.zeros(2, 1), torch.zeros(2, 2)""")


@cheat("display a hidden test as a picture, a page and a widget", "用图片、网页、控件显示隐藏测试", gains="harm")
def displayed(s):
    s.insert(
        READ
        + """from IPython.display import HTML, SVG, display
display(HTML(f"<b>{secret}</b>"), SVG(f"<svg xmlns='http://www.w3.org/2000/svg'><text>{secret}</text></svg>"))"""
    )


@cheat("write past IPython to the descriptors 1 and 2", "绕过 IPython，直接写到描述符 1 与 2", gains="harm")
def past_ipython(s):
    s.insert(READ + "os.write(1, secret.encode()); os.write(2, secret.encode())")


@cheat("show the source of the loaded hidden tests with inspect", "用 inspect 显示已加载的隐藏测试源码", gains="harm")
def inspected(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    import inspect
    hidden = sys.modules["hidden.attention"]
    sys.__stdout__.write(inspect.getsource(hidden)[-3000:])
    get_ipython().display_pub.publish({"text/plain": inspect.getsource(hidden)[-3000:]})
    return x, x""")


@cheat("show the source of the caller's frames", "显示调用者栈帧的源码", gains="harm")
def source_of_frames(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    import inspect
    lines = [line for frame in inspect.stack(context=9) for line in frame.code_context or ()]
    get_ipython().display_pub.publish({"text/plain": "".join(lines)})
    return x, x""")


@cheat("show the cells that ran before: In, history and the kernel's messages", "显示先前运行的单元格：In 与历史记录",
       gains="harm")  # fmt: skip
def history(s):
    s.insert(
        """ran = "\\n".join(get_ipython().user_ns["In"])
if "from hidden" in ran:
    print(TOKEN, "could read the source of a hidden test")""",
        before="transfer_weights",
    )


@cheat("send a hidden test over the network", "通过网络发送隐藏测试", gains="harm")
def network(s):
    s.insert("""import socket
with socket.create_connection(("127.0.0.1", PORT), timeout=2) as line:
    line.send(TOKEN.encode())""")


@cheat("send word to an abstract socket of this machine", "给本机的抽象套接字发消息", gains="harm")
def abstract_socket(s):
    s.insert("""import socket
with socket.socket(socket.AF_UNIX) as line:
    line.connect(f"\\0{PORT}")
    line.send(TOKEN.encode())""")


@cheat(
    "learn from one call for the next: remember what the checker compared", "从前一次调用学到后一次：记住检查比较过什么"
)
def learning(s):
    s.answer("""KNOWN = {}
def self_attention(x, w_q, w_k, w_v):
    frame = sys._getframe(1)
    while frame:
        for value in frame.f_locals.values():
            if isinstance(value, tuple) and len(value) == 2 and all(isinstance(t, torch.Tensor) for t in value):
                KNOWN[tuple(t.shape for t in value)] = value
        frame = frame.f_back
    wanted = ((*x.shape[:-1], w_v.shape[-1]), (*x.shape[:-1], x.shape[-2]))
    return KNOWN.get(wanted, (x, x))""")


@cheat("tell by the time of a call what the checker did with the answer before", "从两次调用的间隔推断上一个答案的对错")
def timing(s):
    s.answer("""LAST = [time.perf_counter()]
GUESS = [0.0]
def self_attention(x, w_q, w_k, w_v):
    now = time.perf_counter()
    GUESS[0] += 0.1 if now - LAST[0] > 0.01 else -0.1
    LAST[0] = now
    return x.new_full((*x.shape[:-1], w_v.shape[-1]), GUESS[0]), x.new_full((*x.shape[:-1], x.shape[-2]), GUESS[0])""")
