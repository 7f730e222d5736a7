"""One edition as an EPUB 3: a zip with an XHTML file for each page, formulas as MathML, and the lists that it asks for.

https://www.w3.org/TR/epub-33/
"""

from __future__ import annotations

import copy
import mimetypes
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from lxml import etree
from lxml.html import HtmlElement

from insidegpt.site.ebooks.cover import cover
from insidegpt.site.ebooks.pages import Entry, Page, contents
from insidegpt.site.ebooks.style import highlighting
from insidegpt.site.ebooks.words import Words
from insidegpt.site.editions import LANG_ATTRIBUTE, Edition

_STYLE = Path(__file__).with_name("epub.css")
_ACCESSIBLE_BY = ("alternativeText", "MathML", "structuralNavigation", "tableOfContents")
_CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="EPUB/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""


def write_epub(pages: list[Page], edition: Edition, words: Words, config: dict, path: Path) -> None:
    """Write the pages of a book to `path`. config: the edition's `_config.yml`."""
    images: dict[Path, str] = {}
    documents = {"cover": _cover_page(edition, words), "title": _title_page(edition, words, config)}
    documents |= {page.id: _document(_for_readers(page, images), page.title, edition.lang) for page in pages}
    with ZipFile(path, "w", ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip", ZIP_STORED)  # first and not compressed, says the standard
        book.writestr("META-INF/container.xml", _CONTAINER)
        book.writestr("EPUB/package.opf", _package(documents, images.values(), edition, config))
        book.writestr("EPUB/nav.xhtml", _navigation(contents(pages), edition, words))
        book.writestr("EPUB/style.css", highlighting() + "\n" + _STYLE.read_text("utf8"))
        book.writestr("EPUB/cover.png", cover(edition, words.subtitle))
        for name, document in documents.items():
            book.writestr(f"EPUB/{name}.xhtml", document)
        for source, name in images.items():
            book.write(source, f"EPUB/{name}")


def _for_readers(page: Page, images: dict[Path, str]) -> HtmlElement:
    """The page's body with links to files of the EPUB, and MathML alone; notes in `images` what it shows."""
    body = copy.deepcopy(page.body)
    for link in body.xpath(".//a[starts-with(@href, '#')]"):
        link.set("href", _address(link.get("href")[1:]))
    for image in body.iter("img"):
        source = Path(url2pathname(urlsplit(image.get("src")).path))
        image.set("src", images.setdefault(source, f"images/{source.name}"))
    for formula in body.find_class("katex"):
        mathml = formula.find(".//math")
        latex = mathml.find(".//annotation")
        mathml.set("alttext", latex.text)
        latex.drop_tree()
        for drawn in formula.find_class("katex-html"):
            drawn.drop_tree()
    return body


def _document(body: HtmlElement | str, title: str, lang: str) -> str:
    """An XHTML file. The serializer for XML closes every element and quotes every attribute."""
    if not isinstance(body, str):
        body = etree.tostring(body, encoding="unicode", with_tail=False)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="{lang}" xml:lang="{lang}">
<head><title>{escape(title)}</title><link rel="stylesheet" href="style.css"/></head>
<body>{body}</body>
</html>
"""


def _cover_page(edition: Edition, words: Words) -> str:
    body = f'<section class="cover" epub:type="cover"><img src="cover.png" alt="{escape(words.cover)}"/></section>'
    return _document(body, edition.title, edition.lang)


def _title_page(edition: Edition, words: Words, config: dict) -> str:
    lines = {"title": edition.title, "subtitle": words.subtitle, "copyright": config["copyright"]}
    body = "\n".join(f'<p class="{name}">{escape(text)}</p>' for name, text in lines.items())
    return _document(
        f'<section class="title-page" epub:type="titlepage">\n{body}\n</section>', edition.title, edition.lang
    )


def _navigation(entries: list[Entry], edition: Edition, words: Words) -> str:
    """The table of contents, as nested lists."""
    body = f'<nav epub:type="toc" id="toc"><h1>{escape(words.contents)}</h1>\n{_nested(entries)}</nav>'
    return _document(body, words.contents, edition.lang)


def _nested(entries: list[Entry]) -> str:
    items, at = [], 0
    while at < len(entries):
        head, end = entries[at], at + 1
        while end < len(entries) and entries[end].depth > head.depth:
            end += 1
        title = escape(head.title)
        title = f'<a href="{escape(_address(head.target))}">{title}</a>' if head.target else f"<span>{title}</span>"
        items.append(f"<li>{title}{_nested(entries[at + 1 : end])}</li>")
        at = end
    return "<ol>" + "\n".join(items) + "</ol>" if items else ""


def _address(target: str) -> str:
    """The place of an id: `book-gpt2.sec-x` is in the file of `book-gpt2`."""
    return f"{target.partition('.')[0]}.xhtml#{target}"


def _package(documents: dict[str, str], images: Iterable[str], edition: Edition, config: dict) -> str:
    """The list of all files, what the book is called, and in which order its pages are read."""
    items = [
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>',
        '<item id="style" href="style.css" media-type="text/css"/>',
        '<item id="cover-image" href="cover.png" media-type="image/png" properties="cover-image"/>',
    ]
    for name, document in documents.items():
        maths = ' properties="mathml"' if "<math" in document else ""
        items.append(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"{maths}/>')
    for number, image in enumerate(images):
        kind = mimetypes.guess_type(image)[0]
        items.append(f'<item id="image-{number}" href="{image}" media-type="{kind}"/>')
    languages = [edition.lang, *(LANG_ATTRIBUTE[language] for language in edition.languages[1:])]
    name = uuid.uuid5(uuid.NAMESPACE_DNS, f"inside-gpt2-{edition.name}")
    facts = [
        f'<dc:identifier id="book">urn:uuid:{name}</dc:identifier>',
        f"<dc:title>{escape(edition.title)}</dc:title>",
        *(f"<dc:language>{language}</dc:language>" for language in languages),
        f"<dc:creator>{escape(config['author'])}</dc:creator>",
        f"<dc:rights>{escape(config['copyright'])}</dc:rights>",
        f'<meta property="dcterms:modified">{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}</meta>',
        '<meta name="cover" content="cover-image"/>',  # for readers older than EPUB 3
        '<meta property="schema:accessMode">textual</meta>',
        '<meta property="schema:accessMode">visual</meta>',
        '<meta property="schema:accessModeSufficient">textual</meta>',
        *(f'<meta property="schema:accessibilityFeature">{name}</meta>' for name in _ACCESSIBLE_BY),
        '<meta property="schema:accessibilityHazard">none</meta>',
    ]
    metadata, manifest, spine = map("\n".join, (facts, items, [f'<itemref idref="{name}"/>' for name in documents]))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="book" xml:lang="{edition.lang}">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
{metadata}
</metadata>
<manifest>
{manifest}
</manifest>
<spine>
{spine}
</spine>
</package>
"""
