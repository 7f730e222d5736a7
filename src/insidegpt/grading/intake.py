"""What has been handed in: where it lies, whether it can be graded, whether that was done before."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import find_all_files, is_ignored, parse_utc
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError
from traitlets.config import Config, PyFileConfigLoader

from insidegpt.errors import UserError
from insidegpt.repository import MARK

LARGEST_NOTEBOOK = 20 * 2**20
"""Bytes. A notebook with all its plots has a hundredth of that; one with more has printed without end."""


@dataclass(frozen=True)
class Submission:
    """What one student handed in for one chapter.

    fingerprint: stands for everything that the grade depends on. trouble: why it cannot be graded, in both
    languages, or ''. current: whether exactly this has been graded already.
    """

    student: str
    chapter: str
    folder: Path
    fingerprint: str = ""
    trouble: str = ""
    current: bool = False


@dataclass(frozen=True)
class Course:
    """A course folder with its settings."""

    root: Path
    config: Config = field(repr=False)

    @classmethod
    def at(cls, root: Path) -> Course:
        """The course in this folder. Raises UserError when no chapter has been released there."""
        config = PyFileConfigLoader(MARK, path=str(root)).load_config()
        config.CourseDirectory.root = str(root)
        url = make_url(CourseDirectory(config=config).db_url)
        if url.drivername.startswith("sqlite"):
            if not Path(url.database).exists():
                raise UserError(
                    f"There is no gradebook {url.database}: run `make exercises` first.",
                    f"找不到成绩册 {url.database}：请先运行 `make exercises`。",
                )
            url = url.update_query_dict({"timeout": "60"})  # seconds to wait while another program writes
        config.CourseDirectory.db_url = url.render_as_string(hide_password=False)
        expect_gradebook(config.CourseDirectory.db_url)
        course = cls(root, config)
        if not course.chapters:
            raise UserError(
                "Nothing has been released into the gradebook: run `make exercises` first.",
                "成绩册里还没有发布过任何一章：请先运行 `make exercises`。",
            )
        return course

    @cached_property
    def places(self) -> CourseDirectory:
        """nbgrader's names for the course's folders."""
        return CourseDirectory(config=self.config)

    @cached_property
    def chapters(self) -> list[str]:
        """The chapters that have been released into the gradebook."""
        with self.gradebook() as gradebook:
            return sorted(assignment.name for assignment in gradebook.assignments)

    def gradebook(self) -> Gradebook:
        """The gradebook, open: a context manager."""
        return Gradebook(self.places.db_url, self.places.course_id)

    def folder(self, step: str, student: str, chapter: str) -> Path:
        """Where a submission lies at a step, which is the value of `places.submitted_directory` or the like."""
        return Path(self.places.format_path(step, student, chapter))


def expect_gradebook(db_url: str) -> None:
    """Raise UserError when the database of this address does not answer, or what speaks to it is not installed."""
    try:
        engine = create_engine(db_url)
    except ModuleNotFoundError as error:
        raise UserError(
            f"The gradebook needs the package {error.name}: .venv/bin/pip install -e '.[cluster]'.",
            f"成绩册需要软件包 {error.name}：.venv/bin/pip install -e '.[cluster]'。",
        ) from error
    try:
        engine.connect().close()
    except DBAPIError as error:
        place = engine.url.render_as_string(hide_password=True)
        why = str(error.orig).strip().splitlines()[0]
        raise UserError(
            f"The gradebook {place} does not answer ({why}): see that it runs, then run this again.",
            f"成绩册 {place} 没有回应（{why}）：请确认它在运行，然后重新运行。",
        ) from error
    finally:
        engine.dispose()


def submissions(course: Course) -> list[Submission]:
    """Everything in `submitted/`, sorted, also what lies in a wrong place. Raises UserError when there is nothing."""
    submitted = course.root / course.places.submitted_directory
    trusted = {chapter: _trusted(course, chapter) for chapter in course.chapters}
    found = []
    for path in sorted([*submitted.glob("*"), *submitted.glob("*/*")]):
        in_student = path.parent != submitted
        if is_ignored(str(path), course.places.ignore):
            continue
        if in_student and path.name in trusted:
            found.append(_examined(course, path, *trusted[path.name]))
        elif path.with_suffix("").name in trusted and in_student and path.with_suffix("").exists():
            continue  # a copy beside the folder that is looked for
        elif path.suffix == ".ipynb" or (in_student and path.is_dir()):
            found.append(_misplaced(path, submitted))
    if not found:
        raise UserError(
            f"There are no submissions in {submitted}: put them there as STUDENT/CHAPTER/CHAPTER.ipynb.",
            f"{submitted} 里没有提交：请按“学生/章/章.ipynb”的结构放入。",
        )
    return found


def _misplaced(path: Path, submitted: Path) -> Submission:
    """A notebook or folder where none is expected, which would otherwise be overlooked."""
    student = path.stem if path.parent == submitted else path.parent.name
    kind = ("not a chapter", "不是章名") if path.is_dir() else ("in the wrong place", "位置不对")
    return Submission(
        student,
        "" if path.parent == submitted else path.stem,
        path,
        trouble=f"{path.name} is {kind[0]}: STUDENT/CHAPTER/CHAPTER.ipynb is expected · "
        f"{path.name} {kind[1]}：应为“学生/章/章.ipynb”",
    )


def _trusted(course: Course, chapter: str) -> tuple[bytes, dict[str, str]]:
    """What all grades of a chapter depend on, as a digest; and each graded student's extension of the due date."""
    with course.gradebook() as gradebook:
        assignment = gradebook.find_assignment(chapter)
        digest = sha256(str(assignment.duedate).encode())
        for notebook in assignment.notebooks:
            points = {cell.name: cell.max_score for cell in notebook.grade_cells}
            for cell in sorted(notebook.source_cells, key=lambda cell: cell.name):
                digest.update(repr((cell.name, cell.cell_type, cell.source, points.get(cell.name))).encode())
        extensions = {s.student_id: str(s.extension or "") for s in gradebook.assignment_submissions(chapter)}
    for path in [*_hidden(course, chapter), Path(find_spec("insidegpt.checks").origin)]:
        digest.update(path.read_bytes())
    return digest.digest(), extensions


