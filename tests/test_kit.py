"""The students' zip: enough to read and to work with, and nothing that helps to cheat."""

import re
import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from insidegpt.cli import app
from insidegpt.errors import UserError
from insidegpt.grading.kit import TOP, make_kit
from insidegpt.grading.submission import is_solution

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def kit(tmp_path_factory) -> Path:
    """The kit of this repository, unpacked."""
    folder = tmp_path_factory.mktemp("kit")
    make_kit(ROOT, folder / "kit.zip")
    with zipfile.ZipFile(folder / "kit.zip") as packed:
        packed.extractall(folder)
    return folder / TOP


def test_it_holds_what_reading_and_working_takes(kit):
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "_toc.yml", "LICENSE"):
        assert (kit / name).read_bytes() == (ROOT / name).read_bytes()
    for chapter in ROOT.glob("exercises/*/*.ipynb"):
        assert (kit / chapter.relative_to(ROOT)).exists()
    assert (kit / "src" / "insidegpt" / "assets" / "story-gpt2" / "model.safetensors").exists()
    assert (kit / "book" / "attention.ipynb").exists()


def test_every_relative_link_in_it_leads_to_a_file_in_it(kit):
    leads = 0
    for path in kit.rglob("*"):
        if path.suffix == ".md":
            texts = [path.read_text("utf8")]
        elif path.suffix == ".ipynb":
            texts = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
        else:
            continue
        for target in re.findall(r"\]\(([^()\s]+)\)", "\n".join(texts)):
            if not re.match(r"[a-z]+:|#", target):
                assert (path.parent / target.partition("#")[0]).is_file(), f"{path.relative_to(kit)} → {target}"
                leads += 1
    assert leads > 4, "LICENSE, the other README and a picture in both"


def test_its_readme_differs_in_nothing_but_links_to_what_it_lacks(kit):
    for name in ("README.md", "README.zh.md"):
        words = re.split(r"\[([^\[\]]+)\]\(docs/[^)]+\)", (ROOT / name).read_text("utf8"))
        assert len(words) > 1 and (kit / name).read_text("utf8") == "".join(words)


def test_it_holds_no_tests_no_solutions_no_grades_and_no_grader(kit):
    folders = {p.name for p in kit.iterdir() if p.is_dir()}
    assert folders == {"book", "exercises", "src"}
    assert not (kit / "src" / "insidegpt" / "grading").exists()
    secret = {p.read_bytes() for f in ("tests", "solutions") for p in (ROOT / f).rglob("*") if p.is_file()} - {b""}
    assert [str(p) for p in kit.rglob("*") if p.is_file() and p.read_bytes() in secret] == []


def telling(code: str) -> set[str]:
    """What could give an answer away: every two lines in a row with 60 characters or more, without their spaces.

    One line alone tells nothing: `weights = torch.softmax(scores, dim=-1)` stands in every book on attention.
    """
    lines = [re.sub(r"\s", "", line.split("#")[0]) for line in code.splitlines()]
    pairs = pairwise(line for line in lines if line and not line.startswith(("from", "import", "def", '"""', "class")))
    return {a + b for a, b in pairs if len(a + b) >= 60}


def secrets() -> dict[str, set[str]]:
    """The telling lines of the solutions, hidden tests, mutants and other answers, without what the exercises give."""
    found, given = {}, set()
    for path in ROOT.glob("solutions/*/*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        code = "\n".join(cell.source for cell in cells)
        for kind in ("SOLUTION", "HIDDEN TESTS"):
            parts = re.findall(f"### BEGIN {kind}\n(.*?)### END {kind}", code, re.DOTALL)
            assert parts
            code = re.sub(f"### BEGIN {kind}\n.*?### END {kind}", "", code, flags=re.DOTALL)
            found[f"{path.name} {kind}"] = telling("\n".join(parts))
        given |= telling(code)
    for folder in ("hidden", "mutants", "answers"):
        for path in (ROOT / "tests" / folder).glob("*.py"):
            found[f"{folder}/{path.name}"] = telling(path.read_text(encoding="utf-8"))
    return {where: lines - given for where, lines in found.items()}


def test_no_line_of_a_solution_or_of_a_hidden_test_is_in_it(kit):
    shown = {}
    for path in kit.rglob("*"):
        if path.suffix == ".ipynb":
            shown[path] = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
        elif path.is_file():
            shown[path] = path.read_bytes().decode(errors="ignore")
    lines = {pair: str(p) for p, text in shown.items() for pair in telling(text)}
    told = secrets()
    assert sum(map(len, told.values())) > 300
    leaks = {(where, pair, lines[pair]) for where, telling in told.items() for pair in telling if pair in lines}
    assert leaks == set()


def test_the_exercises_in_it_are_blank(kit):
    for path in kit.glob("exercises/*/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs")
            assert not is_solution(cell) or "raise NotImplementedError" in cell.source


def test_the_same_files_make_the_same_bytes(tmp_path):
    first, second = (make_kit(ROOT, tmp_path / name) and (tmp_path / name).read_bytes() for name in "ab")
    assert first == second


def test_the_package_in_it_works_and_says_that_it_cannot_grade(kit, tmp_path):
    """Without the grader's modules: the commands for readers start, the others are refused in one sentence."""

    def run(*arguments):
        code = "import sys; sys.path.insert(0, 'src'); from insidegpt.cli import app; app()"
        command = [sys.executable, "-I", "-c", code, *arguments]
        return subprocess.run(command, cwd=kit, capture_output=True, text=True)

    assert run("--help").returncode == 0
    for command in (["check", "exercises/attention/attention.ipynb"], ["grade"], ["kit"]):
        ran = run(*command)
        assert ran.returncode == 2
        assert ran.stderr.startswith("This copy has no hidden tests: run the visible tests") and " · " in ran.stderr
        assert ran.stderr.count("\n") == 1
    ran = run("serve")
    assert "There is no site yet" in ran.stderr
    code = "import sys; sys.path.insert(0, 'src'); import insidegpt.models, insidegpt.texts, insidegpt.site.build"
    subprocess.run([sys.executable, "-I", "-c", code], cwd=kit, check=True)


def test_exercises_that_hold_answers_are_not_given_out(tmp_path):
    root = tmp_path / "course"
    for name in ("book", "exercises"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("README.md", "README.zh.md", "LICENSE", "Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for name in ("nbgrader_config.py", "_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, root)
    (root / "src" / "insidegpt").mkdir(parents=True)
    path = root / "exercises" / "attention" / "attention.ipynb"
    notebook = nbformat.read(path, as_version=4)
    next(filter(is_solution, notebook.cells)).source = "def f(x):\n    return x"
    nbformat.write(notebook, path)
    with pytest.raises(UserError, match="this is not as it was released"):
        make_kit(root, tmp_path / "kit.zip")
    assert not (tmp_path / "kit.zip").exists()


def test_the_command_says_where_the_kit_is(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    ran = CliRunner().invoke(app, ["kit", "--out", str(tmp_path / "x" / "kit.zip")])
    assert ran.exit_code == 0 and str(tmp_path / "x" / "kit.zip") in ran.output
    assert (tmp_path / "x" / "kit.zip").exists()
