"""Run notebooks and keep their outputs in them: `python -m insidegpt.site.outputs book/*.ipynb`.

What differs from run to run (times, kernel version) is left out, so that a notebook changes only where a result did.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def run(path: Path) -> None:
    """Execute a notebook in its own folder and write it back; a cell that fails leaves the file as it was."""
    if not path.is_file():
        raise SystemExit(f"There is no notebook {path}: check the name. · 找不到笔记本 {path}：请检查文件名。")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, record_timing=False, coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise SystemExit(f"{path} was left as it was, because one of its cells fails:\n{error}") from None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(argument, flush=True)
        run(Path(argument))
