"""What a browser needs to know of a picture before it has come: its size, so that no text jumps when it does."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import imagesize

_IMAGE = re.compile(
    r'(?P<figure><figure\b[^>]*>\s*)?<img\b(?P<rest>(?![^>]*\swidth=)[^>]*\ssrc="(?P<src>[^":]+)"[^>]*>)'
)


def with_sizes(html: str, folder: Path) -> str:
    """A page with the size of every picture of the site; a figure leads to its picture, to be seen as large as it is.

    folder: where the page lies. `--drawn` tells the style sheet how wide a picture was drawn.
    """

    def sized(image: re.Match) -> str:
        width, height = imagesize.get(folder / unquote(image["src"]))
        picture = f'<img width="{width}" height="{height}" style="--drawn: {width}px"{image["rest"]}'
        if not image["figure"]:
            return picture
        # A box that may scroll takes the arrow keys for itself; book.js knows such a box by its tabindex.
        return f'{image["figure"]}<a class="picture" tabindex="0" href="{image["src"]}">{picture}</a>'

    return _IMAGE.sub(sized, html)
