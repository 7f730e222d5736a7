"""Many machines grade one class: Dask runs the work, PostgreSQL keeps the gradebook, and nothing is graded twice."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest

from department import PROGRAMS, Cluster, Postgres, kill, until
from insidegpt.grading.grades import Row, write_for
from insidegpt.grading.intake import Course, submissions
from insidegpt.grading.record import Recorder
from insidegpt.grading.work import execute, pack
from small_course import EXERCISES, make_course
from test_batch import INSIDEGPT, environment, grade, graded_at, hand_in, refused, table

EXTRA = all(map(find_spec, ("distributed", "psycopg")))
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),  # about how nbgrader adds rows
    pytest.mark.skipif(sys.platform != "linux", reason="there is a sandbox on Linux alone"),
    pytest.mark.skipif(
        not (PROGRAMS and EXTRA) and not os.environ.get("CI"),
        reason="needs PostgreSQL (Debian: postgresql) and `.venv/bin/pip install -e '.[cluster]'`",
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
        settings.write("c.ExecuteSubmission.timeout = 30\n")  # a busy machine must not cost points
    (root / "steps.py").write_text(STEPS)
    release = [sys.executable, "-m", "insidegpt.grading.release"]
    subprocess.run(release, cwd=root, check=True, env=environment(root), capture_output=True)
    return root


def use_database(root: Path, address: str) -> None:
    """Have the course use this one; the last such setting counts."""
    with (root / "nbgrader_config.py").open("a") as settings:
        settings.write(f"\nc.CourseDirectory.db_url = {address!r}\n")


@pytest.fixture
def course(released, postgres, tmp_path, request, monkeypatch) -> Path:
    """A course of its own, with a gradebook of its own."""
    import psycopg

    root, name = shutil.copytree(released, tmp_path / "course"), request.node.name[-60:]
    with psycopg.connect(postgres.address("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE released')
    use_database(root, postgres.address(name))
    monkeypatch.syspath_prepend(root)
    monkeypatch.delitem(sys.modules, "steps", raising=False)
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


def hand_in_slow(course: Path, number: int) -> list[str]:
    """Hand in so many submissions during which something else can happen; their students."""
    students = [f"student-{n}" for n in range(number)]
    for student in students:
        hand_in(course, student, {"times_2": SLOW})
    return students


def test_a_worker_killed_in_the_middle_costs_nothing_and_one_that_joins_helps(course, cluster):
    students = hand_in_slow(course, 5)
    with begin(course, cluster) as run:
        until(lambda: graded_at(course))
        kill(cluster.workers[0])
        cluster.add()
        ended(run)
    expect_all_graded_once(course, students)


def test_killed_itself_the_run_leaves_the_cluster_usable_and_the_next_one_goes_on(course, cluster):
    students = hand_in_slow(course, 4)
    with begin(course, cluster) as run:
        until(lambda: graded_at(course))
        run.send_signal(signal.SIGKILL)
    done = graded_at(course)
    with begin(course, cluster) as run:
        assert f"{len(students) - len(done)} to grade, {len(done)} graded before" in ended(run)
    assert {s: at for s, at in graded_at(course).items() if s in done} == done
    assert scores(course) == dict.fromkeys(students, 38)


def test_a_scheduler_that_starts_again_with_new_workers_is_found_again(course, cluster):
    students = hand_in_slow(course, 4)
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
    mount = f'mount -t tmpfs -o size=1m none {disk} && exec "$0" "$@"'
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
    mount = f'mount -t tmpfs none {course} && exec "$0" "$@"'
    try:
        alone.add(wrapped=("nice", "-n", "5", *MOUNT, mount))  # no root, and polite to others
        assert "share that folder, or grade with --stage" in told_of(alone, course)
        with begin(course, alone, "--stage") as run:
            ended(run)
        assert scores(course) == {"ada": 38, "bo": 36}
    finally:
        alone.stop()


def told_of(machines: Cluster, root: Path | None) -> str:
    """What is told of the only worker, which cannot grade."""
    from insidegpt.grading import cluster

    told = []
    with cluster.Cluster(machines.address, root, told.append) as executor:
        until(lambda: executor.slots == 0 and told)
    return " ".join(told)


def test_without_the_extra_packages_one_sentence_says_what_to_install(course, monkeypatch):
    hand_in(course, "ada")
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "insidegpt.grading.cluster", raising=False)
    assert "pip install -e '.[cluster]'" in refused(course, monkeypatch, "--dask", "tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "The gradebook needs the package psycopg" in refused(course, monkeypatch)


def test_on_one_machine_nothing_of_it_is_imported():
    code = "import sys, insidegpt.grading.batch; print({'distributed', 'dask', 'psycopg'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_options_that_do_not_go_together_are_refused(course, monkeypatch):
    hand_in(course, "ada")
    assert "--stage goes with --dask" in refused(course, monkeypatch, "--stage")
    assert "--workers is for this machine" in refused(course, monkeypatch, "--dask", "tcp://h:1", "--workers", "2")
    assert "No Dask scheduler answers at nowhere:1" in refused(course, monkeypatch, "--dask", "nowhere:1")
    assert "Grades can be written for moodle or canvas" in refused(course, monkeypatch, "--for", "paper")


def hand_in_some(root: Path) -> None:
    """Submissions of which each has other points: 38, 36, 34, 32."""
    for n in range(4):
        hand_in(root, f"student-{n}", {name: f"def {name}(x):\n    return 0" for name in EXERCISES[:n]})


@pytest.fixture(scope="module")
def ran(released, tmp_path_factory) -> dict[str, str]:
    """Their notebooks after they have run, by student."""
    root = shutil.copytree(released, tmp_path_factory.mktemp("ran") / "course")
    hand_in_some(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        opened = Course.at(root)
        found = submissions(opened)
        work = pack(opened, found, stage=False)
        return {submission.student: execute(work(submission)).notebook for submission in found}


def record_all(root: Path, notebooks: dict[str, str], log: Path) -> None:
    """Record these for the submissions of the course, each twice."""
    opened = Course.at(root)
    with log.open("w") as words, Recorder(opened, words) as books:
        for submission in submissions(opened) * 2:
            books.record(submission, notebooks[submission.student])


def test_programs_that_write_at_the_same_time_lose_nothing_and_double_nothing(course, ran, tmp_path):
    """Two of them record the same students, and a teacher gives points by hand."""
    hand_in_some(course)
    second = shutil.copytree(course, tmp_path / "second")
    writers = [
        get_context("fork").Process(target=record_all, args=(root, ran, tmp_path / f"{root.name}.log"))
        for root in (course, second)
    ]
    for writer in writers:
        writer.start()
    by_hand = {}
    while any(writer.is_alive() for writer in writers):
        with Course.at(course).gradebook() as gradebook:
            for submission in gradebook.assignment_submissions("small"):
                if submission.student_id not in by_hand:
                    by_hand[submission.student_id] = 0.5
                    gradebook.find_grade("test-times_2", "small", "small", submission.student_id).manual_score = 0.5
                    gradebook.db.commit()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert scores(course) == {"student-0": 36.5, "student-1": 36.5, "student-2": 34.5, "student-3": 32.5}


def test_a_connection_lost_in_the_middle_is_made_again_and_all_is_recorded_once(course, ran, tmp_path):
    hand_in_some(course)
    (course / "cut").touch()
    opened, log = Course.at(course), (tmp_path / "log").open("w+")
    with log, Recorder(opened, log) as books:
        for submission in submissions(opened):
            books.record(submission, ran[submission.student])
        log.seek(0)
        assert log.read().count("the gradebook refused, again in 1 s") == 1
    assert not (course / "cut").exists()
    assert saved(course) == sorted(ran)
    assert scores(course) == {"student-0": 38, "student-1": 36, "student-2": 34, "student-3": 32}


def test_a_server_that_stays_away_is_reported_and_the_next_run_goes_on(course, postgres, monkeypatch):
    for student in ("ada", "bo", "cy"):
        hand_in(course, student, {"times_2": SLOW})
    command = "from insidegpt.grading import record; record.WAITS = (0.1,); from insidegpt.cli import app; app()"
    run = subprocess.Popen(
        [sys.executable, "-c", command, "grade"],
        cwd=course,
        env=environment(course),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with run:
        until(lambda: graded_at(course))
        postgres.stop()
        _, errors = run.communicate(timeout=300)
    done = graded_at(course)
    assert run.returncode == 2 and errors.count("\n") == 1 and "does not answer" in errors
    assert "does not answer" in refused(course, monkeypatch)
    postgres.start()
    assert f"{3 - len(done)} to grade, {len(done)} graded before" in grade(course).stdout
    assert {s: at for s, at in graded_at(course).items() if s in done} == done
    assert scores(course) == dict.fromkeys(("ada", "bo", "cy"), 38)


def test_moodle_and_canvas_get_a_row_for_each_student_and_a_column_for_each_chapter(tmp_path):
    grades = [
        Row("ada", "attention", points=15.5, maximum=18),
        Row("丁 一", "attention", points=18, maximum=18),
        Row("ada", "masking", points=0.0, maximum=12),
        Row("bo", "masking", reason="there is no notebook · 没有笔记本"),
    ]
    for system in ("moodle", "canvas"):
        write_for(system, grades, tmp_path / system)
    assert (tmp_path / "moodle").read_text(encoding="utf-8").splitlines() == [
        "student,attention,masking",
        "ada,15.5,0.0",
        "丁 一,18,",
    ]
    assert (tmp_path / "canvas").read_text(encoding="utf-8").splitlines() == [
        "Student,ID,SIS Login ID,Section,attention,masking",
        "Points Possible,,,,18,12",
        "ada,,ada,,15.5,0.0",
        "丁 一,,丁 一,,18,",
    ]
