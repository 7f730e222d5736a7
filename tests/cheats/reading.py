"""Reading what is not for students: solutions, hidden tests, classmates, other processes."""

from cheats.kit import cheat

RUN_ANSWER = """def run_answer(notebook, names):
    import json
    for c in json.loads(notebook)["cells"]:
        if c["metadata"].get("nbgrader", {}).get("solution"):
            exec("".join(c["source"]), names)
"""
"""A function that runs the answers in a notebook's text, to have them."""


@cheat("run the reference solution from the course's folder", "直接运行课程文件夹里的参考解答")
def solution_on_disk(s):
    s.insert(RUN_ANSWER)
    s.answer('run_answer(open(f"{COURSE}/solutions/attention/attention.ipynb").read(), globals())')


@cheat("run the reference solution, found by a relative path", "用相对路径找到并运行参考解答")
def solution_beside(s):
    s.insert(RUN_ANSWER)
    s.answer('run_answer(open("../../../solutions/attention/attention.ipynb").read(), globals())')


@cheat("run the reference solution through the root or working directory of another process",
       "借其他进程的根目录或工作目录运行参考解答")  # fmt: skip
def solution_through_proc(s):
    s.insert(RUN_ANSWER)
    s.answer("""import glob
for way in [*glob.glob("/proc/[0-9]*/cwd"), *(p + COURSE for p in glob.glob("/proc/[0-9]*/root"))]:
    try:
        run_answer(open(way + "/solutions/attention/attention.ipynb").read(), globals())
        break
    except OSError:
        pass""")


@cheat("run the reference solution through a symbolic link that was handed in", "通过交上来的符号链接运行参考解答")
def solution_by_link(s):
    s.links["data.txt"] = f"{s.course.root}/solutions/attention/attention.ipynb"
    s.insert(RUN_ANSWER)
    s.answer('run_answer(open("data.txt").read(), globals())')


@cheat("run the reference solution through a linked folder that was handed in", "通过交上来的文件夹链接运行参考解答")
def solution_by_linked_folder(s):
    s.links["data"] = f"{s.course.root}/solutions"
    s.insert(RUN_ANSWER)
    s.answer('run_answer(open("data/attention/attention.ipynb").read(), globals())')


@cheat("hand in the hidden tests as a link, to have them in the feedback folder", "把隐藏测试作为链接交上来",
       gains="harm")  # fmt: skip
def hidden_by_link(s):
    s.links["notes.txt"] = f"{s.course.root}/tests/hidden/attention.py"
    s.insert('print(open("notes.txt").read()[-2000:])')


@cheat("read the source of the hidden tests out of the gradebook", "从成绩册里读出隐藏测试的源码", gains="harm")
def tests_in_gradebook(s):
    s.answer("""import sqlite3
book = sqlite3.connect(f"file:{COURSE}/gradebook.db?mode=ro", uri=True)
if any("HIDDEN TESTS" in (source or "") for source, in book.execute("select source from source_cell")):
    print(TOKEN, "could read the source of a hidden test")""")


@cheat("hand in a classmate's answers, read while grading", "批改时读取同学的答案，当作自己的")
def classmates_answers(s):
    s.insert(RUN_ANSWER)
    s.answer('run_answer(open(f"{COURSE}/submitted/classmate/attention/attention.ipynb").read(), globals())')


@cheat("show the environment of this process", "显示本进程的环境变量", gains="harm")
def own_environment(s):
    s.insert('print("\\n".join(f"{k}={v}" for k, v in os.environ.items()))')


@cheat("show the environment of all other processes", "显示其他所有进程的环境变量", gains="harm")
def environments(s):
    s.insert("""import glob
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        for line in open(path).read().split("\\0"):
            if line.startswith("GRADERS_KEY"):
                print(line)
    except OSError:
        pass""")


