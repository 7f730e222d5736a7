"""A notebook in which learners' mistakes stand side by side: one mistake per exercise of the small course."""

import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from small_course import cell

ANSWERS = {
    "times_2": "def times_2(x):\n    return helper(x)",  # the helper stands in a cell of its own
    "times_3": "def times_3(x)\n    return 3 * x",
    "times_4": "def times_4(x):\n    while True:\n        pass",
    "times_5": "while True:\n    pass",
    "times_6": "import os\nos._exit(1)",
    "times_7": "def times_7(x):\n    import os\n    os._exit(1)",
    "times_8": "1 / 0",
    "times_9": "print('spam' * 10**5)\ndef times_9(x):\n    warn('slow')\n    print('spam' * 10**5)\n    return 9 * x",
    "times_10": "def times_10(x):\n    return int(input('x')) * 10",
    "times_11": "def times_11(x):\n    return 11 * x\nexit()",
    "times_12": "def times_12(x):\n    return 12 * abs(x)",
    "times_13": "def times_13(x):\n    return 13 * x if x != 1 else 0",  # right but for the visible test
    "times_16": "while True:\n    try:\n        sleep(1)\n    except KeyboardInterrupt:\n        pass",
    "times_17": "sys.displayhook = lambda _: None\ndef times_17(x):\n    sys.displayhook(2.0)\n    return 0",
    "times_20": "import hidden.small as h\nh.times_20 = lambda *_, points: 99\ndef times_20(x):\n    return 20",
}

HELPERS = """import sys
from time import sleep
from warnings import warn

def helper(x):
    return 2 * x
"""


def write_messy(release: Path, path: Path) -> Path:
    """Write the messy notebook, made from the released one, to `path`."""
    notebook = nbformat.read(release, as_version=4)
    for name, source in ANSWERS.items():
        cell(notebook, name).source = source
    notebook.cells.insert(3, new_code_cell(HELPERS))
    cell(notebook, "setup").source = "by = None"

    notebook.cells.remove(cell(notebook, "times_14"))
    notebook.cells.remove(cell(notebook, "test-times_15"))
    cell(notebook, "times_15").source = "def times_15(x):\n    return 15 * x"

    first = cell(notebook, "times_18")
    first.source = "def times_18(x):\n    return 0"
    second = new_code_cell("def times_18(x):\n    return 18 * x", metadata=first.metadata)
    notebook.cells.insert(notebook.cells.index(first) + 1, second)

    cheat = cell(notebook, "test-times_19")
    cheat.source, cheat.metadata["tags"] = "2.0", ["skip-execution"]
    cheat.metadata["nbgrader"]["points"] = 100
    notebook.cells.append(cheat)
    notebook.cells[0] = new_markdown_cell("notes of my own")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")  # as it is: nbformat would mend the doubled cell id
    return path
