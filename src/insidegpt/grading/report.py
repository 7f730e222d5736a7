"""What the graded cells of an executed notebook said: points, properties, sentences; as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from nbformat import NotebookNode
from rich.console import Console
from rich.table import Table
from rich.text import Text

from insidegpt.grading.submission import exercise_of, grade_id, is_graded, is_solution
from insidegpt.outcome import NOT_WRITTEN, NOTE, REPORT, Result, shares


@dataclass(frozen=True)
class Exercise:
    """What one exercise earned and why.

    messages: sentences on what went wrong around the check: a cell that raised, a visible test that fails.
    answer: the learner's source, '' when no cell is marked as it. comment: what a teacher wrote about it, or ''.
    by_hand: whether a teacher gave other points than the check did.
    """

    id: str
    points: float
    maximum: float
    properties: list[Result]
    messages: list[str]
    answer: str
    comment: str = ""
    by_hand: bool = False

    def counted(self) -> list[tuple[Result, str]]:
        """The properties, each with the points that it stands for, as the tables show them."""
        worth = shares(self.properties, self.maximum)
        return [(p, f"{round(points, 2):g}") for p, points in zip(self.properties, worth, strict=True)]


@dataclass(frozen=True)
class Report:
    """What a notebook earned, exercise by exercise.

    penalty: points taken off because it was late. sandbox: a sentence on how the learner's code was confined, or ''.
    """

    chapter: str
    exercises: list[Exercise]
    penalty: float = 0.0
    sandbox: str = ""

    @property
    def points(self) -> float:
        """The sum of the exercises' points, less the penalty."""
        return round(max(0.0, sum(e.points for e in self.exercises) - self.penalty), 2)

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
                    "properties": [{"name": p.name, "passed": p.passed, "message": p.message} for p in e.properties],
                    "messages": e.messages,
                }
                for e in self.exercises
            ],
        }


def collect(chapter: str, executed: NotebookNode, penalty: float = 0.0) -> Report:
    """Read the report off a notebook that `ExecuteSubmission` ran; the points are counted by nbgrader.

    Where nbgrader's `GetGrades` has put the gradebook's scores and comments into the cells, those count.
    """
    from nbgrader.utils import determine_grade  # takes a second to import, and `check` may end before

    answers = {grade_id(cell): cell for cell in executed.cells if is_solution(cell)}
    exercises = []
    for cell in filter(is_graded, executed.cells):
        earned, maximum = determine_grade(cell)
        points = cell.metadata.nbgrader.get("score", earned)
        name = exercise_of(cell)
        answer = answers.get(name)
        exercises.append(
            Exercise(
                name,
                points,
                maximum,
                _properties(cell),
                _messages(cell),
                answer.source if answer else "",
                _comment(answer) if answer else "",
                by_hand=points != earned,
            )
        )
    return Report(chapter, exercises, penalty, executed.metadata.get("insidegpt", {}).get("sandbox", ""))


def _properties(cell: NotebookNode) -> list[Result]:
    """What the last report in the cell says; none where code of the learner's displayed something malformed as one."""
    reports = [o.data[REPORT] for o in cell.outputs if REPORT in o.get("data", {})]
    try:
        return [
            Result(str(p["name"]), bool(p["passed"]), str(p["message"]), max(1, int(p.get("weight", 1))))
            for p in reports[-1]["properties"]
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return []


def _comment(answer: NotebookNode) -> str:
    """What a teacher wrote, without nbgrader's own remark on an untouched cell: the check says that already."""
    comment = answer.metadata.nbgrader.get("comment") or ""
    return "" if comment == "No response." else comment


def _messages(cell: NotebookNode) -> list[str]:
    notes = [o.data[NOTE] for o in cell.outputs if NOTE in o.get("data", {})]
    return notes + [o.evalue for o in cell.outputs if o.output_type == "error"]


def print_report(report: Report, console: Console) -> None:
    """Print a table of properties per exercise, one line for an exercise that is not written yet, and the total."""
    for exercise in report.exercises:
        console.print(Text(f"{exercise.id}  {exercise.points:g} / {exercise.maximum:g}", style="bold"))
        for message in exercise.messages:
            console.print(Text(f"! {message}", style="yellow"), soft_wrap=True)
        if any(p.message != NOT_WRITTEN for p in exercise.properties):
            console.print(_table(exercise))
        console.print()
    console.print(Text(f"Total · 总分  {report.points:g} / {report.maximum:g}", style="bold"))


def _table(exercise: Exercise) -> Table:
    table = Table(expand=True)
    table.add_column("")
    table.add_column("points\n分", justify="right")
    table.add_column("property · 性质", ratio=1, overflow="fold")
    table.add_column("why not · 原因", ratio=1, overflow="fold")
    for p, points in exercise.counted():
        mark = Text("✓", style="green") if p.passed else Text("✗", style="red")
        table.add_row(mark, points, *(Text(text.replace(" · ", "\n", 1)) for text in (p.name, p.message)))
    return table
