"""What pages weigh and ask for: every page of every edition in a real Chromium, and what is left out of the site."""

# ruff: noqa: F811 — fixtures are handed over by their names

import re

import pytest
from fontTools.ttLib import TTFont
from lxml import html

from insidegpt.site.editions import EDITIONS
from insidegpt.site.light import without_unused_icons
from test_browser import browser, pytestmark  # noqa: F401
from weight import weigh

MOST = 400_000


def all_pages(site, edition):
    """All but `index.html`, which only sends the reader on to the first page."""
    return [p for p in (site / edition).rglob("*.html") if "_static" not in p.parts and p.name != "index.html"]


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_page_is_light_and_asks_no_other_host(browser, site, edition):
    paths = all_pages(site, edition)
    assert len(paths) > 20
    for path in paths:
        seen = weigh(browser, path)
        assert seen["requests"]["other hosts"] == 0, path
        assert seen["bytes"].total() - seen["bytes"]["figures"] < MOST, (path, seen["bytes"])


def test_no_script_holds_up_the_first_paint(site):
    for edition in EDITIONS:
        for path in all_pages(site, edition):
            head = html.parse(path).getroot().find("head")
            waited_for = [s.get("src") for s in head.iter("script") if s.get("src") and s.get("defer") is None]
            assert waited_for == [], path


def test_only_the_search_page_loads_the_index_of_the_search(site):
    with_index = {p.name for p in all_pages(site, "zh") if "searchindex.js" in p.read_text("utf8")}
    assert with_index == {"search.html"}


def test_a_style_sheet_keeps_the_icons_that_pages_show():
    css = '.fa-bars:before,.fa-navicon:before{content:"\\f0c9"}.fa-ghost:before{content:"\\f6e2"}.tip{content:"\\f0eb"}'
    kept = '.fa-bars:before,.fa-navicon:before{content:"\\f0c9"}.tip{content:"\\f0eb"}'
    assert without_unused_icons(css, {"fa-bars", "fa-solid"}) == kept


def test_fonts_hold_every_icon_and_every_character_of_a_formula(site):
    static = site / "en" / "_static"
    css = (static / "styles" / "pydata-sphinx-theme.css").read_text("utf8")
    icons = set(re.findall(r"\bfa-[\w-]+", (site / "en/book/attention.html").read_text("utf8")))
    drawn = {i: re.search(rf'\.{i}:before[^{{]*\{{content:"\\([0-9a-f]+)"', css) for i in icons}
    codes = {int(found[1], 16) for found in drawn.values() if found}
    solid = TTFont(static / "vendor/fontawesome/webfonts/fa-solid-900.woff2").getBestCmap()
    assert len(codes) >= 8 and codes <= set(solid) and len(solid) < 100
    assert {0xF0EB, 0xF071} <= set(solid), "what the style sheet draws beside hints and warnings"
    formulas = html.parse(site / "en/book/attention.html").xpath('//span[@class="katex-html"]//text()')
    fonts = [TTFont(path).getBestCmap() or {} for path in (static / "katex/fonts").glob("*.woff2")]
    had = set().union(*fonts)
    assert {c for text in formulas for c in text} - {chr(c) for c in had} <= set("\u200b\u2061\xa0 ")
