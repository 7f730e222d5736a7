"""GPT-2 in a page, in a real Chromium: loaded on demand, typed into, the same numbers as PyTorch's."""

# ruff: noqa: F811 — fixtures are handed over by their names

import re

import pytest
import torch

from insidegpt.models import SHIPPED, load_model
from insidegpt.texts import load_text
from test_browser import CLIPPED, browser, page, pytestmark, url  # noqa: F401
from test_live import asked_for
from test_live_browser import ONE_LANGUAGE

CLOSE = 1e-3
FOUR_PLACES = 5e-5 + CLOSE
TWO_PLACES = 5e-3 + CLOSE
PAGE = "book/playground.html"


@pytest.fixture(scope="module")
def shipped():
    return load_model(SHIPPED, "cpu", attentions=True)


@pytest.fixture
def loaded(page, url):
    """Open the page of an edition, load the model by keyboard and hand over the figure."""

    def load(edition="en"):
        page.goto(f"{url}/{edition}/{PAGE}")
        figure = page.locator(".live")
        figure.get_by_role("button").press("Enter")
        figure.locator("textarea").wait_for()
        return figure

    return load


def read(figure, text):
    """Put a text into the field and wait until all of it is read."""
    figure.locator("textarea").fill(text)
    settle(figure)


def settle(figure):
    figure.page.wait_for_function("""() => [...document.querySelectorAll(".live-nats")].slice(1)
        .every((nats) => nats.innerText !== "–")""")


def tokens(figure):
    """Of every token: what is shown, its surprise, its id."""
    rows = figure.locator("[role=radio]").evaluate_all(
        "all => all.map((b) => [...b.children].slice(1).map((c) => c.textContent))"
    )
    return [(shown, None if nats == "–" else float(nats), int(number)) for shown, nats, number in rows]


def shares(figure, which):
    """The rows of a list: name and share."""
    rows = figure.locator(".live-list").nth(which).locator("li:visible")
    return [(row.locator("b").inner_text(), float(row.locator(".live-share").inner_text())) for row in rows.all()]


def expected(shipped, text):
    """Ids, surprise of all but the first, probabilities after each token, attentions (L, H, T, T)."""
    model, tokenizer = shipped
    ids = tokenizer(text).input_ids[: model.config.n_positions]
    with torch.inference_mode():
        out = model(torch.tensor([ids]), output_attentions=True)
    log_p = out.logits[0].log_softmax(dim=-1)
    surprise = -log_p[:-1].gather(-1, torch.tensor(ids)[1:, None])[:, 0]
    return ids, surprise, log_p.exp(), torch.cat(out.attentions)


def check_tokens(figure, shipped, text):
    ids, surprise, *_ = expected(shipped, text)
    found = tokens(figure)
    assert [number for *_, number in found] == ids
    assert found[0][1] is None
    assert torch.allclose(torch.tensor([nats for _, nats, _ in found[1:]]), surprise, rtol=0, atol=TWO_PLACES)


def check_lists(figure, shipped, text, at, temperature=1.0):
    """What comes next after token `at`, and what the chosen head takes there, are PyTorch's."""
    _, _, p, attentions = expected(shipped, text)
    next_token = (p[at].log() / temperature).softmax(dim=-1).topk(10).values
    assert torch.allclose(torch.tensor([share for _, share in shares(figure, 0)]), next_token, rtol=0, atol=FOUR_PLACES)
    layer, head = (int(slider.input_value()) for slider in figure.locator("input[type=range]").all()[1:])
    weights = attentions[layer, head, at, : at + 1]
    listed = shares(figure, 1)
    for name, share in listed:
        assert share == pytest.approx(weights[int(name.split(":")[0])].item(), abs=FOUR_PLACES)
    said = figure.locator(".live-panels .live-note").inner_text().split("\n")[0]  # a second language follows
    rest, total = map(float, re.findall(r"(\d\.\d{4})", said))
    assert sum(share for _, share in listed) + rest == pytest.approx(total, abs=1e-3)
    assert total == pytest.approx(1, abs=1e-4)


