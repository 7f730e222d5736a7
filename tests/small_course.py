"""A course small enough to grade in seconds: exercises `times_2`, `times_3` … that multiply by their number."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parent.parent
EXERCISES = [f"times_{n}" for n in range(2, 21)]

KIT = '''
from IPython.display import display


class times:
    """Does what insidegpt.checks.Check does, without the seconds that importing torch takes."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, answer, points):
        tries = {"positive · 正数": 3, "negative · 负数": -5}
        held = {name: answer(x) == self.factor * x for name, x in tries.items()}
        properties = [{"name": n, "passed": ok, "message": "" if ok else "wrong · 不对"} for n, ok in held.items()]
        display({"text/plain": "told", "application/vnd.insidegpt.report+json": {"properties": properties}}, raw=True)
        return points * sum(held.values()) / len(held)


SECRET = "quite secret"
globals().update({f"times_{n}": times(n) for n in range(2, 21)})
'''


def mark(grade_id: str, **others) -> dict:
    """Cell metadata by which nbgrader knows a cell."""
    known = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    return {"nbgrader": {**known, "grade_id": grade_id, **others}}


def source() -> NotebookNode:
    """The source notebook: a locked cell that defines `by`, then an answer and a graded cell per exercise."""
    cells = [
        new_markdown_cell("Multiply.", metadata={"tags": ["lang-en"]}),
        new_markdown_cell("做乘法。", metadata={"tags": ["lang-zh"]}),
        new_code_cell("def by(n):\n    return lambda x: n * x", metadata=mark("setup", locked=True)),
    ]
    for name in EXERCISES:
        factor = name.removeprefix("times_")
        solved = f"def {name}(x):\n    ### BEGIN SOLUTION\n    return by({factor})(x)\n    ### END SOLUTION"
        test = (
            f"assert {name}(1) == {factor}\n### BEGIN HIDDEN TESTS\nfrom hidden.small import {name} as check\n"
            f"check({name}, points=2)\n### END HIDDEN TESTS"
        )
        cells.append(new_code_cell(solved, metadata=mark(name, solution=True)))
        cells.append(new_code_cell(test, metadata=mark(f"test-{name}", grade=True, locked=True, points=2)))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def make_course(root: Path) -> Path:
    """Write the course into this folder, with the settings of the real one and a time limit of 3 s."""
    (root / "solutions" / "small").mkdir(parents=True)
    (root / "tests" / "hidden").mkdir(parents=True)
    shutil.copy(ROOT / "nbgrader_config.py", root)
    with (root / "nbgrader_config.py").open("a") as settings:
        settings.write("\nc.ExecuteSubmission.timeout = 3\n")
    (root / "tests" / "hidden" / "__init__.py").touch()
    (root / "tests" / "hidden" / "small.py").write_text(KIT)
    nbformat.write(source(), root / "solutions" / "small" / "small.ipynb")
    return root


def cell(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell with this grade id."""
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)
