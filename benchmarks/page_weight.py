"""What a page costs a reader who opens it for the first time, beside a default Jupyter Book of the same page.

    PYTHONPATH=tests .venv/bin/python benchmarks/page_weight.py

Both are built from this repository's notebooks and opened in Chromium with an empty cache. Bytes are those of gzip,
as a server would send them; files that are compressed already count as they are. Requests to other hosts are
counted, refused, and their bytes left out, so the default book's maths and widgets come on top of its figure.
The first paint is the one that Chromium reports for a page from the file system, the median of five visits.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

from insidegpt.site.beside import pages
from insidegpt.site.build import main as build_site
from weight import weigh

ROOT = Path(__file__).resolve().parent.parent
PAGE = "book/attention"
COLUMNS = ("page", "styles", "scripts", "fonts", "other", "figures")
DEFAULT = {
    "title": "Inside GPT-2",
    "execute": {"execute_notebooks": "off"},
    "bibtex_bibfiles": ["book/references.bib"],
    "only_build_toc_files": True,
}
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def default_book(folder: Path) -> Path:
    """Build the same pages with Jupyter Book's own settings; returns the folder of its HTML."""
    shutil.copytree(ROOT / "book", folder / "book")
    shutil.copytree(ROOT / "exercises", folder / "exercises")
    shutil.copy(ROOT / "_toc.yml", folder)
    (folder / "_config.yml").write_text(yaml.safe_dump(DEFAULT))
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    subprocess.run([jupyter_book, "build", folder, "--quiet"], check=True, capture_output=True)
    return folder / "_build" / "html"


def first_paint(chromium: Browser, page: Path) -> float:
    """Milliseconds until something of the page is on the screen."""
    times = []
    for _ in range(5):
        visit = chromium.new_page(viewport={"width": 1280, "height": 900})
        visit.route(lambda url: url.startswith("http"), lambda route: route.abort())
        visit.goto(page.as_uri(), wait_until="load")
        visit.wait_for_function(f"() => {FIRST_PAINT} > 0")
        times.append(visit.evaluate(FIRST_PAINT))
        visit.close()
    return statistics.median(times)


def row(chromium: Browser, page: Path) -> list[str]:
    """A row of the table: bytes by kind, bytes but for figures, requests, those to other hosts, first paint."""
    seen = weigh(chromium, page)
    asked = seen["requests"]
    weights = [seen["bytes"][kind] for kind in COLUMNS]
    counted = [*weights, sum(weights) - seen["bytes"]["figures"], asked.total(), asked["other hosts"]]
    return [*(f"{value:,}" for value in counted), f"{first_paint(chromium, page):.0f} ms"]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        build_site(ROOT)
        site = ROOT / "_build" / "site"
        table = Table("", *COLUMNS, "all but figures", "requests", "other hosts", "first paint", title="A cold visit")
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        table.add_row(f"default {PAGE}", *row(chromium, default_book(Path(folder)) / f"{PAGE}.html"), end_section=True)
        for edition, names in pages(site).items():
            for name in names:
                table.add_row(f"{edition}/{name}", *row(chromium, site / edition / f"{name}.html"))
        chromium.close()
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
