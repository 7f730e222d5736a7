"""The Sphinx extension that builds one edition: cells, labels, anchors, switcher and downloads."""

from __future__ import annotations

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.errors import ConfigError
from sphinx.util.i18n import CatalogInfo

from insidegpt.site.editions import EDITIONS, Titles, in_one_language, select, titles
from insidegpt.site.live import place_figures
from insidegpt.site.passages import with_languages
from insidegpt.site.pictures import with_sizes
from insidegpt.site.traditional import converter, in_traditional

_HERE = Path(__file__).parent
_SCRIPTS = sorted((_HERE / "static").rglob("*.js"))
_FULL_WIDTH = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef“”‘’…—"
_OUTSIDE_ASCII = re.compile(r"[^\x00-\x7f]+")  # the words of a script: what is code there is not code in Markdown
_SHORT_COMPOUND = re.compile(r"(?<![\w-])([A-Za-z]+-(?:\d[\d.]*|[A-Za-z])|[A-Za-z]-[A-Za-z]+)(?![\w-])", re.A)
_BREAK_IN_CHINESE = re.compile(f"[{_FULL_WIDTH}]\n[{_FULL_WIDTH}]")


def _edition(app):
    name = app.config.edition
    if name not in EDITIONS:
        raise ConfigError(f"edition is {name!r}: it must be one of {', '.join(EDITIONS)}")
    return EDITIONS[name]


def _to_traditional(app):
    return converter(Path(app.srcdir, "book", "glossary.ipynb"))


def _in_its_characters(app, notebook):
    return in_traditional(notebook, _to_traditional(app)) if _edition(app).traditional else notebook


def _configure(app, config):
    """The settings that follow from the edition, and part captions such as `Chapters / 章节` in its language."""
    edition = _edition(app)
    config.html_static_path.append(str(_HERE / "static"))
    config.templates_path.insert(0, str(_HERE / "templates"))
    config.html_favicon = str(_HERE / "static" / "favicon.svg")
    if len(edition.languages) > 1:
        return
    which = ["en", "zh"].index(edition.languages[0])
    for page in config.external_site_map.values():
        for tree in page.subtrees:
            if tree.caption and " / " in tree.caption:
                tree.caption = tree.caption.split(" / ")[which]
                if edition.traditional:
                    tree.caption = _to_traditional(app)(tree.caption)


def _translate_theme(app):
    """Put the site's words for the book theme's labels before the theme's own, some of which are 繁體 in 简体."""
    for locale in app.config.locale_dirs:
        folder = Path(locale, app.config.language, "LC_MESSAGES")
        if folder.is_dir():
            CatalogInfo(str(folder), "booktheme", "utf8").write_mo(app.config.language)
            app.add_message_catalog("booktheme", locale)


def _read_titles(app, env, docnames):
    found: Titles = {}
    for docname in app.env.found_docs:
        path = Path(app.env.doc2path(docname))
        if path.suffix == ".ipynb":
            found |= titles(json.loads(path.read_text("utf8")), docname)
    app.env.section_titles = found


def _select_cells(app, docname, text):
    if app.env.doc2path(docname).endswith(".ipynb"):
        selected = select(json.loads(text[0]), _edition(app), app.env.section_titles)
        text[0] = json.dumps(_in_its_characters(app, selected))


def _explicit_label_first(app, doctree):
    """Let a section's explicit label be its first id, so that anchors agree in all editions."""
    names = {node_id: name for name, node_id in doctree.nameids.items()}
    for section in doctree.findall(nodes.section):
        explicit = [i for i in section["ids"] if doctree.nametypes.get(names.get(i))]
        section["ids"] = explicit + [i for i in section["ids"] if i not in explicit]


def _join_chinese_lines(app, doctree):
    """Drop a line break between two Chinese characters: a browser would show it as a space."""
    for parent in list(doctree.findall(nodes.TextElement)):
        for at in range(len(parent) - 2, 0, -1):
            around = parent[at - 1].astext()[-1:] + "\n" + parent[at + 1].astext()[:1]
            if parent[at] == "\n" and _BREAK_IN_CHINESE.match(around):
                del parent[at]


def _keep_short_compounds(app, doctree, docname=None):
    """Forbid a line break after a hyphen that stands beside a digit or a single letter: GPT-2, top-p, n-gram.

    Done when a page is read, for its titles in every table of contents, and again when its references have words.
    """
    verbatim = nodes.FixedTextElement | nodes.literal | nodes.math
    for parent in list(doctree.findall(nodes.TextElement)):
        if isinstance(parent, verbatim) or "unbroken" in parent["classes"]:
            continue
        for text in [child for child in parent if isinstance(child, nodes.Text)]:
            pieces = _SHORT_COMPOUND.split(text)  # every second one is a compound
            if len(pieces) > 1:
                parts = [_unbroken(nodes.Text(p)) if n % 2 else nodes.Text(p) for n, p in enumerate(pieces) if p]
                parent.replace(text, parts)


