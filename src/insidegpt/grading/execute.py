"""The one class that runs a notebook to be graded, in `insidegpt check`, `insidegpt grade` and nbgrader alike.

It stands where nbgrader's own `Execute` stands and is given the same: an assembled notebook. What it leaves in
a graded cell is unambiguous, whatever the learner's code did: sentences for the learner (outputs of the type
`NOTE`), the report of the hidden check, and last either the points as a number or an error that says why there
are none. nbgrader's own rules then read the score off.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Callable, Dict, Enum, Integer, List, Unicode

from insidegpt.grading.judge_process import JudgeProcess
from insidegpt.grading.kernel import Kernel, error, stopped
from insidegpt.grading.preloaded import PRELOAD
from insidegpt.grading.sandbox import Confinement, Level, Limits
from insidegpt.grading.submission import is_graded, is_locked, is_solution
from insidegpt.outcome import NOT_WRITTEN, NOTE, Text

ANSWER, ABOVE = ("the answer cell", "答题单元格"), ("a cell above the test", "测试之前的一个单元格")
VISIBLE, HIDDEN = ("the visible test", "可见测试"), ("the hidden check", "隐藏检查")

SERVE = "from insidegpt.grading.student import serve; serve(get_ipython().user_ns)"

CALLS = 4
"""How many times the learner's time limit a visible test or a hidden check may take: it makes many calls."""

LINK_ERRORS = {"StudentGone", "BadReply", "TooLarge"}
"""The names of what `transport.py` raises; they say all in both languages."""


