"""The book as EPUB and PDF, opened again and read. CI reads the PDFs of all editions, others that in both languages.

Printing the bilingual one takes about half a minute of one core, and reading it as long again; it is printed only when
something that it is made from has changed.
"""

import os
import posixpath
import re
import warnings
from io import BytesIO
from urllib.parse import unquote, urlsplit
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
from lxml import etree, html
from PIL import Image

from conftest import ROOT
from insidegpt.errors import UserError
from insidegpt.site import browser
from insidegpt.site.build import edition_config
from insidegpt.site.ebooks.build import main
from insidegpt.site.ebooks.cover import SIZE, cover
from insidegpt.site.ebooks.epub import write_epub
from insidegpt.site.ebooks.pages import contents, read_pages
from insidegpt.site.ebooks.pdf import book, laid_out, write_pdf
from insidegpt.site.ebooks.searchable import with_plain_characters
from insidegpt.site.ebooks.words import book_words
from insidegpt.site.editions import EDITIONS

XHTML = "{http://www.w3.org/1999/xhtml}"
NAMES = {
    "h": "http://www.w3.org/1999/xhtml",
    "m": "http://www.w3.org/1998/Math/MathML",
    "opf": "http://www.idpf.org/2007/opf",
    "dc": "http://purl.org/dc/elements/1.1/",
}
NEEDS_CHROMIUM = pytest.mark.skipif(
    browser.find_chromium() is None and not os.environ.get("CI"),
    reason="no Chromium found: install it (Debian: chromium) to print the book",
)


def squeezed(text):
    return re.sub(r"\s+", "", text)


class Epub:
    """An EPUB's files, its documents parsed as XML, and what its package says of them."""

    def __init__(self, path):
        with ZipFile(path) as book:
            self.infos = book.infolist()
            self.files = {name: book.read(name) for name in book.namelist()}
        self.package = etree.fromstring(self.files["EPUB/package.opf"])
        items = self.package.findall("opf:manifest/opf:item", NAMES)
        self.manifest = {item.get("id"): item for item in items}
        self.spine = [
            self.manifest[ref.get("idref")].get("href") for ref in self.package.findall("opf:spine/opf:itemref", NAMES)
        ]
        self.documents = {
            name.removeprefix("EPUB/"): etree.fromstring(data)
            for name, data in self.files.items()
            if name.endswith(".xhtml")
        }
        self.ids = {name: [e.get("id") for e in tree.iterfind(".//*[@id]")] for name, tree in self.documents.items()}


@pytest.fixture(scope="module", params=EDITIONS)
def edition(request, site):
    """An edition of the site, and the pages read from it."""
    return EDITIONS[request.param], read_pages(site / request.param)


@pytest.fixture(scope="module")
def epub(edition, tmp_path_factory):
    path = tmp_path_factory.mktemp("epub") / "book.epub"
    write_epub(edition[1], edition[0], book_words(ROOT, edition[0]), edition_config(ROOT, edition[0]), path)
    return Epub(path)


def test_pages_stand_in_the_order_of_the_table_of_contents(edition):
    names = [page.id for page in edition[1]]
    assert names[:3] == ["book-preface", "book-similarity", "exercises-similarity-similarity"]
    assert names[-2:] == ["book-glossary", "book-references"]
    assert [entry.depth for entry in contents(edition[1])].count(0) == 2, "chapters, back matter"


ON_A_SCREEN = re.compile(r'<(script|button|details|summary)|class="(headerlink|live|page-facts)|href="[^#h]|_sources/')


def test_nothing_that_needs_a_screen_is_on_a_page(edition, site):
    for page in edition[1]:
        found = ON_A_SCREEN.search(html.tostring(page.body, encoding="unicode"))
        assert found is None, f"{page.id}: {found}"
    assert ON_A_SCREEN.search((site / edition[0].name / "book" / "gpt2.html").read_text("utf8")), "it is on the site"


def test_an_epub_begins_with_its_type_uncompressed(epub):
    assert (epub.infos[0].filename, epub.infos[0].compress_type) == ("mimetype", ZIP_STORED)
    assert epub.files["mimetype"] == b"application/epub+zip"


