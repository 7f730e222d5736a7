"""A notebook that was handed in: read, matched with its chapter, put together again from trusted cells.

Learners move, copy and delete cells, and other programs than Jupyter save their notebooks. Only the source of
their code is taken; what is graded, and for how many points, comes from trusted cells: those of the source
notebook or of nbgrader's gradebook.
"""

from __future__ import annotations

import ast
import warnings
from collections import defaultdict
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from insidegpt.errors import UserError

LONGEST = 10_000_000
"""How many characters of text and attachments a notebook may have."""

NEW_CELL = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}


def read_notebook(path: Path) -> NotebookNode:
    """The notebook in this file, in nbformat 4. Raises UserError when there is none that can be read."""
    if path.is_dir():
        raise UserError(
            f"{path} is a folder: name the notebook in it, a file that ends in .ipynb.",
            f"{path} 是文件夹：请指定其中的笔记本，即以 .ipynb 结尾的文件。",
        )
    if not path.exists():
        raise UserError(f"There is no file {path}: check the name.", f"找不到文件 {path}：请检查文件名。")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about cells without an id, which older programs write
            notebook = nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)
        for cell in notebook.cells:
            NEW_CELL[cell.cell_type](str(cell.source), metadata=dict(cell.metadata))
    except Exception as error:  # whatever a damaged file makes nbformat raise
        raise UserError(
            f"{path} is not a Jupyter notebook that can be read: save it again as .ipynb.",
            f"{path} 无法作为 Jupyter 笔记本读取：请重新保存为 .ipynb 文件。",
        ) from error
    return notebook


def grade_id(cell: NotebookNode) -> str | None:
    """The name under which nbgrader knows the cell, or None."""
    mark = cell.metadata.get("nbgrader")
    return str(mark["grade_id"]) if isinstance(mark, dict) and "grade_id" in mark else None


def exercise_of(cell: NotebookNode) -> str:
    """The name of the exercise that a solution cell or a graded cell belongs to."""
    return grade_id(cell).removeprefix("test-")


def is_graded(cell: NotebookNode) -> bool:
    """Whether the cell is one that gives points by itself."""
    mark = cell.metadata.get("nbgrader", {})
    return bool(mark.get("grade")) and not mark.get("solution")


def is_solution(cell: NotebookNode) -> bool:
    """Whether the cell is one that the learner writes in."""
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def is_locked(cell: NotebookNode) -> bool:
    """Whether the cell is code that was given out to be left as it is, and not graded."""
    return bool(cell.metadata.get("nbgrader", {}).get("locked")) and not is_graded(cell)


def trusted_cells(source: NotebookNode) -> list[NotebookNode]:
    """The cells of a source notebook that nbgrader knows, in order: solution, graded and locked ones."""
    return [cell for cell in source.cells if grade_id(cell)]


def find_chapter(notebook: NotebookNode, root: Path, name: str) -> tuple[str, NotebookNode]:
    """The chapter whose exercises this notebook holds, and the chapter's source notebook.

    The grade ids tell, so the file may have any name; where a program has dropped them all, the file's `name` does,
    as it does for nbgrader. Raises UserError when neither is a chapter's.
    """
    ids = {grade_id(cell) for cell in notebook.cells} - {None}
    best, most = None, 0
    for path in sorted(root.glob("solutions/*/*.ipynb")):
        source = read_notebook(path)
        shared = sum(grade_id(cell) in ids for cell in source.cells if is_graded(cell) or is_solution(cell))
        if shared > most or (best is None and not ids and path.name == name):
            best, most = (path.parent.name, source), shared
    if best is None:
        raise UserError(
            "This notebook holds no exercise of the book: start from the one in exercises/ and keep its cells.",
            "这个笔记本不含本书的任何练习：请从 exercises/ 里的笔记本开始，并保留其中的单元格。",
        )
    return best


