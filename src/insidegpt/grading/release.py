"""Make `exercises/` from `solutions/`: `python -m insidegpt.grading.release`, in the repository.

What `nbgrader generate_assignment` does for one chapter, for all of them: no solutions, no hidden tests, no
outputs; the gradebook that `nbgrader autograde` needs is made or brought up to date with it.
"""

import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log
from traitlets.config import PyFileConfigLoader

from insidegpt.errors import UserError
from insidegpt.grading.submission import grade_id, is_solution, read_notebook
from insidegpt.repository import MARK, repository_root

STUB = "raise NotImplementedError"
"""The line of `ClearSolutions.code_stub` that an answer replaces."""


def release(root: Path) -> list[str]:
    """Write every chapter's exercises and return the chapters' names.

    The same source gives the same bytes. Raises UserError when a chapter cannot be released, or when its
    earlier release holds somebody's answers; the earlier release then stays.
    """
    config = PyFileConfigLoader(MARK, path=str(root)).load_config()
    config.CourseDirectory.root = str(root)
    chapters = sorted({path.parent.name for path in root.glob("solutions/*/*.ipynb")})
    with TemporaryDirectory() as fresh:  # nbgrader removes what it fails to make anew
        config.CourseDirectory.release_directory = fresh
        for chapter in chapters:
            course = CourseDirectory(config=config, assignment_id=chapter)
            done = capture_log(GenerateAssignment(coursedir=course, config=config, force=True))
            if not done["success"]:
                why = reason(done.get("log", "") + done["error"])
                raise UserError(
                    f"solutions/{chapter} cannot be released: {why}.", f"solutions/{chapter} 无法发布：{why}。"
                )
            _refuse_to_lose_answers(root / "exercises" / chapter, Path(fresh) / chapter)
            shutil.rmtree(root / "exercises" / chapter, ignore_errors=True)
            shutil.copytree(Path(fresh) / chapter, root / "exercises" / chapter)
    return chapters


def _refuse_to_lose_answers(old: Path, new: Path) -> None:
    """Raise UserError when somebody has written answers into the earlier release, over its stubs."""
    for path in new.glob("*.ipynb"):
        if not (old / path.name).exists():
            continue
        stubs = {grade_id(cell): cell.source.count(STUB) for cell in read_notebook(path).cells if is_solution(cell)}
        cells = [cell for cell in read_notebook(old / path.name).cells if is_solution(cell)]
        answered = [grade_id(c) for c in cells if c.source.count(STUB) < stubs.get(grade_id(c), 0)]
        if answered:
            names, where = ", ".join(answered), f"exercises/{old.name}/{path.name}"
            raise UserError(
                f"{where} holds answers ({names}): move it to my/, which git ignores, and run this again.",
                f"{where} 里写有答案（{names}）：请把它移到 my/（git 会忽略），然后重新运行。",
            )


def reason(log: str) -> str:
    """What the first traceback in nbgrader's log ends with; the log indents it by four spaces."""
    return re.search(r"Traceback .*?\n(?:    )?(\w[^\n]*?)\.?\n", log, re.DOTALL)[1]


if __name__ == "__main__":
    try:
        for name in release(repository_root(Path.cwd())):
            print(f"exercises/{name}")
    except UserError as error:
        sys.exit(str(error))
