"""What a cheating submission is made with, and the register of all of them.

A cheat is a function that changes a `Submission`, which starts as the notebook that was given out. What belongs to
an honest student in it stays blank or wrong, so every point it earns is won by cheating.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from cheats.course import CHAPTER, Course
from small_course import cell

WRONG = """def self_attention(x, w_q, w_k, w_v):
    return torch.zeros(*x.shape[:-1], w_v.shape[-1]), torch.zeros(*x.shape[:-1], x.shape[-2])
"""
"""An answer of the right shapes that earns nothing by itself."""


@dataclass
class Submission:
    """What one student hands in.

    token: a word that only this submission contains, by which its traces are found. files, links: what lies beside
    the notebook, by name: contents, and where symbolic links point. name: the notebook's file name.
    """

    notebook: NotebookNode
    course: Course
    token: str
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    name: str = f"{CHAPTER}.ipynb"

    def cell(self, grade_id: str) -> NotebookNode:
        """The cell of this name; the exercise `self_attention` and its graded cell `test-self_attention`."""
        return cell(self.notebook, grade_id)

    def answer(self, source: str, exercise: str = "self_attention") -> None:
        """Write the source into an answer cell."""
        self.cell(exercise).source = source

    def insert(self, source: str, before: str = "self_attention") -> None:
        """Add a code cell before the cell of this name."""
        place = self.notebook.cells.index(self.cell(before))
        self.notebook.cells.insert(place, new_code_cell(source))

    def tell(self) -> None:
        """Add a first cell with what the student knows of the grader's machine: the worst case, everything."""
        known = {
            "TOKEN": self.token,
            "COURSE": str(self.course.root),
            "HOME": str(self.course.home),
            "OUTSIDE": str(self.course.outside),
            "PORT": self.course.port,
            "GRADERS_PROCESSES": os.readlink("/proc/self/ns/pid"),  # the grader's pid namespace
        }
        lines = [f"{name} = {value!r}" for name, value in known.items()]
        self.notebook.cells.insert(0, new_code_cell("\n".join(["import os, sys, time, torch", *lines])))


@dataclass(frozen=True)
class Cheat:
    """A cheat by its name; en, zh: what it tries, in one sentence.

    gains: what the student hopes for, "points" or "harm". bounded: whether it may run without a sandbox.
    """

    name: str
    family: str
    en: str
    zh: str
    gains: str
    bounded: bool
    change: Callable[[Submission], None]


CHEATS: dict[str, Cheat] = {}


def cheat(en: str, zh: str, gains: str = "points", bounded: bool = True):
    """Register the decorated function under its name; its module is the family."""

    def register(change: Callable[[Submission], None]):
        name, family = change.__name__, change.__module__.rpartition(".")[2]
        assert name not in CHEATS, f"two cheats are called {name}"
        CHEATS[name] = Cheat(name, family, en, zh, gains, bounded, change)
        return change

    return register


RUN_LATER = """import sys
def run_later(do):
    \"\"\"Do it in a process of its own session that carries the token on its command line and ends within 20 s.\"\"\"
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            marker = os.fork()
            if marker == 0:
                os.execv("/bin/sleep", [TOKEN, "15"])
            do()
        os._exit(0)
    os.wait()
"""
"""A function that leaves a process behind, and another by which it is found."""
