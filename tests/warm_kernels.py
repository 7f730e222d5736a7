"""Warm kernels as the tests of the grader use them."""

from __future__ import annotations

import time
from pathlib import Path
from queue import Empty

from jupyter_client import KernelManager

from insidegpt.grading.preloaded import Zygote
from insidegpt.grading.warm import WarmProvisioner

PRELOAD = ["numpy"]
"""Enough to see that something is preloaded, and quick to import."""


class Ended(Exception):
    """The kernel ended while it ran the code."""


class WarmKernel:
    """A context: a kernel of its own, confined or not, and gone at the end."""

    def __init__(self, confinement=None, cwd=None, preload=None, argv=None, **traits):
        self.manager = KernelManager(kernel_name="python3")
        spec = self.manager.kernel_spec
        spec.argv = argv or spec.argv
        self.provisioner = self.manager.provisioner = WarmProvisioner(
            kernel_id="test",
            kernel_spec=spec,
            parent=self.manager,
            confinement=confinement,
            preload=preload or PRELOAD,
            **traits,
        )
        self.cwd = cwd

    def __enter__(self) -> WarmKernel:
        self.manager.start_kernel(cwd=self.cwd)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        return self

    def __exit__(self, *error) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code: str, wait: float = 60) -> str:
        """What the code printed, and the type of the error that it raised; Ended when it ended the kernel."""
        request, said = self.client.execute(code), []
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=0.2)
            except Empty:
                if not self.manager.is_alive():
                    raise Ended from None
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if content.get("execution_state") == "idle":
                return "".join(said).strip()
            said.append(content.get("text") or content.get("ename") or "")
        raise TimeoutError

    @property
    def folder(self) -> Path:
        """The kernel's private folder."""
        return Path(self.provisioner.folder.path)

    @property
    def zygote(self) -> int:
        """The process that it was forked from."""
        return Zygote.of(self.provisioner.preload).process.pid


def wait_until(true, seconds: float = 20) -> bool:
    """Whether it becomes true in that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.02)
    return False