def test_an_epub_lists_just_the_files_that_it_holds(epub):
    listed = {f"EPUB/{item.get('href')}" for item in epub.manifest.values()}
    assert listed | {"mimetype", "META-INF/container.xml", "EPUB/package.opf"} == set(epub.files)
    with_maths = {i.get("href") for i in epub.manifest.values() if i.get("properties") == "mathml"}
    assert with_maths == {n for n, tree in epub.documents.items() if tree.find(".//m:math", NAMES) is not None} != set()


def test_every_page_stands_in_spine_and_table_of_contents_of_an_epub(epub, edition):
    pages = [f"{page.id}.xhtml" for page in edition[1]]
    assert epub.spine == ["cover.xhtml", "title.xhtml", *pages]
    links = [link.get("href") for link in epub.documents["nav.xhtml"].iterfind(f".//{XHTML}a")]
    assert list(dict.fromkeys(link.partition("#")[0] for link in links)) == pages
    assert len(links) == sum(bool(entry.target) for entry in contents(edition[1])) > 100


def test_every_link_and_image_in_an_epub_leads_somewhere(epub):
    inside = 0
    for name, tree in epub.documents.items():
        assert len(epub.ids[name]) == len(set(epub.ids[name])), f"ids of {name} differ"
        for element in tree.iterfind(f".//{XHTML}*"):
            for attribute in ("href", "src"):
                url = urlsplit(element.get(attribute, "#"))
                if url.scheme in ("http", "https", "mailto") or element.get(attribute) is None:
                    continue
                target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(url.path)))
                assert f"EPUB/{target}" in epub.files, f"{name} → {url.geturl()}"
                assert not url.fragment or unquote(url.fragment) in epub.ids[target], f"{name} → {url.geturl()}"
                inside += bool(url.fragment)
    assert inside > 500


def test_the_first_page_of_an_epub_is_the_picture_that_its_package_calls_the_cover(epub, edition):
    listed = [item for item in epub.manifest.values() if item.get("properties") == "cover-image"]
    assert [(item.get("href"), item.get("media-type")) for item in listed] == [("cover.png", "image/png")]
    (image,) = epub.documents[epub.spine[0]].iter(f"{XHTML}img")
    assert image.get("src") == "cover.png"
    assert bool(re.search("[\u4e00-\u9fff]", image.get("alt"))) == ("zh" in edition[0].languages)
    older = epub.package.find("opf:metadata/opf:meta[@name='cover']", NAMES)
    assert epub.manifest[older.get("content")] is listed[0]


