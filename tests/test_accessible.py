"""Every page as axe-core sees it, and what axe does not see: languages, figures, focus, what moves or jumps."""

# ruff: noqa: F811 — fixtures are handed over by their names

import json
import re
from io import BytesIO
from itertools import product
from pathlib import Path

import pytest
from lxml import html
from PIL import Image

from insidegpt.site.editions import EDITIONS
from insidegpt.site.passages import LEAST_WORDS, with_languages
from insidegpt.site.pictures import with_sizes
from test_browser import browser, page, pytestmark, url  # noqa: F401
from test_live import CHAPTERS

ROOT = Path(__file__).parent.parent
HAN = re.compile(r"[\u3400-\u9fff]")
MODES = [("light", 390), ("dark", 390), ("dark", 1600)]


def pages_of(site, edition):
    """The addresses of an edition's pages below its folder, but for the one that leads to the first."""
    pages = (p.relative_to(site / edition) for p in (site / edition).rglob("*.html"))
    return sorted(p.as_posix() for p in pages if p.parts[0] != "_static" and p.as_posix() != "index.html")


@pytest.fixture(scope="session")
def axe():
    """Hand over a function that runs axe-core in a page and says what it finds."""
    import axe_playwright_python

    script = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf8")

    def run(page, **context):
        page.evaluate(script)
        found = page.evaluate(
            "context => axe.run(context, {resultTypes: ['violations']})", context or {"include": "html"}
        )
        return [f"{v['impact']} {v['id']}: {n['target']}" for v in found["violations"] for n in v["nodes"]]

    return run


OBSERVE = """self.shifted = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) self.shifted += entry.value; })
  .observe({type: "layout-shift", buffered: true});"""


@pytest.fixture(scope="module")
def visited(browser, url, site, axe):
    """What axe finds on every page of an edition in a wide light window, and how far its text has jumped."""
    seen = {}

    def visit(edition):
        if edition not in seen:
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            page.add_init_script(OBSERVE)
            seen[edition] = {}
            for name in pages_of(site, edition):
                page.goto(f"{url}/{edition}/{name}")
                shifted = page.evaluate("shifted")
                page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true })")
                # Thousands of coloured letters alike: the sample below looks at them.
                seen[edition][name] = axe(page, exclude=[[".highlight"], [".katex"]]), shifted
            page.close()
        return seen[edition]

    return visit


@pytest.mark.parametrize("edition", EDITIONS)
def test_axe_finds_nothing_on_any_page(visited, edition):
    assert {name: found for name, (found, _) in visited(edition).items() if found} == {}


@pytest.mark.parametrize("edition", EDITIONS)
def test_no_text_jumps_while_a_page_loads(visited, edition):
    assert {name: shifted for name, (_, shifted) in visited(edition).items() if shifted >= 0.02} == {}


@pytest.mark.parametrize("name", ["index.html", "404.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_beside_the_editions(page, url, axe, name, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{url}/{name}")
    assert axe(page) == []


def use(figure):
    """Touch every control of a live figure; the playground has its own once the model is loaded."""
    if figure.get_attribute("data-figure") == "playground":
        figure.get_by_role("button").click()
        figure.locator("textarea").wait_for()
    for slider in figure.locator("input[type=range]").all():
        slider.press("ArrowRight")
    for box in figure.locator("input[type=checkbox]").all():
        box.press("Space")
    for button in figure.locator(".live-buttons button").all():
        button.click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_button_that_leads_back_to_the_top(page, url, axe, scheme):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 900})  # a wide window has none
    page.goto(f"{url}/en/book/gpt2.html")
    for down in (3000, -200):  # it shows itself to who turns back
        page.mouse.wheel(0, down)
        page.wait_for_timeout(300)
    page.locator("#pst-back-to-top").wait_for()
    assert axe(page, include=["#pst-back-to-top"]) == []


@pytest.mark.parametrize(
    ("scheme", "width", "edition", "figure"),
    # every mode sees every live figure and every edition
    [
        (*MODES[m], edition, list(CHAPTERS)[(e + m) % len(CHAPTERS)])
        for m, (e, edition) in product(range(3), enumerate(EDITIONS))
    ],
)
def test_axe_finds_nothing_in_a_chapter_in_use(page, url, axe, scheme, width, edition, figure):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{url}/{edition}/book/{CHAPTERS[figure]}.html")
    page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true })")
    use(page.locator(f'.live[data-figure="{figure}"]'))
    assert axe(page) == []
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog[open] input").fill("softmax")
    assert axe(page, include=["#pst-search-dialog"]) == []


