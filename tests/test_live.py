"""What the live figures draw: the numbers of the chapters and of the shipped model, on the pages that have one."""

import json
import re
from pathlib import Path

import pytest
import torch

from insidegpt.divergence import js_divergence
from insidegpt.models import SHIPPED, load_model
from insidegpt.perplexity import sliding_windows, strided_perplexity
from insidegpt.site import live
from insidegpt.site.editions import EDITIONS

ROOT = Path(__file__).parent.parent
CHAPTERS = {
    "softmax": "similarity",
    "windows": "perplexity",
    "attention": "masking",
    "permutation": "probing",
    "playground": "playground",
}


def asked_for(figure):
    """The entries of the metadata with which a chapter asks for a figure."""
    cells = json.loads((ROOT / "book" / f"{CHAPTERS[figure]}.ipynb").read_text("utf8"))["cells"]
    [options] = [c["metadata"]["live"] for c in cells if c["metadata"].get("live", {}).get("figure") == figure]
    return {name: value for name, value in options.items() if name != "figure"}


def namespace(chapter, *beginnings):
    """The names that the cells of a chapter define whose sources begin so, run one after the other."""
    cells = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text("utf8"))["cells"]
    names = {"torch": torch}
    for beginning in beginnings:
        [source] = [s for c in cells if (s := "".join(c["source"])).startswith(beginning)]
        exec(source, names)
    return names


@pytest.fixture(scope="module")
def shipped():
    return load_model(SHIPPED, "cpu", attentions=True)


def test_the_softmax_begins_with_the_words_and_scores_of_the_chapter():
    chapter, begun = namespace("similarity", "words =", "journey, starts", "scores_2 ="), asked_for("softmax")
    assert begun["words"] == chapter["words"]
    assert begun["scores"] == pytest.approx(chapter["scores_2"].tolist(), abs=5e-5)


def test_the_permutation_test_begins_with_the_numbers_and_bins_of_the_chapter():
    chapter, begun = namespace("probing", "right ="), asked_for("permutation")
    values = torch.tensor(begun["values"])
    right = torch.tensor(begun["right"])
    assert torch.equal(values[right], chapter["right"])
    assert torch.equal(values[~right], chapter["wrong"])
    assert torch.equal(torch.tensor(begun["edges"]), chapter["edges"])


def test_the_permutation_test_of_the_model_is_the_one_of_the_chapter():
    tested = live.permutation(**asked_for("permutation"))[1]
    bins, right = torch.tensor(tested["bins"]), torch.tensor(tested["right"])
    groups = [torch.bincount(bins[group], minlength=tested["n_bins"]) / group.sum() for group in (right, ~right)]
    cells = json.loads((ROOT / "book" / "probing.ipynb").read_text("utf8"))["cells"]
    printed = "".join(line for c in cells for o in c.get("outputs", []) for line in o.get("text", []))
    assert f"JSD {js_divergence(*groups):.4f}, as before" in printed


@pytest.mark.parametrize(("length", "stride"), [(8, 7), (8, 4), (2, 1), (16, 5)])
def test_the_surprisals_of_the_windows_are_those_of_the_shipped_model(shipped, length, stride):
    model, tokenizer = shipped
    for text in live.windows(**asked_for("windows")):
        ids = tokenizer("".join(text["tokens"]), return_tensors="pt").input_ids[0]
        scores = strided_perplexity(model, ids, stride, length)
        windows = sliding_windows(len(ids), length, stride)
        nats = sum(sum(text["nats"][begin][first - begin - 1 : end - begin - 1]) for begin, end, first in windows)
        assert nats == pytest.approx(scores.nats, abs=0.01)


def test_the_scores_of_all_heads_give_the_attention_weights_of_the_shipped_model(shipped):
    model, tokenizer = shipped
    for text in live.attention(**asked_for("attention")):
        T = len(text["tokens"])
        scores = torch.tensor(text["scores"]).unflatten(-1, (T, T)) / 1000  # (L, H, T, T)
        later = torch.ones(T, T, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(later, -torch.inf).softmax(dim=-1)
        sentence = next(t for t in asked_for("attention")["texts"] if len(tokenizer(t).input_ids) == T)
        attentions = model(tokenizer(sentence, return_tensors="pt").input_ids, output_attentions=True).attentions
        assert torch.allclose(weights, torch.cat(attentions), atol=1e-3)


def test_a_figure_that_does_not_exist_stops_the_build():
    from docutils import nodes
    from docutils.utils import new_document
    from sphinx.errors import ConfigError

    class App:
        class builder:
            name = "html"

    page = new_document("page")
    page += nodes.container(cell_metadata={"live": {"figure": "softmaxx"}})
    with pytest.raises(ConfigError, match="no live figure 'softmaxx'"):
        live.place_figures(App, page, "book/page")


def test_the_model_of_the_playground_stands_beside_the_editions_once(site):
    """… where the scripts of every edition look for it: three folders above their own."""
    model = site / "en" / "_static" / "live" / "../../../model"
    assert (model / "model.safetensors").read_bytes() == (SHIPPED / "model.safetensors").read_bytes()
    assert [path.parent for path in site.rglob("*.safetensors")] == [model.resolve()]


def test_scripts_of_the_traditional_edition_say_nothing_in_simplified_characters(site):
    from opencc import OpenCC

    again = OpenCC("s2tw")
    for script in (site / "zh-tw" / "_static" / "live").glob("*.js"):
        said = re.findall(r"[\u4e00-\u9fff]+", script.read_text("utf8"))
        assert all(
            one in (other, *"了布只") for one, other in zip("".join(said), again.convert("".join(said)), strict=True)
        )


@pytest.mark.parametrize("edition", EDITIONS)
def test_only_pages_with_a_live_figure_load_its_scripts(site, edition):
    loaded = {
        path.stem: re.findall(r'_static/live/(\w+)\.js\?v=\w+"', path.read_text("utf8"))
        for path in (site / edition).rglob("*.html")
    }
    assert {page: scripts for page, scripts in loaded.items() if scripts} == {
        chapter: ["live", figure] for figure, chapter in CHAPTERS.items()
    }


def test_the_address_of_a_script_changes_with_the_script(tmp_path):
    script = tmp_path / "figure.js"
    script.write_text("one")
    before = live.digest(script)
    assert live.digest(script) == before
    script.write_text("two")
    assert live.digest(script) != before
    other = tmp_path / "model.safetensors"
    other.write_text("weights")
    assert live.digest(script, other) != live.digest(script)


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_script_and_style_sheet_of_a_page_has_a_digest_in_its_address(site, edition):
    for figure, chapter in CHAPTERS.items():
        text = (site / edition / "book" / f"{chapter}.html").read_text("utf8")
        addresses = re.findall(r'(?:src|href)="([^"]*_static/[^"]*\.(?:js|css)[^"]*)"', text)
        assert any(f"live/{figure}.js" in address for address in addresses)
        assert [a for a in addresses if not re.search(r"\?(v|digest)=\w+$|\.\w{64}\.css$", a)] == []
