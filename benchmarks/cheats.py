"""What cheating submissions get: stock nbgrader beside this project's grading, in one run.

    .venv/bin/python benchmarks/cheats.py

Each is handed in in a course of its own kind with the real hidden tests of a chapter. Prints a table and writes
docs/cheats.md and docs/cheats.zh.md. A run that was broken off goes on where it was.
"""

import dataclasses
import json
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from cheats import FAMILIES, load  # noqa: E402  the tests are no package that is installed
from cheats.attempt import Outcome, attempt, grade_classmate  # noqa: E402
from cheats.course import Course  # noqa: E402
from cheats.grader import Grader  # noqa: E402

ENGINES = ("stock", "course")
DONE = ROOT / "_build" / "cheats.jsonl"

TEXTS = {
    "en": {
        "file": "cheats.md",
        "title": "What cheating submissions get",
        "intro": (
            "Each submission below leaves the work undone and tries something else. It was graded twice, by stock "
            "nbgrader and by this project's grading, with the real hidden tests of the chapter on attention "
            "(18 points). The page is written by `benchmarks/cheats.py`; the submissions are in `tests/cheats/`."
        ),
        "head": ("submission", "stock: points", "stock: harm", "here: points", "here: harm", "what was met here"),
        "sum": "Points or harm: {stock} of {all} under stock nbgrader, {course} here.",
        "not run": "not run: nothing would bound it",
    },
    "zh": {
        "file": "cheats.zh.md",
        "title": "作弊的作业能得到什么",
        "intro": (
            "下面每份作业都没有作答，而是另想办法。每份批改两次：一次用原版 nbgrader，一次用本项目的批改程序，"
            "隐藏测试都是注意力一章的真实测试（共 18 分）。"
            "本页由 `benchmarks/cheats.py` 生成，作业在 `tests/cheats/` 里。"
        ),
        "head": ("作业", "原版：得分", "原版：危害", "本项目：得分", "本项目：危害", "在本项目中遇到了什么"),
        "sum": "得到分数或造成危害的：原版 nbgrader 下 {all} 份中有 {stock} 份，本项目下有 {course} 份。",
        "not run": "未运行：没有沙箱约束不了它",
    },
}


def run(engine: str, cheats: dict, known: dict[str, Outcome]) -> None:
    """Try what is not yet known under an engine, and append each outcome to `DONE`."""
    left = [c for c in cheats.values() if c.name not in known and (c.bounded or engine == "course")]
    if not left:
        return
    with tempfile.TemporaryDirectory(dir=DONE.parent) as folder, DONE.open("a", encoding="utf-8") as done:
        course = Course(Path(folder), engine)
        grader = Grader(course)
        honest = grade_classmate(course, grader)
        for cheat in track(left, description=f"{engine}: {honest:g} points for an honest answer"):
            known[cheat.name] = outcome = attempt(cheat, course, grader)
            line = {"engine": engine, "cheat": cheat.name, **dataclasses.asdict(outcome)}
            print(json.dumps(line, ensure_ascii=False), file=done, flush=True)
        again = grade_classmate(course, grader)
        grader.close()
    if again != honest:
        sys.exit(f"{engine}: an honest answer had {honest:g} points before all this and {again:g} after it")


def gains(outcome: Outcome | None) -> bool:
    """Whether the submission got anything out of it."""
    return outcome is not None and bool(outcome.points or outcome.harm)


def rows(language: str, cheats: dict, outcomes: dict) -> dict[str, list[tuple[str, ...]]]:
    """The table's rows by family."""
    texts, part = TEXTS[language], 0 if language == "en" else 1
    table = {family: [] for family in FAMILIES}

    def shown(outcome: Outcome | None) -> tuple[str, str]:
        if outcome is None:
            return "–", texts["not run"]
        return f"{outcome.points:g}", "; ".join(h.split(" · ")[part] for h in outcome.harm) or "–"

    for cheat in cheats.values():
        stock, course = (outcomes[engine].get(cheat.name) for engine in ENGINES)
        sentence = (cheat.en, cheat.zh)[part]
        said = re.sub(r"'/[^']*'?", "a file of the course", course.said) if course else ""  # no path of this machine
        table[cheat.family].append((sentence, *shown(stock), *shown(course), said or "–"))
    return table


def page(language: str, cheats: dict, outcomes: dict) -> str:
    """The page in one language, in Markdown."""
    texts = TEXTS[language]
    counts = {engine: sum(map(gains, outcomes[engine].values())) for engine in ENGINES}
    lines = [f"# {texts['title']}", "", texts["intro"], "", texts["sum"].format(all=len(cheats), **counts)]
    for family, own in rows(language, cheats, outcomes).items():
        lines += ["", f"## {FAMILIES[family][0 if language == 'en' else 1]}", ""]
        lines += ["| " + " | ".join(texts["head"]) + " |", "|---|--:|---|--:|---|---|"]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in row) + " |" for row in own
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is left, print the table, write the pages."""
    DONE.parent.mkdir(exist_ok=True)
    cheats, outcomes = load(), {engine: {} for engine in ENGINES}
    for line in DONE.read_text(encoding="utf-8").splitlines() if DONE.exists() else []:
        entry = json.loads(line)
        engine, name = entry.pop("engine"), entry.pop("cheat")
        outcomes[engine][name] = Outcome(**entry)
    for engine in ENGINES:
        run(engine, cheats, outcomes[engine])
    table = Table(*TEXTS["en"]["head"], title=TEXTS["en"]["title"])
    for own in rows("en", cheats, outcomes).values():
        for row in own:
            table.add_row(*row)
        table.add_section()
    Console().print(table)
    for language, texts in TEXTS.items():
        path = ROOT / "docs" / texts["file"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(language, cheats, outcomes), encoding="utf-8")
    DONE.unlink()


if __name__ == "__main__":
    main()
