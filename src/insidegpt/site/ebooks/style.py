"""The colours of code in a book."""

from __future__ import annotations


def highlighting() -> str:
    """Style rules for highlighted code, in the site's light colours."""
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight")
