"""Confine the process in which a student's code is going to run. It needs no root, and root gains nothing.

Two processes take part. The supervisor calls `separate` before it forks, and from then on `overuse` now and then and
`end_all` at last; its child calls `confine` before anything else runs in it. `Level` says what they achieved.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path

import insidegpt
from insidegpt.errors import UserError
from insidegpt.grading import linux


class Level(StrEnum):
    """How well a process is confined, from the best to the weakest.

    NAMESPACES: of files only the installed Python, read-only, and a folder of its own in memory; of processes only
        its own; no network. Landlock and a filter of system calls lie on top where the system has them.
        Open: the names, and what is world-readable, of the machine under /usr, /proc and /sys/devices; time.
    LANDLOCK: files and network as above, by refusal. Open besides: whether a path exists, and its size and times;
        permissions and times of files of the same user; local sockets with a path (a Docker socket, say); the list
        of processes, by trying to signal them (before Linux 6.12 the signals arrive); the disk beyond
        `Limits.disk` by files that are deleted and still open. /dev/shm is closed, so no multiprocessing.
    LIMITS: memory, time, processes, and the disk for what lies in its folder. Open: every file of the user, all
        processes of the user and, but on Linux, the network: solutions, hidden tests and gradebook can be read, and
        written. Systems other than Linux have no supervisor: each process has its limits there, their sum has none.
    """

    NAMESPACES = "namespaces"
    LANDLOCK = "landlock"
    LIMITS = "limits"

    @property
    def sentence(self) -> tuple[str, str]:
        """What the level means for a grader, in English and in Chinese."""
        return _SENTENCES[self]


_SENTENCES = {
    Level.NAMESPACES: (
        "Sandbox: the submission ran with files, processes and network of its own.",
        "沙箱：提交的代码在自己的文件、进程和网络里运行。",
    ),
    Level.LANDLOCK: (
        "Sandbox, second level (Landlock): this system refused namespaces; the submission could not read or write "
        "files of yours or open connections, but could see that they exist.",
        "沙箱第二级（Landlock）：系统不允许使用命名空间；提交的代码不能读写你的文件，也不能联网，但看得到文件是否存在。",
    ),
    Level.LIMITS: (
        "No sandbox, limits alone: this system offers neither namespaces nor Landlock; the submission could read and "
        "write all that you can. Do not grade strangers' code here.",
        "没有沙箱，只有资源限制：系统既不支持命名空间，也不支持 Landlock；凡是你能读写的，提交的代码都能读写。"
        "请勿在此批改陌生人的代码。",
    ),
}


@dataclass(frozen=True)
class Limits:
    """What a submission may use. Sizes in bytes, of all its processes together unless it says otherwise."""

    memory: int = 4 << 30
    """On top of what the preloaded modules take. Within one process, more raises MemoryError."""
    cpu: int = 900
    """Seconds of processor time, for each process."""
    tasks: int = 256
    """Processes and their threads."""
    open_files: int = 512
    """For each process."""
    file: int = 256 << 20
    """For each file."""
    disk: int = 512 << 20
    """Home, /tmp and /dev/shm."""
    copied: int = 64 << 20
    """How much of the submission's own folder it finds in its home."""


OVERUSE = {
    "memory": ("it used more memory than allowed", "使用的内存超过了限制"),
    "tasks": ("it started more processes than allowed", "启动的进程超过了限制"),
    "disk": ("it wrote more to disk than allowed", "写入磁盘的数据超过了限制"),
}
"""What `overuse` may find, in English and in Chinese."""


def _python() -> tuple[str, ...]:
    """Where this Python and its packages lie, and of this project the package alone."""
    packages = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    places = [sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), *packages, *insidegpt.__path__, *libraries]
    return tuple(dict.fromkeys(place for place in places if os.path.isdir(place)))


def _devices() -> tuple[str, ...]:
    """The devices that give nothing away, and the GPUs."""
    gpus = [str(device) for device in sorted(Path("/dev").glob("nvidia*"))]
    return ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", *gpus)


