"""Grading a class: `insidegpt grade` with one worker and with two, beside stock nbgrader, on the same submissions.

    .venv/bin/python benchmarks/grading.py [--chapter attention] [--submissions 20] [--many 200]

The submissions hold reference solutions, other right answers, wrong answers and blanks in a random mixture with a fixed
seed. The chapter `attention` needs torch alone; `masking` transformers too, as six of the nine do. Stock nbgrader has
its own preprocessors and kernels; it can import the hidden tests, and nothing is sealed. Private memory is what a
kernel shares with no other process (USS), at its largest: the median over the kernels. It is taken in a run of its own,
because looking takes time. With --many, `insidegpt grade` also grades that many, to show that the time grows with their
number and no faster.
"""

import ast
import importlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import nbformat
import psutil
import typer
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from rich.console import Console
from rich.table import Table

from insidegpt.grading.release import release
from insidegpt.grading.submission import grade_id, is_solution

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
WATCHED = 4
"""Submissions in the runs in which memory is measured."""

STOCK = """
c = get_config()
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError"}
c.Execute.timeout = 30
"""


@dataclass(frozen=True)
class Run:
    """What a run took and gave: seconds, and points in the gradebook."""

    seconds: float
    points: float


def without_the_rest(module: Path, name: str) -> str:
    """The source of a function or class of a module, with the imports and the helpers that it uses."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    defined, imports = {}, []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = [d for d in node.decorator_list if "MUTANTS" not in ast.unparse(d)]
            defined[node.name] = node
        elif isinstance(node, ast.Assign):
            defined |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "mutants":
            imports.append(node)
    used, to_visit = set(), [name]
    while to_visit:
        used.add(at := to_visit.pop())
        names = {node.id for node in ast.walk(defined[at]) if isinstance(node, ast.Name)}
        to_visit += (names & defined.keys()) - used
    kept = [node for key, node in defined.items() if key in used]
    return "\n".join(ast.unparse(node) for node in dict.fromkeys([*imports, *kept]))


def answers(chapter: str) -> dict[str, list[str]]:
    """Other answers to each exercise, right ones and wrong ones, as sources of a solution cell."""
    sys.path.insert(0, str(ROOT / "tests"))
    right = importlib.import_module(f"answers.{chapter}").ANSWERS
    wrong = importlib.import_module(f"mutants.{chapter}").MUTANTS.wrong
    pairs = [(e, answer, "answers") for e, many in right.items() for answer in many]
    pairs += [(mutant.exercise, mutant.answer, "mutants") for mutant in wrong]
    found = {}
    for exercise, answer, folder in pairs:
        source = without_the_rest(ROOT / "tests" / folder / f"{chapter}.py", answer.__name__)
        found.setdefault(exercise, []).append(f"{source}\n{exercise} = {answer.__name__}")
    return found


def submission(blank: NotebookNode, solved: NotebookNode, others: dict[str, list[str]], chance: random.Random):
    """The released notebook with some answer in each solution cell: half of them right."""
    notebook = nbformat.from_dict(blank)
    reference = {grade_id(cell): cell.source for cell in solved.cells if is_solution(cell)}
    for cell in filter(is_solution, notebook.cells):
        name = grade_id(cell)
        kind = chance.choice(["reference", "reference", "other", "blank"])
        if kind == "reference":
            cell.source = reference[name]
        elif kind == "other":
            cell.source = chance.choice(others[name])
    return notebook


def make_course(folder: Path, chapter: str, number: int, stock: bool) -> Path:
    """A released course with so many submissions; the same ones every time."""
    for name in ("solutions", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if stock:
        (folder / "nbgrader_config.py").write_text(STOCK)
    else:
        shutil.copy(ROOT / "nbgrader_config.py", folder)
    release(folder)
    blank, solved = (
        nbformat.read(folder / step / chapter / f"{chapter}.ipynb", as_version=4) for step in ("exercises", "solutions")
    )
    others, chance = answers(chapter), random.Random(0)
    for n in range(number):
        path = folder / "submitted" / f"student-{n:03}" / chapter / f"{chapter}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(submission(blank, solved, others, chance), path)
    return folder


def kernels_among(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The processes that have loaded torch and have no child that has: kernels, and not what they are forked from."""
    loaded = {}
    for process in processes:
        try:
            if "libtorch" in Path(f"/proc/{process.pid}/maps").read_text():
                loaded[process.pid] = process.ppid()
        except (OSError, psutil.NoSuchProcess):
            pass
    return [process for process in processes if process.pid in loaded and process.pid not in loaded.values()]


