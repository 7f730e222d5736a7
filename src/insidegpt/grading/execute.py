"""The one class that runs a notebook to be graded, in `insidegpt check` and in nbgrader alike.

It stands where nbgrader's own `Execute` stands and is given the same: an assembled notebook. What it leaves in
a graded cell is unambiguous, whatever the code in the kernel did: sentences for the learner (outputs of the type
`NOTE`), the report of the hidden check, and last either the points as a number or an error that says why there
are none. nbgrader's own rules then read the score off.
"""

from __future__ import annotations

import os
import re

from jupyter_client.kernelspec import KernelSpecManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbclient.util import run_sync
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output
from nbgrader.preprocessors import Execute
from traitlets import Enum, Unicode

from insidegpt.grading.submission import is_graded, is_solution
from insidegpt.outcome import NOT_WRITTEN, NOTE, REPORT, Text

PRINTED, SHOWN = 20_000, 200
"""How many characters a cell may print and how many outputs it may show; no submission fills memory or disk."""

ANSWER, ABOVE = ("the answer cell", "答题单元格"), ("a cell above the test", "测试之前的一个单元格")
VISIBLE, HIDDEN = ("the visible test", "可见测试"), ("the hidden check", "隐藏检查")
STOPPED = {DeadKernelError.__name__, CellTimeoutError.__name__}


class ExecuteSubmission(Execute):
    """Run all cells in one kernel, and go on whatever a cell does.

    A cell that ends the kernel, or that cannot be interrupted, costs its own exercise: a fresh kernel runs again
    what had run well before it. The visible test and the hidden check of a graded cell run one after the other,
    so a failed visible test does not silence the check; the last of the two decides about the points, and a
    graded cell that gives no number gives no points.
    """

    tests = Unicode(help="The folder of the hidden tests: put first on the kernel's PYTHONPATH.").tag(config=True)

    shutdown_kernel = Enum(["graceful", "immediate"], default_value="immediate").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict, km=None) -> tuple[NotebookNode, dict]:
        """Run the notebook's cells in place; see nbconvert's `ExecutePreprocessor.preprocess`."""
        self._ran: list[str] = []  # what a fresh kernel must run to be where this one is
        self._trouble: list[str] = []  # what went wrong since the last graded cell
        return super().preprocess(nb, resources, km)

    def create_kernel_manager(self):
        """A manager for this very Python, whatever kernel the notebook names and the machine has installed."""
        self.kernel_name = "python3"
        manager = super().create_kernel_manager()
        manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[], parent=manager)
        manager.transport_encryption = "auto"  # the sockets are open to every user of the machine
        return manager

    async def async_start_new_kernel(self, **options) -> None:
        """Start the kernel, with the hidden tests where it can import them."""
        path = os.pathsep.join(filter(None, [self.tests, os.environ.get("PYTHONPATH")]))
        await super().async_start_new_kernel(env={**os.environ, "PYTHONPATH": path}, **options)

    start_new_kernel = run_sync(async_start_new_kernel)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        """Run one cell. Its tags, which could make nbclient skip it, play no part."""
        if cell.cell_type == "code":
            if is_graded(cell):
                self._grade(cell, index)
            elif cell.source.strip():
                ran = self._run(cell.source, index)
                cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
                self._remember(cell)
        return cell, resources

    def _remember(self, cell: NotebookNode) -> None:
        """Keep a cell of the learner's to be run again, or what went wrong in it."""
        said = _failure(cell.outputs, ANSWER if is_solution(cell) else ABOVE, self.timeout)
        if said:
            self._trouble.append(said)
        if not _stopped(cell.outputs):
            self._ran.append(cell.source)

    def _grade(self, cell: NotebookNode, index: int) -> None:
        """Run a graded cell's visible test and hidden check; leave notes, the report, and the points or an error."""
        trouble = [*cell.metadata.get("trouble", []), *self._trouble]
        self._trouble = []
        kept, failures, verdict = [], [], None
        for who, source in _parts(cell.source):
            ran = self._run(source, index)
            cell.execution_count = ran.execution_count
            kept += [_harmless(o) for o in ran.outputs if o.output_type in ("stream", "display_data")]
            failures.append(_failure(ran.outputs, who, self.timeout))
            verdict = next((o for o in reversed(ran.outputs) if o.output_type == "execute_result"), None)
            if _stopped(ran.outputs):
                break
        no_points = "".join(failures[-1:]) or _not_points(verdict, cell.metadata.nbgrader["points"])
        said = next(filter(None, failures), no_points)
        if said and not (trouble and "NameError" in said):  # else that only follows from the trouble above
            trouble.append(said)
        if no_points:
            *trouble, reason = trouble
            verdict = new_output("error", ename="NoPoints", evalue=reason, traceback=[reason])
        notes = [*cell.metadata.get("remarks", []), *trouble]
        cell.outputs = [*map(_note, notes), *kept, verdict]

    def _run(self, source: str, index: int) -> NotebookNode:
        """Run code in the kernel; the cell that comes back says in its outputs whatever happened.

        When the kernel died or did not let itself be interrupted, a fresh one stands in its place.
        """
        cell, in_place = new_code_cell(source), self.nb.cells[index]
        self._exited = False
        try:
            self.execute_cell(cell, index, store_history=True)
            if self._exited:
                raise DeadKernelError
        except (DeadKernelError, CellTimeoutError) as stop:
            cell.outputs.append(new_output("error", ename=type(stop).__name__, evalue="", traceback=[]))
            self._start_afresh(index)
        finally:
            self.nb.cells[index] = in_place  # nbclient puts what it ran there
        return cell

    def _start_afresh(self, index: int) -> None:
        """Replace the kernel, and run in the new one what had run well in the old one."""
        self._cleanup_kernel()
        self.create_kernel_manager()
        self.start_new_kernel()
        self.start_new_kernel_client()
        again, self._ran = self._ran, []
        for source in again:
            if not _stopped(self._run(source, index).outputs):
                self._ran.append(source)

    def on_cell_executed(self, **happened) -> None:
        """Note that the code called `exit()`, after which IPython's kernel ends on its own in a moment."""
        super().on_cell_executed(**happened)
        payload = happened["execute_reply"]["content"].get("payload", [])
        self._exited = any(item.get("source") == "ask_exit" for item in payload)

    def output(self, outs: list, msg: dict, display_id: str | None, cell_index: int):
        """Keep an output of the cell that runs, within `PRINTED` and `SHOWN`; the report is always kept."""
        if msg["msg_type"] == "stream":
            room = PRINTED - sum(len(o.text) for o in outs if o.output_type == "stream")
            if room <= 0:
                return None
            msg["content"]["text"] = msg["content"]["text"][:room]
        elif msg["msg_type"] == "display_data" and len(outs) >= SHOWN and REPORT not in msg["content"]["data"]:
            return None
        return super().output(outs, msg, display_id, cell_index)


