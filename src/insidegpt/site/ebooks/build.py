"""Write the EPUB and the PDF of editions into `_build/ebooks`, and only what has changed since."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from insidegpt.errors import UserError
from insidegpt.site import build as site
from insidegpt.site.ebooks.epub import write_epub
from insidegpt.site.ebooks.pages import read_pages
from insidegpt.site.ebooks.pdf import write_pdf
from insidegpt.site.ebooks.words import book_words
from insidegpt.site.editions import EDITIONS

_WRITE = {"epub": write_epub, "pdf": write_pdf}


def main(root: Path, names: Iterable[str]) -> None:
    """Bring the site up to date, then the books of the editions called `names`: of all where it names none.

    Raises UserError for a name that no edition has, and where there is no browser to print the PDFs.
    """
    names = list(names) or list(EDITIONS)
    for name in names:
        if name not in EDITIONS:
            raise UserError(
                f"There is no edition {name!r}: take one of {', '.join(EDITIONS)}.",
                f"没有 {name!r} 这个版本：请从 {'、'.join(EDITIONS)} 中选一个。",
            )
    site.main(root)
    now = site.fingerprint(root)
    folder = root / "_build" / "ebooks"
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, kind: str) -> None:
        stamp = root / "_build" / "editions" / name / f"{kind}-built-from"
        path = folder / f"inside-gpt2-{name}.{kind}"
        if path.is_file() and stamp.is_file() and stamp.read_text() == now:
            return
        print(f"Writing {path.name} …", flush=True)
        pages = read_pages(root / "_build" / "site" / name)
        edition = EDITIONS[name]
        _WRITE[kind](pages, edition, book_words(root, edition), site.edition_config(root, edition), path)
        stamp.write_text(now)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for kind in _WRITE:  # EPUBs first: they need no browser
            list(pool.map(write, names, [kind] * len(names)))
    print(f"The books lie in {os.path.relpath(folder)}.")