def _hidden(course: Course, chapter: str) -> list[Path]:
    """The modules of hidden tests that this chapter may use: its own and those that are no chapter's."""
    modules = sorted((Path(course.config.ExecuteSubmission.tests) / "hidden").glob("*.py"))
    return [path for path in modules if path.stem == chapter or path.stem not in course.chapters]


def hidden_tests(course: Course, chapter: str) -> dict[str, bytes]:
    """The hidden tests of a chapter, by their path in the folder `ExecuteSubmission.tests`."""
    return {f"hidden/{path.name}": path.read_bytes() for path in _hidden(course, chapter)}


def contents(course: Course, submission: Submission) -> dict[str, bytes]:
    """What lies in the folder where the notebook runs, by path: the student's files, the course's own over them.

    Raises UserError when the folder can no longer be read, or not without harm.
    """
    folder, source = submission.folder, course.folder(course.places.source_directory, ".", submission.chapter)
    try:
        found = {str(path.relative_to(folder)): path.read_bytes() for path in _files(course, folder)}
    except OSError as error:
        raise _unreadable(error) from error
    for path in find_all_files(str(source), [*course.places.ignore, "*.ipynb"]):
        found[os.path.relpath(path, source)] = Path(path).read_bytes()
    return found


def _examined(course: Course, folder: Path, trusted: bytes, extensions: dict[str, str]) -> Submission:
    """The submission in this folder, with all that can be known without running it."""
    student, chapter = folder.parent.name, folder.name
    digest = sha256(trusted + extensions.get(student, "").encode())
    try:
        _check_name(student)
        for path in _files(course, folder):
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size} ".encode(errors="surrogateescape"))
            digest.update(path.read_bytes())
    except UserError as error:
        return Submission(student, chapter, folder, trouble=str(error))
    except OSError as error:
        return Submission(student, chapter, folder, trouble=str(_unreadable(error)))
    fingerprint = digest.hexdigest()
    current = student in extensions and fingerprint == _mark(course, student, chapter)
    return Submission(student, chapter, folder, fingerprint, current=current)