@dataclass(frozen=True)
class Confinement:
    """How a submission is to be confined.

    readable: folders and files that it may read, besides the system's programs and libraries. hidden: folders that
    nothing readable may contain. devices: which of /dev it may use. best: the level to start trying from.
    strict: refuse to go on below the first level.
    """

    readable: tuple[str, ...] = field(default_factory=_python)
    hidden: tuple[str, ...] = ()
    devices: tuple[str, ...] = field(default_factory=_devices)
    limits: Limits = Limits()
    best: Level = Level.NAMESPACES
    strict: bool = False


_ETC = ("alternatives", "fonts", "group", "ld.so.cache", "localtime", "nsswitch.conf", "passwd")
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
SYSTEM = (*_PROGRAMS, "/sys/devices", "/sys/bus", *(f"/etc/{name}" for name in _ETC))
OF_PROC = ("self", "cpuinfo", "driver", "filesystems", "meminfo", "stat", "uptime", "version")
"""What Landlock alone leaves of /proc, which shows all processes there."""


@dataclass(frozen=True)
class Folder:
    """The private folder (0700) of one kernel, which is removed with everything in it when the kernel has ended.

    link/ has the connection file and the sockets; home/ is the working directory, tmp/ is for temporary files;
    root/ is where the namespaces' own file system is put together.
    """

    path: str

    @property
    def link(self) -> str:
        return f"{self.path}/link"

    @property
    def home(self) -> str:
        return f"{self.path}/home"

    @property
    def tmp(self) -> str:
        return f"{self.path}/tmp"

    @property
    def root(self) -> str:
        return f"{self.path}/root"

    def make(self) -> None:
        """Make the folders below it."""
        for name in (self.link, self.home, self.tmp, self.root):
            os.makedirs(name, mode=0o700, exist_ok=True)

    def remove(self) -> None:
        """Remove it, even where what ran in it took its own rights away."""
        for top, folders, _ in os.walk(self.path):
            for name in folders:
                if not os.path.islink(f"{top}/{name}"):
                    with suppress(OSError):
                        os.chmod(f"{top}/{name}", 0o700)
        shutil.rmtree(self.path, ignore_errors=True)


# In the child


