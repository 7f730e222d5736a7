"""The zip that students get: the book, the exercises and their environment, and nothing that grades."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from nbgrader.utils import is_ignored

from insidegpt.errors import UserError
from insidegpt.grading.release import STUB
from insidegpt.grading.submission import grade_id, is_solution, read_notebook

CONTENTS = (
    "README.md",
    "README.zh.md",
    "LICENSE",
    "Makefile",
    "requirements.txt",
    "pyproject.toml",
    "nbgrader_config.py",  # marks the top folder
    "_config.yml",
    "_toc.yml",
    "book",
    "exercises",
    "src/insidegpt",
)
WITHOUT = ("src/insidegpt/grading", "src/insidegpt/checks.py", "src/insidegpt/outcome.py")
IGNORED = ["__pycache__", ".ipynb_checkpoints", ".DS_Store", "*.pyc", "*.egg-info", "*.mo"]
LINK = re.compile(r"(?<!!)\[(?P<words>[^\[\]]+)\]\((?P<target>[^()\s]+)\)")
TOP = "inside-gpt-2"
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time that a zip gives all its files, so that the same files make the same bytes."""


def make_kit(root: Path, out: Path) -> list[Path]:
    """Write the kit of the repository at `root` to the file `out`; return what is in it, relative to `root`.

    The same files give the same bytes. Raises UserError when an exercise is not as it was released.
    """
    files = [path for name in CONTENTS for path in _files(root / name)]
    files = sorted(p.relative_to(root) for p in files if not any(p.is_relative_to(root / w) for w in WITHOUT))
    for path in files:
        if path.parts[0] == "exercises" and path.suffix == ".ipynb":
            _check_released(root, path)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.new")
    with zipfile.ZipFile(fresh, "w") as kit:
        for path in files:
            entry = zipfile.ZipInfo(f"{TOP}/{path.as_posix()}", EARLIEST)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            kit.writestr(entry, _content(root, path, files))
    fresh.replace(out)
    return files


def _content(root: Path, path: Path, files: list[Path]) -> bytes:
    """What the kit holds as `path`: the file; of Markdown, the words alone of links to what the kit does not hold."""
    content = (root / path).read_bytes()
    if path.suffix != ".md":
        return content

    def link(found: re.Match) -> str:
        target = found["target"]
        stays = re.match(r"[a-z]+:|#", target) or path.parent / target.partition("#")[0] in files
        return found[0] if stays else found["words"]

    return LINK.sub(link, content.decode("utf-8")).encode("utf-8")


def _files(path: Path) -> list[Path]:
    """The file, or those in the folder that somebody wrote. Raises UserError when there is nothing."""
    if not path.exists():
        raise UserError(
            f"{path} is missing: run this in the whole repository, after `make exercises`.",
            f"缺少 {path}：请在完整的仓库里运行，并先运行 `make exercises`。",
        )
    if path.is_file():
        return [path]
    kept = [p for p in path.iterdir() if not is_ignored(str(p), IGNORED)]
    return [file for p in sorted(kept) for file in _files(p)]


def _check_released(root: Path, path: Path) -> None:
    """Raise UserError when the notebook holds outputs or solutions, so that none is given out by accident."""
    for cell in read_notebook(root / path).cells:
        solved = is_solution(cell) and STUB not in cell.source
        if solved or cell.get("outputs") or re.search("BEGIN SOLUTION|BEGIN HIDDEN TESTS", cell.source):
            where = f"{path}, {grade_id(cell) or 'a cell'}"
            raise UserError(
                f"{where}: this is not as it was released: move it to my/ if it is yours, then run `make exercises`.",
                f"{where}：与发布时不同：若是你自己的作答，请移到 my/，然后运行 `make exercises`。",
            )