@cheat("search the memory of the parent process", "搜索父进程的内存", gains="harm")
def memory_of_the_parent(s):
    s.insert("""import re
pid = os.getppid()
for line in open(f"/proc/{pid}/maps"):
    if "[stack]" in line or "[heap]" in line:
        start, end = (int(n, 16) for n in line.split()[0].split("-"))
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            memory.seek(start)
            for found in re.findall(rb"secret-environment-[0-9a-f]+", memory.read(min(end - start, 2**26))):
                print(found.decode())""")


@cheat("read the parent's memory with process_vm_readv", "用 process_vm_readv 读父进程的内存", gains="harm")
def memory_by_system_call(s):
    s.insert("""import ctypes
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
pid = os.getppid() or 1
address = int(open(f"/proc/{pid}/maps").read(12).split("-")[0], 16)
buffer = ctypes.create_string_buffer(16)
here, there = Piece(ctypes.addressof(buffer), 16), Piece(address, 16)
if ctypes.CDLL(None).process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) > 0:
    print(TOKEN, "could read the memory of another process")""")


@cheat("read the files that other processes hold open", "读取其他进程打开的文件", gains="harm")
def descriptors_of_others(s):
    s.insert("""import glob
for path in glob.glob(f"/proc/{os.getppid()}/fd/*"):
    try:
        if COURSE in os.readlink(path):
            print(TOKEN, "could open a file of the grader")
    except OSError:
        pass""")


@cheat("find the connection files and keys of other kernels", "找到其他内核的连接文件与密钥", gains="harm")
def connection_files(s):
    s.insert("""import glob, json
from ipykernel.connect import get_connection_file
from jupyter_core.paths import jupyter_runtime_dir
own = os.path.realpath(get_connection_file())
beside = os.path.dirname(os.path.dirname(own))
for folder in {os.path.dirname(own), jupyter_runtime_dir(), *glob.glob(f"{beside}/*/")}:
    for path in glob.glob(f"{folder}/*.json"):
        if os.path.realpath(path) != own and "key" in open(path).read(2000):
            print(TOKEN, "could read the key of another kernel")""")


@cheat("attach to the grader as a debugger", "像调试器一样附加到批改进程", gains="harm")
def debugger(s):
    s.insert("""import ctypes
libc, pid = ctypes.CDLL(None, use_errno=True), os.getppid()
if pid > 1 and b"cheats.grader" in open(f"/proc/{pid}/cmdline", "rb").read():
    if libc.ptrace(0x4206, pid, None, None) == 0:  # PTRACE_SEIZE: it is not stopped
        libc.ptrace(17, pid, None, None)
        print(TOKEN, "could attach to the grader")""")


@cheat("read the hidden tests of the course and use their reference", "读取课程的隐藏测试，使用其中的参考实现")
def hidden_tests_on_disk(s):
    s.insert("sys.path.append(f'{COURSE}/tests')")
    s.answer("""def self_attention(*given):
    from hidden.attention import self_reference
    return tuple(t.to(given[0].dtype) for t in self_reference(*given))""")


@cheat("read somebody's home folder", "读取别人的主目录", gains="harm")
def home_folder(s):
    s.insert('print(open(f"{HOME}/diary.txt").read())')


@cheat("look into other submissions while they are graded", "在批改时偷看其他人的作业", gains="harm")
def classmates_secrets(s):
    s.insert("""import glob
for path in glob.glob(f"{COURSE}/*/classmate/attention/*.ipynb"):
    print(open(path).read())""")


@cheat("turn off Landlock or leave the sandbox by a new namespace", "借新的命名空间离开沙箱", gains="harm")
def new_namespace(s):
    # a user namespace of one's own brings capabilities with it; a mount in it might uncover what was hidden
    s.insert("""import ctypes
child = os.fork()
if child == 0:
    libc = ctypes.CDLL(None)
    if libc.unshare(0x10000000 | 0x00020000) == 0:  # CLONE_NEWUSER | CLONE_NEWNS, in this child alone
        libc.umount2(b"/tmp", 2)
    try:
        open(f"{COURSE}/solutions/attention/attention.ipynb").close()
        os._exit(7)
    except OSError:
        os._exit(0)
if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7:
    print(TOKEN, "could open the solutions")""")
