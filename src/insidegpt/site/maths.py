"""Formulas typeset while the site is built: KaTeX run in the V8 engine that `mini_racer` brings.

A page needs no script for its maths, shows it with the first paint, and carries MathML for screen readers.
A formula that KaTeX cannot read is a warning of the build, with its place.
"""

from __future__ import annotations

import functools
import html
from pathlib import Path

from docutils import nodes
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

_KATEX = Path(__file__).with_name("katex") / "katex.min.js"
_logger = logging.getLogger(__name__)


@functools.cache
def _engine():
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    engine.eval(_KATEX.read_text("utf8"))
    return engine


@functools.cache
def typeset(latex: str, display: bool) -> str:
    """HTML with MathML of a formula; raises ValueError with KaTeX's sentence where it cannot be read."""
    from py_mini_racer import JSEvalException

    try:
        return _engine().call("katex.renderToString", latex, {"displayMode": display, "throwOnError": True})
    except JSEvalException as error:
        raise ValueError(str(error).splitlines()[0].removeprefix("<anonymous>:1: ")) from None


def _typeset_or_warn(node: nodes.Node, latex: str, display: bool) -> str:
    try:
        return typeset(latex, display)
    except ValueError as error:
        _logger.warning("maths: %s in %s", error, latex, location=node)
        return f"<code>{html.escape(latex)}</code>"


def _visit_inline(self, node):
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(_typeset_or_warn(node, node.astext(), display=False) + "</span>")
    raise nodes.SkipNode


def _visit_display(self, node):
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    self.body.append(_typeset_or_warn(node, _aligned(node.astext()), display=True))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def _aligned(latex: str) -> str:
    """What LaTeX's `split` would do for lines that the author broke with a double backslash."""
    if r"\\" in latex and r"\begin" not in latex:
        return rf"\begin{{aligned}}{latex}\end{{aligned}}"
    return latex


def _style_where_needed(app, pagename, templatename, context, doctree):
    if app.env.get_domain("math").has_equations(pagename):
        app.add_css_file("katex/katex.min.css")


def setup(app):
    """Register the renderer under the name `katex-at-build`."""
    app.add_html_math_renderer("katex-at-build", (_visit_inline, None), (_visit_display, None))
    app.connect("html-page-context", _style_where_needed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
