"""The notebooks of the book as they are stored: run in order, with every output, and nothing of a machine in them.

That the outputs are what the cells give is `pytest --nbval book`, which `make test` runs too.
"""

import json
import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(ROOT.glob("book/*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def notebook(request):
    return json.loads(request.param.read_text("utf8"))


def code(notebook):
    return [c for c in notebook["cells"] if c["cell_type"] == "code"]


def test_cells_were_run_in_order(notebook):
    """nbval does not compare a cell that was never run."""
    assert [c["execution_count"] for c in code(notebook)] == list(range(1, len(code(notebook)) + 1))


def test_no_cell_failed_or_warned(notebook):
    outputs = [o for c in code(notebook) for o in c["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]


def test_outputs_hold_no_path_time_or_progress_bar(notebook):
    said = json.dumps([c["outputs"] for c in code(notebook)])
    said = re.sub(r'"image/[^"]*": "[^"]*"', "", said)
    assert not re.search(r"/(?:home|root|tmp|usr|Users)/|\d+%\||\bit/s\b|\d(?:\.\d+)? (?:s|ms|seconds)\b", said)


def columns(line):
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in line)


def test_no_line_of_code_or_output_is_wider_than_the_page(notebook):
    """88 columns, for which `book.css` makes room at 1280 pixels."""
    texts = ["".join(c["source"]) for c in code(notebook)]
    for output in (o for c in code(notebook) for o in c["outputs"]):
        shown = output.get("data", {})
        drawn = any(kind.startswith("image/") for kind in shown)
        texts += ["".join(output.get("text", "" if drawn else shown.get("text/plain", "")))]
    assert [line for text in texts for line in text.splitlines() if columns(line) > 88] == []


def test_metadata_holds_no_timestamp_and_no_version(notebook):
    assert not any("execution" in c["metadata"] for c in notebook["cells"])
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_headings_have_labels_of_their_own(notebook):
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and re.search(r"^#+ ", text, re.M):
            assert re.match(r"\([\w:-]+\)=\n#+ ", text), text[:80]
            assert len(re.findall(r"^#+ ", text, re.M)) == 1, text[:80]
