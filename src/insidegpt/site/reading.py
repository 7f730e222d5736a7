"""How long a page takes to read, and a line of such facts under its title: functions from notebook to notebook."""

from __future__ import annotations

import copy
import math
import re

from insidegpt.site.editions import HEADING, language, source
from insidegpt.site.pairs import prose

WORDS_A_MINUTE = 200
"""English words. Below the 238 of silent reading that Brysbaert (2019) finds for non-fiction: this is no novel."""
CHARACTERS_A_MINUTE = 300
"""Chinese characters, at the same pace: a chapter has 1.5 for each English word."""
CODE_LINES_A_MINUTE = 20


def minutes(notebook: dict, lang: str) -> int:
    """Minutes to read a page in one language, code included, rounded up to 5 where they are more than 10."""
    text = prose("\n\n".join(source(cell) for cell in notebook["cells"] if language(cell) == lang))
    if lang == "zh":
        time = len(re.findall(r"[\u4e00-\u9fff]", text)) / CHARACTERS_A_MINUTE
    else:
        time = len(re.findall(r"[A-Za-z]+", text)) / WORDS_A_MINUTE
    code = "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code")
    time += sum(bool(line.strip()) for line in code.splitlines()) / CODE_LINES_A_MINUTE
    step = 5 if time > 10 else 1
    return math.ceil(time / step) * step


def reading_time(notebook: dict, lang: str) -> str:
    """The estimate in words of the language."""
    time = minutes(notebook, lang)
    return f"阅读约需 {time} 分钟" if lang == "zh" else f"About {time} minute{'s' * (time != 1)} to read"


def with_line_under_title(notebook: dict, lines: dict[str, str]) -> dict:
    """A copy of a page with a line of HTML, by language, under the title of the page."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        heading, lang = HEADING.match(source(cell)), language(cell)
        if heading and lang in lines and heading["marks"] == "#":
            text, end = source(cell), heading.end()
            cell["source"] = (
                f'{text[:end].rstrip()}\n\n<p class="page-facts">{lines[lang]}</p>\n\n{text[end:].lstrip()}'
            )
    return notebook
