"""Grading for a department: the same class on one worker, on two, and on a Dask cluster of two, side by side.

    .venv/bin/python benchmarks/department.py [--chapter attention] [--submissions 200]

The submissions are those of `benchmarks/grading.py`. The Dask scheduler and its workers are processes of this machine,
so the last rows show what handing the work out costs: `--dask` with a folder that all share, and `--stage`, where
everything travels. Seconds are those of the whole command. One process looks at each submission, records what came of
it and reads its grade for the table: its processor seconds are a bound for any number of workers. The second table
is that of `docs/instructors.md`, in its Markdown: 2,000 students and 9 chapters at each rate that was measured, and on
more machines like this one, at the rate of its two workers under Dask times the machines, up to that bound.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from grading import BIN, make_course, measure
from rich.console import Console
from rich.table import Table

from insidegpt.grading.grades import rows
from insidegpt.grading.intake import Course, submissions
from insidegpt.grading.record import Recorder
from insidegpt.grading.work import execute, pack

STUDENTS, CHAPTERS = 2000, 9
MACHINES = 10, 100
ALONE = 40
"""Submissions from which the seconds of the one process are taken; one before them is not counted."""


class Cluster:
    """A scheduler and two workers on loopback, for the time of a `with`."""

    def __enter__(self) -> str:
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "scheduler.json"
        self._processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)]
        workers = "--nworkers", "2", "--nthreads", "1"
        self._processes.append(self._start("worker", *workers, "--scheduler-file", file))
        from distributed import Client

        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2)
            return client.scheduler.address

    def _start(self, *arguments) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        return subprocess.Popen(command, cwd=self._folder.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __exit__(self, *error) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait()
        self._folder.cleanup()


def alone(folder: Path, chapter: str) -> tuple[float, float, float]:
    """Processor seconds in which one submission is looked at, recorded, and read for the table."""
    course = Course.at(make_course(folder, chapter, ALONE + 1, stock=False))
    looked, found = timed(lambda: submissions(course))
    work = pack(course, found, stage=False)
    notebooks = [execute(work(submission)).notebook for submission in found]
    with (folder / "log").open("w") as log, Recorder(course, log) as books:
        books.record(found[0], notebooks[0])
        recorded, _ = timed(lambda: [*map(books.record, found[1:], notebooks[1:])])
    read, _ = timed(lambda: rows(course, {}))
    return looked / (ALONE + 1), recorded / ALONE, read / (ALONE + 1)


def timed(work: Callable) -> tuple[float, object]:
    """The processor seconds that the work takes, and what it returns."""
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


def spell(seconds: float) -> str:
    """The time in hours and minutes."""
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.0f} min"


def main(
    chapter: Annotated[str, typer.Option(help="Which chapter's exercises")] = "attention",
    count: Annotated[int, typer.Option("--submissions", min=1, help="How many submissions")] = 200,
) -> None:
    """Print the tables."""
    os.environ["PATH"] = os.pathsep.join([str(BIN), os.environ["PATH"]])  # nbgrader runs `alembic` by name
    grade = [BIN / "insidegpt", "grade", chapter]
    plans = {
        "1 worker": ["--workers", "1"],
        "2 workers": ["--workers", "2"],
        "Dask, 2 workers": ["--dask"],
        "Dask, 2 workers, `--stage`": ["--stage", "--dask"],
    }
    table = Table(title=f"Grading the chapter {chapter} on {os.cpu_count()} cores")
    for title in ("", "submissions", "seconds", "a second", "points"):
        table.add_column(title, justify="right" if title else "left")
    console, rates = Console(), {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, arguments) in enumerate(plans.items()):
            course = make_course(Path(folder) / str(number), chapter, count, stock=False)
            with console.status(name):
                if "--dask" in arguments:
                    with Cluster() as address:
                        run = measure(course, [*grade, *arguments, address])
                else:
                    run = measure(course, [*grade, *arguments])
            rates[name] = count / run.seconds
            table.add_row(name, str(count), f"{run.seconds:.1f}", f"{rates[name]:.2f}", f"{run.points:g}")
        looked, recorded, read = alone(Path(folder) / "alone", chapter)
    console.print(table)
    bound = looked + recorded + read
    console.print(
        f"The one process, for a submission: looks {1000 * looked:.0f} ms, records {1000 * recorded:.0f} ms, "
        f"reads {1000 * read:.0f} ms; so at most {1 / bound:.0f} a second."
    )
    print("\n".join(term(rates, 1 / bound)))


def term(rates: dict[str, float], most: float) -> list[str]:
    """The lines of the table for a term, in Markdown. rates: submissions a second; most: what no cluster exceeds."""
    rates = rates | {f"Dask, {n} such machines": min(n * rates["Dask, 2 workers"], most) for n in MACHINES}
    lines = [
        f"| | a second | one chapter, {STUDENTS:,} students "
        f"| {CHAPTERS} chapters, {STUDENTS * CHAPTERS:,} submissions |",
        "|---|--:|--:|--:|",
    ]
    for name, rate in (rates | {"Dask, however many": most}).items():
        times = (spell(count / rate) for count in (STUDENTS, STUDENTS * CHAPTERS))
        lines.append(f"| {name} | {rate:.2f} | {' | '.join(times)} |")
    return lines


if __name__ == "__main__":
    typer.run(main)