def test_a_formula_that_outgrows_its_column_when_its_font_arrives_is_reached_by_key(page, url):
    formula = page.locator("#equation-eq-dot-product > .katex-display")
    late = []
    page.route("**/KaTeX_*.woff2", lambda font: late.append(font))
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(f"{url}/en/book/similarity.html", wait_until="domcontentloaded")
    page.wait_for_function("document.fonts.status === 'loading'")
    assert formula.evaluate("(e) => [e.scrollWidth > e.clientWidth, e.tabIndex]") == [False, -1]
    for font in late:
        font.continue_()
    page.locator("#equation-eq-dot-product > .katex-display[tabindex='0']").wait_for()
    assert formula.evaluate("(e) => e.scrollWidth > e.clientWidth")


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_passage_says_its_language(site, edition):
    english = re.compile(rf"(?:[A-Za-z][\w’'-]*[ \n,;:]+){{{LEAST_WORDS - 1}}}[A-Za-z]")
    for name in pages_of(site, edition):
        root = html.parse(site / edition / name).getroot().find("body")
        for element in root.xpath("//script | //style | //svg | //*[contains(@class, 'katex')]"):
            element.drop_tree()
        for element in root.iter("*"):
            own = [element.text or "", *(child.tail or "" for child in element)]
            lang = element.xpath("ancestor-or-self::*[@lang][1]/@lang")[0]
            if not lang.startswith("zh"):
                assert not [text for text in own if HAN.search(text)], (name, own)
            elif not element.xpath("ancestor-or-self::*[self::pre or self::code]"):
                assert not [text for text in own if english.search(text)], (name, own)


@pytest.mark.parametrize(
    ("page", "marked"),
    [
        ("<p>Attention (注意力) is</p>", '<p>Attention (<span lang="zh-CN">注意力</span>) is</p>'),
        ("<p>这里问的是<em>谁看谁</em>。</p>", '<p lang="zh-CN">这里问的是<em>谁看谁</em>。</p>'),
        ('<p lang="zh-CN">键（key）</p>', '<p lang="zh-CN">键（key）</p>'),
        ("<title>键</title><math><mi>键</mi></math>", "<title>键</title><math><mi>键</mi></math>"),
        ('<a title="键">a</a>', '<a title="键">a</a>'),
    ],
)
def test_chinese_in_an_english_page_is_marked(page, marked):
    page, marked = (f'<html lang="en"><body>{body}</body></html>' for body in (page, marked))
    assert with_languages(page) == marked == with_languages(marked)


@pytest.mark.parametrize(
    ("page", "marked"),
    [
        ("<p>Attention is all you need.</p>", '<p lang="en">Attention is all you need.</p>'),
        (
            "<p>题为 Attention is all you need 的论文</p>",
            '<p>题为 <span lang="en">Attention is all you need</span> 的论文</p>',
        ),
        ("<p>因果遮罩（causal mask）</p>", "<p>因果遮罩（causal mask）</p>"),
        ("<pre># 键<br>x</pre>", '<pre lang="en"># <span lang="zh-CN">键</span><br>x</pre>'),
        ("<code>键</code>鍵", '<code><span lang="zh-CN">键</span></code>鍵'),
        ('<a lang="zh-CN">简体</a>', '<a lang="zh-CN">简体</a>'),
    ],
)
def test_english_and_code_in_a_traditional_page_are_marked(page, marked):
    page, marked = (f'<html lang="zh-TW"><body>{body}</body></html>' for body in (page, marked))
    assert with_languages(page) == marked == with_languages(marked)


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_picture_has_its_size_and_an_alternative_text_in_the_language_of_its_page(site, edition):
    pictures = 0
    for name in pages_of(site, edition):
        path = site / edition / name
        for image in html.parse(path).xpath("//img"):
            pictures += 1
            with Image.open(path.parent / image.get("src")) as file:
                assert (int(image.get("width")), int(image.get("height"))) == file.size
            alt = image.get("alt")
            assert bool(HAN.search(alt)) == ("zh" in EDITIONS[edition].languages), (name, alt)
            assert bool(re.search(r"(?:[a-z]+ ){3}", alt)) == ("en" in EDITIONS[edition].languages), (name, alt)
    assert pictures >= len(CHAPTERS)


def test_a_picture_with_a_size_is_left_as_it_is(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "one.png")
    page = '<figure>\n<img alt="a" src="one.png" /></figure><img alt="b" src="one.png">'
    sized = with_sizes(page, tmp_path)
    assert sized.count('width="3" height="2"') == 2 and sized.count('href="one.png"') == 1
    assert with_sizes(sized, tmp_path) == sized


