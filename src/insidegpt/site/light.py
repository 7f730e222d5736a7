"""The Sphinx extension that leaves out what pages do not need: scripts before the first paint, icons, glyphs.

Scripts in a page's head wait until the page is there. Of the icon font and of KaTeX's fonts an edition keeps the
characters that its pages show; of the theme's style sheet, which names every icon there is, the rules of those icons.
"""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path

_SEARCH_ALONE = ("doctools.js", "translations.js")
_NOWHERE = ("sphinx_highlight.js",)  # static/marks.js marks what was sought
_OF_DESIGN = ("design-tabs.js", "sphinx-design.min.css")  # sphinx-design's classes begin with sd-
_ICON_RULE = re.compile(r"((?:\.fa-[\w-]+:before,?)+)\{content:\"[^\"]*\"\}")
_ICON = re.compile(r"\bfa-[\w-]+")
_ESCAPED = re.compile(r"\\(f[0-9a-f]{3})\b")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
"""The range of Unicode in which the icons stand; style sheets name them escaped or as they are."""


def _lighten_head(app, pagename, templatename, context, doctree):
    """Defer scripts, and drop files that the page does not need and the theme's settings for features not used."""
    unneeded = set(_NOWHERE)
    if pagename != "search":
        unneeded |= set(_SEARCH_ALONE)
    if 'class="sd-' not in context.get("body", ""):
        unneeded |= set(_OF_DESIGN)
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context[kind] if _name(file) not in unneeded]
    scripts = context["script_files"]
    scripts[:] = [s for s in scripts if _name(s) or not s.attributes["body"].startswith("DOCUMENTATION_OPTIONS.")]
    for script in scripts:
        if _name(script):
            script.attributes["defer"] = "defer"


def _name(file) -> str:
    """The name of a script or style sheet; '' for a script that stands in the page itself."""
    return str(file.filename or "").rpartition("/")[2]


def _subset(app, exception):
    if exception or app.builder.format != "html":
        return
    from lxml import html

    out = Path(app.outdir)
    icons, formulas = set(), set()
    for path in out.rglob("*.html"):
        text = path.read_text("utf8")
        icons |= set(_ICON.findall(text))
        if "katex-html" in text:
            shown = html.fromstring(text.encode()).xpath('//span[@class="katex-html"]//text()')
            formulas = reduce(set.union, shown, formulas)
    style = out / "_static" / "styles" / "pydata-sphinx-theme.css"
    style.write_text(without_unused_icons(style.read_text("utf8"), icons), "utf8")
    styles = "".join(path.read_text("utf8") for path in (out / "_static").rglob("*.css"))
    drawn = {chr(int(code, 16)) for code in _ESCAPED.findall(styles)} | set(_PRIVATE.findall(styles))
    for font in (out / "_static" / "vendor").rglob("*.woff2"):
        subset(font, drawn)
    for font in (out / "_static" / "katex" / "fonts").glob("*.woff2"):
        subset(font, formulas)


def without_unused_icons(css: str, icons: set[str]) -> str:
    """A style sheet without the rules that say which character an icon is, but for these icons (`fa-bars`)."""
    return _ICON_RULE.sub(lambda rule: rule[0] if icons & set(_ICON.findall(rule[1])) else "", css)


def subset(font: Path, characters: set[str]) -> None:
    """Leave in a WOFF2 font the glyphs of these characters alone, and what joins them."""
    from fontTools import subset as fonttools

    options = fonttools.Options(flavor="woff2", layout_features=["*"])
    loaded = fonttools.load_font(str(font), options)
    subsetter = fonttools.Subsetter(options)
    subsetter.populate(text="".join(characters))
    subsetter.subset(loaded)
    fonttools.save_font(loaded, str(font), options)


def setup(app):
    """Connect both."""
    app.connect("html-page-context", _lighten_head, priority=950)  # after the theme has added its own
    app.connect("build-finished", _subset)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