def _keep_together_with_maths(app, doctree):
    """Forbid a line break between a formula and a full-width mark after it or a word with a hyphen before it."""
    for formula in list(doctree.findall(nodes.math)):
        siblings, at = formula.parent, formula.parent.index(formula)
        before = siblings[at - 1] if at else None
        after = siblings[at + 1] if at + 1 < len(siblings) else None
        word = re.search(r"\w+-$", before) if isinstance(before, nodes.Text) else None
        mark = re.match(r"[，。；：、！？）”’」』]", after) if isinstance(after, nodes.Text) else None
        if mark:
            siblings[at + 1] = nodes.Text(after[1:])
        if word:
            siblings[at - 1] = nodes.Text(before[: word.start()])
        if word or mark:
            ends = [nodes.Text(found[0]) if found else nodes.Text("") for found in (word, mark)]
            siblings[at] = _unbroken(ends[0], formula.deepcopy(), ends[1])


def _unbroken(*parts):
    return nodes.inline("", "", *parts, classes=["unbroken"])


def _page_context(app, pagename, templatename, context, doctree):
    here = _edition(app)
    context["language"] = here.lang
    up = "../" * (pagename.count("/") + 1)
    context["editions"] = (
        [(e, _label(app, e), f"{up}{e.name}/{pagename}.html", e is here) for e in EDITIONS.values()]
        if app.config.edition_switcher
        else []
    )


def _label(app, edition):
    """What the switcher calls an edition: that of two languages in the characters of the page."""
    if _edition(app).traditional and len(edition.languages) > 1:
        return _to_traditional(app)(edition.label)
    return edition.label


def _downloads_in_one_language(app, exception):
    languages = _edition(app).languages
    if exception or app.builder.format != "html" or len(languages) > 1:
        return
    for path in Path(app.outdir, "_sources").rglob("*.ipynb"):
        notebook = _in_its_characters(app, in_one_language(json.loads(path.read_text("utf8")), languages[0]))
        path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", "utf8")


def _scripts_in_traditional(app, exception):
    """Let scripts that speak, and know Simplified alone, speak Traditional."""
    if exception or not _edition(app).traditional:
        return
    static, convert = Path(app.outdir, "_static"), _to_traditional(app)
    for script in (static / "copybutton.js", *(static / own.relative_to(_HERE / "static") for own in _SCRIPTS)):
        words = _OUTSIDE_ASCII.sub(lambda found: convert(found[0]), script.read_text("utf8"))
        script.write_text(words.replace("zh-CN", "zh-TW"), "utf8")


_ACCESSIBLE = {
    'role="doc-biblioentry"': 'role="listitem"',  # an entry of a list, and the role that docutils writes is withdrawn
    '<th class="head"><p></p></th>': "<td></td>",  # heads nothing
}


def _finish_pages(app, exception):
    """Write into the finished pages what templates and Sphinx's writer leave out: languages and sizes of pictures."""
    if exception or app.builder.name != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        if "_static" not in path.parts:
            page = with_sizes(with_languages(path.read_text("utf8")), path.parent)
            for written, better in _ACCESSIBLE.items():
                page = page.replace(written, better)
            path.write_text(page, "utf8")


def setup(app):
    """Connect everything; `edition` chooses the edition, `edition_switcher` says whether others lie beside it."""
    _translate_theme(app)  # before the theme is loaded: the catalogue that comes first wins
    app.add_config_value("edition", "en", "env")
    app.add_config_value("edition_switcher", False, "html")
    app.connect("config-inited", _configure, priority=950)  # sphinx-external-toc reads _toc.yml at 900
    app.connect("env-before-read-docs", _read_titles)
    app.connect("source-read", _select_cells)
    app.connect("doctree-read", _explicit_label_first, priority=400)  # before the table of contents is collected
    app.connect("doctree-read", _join_chinese_lines)
    app.connect("doctree-read", _keep_short_compounds)
    app.connect("doctree-read", _keep_together_with_maths)
    app.connect("doctree-resolved", _keep_short_compounds)
    app.connect("doctree-resolved", place_figures)
    app.connect("html-page-context", _page_context)
    app.connect("build-finished", _finish_pages)
    app.connect("build-finished", _downloads_in_one_language)
    app.connect("build-finished", _scripts_in_traditional, priority=900)  # after Sphinx has copied the scripts
    app.add_css_file("book.css")
    app.add_css_file("reading.css")
    for script in ("book.js", "marks.js", "progress.js", "offline.js"):
        app.add_js_file(script, loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