def separate(confinement: Confinement) -> bool:
    """In the supervisor, before it forks: give its next child namespaces of its own. Returns whether it will have."""
    if confinement.best != Level.NAMESPACES or sys.platform != "linux":
        return False
    user, group = os.geteuid(), os.getegid()
    try:
        linux.unshare(linux.NEW_USER | linux.NEW_PIDS | linux.NEW_NET | linux.NEW_IPC | linux.NEW_UTS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        Path("/proc/sys/user/max_user_namespaces").write_text("0")  # none inside, with rights to mount there
    except OSError:
        return False
    return True


def confine(confinement: Confinement, folder: Folder, separated: bool, cwd: str) -> tuple[Level, int]:
    """Confine this process, and all that it will start, from here on.

    folder: where it may write. separated: what `separate` said. cwd: the submission's own folder, copied to the
    home. The caller has one thread. Returns the level, and how many files of `cwd` were too much to copy.
    Raises UserError when `strict` and the level is not the first, or when what is readable contains what is hidden.
    """
    _check_hidden(confinement)
    level = Level.LIMITS
    if separated:
        with suppress(OSError):
            left_out = _private_root(confinement, folder, cwd)
            level = Level.NAMESPACES
    if level != Level.NAMESPACES:
        left_out = _copy(cwd, folder.home, confinement.limits.copied)
    linux.gain_no_privileges()
    linux.drop_capabilities()
    if confinement.best != Level.LIMITS:
        with suppress(OSError):
            linux.landlock(_allowed(confinement, folder, level))
            level = Level.LANDLOCK if level == Level.LIMITS else level
    with suppress(OSError):
        linux.refuse_calls()
    limit(confinement.limits, tasks=separated)
    require(confinement, level)
    os.chdir(folder.home)
    return level, left_out


def require(confinement: Confinement, level: Level) -> None:
    """Raise UserError when the confinement is strict and this level not the first."""
    if confinement.strict and level != Level.NAMESPACES:
        en, zh = level.sentence
        raise UserError(
            f"Strict grading wants the first level of the sandbox, and this system has less. {en}",
            f"严格批改要求第一级沙箱，而本系统达不到。{zh}",
        )


def limit(limits: Limits, tasks: bool) -> None:
    """Set the limits that the system keeps by itself. tasks: whether it counts the tasks of this sandbox alone."""
    import resource  # not on Windows

    memory = limits.memory
    with suppress(OSError):  # without /proc, that much less
        status = Path("/proc/self/status").read_text()
        memory += int(status.split("VmData:")[1].split()[0]) << 10
    chosen = {"DATA": memory, "CPU": limits.cpu, "FSIZE": limits.file, "NOFILE": limits.open_files, "CORE": 0}
    if tasks:
        chosen["NPROC"] = limits.tasks
    for name, value in chosen.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _check_hidden(confinement: Confinement) -> None:
    for hidden in confinement.hidden:
        for place in (*SYSTEM, *confinement.readable):
            if _holds(place, hidden):
                raise UserError(
                    f"{hidden} must stay hidden from submissions, but lies in {place}, which they can read: move it.",
                    f"{hidden} 不能让提交的代码看到，但它在可读的 {place} 里：请把它移到别处。",
                )


def _holds(folder: str, path: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())


def _private_root(confinement: Confinement, folder: Folder, cwd: str) -> int:
    """Change to a file system in memory that has nothing but what this process may see; how many files were left out.

    Its size caps what can be written; its first process, this one, takes all others with it when it ends.
    """
    linux.unshare(linux.NEW_MOUNTS)
    root, limits = folder.root, confinement.limits
    linux.mount("none", "/", flags=linux.RECURSIVE | linux.PRIVATE)
    linux.mount("none", root, "tmpfs", linux.NOSUID | linux.NODEV, f"size={limits.disk},nr_inodes=50000,mode=755")
    for place in ("/tmp", "/dev/shm", folder.home, folder.tmp):
        os.makedirs(root + place, mode=0o755, exist_ok=True)
        linux.mount(root + place, root + place, flags=linux.BIND)  # stays writable when the root no longer is
    left_out = _copy(cwd, root + folder.home, limits.copied)
    readable = (*SYSTEM, *confinement.readable)
    for place in sorted({*readable, *map(os.path.realpath, readable)}):
        _show(place, root, linux.READ_ONLY | linux.NOSUID | linux.NODEV)
    for device in confinement.devices:
        _show(device, root, linux.NOSUID)
    _show(folder.link, root, linux.NOSUID | linux.NODEV)
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    os.mkdir(f"{root}/proc")
    linux.mount("none", f"{root}/proc", "proc", linux.NOSUID | linux.NODEV | linux.NOEXEC)
    linux.restrict_mount(f"{root}/proc", linux.READ_ONLY)  # user 0 may write to /proc/sys without being root
    linux.restrict_mount(root, linux.READ_ONLY, recursive=False)
    linux.change_root(root)
    return left_out


def _show(path: str, root: str, attributes: int) -> None:
    """Have the file or folder under the same name in `root`, if it exists and is not there yet."""
    target = root + path
    if not os.path.exists(path) or os.path.exists(target):
        return
    if os.path.isdir(path):
        os.makedirs(target, mode=0o755)
    else:
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT, 0o600))
    linux.mount(path, target, flags=linux.BIND | linux.RECURSIVE)
    linux.restrict_mount(target, attributes)