class ExecuteSubmission(NbGraderPreprocessor):
    """Run the learner's cells in a confined kernel, the graded ones in a judge's process, whatever happens.

    The judge alone has the hidden tests. It knows the learner's functions and classes as stand-ins, whose calls
    travel to the confined kernel (`judge.py`). Locked cells run in both, for tests may use them.

    A cell that ends its process, or that cannot be interrupted, costs its own exercise: fresh processes run again
    what had run well before it. The visible test and the hidden check of a graded cell run one after the other,
    so a failed visible test does not silence the check; the last of the two decides about the points, and a
    graded cell that gives no number gives no points.
    """

    tests = Unicode(help="The folder of the hidden tests: put first on the judge's PYTHONPATH.").tag(config=True)
    timeout = Integer(30, help="Seconds that a cell of the learner's may take, and a call of its code.").tag(
        config=True
    )
    longest = Integer(600, help="Seconds that a whole notebook may take.").tag(config=True)
    limits = Dict(help="What the learner's code may use: names and values of `sandbox.Limits`.").tag(config=True)
    strict = Bool(help="Refuse to grade where the sandbox cannot have its first level.").tag(config=True)
    best = Enum(list(Level), Level.NAMESPACES, help="The level of the sandbox to start trying from.").tag(config=True)
    preload = List(Unicode(), PRELOAD, help="Modules that the processes have imported when they start.").tag(
        config=True
    )
    on_cell = Callable(lambda index: None, help="Called before each cell.")
    turn = Callable(nullcontext, help="Called for what is held while the notebook's code runs.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Run the notebook's cells in place; `metadata.insidegpt.sandbox` says how the code was confined.

        Raises UserError when it cannot be confined as it must be, RuntimeError when no kernel starts.
        """
        self._folder = Path(resources["metadata"]["path"])
        self._names = nb.metadata.get("insidegpt", {}).pop("names", [])
        self._ran: list[str] = []  # what fresh processes must run to be where these are: the learner's cells
        self._trusted: list[str] = []  # and the locked ones
        self._trouble: list[str] = []  # what went wrong since the last graded cell
        self._student = self._judge = None
        try:
            self._start()
            level = self._student.level
            nb.metadata.setdefault("insidegpt", {})["sandbox"] = " · ".join(level.sentence)
            with self.turn():
                self._until = time.monotonic() + self.longest
                for index, cell in enumerate(nb.cells):
                    self.on_cell(index)
                    if cell.cell_type == "code":
                        self._take(cell)
        finally:
            self._stop()
        return nb, resources

    def _take(self, cell: NotebookNode) -> None:
        """Run or grade a code cell. Its tags play no part."""
        if is_graded(cell):
            self._grade(cell)
        elif cell.source.strip():
            ran = self._run(cell.source)
            cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
            self._remember(cell)

    def _start(self) -> None:
        """Start the two processes, each with its end of a link between them."""
        ours = Path(self.tests).parent
        confinement = Confinement(
            hidden=(str(ours),) if self.tests else (), limits=Limits(**self.limits), best=self.best, strict=self.strict
        )
        here, there = socket.socketpair()
        with here, there:
            self._judge = JudgeProcess(self._folder, self.tests, self.preload, CALLS * self.timeout, here)
            self._student = Kernel(self._folder, self.timeout, confinement, self.preload, there)
            self._student.start()
        self._student.connect()

    def _stop(self) -> None:
        for process in (self._judge, self._student):
            if process is not None:
                process.stop()

    def _start_afresh(self) -> None:
        """Replace the two processes, and run in the new ones what had run well in the old ones."""
        self._stop()
        self._start()
        for source in self._trusted:
            self._judge.run(source)
        again, self._ran = self._ran, []
        for source in again:
            if not stopped(self._run(source)):
                self._ran.append(source)

    def _run(self, source: str) -> NotebookNode:
        """Run code of the learner's; when its process cannot be used any more, fresh processes stand ready."""
        if self._late:
            return self._out_of_time(source)
        ran = self._student.run(source)
        if not self._student.alive:
            self._start_afresh()
        return ran

    @property
    def _late(self) -> bool:
        return time.monotonic() > self._until

    def _out_of_time(self, source: str) -> NotebookNode:
        """The cell that `Kernel.run` would return, for code that is not run any more."""
        sentence = f"the notebook did not finish within {self.longest} s · 整个笔记本在 {self.longest} 秒内没有运行完"
        return new_code_cell(source, outputs=[error(CellTimeoutError.__name__, sentence)])

    def _remember(self, cell: NotebookNode) -> None:
        """Keep a cell to be run again, or what went wrong in it; a locked one runs for the judge too."""
        said = _failure(cell.outputs, ANSWER if is_solution(cell) else ABOVE, self.timeout)
        if said:
            self._trouble.append(said)
        if not stopped(cell):
            self._ran.append(cell.source)
        if is_locked(cell):
            self._trusted.append(cell.source)
            self._judge.run(cell.source)

    def _grade(self, cell: NotebookNode) -> None:
        """Run a graded cell's visible test and hidden check; leave notes, the report, and the points or an error."""
        trouble = [*cell.metadata.get("trouble", []), *self._trouble]
        self._trouble = []
        kept, failures, verdict = [], [], None
        for who, ran in self._judged(cell):
            cell.execution_count = ran.execution_count
            kept += [_harmless(o) for o in ran.outputs if o.output_type in ("stream", "display_data")]
            failures.append(_failure(ran.outputs, who, CALLS * self.timeout))
            verdict = next((o for o in reversed(ran.outputs) if o.output_type == "execute_result"), None)
        no_points = "".join(failures[-1:]) or _not_points(verdict, cell.metadata.nbgrader["points"])
        said = next(filter(None, failures), no_points)
        if said and not (trouble and "NameError" in said):  # else that only follows from the trouble above
            trouble.append(said)
        trouble = list(dict.fromkeys(trouble))  # the notebook's time is up for every cell alike
        if no_points:
            *trouble, reason = trouble
            verdict = new_output("error", ename="NoPoints", evalue=reason, traceback=[reason])
        notes = [*cell.metadata.get("remarks", []), *trouble]
        cell.outputs = [*map(_note, notes), *kept, verdict]

    def _judged(self, cell: NotebookNode) -> Iterator[tuple[Text, NotebookNode]]:
        """Run a graded cell's parts in the judge's process while the learner's serves it."""
        if self._late:
            yield HIDDEN, self._out_of_time(cell.source)
            return
        serving = self._student.begin(SERVE)
        self._judge.bind(self._names, self.timeout)
        for who, source in _parts(cell.source):
            yield who, self._judge.run(source)
            if not self._judge.alive:
                break
        if self._judge.alive:
            self._judge.release()
            self._student.finish(serving, seconds=1)
        if not (self._judge.alive and self._student.alive):
            self._start_afresh()


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


def _failure(outputs: list, who: Text, seconds: int) -> str:
    """A sentence about the error among the outputs, in both languages, or ''."""
    errors = {o.ename: o for o in outputs if o.output_type == "error"}
    en, zh = who
    if not errors:
        return ""
    if CellTimeoutError.__name__ in errors:
        return errors[CellTimeoutError.__name__].evalue or (
            f"{en} did not finish within {seconds} s and was stopped: is there an endless loop? · "
            f"{zh}在 {seconds} 秒内没有运行完，已被停止：是否有死循环？"
        )
    if DeadKernelError.__name__ in errors:
        why_en, _, why_zh = errors[DeadKernelError.__name__].evalue.partition(" · ")
        because = (f": {why_en}", f"：{why_zh}") if why_en else ("", "")
        return f"{en} ended the Python process{because[0]} · {zh}让 Python 进程退出了{because[1]}"
    if "StdinNotImplementedError" in errors:
        return f"{en} called input(), and nobody is there to answer · {zh}调用了 input()，但批改时没有人输入"
    if "NotImplementedError" in errors and not errors["NotImplementedError"].evalue:  # torch raises it with a reason
        return NOT_WRITTEN
    last = list(errors.values())[-1]
    if last.ename in LINK_ERRORS:
        return last.evalue
    if who is VISIBLE and last.ename == "AssertionError":
        line = last.traceback[0].strip()  # of the judge: lines of the cell
        return f"{en} does not hold: {line} · {zh}不成立：{line}"
    what = re.sub(r"\([^()]*?, line (\d+)\)", r"(line \1)", f"{last.ename}: {last.evalue}")
    what = what.strip().splitlines()[0].removesuffix(":")[:200]
    return f"{en} raised {what} · {zh}抛出了 {what}"


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
