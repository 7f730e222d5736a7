"""The pages of a built edition as the pages of a book: in order, linked to each other, without what needs a screen.

The site is the source, not the notebooks: numbers, references and formulas are then the same in all that is read.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lxml import html
from lxml.html import HtmlElement

_LEFT_OUT = frozenset({"book/exercises"})
"""What serves only on a screen: the page from which notebooks of exercises are downloaded."""


def _of_class(*names: str) -> str:
    return " or ".join(f'contains(concat(" ", normalize-space(@class), " "), " {name} ")' for name in names)


_TREE = f"//nav[{_of_class('bd-docs-nav')}]//*[self::p[{_of_class('caption')}] or self::a]"
_FOR_SCREENS = (
    f".//script | .//link | .//style | .//button"
    f"| .//*[{_of_class('headerlink', 'live', 'page-facts', 'exercise-cards', 'toctree-wrapper')}]"
)
_WITH_ID = "descendant-or-self::*[@id]"
_BLACK = f".//div[{_of_class('highlight')}]//span[@class='n' or @class='p' or @class='w']"
"""Names, punctuation and spaces in code have no colour of their own, and are most of it."""
_NUMBER = f".//span[{_of_class('section-number')}]"


@dataclass(frozen=True)
class Page:
    """A page of the book. All ids in it begin with its own, and a link inside the book is `#` and an id.

    id: such as `book-attention`; part: the caption of the part that it opens, or ''; depth: 1, or 2 for the exercises
    of a chapter; body: its outermost section.
    """

    id: str
    part: str
    depth: int
    body: HtmlElement

    @property
    def title(self) -> str:
        """The page's heading, with its number."""
        return self.body.find(".//h1").text_content()


@dataclass(frozen=True)
class Entry:
    """A line of the table of contents.

    depth: 0 for a part, 1 for a chapter, more below; target: the id that it leads to, '' for a part.
    """

    depth: int
    title: str
    target: str


def read_pages(edition: Path) -> list[Page]:
    """The pages of the edition of the site in the folder `edition`, in the order of its table of contents."""
    found = {}
    for name, part, depth in _order(edition):
        found[name] = Page(page_id(name), part, depth, _body(edition / f"{name}.html"))
    ids = {name: {element.get("id") for element in page.body.xpath(_WITH_ID)} for name, page in found.items()}
    for name, page in found.items():
        _link(page.body, name, ids)
    return list(found.values())


def page_id(name: str) -> str:
    """The id of the page called `name`: `book/attention` → `book-attention`. It holds no full stop."""
    return name.replace("/", "-")


def contents(pages: list[Page]) -> list[Entry]:
    """The table of contents: parts, chapters, their sections."""
    entries = []
    for page in pages:
        if page.part:
            entries.append(Entry(0, page.part, ""))
        entries.append(Entry(page.depth, page.title, page.id))
        for heading in page.body.xpath("./section/h2"):
            entries.append(Entry(page.depth + 1, heading.text_content(), heading.get("id")))
    return entries


def _order(edition: Path) -> list[tuple[str, str, int]]:
    """Name, part and depth of each page, from the table of contents beside the first one."""
    first = html.parse(str(edition / "index.html")).xpath('string(//meta[@http-equiv="Refresh"]/@content)')
    root = first.partition("url=")[2].removesuffix(".html")
    order, part = [], ""
    for item in html.parse(str(edition / f"{root}.html")).xpath(_TREE):
        if item.tag == "p":
            part = item.text_content()
            continue
        name = root if item.get("href") == "#" else _address(root, item.get("href"))
        if name not in _LEFT_OUT:
            order.append((name, part, len(item.xpath("ancestor::ul"))))
            part = ""
    return order


def _address(name: str, path: str) -> str:
    """The page to which `path`, written on the page `name`, leads: ("book/gpt2", "../x/y.html") → "x/y"."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path)).removesuffix(".html")


def _body(path: Path) -> HtmlElement:
    """A page's outermost section, without what needs a screen, and with what waits for a click shown."""
    body = html.fromstring(path.read_text("utf8")).xpath("//article/section")[0]
    for element in body.xpath(_FOR_SCREENS):
        element.drop_tree()
    for element in body.xpath(_BLACK):
        element.drop_tag()
    for number in body.xpath(_NUMBER):
        number.text = number.text.strip().rstrip(".") + "\u2002"
    for section in body.iter("section"):
        _move_ids_to_heading(section)
    for details in body.iter("details"):
        details.tag = "div"
        details.set("class", "shown")
        for summary in details.findall("summary"):
            summary.tag = "p"
            summary.set("class", "summary")
    for image in body.iter("img"):
        image.set("src", (path.parent / unquote(image.get("src"))).resolve().as_uri())
    return body


def _move_ids_to_heading(section: HtmlElement) -> None:
    """Let links lead to a section's heading: in print it may stand a page after the section's beginning."""
    heading = section.xpath("*[self::h1 or self::h2 or self::h3 or self::h4 or self::h5]")[0]
    heading.set("id", section.attrib.pop("id"))
    for label in heading.xpath("preceding-sibling::span[@id]"):
        label.tail = None
        heading.append(label)


def _link(body: HtmlElement, name: str, ids: dict[str, set[str]]) -> None:
    """Begin all ids of a page with its own, and turn links to pages into links to ids; others lose their link."""
    for element in body.xpath(_WITH_ID):
        element.set("id", f"{page_id(name)}.{element.get('id')}")
    body.set("id", page_id(name))
    for link in body.xpath(".//a[@href]"):
        url = urlsplit(link.get("href"))
        if url.scheme or url.netloc:
            continue
        target, fragment = _address(name, url.path) if url.path else name, unquote(url.fragment)
        if target not in ids or (fragment and fragment not in ids[target]):
            link.drop_tag()
        else:
            link.set("href", f"#{page_id(target)}" + (f".{fragment}" if fragment else ""))
