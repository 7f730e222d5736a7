"""A course to cheat in: the real chapter with its real hidden tests, one honest classmate, and traps all around.

`Course.harm` looks for everything a submission may do besides earning points, whatever it set out to do.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import shutil
import signal
import socket
import threading
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from insidegpt.outcome import NOT_WRITTEN, REPORT
from small_course import ROOT, cell

CHAPTER = "attention"
CLASSMATE = "classmate"
STOCK = """import os, sys
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
c = get_config()
c.CourseDirectory.course_id = "stock"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\\nraise NotImplementedError"}
"""
"""nbgrader's own way of grading: the settings without which it would not find the folders, and nothing else."""

BOASTS = {
    "attach to the grader": "能附加到批改进程",
    "change the submission": "能改动已提交的作业",
    "open a file of the grader": "能打开批改进程的文件",
    "open the solutions": "能打开参考解答",
    "read the key of another kernel": "能读到其他内核的密钥",
    "read the memory of another process": "能读到其他进程的内存",
    "read the source of a hidden test": "能读到隐藏测试的源码",
    "reserve 64 GiB of memory": "能预留 64 GiB 内存",
    "write into site-packages": "能写入 site-packages",
    "write into the grader": "能写入批改程序",
}
"""What a submission says that it could do, by printing its token and these words, and the same in Chinese."""

SECRETS = {
    "environment": "环境变量",
    "home": "主目录",
    "solution": "参考解答",
    "hidden": "隐藏测试",
    "classmate": "同学的作业",
}

LARGE = 20 * 2**20
"""Bytes of a submission's folder after grading that nobody needs."""


