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
    """A page's language, ids, links, labels, and text outside code."""

    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.sections, self.links, self.labels, self.lang = path, set(), [], [], [], None
        self.text, self._silent = [], 0
        self.feed(path.read_text("utf8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self._silent += tag in ("script", "style", "pre")
        if tag == "html":
            self.lang = given.get("lang")
        if "id" in given:
            self.ids.add(given["id"])
            if tag == "section":
                self.sections.append(given["id"])
        self.links += [given[k] for k in ("href", "src") if given.get(k)]
        self.labels += [given[k] for k in ("title", "aria-label", "placeholder") if given.get(k)]

    def handle_endtag(self, tag):
        self._silent -= tag in ("script", "style", "pre")

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
        one, two, both = (pages[e][name].sections for e in EDITIONS)
        assert one == two == both and len(one) >= 1, name


def test_an_edition_in_one_language_holds_no_prose_of_the_other(pages):
    for name in ("book/attention", "exercises/attention/attention"):
        chinese = re.findall(r"[\u4e00-\u9fff]{12,}", " ".join(pages["en"][name].text))
        assert chinese == [], "runs of Chinese in the English edition"
        english = re.findall(r"(?:\b[a-z]{2,} ){9,}", " ".join(" ".join(pages["zh"][name].text).split()))
        assert english == [], "runs of English in the Chinese edition"


def test_labels_of_the_theme_are_in_chinese_in_the_chinese_edition(pages):
    def foreign(page):
        return {t for t in page.labels if not re.search(r"[\u4e00-\u9fff]", t) and re.search(r"[A-Za-z]{4}", t)}

    citations = {t for t in pages["zh"]["book/attention"].labels if re.search(r"\b(?:19|20)\d\d\b", t)}
    assert foreign(pages["zh"]["book/attention"]) - citations <= {"Page"}, "Page: a list that only print shows"
    assert not any("列印" in t for t in pages["zh"]["book/attention"].labels)


def test_part_captions_and_titles_follow_the_edition(pages):
    assert "Chapters" in pages["en"]["book/attention"].text and "章节" not in pages["en"]["book/attention"].text
    assert "章节" in pages["zh"]["book/attention"].text and "Chapters" not in pages["zh"]["book/attention"].text


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

    assert tags("en") == {"lang-en"} and tags("zh") == {"lang-zh"} and tags("en-zh") == {"lang-en", "lang-zh"}


def test_figures_have_alternative_text_in_the_language_of_the_edition(site):
    for edition, wanted in (("en", r"[A-Za-z]{4}"), ("zh", r"[\u4e00-\u9fff]{3}")):
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