def test_the_model_is_loaded_only_when_a_reader_asks_and_from_this_site_alone(page, url):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/en/{PAGE}")
    page.wait_for_load_state("networkidle")
    assert not [u for u in asked if "/model/" in u or "gpt2.js" in u]
    page.locator(".live button", has_text="Load the model (14 MB)").click()
    page.locator(".live textarea").wait_for()
    loaded = sorted(u.removeprefix(url) for u in asked if "/model/" in u or "gpt2.js" in u)
    files = ("/en/_static/live/gpt2.js", "/model/config.json", "/model/model.safetensors", "/model/tokenizer.json")
    digest = loaded[0].partition("?v=")[2]
    assert re.fullmatch(r"[0-9a-f]{8}", digest) and loaded == [f"{file}?v={digest}" for file in files]
    page.locator(".live textarea").press_sequentially(" Kate.")
    assert [u for u in asked if not u.startswith((url, "data:"))] == []


@pytest.mark.parametrize("edition", ["en", "zh"])
def test_every_example_shows_pytorchs_numbers(loaded, shipped, edition):
    figure = loaded(edition)
    for example in asked_for("playground")["examples"]:
        figure.get_by_role("button", name=example[edition], exact=True).nth(int(example["lang"] == "zh")).click()
        settle(figure)
        assert figure.locator("textarea").input_value() == example["text"]
        check_tokens(figure, shipped, example["text"])
        check_lists(figure, shipped, example["text"], at=len(tokens(figure)) - 1)


def test_the_first_example_is_the_text_of_the_cell_and_the_stories_are_of_the_test_split():
    examples = asked_for("playground")["examples"]
    for lang in ("en", "zh"):
        begun, _, story = (e["text"] for e in examples if e["lang"] == lang and e["text"] != "<|endoftext|>")
        assert story.startswith(begun)
        assert story.removeprefix("<|endoftext|>") in load_text(f"story/test/{lang}").split("<|endoftext|>")


@pytest.mark.parametrize(
    "text",
    ["Nora lost a key 昨天，在磨坊里。", "灯笼 🎉\n\n  and\ta naïve café", "<|endoftext|>", "x"],
    ids=["both languages", "bytes and odd spaces", "the start", "one token"],
)
def test_what_is_typed_is_read_as_pytorch_reads_it(loaded, shipped, text):
    figure = loaded()
    figure.locator("textarea").fill("")
    figure.locator("textarea").press_sequentially(text)
    settle(figure)
    check_tokens(figure, shipped, text)
    check_lists(figure, shipped, text, at=len(tokens(figure)) - 1)
    assert all(shown.strip() and "\ufffd" not in shown for shown, *_ in tokens(figure))


def test_a_word_changed_in_the_middle_is_read_anew(page, loaded, shipped):
    figure = loaded()
    text = asked_for("playground")["examples"][0]["text"]
    settle(figure)
    area = figure.locator("textarea")
    area.evaluate("(a, at) => { a.focus(); a.setSelectionRange(at, at + 4) }", text.index("Kate"))
    page.keyboard.type("Omar")
    settle(figure)
    check_tokens(figure, shipped, text.replace("Kate", "Omar"))
    assert shares(figure, 0)[0] == ("␣Omar", pytest.approx(1, abs=1e-3))


def test_nothing_typed_says_so(loaded):
    figure = loaded()
    read(figure, "")
    assert "nothing to read" in figure.locator("p[aria-live]").inner_text()
    assert figure.locator(".live-strip").is_hidden() and figure.locator(".live-panels").is_hidden()
    figure.get_by_role("button", name="append").click()
    assert figure.locator("textarea").input_value() == "<|endoftext|>"


def test_a_text_beyond_the_positions_of_the_model_is_cut_and_it_is_said(loaded, shipped):
    model, tokenizer = shipped
    figure = loaded()
    text = load_text("story/test/en")[:3000]
    read(figure, text)
    check_tokens(figure, shipped, text)
    cut = text[len(tokenizer.decode(tokenizer(text).input_ids[: model.config.n_positions])) :]
    said = figure.locator("p[aria-live]").inner_text()
    assert f"256 positions: the last {len(cut)} characters, from “{cut[:12]}” on, are not read." in said
    figure.get_by_role("button", name="draw").click()
    assert figure.locator("textarea").input_value() == text


