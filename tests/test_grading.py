"""Grading: the same result for the same work by `insidegpt check` and by nbgrader, whatever is handed in."""

import _thread
import asyncio
import gc
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_core.utils import ensure_event_loop
from typer.testing import CliRunner

from insidegpt.cli import app
from insidegpt.errors import UserError
from insidegpt.grading import execute
from insidegpt.grading.feedback import page
from insidegpt.grading.kernel import Kernel
from insidegpt.grading.release import release
from insidegpt.grading.report import Exercise, Report, collect
from insidegpt.grading.sandbox import Confinement, Level
from insidegpt.grading.submission import assemble, trusted_cells
from messy import write_messy
from small_course import EXERCISES, ROOT, cell, make_course

BIN = Path(sys.executable).parent


def check(notebook: Path, *options) -> tuple[str, dict]:
    """What `insidegpt check` printed about the notebook, and what it wrote with --json."""
    out = notebook.with_suffix(".json")
    ran = CliRunner().invoke(app, ["check", str(notebook), "--json", str(out), *map(str, options)])
    assert ran.exit_code == 0, ran.output
    return ran.output, json.loads(out.read_text(encoding="utf-8"))


def by_exercise(report: dict) -> dict[str, dict]:
    """The report's exercises by their names."""
    return {e["id"]: e for e in report["exercises"]}


def by_id(report: Report) -> dict[str, Exercise]:
    """The report's exercises by their names."""
    return {e.id: e for e in report.exercises}


@pytest.fixture(scope="module")
def course(course, tmp_path_factory) -> Path:
    """A copy of the course for the submissions of this file."""
    return shutil.copytree(course, tmp_path_factory.mktemp("grading") / "course")


@pytest.fixture(scope="module")
def messy(course):
    """What `insidegpt check` printed and wrote about the notebook with all the mistakes."""
    path = course / "submitted" / "ada" / "small" / "small.ipynb"
    return check(write_messy(course / "exercises" / "small" / "small.ipynb", path))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A copy of the real course, released with nothing but the system's programs on PATH, from another folder."""
    root = tmp_path_factory.mktemp("real")
    for name in ("solutions", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "nbgrader_config.py", root)
    bare = {**os.environ, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "insidegpt.grading.release"]
    subprocess.run(command, cwd=root / "solutions", env=bare, check=True)
    return root


def test_the_solutions_earn_all_points(course, tmp_path, monkeypatch):
    path = shutil.copy(course / "solutions" / "small" / "small.ipynb", tmp_path / "mine.ipynb")
    monkeypatch.chdir(course)
    printed, report = check(path)
    assert (report["points"], report["maximum"]) == (38, 38)
    assert set(report) == {"points", "maximum", "exercises"}
    first = by_exercise(report)["times_2"]
    assert first["properties"][1] == {"name": "negative · 负数", "passed": True, "message": ""}
    assert first["messages"] == []
    assert "Total · 总分  38 / 38" in printed


def test_the_blank_release_earns_nothing(course):
    _, report = check(course / "exercises" / "small" / "small.ipynb")
    assert report["points"] == 0
    assert [e["id"] for e in report["exercises"]] == EXERCISES
    assert all(e["messages"] == ["not written yet · 尚未作答"] for e in report["exercises"])


WHAT_HAPPENS = {
    "times_2": (2, ""),
    "times_3": (0, "the answer cell raised SyntaxError: expected ':' (line 1) · 答题单元格抛出了"),
    "times_4": (0, "your code did not answer in time"),
    "times_5": (0, "the answer cell did not finish within 3 s"),
    "times_6": (0, "the answer cell ended the Python process · 答题单元格让 Python 进程退出了"),
    "times_7": (0, "the process that runs your code has ended"),
    "times_8": (0, "the answer cell raised ZeroDivisionError: division by zero"),
    "times_9": (2, ""),
    "times_10": (0, "called input()"),
    "times_11": (0, "the answer cell ended the Python process"),
    "times_12": (1, ""),
    "times_13": (2, "the visible test does not hold: assert times_13(1) == 13 · 可见测试不成立"),
    "times_14": (0, "no answer cell is marked"),
    "times_15": (2, "the test cell was missing and has been put back"),
    "times_16": (0, "the answer cell did not finish within 3 s"),
    "times_17": (0, "the visible test does not hold"),
    "times_18": (2, "2 answer cells: the last one counts"),
    "times_19": (0, "not written yet"),
    "times_20": (0, "the answer cell raised ModuleNotFoundError: No module named 'hidden'"),
}


