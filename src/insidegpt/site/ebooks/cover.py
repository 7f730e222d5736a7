"""The cover of a book: what the shipped model's heads read, on average, while a story begins."""

from __future__ import annotations

import functools
from io import BytesIO
from threading import Lock

import numpy as np

from insidegpt.site.editions import Edition

SIZE = 1600, 2400
"""Pixels: two wide to three high, as shops and readers ask for."""
_N_TOKENS = 32  # fifty pixels each: they can be told apart where a cover is as small as a stamp
_INKS = ("#0f2a4a", "#3f7fb5", "#f3d9a4", "#ffffff")
"""From nothing read, which is the colour of the paper, to the most."""
_SOFT = "#c9d8e8"
_MARGIN = 0.09
_DRAWING = Lock()
"""Books are written at the same time, and matplotlib draws one picture at a time."""


@functools.cache
def cover(edition: Edition, subtitle: str) -> bytes:
    """The cover as a PNG: titles on what the mask leaves empty, in each of the edition's languages."""
    with _DRAWING:
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure

        import insidegpt.figures  # noqa: F401  (its fonts)

        width, height = SIZE
        paper = Figure((width / 200, height / 200), dpi=200, facecolor=_INKS[0], layout="none")
        map_ = paper.add_axes((0, 0, 1, width / height))
        map_.set_axis_off()
        # the square root: most shares are small, and are to be seen
        map_.imshow(mean_attention(edition.languages[0]) ** 0.5, LinearSegmentedColormap.from_list("", _INKS), vmax=0.8)
        top = 0.9
        for lines, size, colour in ((edition.title, 46, _INKS[-1]), (subtitle, 20, _SOFT)):
            for line in lines.split(" · "):
                paper.text(_MARGIN, top, line, fontsize=size, color=colour, va="top")
                top -= 1.4 * size / 72 * 200 / height
            top -= 0.01
        png = BytesIO()
        paper.savefig(png, format="png")
        return png.getvalue()


def mean_attention(language: str) -> np.ndarray:
    """Attention weights over the first test story's first tokens, the mean of all heads of all layers: (T, T)."""
    import torch

    from insidegpt.models import SHIPPED, load_model
    from insidegpt.texts import load_text

    model, tokenizer = load_model(SHIPPED, "cpu", attentions=True)
    story = load_text(f"story/test/{language}").split(tokenizer.eos_token)[1]
    ids = tokenizer(story, return_tensors="pt").input_ids[:, :_N_TOKENS]
    with torch.inference_mode():
        return torch.stack(model(ids, output_attentions=True).attentions).mean((0, 1, 2)).numpy()
