"""The site in a real Chromium: search, switching editions, no other host, nothing clipped."""

import os
import threading
from functools import partial
from http.server import ThreadingHTTPServer

import pytest

from insidegpt.site.browser import chromium, find_chromium
from insidegpt.site.editions import EDITIONS
from insidegpt.site.serve import Pages

pytestmark = pytest.mark.skipif(
    find_chromium() is None and not os.environ.get("CI"),
    reason="no Chromium found: install it (Debian: chromium) to run these",
)
PAGES = [
    "book/preface",
    "book/attention",
    "exercises/attention/attention",
    "book/exercises",
    "book/glossary",
    "book/references",
    "search",
]


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def url(site):
    """The site served on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.close()
    assert page.errors == []


def found(page, url, edition, query):
    """Titles of the pages that a search finds."""
    page.goto(f"{url}/{edition}/search.html?q={query}")
    page.wait_for_function(
        "document.querySelector('#search-results p')?.innerText.match(/\\d|not|没有|找不到|一致|Nothing/)"
    )
    return page.locator("#search-results ul.search li > a").all_inner_texts()


@pytest.mark.parametrize("edition", ["zh", "en-zh"])
@pytest.mark.parametrize("query", ["注意力", "缩放点积", "键", "softmax", "查询"])
def test_search_finds_chinese_words_and_single_characters(page, url, edition, query):
    assert found(page, url, edition, query)


def test_search_finds_a_chinese_word_that_no_dictionary_knows(page, url):
    assert found(page, url, "zh", "因果掩码")


@pytest.mark.parametrize("query", ["因果遮罩", "注意力", "縮放內積", "鍵", "查詢", "softmax"])
def test_search_finds_traditional_words_in_the_traditional_edition(page, url, query):
    assert found(page, url, "zh-tw", query)


def test_search_finds_english_words_in_the_english_edition(page, url):
    assert found(page, url, "en", "projections")


@pytest.mark.parametrize(
    ("edition", "query"),
    [("en", "flibbertigibbet"), ("zh", "龘龘靐靐"), ("zh", "flibbertigibbet"), ("zh-tw", "龘龘靐靐")],
)
def test_search_finds_nothing_for_nonsense(page, url, edition, query):
    assert found(page, url, edition, query) == []


def test_search_works_from_the_file_system(page, site):
    """Without excerpts, for a browser lets no script read other files, and without an error."""
    assert found(page, site.as_uri(), "zh", "注意力")


@pytest.mark.parametrize(("edition", "lang"), [("zh", "zh-CN"), ("zh-tw", "zh-TW")])
def test_switching_the_edition_keeps_page_and_section(page, url, edition, lang):
    page.goto(f"{url}/en/book/attention.html")
    sections = page.locator("article section section[id]")
    section = sections.nth(sections.count() // 2).get_attribute("id")
    page.evaluate("id => document.getElementById(id).scrollIntoView({behavior: 'instant'})", section)
    page.locator(f'a[data-edition="{edition}"]').evaluate(
        "link => link.click()"
    )  # Playwright's own click would scroll first
    page.wait_for_url(f"**/{edition}/book/attention.html#{section}")
    assert page.locator("html").get_attribute("lang") == lang
    assert abs(page.locator(f"section#{section}").bounding_box()["y"]) < 150
    assert page.locator(".edition-switcher a[aria-current]").get_attribute("data-edition") == edition


def test_the_switcher_names_the_bilingual_edition_in_the_characters_of_the_page(page, url):
    for edition, words in (("zh", ["EN", "简体", "繁體", "双语"]), ("zh-tw", ["EN", "简体", "繁體", "雙語"])):
        page.goto(f"{url}/{edition}/book/attention.html")
        assert page.locator(".edition-switcher a").all_inner_texts() == words


def test_buttons_that_copy_code_speak_traditional_in_the_traditional_edition(page, url):
    page.goto(f"{url}/zh-tw/book/attention.html")
    assert page.locator("button.copybtn").first.get_attribute("data-tooltip") == "複製"


def test_the_landing_page_remembers_the_edition(page, url):
    page.goto(f"{url}/en/book/attention.html")
    page.click('a[data-edition="zh"]')
    page.goto(f"{url}/index.html")
    assert page.locator("a[data-last]").get_attribute("data-edition") == "zh"


@pytest.mark.parametrize("edition", EDITIONS)
def test_no_page_asks_another_host_for_anything(page, url, site, edition):
    for base, own in ((url, url), (site.as_uri(), "file://")):
        asked = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        failed = []
        page.on("requestfailed", lambda request, failed=failed: failed.append((request.url, request.failure)))
        page.on("response", lambda got, failed=failed: got.status < 400 or failed.append((got.url, got.status)))
        for name in PAGES:
            page.goto(f"{base}/{edition}/{name}.html")
            page.wait_for_load_state("networkidle")
        assert [u for u in asked if not u.startswith((own, "data:", "blob:"))] == []
        # what was still on its way when the next page was opened is no fault
        assert [(u, why) for u, why in failed if why != "net::ERR_ABORTED"] == []


CLIPPED = """() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = (e) => { for (; e && e !== document.body; e = e.parentElement) {
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX)) return true } return false };
  return [...document.querySelectorAll("article *")]
    .filter((e) => e.getClientRects().length && !e.closest(".katex-mathml, .onlyprint"))
    .filter((e) => { const b = e.getBoundingClientRect(); return (b.right > wide + 1 || b.left < -1) && !scrolls(e) })
    .map((e) => e.outerHTML.slice(0, 120));
}"""


@pytest.mark.parametrize("width", [390, 1280, 1600])
@pytest.mark.parametrize("edition", EDITIONS)
def test_nothing_is_clipped_or_wider_than_the_window(page, url, edition, width):
    page.set_viewport_size({"width": width, "height": 900})
    for name in PAGES:
        page.goto(f"{url}/{edition}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
        assert page.evaluate(CLIPPED) == [], name


COLUMNS = """(pre) => {
  const probe = pre.appendChild(document.createElement("span")), style = getComputedStyle(pre);
  probe.textContent = "0".repeat(100);
  const column = probe.getBoundingClientRect().width / 100;
  probe.remove();
  return (pre.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)) / column;
}"""


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_line_of_88_columns_fits_at_1280_pixels(page, url, edition):
    for name in ("book/attention", "exercises/attention/attention"):
        page.goto(f"{url}/{edition}/{name}.html")
        for pre in page.locator("article div.cell pre").all():
            assert pre.evaluate(COLUMNS) >= 88


BROKEN = """() => {
  const walker = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT), found = [];
  for (let text; (text = walker.nextNode()); ) {
    if (text.parentElement.closest("code, pre, .live, .onlyprint, template")) continue;
    for (const word of text.data.matchAll(/\\b(?:GPT-2|top-[pk]|n-gram)/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) found.push(word[0]);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("width", [390, 640, 1280])
@pytest.mark.parametrize("edition", EDITIONS)
def test_no_line_ends_in_the_hyphen_of_a_name(page, url, edition, width):
    page.set_viewport_size({"width": width, "height": 900})
    for name in ("book/preface", "book/generation", "book/beyond"):
        page.goto(f"{url}/{edition}/{name}.html")
        assert "GPT-2" in page.locator("article").inner_text(), "as it is copied and sought"
        assert page.evaluate(BROKEN) == [], name


CUT_ACCENTS = """() => [...document.querySelectorAll("article span.math")].filter((formula) => {
  const cut = getComputedStyle(formula).overflowY !== "visible", box = formula.getBoundingClientRect();
  return cut && [...formula.querySelectorAll(".accent-body")].some((e) => e.getBoundingClientRect().top < box.top - 1);
}).length"""


def test_accents_in_running_text_are_whole(page, url):
    page.goto(f"{url}/en/book/graph.html")
    assert page.locator("article span.math .accent-body").count() > 0
    assert page.evaluate(CUT_ACCENTS) == 0


HEADINGS_WITH_AN_EMPTY_LINE = """() => [...document.querySelectorAll("article :is(h1, h2, h3, h4, dt)")].filter((e) => {
  const link = e.querySelector(":scope > .headerlink"), before = e.offsetHeight;
  if (!link) return false;
  link.style.display = "none";
  const without = e.offsetHeight;
  link.style.display = "";
  return without !== before;
}).map((e) => e.textContent)"""


@pytest.mark.parametrize("width", range(380, 700, 40))
def test_the_link_of_a_heading_takes_no_line(page, url, width):
    page.set_viewport_size({"width": width, "height": 900})
    for edition in EDITIONS:
        page.goto(f"{url}/{edition}/book/attention.html")
        assert page.evaluate(HEADINGS_WITH_AN_EMPTY_LINE) == []


def test_links_in_tables_look_like_those_in_the_text(page, url):
    page.goto(f"{url}/en/book/preface.html")
    colour = "e => getComputedStyle(e).color"
    links = page.locator("article table a")
    assert links.first.evaluate(colour) == page.locator("article p > a").first.evaluate(colour)


@pytest.mark.parametrize("edition", ["zh", "zh-tw", "en-zh"])
def test_a_name_with_an_accent_is_of_one_font(page, url, edition):
    page.goto(f"{url}/{edition}/book/references.html")
    page.evaluate("""() => { const p = document.querySelector("article p").cloneNode(); p.id = "accents";
        p.textContent = "Popović"; document.querySelector("article").append(p); }""")
    browser = page.context.new_cdp_session(page)
    for domain in ("DOM", "CSS"):
        browser.send(f"{domain}.enable")
    root = browser.send("DOM.getDocument")["root"]["nodeId"]
    node = browser.send("DOM.querySelector", {"nodeId": root, "selector": "#accents"})["nodeId"]
    assert len(browser.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]) == 1


LINES_BEGINNING_WITH_A_CLOSING_MARK = """() => {
  const walker = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT), found = [];
  for (let text; (text = walker.nextNode()); ) {
    const before = text.previousSibling;
    if (!before?.getClientRects || !/^[，。；：、！？）”」』]/.test(text.data)) continue;
    const range = document.createRange();
    range.setStart(text, 0);
    range.setEnd(text, 1);
    const mark = range.getClientRects()[0], end = [...before.getClientRects()].pop();
    if (mark && end && mark.top > end.bottom - 4) found.push(before.textContent.slice(-20) + text.data.slice(0, 9));
  }
  return found;
}"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("edition", ["zh", "zh-tw"])
def test_no_chinese_line_begins_with_a_closing_mark(page, url, edition, width):
    page.set_viewport_size({"width": width, "height": 900})
    for name in PAGES[:-1]:
        page.goto(f"{url}/{edition}/{name}.html")
        assert page.evaluate(LINES_BEGINNING_WITH_A_CLOSING_MARK) == [], name


SLANTED = """() => [...document.querySelectorAll("article *")].filter((e) => {
    const own = [...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data).join("");
    const style = getComputedStyle(e);
    return /\\p{Script=Han}/u.test(own) && style.fontStyle !== "normal" && style.fontSynthesisStyle !== "none";
  }).map((e) => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("edition", ["zh", "en-zh"])
def test_no_chinese_is_slanted(page, url, edition):
    for name in PAGES:
        page.goto(f"{url}/{edition}/{name}.html")
        assert page.evaluate(SLANTED) == [], name


LUMINANCE = """(e) => { const [r, g, b] = getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number);
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255 }"""


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_light_and_dark_follow_the_readers_system(page, url, scheme, dark):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{url}/zh/book/attention.html")
    assert (page.locator("body").evaluate(LUMINANCE) < 0.5) == dark


@pytest.mark.parametrize("base", ["served", "files"])
def test_arrow_keys_turn_pages(page, url, site, base):
    base = url if base == "served" else site.as_uri()
    page.goto(f"{base}/zh/book/attention.html")
    page.locator("article p").nth(1).click(position={"x": 2, "y": 2})  # a reader who has clicked into the text
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/zh/exercises/attention/attention.html")
    page.locator("article .headerlink").first.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/zh/book/attention.html")


@pytest.mark.parametrize("keys", ["Alt+ArrowRight", "Control+ArrowRight", "Shift+ArrowRight"])
def test_arrow_keys_with_another_key_belong_to_the_browser(page, url, keys):
    page.goto(f"{url}/en/book/attention.html")
    page.keyboard.press(keys)
    page.wait_for_timeout(200)
    assert page.url.endswith("/en/book/attention.html")


def test_arrow_keys_move_in_a_field_and_in_code_that_scrolls(page, url):
    page.goto(f"{url}/en/book/attention.html")
    page.evaluate("""() => {
        const field = document.querySelector("article").appendChild(document.createElement("input"));
        field.value = "words"; field.focus(); field.setSelectionRange(0, 0); }""")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.selectionStart") == 1
    page.evaluate("""() => { const code = document.querySelector("pre"); code.tabIndex = 0; code.focus(); }""")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert page.url.endswith("/en/book/attention.html")


@pytest.mark.parametrize("base", ["served", "files"])
def test_a_button_copies_the_code_of_a_cell(page, url, site, base):
    base = url if base == "served" else site.as_uri()
    page.goto(f"{base}/zh/exercises/attention/attention.html")
    button = page.locator("button.copybtn").first
    assert button.get_attribute("data-tooltip") == "复制"
    button.click()
    page.evaluate("() => { const e = document.body.appendChild(document.createElement('textarea')); e.focus(); }")
    page.keyboard.press("Control+V")
    code = page.locator("div.cell pre").first.inner_text()
    assert page.evaluate("document.activeElement.value").strip() == code.strip() != ""


CUT_OFF = """(what) => [...document.querySelectorAll(`article :is(${what})`)]
  .filter((e) => e.getClientRects().length && e.scrollWidth > e.clientWidth + 1).map((e) => e.innerText.slice(0, 80))"""


@pytest.mark.parametrize("edition", EDITIONS)
def test_nothing_is_cut_off_on_paper(page, url, edition):
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 with margins of a centimetre
    for name in [*PAGES[:-1], "book/probing"]:  # probing has the widest formula
        page.goto(f"{url}/{edition}/{name}.html")
        assert page.evaluate(CUT_OFF, "pre, table, .katex-display, .highlight") == [], name
        assert page.evaluate(CLIPPED) == [], name
        page.set_viewport_size({"width": 484, "height": 1000})  # A5, narrower than most lines of code: they wrap
        assert page.evaluate(CUT_OFF, "pre") == [], name
        page.set_viewport_size({"width": 718, "height": 1000})


def test_the_exercises_need_no_script(browser, url):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/en/book/exercises.html")
    page.get_by_role("link", name="Self-attention that shows its weights").click()
    assert page.url.endswith("/exercises/attention/attention.html#ex-self-attention")
    with page.expect_download() as kept:
        page.get_by_role("link", name="Download the notebook").click()
    assert kept.value.suggested_filename == "attention.ipynb"
    context.close()


def test_an_address_that_leads_nowhere_is_answered_in_all_languages(page, url):
    page.goto(f"{url}/en/no/such/page.html")
    languages = page.locator("main").evaluate("e => [...e.querySelectorAll('p')].map(p => p.lang)")
    assert languages == ["en", "zh-CN", "zh-TW"]
    page.get_by_role("link", name="打开本书").click()
    page.wait_for_url("**/zh/book/preface.html")