def test_a_cover_shows_its_titles_and_which_tokens_may_not_be_read(edition):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a character that no font has
        drawn = Image.open(BytesIO(cover(edition[0], book_words(ROOT, edition[0]).subtitle)))
    assert drawn.size == SIZE
    pixels = np.asarray(drawn.convert("L")).astype(int)
    paper, side = pixels[0, 0], SIZE[0]
    titles, attention = pixels[:-side], pixels[-side:]
    assert (titles != paper).mean() > 0.005
    cell = side // 32
    rows = [attention[cell // 2 + i * cell, cell // 2 :: cell] for i in range(32)]
    assert all((row[i + 1 :] == paper).all() and (row[: i + 1] != paper).any() for i, row in enumerate(rows))


def test_words_of_the_traditional_book_are_those_of_the_simplified_one_converted():
    simplified, traditional = (book_words(ROOT, EDITIONS[name]) for name in ("zh", "zh-tw"))
    assert (simplified.contents, traditional.contents) == ("目录", "目錄")
    assert ("词元" in simplified.cover, "詞元" in traditional.cover) == (True, True)
    assert book_words(ROOT, EDITIONS["en-zh"]).contents == "Contents · 目录"


def test_no_script_is_in_an_epub(epub):
    for name, tree in epub.documents.items():
        assert tree.find(f".//{XHTML}script") is None, name
        assert not [a for e in tree.iter(etree.Element) for a in e.attrib if a.startswith("on")], name


def test_an_epub_says_its_languages(epub, edition):
    languages = [e.text for e in epub.package.findall("opf:metadata/dc:language", NAMES)]
    assert languages == [edition[0].lang, "zh-CN"] if edition[0].name == "en-zh" else [edition[0].lang]
    assert {tree.get("lang") for tree in epub.documents.values()} == {edition[0].lang}


def test_every_formula_of_an_epub_is_mathml_with_its_latex_beside(epub, edition):
    formulas = [m for tree in epub.documents.values() for m in tree.iterfind(".//m:math", NAMES)]
    assert len(formulas) == sum(len(page.body.find_class("katex")) for page in edition[1]) > 500
    assert all(formula.get("alttext") for formula in formulas)
    assert not [t for t in epub.documents.values() if t.xpath("//*[contains(@class, 'katex-html')]")]


PRINTED = list(EDITIONS) if os.environ.get("CI") else ["en-zh"]


class Pdf:
    """A PDF, and the text of each of its pages without spaces."""

    def __init__(self, edition, site):
        from pypdf import PdfReader

        main(ROOT, [edition])
        self.edition, self.pages = EDITIONS[edition], read_pages(site / edition)
        self.reader = PdfReader(ROOT / "_build" / "ebooks" / f"inside-gpt2-{edition}.pdf")
        self.raw = [page.extract_text() for page in self.reader.pages]
        self.texts = [squeezed(text) for text in self.raw]
        self.text = "".join(self.texts)
        self.places = {
            name.removeprefix("/"): self.reader.get_destination_page_number(place) + 1
            for name, place in self.reader.named_destinations.items()
        }


@pytest.fixture(scope="module", params=PRINTED)
def pdf(request, site):
    return Pdf(request.param, site)


def fonts(reader):
    """Every font of a PDF, once."""
    seen = {}
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            seen.setdefault(getattr(font, "idnum", id(font)), font.get_object())
    return seen.values()


@NEEDS_CHROMIUM
def test_all_fonts_are_in_the_pdf(pdf):
    for font in fonts(pdf.reader):
        if font["/Subtype"] == "/Type3":  # its glyphs are drawings in the PDF
            continue
        inner = font.get("/DescendantFonts", [font])[0].get_object()
        assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(inner["/FontDescriptor"]), font


@NEEDS_CHROMIUM
def test_the_table_of_contents_names_the_pages_on_which_headings_stand(pdf):
    first = pdf.places[pdf.pages[0].id] - 1
    listed = "\n".join(pdf.raw[:first])
    headers = {page.id: squeezed(page.title) for page in pdf.pages}
    numbered = 0
    for entry in contents(pdf.pages):
        if not entry.target:
            continue
        title = squeezed(entry.title)
        line = re.search(r"\s*".join(map(re.escape, title)) + r"\s*?(\d+)\s*$", listed, re.M)
        assert line, f"{entry.title} is not listed"
        number = int(line[1])
        assert title in pdf.texts[number - 1], f"{entry.title} is not on page {number}"
        if re.match(r"\d", title):  # where words alone may be said elsewhere too
            assert title not in "".join(pdf.texts[first : number - 1]), f"{entry.title}: before"
            numbered += 1
        header = headers[entry.target.partition(".")[0]]
        assert pdf.texts[number - 1].startswith(f"{header}{number}"), f"page {number} says where it is"
    assert numbered > 100


@NEEDS_CHROMIUM
def test_every_link_inside_the_pdf_leads_to_a_place_in_it(pdf):
    inside, outside = 0, set()
    for page in pdf.reader.pages:
        for link in (annotation.get_object() for annotation in page.get("/Annots", [])):
            action = link.get("/A", {})
            if action.get("/S") == "/URI":
                outside.add(urlsplit(action["/URI"]).scheme)
            else:
                assert str(link.get("/Dest", action.get("/D"))).removeprefix("/") in pdf.places
                inside += 1
    assert inside > 500 and outside <= {"http", "https", "mailto"}


@NEEDS_CHROMIUM
def test_the_bookmarks_of_the_pdf_are_its_contents(pdf):
    def flat(items):
        for item in items:
            if isinstance(item, list):
                yield from flat(item)
            else:
                yield squeezed(item.title)

    marks = list(flat(pdf.reader.outline))
    titles = [squeezed(entry.title) for entry in contents(pdf.pages) if entry.target]
    assert [mark for mark in marks if mark in set(titles)] == titles
    assert pdf.reader.trailer["/Root"]["/Lang"] == pdf.edition.lang


@NEEDS_CHROMIUM
def test_prose_and_numbers_of_equations_can_be_copied_from_the_pdf(pdf):
    for page in pdf.pages:
        for paragraph in page.body.xpath("./p[not(.//*)] | ./div/div/p[not(.//*)]"):
            # a paragraph may be cut in two by the end of a page
            begin = squeezed(paragraph.text_content())[:12]
            assert begin in pdf.text, f"{page.id}: {begin}"
        for number in page.body.find_class("eqno"):
            assert squeezed(number.text_content()) in pdf.text
    assert "∑" in pdf.text and "⊤" in pdf.text


@NEEDS_CHROMIUM
def test_no_chinese_character_of_the_pdf_is_called_by_its_radical(pdf):
    assert re.findall("[\u2e80-\u2fdf]", pdf.text) == []
    assert pdf.edition.name == "en" or {"长", "長"} & set(pdf.text)
    assert re.findall("[\ufb00-\ufb06]", pdf.text) == [], "ligatures"


def test_ranges_in_a_map_of_glyphs_keep_what_is_no_radical():
    lines = "<22> <8D62>\n<3F> <2F9B>\n<0024> <003A> <0041>\n<2ED2> <2ED4> <2ED2>\n<05> <FB01>\n<2ED3> <D840DE18>"
    assert with_plain_characters(lines).splitlines() == [
        "<22> <8D62>",
        "<3F> <8D70>",
        "<0024> <003A> <0041>",
        "<2ED2> <2ED4> [<9578> <957F> <95E8>]",
        "<05> <00660069>",
        "<2ED3> <D840DE18>",
    ]


@NEEDS_CHROMIUM
def test_the_ends_of_the_longest_lines_of_code_are_in_the_pdf(pdf):
    lines = {
        line.rstrip()
        for page in pdf.pages
        for block in page.body.iter("pre")
        for line in block.text_content().splitlines()
        if line.isascii()
    }
    longest = sorted(lines, key=len)[-60:]
    assert len(longest[0]) > 80
    assert [line for line in longest if squeezed(line[-15:]) not in pdf.text] == []


TOO_WIDE = """
width => [...document.querySelectorAll("main *, nav *")].filter(element => {
  const box = element.getBoundingClientRect();
  return box.width && (box.right > width + 1 || box.left < -1) && !element.closest("svg, .hide-tail");
}).slice(0, 5).map(element => `${element.tagName}.${element.className}: ${element.textContent.slice(0, 60)}`)
"""


@NEEDS_CHROMIUM
@pytest.mark.parametrize("name", PRINTED)
def test_nothing_reaches_beyond_the_margins(name, site, tmp_path):
    source = tmp_path / "book.html"
    edition = EDITIONS[name]
    made = book(read_pages(site / name), edition, book_words(ROOT, edition), edition_config(ROOT, edition))
    source.write_text(made, "utf8")
    with browser.chromium() as running:
        page = laid_out(source, running)
        assert page.evaluate(TOO_WIDE, page.viewport_size["width"]) == []
        page.add_style_tag(content="main { width: 900px; }")
        assert page.evaluate(TOO_WIDE, page.viewport_size["width"]) != [], "what is too wide is found"


def test_a_pdf_without_a_browser_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(browser, "find_chromium", lambda: None)
    with pytest.raises(UserError, match="Chromium"):
        en = EDITIONS["en"]
        write_pdf([], en, book_words(ROOT, en), edition_config(ROOT, en), tmp_path / "book.pdf")
    assert list(tmp_path.iterdir()) == []


def test_an_edition_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UserError, match=r"fr.*en-zh"):
        main(tmp_path, ["fr"])