@pytest.mark.parametrize("exercise", EXERCISES)
def test_one_mistake_costs_its_own_exercise_and_is_named_in_a_sentence(messy, exercise):
    told = by_exercise(messy[1])[exercise]
    points, words = WHAT_HAPPENS[exercise]
    assert told["points"] == points
    assert words in " ".join(told["messages"])
    assert len(told["messages"]) <= (2 if exercise == "times_19" else 1)


def test_partial_credit_says_which_property_failed(messy):
    properties = by_exercise(messy[1])["times_12"]["properties"]
    assert [(p["name"], p["passed"]) for p in properties] == [("positive · 正数", True), ("negative · 负数", False)]


def test_a_failed_visible_test_does_not_silence_the_hidden_check(messy):
    assert [p["passed"] for p in by_exercise(messy[1])["times_13"]["properties"]] == [True, True]


def test_the_page_is_complete_bilingual_and_needs_no_network(course, messy):
    printed, report = messy
    page = course / "_build" / "feedback" / "small.html"
    assert str(page) in printed.replace("\n", "")
    html = page.read_text(encoding="utf-8")
    assert all(f"<code>{name}</code>" in html for name in EXERCISES)
    assert f"{report['points']:g} / {report['maximum']:g}" in html
    assert '<span class="zh" lang="zh-CN">尚未作答</span>' in html
    assert "hidden.small import" not in html and "HIDDEN TESTS" not in html
    assert not re.search(r"https?:|src=|@import|url\(", html)


