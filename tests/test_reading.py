"""What serves reading, in a real Chromium: cards, progress, marks of a search, anchors."""

# ruff: noqa: F811 — fixtures are handed over by their names

import re

import pytest

from insidegpt.site.editions import EDITIONS
from test_browser import browser, found, page, pytestmark, url  # noqa: F401

ATTENTION = {"en": "attention", "zh": "注意力", "zh-tw": "注意力", "en-zh": "attention"}
DEFINITION = {
    "en": ["weighted sum"],
    "zh": ["加权求和"],
    "zh-tw": ["加權求和"],
    "en-zh": ["weighted sum", "加权求和"],
}


@pytest.fixture
def card(page):
    return page.locator(".reading-card:popover-open")


def term(page, words):
    return page.locator('article a[href*="glossary.html#"]').filter(has_text=re.compile(f"^{words}$")).first


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_term_shows_its_definition_on_hover_in_the_languages_of_the_page(page, card, site, edition):
    page.goto(f"{site.as_uri()}/{edition}/book/attention.html")
    term(page, ATTENTION[edition]).hover()
    card.wait_for()
    shown = card.inner_text()
    assert all(words in shown for words in DEFINITION[edition])
    assert bool(re.search("weighted", shown)) == ("en" in edition.split("-"))


def test_the_pointer_may_move_into_a_card_and_closes_it_by_leaving(page, card, url):
    page.goto(f"{url}/en/book/attention.html")
    term(page, "attention").hover()
    card.get_by_role("link", name="Glossary").hover()
    page.wait_for_timeout(600)
    assert card.is_visible()
    page.mouse.move(5, 850)
    card.wait_for(state="hidden")


@pytest.mark.parametrize("edition", ["en", "zh"])
def test_a_card_by_keyboard_opens_on_focus_is_entered_by_tab_and_closes_with_escape(page, card, url, edition):
    page.goto(f"{url}/{edition}/book/attention.html")
    page.locator("article .headerlink").first.focus()
    page.keyboard.press("Tab")
    card.wait_for()
    link = term(page, ATTENTION[edition])
    assert link.evaluate("e => e === document.activeElement && e.getAttribute('aria-describedby')") == "reading-card"
    page.keyboard.press("Tab")
    assert card.evaluate("e => e.contains(document.activeElement)")
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")
    assert link.get_attribute("aria-describedby") is None


