"""The built site, read from its files: editions, anchors, labels, links, downloads."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from insidegpt.site.build import fingerprint, main
from insidegpt.site.editions import EDITIONS

ROOT = Path(__file__).parent.parent
PAGES = [
    "book/preface",
    "book/attention",
    "exercises/attention/attention",
    "book/gpt2",
    "exercises/gpt2/gpt2",
    "book/exercises",
    "book/glossary",
    "book/references",
]


class Page(HTMLParser):
    """A page's language, ids, links, labels, and text outside code and cards, which hold titles of papers."""

    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.sections, self.links, self.labels, self.lang = path, set(), [], [], [], None
        self.text, self._silent = [], 0
        self.feed(path.read_text("utf8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self._silent += tag in ("script", "style", "pre", "template")
        if tag == "html":
            self.lang = given.get("lang")
        if "id" in given:
            self.ids.add(given["id"])
            if tag == "section":
                self.sections.append(given["id"])
        self.links += [given[k] for k in ("href", "src") if given.get(k)]
        self.labels += [given[k] for k in ("title", "aria-label", "placeholder") if given.get(k)]

    def handle_endtag(self, tag):
        self._silent -= tag in ("script", "style", "pre", "template")

    def handle_data(self, data):
        if not self._silent:
            self.text.append(data)


@pytest.fixture(scope="module")
def pages(site):
    """Every page of every edition, by edition and name."""
    return {
        edition: {
            str(p.relative_to(site / edition).with_suffix("")): Page(p)
            for p in (site / edition).rglob("*.html")
            if "_static" not in p.parts
        }
        for edition in EDITIONS
    }


def test_every_edition_has_every_page(pages):
    for edition in EDITIONS:
        assert set(PAGES) <= set(pages[edition])


def test_the_landing_page_leads_to_every_edition(site):
    assert {f"{e}/index.html" for e in EDITIONS} <= set(Page(site / "index.html").links)


def test_each_edition_says_its_language(pages):
    for edition, spec in EDITIONS.items():
        assert {pages[edition][name].lang for name in PAGES} == {spec.lang}


def test_sections_have_the_same_ids_in_all_editions(pages):
    for name in PAGES:
        sections = [pages[edition][name].sections for edition in EDITIONS]
        assert all(those == sections[0] for those in sections) and len(sections[0]) >= 1, name


def test_an_edition_in_one_language_holds_no_prose_of_the_other(pages):
    chinese, english = r"[\u4e00-\u9fff]{12,}", r"(?:\b[a-z]{2,} ){9,}"
    for edition, other in (("en", chinese), ("zh", english), ("zh-tw", english)):
        for name, page in pages[edition].items():
            if name != "book/references":  # titles are in the language of the paper
                assert re.findall(other, " ".join(" ".join(page.text).split())) == [], (edition, name)


@pytest.mark.parametrize("edition", ["zh", "zh-tw"])
def test_labels_of_the_theme_are_in_chinese_in_the_chinese_editions(pages, edition):
    def foreign(page):
        return {t for t in page.labels if not re.search(r"[\u4e00-\u9fff]", t) and re.search(r"[A-Za-z]{4}", t)}

    labels = pages[edition]["book/attention"].labels
    citations = {t for t in labels if re.search(r"\b(?:19|20)\d\d\b", t)}
    assert foreign(pages[edition]["book/attention"]) - citations <= {"Page"}, "Page: a list that only print shows"
    assert any("列印" in t for t in labels) == (edition == "zh-tw")


NO_PROSE = """//script | //style | //pre | //code | //nav[contains(@class, "edition-switcher")]
    | //div[contains(@class, "cell_output")]//div[contains(@class, "output")]"""


def test_the_traditional_edition_holds_no_simplified_character_outside_code(site):
    from lxml import html
    from opencc import OpenCC

    again = OpenCC("s2tw")
    for path in (site / "zh-tw").rglob("*.html"):
        page = html.parse(path).getroot()
        for element in page.xpath(NO_PROSE):
            element.drop_tree()
        labels = [page.xpath(f"//@{name}") for name in ("alt", "title", "aria-label", "placeholder", "content")]
        for text in [*page.itertext(), *(label for found in labels for label in found)]:
            # OpenCC would have 說明瞭, 分佈, 最大隻能 and 和絃.
            changed = [
                one for one, other in zip(text, again.convert(text), strict=True) if one not in (other, *"了布只弦")
            ]
            assert changed == [], (path.name, text)


def test_no_markup_is_left_in_the_prose(site):
    from lxml import html

    for path in (path for edition in EDITIONS for path in (site / edition).rglob("*.html")):
        for article in html.parse(path).getroot().iter("article"):
            for element in article.xpath(f"{NO_PROSE} | //math"):
                element.drop_tree()
            assert re.findall(r".*(?:\*\*|\{[a-z:]+\}`).*", article.text_content()) == [], path


def test_the_traditional_edition_uses_the_words_of_its_glossary(pages):
    words = "".join(pages["zh-tw"]["book/masking"].text)
    assert "因果遮罩" in words and "因果掩" not in words and "遮罩" in pages["zh-tw"]["book/glossary"].text


def test_part_captions_and_titles_follow_the_edition(pages):
    assert "Chapters" in pages["en"]["book/attention"].text and "章节" not in pages["en"]["book/attention"].text
    assert "章节" in pages["zh"]["book/attention"].text and "Chapters" not in pages["zh"]["book/attention"].text
    assert "章節" in pages["zh-tw"]["book/attention"].text and "走進 GPT-2" in pages["zh-tw"]["book/attention"].text


def test_no_page_names_another_host_but_in_a_link_for_the_reader(site):
    loads = re.compile(r'(?:src|href)="(https?:)?//|url\(["\']?(https?:)?//|@import|fetch\(["\']https?:')
    for path in site.rglob("*"):
        if path.suffix == ".html":
            found = [m for m in re.findall(r"<(?!a\b)[^>]*>", path.read_text("utf8")) if loads.search(m)]
            assert found == [], path
        elif path.suffix == ".css":
            assert not re.search(r"url\(\s*[\"']?(?:https?:)?//|@import\s+[\"']http", path.read_text("utf8")), path


def test_every_link_within_the_site_leads_somewhere(site, pages):
    broken = []
    for edition in EDITIONS:
        for page in pages[edition].values():
            for link in page.links:
                parts = urlsplit(link)
                if parts.scheme or parts.netloc:
                    continue
                target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
                if not target.is_file():
                    broken.append(f"{page.path.relative_to(site)} → {link}")
                elif parts.fragment and target.suffix == ".html":
                    name = str(target.relative_to(site / target.relative_to(site).parts[0]).with_suffix(""))
                    if unquote(parts.fragment) not in pages[target.relative_to(site).parts[0]][name].ids:
                        broken.append(f"{page.path.relative_to(site)} → {link} (no such anchor)")
    assert broken == []


def test_the_script_of_icons_that_nothing_needs_is_gone(site):
    assert not list(site.rglob("fontawesome.js"))
    assert "fontawesome.js" not in (site / "en/book/attention.html").read_text("utf8")


def test_maths_needs_no_script(site):
    html = (site / "en/book/attention.html").read_text("utf8")
    assert 'class="katex"' in html
    assert not re.search(r"<script[^>]*(?:katex|mathjax)", html, re.I)


@pytest.mark.parametrize("name", ["book/attention", "exercises/attention/attention"])
def test_a_download_holds_the_cells_of_its_edition(site, name):
    def tags(edition):
        nb = json.loads((site / edition / "_sources" / f"{name}.ipynb").read_text("utf8"))
        return {t for c in nb["cells"] for t in c["metadata"].get("tags", []) if t.startswith("lang-")}

    assert tags("en") == {"lang-en"} and tags("en-zh") == {"lang-en", "lang-zh"}
    assert tags("zh") == tags("zh-tw") == {"lang-zh"}
    download = (site / "zh-tw" / "_sources" / f"{name}.ipynb").read_text("utf8")
    assert "查詢、鍵與值" in download and "查询、键与值" not in download


def test_figures_have_alternative_text_in_the_language_of_the_edition(site):
    for edition, wanted in (("en", r"[A-Za-z]{4}"), ("zh", r"[\u4e00-\u9fff]{3}"), ("zh-tw", r"[\u4e00-\u9fff]{3}")):
        images = re.findall(r'<img[^>]*alt="([^"]*)"', (site / edition / "book/attention.html").read_text("utf8"))
        assert images and all(re.search(wanted, alt) for alt in images)


def test_a_second_build_does_nothing(site, capfd):
    before = {p: p.stat().st_mtime_ns for p in site.rglob("*.html") if p.parent != site}
    main(ROOT)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert "Building" not in capfd.readouterr().out


def test_a_changed_source_is_noticed(tmp_path):
    (tmp_path / "book").mkdir()
    page = tmp_path / "book" / "page.md"
    page.write_text("one")
    before = fingerprint(tmp_path)
    page.write_text("two")
    assert fingerprint(tmp_path) != before