def _allowed(confinement: Confinement, folder: Folder, level: Level) -> Iterator[tuple[str, int]]:
    """Landlock's rules."""
    for place in (*SYSTEM, *confinement.readable):
        yield place, linux.READ
    for entry in sys.path:  # Python lists a folder of modules before it looks into it
        if not any(_holds(entry, hidden) for hidden in confinement.hidden):
            yield entry, linux.READ_DIR
    for device in confinement.devices:
        yield device, linux.DEVICE
    yield folder.link, linux.READ | linux.MAKE_SOCK
    for place in (folder.home, folder.tmp):
        yield place, linux.READ | linux.WRITE
    if level == Level.NAMESPACES:
        yield "/proc", linux.READ
        yield "/tmp", linux.READ | linux.WRITE
        yield "/dev/shm", linux.READ | linux.WRITE
    else:
        for name in OF_PROC:
            yield f"/proc/{name}", linux.READ


def _copy(source: str, target: str, cap: int) -> int:
    """Copy the folder's plain files, the smallest first, up to `cap` bytes; how many were left out.

    The folder may be anybody's: links are not followed, and no more than 2000 files looked at. Notebooks stay
    behind, for the one that is graded may hold the tests.
    """
    files = sorted(islice(_plain_files(source), 2000))
    for done, (size, path) in enumerate(files):
        cap -= size
        if cap < 0:
            return len(files) - done
        copy = target + path.removeprefix(source)
        with suppress(OSError):  # what cannot be read here could not be read by the submission
            os.makedirs(os.path.dirname(copy), mode=0o700, exist_ok=True)
            shutil.copyfile(path, copy, follow_symlinks=False)
    return 0


def _plain_files(folder: str) -> Iterator[tuple[int, str]]:
    """Size and path of each, notebooks excepted."""
    for top, _, names in os.walk(folder):
        for name in names:
            path = f"{top}/{name}"
            with suppress(OSError):
                known = os.lstat(path)
                if stat.S_ISREG(known.st_mode) and not name.endswith(".ipynb"):
                    yield known.st_size, path


# In the supervisor


def descendants(pid: int) -> list[int]:
    """The processes below this one, each before its own children."""
    found = []
    for thread in _listed(f"/proc/{pid}/task"):
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def overuse(limits: Limits, folder: Folder) -> str:
    """What all processes below this one together use too much of, a key of `OVERUSE`, or ''."""
    processes = descendants(os.getpid())
    allowed = limits.memory + (_status(os.getpid())["RssAnon"] << 10)
    tasks = memory = 0
    for pid in processes:
        used = _status(pid)
        tasks += used.get("Threads", 0)
        memory += (used.get("RssAnon", 0) + used.get("RssShmem", 0)) << 10
    if tasks > limits.tasks:
        return "tasks"
    if memory > allowed and sum(map(_own_memory, processes)) > allowed:
        return "memory"
    if _disk(folder.path, limits.disk) > limits.disk:
        return "disk"
    return ""


def _status(pid: int) -> dict[str, int]:
    """The numbers in /proc/PID/status, of a process that runs."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    if fields["State"][0] == "Z":
        return {}
    return {name: int(rest[0]) for name, rest in fields.items() if rest and rest[0].isdecimal()}


def _own_memory(pid: int) -> int:
    """Bytes of memory that the process has, its share of what it shares; exact, and slow to find out."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def _disk(folder: str, enough: int) -> int:
    """Bytes that the folder takes, at least 4096 for each entry; no need to go on when there are `enough`."""
    used = 0
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            used += 4096
            with suppress(OSError):
                used += os.lstat(f"{top}/{name}").st_blocks * 512
        if used > enough:
            break
    return used


def end_all() -> None:
    """Kill every process below this one, and the processes that these start while they are being killed."""
    stopped: set[int] = set()
    while True:
        running = set(descendants(os.getpid()))
        if running <= stopped:
            for pid in running:
                _signal(pid, signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.001)
        for pid in running - stopped:
            _signal(pid, signal.SIGSTOP)  # what stands still starts nothing
        stopped |= running


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
