"""What a chapter page costs a reader who opens it for the first time, beside a default Jupyter Book of the same page.

    .venv/bin/python benchmarks/page_weight.py

Both are built from this repository's chapter and opened in Chromium with an empty cache. Bytes are those of gzip,
as a server would send them; files that are compressed already count as they are. Requests to other hosts are
counted, refused, and their bytes left out, so the default book's maths and widgets come on top of its figure.
"""

import gzip
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from playwright.sync_api import Route, sync_playwright
from rich.console import Console
from rich.table import Table

from insidegpt.site.build import main as build_site

ROOT = Path(__file__).resolve().parent.parent
PAGE = "book/attention.html"
COMPRESSED = (".woff2", ".woff", ".png", ".jpg")
DEFAULT = {
    "title": "Inside GPT-2",
    "execute": {"execute_notebooks": "off"},
    "bibtex_bibfiles": ["book/references.bib"],
    "only_build_toc_files": True,
}


def default_book(folder: Path) -> Path:
    """Build the same pages with Jupyter Book's own settings; returns the folder of its HTML."""
    shutil.copytree(ROOT / "book", folder / "book")
    shutil.copytree(ROOT / "exercises", folder / "exercises")
    shutil.copy(ROOT / "_toc.yml", folder)
    (folder / "_config.yml").write_text(yaml.safe_dump(DEFAULT))
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    subprocess.run([jupyter_book, "build", folder, "--quiet"], check=True, capture_output=True)
    return folder / "_build" / "html"


def weigh(chromium, page: Path) -> dict[str, int]:
    """Requests, bytes and refused requests of a cold visit to a page in the file system."""
    seen = {"requests": 0, "bytes": 0, "bytes of figures": 0, "scripts": 0, "requests to other hosts": 0}

    def answer(route: Route) -> None:
        url = route.request.url
        if not url.startswith("file:"):
            seen["requests to other hosts"] += 1
            route.abort()
            return
        path = Path(url.removeprefix("file://").split("?")[0].split("#")[0])
        data = path.read_bytes()
        size = len(data) if path.suffix in COMPRESSED else len(gzip.compress(data))
        seen["requests"] += 1
        seen["scripts"] += path.suffix == ".js"
        seen["bytes of figures" if "_images" in path.parts else "bytes"] += size
        route.continue_()

    visit = chromium.new_page(viewport={"width": 1280, "height": 900})
    visit.route(lambda url: not url.startswith("data:"), answer)
    visit.goto(page.as_uri(), wait_until="networkidle")
    visit.close()
    return seen


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        build_site(ROOT)
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        ours = weigh(chromium, ROOT / "_build" / "site" / "en" / PAGE)
        default = weigh(chromium, default_book(Path(folder)) / PAGE)
        chromium.close()
    table = Table("", "this site", "default Jupyter Book", title=f"A cold visit to {PAGE}")
    for name, value in ours.items():
        table.add_row(name, f"{value:,}", f"{default[name]:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
