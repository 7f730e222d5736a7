"""The look that all figures of the book share: importing this module sets matplotlib's style.

Labels inside figures are bilingual, and readers have different fonts, so the package ships one that holds every
character they need: `assets/fonts/NotoSansSC-Subset.otf`, a subset of Noto Sans CJK SC 2.004 (SIL Open Font License,
`OFL.txt` beside it) with Latin, Greek, arrows, mathematical signs and all 6763 Chinese characters of GB 2312. It was
made from Debian's `fonts-noto-cjk` with `pyftsubset NotoSansCJK-Regular.ttc --font-number=2 --layout-features=''
--no-hinting --text-file=…`; then the middle dot, which is as wide as a Chinese character there, was set to 0.44 em, and
the font renamed "Noto Sans SC Subset", so that it never stands in for an installed one. `NotoSansTC-Subset.otf`, made
and renamed alike from font number 3, holds what the covers of the Traditional edition show beyond those: `--text=進與`.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.font_manager import fontManager
from numpy.typing import ArrayLike

_FONTS = Path(__file__).parent / "assets" / "fonts"
FONT = _FONTS / "NotoSansSC-Subset.otf"

COLOURS = ("#12355b", "#c8501e", "#e9a83b")
"""Dark, middle and light: they stay apart in print and for colour-blind readers."""

fontManager.addfont(FONT)
fontManager.addfont(_FONTS / "NotoSansTC-Subset.otf")
mpl.rcParams.update(
    {
        "font.family": ["Noto Sans SC Subset", "Noto Sans TC Subset", "DejaVu Sans"],
        "font.size": 10,
        "figure.figsize": (4.8, 3.4),  # inches: at a phone's width 10 pt are still readable
        "figure.dpi": 150,
        "figure.constrained_layout.use": True,
        "axes.prop_cycle": cycler(color=COLOURS, linestyle=["-", "--", "-."]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "image.cmap": "Blues",
        "legend.frameon": False,
        "lines.linewidth": 2,
    }
)


def heatmap(ax: Axes, matrix: ArrayLike, rows: Sequence[str], columns: Sequence[str], number: str = ".2f") -> None:
    """Draw a matrix of shares as shaded cells with their numbers, one row a query and one column a key.

    matrix: (len(rows), len(columns)), values from 0 (white) to 1 (dark); number: format of the number in a cell.
    """
    matrix = np.asarray(matrix)
    ax.imshow(matrix, vmin=0, vmax=1)
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xlabel("key position · 键的位置")
    ax.set_ylabel("query position · 查询的位置")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    for (row, column), value in np.ndenumerate(matrix):
        colour = "white" if value > 0.72 else "black"  # where the two have the same contrast to the shade, 4.5 : 1
        ax.text(column, row, format(value, number), ha="center", va="center", color=colour)
