"""The learner's kernel: runs pieces of code one after the other, and says what came of each, whatever the code did."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbclient.util import run_sync
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from insidegpt.grading.sandbox import Confinement, Level
from insidegpt.grading.warm import WarmClient, WarmProvisioner
from insidegpt.outcome import REPORT

PRINTED, SHOWN, PICTURED = 20_000, 200, 2_000_000
"""How many characters a piece may print, how many outputs it may show, how many characters these may have."""

KEPT = {"stream", "display_data", "execute_result", "error", "execute_input", "status"}
"""The messages that count: no widgets, and no changes of what was shown before."""

STOPPED = {DeadKernelError.__name__, CellTimeoutError.__name__}
"""The names of errors that are no Python exception of the code: it ended the process, or ran out of time."""


class Kernel(NotebookClient):
    """A process that runs code. timeout: seconds that a piece may take.

    confinement: how the process is confined. preload: what it has imported. link: a socket that it inherits.
    """

    def __init__(self, folder: Path, timeout: int, confinement: Confinement, preload: list[str], link: socket.socket):
        super().__init__(
            new_notebook(),
            timeout=timeout,
            interrupt_on_timeout=True,
            error_on_timeout={"ename": CellTimeoutError.__name__, "evalue": "", "traceback": []},
            allow_errors=True,
            shutdown_kernel="immediate",
            resources={"metadata": {"path": str(folder)}},
        )
        self._provision = {"confinement": confinement, "preload": preload, "inherit": link}
        self.alive = False

    def start(self) -> None:
        """Start the process, and do not wait until it is ready.

        Raises UserError when it cannot be confined as it must be, RuntimeError for the rest.
        """
        client = f"{WarmClient.__module__}.{WarmClient.__name__}"
        self.km = AsyncKernelManager(kernel_name="python3", client_class=client, parent=self)
        # this very Python, whatever kernel the notebook names and the machine has installed
        self.km.kernel_spec_manager = KernelSpecManager(kernel_dirs=[], parent=self.km)
        self.km.kernel_id = str(uuid.uuid4())
        self.km.provisioner = WarmProvisioner(
            kernel_id=self.km.kernel_id, kernel_spec=self.km.kernel_spec, parent=self.km, **self._provision
        )
        self.start_new_kernel(env=dict(os.environ))

    def connect(self) -> None:
        """Wait until the process is ready to run code. Raises RuntimeError when it ends before."""
        self.start_new_kernel_client()
        self.alive = True

    @property
    def level(self) -> Level | None:
        """How well the process is confined."""
        return self.km.provisioner.level

    def run(self, source: str) -> NotebookNode:
        """Run code; the cell that comes back says in its outputs what happened, even that the process has ended."""
        cell = new_code_cell(source)
        self.nb.cells = [cell]
        self._ended, self._pictured = False, 0
        try:
            self.execute_cell(cell, 0)
            if self._ended:
                raise DeadKernelError
        except (DeadKernelError, CellTimeoutError) as stop:
            cell.outputs.append(error(type(stop).__name__, " · ".join(self.km.provisioner.overuse or ())))
        except KeyboardInterrupt:
            for task in asyncio.all_tasks(ensure_event_loop()):  # that one then fails is no news to anybody
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise
        self.alive = not stopped(cell)
        return cell

    def begin(self, source: str) -> str:
        """Have the process run code whose outputs do not matter, without waiting; returns what `finish` wants."""
        return self.kc.execute(source, silent=True, store_history=False, stop_on_error=False)

    @run_sync
    async def finish(self, request: str, seconds: float) -> None:
        """Wait until the code of `begin` has ended; when it takes longer, the process is no longer `alive`."""
        try:
            async with asyncio.timeout(seconds):
                while (await self.kc.get_shell_msg(timeout=None))["parent_header"].get("msg_id") != request:
                    pass
        except TimeoutError:
            self.alive = False

    def stop(self) -> None:
        """End the process and all that it started."""
        if self.km is not None:
            self._cleanup_kernel()
        self.alive = False

    def on_cell_executed(self, cell: NotebookNode, execute_reply: dict, **_) -> None:
        """Keep an error that only the reply tells; note `exit()`, after which the process ends in a moment."""
        content = execute_reply["content"]
        known = [output.ename for output in cell.outputs if output.output_type == "error"]
        if content["status"] == "error" and content["ename"] not in known:
            cell.outputs.append(error(content["ename"], content["evalue"][:PRINTED]))
        self._ended = any(item.get("source") == "ask_exit" for item in content.get("payload", []))

    def process_message(self, msg: dict, cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Take a message from the process, if it is one of `KEPT`."""
        if msg["msg_type"] not in KEPT:
            return None
        msg["content"].pop("transient", None)
        return super().process_message(msg, cell, cell_index)

    def output(self, outs: list, msg: dict, display_id: str | None, cell_index: int) -> NotebookNode | None:
        """Keep an output within the bounds, so that no submission fills memory or disk; the report is always kept."""
        content = msg["content"]
        if msg["msg_type"] == "stream":
            room = PRINTED - sum(len(o.text) for o in outs if o.output_type == "stream")
            if room <= 0:
                return None
            content["text"] = content["text"][:room]
        elif msg["msg_type"] == "error":
            content["evalue"] = content["evalue"][:PRINTED]
            content["traceback"] = [line[:PRINTED] for line in content["traceback"][-SHOWN:]]
        elif REPORT not in content["data"]:
            self._pictured += sum(map(len, map(str, content["data"].values())))
            if len(outs) >= SHOWN or self._pictured > PICTURED:
                return None
        return super().output(outs, msg, display_id, cell_index)


def stopped(cell: NotebookNode) -> bool:
    """Whether the code ran into the time limit or ended the process."""
    return any(o.output_type == "error" and o.ename in STOPPED for o in cell.outputs)


def error(name: str, said: str = "") -> NotebookNode:
    """The output of code that ended with an error of this name."""
    return new_output("error", ename=name, evalue=said, traceback=[])
