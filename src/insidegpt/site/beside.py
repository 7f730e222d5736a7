"""What stands beside the editions: landing page, page for a wrong address, sitemap, the model of the playground."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from string import Template
from urllib.parse import urljoin

from insidegpt.site.editions import EDITIONS
from insidegpt.site.live import model_files

_HERE = Path(__file__).parent
_SITEMAP, _XHTML = "http://www.sitemaps.org/schemas/sitemap/0.9", "http://www.w3.org/1999/xhtml"
_LOST = {
    "en": ("There is no page here. ", "To the book"),
    "zh-CN": ("这里没有网页。", "打开本书"),
    "zh-TW": ("這裡沒有網頁。", "打開本書"),
}
"""What the page for a wrong address says, and the words of its link, by `lang`."""


def write_beside(site: Path, base: str) -> None:
    """Write these files into `site`. base: the address at which the site will stand, or '' where none is known."""
    shutil.copyfile(_HERE / "landing.html", site / "index.html")
    (site / "404.html").write_text(lost_page(base), "utf8")
    (site / "model").mkdir(exist_ok=True)
    for file in model_files():
        shutil.copyfile(file, site / "model" / file.name)
    map_file = site / "sitemap.xml"
    if base:
        map_file.write_bytes(sitemap(pages(site), base))
    else:
        map_file.unlink(missing_ok=True)
        print("No sitemap: it needs the site's address, `html: baseurl` in _config.yml.")


def lost_page(base: str) -> str:
    """The page for an address that leads nowhere. It may be shown at any depth, so its links are absolute."""
    lines = []
    for edition in EDITIONS.values():
        if len(edition.languages) == 1:
            says, link = _LOST[edition.lang]
            href = urljoin(base or "/", f"{edition.name}/index.html")
            lines.append(f'<p lang="{edition.lang}">{says}<a href="{href}">{link}</a></p>')
    return Template((_HERE / "lost.html").read_text("utf8")).substitute(lines="\n  ".join(lines))


def pages(site: Path) -> dict[str, list[str]]:
    """The pages made from notebooks, such as `book/attention`, by edition."""
    return {
        name: sorted(
            path.relative_to(site / name / "_sources").with_suffix("").as_posix()
            for path in (site / name / "_sources").rglob("*.ipynb")
        )
        for name in EDITIONS
    }


def sitemap(pages: dict[str, list[str]], base: str) -> bytes:
    """The sitemap: every page, and for a page in one language the same page in the others (`hreflang`).

    pages: names by edition; base: where the site stands, ending in `/`.
    """
    ET.register_namespace("", _SITEMAP)
    ET.register_namespace("xhtml", _XHTML)
    urls = ET.Element(f"{{{_SITEMAP}}}urlset")
    for name, names in pages.items():
        for page in names:
            url = ET.SubElement(urls, f"{{{_SITEMAP}}}url")
            ET.SubElement(url, f"{{{_SITEMAP}}}loc").text = urljoin(base, f"{name}/{page}.html")
            for other in EDITIONS.values():
                if len(EDITIONS[name].languages) == len(other.languages) == 1 and page in pages[other.name]:
                    href = urljoin(base, f"{other.name}/{page}.html")
                    ET.SubElement(url, f"{{{_XHTML}}}link", rel="alternate", hreflang=other.lang, href=href)
    return ET.tostring(urls, encoding="utf-8", xml_declaration=True)