def _parts(source: str) -> list[tuple[Text, str]]:
    """The visible test and the hidden check in a graded cell, each if it is there."""
    hidden, visible = [], []
    lines = visible
    for line in source.splitlines():
        if "BEGIN HIDDEN TESTS" in line:
            lines = hidden
        elif "END HIDDEN TESTS" in line:
            lines = visible
        else:
            lines.append(line)
    parts = [(VISIBLE, "\n".join(visible)), (HIDDEN, "\n".join(hidden))]
    return [(who, code) for who, code in parts if code.strip()]


def _stopped(outputs: list) -> bool:
    """Whether the code ran into the time limit or ended the kernel."""
    return any(o.output_type == "error" and o.ename in STOPPED for o in outputs)


def _failure(outputs: list, who: Text, timeout: int) -> str:
    """A sentence about the error among the outputs, in both languages, or ''."""
    errors = {o.ename: o for o in outputs if o.output_type == "error"}
    en, zh = who
    if not errors:
        return ""
    if CellTimeoutError.__name__ in errors:
        return (
            f"{en} did not finish within {timeout} s and was stopped: is there an endless loop? · "
            f"{zh}在 {timeout} 秒内没有运行完，已被停止：是否有死循环？"
        )
    if DeadKernelError.__name__ in errors:
        return f"{en} ended the Python process · {zh}让 Python 进程退出了"
    if "StdinNotImplementedError" in errors:
        return f"{en} called input(), and nobody is there to answer · {zh}调用了 input()，但批改时没有人输入"
    if "NotImplementedError" in errors and not errors["NotImplementedError"].evalue:  # torch raises it with a reason
        return NOT_WRITTEN
    error = list(errors.values())[-1]
    if who is VISIBLE and error.ename == "AssertionError":
        line = _line(error.traceback)
        return f"{en} does not hold: {line} · {zh}不成立：{line}"
    what = re.sub(r"\([^()]*?, line (\d+)\)", r"(line \1)", f"{error.ename}: {error.evalue}")
    what = what.strip().splitlines()[0].removesuffix(":")[:200]
    return f"{en} raised {what} · {zh}抛出了 {what}"


def _line(traceback: list[str]) -> str:
    """The line of the cell at which IPython's traceback points."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(traceback))
    pointed = re.search(r"^-+> *\d+ (.*)$", plain, re.MULTILINE)
    return pointed[1].strip() if pointed else "assert"


def _not_points(result: NotebookNode | None, maximum: float) -> str:
    """A sentence unless the result is a number between 0 and the maximum."""
    try:
        points = float(result.data["text/plain"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return "the check gave no points · 检查没有给出分数"
    if 0 <= points <= maximum:
        return ""
    return f"the check gave {points:g} of {maximum:g} points · 检查给出了 {points:g} 分，满分为 {maximum:g} 分"


def _note(sentence: str) -> NotebookNode:
    return new_output("display_data", {"text/plain": sentence, NOTE: sentence})


def _harmless(output: NotebookNode) -> NotebookNode:
    """The output, on stdout if it was on stderr: a warning must not cost the points of the cell."""
    if output.get("name") == "stderr":
        output.name = "stdout"
    return output
