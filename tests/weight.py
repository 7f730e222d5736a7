"""What a cold visit to a page of the site costs, by kind. Shared by the tests and `benchmarks/page_weight.py`."""

import gzip
from collections import Counter
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser, Route

KINDS = {".html": "page", ".css": "styles", ".js": "scripts", ".woff2": "fonts", ".woff": "fonts", ".ttf": "fonts"}
COMPRESSED = (".woff2", ".woff", ".png", ".jpg")


@cache
def compressed(path: Path) -> int:
    """Bytes as a server sends them: with gzip, but for files that are compressed already."""
    data = path.read_bytes()
    return len(data) if path.suffix in COMPRESSED else len(gzip.compress(data, 6))


def weigh(chromium: Browser, page: Path) -> dict[str, Counter]:
    """Bytes and requests of a page in the file system, opened with an empty cache and scrolled to its end, by kind.

    Figures are those of the book's cells; a request to another host is counted as such, and refused.
    """
    seen = {"bytes": Counter(), "requests": Counter()}

    def answer(route: Route) -> None:
        url = route.request.url
        if not url.startswith("file:"):
            seen["requests"]["other hosts"] += 1
            route.abort()
            return
        path = Path(url.removeprefix("file://").split("?")[0].split("#")[0])
        kind = "figures" if "_images" in path.parts else KINDS.get(path.suffix, "other")
        seen["bytes"][kind] += compressed(path)
        seen["requests"][kind] += 1
        route.continue_()

    visit = chromium.new_page(viewport={"width": 1280, "height": 900})
    visit.route(lambda url: not url.startswith("data:"), answer)
    visit.goto(page.as_uri(), wait_until="load")
    visit.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    visit.wait_for_load_state("networkidle")
    visit.close()
    return seen
