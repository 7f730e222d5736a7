"""The Sphinx extension that says in a page's head what search engines and messengers show of a link to it.

Descriptions and Open Graph tags stand in every page. What needs an absolute address (the preview's picture; Sphinx's
own canonical link) is there when `html: baseurl` in `_config.yml` names one.
"""

from __future__ import annotations

import re
from html import escape, unescape
from unicodedata import east_asian_width
from urllib.parse import urljoin

from docutils import nodes

from insidegpt.site.editions import EDITIONS, Edition

LONGEST = 200
"""How wide a description may be, in Latin letters; a Chinese character is as wide as two."""
_CITATION = re.compile(r" ?\[[^\]]*\b\d{4}[a-z]?\]")
_SENTENCE_END = re.compile(r"(?<=[。！？])|(?<=[.!?]) ")


def description(doctree: nodes.document) -> str:
    """The first sentences of a page, as many as fit, from its first paragraph without a formula; or ''."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = _CITATION.sub("", " ".join(paragraph.astext().split()))
        if text and not list(paragraph.findall(nodes.math)):
            return _shortened(text)
    return ""


def _shortened(text: str) -> str:
    taken, width = [], 0
    for sentence in _SENTENCE_END.split(text):
        width += _width(sentence)
        if taken and width > LONGEST:
            break
        taken.append(sentence)
    return (" " if re.search(r"[.!?]$", taken[0]) else "").join(taken)


def _width(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def preview(doctree: nodes.document, title: str, edition: Edition, base: str, address: str) -> dict[str, str]:
    """The Open Graph tags of a page. base: where the edition stands, or ''; address: the page's own, with a base."""
    tags = {
        "og:title": title,
        "og:site_name": edition.title,
        "og:type": "article",
        "og:locale": edition.lang.replace("-", "_"),
        "og:description": description(doctree),
    }
    image = next(doctree.findall(nodes.image), None)
    if base:
        tags["og:url"] = address
    if base and image is not None:
        tags["og:image"] = urljoin(base, f"_images/{image['uri'].rpartition('/')[2]}")
        tags["og:image:alt"] = image.get("alt", title)
    return tags


def _say(app, pagename, templatename, context, doctree):
    if doctree is None:  # search and index are pages without a text of their own
        return
    title = re.sub(r"^[\d.]+\s", "", unescape(re.sub(r"<[^>]*>", "", context["title"])))
    if pagename == app.config.root_doc:
        context["docstitle"] = ""  # the first page has the title of the book: once is enough
    base, address = app.config.html_baseurl, context.get("pageurl", "")
    tags = preview(doctree, title, EDITIONS[app.config.edition], base, address)
    lines = [f'<meta name="description" content="{escape(tags["og:description"])}" />']
    lines += [f'<meta property="{name}" content="{escape(value)}" />' for name, value in tags.items()]
    context["metatags"] += "\n    " + "\n    ".join(lines)


def setup(app):
    """Connect it."""
    app.connect("html-page-context", _say)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
