"""What the graded cells of an executed notebook said: points, properties, sentences; as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from nbformat import NotebookNode
from rich.console import Console
from rich.table import Table
from rich.text import Text

from insidegpt.grading.submission import exercise_of, grade_id, is_graded
from insidegpt.mime import NOTE, REPORT


@dataclass(frozen=True)
class Property:
    """One property of an answer: its bilingual name, whether it held, and if not, why (else '')."""

    name: str
    passed: bool
    message: str


@dataclass(frozen=True)
class Exercise:
    """What one exercise earned and why.

    messages: sentences on what went wrong around the check: a cell that raised, a visible test that fails.
    answer: the learner's source, '' when the answer cell is missing.
    """

    id: str
    points: float
    maximum: float
    properties: list[Property]
    messages: list[str]
    answer: str


@dataclass(frozen=True)
class Report:
    """What a notebook earned, exercise by exercise."""

    chapter: str
    exercises: list[Exercise]

    @property
    def points(self) -> float:
        """The sum of the exercises' points."""
        return round(sum(e.points for e in self.exercises), 2)

    @property
    def maximum(self) -> float:
        """The sum of what the exercises can earn."""
        return sum(e.maximum for e in self.exercises)

    def as_json(self) -> dict:
        """For programs: points, maximum, exercises with their properties and messages."""
        return {
            "points": self.points,
            "maximum": self.maximum,
            "exercises": [
                {
                    "id": e.id,
                    "points": e.points,
                    "maximum": e.maximum,
                    "properties": [vars(p) for p in e.properties],
                    "messages": e.messages,
                }
                for e in self.exercises
            ],
        }


def collect(chapter: str, executed: NotebookNode) -> Report:
    """Read the report off a notebook that `ExecuteSubmission` ran; the points are counted by nbgrader."""
    from nbgrader.utils import determine_grade  # takes a second to import, and `check` may end before

    answers = {grade_id(cell): cell.source for cell in executed.cells if grade_id(cell)}
    exercises = []
    for cell in executed.cells:
        if is_graded(cell):
            points, maximum = determine_grade(cell)
            name = exercise_of(cell)
            exercises.append(Exercise(name, points, maximum, _properties(cell), _messages(cell), answers.get(name, "")))
    return Report(chapter, exercises)


def _properties(cell: NotebookNode) -> list[Property]:
    reports = [o.data[REPORT] for o in cell.outputs if REPORT in o.get("data", {})]
    return [Property(**p) for p in reports[-1]["properties"]] if reports else []


def _messages(cell: NotebookNode) -> list[str]:
    notes = [o.data[NOTE] for o in cell.outputs if NOTE in o.get("data", {})]
    return notes + [o.evalue for o in cell.outputs if o.output_type == "error"]


def print_report(report: Report, console: Console) -> None:
    """Print a table of properties per exercise, and the total."""
    for exercise in report.exercises:
        console.print(Text(f"{exercise.id}  {exercise.points:g} / {exercise.maximum:g}", style="bold"))
        for message in exercise.messages:
            console.print(Text(f"! {message}", style="yellow"), soft_wrap=True)
        if exercise.properties:
            console.print(_table(exercise.properties))
        console.print()
    console.print(Text(f"Total · 总分  {report.points:g} / {report.maximum:g}", style="bold"))


def _table(properties: list[Property]) -> Table:
    table = Table(expand=True)
    table.add_column("")
    table.add_column("property · 性质", ratio=1, overflow="fold")
    table.add_column("why not · 原因", ratio=1, overflow="fold")
    for p in properties:
        mark = Text("✓", style="green") if p.passed else Text("✗", style="red")
        table.add_row(mark, *(Text(text.replace(" · ", "\n", 1)) for text in (p.name, p.message)))
    return table
