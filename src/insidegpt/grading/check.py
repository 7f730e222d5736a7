"""Grade one notebook for the learner who wrote it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from traitlets.config import PyFileConfigLoader

from insidegpt.errors import UserError
from insidegpt.grading.preloaded import Zygote, modules_for
from insidegpt.grading.report import Report, collect
from insidegpt.grading.submission import assemble, find_chapter, read_notebook, trusted_cells
from insidegpt.repository import MARK


def check(notebook: Path, root: Path, timeout: int | None, console: Console) -> Report:
    """Grade the notebook with the hidden tests of the repository at `root`.

    timeout: seconds a cell may take; None: as in nbgrader_config.py. console: where progress is shown, when it is
    a terminal. Raises UserError when the file is no notebook of the book, or when Python cannot run it.
    """
    handed_in = read_notebook(notebook)
    chapter, source = find_chapter(handed_in, root, notebook.name)
    to_run = assemble(handed_in, trusted_cells(source))
    preload = modules_for(root, chapter)
    Zygote.of(preload)  # imports what the notebook needs in the meantime
    from insidegpt.grading.execute import ExecuteSubmission  # nbgrader takes a second; a mistyped name need not wait

    config = PyFileConfigLoader(MARK, path=str(root)).load_config()
    config.ExecuteSubmission.preload = preload
    if timeout is not None:
        config.ExecuteSubmission.timeout = timeout
    execute = ExecuteSubmission(config=config)
    with _progress(console) as progress:
        task = progress.add_task("running · 运行中", total=len(to_run.cells))
        execute.on_cell = lambda index: progress.update(task, completed=index)
        try:
            execute.preprocess(to_run, {"metadata": {"path": str(notebook.resolve().parent)}})
        except RuntimeError as error:  # what nbclient raises when no kernel comes up
            raise UserError(
                f"Python could not be started to run the notebook ({error}): run `make book` to mend .venv.",
                f"无法启动 Python 来运行笔记本（{error}）：请运行 `make book` 修复 .venv。",
            ) from error
    return collect(chapter, to_run)


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