def expect_no_links(folder: Path) -> None:
    """Raise UserError when a link lies in a folder that was handed in: what it points to may be the grader's."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            name = path.relative_to(folder)
            raise UserError(f"{name} is a link: only ordinary files are taken.", f"{name} 是链接：只接受普通文件。")


def _expect_bounded(notebook: NotebookNode) -> None:
    size = sum(len(cell.source) + len(str(cell.get("attachments", ""))) for cell in notebook.cells)
    if size > LONGEST:
        raise UserError(
            f"The notebook has {size:,} characters of text and attachments, at most {LONGEST:,} are taken: shorten it.",
            f"笔记本的文字和附件共 {size:,} 个字符，最多接受 {LONGEST:,} 个：请缩短。",
        )


def assemble(handed_in: NotebookNode, trusted: list[NotebookNode]) -> NotebookNode:
    """The notebook to run: the learner's cells in their order, all trusted cells as they were given out.

    Solution cells keep the learner's source. Locked and graded cells get theirs back; a missing one is put back,
    a graded one after its solution cell and never before it. Of doubled cells the last counts as the solution,
    and all run. What was wrong is noted in the graded cell's metadata; what the trusted solution cells define, in the
    notebook's (`insidegpt.names`). Raises UserError when the notebook is too long.
    """
    _expect_bounded(handed_in)
    by_id = {grade_id(cell): cell for cell in trusted}
    found = defaultdict(list)
    for place, cell in enumerate(handed_in.cells):
        if grade_id(cell) in by_id:
            found[grade_id(cell)].append(place)

    cells_at = defaultdict(list)  # place → the cells that stand there
    for place, cell in enumerate(handed_in.cells):
        name = grade_id(cell)
        if name not in found:
            cells_at[place].append(_copy(cell, cell.source, marked=False))
        elif is_solution(by_id[name]):
            last = place == found[name][-1]
            cells_at[place].append(_copy(by_id[name], cell.source, marked=last))

    for name, cell in by_id.items():
        if is_graded(cell):
            answer = found[exercise_of(cell)]
            places = found[name][-1:] + answer[-1:]
            cells_at[max(places, default=len(handed_in.cells))].append(_graded(cell, len(answer), len(found[name])))
        elif not is_solution(cell):
            cells_at[found[name][0] if found[name] else -1].append(_copy(cell, cell.source))

    names = [
        name for cell in trusted if is_solution(cell) and cell.cell_type == "code" for name in _defined(cell.source)
    ]
    cells = [cell for place in sorted(cells_at) for cell in cells_at[place]]
    return new_notebook(cells=cells, metadata={"insidegpt": {"names": names}})


def _defined(source: str) -> list[str]:
    """The names of the functions and classes that code defines at its top level."""
    kinds = ast.FunctionDef | ast.ClassDef
    return [node.name for node in ast.parse(source).body if isinstance(node, kinds)]


def _copy(cell: NotebookNode, source: str, marked: bool = True) -> NotebookNode:
    """A fresh cell of the same type and metadata without outputs; not marked: nbgrader does not know it."""
    metadata = {key: value for key, value in cell.metadata.items() if key != "nbgrader"}
    if marked:
        metadata["nbgrader"] = cell.metadata["nbgrader"]
    copy = NEW_CELL[cell.cell_type](source, metadata=metadata)
    if "attachments" in cell:
        copy["attachments"] = cell["attachments"]
    return copy


def _graded(cell: NotebookNode, answers: int, tests: int) -> NotebookNode:
    """A graded cell as it was given out; its metadata say what was wrong about the exercise's cells.

    trouble: why it will give no points; remarks: what was mended.
    """
    copy = _copy(cell, cell.source)
    copy.metadata["trouble"], copy.metadata["remarks"] = trouble, remarks = [], []
    if answers == 0:
        trouble.append("no answer cell is marked: start from exercises/ · 没有标明的答题单元格：请从 exercises/ 开始")
    if answers > 1:
        remarks.append(f"{answers} answer cells: the last one counts · 答题单元格有 {answers} 个：以最后一个为准")
    if tests == 0:
        remarks.append("the test cell was missing and has been put back · 测试单元格缺失，已补回")
    if tests > 1:
        remarks.append(f"{tests} test cells: only one was run · 测试单元格有 {tests} 个：只运行了一个")
    return copy