def _unreadable(error: OSError) -> UserError:
    return UserError(f"cannot be read ({error.strerror})", f"无法读取（{error.strerror}）")


def _check_name(student: str) -> None:
    """Raise UserError for a name that nbgrader, which takes it for a pattern, would not find again."""
    if student != student.strip() or not student.isprintable() or set(student) & set("*?["):
        raise UserError(
            "the student's name has one of * ? [ or a space at an end: rename the folder",
            "学生名里有 * ? [ 之一，或首尾有空格：请重命名文件夹",
        )


def _files(course: Course, folder: Path) -> list[Path]:
    """The files that nbgrader would take, sorted. Raises UserError unless they can be graded without harm."""
    if folder.is_symlink() or not folder.is_dir():
        raise UserError("a folder is expected, with the notebook in it", "应为文件夹，笔记本放在其中")
    files = []
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            kind = path.lstat().st_mode
            if is_ignored(str(path), course.places.ignore):
                folders[:] = [f for f in folders if f != name]
            elif not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a link to the gradebook, a pipe that never ends
                raise UserError(
                    f"{path.relative_to(folder)} is a link or a special file: only ordinary files are taken",
                    f"{path.relative_to(folder)} 是链接或特殊文件：只接受普通文件",
                )
            elif stat.S_ISREG(kind):
                files.append(path)
    _check_notebook(folder, files)
    largest = course.places.max_dir_size * 1000
    size = sum(path.stat().st_size for path in files)
    if size > largest:
        raise UserError(
            f"the files have {size / 1e6:.0f} MB together, at most {largest / 1e6:.0f} are taken",
            f"文件共 {size / 1e6:.0f} MB，最多接受 {largest / 1e6:.0f} MB",
        )
    _check_timestamp(folder / "timestamp.txt")
    return sorted(files)


def _check_notebook(folder: Path, files: list[Path]) -> None:
    """Raise UserError unless the chapter's notebook is among the files and not too large."""
    notebook = folder / f"{folder.name}.ipynb"
    if notebook not in files:
        others = ", ".join(sorted(path.name for path in files if path.suffix == ".ipynb"))
        if notebook.is_dir():
            others = f"{notebook.name}/"
        if others:
            raise UserError(
                f"{notebook.name} is missing, there is only {others}: rename it",
                f"缺少 {notebook.name}，只有 {others}：请改名",
            )
        raise UserError(f"there is no notebook {notebook.name}", f"没有笔记本 {notebook.name}")
    size = notebook.stat().st_size
    if size > LARGEST_NOTEBOOK:
        raise UserError(
            f"the notebook has {size / 2**20:.0f} MB, at most {LARGEST_NOTEBOOK / 2**20:.0f} are taken: "
            "clear its outputs and save it",
            f"笔记本有 {size / 2**20:.0f} MB，最多接受 {LARGEST_NOTEBOOK / 2**20:.0f} MB：请清除输出后保存",
        )


def _check_timestamp(path: Path) -> None:
    """Raise UserError when there is a time of handing in and it cannot be read."""
    if path.exists():
        try:
            parse_utc(path.read_text(encoding="utf-8").strip())
        except ValueError as error:
            raise UserError("timestamp.txt holds no time", "timestamp.txt 里不是时间") from error


def _mark(course: Course, student: str, chapter: str) -> str | None:
    """The fingerprint of what the graded notebook in `autograded/` was made from; None when there is none."""
    path = course.folder(course.places.autograded_directory, student, chapter) / f"{chapter}.ipynb"
    try:
        return json.loads(path.read_bytes())["metadata"]["insidegpt"]["fingerprint"]
    except (OSError, ValueError, KeyError):
        return None


def mark(notebook: Path, fingerprint: str) -> None:
    """Note in a graded notebook what it was made from."""
    content = json.loads(notebook.read_bytes())
    content["metadata"].setdefault("insidegpt", {})["fingerprint"] = fingerprint
    notebook.chmod(0o644)
    notebook.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
