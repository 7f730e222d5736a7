"""The preloaded process: it imports what every kernel needs once, and forks a kernel or a judge for each request.

    grader ── control ──> zygote ── forks ──> supervisor ── forks ──> kernel
       └───────────────── a line of its own ──────┘

A request is one message on the control socket, with one end of a new socket, the line, on which the supervisor
says how the kernel started (`started` or `refused`) and how it ended (`ended`), and takes signals to pass on. The
line's other end closes when whoever asked for the kernel is gone, however that happened; then the kernel ends too.

A judge's process is trusted: it has no supervisor, and the new socket goes to itself (`judge_shell.py`).

The zygote ends when the last copy of the control socket's other end is closed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NoReturn

from insidegpt.errors import UserError
from insidegpt.grading import linux
from insidegpt.grading.sandbox import Confinement, Folder, Level, Limits, confine, end_all, overuse, separate

TICK = 0.05
"""Seconds between two looks of the supervisor at what a confined kernel uses."""

QUICK = ["--HistoryManager.enabled=False", "--IPKernelApp.parent_handle=1"]
"""No history in a database; the parent is watched by the system, not by a thread."""

KERNEL = (
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "stack_data",
    "tornado.platform.asyncio",
)
"""What ipykernel imports while it starts, and to show an error."""

LINK = "INSIDEGPT_LINK"
"""The environment variable with the number of the descriptor that a kernel has inherited."""


def main() -> NoReturn:
    """`python -m insidegpt.grading.zygote CONTROL MODULE …`; CONTROL: the number of the control socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]  # the grader's working directory, which -m puts there
    gc.disable()  # imports leave no garbage to speak of, and looking for it takes a fifth of their time
    for module in (*KERNEL, *sys.argv[2:]):
        _preload(module)
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for supervisors
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grader, which then closes its sockets
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 2)
        if not message:
            os._exit(0)
        gc.freeze()  # a collection in a fork would write to every object's page
        if "torch" in sys.modules:
            assert not sys.modules["torch"].cuda.is_initialized(), "a fork could not use CUDA"
        if os.fork() == 0:
            control.close()
            request = json.loads(message)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.sched_setaffinity(0, request["cores"])  # those of whoever asked, and not of whoever asked first
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # no program that a kernel runs has them
            _exit_after(_be_judge if "judge" in request else _supervise, request, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _exit_after(work: Callable, *arguments) -> NoReturn:
    """Do the work of a fork, which must never come back to the code that forked it."""
    try:
        work(*arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _preload(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        print(f"not preloaded: {module} ({error})", file=sys.stderr)


def _be_judge(request: dict, connection: int, link: int) -> None:
    """Become a judge's process: it is trusted, so it needs no supervisor."""
    linux.die_with_parent()
    _close_all_but({0, 1, 2, connection, link})
    _environment(request["env"], link)
    os.chdir(request["cwd"])
    _streams(silent=False)
    _reseed()
    from insidegpt.grading.judge_shell import attend

    attend(Connection(connection))


def _supervise(request: dict, line_number: int, inherit: int | None = None) -> None:
    """Fork the kernel, stay until it has ended or must end, and leave nothing of it behind."""
    line = socket.socket(fileno=line_number)
    linux.adopt_orphans()
    request["priority"] = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(OSError):  # root has no limit of processes: what counts them must run when there are many
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    folder, confinement = Folder(request["folder"]), _confinement(request["confinement"])
    separated = confinement is not None and separate(confinement)
    told, tell = os.pipe()
    kernel = os.fork()
    if kernel == 0:
        _exit_after(_be_kernel, request, folder, confinement, separated, tell, inherit)
    os.close(tell)
    if inherit is not None:
        os.close(inherit)
    with os.fdopen(told) as pipe:
        start = json.loads(pipe.read() or "{}")
    why = ""
    if "started" in start:
        _send(line, start | {"started": kernel})  # its number in its own namespace is 1
        why = _watch(kernel, line, confinement and confinement.limits, folder)
    code = _end(kernel)
    folder.remove()
    _send(line, start if "refused" in start else {"ended": code, "why": why})


def _confinement(fields: dict | None) -> Confinement | None:
    if fields is None:
        return None
    limits, best = Limits(**fields.pop("limits")), Level(fields.pop("best"))
    return Confinement(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}, limits=limits, best=best
    )


def _watch(kernel: int, line: socket.socket, limits: Limits | None, folder: Folder) -> str:
    """Pass signals on until the kernel has ended, must end (SIGKILL, the line closed), or uses too much: of what."""
    process = os.pidfd_open(kernel)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(line, select.POLLIN)
    while True:
        ready = dict(poll.poll(TICK * 1000 if limits else None))
        if process in ready:
            return ""
        if line.fileno() in ready:
            message = _receive(line)
            number = message.get("signal", signal.SIGKILL)
            if number == signal.SIGKILL:
                return ""
            os.killpg(kernel, number)
        if limits and (why := overuse(limits, folder)):
            return why


def _end(kernel: int) -> int:
    """End the kernel and every process that it started; its exit code as `subprocess` gives it."""
    os.kill(kernel, signal.SIGKILL)  # in namespaces, the end of all; and no harm to one that has ended
    code = os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1])
    end_all()
    return code


def _send(line: socket.socket, message: dict) -> None:
    with suppress(OSError):  # whoever asked may be gone
        line.send(json.dumps(message).encode())


def _receive(line: socket.socket) -> dict:
    try:
        return json.loads(line.recv(1 << 16) or b"{}")
    except OSError:
        return {}


def _be_kernel(
    request: dict,
    folder: Folder,
    confinement: Confinement | None,
    separated: bool,
    tell: int,
    inherit: int | None,
) -> NoReturn:
    """Become the kernel: what a new process would have, then the confinement, then ipykernel."""
    os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, request["priority"])  # that of the grader, who may have been told to be nice
    linux.die_with_parent()
    _close_all_but({0, 1, 2, tell} | (set() if inherit is None else {inherit}))
    _environment(request["env"], inherit)
    start: dict = {"started": os.getpid()}
    try:
        if confinement is None:
            os.chdir(request["cwd"])
        else:
            start["level"], start["left_out"] = confine(confinement, folder, separated, request["cwd"])
    except UserError as error:
        start = {"refused": [error.en, error.zh]}
    os.write(tell, json.dumps(start).encode())
    os.close(tell)
    if "refused" in start:
        os._exit(1)
    _streams(silent=confinement is not None)
    _reseed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from ipykernel.kernelapp import IPKernelApp

    sys.argv = ["ipykernel_launcher.py", *request["argv"]]
    IPKernelApp.launch_instance(argv=[*request["argv"], *QUICK])
    os._exit(0)


def _streams(silent: bool) -> None:
    """Standard input is empty; silent: nor does anything reach the grader's terminal past ipykernel."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2) if silent else (0,):
        os.dup2(null, stream)


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with suppress(OSError):  # one of them listed the folder
                os.close(int(name))


def _environment(env: dict[str, str], inherit: int | None) -> None:
    """Set the environment, and the part of the path for imports that Python reads from it."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    before += [os.path.abspath(entry) for entry in before]  # as Python has them in its path
    os.environ.clear()
    os.environ.update(env)
    if inherit is not None:
        os.environ[LINK] = str(inherit)
    path = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = [*path, *(entry for entry in sys.path if entry not in before)]
    importlib.invalidate_caches()


def _reseed() -> None:
    """Give the generators of random numbers a state of their own; a fork has the zygote's."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


if __name__ == "__main__":
    main()