class Course:
    """A course folder with a home folder and an empty folder beside it; `secrets` are words no student may see.

    engine: "stock" for nbgrader's own settings, "course" for this project's; timeout: seconds a cell may take.
    The folder should not lie in /tmp, which a sandbox may hide as a whole: the course must be hidden by itself.
    """

    def __init__(self, folder: Path, engine: str, timeout: int = 10):
        self.engine, self.root = engine, folder / "course"
        self.home, self.outside = folder / "home", folder / "outside"
        self.secrets = {word: f"secret-{word}-{os.urandom(6).hex()}" for word in SECRETS}
        for path in (self.root, self.home, self.outside):
            path.mkdir(parents=True)
        (self.home / "diary.txt").write_text(self.secrets["home"])
        for name in ("solutions", "tests/hidden"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        self._plant_secrets()
        settings = STOCK if engine == "stock" else (ROOT / "nbgrader_config.py").read_text(encoding="utf-8")
        limits = f"\nc.Execute.timeout = c.ExecuteSubmission.timeout = {timeout}\n"
        (self.root / "nbgrader_config.py").write_text(settings + limits, encoding="utf-8")

        from insidegpt.grading.release import release

        release(self.root)
        given_out = "\n".join(c.source for c in self.released().cells)
        hidden = (ROOT / "tests" / "hidden" / f"{CHAPTER}.py").read_text(encoding="utf-8").splitlines()
        long = {line.strip() for line in hidden if len(line.strip()) > 40}
        self._hidden_lines = [line for line in long if line not in given_out]
        self.heard = b""
        self._listen()

    def _plant_secrets(self) -> None:
        hidden = self.root / "tests" / "hidden" / f"{CHAPTER}.py"
        hidden.write_text(hidden.read_text(encoding="utf-8") + f"\n# {self.secrets['hidden']}\n", encoding="utf-8")
        source = self.root / "solutions" / CHAPTER / f"{CHAPTER}.ipynb"
        for word, path in (("classmate", self.folder_of(CLASSMATE)), ("solution", source.parent)):
            notebook = nbformat.read(source, as_version=4)
            answer = cell(notebook, "self_attention")
            mark = "    ### BEGIN SOLUTION"
            answer.source = answer.source.replace(mark, f"{mark}\n    # {self.secrets[word]}")
            path.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, path / source.name)

    def folder_of(self, student: str) -> Path:
        """Where the student's submission lies."""
        return self.root / "submitted" / student / CHAPTER

    def released(self) -> NotebookNode:
        """A fresh copy of the notebook that students get."""
        return nbformat.read(self.root / "exercises" / CHAPTER / f"{CHAPTER}.ipynb", as_version=4)

    def _listen(self) -> None:
        """Hear what is sent to `port` on this machine, and to the abstract socket of that name."""
        tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        self.port = tcp.getsockname()[1]
        unix.bind(f"\0{self.port}")
        unix.listen()

        def hear(server: socket.socket) -> None:
            while True:
                with server.accept()[0] as connection, contextlib.suppress(OSError):
                    connection.settimeout(2)
                    self.heard += connection.recv(4096)

        for server in (tcp, unix):
            threading.Thread(target=hear, args=(server,), daemon=True).start()

    def environment(self) -> dict[str, str]:
        """The grader's environment. Stock nbgrader finds the hidden tests by it, as it has no other way."""
        path = [str(ROOT / "src"), str(ROOT / "tests")]
        if self.engine == "stock":
            path.insert(0, str(self.root / "tests"))
        kept = {k: os.environ[k] for k in ("PATH", "LANG", "OMP_NUM_THREADS", "HF_HUB_OFFLINE") if k in os.environ}
        own = {"HOME": str(self.home), "PYTHONPATH": os.pathsep.join(path), "GRADERS_KEY": self.secrets["environment"]}
        return kept | own

    def points(self, student: str) -> float:
        """What the gradebook says that the student has; 0 when it does not know the submission."""
        from nbgrader.api import Gradebook, MissingEntry

        with Gradebook(f"sqlite:///{self.root}/gradebook.db") as gradebook:
            try:
                return gradebook.find_submission_notebook(CHAPTER, CHAPTER, student).score
            except MissingEntry:
                return 0.0

    def said(self, student: str) -> str:
        """What the graded notebook says of the attempt, in English: an error, else why a property failed, else ''."""
        path = self.root / "autograded" / student / CHAPTER / f"{CHAPTER}.ipynb"
        outputs = []
        if path.exists():
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            outputs = [o for c in cells for o in c.get("outputs", [])]
        reports = [o["data"][REPORT] for o in outputs if REPORT in o.get("data", {})]
        reasons = [o["evalue"] if o["ename"] == "NoPoints" else o["ename"] for o in outputs if "ename" in o]
        reasons += [p["message"] for report in reports for p in report["properties"] if p["message"]]
        blank = (NOT_WRITTEN, "NotImplementedError")
        reason = next((r for r in reasons if r not in blank), reasons[0] if reasons else "")
        return re.sub(r"\s+", " ", reason.split(" · ")[0])[:80]

    def photograph(self) -> None:
        """Remember how everything is before a submission is graded."""
        self._gradebook = (self.root / "gradebook.db").read_bytes()
        self._files, self._classmates_points = self._trusted_files(), self.points(CLASSMATE)

    def _trusted_files(self) -> dict[Path, bytes]:
        """What grading a student leaves as it is, with contents."""
        parts = [self.root / name for name in ("solutions", "tests", "exercises")]
        parts += [self.root / stage / CLASSMATE for stage in ("submitted", "autograded", "feedback")]
        files = [p for part in parts for p in part.rglob("*") if p.is_file() and p.suffix != ".pyc"]
        return {p: p.read_bytes() for p in [*files, self.root / "nbgrader_config.py"]}

    def harm(self, student: str, token: str) -> list[str]:
        """What the submission did besides earning points, in both languages; everything is then put back as it was."""
        done = [*self._changed(), *self._written(token), *self._left_running(token), *self._seen(student, token)]
        if token.encode() in self.heard:
            done.append("sent word over the network · 通过网络发出了消息")
        size = sum(p.stat().st_size for p in (self.root / "autograded" / student).rglob("*") if p.is_file())
        if size > LARGE:
            done.append(f"left {size / 2**20:.0f} MiB in the course · 在课程里留下 {size / 2**20:.0f} MiB")
        shutil.rmtree(self.root / "autograded" / student, ignore_errors=True)
        shutil.rmtree(self.root / "feedback" / student, ignore_errors=True)
        return done

    def _changed(self) -> list[str]:
        now, done = self._trusted_files(), []
        for path in {*now, *self._files}:
            if now.get(path) != self._files.get(path):
                part = path.relative_to(self.root).parts[0]
                done.append(f"changed {part} · 改动了 {part}")
                path.unlink() if path not in self._files else path.write_bytes(self._files[path])
        try:
            same = self.points(CLASSMATE) == self._classmates_points
        except Exception:  # whatever a gradebook that is none makes SQLAlchemy raise
            same = False
        if not same:
            done.append("changed a classmate's points · 改动了同学的分数")
            (self.root / "gradebook.db").write_bytes(self._gradebook)
        return done

    def _written(self, token: str) -> list[str]:
        """Files with the token in their name, or code with it inside, where a submission has nothing to write."""
        done = []
        found = {(place, place): [*Path(place).glob(f"*{token}*")] for place in ("/tmp", "/dev/shm")}
        found["the grader's home", "批改者的主目录"] = [
            p
            for p in self.home.rglob("*")
            if p.is_file() and (token in p.name or (p.suffix in (".py", ".pth") and token in p.read_text()))
        ]
        found["a folder outside", "外面的文件夹"] = [*self.outside.iterdir()]
        for (en, zh), paths in found.items():
            if paths:
                done.append(f"wrote into {en} · 写入了 {zh}")
            for path in paths:
                path.unlink(missing_ok=True)
        key = shared_memory_key(token)
        for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
            if int(line.split()[0]) == key:
                import ctypes

                ctypes.CDLL(None).shmctl(int(line.split()[1]), 0, None)  # 0: IPC_RMID
                done.append("left shared memory behind · 留下了共享内存")
        return done

    def _left_running(self, token: str) -> list[str]:
        """Processes that carry the token on their command line, which only a submission's own do; they are ended."""
        alive = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if token in _command_line(pid)]
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return (
            [f"left {len(alive)} process{'es' * (len(alive) > 1)} running · 留下 {len(alive)} 个进程"] if alive else []
        )

    def _seen(self, student: str, token: str) -> list[str]:
        """What the student learns from the feedback page, and what it says that the code could do."""
        pages = [p.read_text(encoding="utf-8") for p in (self.root / "feedback" / student).rglob("*.html")]
        scripts = any(f"<script>{token}" in page for page in pages)
        done = ["put a script into the feedback page · 把脚本放进了反馈页"] if scripts else []
        text = "\n".join(html.unescape(re.sub(r"<[^>]*>", "", page)) for page in pages)
        done += [f"showed a secret: {w} · 泄露了{SECRETS[w]}" for w, secret in self.secrets.items() if secret in text]
        if any(line in text for line in self._hidden_lines):
            done.append("showed lines of the hidden tests · 泄露了隐藏测试的代码")
        return done + [f"could {en} · {zh}" for en, zh in BOASTS.items() if f"{token} could {en}" in text]


def shared_memory_key(token: str) -> int:
    """The key of the System V segment that a submission with this token makes."""
    return int(token[-6:], 16)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
