"""The sandbox: what a submission can reach and use at each level, and what is left of it afterwards."""

import logging
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from insidegpt.errors import UserError
from insidegpt.grading.sandbox import Confinement, Level, Limits
from warm_kernels import PRELOAD, Ended, WarmKernel, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is a sandbox on Linux alone")

SMALL = Limits(memory=200 << 20, cpu=20, tasks=60, open_files=100, file=4 << 20, disk=16 << 20, copied=1 << 20)
SEALED = [Level.NAMESPACES, Level.LANDLOCK]
EVERY = list(Level)

TRY = """
def attempt(what):
    try:
        what()
        return "done"
    except (OSError, MemoryError) as error:
        return type(error).__name__
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A folder as grading has them: what must stay hidden, and a submission."""
    root = tmp_path_factory.mktemp("course")
    for name in ("solutions/masking.py", "tests/hidden/masking.py", "gradebook.db", "submitted/bo/answer.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("the expected value is 42")
    mine = root / "submitted" / "ada"
    mine.mkdir()
    (mine / "data.csv").write_text("1,2,3")
    (mine / "masking.ipynb").write_text("{}")
    (mine / "stolen.py").symlink_to(root / "solutions" / "masking.py")
    (mine / "large.bin").write_bytes(bytes(2 << 20))
    return root


def kernel(course, level, limits=SMALL, **traits):
    """A kernel for the submission of ada's, tried from this level on."""
    confinement = Confinement(hidden=(str(course),), limits=limits, best=level)
    return WarmKernel(confinement, cwd=course / "submitted" / "ada", **traits)


def at(level: Level, started: WarmKernel) -> WarmKernel:
    """The kernel, where the machine can have this level."""
    if started.provisioner.level != level:
        pytest.skip(f"this machine refuses the level {level}")
    return started


@pytest.fixture(scope="module", params=SEALED, ids=str)
def sealed(request, course):
    """A confined kernel that tests share; they leave it as it is."""
    with kernel(course, request.param) as started:
        at(request.param, started).run(TRY)
        yield started


def refused(kernel, action: str) -> bool:
    """Whether the action, an expression, fails for want of rights or because there is nothing to act on."""
    return kernel.run(f"print(attempt(lambda: {action}))") in {
        "PermissionError",
        "FileNotFoundError",
        "ProcessLookupError",
        "OSError",
    }


@pytest.mark.parametrize(
    "secret", ["solutions/masking.py", "tests/hidden/masking.py", "gradebook.db", "submitted/bo/answer.py"]
)
def test_the_course_cannot_be_read(sealed, course, secret):
    assert refused(sealed, f"open({str(course / secret)!r}).read()")
    assert refused(sealed, f"__import__('os').listdir({str((course / secret).parent)!r})")


def test_the_home_and_the_passwords_of_the_machine_cannot_be_read(sealed):
    assert refused(sealed, f"__import__('os').listdir({str(Path.home())!r})")
    assert refused(sealed, "open('/etc/shadow').read()")


def test_the_repository_cannot_be_read_beyond_the_package(sealed):
    import insidegpt

    package = Path(insidegpt.__file__).parent
    assert not refused(sealed, f"open({str(package / 'checks.py')!r}).read()")
    assert refused(sealed, f"open({str(package.parents[1] / 'pyproject.toml')!r}).read()")


def test_the_connection_file_of_another_kernel_cannot_be_read(sealed, course):
    with WarmKernel() as other:
        connection = other.folder / "link" / "kernel.json"
        assert connection.exists()
        assert refused(sealed, f"open({str(connection)!r}).read()")


@pytest.mark.parametrize("entry", ["environ", "mem", "maps", "cmdline", "fd", "root"])
def test_the_graders_entries_in_proc_cannot_be_read(sealed, entry):
    path = f"/proc/{os.getpid()}/{entry}"
    action = f"__import__('os').listdir({path!r})" if entry in ("fd", "root") else f"open({path!r}, 'rb').read(1)"
    assert refused(sealed, action)


def test_nothing_can_be_written_but_in_its_own_folder(sealed, course):
    import insidegpt

    places = [course / "gradebook.db", course / "new", insidegpt.__file__, "/usr/new", "/etc/passwd", "/new"]
    for place in [*places, "/proc/sys/kernel/core_pattern", Path.home() / "new"]:
        assert refused(sealed, f"open({str(place)!r}, 'a')"), place
    assert sealed.run("print(attempt(lambda: open('plot.png', 'w').close()))") == "done"
    assert sealed.run("import tempfile; print(attempt(lambda: tempfile.TemporaryFile()))") == "done"


def test_no_connection_can_be_opened(sealed):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert refused(sealed, f"__import__('socket').create_connection({address!r}, timeout=2)")
        assert refused(sealed, "__import__('socket').socket(type=__import__('socket').SOCK_DGRAM)")


def test_the_grader_cannot_be_signalled(sealed):
    for pid in (os.getpid(), sealed.zygote, psutil.Process(sealed.provisioner.pid).ppid()):
        assert refused(sealed, f"__import__('os').kill({pid}, {int(signal.SIGCONT)})")


def test_in_namespaces_no_other_process_is_seen(course):
    with kernel(course, Level.NAMESPACES) as started:
        at(Level.NAMESPACES, started)
        assert started.run("import os; print([p for p in os.listdir('/proc') if p.isdecimal()])") == "['1']"


@pytest.mark.parametrize("level", EVERY)
def test_being_root_gives_nothing(course, level):
    with kernel(course, level) as started:
        at(level, started)
        status = started.run("print(open('/proc/self/status').read())")
        held = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if ":" in line and line.split()[1:]}
        assert int(held["CapEff"], 16) == int(held["CapPrm"], 16) == int(held["CapInh"], 16) == 0
        assert held["NoNewPrivs"] == "1"