def test_the_chosen_token_is_in_sight_in_a_long_text(page, loaded):
    figure = loaded()
    read(figure, asked_for("playground")["examples"][2]["text"])
    in_sight = """() => { const chosen = document.querySelector("[aria-checked=true]").getBoundingClientRect();
        const strip = document.querySelector(".live-strip").getBoundingClientRect();
        return chosen.top >= strip.top && chosen.bottom <= strip.bottom }"""
    assert figure.locator(".live-strip").evaluate("strip => strip.scrollHeight > strip.clientHeight")
    assert page.evaluate(in_sight)
    figure.locator("[role=radio]").last.press("Home")
    assert page.evaluate(in_sight)


def test_the_likeliest_tokens_are_those_of_greedy_decoding(loaded, shipped):
    model, tokenizer = shipped
    figure = loaded()
    text = asked_for("playground")["examples"][0]["text"]
    for _ in range(8):
        figure.get_by_role("button", name="append").press("Enter")
    ids = tokenizer(text, return_tensors="pt").input_ids
    mask = torch.ones_like(ids)
    written = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=0)[0]
    assert [number for *_, number in tokens(figure)] == written.tolist()
    assert figure.locator("textarea").input_value() == tokenizer.decode(written.tolist())
    assert "append" in figure.page.evaluate("document.activeElement.innerText"), "the focus stays"


def test_drawn_tokens_follow_the_probabilities_at_the_temperature(loaded, shipped):
    figure = loaded()
    heat = figure.locator("input[type=range]").first
    heat.focus()
    heat.press("Home")
    text = "<|endoftext|>"
    read(figure, text)
    check_lists(figure, shipped, text, at=0, temperature=0.1)
    begun = {"This", "Once", "从前", "这个"}  # the four that are far ahead
    for _ in range(5):
        read(figure, text)
        figure.get_by_role("button", name="draw").click()
        assert tokens(figure)[1][0] in begun
    heat.press("End")
    read(figure, text)
    check_lists(figure, shipped, text, at=0, temperature=2.0)
    drawn = set()
    for _ in range(20):
        read(figure, text)
        figure.get_by_role("button", name="draw").click()
        drawn.add(tokens(figure)[1][0])
    assert len(drawn) > 8 and not drawn <= begun


def test_a_byte_that_was_written_stays_the_token_that_it_is(loaded, shipped):
    figure, text = loaded(), "<|endoftext|>望月望月望月望月望"
    read(figure, text)
    ids, _, p, _ = expected(shipped, text)
    byte = p[-1].argmax().item()
    assert shipped[1].decode([byte]) == "\ufffd", "the likeliest is a part of a character"
    for _ in range(2):
        figure.get_by_role("button", name="append").click()
    assert tokens(figure)[len(ids)][::2] == ("⟨88⟩", byte)
    assert figure.locator("textarea").input_value().startswith(f"{text}\ufffd")


def test_everything_can_be_reached_and_chosen_by_keyboard(page, loaded, shipped):
    figure = loaded()
    settle(figure)
    text = asked_for("playground")["examples"][0]["text"]
    visited = []
    for _ in range(20):
        visited.append(page.evaluate("document.activeElement.getAttribute('role') || document.activeElement.type"))
        if visited[-1] == "radio":
            break
        page.keyboard.press("Tab")
    assert visited[0] == "button" and "textarea" in visited and visited[-1] == "radio"
    last = len(tokens(figure)) - 1
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert figure.locator("[role=radio]").nth(last - 2).get_attribute("aria-checked") == "true"
    check_lists(figure, shipped, text, at=last - 2)
    page.keyboard.press("Home")
    check_lists(figure, shipped, text, at=0)
    page.keyboard.press("End")
    page.keyboard.press("Tab")  # the temperature, then layer and head
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    check_lists(figure, shipped, text, at=last)
    assert [s.input_value() for s in figure.locator("input[type=range]").all()[1:]] == ["0", "5"]
    assert page.url.endswith(PAGE), "no arrow key turned the page"