def points_of_smallest_letters(chapter):
    """By name of figure; matplotlib's style of the book has letters of 10 points."""
    cells = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text("utf8"))["cells"]
    named = {
        c["metadata"]["mystnb"]["figure"]["name"]: "".join(c["source"])
        for c in cells
        if "alt" in c["metadata"].get("i18n", {})
    }
    return {name: min(10, *map(float, re.findall(r"fontsize=(\d+)", source)), 10) for name, source in named.items()}


CHAPTERS_WITH_FIGURES = sorted(p.stem for p in ROOT.glob("book/*.ipynb") if "image/png" in p.read_text("utf8"))


@pytest.mark.parametrize("chapter", CHAPTERS_WITH_FIGURES)
def test_letters_in_figures_are_large_enough_on_a_phone(page, url, chapter):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/en/book/{chapter}.html")
    for name, points in points_of_smallest_letters(chapter).items():
        image = page.locator(f"#{name} img")
        shown, drawn = image.evaluate("i => [i.getBoundingClientRect().width, Number(i.getAttribute('width'))]")
        assert points * 150 / 72 * shown / drawn > 8.8, name  # drawn at 150 pixels an inch, of 72 points
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_figure_leads_to_itself_as_large_as_it_is(page, url):
    page.goto(f"{url}/zh/book/attention.html")
    page.locator("#fig-two-heads a.picture").press("Enter")
    page.wait_for_url("**/_images/*.png")


def brightest(locator):
    with Image.open(BytesIO(locator.screenshot())) as image:
        return image.convert("L").getextrema()[1]


def test_figures_do_not_glare_on_a_dark_page(page, url):
    page.emulate_media(color_scheme="dark")
    page.goto(f"{url}/en/book/attention.html")
    figure = page.locator("#fig-two-heads img")
    assert brightest(figure) < 215
    page.emulate_media(color_scheme="light")
    page.reload()
    assert brightest(figure) == 255


MOVES = """() => {
  const times = (list) => list.split(",").some((time) => parseFloat(time) > 0);
  return [...document.querySelectorAll("*")].flatMap((e) => [null, "::before", "::after"].map((part) => {
    const style = getComputedStyle(e, part);
    return style.animationName !== "none" || times(style.transitionDuration) || style.scrollBehavior === "smooth"
      ? `${e.tagName}.${e.className}${part || ""}` : null;
  })).filter(Boolean);
}"""


@pytest.mark.parametrize("figure", CHAPTERS)
def test_nothing_moves_where_motion_is_not_wanted(page, url, figure):
    page.goto(f"{url}/en/book/{CHAPTERS[figure]}.html")
    assert page.evaluate(MOVES) != []
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(MOVES) == []
    use(page.locator(f'.live[data-figure="{figure}"]'))
    assert page.evaluate("document.getAnimations().length") == 0


UNSEEN = """() => {
  const look = (e) => {
    const { outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor } = getComputedStyle(e);
    return [outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor].join();
  };
  const unseen = [];
  for (const e of document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")) {
    if (!e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    document.activeElement.blur();
    const before = look(e);
    e.focus({focusVisible: true, preventScroll: true});
    const style = getComputedStyle(e.querySelector(".toctree-toggle") || e);
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    if (document.activeElement === e && !outlined && look(e) === before) unseen.push(e.outerHTML.slice(0, 120));
  }
  return unseen;
}"""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1600), ("dark", 390)])
@pytest.mark.parametrize("name", ["book/masking", "book/probing", "exercises/attention/attention", "search"])
def test_focus_is_seen(page, url, name, scheme, width):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{url}/en/{name}.html")
    page.keyboard.press("Tab")  # a reader who uses keys
    assert page.evaluate(UNSEEN) == []


def test_the_first_key_leads_to_the_text(page, url):
    page.goto(f"{url}/zh/book/attention.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "跳到正文"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main-content")


SMALL = """() => [...document.querySelectorAll(`.edition-switcher a, .live :is(button, select, input),
    .sidebar-toggle, .article-header-buttons button, summary, .copybtn`)]
  .filter((e) => e.checkVisibility())
  .filter((e) => {
    const { width, height } = (e.querySelector(".toctree-toggle") || e.closest("label") || e).getBoundingClientRect();
    return width < 24 || height < 24;
  })
  .map((e) => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("figure", CHAPTERS)
def test_buttons_are_large_enough_for_a_finger(page, url, figure, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{url}/en-zh/book/{CHAPTERS[figure]}.html")
    assert page.evaluate(SMALL) == []
