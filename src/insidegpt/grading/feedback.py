"""The feedback page: one self-contained HTML file, to be opened without a network."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from insidegpt.grading.report import Report


def write_page(report: Report, path: Path) -> None:
    """Write the report as a page to this path, making the folder where needed. Raises OSError."""
    templates = Environment(
        loader=PackageLoader("insidegpt.grading", ""), autoescape=select_autoescape(), trim_blocks=True
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(templates.get_template("feedback.html").render(report=report), encoding="utf-8")
