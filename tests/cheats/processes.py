"""Processes that stay, signals to others, and ends of the kernel at the wrong moment."""

from cheats.kit import RUN_LATER, WRONG, cheat

MAY_SIGNAL = """import signal
def confined():
    try:
        return os.readlink("/proc/self/ns/pid") != GRADERS_PROCESSES
    except OSError:
        return False
def graders():
    \"\"\"The processes from here up to the test's own grader; elsewhere none, so that nobody else is hit.\"\"\"
    found, pid = [], os.getppid()  # 0: a parent outside of this sandbox
    while pid > 1:
        command = open(f"/proc/{pid}/cmdline").read()
        found.append(pid)
        if "cheats.grader" in command:
            return found
        pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    return [1] if confined() else []  # the first process in the sandbox
"""


@cheat("a process of a session of its own that stays", "留下一个自成会话的进程", gains="harm")
def daemon(s):
    s.insert(RUN_LATER + "\nrun_later(lambda: None)")


@cheat("a child that ignores every signal", "留下一个忽略所有信号的子进程", gains="harm")
def deaf_child(s):
    s.insert("""import signal
if os.fork() == 0:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.execv("/bin/sleep", [TOKEN, "15"])""")


@cheat("a child that is started while the cell is graded", "在评分单元格运行时启动子进程", gains="harm")
def child_while_graded(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    import subprocess
    subprocess.Popen([TOKEN, "15"], executable="/bin/sleep", start_new_session=True)
    return x, x""")


@cheat("sixty processes at once", "一次启动六十个进程", gains="harm")
def many_processes(s):
    s.insert("""import subprocess
for _ in range(60):
    subprocess.Popen([TOKEN, "15"], executable="/bin/sleep", start_new_session=True)""")


@cheat("end the grader with SIGTERM", "用 SIGTERM 结束批改进程", gains="harm")
def terminated_grader(s):
    s.insert(MAY_SIGNAL + "\nfor pid in graders():\n    os.kill(pid, signal.SIGTERM)")


@cheat("end the grader with SIGKILL while it grades", "在批改途中用 SIGKILL 结束批改进程", gains="harm")
def killed_grader(s):
    s.insert(MAY_SIGNAL)
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    for pid in graders():
        os.kill(pid, signal.SIGKILL)
    return x, x""")


@cheat("make the grader slow: the lowest priority for it", "把批改进程降到最低优先级，让它变慢", gains="harm")
def slowed_grader(s):
    s.insert(MAY_SIGNAL + "\nfor pid in graders():\n    os.setpriority(os.PRIO_PROCESS, pid, 19)")


@cheat("a signal to every process there is", "给所有进程发信号", gains="harm", bounded=False)
def signal_to_all(s):
    s.insert(MAY_SIGNAL + "\nif confined():\n    os.kill(-1, signal.SIGTERM)")


@cheat("a signal to the kernel's own group", "给内核自己的进程组发信号", gains="harm")
def signal_to_the_group(s):
    s.insert(MAY_SIGNAL + "\nif confined() or os.getpgid(0) == os.getpid():\n    os.killpg(0, signal.SIGUSR1)")


@cheat("end the kernel in the answer cell", "在答题单元格里结束内核", gains="harm")
def exit_in_the_answer(s):
    s.answer("os._exit(0)")


@cheat("end the kernel while the cell is graded", "在评分时结束内核")
def exit_while_graded(s):
    # a graded cell without output has full marks in nbgrader
    s.answer("def self_attention(x, w_q, w_k, w_v):\n    os._exit(0)")


@cheat("crash the interpreter while the cell is graded", "在评分时让解释器崩溃")
def crash(s):
    s.answer("def self_attention(x, w_q, w_k, w_v):\n    import ctypes\n    ctypes.string_at(0)")


@cheat("never come back, and be deaf to the interrupt", "不再返回，并且不理会中断")
def endless(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    while True:
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            pass""")


@cheat("hang outside Python, where no interrupt reaches", "在 Python 之外挂起，中断到不了那里")
def endless_in_c(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    import ctypes
    ctypes.PyDLL(None).sleep(40)
    return x, x""")


@cheat(
    "fork in the answer: two processes go on with the same sockets",
    "在答案里 fork：两个进程用同样的套接字继续",
    gains="harm",
)
def forked_answer(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    import signal
    if os.fork() == 0:
        signal.alarm(15)
    return x, x""")


@cheat("do it at exit: write when the kernel is shut down", "在退出时动手：内核关闭时写文件", gains="harm")
def at_exit(s):
    s.insert("""import atexit, signal
def leave(*_):
    open(f"{OUTSIDE}/{TOKEN}", "w").close()
    os._exit(0)
atexit.register(leave)
signal.signal(signal.SIGTERM, leave)""")


@cheat("a thread that goes on while other exercises are graded", "用线程在批改其他题时继续捣乱")
def meddling_thread(s):
    s.insert("""import threading
def meddle(until=time.time() + 20):
    while time.time() < until:
        hidden = sys.modules.get("hidden.attention")
        for name in ("self_attention", "transfer_weights", "score_statistics", "cross_attention"):
            if hidden is not None:
                setattr(hidden, name, lambda answer, points: float(points))
        time.sleep(0.001)
threading.Thread(target=meddle, daemon=True).start()""")
    s.answer(WRONG)