def test_the_first_tap_opens_the_card_and_its_link_leads_to_the_glossary(browser, url):
    context = browser.new_context(has_touch=True, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(f"{url}/zh/book/attention.html")
    link = term(page, "softmax")
    link.scroll_into_view_if_needed()
    link.tap()
    card = page.locator(".reading-card:popover-open")
    card.wait_for()
    assert page.url.endswith("/zh/book/attention.html")
    box = card.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    card.get_by_role("link", name="术语表").tap()
    page.wait_for_url("**/zh/book/glossary.html#term-*")
    context.close()


def test_a_citation_shows_its_reference_and_leads_to_it(page, card, site):
    page.goto(f"{site.as_uri()}/en/book/attention.html")
    page.get_by_role("link", name="Vaswani et al., 2017").first.hover()
    card.wait_for()
    assert "Attention is all you need" in card.inner_text()
    assert card.locator('a[href^="https://arxiv.org/"]').count() == 1
    card.locator(".card-more a").click()
    page.wait_for_url("**/book/references.html#*")


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_work_stands_once_in_the_references(site, edition):
    html = (site / edition / "book" / "references.html").read_text("utf8")
    assert html.count("Attention is all you need.") == 1


def test_maths_in_a_card_is_typeset_as_on_the_page(page, card, url):
    page.goto(f"{url}/en/book/gpt2.html")
    term(page, "GELU").hover()
    card.wait_for()
    formula = card.locator(".katex-html").first
    assert formula.is_visible() and "KaTeX" in formula.evaluate("e => getComputedStyle(e).fontFamily")
    assert "\\" not in card.locator(".katex-html").first.inner_text()


def test_cards_do_not_move_for_a_reader_who_wants_no_motion(page, card, url):
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{url}/en/book/attention.html")
    term(page, "attention").hover()
    card.wait_for()
    assert page.evaluate("document.getAnimations().length") == 0


def read_section(page, section):
    """Scroll until the end of a section is in the middle of the window."""
    page.wait_for_load_state("load")
    page.evaluate(
        """(id) => { const box = document.getElementById(id).getBoundingClientRect();
        scrollTo({top: scrollY + box.bottom - innerHeight / 2, behavior: "instant"}); }""",
        section,
    )


def sections(page):
    return page.locator("article > section > section[id]").evaluate_all("all => all.map(e => e.id)")


@pytest.mark.parametrize("base", ["served", "files"])
def test_a_section_is_read_once_its_end_was_seen_and_in_all_editions(page, url, site, base):
    base = url if base == "served" else site.as_uri()
    page.goto(f"{base}/en/book/attention.html")
    page.wait_for_timeout(300)
    assert page.locator(".read-to-end").count() == 0, "a page that is opened is not yet read"
    second = sections(page)[1]
    read_section(page, second)
    page.locator(f'.page-toc a[href="#{second}"] .read-to-end').wait_for()
    page.goto(f"{base}/zh/book/attention.html")
    assert page.locator(f'.page-toc a[href="#{second}"] .read-to-end').get_attribute("aria-label") == "已读"
    begun = page.locator(".bd-docs-nav a.begun")
    assert begun.inner_text().startswith("2.")
    assert 0 < float(begun.evaluate("e => e.style.getPropertyValue('--read')")) < 1


def test_a_page_that_is_too_short_to_scroll_is_read_by_staying(page, url):
    page.clock.install()
    page.set_viewport_size({"width": 1280, "height": 30_000})
    page.goto(f"{url}/en/exercises/similarity/similarity.html")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    page.clock.run_for(1000)
    assert page.locator(".read-to-end").count() == 0, "a page that is opened is not yet read"
    page.clock.run_for(9000)
    page.locator(".bd-docs-nav a .read-to-end").wait_for()
    assert page.locator(".page-toc .read-to-end").count() == len(sections(page)) > 1


def test_a_page_that_scrolls_is_not_read_by_staying(page, url):
    page.clock.install()
    page.goto(f"{url}/en/exercises/similarity/similarity.html")
    page.clock.run_for(60_000)
    assert page.locator(".read-to-end, a.begun").count() == 0


def test_a_chapter_read_to_the_end_is_ticked_and_can_be_forgotten(page, url):
    page.goto(f"{url}/zh/book/similarity.html")
    for section in sections(page):
        read_section(page, section)
        page.locator(f'.page-toc a[href="#{section}"] .read-to-end').wait_for()
    assert page.locator(".bd-docs-nav a:has(.read-to-end)").inner_text().startswith("1. ")
    page.get_by_role("button", name="清除阅读记录").click()
    assert page.locator(".read-to-end, .begun").count() == 0
    assert page.evaluate("localStorage.getItem('progress')") is None
    assert page.locator(".forget-progress").is_hidden()


def test_the_front_pages_lead_on_to_where_reading_stopped(page, url):
    page.goto(f"{url}/zh/book/perplexity.html")
    one, two = sections(page)[:2]
    read_section(page, one)
    page.locator(f'.page-toc a[href="#{one}"] .read-to-end').wait_for()
    page.goto(f"{url}/en/book/preface.html")
    assert page.locator("article .go-on").inner_text().startswith("Go on where you stopped: 6. How surprised")
    page.goto(f"{url}/index.html")
    page.get_by_role("link", name="接着上次读").click()
    page.wait_for_url(f"**/zh/book/perplexity.html#{two}")


def test_where_a_browser_keeps_nothing_a_page_works_and_shows_no_progress(page, url):
    page.add_init_script("Storage.prototype.setItem = (key) => { if (key === 'progress') throw new Error('full') }")
    page.goto(f"{url}/en/book/attention.html")
    read_section(page, sections(page)[0])
    page.wait_for_timeout(300)
    assert page.locator(".read-to-end").count() == 0 and page.locator(".forget-progress").is_hidden()


NOISE = re.compile(r"\\[a-zA-Z]+|\$|```|\{(?:ref|term|cite)|(?:^|\s)(?:import|def) \w+[(.\n]|print\(|= torch\.")


def excerpts(page):
    page.locator("#search-results li:last-child .context").wait_for()  # they are read one after the other
    return page.locator("#search-results .context").all_inner_texts()


@pytest.mark.parametrize(
    ("edition", "query"),
    [
        ("en", "softmax"),
        ("en", "gradient"),
        ("zh", "注意力"),
        ("zh", "梯度"),
        ("zh-tw", "注意力"),
        ("en-zh", "softmax"),
    ],
)
def test_excerpts_show_no_latex_no_markup_and_no_code(page, url, edition, query):
    assert len(found(page, url, edition, query)) > 3
    for text in excerpts(page):
        assert not re.search(
            r"\\[a-zA-Z]+|\$|```|\{(?:ref|term|cite)|^\s*(?:import|def) |print\(|torch\.\w+\(", text
        ), text
    assert page.locator("#search-results mark").count() > 3


def test_a_chinese_excerpt_in_an_english_page_says_so(page, url):
    langs = {}
    for query in ("projections", "因果掩码"):
        found(page, url, "en-zh", query)
        excerpts(page)  # when there are some
        lines = page.locator("#search-results .context")
        langs |= dict(lines.evaluate_all("all => all.map((line) => [line.innerText, line.lang])"))
    share = {text: len(re.findall(r"[\u4e00-\u9fff]", text)) / len(text) for text in langs}
    assert {langs[text] for text in langs if share[text] > 0.5} == {"zh-CN"}
    assert {langs[text] for text in langs if share[text] < 0.1} == {""}


MARKED = "() => [...(CSS.highlights.get('search') ?? [])].map((range) => range.toString())"
FIRST_ON_SCREEN = """() => [...CSS.highlights.get("search")].some((range) => {
    const box = range.getBoundingClientRect(); return box.top > 0 && box.bottom < innerHeight })"""


@pytest.mark.parametrize(
    ("edition", "query", "marked"),
    [
        ("en", "projections", {"projections", "projection"}),  # as the index stems it
        ("en", "soft", {"softmax"}),  # a part of a word
        ("zh", "因果掩码", {"因果掩码"}),
        ("zh", "注意力 梯度", {"注意力", "梯度"}),
        ("zh", "softmax", {"softmax"}),
        ("zh-tw", "因果遮罩", {"因果遮罩"}),
        ("en-zh", "梯度", {"梯度"}),
    ],
)
@pytest.mark.parametrize("base", ["served", "files"])
def test_what_was_sought_is_marked_on_its_page_until_escape(page, url, site, base, edition, query, marked):
    base = url if base == "served" else site.as_uri()
    assert found(page, base, edition, query)
    links = page.locator('#search-results ul.search > li > a[href*="/book/"], #search-results ul.search > li > a')
    seen, hrefs = set(), links.evaluate_all("all => all.map(e => e.href)")
    for href in hrefs[:6]:
        page.goto(href)
        page.locator(".search-marks").wait_for()
        seen |= {text.lower() for text in page.evaluate(MARKED)}
        assert page.evaluate(FIRST_ON_SCREEN), href
    assert marked <= seen
    page.keyboard.press("Escape")
    assert page.evaluate(MARKED) == [] and page.locator(".search-marks").count() == 0
    assert "highlight" not in page.url


def test_the_marks_of_a_search_can_be_removed_by_pointer_too(page, url):
    page.goto(f"{url}/zh/book/attention.html?highlight=注意力")
    page.get_by_role("button", name="隐藏搜索标记").click()
    assert page.evaluate(MARKED) == []


@pytest.mark.parametrize(("scheme", "edition"), [("light", "en"), ("dark", "zh")])
def test_the_link_of_a_heading_shows_on_hover_and_on_focus_and_leads_to_it(page, url, scheme, edition):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{url}/{edition}/book/attention.html")
    heading = page.locator("article section section > h2").first
    link = heading.locator(".headerlink")
    shows = "(e) => getComputedStyle(e).visibility === 'visible' && Number(getComputedStyle(e).opacity) > 0.5"
    heading.hover()
    page.wait_for_function(shows, arg=link.element_handle())
    page.mouse.move(5, 850)
    link.focus()
    page.wait_for_function(shows, arg=link.element_handle())
    page.keyboard.press("Enter")
    page.wait_for_url(f"**#{heading.locator('..').get_attribute('id')}")