@pytest.mark.parametrize("level", EVERY)
def test_memory_that_no_limit_counts_cannot_be_had(course, level):
    calls = "import ctypes; libc = ctypes.CDLL(None)"
    with kernel(course, level) as started:
        at(level, started).run(calls)
        assert started.run("print(libc.memfd_create(b'x', 0), libc.shmget(0, 4096, 0o1600))") == "-1 -1"


@pytest.mark.parametrize("level", EVERY)
def test_too_much_memory_in_one_process_is_a_memory_error(course, level):
    with kernel(course, level) as started:
        assert at(level, started).run("import numpy; numpy.ones(300 << 17)").endswith("MemoryError")
        assert started.run("print('alive')") == "alive"


@pytest.mark.parametrize("level", EVERY)
def test_too_much_memory_past_that_limit_ends_the_kernel(course, level):
    with kernel(course, level) as started:
        at(level, started)
        with pytest.raises(Ended):
            started.run("import mmap, time; m = mmap.mmap(-1, 400 << 20); m.write(bytes(399 << 20)); time.sleep(60)")
            started.run("many = [mmap.mmap(-1, 30 << 20) for _ in range(12)]")
            started.run("for m in many: m.write(bytes(30 << 20))")
            started.run("time.sleep(60)")
        assert "memory" in started.provisioner.overuse[0]


@pytest.mark.parametrize("level", EVERY)
def test_a_fork_bomb_ends_and_nothing_of_it_is_left(course, level):
    bomb = """
import os, time
for generation in range(9):  # 512 processes, were nobody to stop it
    try:
        os.fork()
    except OSError:
        pass
time.sleep(60)
"""
    with kernel(course, level) as started:
        at(level, started)
        others = set(psutil.Process(started.zygote).children(recursive=True))
        others -= {supervisor := psutil.Process(started.provisioner.pid).parent(), *supervisor.children()}
        with pytest.raises((Ended, TimeoutError)):  # a user other than root is refused forks, and lives on
            started.run(bomb, wait=20)
    assert wait_until(lambda: not supervisor.is_running())
    assert set(psutil.Process(started.zygote).children(recursive=True)) <= others


@pytest.mark.parametrize("level", EVERY)
def test_a_daemonised_child_is_gone_after_shutdown(course, level):
    daemon = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
