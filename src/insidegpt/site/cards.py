"""The Sphinx extension that puts into a page what it refers to: definitions of terms, entries of the bibliography.

They stand in `<template>` elements at the end of the page, with the addresses of the links that show them, and
`static/cards.js` shows them where the reader points at the link. Without JavaScript the links remain.
"""

from __future__ import annotations

import posixpath
from html import escape

from docutils import nodes
from sphinx import addnodes

from insidegpt.site.editions import EDITIONS, LANG_ATTRIBUTE


def _add_cards(app, pagename, templatename, context, doctree):
    if doctree is None or app.builder.name != "html":
        return
    entries, asked = _entries(app), {}
    for link in doctree.findall(nodes.reference):
        address = link.get("refuri", "")
        path, _, anchor = address.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(pagename), path)).removesuffix(".html")
        if path and (target, anchor) in entries:
            asked.setdefault((entries[target, anchor], target), {})[address] = None  # a set that keeps its order
    for (entry, target), addresses in asked.items():
        context["body"] += (
            f'<template data-card="{escape(" ".join(addresses))}">{entry}<p class="card-more">'
            f'<a href="{escape(next(iter(addresses)))}">{escape(app.env.titles[target].astext())}</a></p></template>\n'
        )


def _entries(app) -> dict[tuple[str, str], str]:
    """The HTML of what can be shown, by page and anchor; made once, when the first page asks."""
    if not hasattr(app.builder, "card_entries"):
        objects = app.env.get_domain("std").get_objects()
        terms = {docname for _, _, kind, docname, _, _ in objects if kind == "term"}
        cited = {citation.bibliography_key.docname for citation in app.env.get_domain("cite").citations}
        _empty_citations(app)
        app.builder.card_entries = {
            (docname, anchor): entry
            for docname in terms | cited
            for anchor, entry in _entries_of(app, app.env.get_and_resolve_doctree(docname, app.builder)).items()
        }
        _empty_citations(app)
    return app.builder.card_entries


def _empty_citations(app):
    """Each is one node that its domain keeps: resolving its page again would write the work into it once more."""
    for bibliography in app.env.get_domain("cite").bibliographies.values():
        for node in bibliography.citation_nodes.values():
            node.clear()


def _entries_of(app, doctree: nodes.document) -> dict[str, str]:
    _unlink(doctree)
    found = {}
    for citation in doctree.findall(nodes.citation):
        paragraphs = [_html(app, child) for child in citation.children if not isinstance(child, nodes.label)]
        found |= dict.fromkeys(citation["ids"], "".join(paragraphs))
    languages = EDITIONS[app.config.edition].languages
    items = [item for g in doctree.findall(addnodes.glossary) for item in g.findall(nodes.definition_list_item)]
    # In the edition of two languages every entry stands before its translation.
    for row in zip(*(items[at :: len(languages)] for at in range(len(languages))), strict=True):
        card = "".join(
            f'<div lang="{_lang(app, language)}"><p class="card-term">{escape(item[0].astext())}</p>'
            f"{''.join(_html(app, child) for child in item[-1].children)}</div>"
            for language, item in zip(languages, row, strict=True)
        )
        found |= dict.fromkeys((anchor for item in row for anchor in item[0]["ids"]), card)
    return found


def _unlink(doctree: nodes.document) -> None:
    """Leave of links within the book the words alone: their addresses hold on their own page."""
    for link in list(doctree.findall(nodes.reference)):
        if link.get("internal"):
            link.replace_self(link.children)


def _html(app, node: nodes.Node) -> str:
    return app.builder.render_partial(node)["fragment"].strip()


def _lang(app, language: str) -> str:
    edition = EDITIONS[app.config.edition]
    return edition.lang if len(edition.languages) == 1 else LANG_ATTRIBUTE[language]


def setup(app):
    """Connect it."""
    app.connect("html-page-context", _add_cards)
    app.add_js_file("cards.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
