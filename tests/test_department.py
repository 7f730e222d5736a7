"""Many machines grade one class: Dask runs the work, PostgreSQL keeps the gradebook, and nothing is graded twice."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from department import PROGRAMS, Cluster, Postgres, kill, until
from insidegpt.cli import app
from insidegpt.grading.intake import Course, submissions
from insidegpt.grading.record import Recorder
from insidegpt.grading.work import execute, pack
from small_course import EXERCISES, make_course
from test_batch import INSIDEGPT, environment, grade, graded_at, hand_in, refused, table

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="there is a sandbox on Linux alone"),
    pytest.mark.skipif(
        not PROGRAMS and not os.environ.get("CI"),
        reason="no PostgreSQL found: install it (Debian: postgresql) to run these",
    ),
]

STEPS = '''
import os
from pathlib import Path

from nbgrader.preprocessors import NbGraderPreprocessor, SaveAutoGrades

ROOT = Path(__file__).parent


class Cut(SaveAutoGrades):
    """Saves grades; where a file `cut` lies in the course, the connection is cut once in the middle."""

    def _add_score(self, cell, resources):
        super()._add_score(cell, resources)
        if cell.metadata.nbgrader.grade_id == "test-times_9" and (ROOT / "cut").exists():
            import psycopg

            (ROOT / "cut").unlink()
            with psycopg.connect(self.db_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                              "WHERE datname = current_database() AND pid <> pg_backend_pid()")


class Witness(NbGraderPreprocessor):
    """Notes whose grades have been saved."""

    def preprocess(self, nb, resources):
        with (ROOT / "saved").open("a") as file:
            print(resources["nbgrader"]["student"], file=file)
        return nb, resources
'''

SLOW = "import time\ntime.sleep(0.7)\ndef times_2(x):\n    return 2 * x"


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def released(postgres, tmp_path_factory) -> Path:
    """A course whose gradebook is in PostgreSQL, without submissions."""
    root = make_course(tmp_path_factory.mktemp("department"))
    use_database(root, postgres.database("released"))
    with (root / "nbgrader_config.py").open("a") as settings:
        settings.write('c.Autograde.autograde_preprocessors[2] = "steps.Cut"\n')
        settings.write('c.Autograde.autograde_preprocessors.append("steps.Witness")\n')
    (root / "steps.py").write_text(STEPS)
    release = [sys.executable, "-m", "insidegpt.grading.release"]
    subprocess.run(release, cwd=root, check=True, env=environment(root), capture_output=True)
    return root


def use_database(root: Path, address: str) -> None:
    """Have the course use this one; the last such setting counts."""
    with (root / "nbgrader_config.py").open("a") as settings:
        settings.write(f"\nc.CourseDirectory.db_url = {address!r}\n")


@pytest.fixture
def course(released, postgres, tmp_path, request) -> Path:
    """A course of its own, with a gradebook of its own."""
    import psycopg

    root, name = shutil.copytree(released, tmp_path / "course"), request.node.name[-60:]
    with psycopg.connect(postgres._address("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE released')
    use_database(root, postgres._address(name))
    return root


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler with two workers."""
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    found.add()
    found.add()
    yield found
    found.stop()