"""
    with kernel(course, level) as started:
        at(level, started).run(daemon)
        supervisor = psutil.Process(started.provisioner.pid).parent()
        below = supervisor.children(recursive=True)
        assert len(below) == 2
    assert not [process for process in below if process.is_running()]


@pytest.mark.parametrize("level", EVERY)
def test_a_file_cannot_grow_without_end_nor_can_many_be_open(course, level):
    with kernel(course, level) as started:
        at(level, started).run(TRY)
        assert started.run("print(attempt(lambda: open('f', 'wb').write(bytes(8 << 20))))") == "OSError"
        assert started.run("print(attempt(lambda: [open('/dev/null') for _ in range(200)]))") == "OSError"


def test_in_namespaces_a_full_disk_is_an_error(course):
    fill = "for i in range(8): open(str(i), 'wb').write(bytes(3 << 20))"
    with kernel(course, Level.NAMESPACES) as started:
        assert at(Level.NAMESPACES, started).run(fill) == "OSError"
        assert started.run("open('/dev/shm/x', 'wb').write(bytes(3 << 20))") == "OSError"


def test_below_that_a_full_disk_ends_the_kernel(course):
    fill = "import time\nfor i in range(8): open(str(i), 'wb').write(bytes(3 << 20))\ntime.sleep(60)"
    with kernel(course, Level.LANDLOCK) as started:
        at(Level.LANDLOCK, started)
        with pytest.raises(Ended):
            started.run(fill)
        assert "disk" in started.provisioner.overuse[0]


@pytest.mark.parametrize("level", EVERY)
def test_the_submission_finds_its_own_files_and_nothing_follows_it_out(course, level, caplog):
    ada = course / "submitted" / "ada"
    before = sorted(ada.iterdir())
    with caplog.at_level(logging.WARNING), kernel(course, level) as started:
        at(level, started)
        assert started.run("import os; print(sorted(os.listdir()))") == "['data.csv']"
        assert started.run("print(open('data.csv').read())") == "1,2,3"
        started.run("open('data.csv', 'w').write('9')")
        folder = started.folder
    assert "1 of the largest files" in caplog.text
    assert (ada / "data.csv").read_text() == "1,2,3"
    assert sorted(ada.iterdir()) == before
    assert not folder.exists()


def test_a_folder_that_shuts_itself_is_removed_too(course):
    with kernel(course, Level.LANDLOCK) as started:
        at(Level.LANDLOCK, started).run("import os; os.makedirs('a/b'); os.chmod('a/b', 0); os.chmod('a', 0)")
        folder = started.folder
    assert not folder.exists()


def test_namespaces_hold_where_there_is_no_landlock(course, monkeypatch):
    import insidegpt

    tests = Path(__file__).parent
    path = [str(Path(insidegpt.__file__).parents[1]), str(tests), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    with kernel(course, Level.NAMESPACES, preload=[*PRELOAD, "without_landlock"]) as started:
        at(Level.NAMESPACES, started).run(TRY)
        assert refused(started, f"open({str(course / 'gradebook.db')!r})")
        assert refused(started, "open('/proc/sys/kernel/core_pattern', 'w')")
        assert refused(started, "open('/usr/new', 'w')")
        nested = "__import__('subprocess').run(['unshare', '-Ur', 'true'], check=True)"
        assert started.run(f"print({nested})").endswith("CalledProcessError")


@pytest.mark.parametrize("module", ["ipykernel_launcher", "ipykernel"], ids=["warm", "cold"])
def test_strict_refuses_less_than_the_first_level(course, module):
    confinement = Confinement(strict=True, best=Level.LANDLOCK, limits=SMALL)
    kernel = WarmKernel(confinement, argv=[sys.executable, "-m", module, "-f", "{connection_file}"])
    with pytest.raises(UserError, match=r"first level of the sandbox.*第一级沙箱"), kernel:
        pass
    assert not kernel.folder.exists()


def test_a_course_inside_a_readable_folder_is_refused(course):
    confinement = Confinement(readable=(str(course.parent),), hidden=(str(course),), limits=SMALL)
    with pytest.raises(UserError, match=r"must stay hidden.*不能让提交的代码看到"), WarmKernel(confinement):
        pass


def test_each_level_says_what_it_means_in_both_languages():
    assert all(en.isascii() and "沙箱" in zh for en, zh in (level.sentence for level in Level))
