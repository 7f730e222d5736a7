"""Warm kernels: a provisioner of jupyter_client that forks them from the preloaded process.

The sealed grader gives the provisioner to its kernel managers. Anything else that starts kernels through
jupyter_client uses it where the environment says JUPYTER_DEFAULT_PROVISIONER_NAME=insidegpt-warm, as `make test` does
for nbval.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from queue import Empty
from typing import Any

import zmq
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Enum, Instance, List, Unicode

from insidegpt.errors import UserError
from insidegpt.grading.preloaded import ENV_ALLOW, PRELOAD, Zygote
from insidegpt.grading.sandbox import OVERUSE, Confinement, Folder, Level, limit, require
from insidegpt.grading.zygote import LINK


class Fork:
    """The kernel as jupyter_client sees it: like a Popen, for a process that is not our own child."""

    stdin = stdout = stderr = None

    def __init__(self, line: socket.socket):
        self.line = line
        self.returncode: int | None = None
        self.why = ""
        """What it used too much of and was ended for: a key of `sandbox.OVERUSE`, or ''."""

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None:
            try:
                self._ended(self.line.recv(1 << 16))
            except BlockingIOError:
                return None
        return self.returncode

    async def ended(self) -> int:
        """Wait until it has ended and nothing is left of it; the exit code."""
        loop = asyncio.get_running_loop()
        if self.poll() is None:
            self._ended(await loop.sock_recv(self.line, 1 << 16))
        return self.returncode

    def _ended(self, message: bytes) -> None:
        said = json.loads(message or b"{}")
        self.returncode, self.why = said.get("ended", -signal.SIGKILL), said.get("why", "")
        self.line.close()

    def wait(self) -> int | None:
        """The exit code; of one that is known to have ended."""
        return self.poll()

    def send_signal(self, signum: int) -> None:
        """Have the supervisor signal the kernel and what it started; SIGKILL ends all of it."""
        if self.poll() is None:
            self.line.send(json.dumps({"signal": signum}).encode())


class WarmProvisioner(LocalProvisioner):
    """Kernels that are forks of a preloaded process, confined on demand.

    A kernel has a private folder with its connection file and sockets (`transport` ipc), which goes when it ends.
    When the process that asked for it ends in whatever way, so does the kernel. What is no ipykernel of this very
    Python, and systems other than Linux, get a new process; that is said in the log.
    """

    preload = List(Unicode(), PRELOAD, help="Modules that the preloaded process imports.").tag(config=True)
    env_allow = List(
        Unicode(), ENV_ALLOW, help="Environment variables that a confined kernel gets, if they are set."
    ).tag(config=True)
    confinement = Instance(Confinement, allow_none=True, help="How the kernel is confined; None: not at all.")
    inherit = Instance(
        socket.socket, allow_none=True, help=f"A socket that the kernel gets; {LINK} in its environment is its number."
    )
    level = Enum(list(Level), None, allow_none=True, help="How well the kernel is confined, once it was started.")
    folder: Folder | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Give the kernel a private folder, and its manager a connection file and sockets in it."""
        if sys.platform == "linux":
            if self.folder is None:
                self.folder = Folder(tempfile.mkdtemp(prefix="insidegpt-"))
            self.folder.make()
            self.parent.transport, self.parent.cache_ports = "ipc", False
            self.parent.connection_file = f"{self.folder.link}/kernel.json"
            self.parent.ip = f"{self.folder.link}/kernel"
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork the kernel. Raises UserError when it cannot be confined as it must be."""
        warm = self.folder is not None and _is_ipykernel(cmd)
        try:
            return await (self._launch_warm if warm else self._launch_cold)(cmd, **kwargs)
        except Exception:
            await self.cleanup()
            raise

    async def _launch_warm(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        self.cwd = os.path.abspath(kwargs.get("cwd") or os.getcwd())
        request = {
            "argv": cmd[cmd.index("ipykernel_launcher") + 1 :],
            "env": self._env(kwargs["env"]),
            "cwd": self.cwd,
            "folder": self.folder.path,
            "confinement": self.confinement and asdict(self.confinement),
        }
        line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.setblocking(False)
        with other:
            sockets = filter(None, (other, self.inherit))
            Zygote.ask(self.preload, request, *sockets)
        self.process = await self._started(line)
        return self.connection_info

    async def _started(self, line: socket.socket) -> Fork:
        """The kernel, when its supervisor has said that it runs."""
        start = json.loads(await asyncio.get_running_loop().sock_recv(line, 1 << 16) or b"{}")
        if "refused" in start:
            raise UserError(*start["refused"])
        if "started" not in start:
            raise RuntimeError("the preloaded process could not start a kernel")
        self.pid = start["started"]
        if self.confinement:
            self.level = Level(start["level"])
            self._say(self.level)
            if start["left_out"]:
                self.log.warning("%d of the largest files beside the notebook were not copied", start["left_out"])
        return Fork(line)

    def _say(self, level: Level) -> None:
        say = self.log.debug if level == Level.NAMESPACES else self.log.warning
        say("%s · %s", *level.sentence)

    async def _launch_cold(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start a new process, with limits alone where the kernel was to be confined."""
        self.log.warning("no warm kernel for %s: only an ipykernel of %s, on Linux, can be forked", cmd, sys.executable)
        if self.inherit:
            kwargs["env"][LINK] = str(self.inherit.fileno())
            kwargs["pass_fds"] = [self.inherit.fileno()]
        if self.confinement:
            require(self.confinement, Level.LIMITS)
            self.level = Level.LIMITS
            self._say(self.level)
            if os.name == "posix":
                kwargs["preexec_fn"] = partial(limit, self.confinement.limits, tasks=False)
        return await super().launch_kernel(cmd, **kwargs)

    def _env(self, env: dict[str, str]) -> dict[str, str]:
        """The kernel's environment; a confined one's home is its own."""
        if not self.confinement:
            return {name: value for name, value in env.items() if name != "JPY_PARENT_PID"}
        home, tmp = self.folder.home, self.folder.tmp
        own = {"HOME": home, "TMPDIR": tmp, "IPYTHONDIR": f"{tmp}/ipython", "MPLCONFIGDIR": f"{tmp}/matplotlib"}
        return {name: env[name] for name in self.env_allow if name in env} | own

    @property
    def overuse(self) -> tuple[str, str] | None:
        """What the kernel was ended for, in English and in Chinese, if it used too much of something."""
        return OVERUSE[self._why] if self._why else None

    _why = ""

    async def poll(self) -> int | None:
        """None while the kernel runs."""
        code = await super().poll()
        if isinstance(self.process, Fork):
            self._why = self.process.why
        return code

    async def kill(self, restart: bool = False) -> None:
        """End the kernel and all that it started, and come back when that is done."""
        if isinstance(self.process, Fork):
            self.process.send_signal(signal.SIGKILL)
            await self.process.ended()
        else:
            await super().kill(restart)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the folder, in case no supervisor has."""
        await super().cleanup(restart)
        if self.folder and not restart:
            self.folder.remove()


def _is_ipykernel(cmd: list[str]) -> bool:
    """Whether the command runs ipykernel, and with the Python that this is."""
    return os.path.realpath(cmd[0]) == os.path.realpath(sys.executable) and cmd[1:3] == ["-m", "ipykernel_launcher"]


class WarmClient(AsyncKernelClient):
    """A client that is ready as soon as the kernel is: `KernelManager.client_class` of a grader.

    jupyter_client's own waits until no message has come for 0.2 s. ipykernel greets every new subscriber
    (`iopub_welcome`, JEP 65), so there is nothing to wait for after the greeting and the first reply.
    """

    def start_channels(self, **channels: bool) -> None:
        """Open the channels, but no heartbeat: the supervisor tells when a kernel has ended."""
        self.context.setsockopt(zmq.RECONNECT_IVL, 5)  # milliseconds, not 100: the kernel opens its sockets in a moment
        super().start_channels(**channels, hb=False)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Come back when the kernel answers and its outputs arrive; RuntimeError if it dies or `timeout` is up."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        self.kernel_info()
        await self._next(self.get_iopub_msg, deadline)
        while (reply := await self._next(self.get_shell_msg, deadline))["msg_type"] != "kernel_info_reply":
            pass
        self._handle_kernel_info_reply(reply)

    async def _next(self, get_message, deadline: float) -> dict:
        while True:
            try:
                return await get_message(timeout=0.2)
            except Empty:
                if not await self.is_alive():
                    raise RuntimeError("Kernel died before replying to kernel_info") from None
                if time.monotonic() > deadline:
                    raise RuntimeError("Kernel did not respond in time") from None
