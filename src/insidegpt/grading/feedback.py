"""The feedback page: one self-contained HTML file, to be opened without a network.

The same page for `insidegpt check`, `insidegpt grade` and `nbgrader generate_feedback`. It is made from the report
alone, so what the report has not (the hidden source, tracebacks, other cells) cannot reach the learner.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, Template, select_autoescape
from nbconvert.exporters import Exporter
from nbformat import NotebookNode

from insidegpt.grading.report import Report, collect


def page(report: Report) -> str:
    """The report as HTML."""
    return _template().render(report=report)


@cache
def _template() -> Template:
    templates = Environment(
        loader=PackageLoader("insidegpt.grading", ""), autoescape=select_autoescape(), trim_blocks=True
    )
    templates.filters["without_folders"] = without_folders
    return templates.get_template("feedback.html")


def write_page(report: Report, path: Path) -> None:
    """Write the report as a page to this path, making the folder where needed. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report), encoding="utf-8")


def without_folders(text: str) -> str:
    """The text with absolute paths cut to their last part: an error's message may name folders of the machine."""
    return re.sub(r"(?<![\w.:/<])/(?:[^/\s'\"()<>:,，：（）]+/)+", "…/", text)


class FeedbackExporter(Exporter):
    """Turns a graded notebook, with the scores that nbgrader's `GetGrades` put in, into the feedback page."""

    def _file_extension_default(self) -> str:
        return ".html"

    def from_notebook_node(self, nb: NotebookNode, resources: dict | None = None, **options) -> tuple[str, dict]:
        """The page, and the resources as the preprocessors left them."""
        nb, resources = super().from_notebook_node(nb, resources, **options)
        names = resources["nbgrader"]
        return page(collect(names["assignment"], nb, names["late_penalty"])), resources
