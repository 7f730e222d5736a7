"""The live figures in a real Chromium, from the file system: by keyboard, by pointer, in both languages."""

# ruff: noqa: F811 — fixtures are handed over by their names

import json
import math
import re

import pytest
import torch

from insidegpt.divergence import js_divergence, permutation_test
from insidegpt.models import SHIPPED, load_model
from insidegpt.perplexity import sliding_windows, strided_perplexity
from insidegpt.site import live
from insidegpt.site.editions import EDITIONS
from test_browser import CLIPPED, browser, page, pytestmark  # noqa: F401
from test_live import CHAPTERS, asked_for

NUMBER = r"(\d+(?:\.\d+)?)"


@pytest.fixture
def opened(page, site):
    """Open a live figure of an edition and hand it over."""

    def open_figure(figure, edition="en"):
        page.goto(f"{site.as_uri()}/{edition}/book/{CHAPTERS[figure]}.html")
        return page.locator(f'.live[data-figure="{figure}"]')

    return open_figure


def press(slider, key, times=1):
    slider.focus()
    for _ in range(times):
        slider.press(key)


def numbers(locator):
    return torch.tensor([float(text) for text in locator.all_inner_texts()], dtype=torch.float64)


def move(page, slider, share):
    """Drag a slider's knob with the pointer to a share of its width."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + share * box["width"], middle, steps=5)
    page.mouse.up()


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("figure", CHAPTERS)
def test_every_figure_speaks_the_language_of_its_page_and_labels_its_controls(opened, edition, figure):
    drawn = opened(figure, edition)
    title = drawn.locator(".live-title").inner_text()
    assert title.startswith({"zh": "动手试试", "zh-tw": "動手試試"}.get(edition, "Try it"))
    for control in drawn.locator("input, select, button").all():
        assert control.evaluate("c => c.ariaLabel || c.labels?.[0]?.innerText || c.innerText")


ONE_LANGUAGE = """(figure) => {
  const both = /[A-Za-z].* · .*\\p{Script=Han}/u, found = [];
  const walker = document.createTreeWalker(figure, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode()); ) {
    const { parentElement: parent, data } = text;
    if (!/\\p{L}{2}/u.test(data) || both.test(data) || parent.closest("script, .live-strip, .live-list")) continue;
    if (!figure.contains(parent.closest("[lang]"))) found.push(data); // words of the page's language alone
  }
  for (const words of figure.querySelectorAll(".live-both")) {
    const [en, zh] = words.children;
    if (en.lang !== "en" || zh.lang !== "zh-CN" || !/\\p{Script=Han}/u.test(zh.innerText)) found.push(words.innerText);
    for (const number of en.innerText.match(/\\d+(\\.\\d+)?/g) ?? []) {
      if (!zh.innerText.match(/\\d+(\\.\\d+)?/g)?.includes(number)) found.push(`${number}: ${words.innerText}`);
    }
  }
  for (const e of [figure, ...figure.querySelectorAll("*")]) {
    for (const words of [e.ariaLabel, e.placeholder]) if (words && !both.test(words)) found.push(words);
  }
  return found;
}"""
"""What a figure of the edition in two languages says in one of them, or with other numbers in the other."""


@pytest.mark.parametrize("figure", CHAPTERS)
def test_every_figure_speaks_both_languages_in_the_edition_of_two(opened, figure):
    drawn = opened(figure, "en-zh")
    assert drawn.locator(".live-title span").all_inner_texts()[-1].startswith("动手试试")
    assert drawn.evaluate(ONE_LANGUAGE) == []
    for control in drawn.locator("input[type=range], input[type=checkbox], .live-buttons button").all():
        control.press("ArrowRight" if control.get_attribute("type") == "range" else "Space")
        assert drawn.evaluate(ONE_LANGUAGE) == []
    for choice in drawn.locator("select").all():
        choice.select_option(index=1)
        assert drawn.evaluate(ONE_LANGUAGE) == []


@pytest.mark.parametrize("edition", ["en", "en-zh"])
@pytest.mark.parametrize("figure", CHAPTERS)
def test_no_figure_is_clipped_on_a_phone(page, opened, figure, edition):
    page.set_viewport_size({"width": 390, "height": 800})
    opened(figure, edition)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(CLIPPED) == []


@pytest.mark.parametrize("edition", ["en", "en-zh"])
@pytest.mark.parametrize("figure", CHAPTERS)
def test_nothing_moves_when_a_figure_is_drawn(page, opened, figure, edition):
    opened(figure, edition).evaluate("f => f.scrollIntoView({block: 'end'})")
    page.reload()  # a browser goes back to where the reader was
    page.wait_for_timeout(300)
    moved = page.evaluate("""() => new Promise((say) => new PerformanceObserver((list) => say(
        // a section of which more is there now has not moved: its top has not
        list.getEntries().flatMap((e) => e.sources.filter((s) => s.previousRect.y !== s.currentRect.y)
            .map((s) => s.node?.nodeName + " " + s.node?.className))
    )).observe({type: "layout-shift", buffered: true}) || setTimeout(() => say([]), 500))""")
    assert not [node for node in moved if "live" in node or node.startswith(("SECTION", "P "))]


@pytest.mark.parametrize("figure", CHAPTERS)
def test_without_scripts_the_page_shows_what_it_always_showed(browser, site, figure):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{site.as_uri()}/en/book/{CHAPTERS[figure]}.html")
    assert not page.locator(".live").is_visible()
    assert page.locator(".cell_output img").first.is_visible()
    page.close()


@pytest.mark.parametrize("edition", ["en", "en-zh"])
def test_the_shares_of_softmax_are_pythons(page, opened, edition):
    figure = opened("softmax", edition)
    sliders = figure.locator("input")
    begun = torch.tensor(asked_for("softmax")["scores"], dtype=torch.float64)

    def check():
        scores, temperature = numbers(figure.locator(".live-row output")), numbers(figure.locator("output"))[-1]
        shares = numbers(figure.locator(".live-share"))
        assert torch.allclose(shares, torch.softmax(scores / temperature, dim=-1), atol=5e-3)
        return scores, temperature, shares

    scores, temperature, at_first = check()
    assert torch.equal(scores, begun) and temperature == 1

    press(sliders.nth(4), "ArrowRight", 10)
    assert check()[0][4] == pytest.approx(1.2)  # 0.70, to which the slider rounds, and ten steps of 0.05
    move(page, sliders.nth(0), 0.9)
    assert check()[0][0] > 2.5
    press(sliders.last, "ArrowLeft", 20)
    assert check()[1] == pytest.approx(0.1)
    move(page, sliders.last, 0.95)
    assert check()[1] > 10

    figure.get_by_role("button", name="as in the chapter").click()
    figure.get_by_role("button", name="add 1").press("Enter")
    assert torch.equal(check()[2], at_first)  # softmax looks at differences
    figure.get_by_role("button", name="double").click()
    scores, _, shares = check()
    assert torch.allclose(scores, 2 * (begun + 1)) and shares[1] > at_first[1]


def windows_shown(figure):
    """Every window that the figure shows, as Python counts: begin, end, first."""
    which = figure.locator("input").nth(2)
    press(which, "Home")
    found = []
    for _ in range(int(which.get_attribute("max"))):
        said = figure.locator(".live-note").nth(1).inner_text()
        read, scored = re.search(r"tokens (.+), counted.* scores (.+):", said).groups()
        ends = [[int(n) for n in re.findall(r"\d+", part)] for part in (read, scored)]
        found.append((ends[0][0], ends[0][-1] + 1, ends[1][0]))
        which.press("ArrowRight")
    return found


@pytest.mark.parametrize("edition", ["en", "en-zh"])
def test_the_windows_and_their_perplexity_are_pythons(page, opened, edition):
    model, tokenizer = load_model(SHIPPED, "cpu")
    figure = opened("windows", edition)
    length, stride, which = figure.locator("input").all()

    def check(language=0):
        text = [token.text_content() for token in figure.locator(".live-token b").all()]
        n = asked_for("windows")["n_tokens"]
        at = int(length.input_value()), int(stride.input_value())
        assert len(text) == n
        assert windows_shown(figure) == [tuple(w) for w in sliding_windows(n, *at)]
        whole = "".join(json.loads(figure.get_attribute("data-values"))[language]["tokens"])
        scores = strided_perplexity(model, tokenizer(whole, return_tensors="pt").input_ids, at[1], at[0])
        said = figure.locator(".live-note").nth(2).inner_text()
        assert float(re.search(r"Perplexity (\d+\.\d+)", said)[1]) == pytest.approx(scores.perplexity, rel=1e-3)
        return scores.perplexity

    check()
    press(stride, "End")  # fixed windows
    fixed = check()
    press(stride, "Home")
    assert check() < fixed  # more to read
    move(page, length, 0.9)
    assert int(length.input_value()) > 12
    check()
    press(length, "Home")  # and the stride follows
    assert int(stride.input_value()) == 1
    figure.locator("select").select_option("中文")
    check(language=1)
    figure.locator("svg").click(position={"x": 20, "y": 143})
    assert int(which.input_value()) == int(which.get_attribute("max"))


@pytest.mark.parametrize("edition", ["en", "en-zh"])
def test_the_weights_of_a_head_are_pythons_with_the_mask_and_without(page, opened, edition):
    model, tokenizer = load_model(SHIPPED, "cpu", attentions=True)
    figure = opened("attention", edition)
    layer, head = figure.locator("input[type=range]").all()
    mask = figure.locator("input[type=checkbox]")
    sentence = asked_for("attention")["texts"][0]
    attentions = model(tokenizer(sentence, return_tensors="pt").input_ids, output_attentions=True).attentions

    def shown():
        query = figure.locator("[role=radio]").all()
        at = [q.get_attribute("aria-checked") for q in query].index("true")
        return at, numbers(figure.locator("[role=radio] small")).float()

    def check():
        at, weights = shown()
        expected = attentions[int(layer.input_value())][0, int(head.input_value()), at]
        assert torch.allclose(weights, expected, atol=2e-3)
        return at

    last = check()
    figure.locator("[role=radio]").last.press("ArrowLeft")
    assert check() == last - 1
    assert page.evaluate("document.activeElement.getAttribute('aria-checked')") == "true"
    press(layer, "ArrowRight", 2)
    press(head, "End")
    check()
    figure.locator("[role=radio]").nth(4).click()
    assert check() == 4
    move(page, head, 0.1)
    assert check() == 4

    _, masked = shown()
    mask.press("Space")
    _, open_weights = shown()
    assert masked[5:].sum() == 0 < open_weights[5:].sum()
    assert open_weights.sum() == pytest.approx(1, abs=0.01)
    assert torch.allclose(open_weights[:5] / open_weights[:5].sum(), masked[:5], atol=0.02)
    figure.locator("svg").click(position={"x": 30, "y": 5})
    assert shown()[0] == 0


@pytest.mark.parametrize("edition", ["en", "en-zh"])
def test_the_permutation_test_is_pythons(page, opened, edition):
    page.emulate_media(reduced_motion="reduce")
    figure = opened("permutation", edition)
    begun = asked_for("permutation")
    values, right = torch.tensor(begun["values"]), torch.tensor(begun["right"])
    note = figure.locator("p[aria-live]")

    def divergence(right):
        groups = [torch.histogram(values[g], torch.tensor(begun["edges"])).hist / g.sum() for g in (right, ~right)]
        return js_divergence(*groups).item()

    def said():
        observed, n, reached, p = re.search(
            rf"Observed: {NUMBER}\. Of {NUMBER} others {NUMBER} reach it: .* = {NUMBER}\.", note.inner_text()
        ).groups()
        assert float(p) == pytest.approx((1 + int(reached)) / (1 + int(n)), abs=1e-4)
        return float(observed), int(n), float(p)

    assert said() == (pytest.approx(divergence(right), abs=1e-4), 0, 1)
    figure.get_by_role("button", name="once").press("Enter")
    assert said()[1] == 1
    for _ in range(4):
        figure.get_by_role("button", name="1000 times").click()  # at once, since motion is not wanted
    _, n, p = said()
    assert n == 4001
    assert p == pytest.approx(34 / 70, abs=0.05)  # what all 70 ways give, give or take six standard errors

    figure.locator(".live-number").nth(4).press("Space")
    right[4] = True
    assert said() == (pytest.approx(divergence(right), abs=1e-4), 0, 1)
    for i in (5, 6, 7):
        figure.locator(".live-number").nth(i).click()
    assert not math.isnan(said()[0])  # the last one stays: a group without numbers has no histogram


@pytest.mark.parametrize("circular", [False, True], ids=["shuffled", "turned"])
def test_the_permutation_test_of_the_models_last_layer_is_pythons(page, opened, circular):
    page.emulate_media(reduced_motion="reduce")
    figure = opened("permutation")
    figure.locator("select").select_option(index=1)
    assert figure.locator(".live-number").first.is_hidden()
    if circular:
        figure.get_by_role("checkbox").press("Space")
    for _ in range(4):
        figure.get_by_role("button", name="1000 times").click()
    said = figure.locator("p[aria-live]").inner_text()
    tested = live.permutation(**asked_for("permutation"))[1]
    values, hits = torch.tensor([tested["bins"]], dtype=torch.float32), torch.tensor(tested["right"])
    test = permutation_test(values, hits, tested["n_bins"], 4000, torch.Generator().manual_seed(0), circular=circular)
    assert float(re.search(rf"Observed: {NUMBER}\.", said)[1]) == pytest.approx(test.observed.item(), abs=1e-4)
    assert float(re.search(rf"= {NUMBER}\.$", said)[1]) == pytest.approx(test.p_value.item(), abs=0.015)


def test_the_histogram_fills_before_the_readers_eyes(opened):
    figure = opened("permutation")
    figure.get_by_role("button", name="1000 times").click()
    figure.locator("p[aria-live][aria-busy=false]").wait_for()
    assert "Of 1000 others" in figure.locator("p[aria-live]").inner_text()
    heights = figure.locator("svg rect").evaluate_all("all => all.map((bar) => Number(bar.getAttribute('height')))")
    assert max(heights) > 50
