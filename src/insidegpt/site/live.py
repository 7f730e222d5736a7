"""Live figures: what a page needs where a code cell has `"live": {"figure": NAME, …}` in its metadata.

The figure stands under the cell's own output, drawn by `static/live/NAME.js` from the other entries of the metadata and
from what the shipped model computes for them while the book is built. Without JavaScript the place stays empty, and
JupyterLab shows the cell as ever. The scripts stand where the figure does, so that a browser has drawn it before it
lays out what follows, and are classic ones with their data beside them, which works from the file system. The
playground alone needs more: it loads the shipped model (`gpt2.js`) when a reader asks for it.
"""

from __future__ import annotations

import html
import json
import math
import zlib
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.errors import ConfigError

if TYPE_CHECKING:
    import torch


_SCRIPTS = Path(__file__).parent / "static" / "live"


def place_figures(app, doctree, docname):
    """Put the live figures of a page under the cells that ask for them."""
    if app.builder.name != "html":  # nothing moves in a PDF
        return
    asking = [c for c in doctree.findall(nodes.container) if "live" in c.get("cell_metadata", {})]

    def address(file: str) -> str:
        return f"{'../' * docname.count('/')}_static/live/{file}?v={digest(_SCRIPTS / file)}"

    for number, cell in enumerate(asking):
        options = dict(cell["cell_metadata"]["live"])
        name = options.pop("figure")
        if name not in FIGURES:
            raise ConfigError(f"{docname}: there is no live figure {name!r}: take one of {', '.join(FIGURES)}")
        data = html.escape(json.dumps(FIGURES[name](**options), ensure_ascii=False, separators=(",", ":")))
        shared = f'<link rel="stylesheet" href="{address("live.css")}"><script src="{address("live.js")}"></script>'
        cell.parent.insert(
            cell.parent.index(cell) + 1,
            nodes.raw(
                "",
                f'{"" if number else shared}<div class="live" data-figure="{name}" data-values="{data}">'
                f'<script src="{address(f"{name}.js")}"></script></div>',
                format="html",
            ),
        )


def digest(*files: Path) -> str:
    """What the files' addresses end in, as those of Sphinx's: a browser then shows no older ones after a new build."""
    checksum = 0
    for file in files:
        checksum = zlib.crc32(file.read_bytes(), checksum)
    return f"{checksum:08x}"


def softmax(words: list[str], scores: list[float]) -> dict:
    """Scores to begin with, one a word."""
    return {"words": words, "scores": scores}


def permutation(values: list[float], right: list[bool], edges: list[float], n_bins: int) -> list[dict]:
    """Two sets of values to test, as the bin and the group of each: the ones given, and some of the shipped model.

    The latter are the log norms of what the last layer's attention adds at each token of a window from the middle of
    the test stories, in `n_bins` bins of equal width; a token is right where the model foresees the next one.
    """
    import torch

    from insidegpt.models import SHIPPED, load_model
    from insidegpt.texts import load_text

    model, tokenizer = load_model(SHIPPED, "cpu")
    ids = tokenizer(load_text("story/test/en"), return_tensors="pt").input_ids[0]
    length = model.config.n_positions
    window = ids[len(ids) // 2 :][: length + 1]
    added = []
    hook = model.transformer.h[-1].attn.c_proj.register_forward_hook(lambda *call: added.append(call[-1][0]))
    try:
        with torch.inference_mode():
            hits = model(window[None, :-1]).logits[0].argmax(dim=-1) == window[1:]
    finally:
        hook.remove()
    norms = added[0].norm(dim=-1).log()
    inner = torch.linspace(norms.min(), norms.max(), n_bins + 1)[1:-1]
    return [
        {
            "values": values,
            "bins": [bisect_right(edges[1:-1], value) for value in values],
            "n_bins": len(edges) - 1,
            "right": right,
            "most": math.log(2),
        },
        {
            "bins": torch.bucketize(norms, inner, right=True).tolist(),
            "n_bins": n_bins,
            "right": hits.tolist(),
            "most": 0.3,  # shuffled labels give much less than ln 2 here
        },
    ]


def windows(story: int, n_tokens: int) -> list[dict]:
    """The first tokens of a test story in each language, and what each costs after each beginning, in nats.

    `nats[begin][i]` belongs to token begin + 1 + i, read from token `begin` on. The model looks back only, so a window
    that ends earlier gives the same numbers.
    """
    import torch
    from torch.nn.functional import cross_entropy
    from torch.nn.utils.rnn import pad_sequence

    from insidegpt.models import SHIPPED, load_model
    from insidegpt.texts import load_text

    model, tokenizer = load_model(SHIPPED, "cpu")
    texts = []
    for language in ("en", "zh"):
        text = load_text(f"story/test/{language}").split(tokenizer.eos_token)[1 + story]
        ids = tokenizer(text, return_tensors="pt").input_ids[0, :n_tokens]
        begins = range(n_tokens - 1)
        read = pad_sequence([ids[begin:-1] for begin in begins], batch_first=True)  # no token sees the padding after it
        targets = pad_sequence([ids[begin + 1 :] for begin in begins], batch_first=True, padding_value=-100)
        with torch.inference_mode():
            losses = cross_entropy(model(read).logits.mT, targets, reduction="none").tolist()
        nats = [[round(loss, 4) for loss in row[: n_tokens - 1 - begin]] for begin, row in enumerate(losses)]
        texts.append({"tokens": [tokenizer.decode([i]) for i in ids.tolist()], "nats": nats})
    return texts


def attention(texts: list[str]) -> list[dict]:
    """The tokens of each text and the scores of all heads of the shipped model before the mask, in thousandths.

    `scores[layer][head]` is a list of T · T numbers, row after row, a row for each query.
    """
    import torch

    from insidegpt.models import SHIPPED, load_model

    model, tokenizer = load_model(SHIPPED, "cpu")
    found = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            hidden = model(ids, output_hidden_states=True).hidden_states
            scores = [
                (1000 * attention_scores(block, h)).round().int().flatten(1).tolist()
                for block, h in zip(model.transformer.h, hidden, strict=False)  # the last is what the head reads
            ]
        found.append({"tokens": [tokenizer.decode([i]) for i in ids[0].tolist()], "scores": scores})
    return found


def attention_scores(block: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """The scaled scores of a GPT-2 block's heads, without a mask: (1, T, d_model) → (H, T, T)."""
    attn = block.attn
    query, key, _ = attn.c_attn(block.ln_1(hidden))[0].split(attn.split_size, dim=-1)  # (T, d_model)
    query, key = (x.unflatten(-1, (attn.num_heads, attn.head_dim)).transpose(0, 1) for x in (query, key))
    return query @ key.transpose(-2, -1) / attn.head_dim**0.5


def playground(examples: list[dict]) -> dict:
    """Texts to begin with, each with its language, its name in both and the head to look at; what is to be loaded.

    bytes: of the model; digest: of the model and the script that runs it.
    """
    files = model_files()
    return {
        "bytes": sum(file.stat().st_size for file in files),
        "digest": digest(_SCRIPTS / "gpt2.js", *files),
        "examples": examples,
    }


def model_files() -> list[Path]:
    """What the playground loads of the shipped model: it stands beside the editions, in `model/`."""
    from insidegpt.models import SHIPPED

    return [SHIPPED / name for name in ("config.json", "tokenizer.json", "model.safetensors")]


FIGURES = {f.__name__: f for f in (softmax, windows, attention, permutation, playground)}
"""What each figure draws, from the entries of its cell's metadata."""
