"""The reader's own Chromium, for what only a browser can do: print the book, and test the site."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from insidegpt.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
_MAC_APPLICATIONS = ("Chromium", "Google Chrome", "Microsoft Edge")

_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
"""With these it asks nothing of other hosts of its own accord."""


def find_chromium() -> str | None:
    """The path of an installed Chromium, Chrome or Edge, or None."""
    on_a_mac = (Path(f"/Applications/{name}.app/Contents/MacOS/{name}") for name in _MAC_APPLICATIONS)
    found = (*map(shutil.which, _NAMES), *(str(path) for path in on_a_mac if path.is_file()))
    return next(filter(None, found), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, for as long as the block lasts. Raises UserError where none is installed."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        raise UserError(
            "No Chromium, Chrome or Edge was found, which prints the PDFs: install one (Debian: apt install chromium).",
            "没有找到 Chromium、Chrome 或 Edge，而 PDF 要靠它打印：请安装一个（Debian：apt install chromium）。",
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()
