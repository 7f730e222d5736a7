"""Submissions that try to get points, secrets or the machine instead of answering; one module per family.

    course.py    the course they are graded in, and what harm looks like
    grader.py    a grader that may be ended
    kit.py       what a cheat is made with; `CHEATS` has them all once `load` has been called

Harm stays bounded even where nothing stops it: memory below 1.5 GiB for seconds, at most 60 processes that end by
themselves within 20 s, 200 MB on disk inside the course, signals to the grader of the test alone. What cannot be
bounded is marked `bounded=False`; it asks first whether it stands in a sandbox, and does nothing elsewhere.
"""

FAMILIES = {
    "checker": ("the checker's own tools", "检查所用的工具"),
    "shell": ("IPython, which runs the cells", "运行单元格的 IPython"),
    "answers": ("answers that are none", "不是答案的答案"),
    "transport": ("the line to the judge", "通往裁判的线路"),
    "reading": ("reading what is secret", "读取秘密"),
    "writing": ("writing where nothing is to be written", "在不该写的地方写"),
    "leaks": ("carrying out what was learnt", "把得知的内容带出去"),
    "processes": ("processes and signals", "进程与信号"),
    "resources": ("using things up", "耗尽资源"),
    "notebook": ("the notebook file itself", "笔记本文件本身"),
}
"""The modules with cheats in the order of the table, and their titles."""


def load() -> dict:
    """Every cheat by its name, family by family."""
    import importlib

    from cheats.kit import CHEATS

    for family in FAMILIES:
        importlib.import_module(f"cheats.{family}")
    return CHEATS
