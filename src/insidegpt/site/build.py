"""Build every edition into `_build/site`, and only what has changed since."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from insidegpt.errors import UserError
from insidegpt.site.beside import write_beside
from insidegpt.site.editions import EDITIONS, Edition
from insidegpt.site.offline import write_offline
from insidegpt.site.traditional import converter

SOURCES = (
    *("_config.yml", "_toc.yml", "requirements.txt", "book", "exercises"),
    *("src/insidegpt/site", "src/insidegpt/assets/story-gpt2"),
)
"""What the site is made from, relative to the repository."""

_LOCALES = Path(__file__).with_name("locale")

UNNEEDED = (
    *(".buildinfo", "fontawesome.js*", "*webpack-macros.html", "*.map", "*.ttf"),
    *("locales", "sphinx_highlight.js", "togglebutton.*"),
)
"""What the theme brings and no page uses."""


def main(root: Path) -> None:
    """Build the editions that are out of date and say where to look.

    Raises UserError with Jupyter Book's warnings where it stops.
    """
    site = root / "_build" / "site"
    now = fingerprint(root)

    def build(edition: Edition) -> None:
        stamp = root / "_build" / "editions" / edition.name / "built-from"
        if stamp.is_file() and stamp.read_text() == now and (site / edition.name).is_dir():
            return
        print(f"Building {edition.name} …", flush=True)
        _build_edition(root, edition, site / edition.name)
        stamp.write_text(now)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each edition is built by a process of its own
        list(pool.map(build, EDITIONS.values()))
    write_beside(site, base_url(root))
    write_offline(site)
    print(f"The book lies in {os.path.relpath(site)}: open {os.path.relpath(site / 'index.html')} in a browser.")


def fingerprint(root: Path) -> str:
    """A hash over the names and contents of everything that the site is made from."""
    digest = hashlib.sha256()
    for source in SOURCES:
        path = root / source
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if file.suffix != ".mo" and not {"__pycache__", ".ipynb_checkpoints"} & set(file.parts):
                digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _build_edition(root: Path, edition: Edition, target: Path) -> None:
    out = root / "_build" / "editions" / edition.name
    shutil.rmtree(out, ignore_errors=True)  # Sphinx would keep pages of documents that are gone, and old style sheets
    out.mkdir(parents=True)
    config = out / "_config.yml"
    config.write_text(yaml.safe_dump(edition_config(root, edition), allow_unicode=True), "utf8")
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    where = [root, "--config", config, "--path-output", out]
    log = out / "build.log"
    with log.open("w") as said:
        built = subprocess.run([jupyter_book, "build", *where, "-W", "--keep-going"], stdout=said, stderr=said)
    if built.returncode != 0:
        faults = re.compile(r"WARNING|ERROR|^Handler .* threw an exception")
        print(*(line for line in log.read_text().splitlines() if faults.search(line)), sep="\n")
        raise UserError(
            f"The {edition.name} edition was not built: mend what stands above (all of it is in {log}).",
            f"{edition.name} 版没有生成：请先解决上面的问题（完整记录在 {log}）。",
        )
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(out / "_build" / "html", target, ignore=shutil.ignore_patterns(*UNNEEDED))


def base_url(root: Path) -> str:
    """The address at which the site will stand, ending in `/`, as `_config.yml` has it; '' where it names none."""
    base = yaml.safe_load((root / "_config.yml").read_text("utf8"))["html"]["baseurl"]
    return base and base.rstrip("/") + "/"


def edition_config(root: Path, edition: Edition) -> dict:
    """The repository's `_config.yml` with what differs in this edition (Sphinx wants it before it starts)."""
    config = yaml.safe_load((root / "_config.yml").read_text("utf8"))
    config["title"] = edition.title
    if edition.traditional:
        config["copyright"] = converter(root / "book" / "glossary.ipynb")(config["copyright"])
    if base := base_url(root):
        config["html"]["baseurl"] = f"{base}{edition.name}/"
    sphinx = config["sphinx"]["config"]
    sphinx |= {"language": edition.locale, "edition": edition.name, "edition_switcher": True}
    sphinx["locale_dirs"] = [str(_traditional_messages(root, edition) if edition.traditional else _LOCALES)]
    sphinx["html_search_language"] = "en" if edition.locale == "en" else "zh"
    sphinx["html_theme_options"]["search_bar_text"] = edition.search_bar
    return config


def _traditional_messages(root: Path, edition: Edition) -> Path:
    """Write the site's own words for labels and messages in Traditional characters; returns their folder of locales."""
    convert = converter(root / "book" / "glossary.ipynb")
    locales = root / "_build" / "editions" / edition.name / "locale"
    folder = locales / edition.locale / "LC_MESSAGES"
    folder.mkdir(parents=True, exist_ok=True)
    for file in _LOCALES.glob("zh_CN/LC_MESSAGES/*.po"):
        (folder / file.name).write_text(convert(file.read_text("utf8")).replace("zh_CN", edition.locale), "utf8")
    return locales