def test_code_in_an_answer_is_shown_and_not_run_by_the_page(course, tmp_path, monkeypatch):
    notebook = nbformat.read(course / "exercises" / "small" / "small.ipynb", as_version=4)
    cell(notebook, "times_2").source = "raise ValueError('<script>alert(1)</script>')"
    nbformat.write(notebook, tmp_path / "script.ipynb")
    monkeypatch.chdir(course)
    check(tmp_path / "script.ipynb")
    html = (course / "_build" / "feedback" / "small.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in html and "<script>" not in html


def test_a_notebook_from_another_program_in_one_language_under_another_name(course, tmp_path, monkeypatch):
    """As Colab and VS Code save: other kernel, other ids or none, other metadata; the learner deleted the Chinese."""
    notebook = json.loads((course / "solutions" / "small" / "small.ipynb").read_text(encoding="utf-8"))
    notebook["metadata"] = {"kernelspec": {"name": "my-conda", "display_name": "x"}, "colab": {"provenance": []}}
    notebook["nbformat_minor"] = 0
    notebook["cells"] = [c for c in notebook["cells"] if "lang-zh" not in c["metadata"].get("tags", [])]
    for number, c in enumerate(notebook["cells"]):
        del c["id"]
        c["metadata"]["id"] = f"colab{number}"
    path = tmp_path / "Copy of small (1).ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    monkeypatch.chdir(course)
    assert check(path)[1]["points"] == 38


def test_a_notebook_that_has_lost_its_marks_is_known_by_its_name_as_nbgrader_knows_it(course, tmp_path, monkeypatch):
    notebook = nbformat.read(course / "solutions" / "small" / "small.ipynb", as_version=4)
    for c in notebook.cells:
        c.metadata.pop("nbgrader", None)
    monkeypatch.chdir(course)
    nbformat.write(notebook, tmp_path / "small.ipynb")
    ran, report = check(tmp_path / "small.ipynb")
    assert report["points"] == 38 and "no answer cell is marked" in ran
    nbformat.write(notebook, tmp_path / "other.ipynb")
    assert CliRunner().invoke(app, ["check", str(tmp_path / "other.ipynb")]).exit_code == 2


@pytest.fixture(scope="module")
def autograded(course, messy):
    """The course after the stock commands graded the messy notebook and wrote feedback."""
    for command in ("autograde", "generate_feedback"):
        subprocess.run([BIN / "nbgrader", command, "small"], cwd=course, check=True, capture_output=True)
    return course


def scores(course: Path, chapter: str) -> dict[str, float]:
    """The exercises' scores in the course's gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        grades = gradebook.find_submission_notebook(chapter, chapter, "ada").grades
        return {g.name.removeprefix("test-"): g.score for g in grades}


def test_nbgrader_gives_the_scores_that_check_gives(autograded, messy):
    assert scores(autograded, "small") == {e["id"]: e["points"] for e in messy[1]["exercises"]}


def test_nbgrader_feedback_keeps_sentences_and_hides_the_tests(autograded):
    html = (autograded / "feedback" / "ada" / "small" / "small.html").read_text(encoding="utf-8")
    assert "no answer cell is marked" in html and "assert times_13(1) == 13" in html
    assert not any(secret in html for secret in ("HIDDEN TESTS", "from hidden", "check(times"))


def test_what_a_cell_prints_is_kept_in_bounds(autograded):
    from insidegpt.grading.kernel import PRINTED

    notebook = nbformat.read(autograded / "autograded" / "ada" / "small" / "small.ipynb", as_version=4)
    printed = [len(o.text) for o in cell(notebook, "times_9").outputs if o.output_type == "stream"]
    assert 0 < sum(printed) <= PRINTED


def run(course: Path, answers: dict[str, str], **settings) -> tuple[nbformat.NotebookNode, Report]:
    """The small course's solutions with some answers replaced, run with these settings of `ExecuteSubmission`."""
    source = nbformat.read(course / "solutions" / "small" / "small.ipynb", as_version=4)
    handed_in = nbformat.read(course / "solutions" / "small" / "small.ipynb", as_version=4)
    for name, answer in answers.items():
        cell(handed_in, name).source = answer
    notebook = assemble(handed_in, trusted_cells(source))
    grader = execute.ExecuteSubmission(tests=str(course / "tests"), timeout=3, **settings)
    grader.preprocess(notebook, {"metadata": {"path": str(course)}})
    return notebook, collect("small", notebook)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are limits alone")
@pytest.mark.parametrize("level", [Level.LANDLOCK, Level.LIMITS])
def test_a_weaker_sandbox_grades_and_the_notebook_and_the_page_name_it(course, level):
    notebook, report = run(course, {}, best=level)
    if level == Level.LANDLOCK and notebook.metadata.insidegpt.sandbox == " · ".join(Level.LIMITS.sentence):
        pytest.skip("this machine has no Landlock")
    assert notebook.metadata.insidegpt.sandbox == " · ".join(level.sentence)
    assert report.points == report.maximum
    en, zh = level.sentence
    footer = page(report).split("<footer>")[1].replace("&#39;", "'")
    assert en in footer and zh in footer


def test_the_teacher_chooses_what_a_submission_may_use(course):
    hungry = {"times_2": "taken = bytes(300 << 20)\n\ndef times_2(x):\n    return 2 * x"}
    assert by_id(run(course, hungry)[1])["times_2"].points == 2
    told = by_id(run(course, hungry, limits={"memory": 200 << 20})[1])
    assert told["times_2"].points == 0 and "the answer cell raised MemoryError" in told["times_2"].messages[0]
    assert told["times_3"].points == 2


def test_a_notebook_that_takes_too_long_keeps_what_was_done_and_says_so_once_for_each_of_the_rest(course, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def slow_cell(index: int) -> None:
        if index == 7:  # the answer to times_4
            now[0] += 601

    told = by_id(run(course, {}, longest=600, on_cell=slow_cell)[1])
    assert [e.points for e in told.values()] == [2, 2, *[0] * (len(EXERCISES) - 2)]
    late = "the notebook did not finish within 600 s · 整个笔记本在 600 秒内没有运行完"
    assert [e.messages for e in told.values()] == [[], [], *[[late]] * (len(EXERCISES) - 2)]


def test_the_same_source_gives_the_same_release(real):
    first = {p: p.read_bytes() for p in (real / "exercises").rglob("*.ipynb")}
    release(real)
    assert first and first == {p: p.read_bytes() for p in first}


def test_a_chapter_that_cannot_be_released_keeps_its_earlier_release_and_names_the_reason(tmp_path):
    root = make_course(tmp_path)
    release(root)
    source = root / "solutions" / "small" / "small.ipynb"
    source.write_text(source.read_text(encoding="utf-8").replace("### END SOLUTION", "", 1), encoding="utf-8")
    with pytest.raises(UserError, match="solutions/small cannot be released: RuntimeError: no end solution"):
        release(root)
    assert (root / "exercises" / "small" / "small.ipynb").exists()


def test_a_release_that_holds_answers_is_not_replaced(tmp_path):
    root = make_course(tmp_path)
    release(root)
    path = root / "exercises" / "small" / "small.ipynb"
    solved = nbformat.read(path, as_version=4)
    cell(solved, "times_2").source = "def times_2(x):\n    return 2 * x"
    nbformat.write(solved, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"exercises/small/small.ipynb holds answers \(times_2\): move it to my/"):
        release(root)
    assert path.read_bytes() == before


def test_the_exercises_in_the_repository_are_current(real):
    def files(root):
        return {str(p.relative_to(root)): p.read_bytes() for p in (root / "exercises").rglob("*") if p.is_file()}

    assert files(ROOT) == files(real), "run `make exercises` (it keeps answers that somebody has written there)"


def test_a_release_holds_no_solution_no_hidden_test_and_no_output(real):
    for path in (real / "exercises").rglob("*.ipynb"):
        released = nbformat.read(path, as_version=4)
        source = nbformat.read(real / "solutions" / path.relative_to(real / "exercises"), as_version=4)
        text = path.read_text(encoding="utf-8")
        assert "BEGIN" not in text and "from hidden" not in text
        for c in released.cells:
            assert not c.get("outputs") and not c.get("execution_count")
            if c.metadata.get("nbgrader", {}).get("solution"):
                solution = cell(source, c.metadata.nbgrader.grade_id).source
                solution = solution.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
                assert "raise NotImplementedError" in c.source
                assert not [line for line in solution.splitlines() if len(line.strip()) > 8 and line in c.source]
        assert {p.name for p in path.parent.iterdir()} == {path.name}


def chapters() -> list[str]:
    """The chapters that have exercises."""
    return sorted(p.parent.name for p in ROOT.glob("solutions/*/*.ipynb"))


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_gives_its_solutions_all_points_and_its_blank_none(real, chapter):
    solved, blank = (check(real / folder / chapter / f"{chapter}.ipynb")[1] for folder in ("solutions", "exercises"))
    assert solved["points"] == solved["maximum"] == blank["maximum"] > 0
    assert blank["points"] == 0
    assert all(e["properties"] for e in solved["exercises"])


@pytest.mark.parametrize("chapter", chapters())
def test_nbgrader_gives_a_chapters_solutions_all_points(real, chapter):
    handed_in = real / "submitted" / "ada" / chapter / f"{chapter}.ipynb"
    handed_in.parent.mkdir(parents=True)
    shutil.copy(real / "solutions" / chapter / f"{chapter}.ipynb", handed_in)
    for command in ("autograde", "generate_feedback"):
        subprocess.run([BIN / "nbgrader", command, chapter], cwd=real, check=True, capture_output=True)
    _, report = check(handed_in)
    assert scores(real, chapter) == {e["id"]: e["points"] for e in report["exercises"]}
    assert sum(scores(real, chapter).values()) == report["maximum"]
    html = (real / "feedback" / "ada" / chapter / f"{chapter}.html").read_text(encoding="utf-8")
    assert "HIDDEN TESTS" not in html and "hidden." not in html


def test_what_ctrl_c_leaves_unfinished_says_nothing(tmp_path, caplog):
    here, there = socket.socketpair()
    with here, there:
        kernel = Kernel(tmp_path, 60, Confinement(), ["numpy"], there)
        kernel.start()
        kernel.connect()
        pressed = threading.Timer(0.5, _thread.interrupt_main)
        pressed.start()
        with pytest.raises(KeyboardInterrupt):
            kernel.run("import time\ntime.sleep(600)")
        os.kill(kernel.km.provisioner.pid, signal.SIGKILL)
        ensure_event_loop().run_until_complete(asyncio.sleep(2))  # until nbclient has seen it
        kernel.stop()
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
