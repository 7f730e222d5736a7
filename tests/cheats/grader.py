"""A grader in a process of its own, which a submission may end without ending the test.

Run as a program it is the grader: it reads a student's name a line, grades and writes feedback by nbgrader's API, and
answers with a line of JSON on the descriptor that it was given.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys

from cheats.course import CHAPTER, Course

NOT_GRADED = "not graded · 没有批改"
"""nbgrader refused the submission and went on: the teacher has to look, and nobody else is harmed."""


class Grader:
    """Grades one student after another in a course; patience: seconds for one, after which it is given up."""

    def __init__(self, course: Course, patience: float = 120):
        self.course, self.patience, self._process = course, patience, None

    def _start(self) -> None:
        ours, its = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cheats.grader", str(self.course.root), str(its)],
            cwd=self.course.root,
            env=self.course.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[its],
            start_new_session=True,
        )
        os.close(its)
        self._answers = os.fdopen(ours)

    def grade(self, student: str) -> str:
        """Grade a student and write the feedback; '' or what became of the grader, which is then started anew."""
        if self._process is None:
            self._start()
        self._process.stdin.write(f"{student}\n".encode())
        self._process.stdin.flush()
        answered, _, _ = select.select([self._answers], [], [], self.patience)
        line = self._answers.readline() if answered else ""
        priority = os.getpriority(os.PRIO_PROCESS, self._process.pid) if line else 0
        if line and priority <= os.getpriority(os.PRIO_PROCESS, 0):
            return json.loads(line)["trouble"]
        if not answered:
            os.kill(self._process.pid, signal.SIGKILL)
        died = self._process.wait() if not line else 0
        self.close()
        if line:
            return "the grader was slowed down · 批改进程被拖慢"
        if not answered:
            return "the grader did not come back · 批改进程没有返回"
        return f"the grader was ended by signal {-died} · 批改进程被信号 {-died} 结束"

    def close(self) -> None:
        """End the grader."""
        if self._process is not None:
            self._process.stdin.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._answers.close()
            self._process = None


def main(root: str, answers: int) -> None:
    """Grade the students whose names come on stdin."""
    import resource

    from nbgrader.apps import NbGraderAPI
    from traitlets.config import PyFileConfigLoader

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash of the student's leaves no file
    config = PyFileConfigLoader("nbgrader_config.py", path=root).load_config()
    config.CourseDirectory.root = root
    api = NbGraderAPI(config=config)
    with os.fdopen(answers, "w") as out:
        for line in sys.stdin:
            student = line.strip()
            graded = api.autograde(CHAPTER, student, force=True, create=True)
            told = api.generate_feedback(CHAPTER, student, force=True)
            trouble = "" if graded["success"] and told["success"] else NOT_GRADED
            print(json.dumps({"trouble": trouble}), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
