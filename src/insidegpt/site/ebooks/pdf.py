"""One edition as a PDF: all pages in one HTML file, printed by Chromium.

The numbers of pages in the table of contents come from the print itself: it is read, they are written in, and it is
printed again, until they agree.
"""

from __future__ import annotations

import copy
from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from lxml import html
from lxml.html import HtmlElement

from insidegpt.site.browser import chromium
from insidegpt.site.ebooks.cover import cover
from insidegpt.site.ebooks.pages import Page, contents
from insidegpt.site.ebooks.searchable import searchable
from insidegpt.site.ebooks.style import highlighting
from insidegpt.site.ebooks.words import Words
from insidegpt.site.editions import Edition

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as PageInBrowser

_STATIC = Path(__file__).parents[1] / "static"
_FONT = Path(__file__).parents[2] / "assets" / "fonts" / "NotoSansSC-Subset.otf"
_STYLE = Path(__file__).with_name("print.css")
_NUMBER_PAGES = """
numbers => document.querySelectorAll(".contents a").forEach(
  link => { link.querySelector(".page").textContent = numbers[link.hash.slice(1)]; })
"""
_SHRINK_WHAT_IS_WIDE = """
() => document.fonts.ready.then(() => document.querySelectorAll(".katex-display, table").forEach(wide => {
  const room = wide.parentElement.closest("div, section, li, dd").clientWidth, needed = wide.scrollWidth;
  if (needed > room) wide.style.zoom = room / needed;
}))
"""
_PAPER = {"prefer_css_page_size": True, "print_background": True, "outline": True, "tagged": True}
WIDTH = 650
"""CSS pixels between the margins that `print.css` sets."""


def write_pdf(pages: list[Page], edition: Edition, words: Words, config: dict, path: Path) -> None:
    """Print the pages of a book to `path`. config: the edition's `_config.yml`.

    Raises UserError where there is no browser.
    """
    source = path.with_suffix(".html")
    source.write_text(book(pages, edition, words, config), "utf8")
    try:
        with chromium() as browser:
            page = laid_out(source, browser)
            numbers, printed = {}, page.pdf(**_PAPER)
            while (found := page_numbers(printed)) != numbers:
                page.evaluate(_NUMBER_PAGES, found)
                numbers, printed = found, page.pdf(**_PAPER)
    finally:
        source.unlink()
    path.write_bytes(searchable(printed))


def laid_out(source: Path, browser: Browser) -> PageInBrowser:
    """The book's HTML open in a browser as it will stand on paper."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    page.emulate_media(media="print")
    page.goto(source.resolve().as_uri())
    page.evaluate(_SHRINK_WHAT_IS_WIDE)
    return page


def page_numbers(pdf: bytes) -> dict[str, int]:
    """The page, counted from 1, of each id that something in the PDF links to."""
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(pdf))
    return {
        name.removeprefix("/"): reader.get_destination_page_number(place) + 1
        for name, place in reader.named_destinations.items()
    }


def book(pages: list[Page], edition: Edition, words: Words, config: dict) -> str:
    """The whole book as one HTML page, without page numbers in its table of contents."""
    picture = b64encode(cover(edition, words.subtitle)).decode("ascii")
    headers = "\n".join(
        f'#{page.id} {{ page: {page.id}; }} @page {page.id} {{ @top-center {{ content: "{_quoted(page.title)}"; }} }}'
        for page in pages
    )
    return f"""<!doctype html>
<html lang="{edition.lang}">
<meta charset="utf-8">
<title>{escape(edition.title)}</title>
<link rel="stylesheet" href="{(_STATIC / "katex" / "katex.min.css").as_uri()}">
<style>
@font-face {{ font-family: "Book Chinese"; src: url("{_FONT.as_uri()}"); }}
{highlighting()}
{_STYLE.read_text("utf8")}
{headers}
</style>
<img class="cover" alt="{escape(words.cover)}" src="data:image/png;base64,{picture}">
<header class="title-page">
  <p class="title">{escape(edition.title)}</p>
  <p class="subtitle">{escape(words.subtitle)}</p>
  <p class="copyright">{escape(config["copyright"])}</p>
</header>
<nav class="contents">
<h1>{words.contents}</h1>
{_contents(pages)}
</nav>
<main>
{"".join(html.tostring(_for_print(page), encoding="unicode") for page in pages)}
</main>
</html>
"""


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"")


def _contents(pages: list[Page]) -> str:
    lines = []
    for entry in contents(pages):
        if entry.target:
            lines.append(
                f'<p class="depth-{entry.depth}"><a href="#{escape(entry.target)}"><span>{escape(entry.title)}</span>'
                '<span class="page"></span></a></p>'
            )
        else:
            lines.append(f'<p class="part">{escape(entry.title)}</p>')
    return "\n".join(lines)


def _for_print(page: Page) -> HtmlElement:
    """The body with headings as deep as the page stands in the book, so that the PDF's bookmarks nest.

    A formula carries its LaTeX as alternative text, in place of MathML, of which a PDF keeps nothing.
    """
    body = copy.deepcopy(page.body)
    body.classes.add(f"page-of-depth-{page.depth}")
    for formula in body.find_class("katex"):
        described = formula.find_class("katex-mathml")[0]
        formula.set("role", "img")
        formula.set("aria-label", described.xpath("string(.//annotation)"))
        described.drop_tree()
        formula.find_class("katex-html")[0].attrib.pop("aria-hidden")
    for heading in list(body.iter("h1", "h2", "h3", "h4", "h5")):
        heading.tag = f"h{int(heading.tag[1]) + page.depth - 1}"
    return body