def begin(root: Path, cluster: Cluster, *arguments: str) -> subprocess.Popen:
    """Start to grade with the cluster."""
    command = [INSIDEGPT, "grade", "--dask", cluster.address, *arguments]
    return subprocess.Popen(
        command, cwd=root, env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(run: subprocess.Popen) -> str:
    """What a run that went well has printed."""
    said, errors = run.communicate(timeout=300)
    assert (run.returncode, errors) == (0, ""), said + errors
    return said


def saved(root: Path) -> list[str]:
    """Whose grades were saved, as often as they were."""
    return sorted((root / "saved").read_text().split())


def scores(root: Path) -> dict[str, float]:
    """Every submission in the gradebook with its score; each has all its cells, once."""
    with Course.at(root).gradebook() as gradebook:
        found = gradebook.assignment_submissions("small")
        for submission in found:
            (notebook,) = submission.notebooks
            assert Counter(g.name for g in notebook.grades) == Counter(f"test-{name}" for name in EXERCISES)
        assert len({s.student_id for s in found}) == len(found)
        return {s.student_id: s.score for s in found}


def expect_all_graded_once(root: Path, students: list[str]) -> None:
    """Each has full points in the gradebook and in the file, and was recorded one time."""
    assert saved(root) == sorted(students)
    assert scores(root) == dict.fromkeys(students, 38)
    assert {name: row["points"] for name, row in table(root).items()} == dict.fromkeys(students, "38.0")
    assert set(graded_at(root)) == set(students)
    assert {p.parent.parent.name for p in root.glob("feedback/*/small/small.html")} == set(students)


def test_a_cluster_grades_as_this_machine_does(course, cluster, tmp_path):
    hand_in(course, "ada")
    hand_in(course, "丁 一", {"times_2": "def times_2(x):\n    return 2 * abs(x)"})
    hand_in(course, "bad").write_text("{")
    here = shutil.copytree(course, tmp_path / "here")
    address = f"sqlite:///{here}/gradebook.db"
    use_database(here, address)
    release = [sys.executable, "-m", "insidegpt.grading.release"]
    subprocess.run(release, cwd=here, check=True, env=environment(here), capture_output=True)
    with begin(course, cluster) as run:
        said, errors = run.communicate(timeout=300)
    ran = grade(here)
    assert (run.returncode, errors) == (ran.returncode, ran.stderr) == (1, "")
    assert said == ran.stdout
    assert (course / "grades.csv").read_bytes() == (here / "grades.csv").read_bytes()
    for student in ("ada", "丁 一"):
        page = Path("feedback", student, "small", "small.html")
        assert (course / page).read_bytes() == (here / page).read_bytes()


def test_a_worker_killed_in_the_middle_costs_nothing_and_one_that_joins_helps(course, cluster):
    students = [f"student-{n}" for n in range(6)]
    for student in students:
        hand_in(course, student, {"times_2": SLOW})
    with begin(course, cluster) as run:
        until(lambda: graded_at(course))
        kill(cluster.workers[0])
        cluster.add()
        ended(run)
    expect_all_graded_once(course, students)


def test_killed_itself_the_run_leaves_the_cluster_usable_and_the_next_one_goes_on(course, cluster):
    students = [f"student-{n}" for n in range(4)]
    for student in students:
        hand_in(course, student, {"times_2": SLOW})
    with begin(course, cluster) as run:
        until(lambda: graded_at(course))
        run.send_signal(signal.SIGKILL)
    done = graded_at(course)
    with begin(course, cluster) as run:
        assert f"{len(students) - len(done)} to grade, {len(done)} graded before" in ended(run)
    assert {s: at for s, at in graded_at(course).items() if s in done} == done
    assert scores(course) == dict.fromkeys(students, 38)


def test_a_scheduler_that_starts_again_with_new_workers_is_found_again(course, cluster):
    students = [f"student-{n}" for n in range(4)]
    for student in students:
        hand_in(course, student, {"times_2": SLOW})
    with begin(course, cluster) as run:
        until(lambda: graded_at(course))
        cluster.stop()
        cluster.start()
        cluster.add()
        ended(run)
    expect_all_graded_once(course, students)


MOUNT = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


@pytest.fixture(scope="module")
def can_mount() -> None:
    if subprocess.run([*MOUNT, "mount -t tmpfs none /mnt"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk")


def test_a_worker_whose_disk_is_full_is_named_and_the_others_do_its_work(course, cluster, can_mount, tmp_path):
    students = ["ada", "bo"]
    for student in students:
        hand_in(course, student)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {disk} && exec \"$0\" \"$@\""
    full = cluster.add(wrapped=(*MOUNT, mount), TMPDIR=str(disk))
    cluster.ready()
    with begin(course, cluster) as run:
        said = ended(run)
    assert said.count(f"{disk}: No space left on device") == 1
    expect_all_graded_once(course, students)
    kill(full)


def test_staged_work_needs_nothing_of_the_course_on_the_worker(course, can_mount, tmp_path):
    hand_in(course, "ada")
    hand_in(course, "bo", {"times_3": "times_3 = abs"})
    alone = Cluster(tmp_path)
    mount = f"mount -t tmpfs none {course} && exec \"$0\" \"$@\""
    try:
        alone.add(wrapped=(*MOUNT, mount))
        with begin(course, alone, "--stage") as run:
            ended(run)
        assert scores(course) == {"ada": 38, "bo": 36}
    finally:
        alone.stop()
