"""Honest notebooks of the chapter `attention`: right answers as people write, decorate and save them."""

from __future__ import annotations

import inspect
import json
import re

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from answers import attention
from small_course import cell

IMPORTS = "import itertools\nimport math\n\nimport torch\nfrom torch import nn\nfrom torch.nn import functional as F"

MANNERS = {
    "quiet": "",
    "prints": "print('called with', [getattr(g, 'shape', g) for g in given])",
    "warns": "warnings.warn('is this right?')\n    print('careful', file=sys.stderr)",
    "plots": "if unseen:\n        unseen.pop()\n        plt.plot([0, 1])\n        plt.show()",
    "slow": "time.sleep(0.002)",
    "progress": "for _ in tqdm(range(3)):\n        pass",
}
"""What an answer may do besides answering, at every call; a plot, once."""

TOOLS = """import sys
import time
import warnings

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

unseen = [1]"""


def write(released: NotebookNode, number: int, manner: str) -> NotebookNode:
    """The released notebook with the answer of this number to every exercise, in a manner of `MANNERS`.

    An exercise with fewer answers gets its last one.
    """
    notebook = released
    for exercise, answers in attention.ANSWERS.items():
        answer = answers[min(number, len(answers) - 1)]
        lines = [f"{inspect.getsource(answer)}\n"]
        if inspect.isclass(answer) or not MANNERS[manner]:
            lines.append(f"{exercise} = {answer.__name__}")
        else:
            lines.append(f"def {exercise}(*given):\n    {MANNERS[manner]}\n    return {answer.__name__}(*given)")
        cell(notebook, exercise).source = "\n".join(lines)
    helpers = [attention._random, attention._Parameters]
    tools = "\n\n".join([IMPORTS, TOOLS, *map(inspect.getsource, helpers)])
    place = notebook.cells.index(cell(notebook, "setup"))
    notebook.cells.insert(place, new_code_cell(tools))
    return notebook


def saved_by(program: str, notebook: NotebookNode) -> str:
    """The text of the notebook as JupyterLab, VS Code or Colab would save it after running it."""
    saved = json.loads(json.dumps(notebook))
    for number, c in enumerate(saved["cells"]):
        if c["cell_type"] == "code":
            c["execution_count"] = number + 1
            c["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["True\n"]}]
        c["source"] = re.findall(r".*\n|.+", c["source"])
        if program == "JupyterLab":
            c["metadata"]["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00.000000Z"}
            c["metadata"]["jupyter"] = {"source_hidden": False}
        if program == "VS Code":
            c["metadata"]["vscode"] = {"languageId": "python"}
        if program == "Colab":
            del c["id"]
            c["metadata"] |= {"id": f"x{number}Ab_", "colab": {"base_uri": "https://localhost:8080/"}}
    python = {"name": "python3", "display_name": "Python 3"}
    saved["metadata"] = {
        "JupyterLab": {"kernelspec": python | {"language": "python"}, "language_info": {"name": "python"}},
        "VS Code": {"kernelspec": {"name": "my-env", "display_name": "my-env (3.11.2)", "language": "python"}},
        "Colab": {"kernelspec": python, "colab": {"provenance": [], "gpuType": "T4"}, "accelerator": "GPU"},
    }[program]
    if program == "Colab":
        saved["nbformat_minor"] = 0
    return json.dumps(saved, ensure_ascii=False, indent=2 if program == "Colab" else 1)
