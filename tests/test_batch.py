"""A whole class: every submission graded once, whatever is handed in and whenever the run is killed."""

import csv
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import nbformat
import psutil
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from sqlalchemy import Engine, event
from traitlets.config import PyFileConfigLoader
from typer.testing import CliRunner

from insidegpt.cli import app
from insidegpt.grading.feedback import without_folders
from insidegpt.grading.grades import rows
from insidegpt.grading.intake import LARGEST_NOTEBOOK, Course
from insidegpt.grading.processes import _turn
from small_course import EXERCISES, KIT, cell, make_course

INSIDEGPT = Path(sys.executable).parent / "insidegpt"

STEP = '''
import os
from nbgrader.preprocessors import NbGraderPreprocessor


class Unlucky(NbGraderPreprocessor):
    """A step of the pipeline that fails for some students, and that says how their code was confined."""

    def preprocess(self, nb, resources):
        student = resources["nbgrader"]["student"]
        if student == "crash":
            os.kill(os.getpid(), 9)
        if student == "raises":
            raise RuntimeError("out of luck")
        nb.metadata["insidegpt"] = {"sandbox": "Not confined at all. · 未作任何隔离。"}
        return nb, resources
'''


def grade(root: Path, *arguments) -> subprocess.CompletedProcess:
    """Run `insidegpt grade` in the course."""
    command = [INSIDEGPT, "grade", *map(str, arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment(root))


def environment(root: Path) -> dict[str, str]:
    """The variables of this process, with the course's own modules to be imported."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        "COLUMNS": "120",
    }


def hand_in(root: Path, student: str, answers: dict[str, str] | None = None, solved: bool = True) -> Path:
    """Put a submission in place: the solutions or the blank release, with some cells replaced."""
    notebook = nbformat.read(root / ("solutions" if solved else "exercises") / "small" / "small.ipynb", as_version=4)
    for name, source in (answers or {}).items():
        cell(notebook, name).source = source
    path = root / "submitted" / student / "small" / "small.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def table(root: Path) -> dict[str, dict[str, str]]:
    """The rows of grades.csv by student."""
    with (root / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert len({(row["student"], row["chapter"]) for row in found}) == len(found)
    return {row["student"]: row for row in found}


def points(root: Path) -> dict[str, float]:
    """Every submission in the gradebook with its score."""
    with Gradebook(f"sqlite:///{root}/gradebook.db") as gradebook:
        found = [(s.student_id, s.score) for s in gradebook.assignment_submissions("small")]
    assert len(dict(found)) == len(found)
    return dict(found)


def graded_at(root: Path) -> dict[str, int]:
    """When each notebook in autograded/ was written, by student."""
    return {p.parent.parent.name: p.stat().st_mtime_ns for p in root.glob("autograded/*/small/small.ipynb")}


@pytest.fixture
def small(course, tmp_path) -> Path:
    """A released course of its own, without submissions."""
    return shutil.copytree(course, tmp_path / "course", ignore=shutil.ignore_patterns("submitted", "autograded"))


BAD = {
    "nothing": "there is no notebook small.ipynb · 没有笔记本",
    "renamed": "small.ipynb is missing, there is only mine.ipynb",
    "folder": "small.ipynb is missing, there is only small.ipynb/",
    "file": "a folder is expected",
    "garbage": "this is not a notebook that can be read",
    "link": "small.ipynb is a link or a special file",
    "pipe": "data is a link or a special file",
    "huge": "the notebook has 21 MB, at most 20 are taken",
    "time": "timestamp.txt holds no time",
    "a[b]": "the student's name has one of",
    "stray": "small.ipynb is in the wrong place",
    "typo": "smal is not a chapter",
    "crash": "the process that graded it ended early (SIGKILL)",
    "raises": "nbgrader could not grade it (RuntimeError: out of luck)",
}


def hand_in_trouble(root: Path) -> None:
    """One submission for each entry of BAD."""
    good = (root / "solutions" / "small" / "small.ipynb").read_bytes()
    place = {name: root / "submitted" / name / "small" for name in BAD}
    for name, folder in place.items():
        (folder.parent if name in ("file", "stray", "typo") else folder).mkdir(parents=True)
    (place["renamed"] / "mine.ipynb").write_bytes(good)
    (place["folder"] / "small.ipynb").mkdir()
    place["file"].write_bytes(good)
    (place["garbage"] / "small.ipynb").write_bytes(b'{"cells": [')
    (place["link"] / "small.ipynb").symlink_to(root / "solutions" / "small" / "small.ipynb")
    (place["huge"] / "small.ipynb").write_bytes(b" " * (LARGEST_NOTEBOOK + 2**20))
    (place["stray"].with_suffix(".ipynb")).write_bytes(good)
    (place["typo"].parent / "smal").mkdir()
    for name in ("pipe", "time", "a[b]", "crash", "raises"):
        (place[name] / "small.ipynb").write_bytes(good)
    os.mkfifo(place["pipe"] / "data")
    (place["time"] / "timestamp.txt").write_text("yesterday")


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """A course with good and bad submissions, and what the first `insidegpt grade` printed."""
    from insidegpt.grading.release import release

    root = make_course(tmp_path_factory.mktemp("school"))
    with (root / "nbgrader_config.py").open("a") as settings:
        settings.write("c.Autograde.autograde_preprocessors.insert(1, 'unlucky.Unlucky')\n")
    (root / "unlucky.py").write_text(STEP)
    release(root)
    hand_in(root, "ada")
    hand_in(root, "丁 一", {"times_2": "def times_2(x):\n    return 2 * abs(x)", "times_3": "open('/etc/none/x')"})
    (root / "submitted" / "ada" / "small" / "timestamp.txt").write_text("2024-02-01 12:00:00 UTC")
    hand_in_trouble(root)
    with Gradebook(f"sqlite:///{root}/gradebook.db") as gradebook:
        gradebook.update_or_create_assignment("small", duedate="2024-02-01 10:30:00 UTC")
    return root, grade(root, "--workers", "2")


@pytest.fixture
def later(school, tmp_path) -> Path:
    """A copy of that course, in which the bad submissions have been taken away."""
    return shutil.copytree(school[0], tmp_path / "later", ignore=lambda _, names: BAD.keys() & {*names})


def test_bad_submissions_are_recorded_with_their_reason_and_the_rest_are_graded(school):
    root, ran = school
    assert (ran.returncode, ran.stderr) == (1, "") and "Traceback" not in ran.stdout
    found = table(root)
    assert set(found) == {"ada", "丁 一", *BAD}
    for student, words in BAD.items():
        assert words in found[student]["reason"] and " · " in found[student]["reason"], student
        assert found[student]["points"] == ""
        assert ran.stdout.count(f"✗ submitted/{student}/") == 1
    assert (found["ada"]["points"], found["ada"]["maximum"], found["ada"]["reason"]) == ("38.0", "38.0", "")
    assert (found["丁 一"]["points"], found["丁 一"]["small/times_2"]) == ("35.0", "1.0")
    assert found["ada"]["hours late"] == "1.5"


def test_the_table_shows_everyone_and_the_sandbox_is_named_once(school):
    _, ran = school
    assert all(student in ran.stdout for student in ("ada", "丁 一", *BAD))
    assert ran.stdout.count("Not confined at all. · 未作任何隔离。") == 1


def test_nothing_half_done_is_left(school):
    root, _ = school
    assert sorted(p.name for p in (root / "autograded").iterdir()) == ["ada", "丁 一"]
    assert sorted(p.name for p in (root / "feedback").iterdir()) == ["ada", "丁 一"]
    assert sorted(p.name for p in (root / ".grading").iterdir()) == ["lock", "log"]


def test_formgrader_lists_the_graded_and_those_that_wait(school):
    root, _ = school
    config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
    config.CourseDirectory.root = str(root)
    shutil.move(root / "submitted" / "time", root / "elsewhere")  # formgrader itself cannot read that timestamp
    listed = {s["student"]: s for s in NbGraderAPI(config=config).get_submissions("small")}
    shutil.move(root / "elsewhere", root / "submitted" / "time")
    assert (listed["ada"]["autograded"], listed["ada"]["score"], listed["丁 一"]["score"]) == (True, 38, 35)
    assert not listed["nothing"]["autograded"] and not listed["crash"]["autograded"]


def test_only_what_changed_is_graded_again_and_manual_points_and_comments_stay(later):
    root = later
    with Gradebook(f"sqlite:///{root}/gradebook.db") as gradebook:
        gradebook.find_grade("test-times_2", "small", "small", "丁 一").manual_score = 1.5
        gradebook.find_comment("times_2", "small", "small", "丁 一").manual_comment = "Good thought 想法很好 <b>"
        gradebook.db.commit()
    before = graded_at(root)
    ran = grade(root, "small")
    assert ran.returncode == 0 and "0 to grade, 2 graded before · 待批改 0 份，之前已批改 2 份" in ran.stdout
    assert graded_at(root) == before
    assert table(root)["丁 一"]["points"] == "35.5"

    hand_in(root, "丁 一", {"times_2": "def times_2(x):\n    return 0", "times_3": "open('/etc/none/x')"})
    ran = grade(root)
    assert "1 to grade, 1 graded before" in ran.stdout
    assert [s for s, at in graded_at(root).items() if at != before[s]] == ["丁 一"]
    assert table(root)["丁 一"]["points"] == "35.5" and table(root)["丁 一"]["small/times_2"] == "1.5"
    html = (root / "feedback" / "丁 一" / "small" / "small.html").read_text(encoding="utf-8")
    assert "1.5 / 2" in html and "35.5 / 38" in html and "The points were set by your teacher." in html
    assert "Good thought 想法很好 &lt;b&gt;" in html

    stock = [Path(sys.executable).parent / "nbgrader", "generate_feedback", "small", "--force"]
    subprocess.run(stock, cwd=root, check=True, capture_output=True, env=environment(root))
    assert (root / "feedback" / "丁 一" / "small" / "small.html").read_text(encoding="utf-8") == html

    exported = [Path(sys.executable).parent / "nbgrader", "export", "--to", str(root / "export.csv")]
    subprocess.run(exported, cwd=root, check=True, capture_output=True, env=environment(root))
    assert "丁 一" in (root / "export.csv").read_text() and ",35.5," in (root / "export.csv").read_text()

    tests = root / "tests" / "hidden" / "small.py"
    tests.write_text(KIT + "\n# changed\n")
    assert "2 to grade, 0 graded before" in grade(root).stdout


def test_a_submission_that_turns_bad_loses_its_place_in_autograded(later):
    root = later
    (root / "submitted" / "ada" / "small" / "small.ipynb").write_text("{")
    assert grade(root).returncode == 1
    assert not (root / "autograded" / "ada" / "small").exists()
    found = table(root)
    assert found["ada"]["points"] == "" and "not a notebook that can be read" in found["ada"]["reason"]
    assert found["丁 一"]["points"] == "35.0"


def test_feedback_names_the_students_errors_and_nothing_that_is_secret(school):
    root, _ = school
    html = (root / "feedback" / "丁 一" / "small" / "small.html").read_text(encoding="utf-8")
    assert "the answer cell raised FileNotFoundError" in html and "答题单元格抛出了" in html
    assert "negative" in html and "负数" in html
    assert "Not confined at all." in html and "未作任何隔离。" in html
    hidden = [line.strip() for line in KIT.splitlines() if len(line.strip()) > 12]
    assert [line for line in hidden if line in html] == []
    assert not re.search(r"HIDDEN TESTS|import hidden|from hidden|check\(|SECRET|quite secret|Traceback", html)
    html = re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)  # the student's own code
    machine = [str(root), str(Path.home()), sys.prefix, "/etc/none", "site-packages", "/tmp/"]
    assert [path for path in machine if path in html] == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("No such file: '/home/ada/data/x.csv'", "No such file: '…/x.csv'"),
        ("cannot import name 'x' from 'torch' (/opt/env/lib/torch/__init__.py)", "(…/__init__.py)"),
        ("expected (B, T) / got (T,)", "expected (B, T) / got (T,)"),
        ("see https://pytorch.org/docs/stable/", "see https://pytorch.org/docs/stable/"),
        ("q/k/v", "q/k/v"),
    ],
)
def test_paths_are_cut_and_other_slashes_are_kept(said, shown):
    assert shown in without_folders(said)


def test_killed_at_any_moment_the_next_run_finishes_and_grades_nothing_twice(small):
    """Kill -9 right after the lock, while nbgrader writes, and when the first submission is in place."""
    students = [f"student-{n}" for n in range(4)]
    for student in students:
        hand_in(small, student)
    moments = [
        lambda: (small / ".grading" / "lock").exists(),
        lambda: any((small / ".grading" / "staged").glob("*/*/small/small.ipynb")),
        lambda: any(small.glob("autograded/*/small/small.ipynb")),
    ]
    done = {}
    for moment in moments:
        ran = subprocess.Popen([INSIDEGPT, "grade", "--workers", "2"], cwd=small, stdout=subprocess.DEVNULL)
        until(moment)
        family = psutil.Process(ran.pid).children(recursive=True)
        ran.send_signal(signal.SIGKILL)
        ran.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == []
        for notebook in small.glob("autograded/*/*"):
            assert (notebook / "small.ipynb").exists()
        assert {s: at for s, at in graded_at(small).items() if s in done} == done
        done = graded_at(small)
    assert 0 < len(done) < len(students)
    ran = grade(small, "--workers", "2")
    assert ran.returncode == 0 and f"{len(students) - len(done)} to grade, {len(done)} graded before" in ran.stdout
    assert {s: at for s, at in graded_at(small).items() if s in done} == done
    assert points(small) == dict.fromkeys(students, 38)
    assert {s: row["points"] for s, row in table(small).items()} == dict.fromkeys(students, "38.0")
    assert {p.parent.parent.name for p in small.glob("feedback/*/small/small.html")} == set(students)
    assert not (small / ".grading" / "staged").exists()


def test_one_worker_runs_the_code_of_one_submission_at_a_time_and_all_are_graded(small):
    """Whatever else goes on at the same time."""
    timed = "import time\nprint(time.monotonic())\ntime.sleep(0.5)\nprint(time.monotonic())"
    for n in range(4):
        hand_in(small, f"student-{n}", {"times_2": f"{timed}\ndef times_2(x):\n    return 2 * x"})
    assert grade(small, "--workers", "1").returncode == 0
    spans = []
    for path in small.glob("autograded/*/small/small.ipynb"):
        outputs = cell(nbformat.read(path, as_version=4), "times_2").outputs
        spans.append([float(time) for output in outputs for time in output.text.split()])
    spans.sort()
    assert len(spans) == 4 and all(first[1] <= second[0] for first, second in pairwise(spans))
    assert points(small) == dict.fromkeys([f"student-{n}" for n in range(4)], 38)


def test_a_turn_is_free_again_when_the_process_that_holds_it_is_killed():
    told, tell = os.pipe()
    with tempfile.TemporaryFile() as turns:
        if (holder := os.fork()) == 0:
            with _turn(turns.fileno(), 0):
                os.write(tell, b"!")
                signal.pause()
        assert os.read(told, 1) == b"!"
        with _turn(turns.fileno(), 1):
            pass
        with pytest.raises(BlockingIOError):
            fcntl.lockf(turns, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        with _turn(turns.fileno(), 0):
            pass


def until(condition, seconds: float = 60) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_ctrl_c_ends_the_run_its_workers_and_their_kernels(small):
    hand_in(small, "ada", {"times_2": "from time import sleep\nsleep(600)"})
    with subprocess.Popen(
        [INSIDEGPT, "grade"], cwd=small, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ran:
        # the preloaded process, the worker, the judge, and a supervisor and a kernel for the learner
        until(lambda: len(psutil.Process(ran.pid).children(recursive=True)) >= 5)
        time.sleep(1)
        family = psutil.Process(ran.pid).children(recursive=True)
        ran.send_signal(signal.SIGINT)
        _, said = ran.communicate(timeout=60)
    assert (ran.returncode, said) == (130, "stopped · 已停止\n")
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert not (small / ".grading" / "staged").exists()
    assert not graded_at(small)


def refused(root: Path, monkeypatch, *arguments) -> str:
    """The one sentence with which the command is refused."""
    monkeypatch.chdir(root)
    ran = CliRunner().invoke(app, ["grade", *arguments])
    assert ran.exit_code == 2 and ran.stderr.count("\n") == 1 and " · " in ran.stderr
    return ran.stderr


def test_two_runs_at_once_are_refused(small, monkeypatch):
    hand_in(small, "ada")
    (small / ".grading").mkdir(exist_ok=True)
    with (small / ".grading" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "Another `insidegpt grade` is at work in this course" in refused(small, monkeypatch)


def test_what_is_missing_is_said_in_one_sentence(small, tmp_path, monkeypatch):
    assert "There are no submissions in" in refused(small, monkeypatch)
    hand_in(small, "ada")
    assert "No chapter smal has been released, only small" in refused(small, monkeypatch, "smal")
    (small / "gradebook.db").unlink()
    assert "There is no gradebook" in refused(small, monkeypatch)
    (tmp_path / "bare").mkdir()
    assert "not inside the book's repository" in refused(tmp_path / "bare", monkeypatch)


@pytest.mark.filterwarnings("ignore:Object of type:sqlalchemy.exc.SAWarning")  # nbgrader's add_submission
def test_the_gradebook_is_asked_as_often_for_a_class_as_for_one_student(small):
    course, asked, counts = Course.at(small), [], []
    listener = Engine, "before_cursor_execute", lambda *what: asked.append(what[2])
    for student in ("ada", "bo", "cy"):
        with course.gradebook() as gradebook:
            gradebook.add_student(student)
            gradebook.add_submission("small", student)
        asked.clear()
        event.listen(*listener)
        table = rows(course, {})
        event.remove(*listener)
        counts.append(len(asked))
    assert [row.student for row in table] == ["ada", "bo", "cy"]
    assert all(set(row.exercises) == set(EXERCISES) for row in table)
    assert len(set(counts)) == 1 and counts[0] > 0


def test_every_exercise_has_its_column(school):
    root, _ = school
    assert {f"small/{name}" for name in EXERCISES} < set(table(root)["ada"])