def watch(command: subprocess.Popen, private: dict[int, int]) -> None:
    """While the command runs, note for each kernel under it the most memory that it had for itself."""
    parents = set()
    while command.poll() is None:
        time.sleep(0.1)
        try:
            family = psutil.Process(command.pid).children(recursive=True)
            parents |= {process.ppid() for process in kernels_among(family)}
            for kernel in kernels_among(family):
                private[kernel.pid] = max(private.get(kernel.pid, 0), kernel.memory_full_info().uss)
        except psutil.NoSuchProcess:
            continue
    for parent in parents & private.keys():  # it was seen before it had forked a kernel
        del private[parent]


def start(course: Path, command: list) -> subprocess.Popen:
    """Run the command in the course, with the hidden tests on the path for stock kernels."""
    path = os.pathsep.join(filter(None, [str(course / "tests"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, cwd=course, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def measure(course: Path, command: list) -> Run:
    """How long the command takes, and the points that it gives."""
    begin = time.perf_counter()
    with start(course, command) as ran:
        said = ran.communicate()[1]
    seconds = time.perf_counter() - begin
    if ran.returncode:
        sys.exit(said.decode())
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        points = sum(s.score for a in gradebook.assignments for s in gradebook.assignment_submissions(a.name))
    return Run(seconds, points)


def private_memory(course: Path, command: list) -> str:
    """The median of what its kernels had for themselves at their largest."""
    private: dict[int, int] = {}
    with start(course, command) as ran:
        watcher = threading.Thread(target=watch, args=(ran, private))
        watcher.start()
        ran.communicate()
        watcher.join()
    return f"{median(private.values()) / 2**20:.0f} MB" if private else "not seen"


def main(
    chapter: Annotated[str, typer.Option(help="Which chapter's exercises")] = "attention",
    submissions: Annotated[int, typer.Option(min=1, help="How many submissions")] = 20,
    many: Annotated[int | None, typer.Option(min=1, help="Also grade so many, with two workers")] = None,
) -> None:
    """Print the table."""
    os.environ["PATH"] = os.pathsep.join([str(BIN), os.environ["PATH"]])  # nbgrader runs `alembic` by name
    grade = [BIN / "insidegpt", "grade", chapter, "--workers"]
    plans = [
        ("stock nbgrader", submissions, [BIN / "nbgrader", "autograde", chapter]),
        ("1 worker", submissions, [*grade, "1"]),
        ("2 workers", submissions, [*grade, "2"]),
    ]
    if many:
        plans.append(("2 workers", many, [*grade, "2"]))
    table = Table(title=f"Grading the chapter {chapter} on {os.cpu_count()} cores")
    for title in ("", "submissions", "seconds", "each", "throughput", "points", "private"):
        table.add_column(title, justify="right" if title else "left")
    console, stock = Console(), None
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, count, command) in enumerate(plans):
            with console.status(f"{name}, {count} submissions"):
                run = measure(make_course(Path(folder) / str(number), chapter, count, stock=number == 0), command)
                watched = make_course(Path(folder) / f"{number} watched", chapter, WATCHED, stock=number == 0)
                memory = private_memory(watched, command)
            each = run.seconds / count
            stock = stock or each
            cells = f"{run.seconds:.1f}", f"{each:.2f} s", f"× {stock / each:.1f}", f"{run.points:g}", memory
            table.add_row(name, str(count), *cells)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
