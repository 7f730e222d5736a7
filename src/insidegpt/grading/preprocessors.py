"""The step of nbgrader's pipeline before running that is done our way."""

from __future__ import annotations

from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor

from insidegpt.grading.submission import assemble, expect_no_links


class AssembleSubmission(NbGraderPreprocessor):
    """Before running: put the notebook together from the gradebook's cells and the learner's own.

    Does for nbgrader what `insidegpt check` does, so both give the same score; in nbgrader's own preprocessors
    a doubled, deleted or edited cell can end the grading of the notebook.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """The assembled notebook. Raises UserError where what was handed in could harm."""
        names = resources["nbgrader"]
        if "trusted" in names:  # from `insidegpt grade`, where what runs a notebook has no gradebook
            return assemble(nb, names["trusted"]), resources
        course = self.parent.parent.coursedir  # the exporter's converter's
        expect_no_links(Path(course.format_path(course.submitted_directory, names["student"], names["assignment"])))
        with Gradebook(names["db_url"]) as gradebook:
            trusted = recorded_cells(gradebook.find_notebook(names["notebook"], names["assignment"]))
        return assemble(nb, trusted), resources


def recorded_cells(notebook) -> list[NotebookNode]:
    """The trusted cells as the gradebook keeps them, in no particular order."""
    points = {cell.name: cell.max_score for cell in notebook.grade_cells}
    solutions = {cell.name for cell in notebook.solution_cells}
    cells = []
    for recorded in notebook.source_cells:
        mark = {
            "grade_id": recorded.name,
            "grade": recorded.name in points,
            "solution": recorded.name in solutions,
            "locked": recorded.locked,
            "task": False,
            "checksum": recorded.checksum,
            "cell_type": recorded.cell_type,
            "schema_version": 3,
        }
        if recorded.name in points:
            mark["points"] = points[recorded.name]
        new_cell = new_code_cell if recorded.cell_type == "code" else new_markdown_cell
        cells.append(new_cell(recorded.source, metadata={"nbgrader": mark}))
    return cells
