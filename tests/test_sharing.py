"""What other programs read of the site: descriptions, previews of links, canonical addresses, the sitemap."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document

from insidegpt.site.beside import lost_page, pages, sitemap, write_beside
from insidegpt.site.build import base_url, edition_config
from insidegpt.site.editions import EDITIONS
from insidegpt.site.sharing import LONGEST, description, preview

ROOT = Path(__file__).parent.parent
NAMESPACES = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9", "x": "http://www.w3.org/1999/xhtml"}
BASE = "https://example.org/book/"


def document(*paragraphs):
    made = new_document("page")
    made += [nodes.paragraph("", "", *parts) for parts in paragraphs]
    return made


def test_a_description_holds_whole_sentences():
    long = "A sentence of six short words. " * 20
    said = description(document([nodes.Text(long)]))
    assert said.endswith("words.") and LONGEST - 40 < len(said) <= LONGEST
    said = description(document([nodes.Text("一句十来个字的中文句子。" * 20)]))
    assert said.endswith("。") and LONGEST / 2 - 20 < len(said) <= LONGEST / 2


def test_a_description_shows_no_formula_and_no_citation():
    formula = [nodes.Text("Divide by "), nodes.math("", r"\sqrt{d_k}"), nodes.Text(".")]
    assert description(document(formula, [nodes.Text("Words [Vaswani et al., 2017].")])) == "Words."


def test_the_picture_of_a_preview_needs_the_sites_address():
    page = document([nodes.Text("Words.")])
    page += nodes.image(uri="../_images/one.png", alt="A curve")
    tags = preview(page, "Cost", EDITIONS["en"], f"{BASE}en/", f"{BASE}en/book/cost.html")
    assert (tags["og:image"], tags["og:image:alt"]) == (f"{BASE}en/_images/one.png", "A curve")
    assert tags["og:url"] == f"{BASE}en/book/cost.html"
    assert {"og:image", "og:url"}.isdisjoint(preview(page, "Cost", EDITIONS["en"], "", ""))


def head(page):
    html = page.read_text("utf8")
    return dict(re.findall(r'<meta (?:name|property)="([\w:]+)" content="([^"]*)"', html)) | {
        "title": re.search("<title>(.*?)</title>", html, re.S)[1]
    }


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_page_has_a_title_of_its_own_and_a_description(site, edition):
    heads = [head(site / edition / f"{name}.html") for name in pages(site)[edition]]
    for key in ("title", "og:title"):
        assert len({tags[key] for tags in heads}) == len(heads), key
    assert all(tags["description"] == tags["og:description"] != "" for tags in heads)
    assert not any(re.match(r"\d", tags["og:title"]) for tags in heads), "a preview needs no section number"
    assert {tags["og:site_name"] for tags in heads} == {EDITIONS[edition].title}


def test_descriptions_are_in_the_language_of_the_edition(site):
    for edition, chinese in (("en", False), ("zh", True)):
        for name in pages(site)[edition]:
            text = head(site / edition / f"{name}.html")["og:description"]
            assert bool(re.search(r"[\u4e00-\u9fff]{2}", text)) == chinese, name


def test_a_site_without_an_address_claims_none(site):
    assert base_url(ROOT) == ""
    assert not (site / "sitemap.xml").exists()
    assert 'rel="canonical"' not in (site / "en/book/attention.html").read_text("utf8")
    assert "og:url" not in head(site / "en/book/attention.html")


def test_each_edition_stands_in_its_folder_of_the_sites_address(tmp_path):
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    config["html"]["baseurl"] = BASE.rstrip("/")
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
    assert base_url(tmp_path) == BASE
    assert edition_config(tmp_path, EDITIONS["zh"])["html"]["baseurl"] == f"{BASE}zh/"


def test_the_sitemap_names_every_page_and_its_translations(site):
    tree = ET.fromstring(sitemap(pages(site), BASE))
    urls = {u.findtext("s:loc", namespaces=NAMESPACES): u.findall("x:link", NAMESPACES) for u in tree}
    assert len(urls) == sum(len(list((site / e).rglob("_sources/**/*.ipynb"))) for e in EDITIONS)
    for url in urls:
        assert (site / url.removeprefix(BASE)).is_file(), url
    alone = {e.lang: f"{BASE}{e.name}/book/attention.html" for e in EDITIONS.values() if len(e.languages) == 1}
    links = {link.get("hreflang"): link.get("href") for link in urls[f"{BASE}zh/book/attention.html"]}
    assert links == alone
    assert urls[f"{BASE}en-zh/book/attention.html"] == [], "a page in two languages translates none"


def test_without_an_address_no_sitemap_is_left_and_it_is_said(tmp_path, capsys):
    (tmp_path / "sitemap.xml").write_text("of an earlier build")
    write_beside(tmp_path, "")
    assert not (tmp_path / "sitemap.xml").exists()
    assert "No sitemap" in capsys.readouterr().out


def test_the_page_for_a_wrong_address_leads_to_each_language():
    assert re.findall('href="([^"]*)"', lost_page("")) == [
        f"/{e.name}/index.html" for e in EDITIONS.values() if len(e.languages) == 1
    ]
    assert f'href="{BASE}en/index.html"' in lost_page(BASE)
