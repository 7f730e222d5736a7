"""The Sphinx extension that writes into pages what the notebooks of exercises say, before an edition is selected."""

from __future__ import annotations

import json
from pathlib import Path

from insidegpt.site.exercises import Chapter, download, read_chapter, with_cards, with_overview
from insidegpt.site.reading import reading_time, with_line_under_title

_OVERVIEW = "book/exercises"
_LANGUAGES = ("en", "zh")


def _notebook(path: Path) -> dict:
    return json.loads(path.read_text("utf8"))


def _read_chapters(app, env, docnames):
    """The chapters that have exercises, in the order of the book."""
    env.chapters = {}
    for docname in app.config.external_site_map:
        folder, _, name = docname.rpartition("/")
        if folder.startswith("exercises"):
            page, exercises = (_notebook(Path(env.doc2path(path))) for path in (f"book/{name}", docname))
            env.chapters[name] = read_chapter(name, page, exercises)


def _write_in(app, docname, text):
    chapters: dict[str, Chapter] = app.env.chapters
    folder, _, name = docname.rpartition("/")
    if docname == _OVERVIEW:
        text[0] = json.dumps(with_overview(json.loads(text[0]), list(chapters.values())))
        _follows(app.env, chapters)
    elif name in chapters:
        notebook = json.loads(text[0])
        if folder == "book":
            notebook = with_cards(notebook, chapters[name])
            lines = {lang: reading_time(notebook, lang) for lang in _LANGUAGES}
        else:
            lines = {lang: download(name, lang, "../" * docname.count("/")) for lang in _LANGUAGES}
        text[0] = json.dumps(with_line_under_title(notebook, lines))
        _follows(app.env, [name])


def _follows(env, names):
    """Have Sphinx write the page at hand anew whenever these chapters change."""
    for name in names:
        for path in (f"book/{name}", f"exercises/{name}/{name}"):
            env.note_dependency(env.doc2path(path))


def setup(app):
    """Connect both; `source-read` comes before that of the editions (500), which then select what was written."""
    app.connect("env-before-read-docs", _read_chapters)
    app.connect("source-read", _write_in, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
