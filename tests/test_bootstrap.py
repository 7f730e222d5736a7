"""What a newcomer's machine may lack is told in one sentence before anything is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from insidegpt.bootstrap import problem

ROOT = Path(__file__).parent.parent


def test_a_machine_with_the_right_python_and_room_has_no_problem():
    assert problem((3, 11, 7), 20 * 10**9) is None


def test_another_python_is_named_with_the_one_that_is_needed():
    said = problem((3, 12, 1), 20 * 10**9)
    assert "3.12" in said and "PYTHON=python3.11" in said and "\n" not in said


def test_a_full_disk_is_named_with_what_is_free_and_needed():
    said = problem((3, 11, 7), 300 * 10**6)
    assert "0.3 GB" in said and "4 GB" in said and "\n" not in said


@pytest.fixture
def copy(tmp_path) -> Path:
    """As much of the repository as setting up the environment reads."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "src/insidegpt/bootstrap.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def make_book(copy: Path, python: str) -> subprocess.CompletedProcess:
    command = ["make", "-s", "book", f"PYTHON={python}"]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)


def test_make_with_another_python_says_one_sentence_and_leaves_nothing(copy):
    other = copy / "python3.9"
    run = "import runpy, sys; sys.version_info = (3, 9, 2); runpy.run_path(sys.argv[1], run_name='__main__')"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{run}" "$@"\n')
    other.chmod(0o755)
    made = make_book(copy, str(other))
    assert made.returncode != 0
    assert "This is Python 3.9" in made.stderr and "Traceback" not in made.stderr
    assert not (copy / ".venv").exists()


def test_make_without_any_python_says_what_to_install(copy):
    made = make_book(copy, "python-that-is-not-there")
    assert made.returncode != 0
    assert "There is no python-that-is-not-there here: install Python 3.11" in made.stdout