@pytest.mark.parametrize(
    ("edition", "words"),
    [
        ("en", "run “make serve”"),
        ("zh", "请运行“make serve”"),
        ("zh-tw", "請執行「make serve」"),
        ("en-zh", "Run “make serve”"),
        ("en-zh", "请运行“make serve”"),
    ],
)
def test_from_the_file_system_the_place_says_what_to_do(page, site, edition, words):
    page.goto(f"{site.as_uri()}/{edition}/{PAGE}")
    assert words.casefold() in page.locator(".live").inner_text().casefold()
    assert page.locator(".live button").count() == 0


def test_a_model_that_is_not_there_is_told_and_can_be_asked_for_again(browser, url):
    page = browser.new_page(service_workers="block")  # the route below does not hold for what a worker asks for
    page.route("**/model/config.json?v=*", lambda route: route.fulfill(status=404))
    page.goto(f"{url}/zh/{PAGE}")
    button = page.locator(".live button")
    button.click()
    page.locator(".live [role=status]", has_text="config.json: 404").wait_for()
    page.unroute("**/model/config.json?v=*")
    button.click()
    page.locator(".live textarea").wait_for()
    page.close()


@pytest.mark.parametrize("edition", ["zh", "zh-tw"])
def test_the_chinese_editions_begin_with_a_chinese_text_that_the_model_knows(loaded, shipped, edition):
    figure = loaded(edition)
    settle(figure)
    text = next(e["text"] for e in asked_for("playground")["examples"] if e["lang"] == "zh")
    assert figure.locator("textarea").input_value() == text
    check_tokens(figure, shipped, text)
    said = figure.locator("p[aria-live]").inner_text()
    assert ("个词元" if edition == "zh" else "個詞元") in said
    for control in figure.locator("input, textarea, button:not([role])").all():
        assert re.search(r"[\u4e00-\u9fff]", control.evaluate("c => c.ariaLabel || c.innerText"))
    twice = "五个词，两遍" if edition == "zh" else "五個詞，兩遍"
    assert figure.get_by_role("button", name=twice).count() == 2


def test_the_edition_of_two_languages_says_everything_in_both(page, loaded, shipped):
    figure = loaded("en-zh")
    text = asked_for("playground")["examples"][0]["text"]
    settle(figure)
    check_tokens(figure, shipped, text)
    check_lists(figure, shipped, text, at=len(tokens(figure)) - 1)
    assert figure.evaluate(ONE_LANGUAGE) == []
    for other in ("", "一 🎉", load_text("story/test/en")[:3000]):  # nothing, both languages, too much
        read(figure, other)
        assert figure.evaluate(ONE_LANGUAGE) == []
    figure.get_by_role("button", name="抽一个词元").click()
    assert figure.evaluate(ONE_LANGUAGE) == []


@pytest.mark.parametrize(("width", "edition"), [(390, "en"), (390, "zh"), (390, "en-zh"), (1600, "zh-tw")])
def test_nothing_is_clipped_with_a_long_text_of_odd_tokens(page, loaded, width, edition):
    page.set_viewport_size({"width": width, "height": 800})
    figure = loaded(edition)
    read(figure, "<|endoftext|>" * 3 + "🎉" * 5 + load_text("story/test/zh")[:400] + "\u3000\u200b" * 5)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(CLIPPED) == []


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (colours) => { canvas.clearRect(0, 0, 1, 1);
    for (const c of colours) { canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1) }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3) };
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  return Math.min(...[...document.querySelectorAll(".live :is(p, b, small, button, textarea, span)")]
    .filter((e) => e.getClientRects().length && (e.value ?? e.innerText)).map((e) => {
      const behind = [];
      for (let at = e; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
      const both = [behind, [...behind, getComputedStyle(e).color]].map((colours) => light(over(colours)));
      const [one, other] = both.sort((a, b) => b - a);
      return (one + 0.05) / (other + 0.05);
    }));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_written_stands_out_from_its_shade(page, loaded, scheme):
    page.emulate_media(color_scheme=scheme)
    figure = loaded()
    read(figure, "zz 🎉 qq xx The quick brown fox")  # costs much, so that the shades are the darkest
    assert max(nats for _, nats, _ in tokens(figure)[1:]) > 8
    assert page.evaluate(CONTRAST) >= 4.5
