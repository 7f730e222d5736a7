"""Where the repository is."""

from pathlib import Path

from insidegpt.errors import UserError

MARK = "nbgrader_config.py"
"""The file that tells the repository's top folder from any other."""


def repository_root(*places: Path) -> Path:
    """The top folder of the repository that the first of these places with one lies in.

    places: files or folders, existing or not. Raises UserError when none of them lies in the repository.
    """
    for place in places:
        place = place.resolve()
        for folder in (place, *place.parents):
            if (folder / MARK).is_file():
                return folder
    raise UserError(
        f"This is not inside the book's repository (the folder with {MARK}): change into it and try again.",
        f"当前位置不在本书的仓库（含有 {MARK} 的文件夹）里：请先进入仓库再试。",
    )
