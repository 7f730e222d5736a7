"""Reading without a network: an edition that was kept, in a real Chromium, with the server gone."""

# ruff: noqa: F811 — fixtures are handed over by their names

import json
import shutil
import threading
from functools import partial
from http.server import ThreadingHTTPServer

import pytest

from insidegpt.site.offline import write_offline
from insidegpt.site.serve import Pages
from test_browser import browser, found, pytestmark  # noqa: F401


@pytest.fixture
def served(site, tmp_path):
    """A copy of the Chinese edition that a test may change, and its server, which a test may stop."""
    copied = tmp_path / "site"
    for name in ("zh", "model"):
        shutil.copytree(site / name, copied / name)
    for name in ("index.html", "sw.js"):
        shutil.copy(site / name, copied)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=copied))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield copied, server
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def keep(page, url):
    page.goto(f"{url}/zh/book/preface.html")
    choose_to_keep(page)


def choose_to_keep(page):
    page.locator(".dropdown-download-buttons > button").click()
    page.locator(".keep-offline").click()
    page.get_by_text("✓ 本版可以离线阅读").wait_for()


def load_model(page):
    page.locator(".live").get_by_role("button").click()
    page.locator(".live textarea").wait_for()


def new_build(folder):
    """Change two pages of the site."""
    changed = folder / "zh" / "book" / "masking.html"
    changed.write_text(changed.read_text("utf8").replace("<h1>", "<h1>新版 "), "utf8")
    (folder / "zh" / "book" / "graph.html").write_text("<meta charset=utf-8><h1>新版的图</h1>", "utf8")
    before = (folder / "sw.js").read_text("utf8")
    write_offline(folder)
    assert (folder / "sw.js").read_text("utf8") != before


KEPT = """(async () => {
    const requests = (await caches.keys()).map(async (name) => (await caches.open(name)).keys());
    return (await Promise.all(requests)).flat().map((request) => request.url);
})()"""

# Nothing newer is on the server, and nothing on its way. To be asked by `evaluate`, which waits for a promise:
# `wait_for_function` takes one for true.
NEWEST = """navigator.serviceWorker.ready.then((registration) => registration.update())
    .then(({ installing, waiting, active }) => !installing && !waiting && active.state === "activated")"""


def take_over(page):
    """Let the browser find the new build, and wait until its worker is at work."""
    for _ in range(300):
        if page.evaluate(NEWEST):
            return
        page.wait_for_timeout(100)
    pytest.fail("the new worker was never at work")


def go_offline(page, server):
    page.context.set_offline(True)
    server.shutdown()
    server.server_close()


def test_an_edition_that_was_kept_is_read_and_searched_without_a_network(page, served, site):
    _, server = served
    url = f"http://127.0.0.1:{server.server_port}"
    keep(page, url)
    go_offline(page, server)
    for name in ("book/masking", "exercises/gpt2/gpt2", "book/glossary"):
        page.goto(f"{url}/zh/{name}.html")
        assert page.locator("h1").last.is_visible()
        broken = page.locator("article img").evaluate_all(
            "all => Promise.all(all.map(e => { e.loading = 'eager'; return e.decode().then(() => 0, () => e.src) }))"
        )
        assert not any(broken)
    assert found(page, url, "zh", "因果掩码")
    page.locator("#search-results mark").first.wait_for()
    page.locator("#search-results li a").first.click()
    page.locator(".search-marks").wait_for()


def test_a_page_once_seen_is_there_without_a_network_and_others_are_not(page, served):
    _, server = served
    url = f"http://127.0.0.1:{server.server_port}"
    page.goto(f"{url}/zh/book/preface.html")
    page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
    page.goto(f"{url}/zh/book/attention.html", wait_until="networkidle")
    go_offline(page, server)
    page.goto(f"{url}/zh/book/attention.html")
    assert page.locator("article h1").is_visible()
    with pytest.raises(Exception, match="ERR_FAILED"):
        page.goto(f"{url}/zh/book/masking.html")


def test_the_model_is_kept_when_the_reader_has_loaded_it_and_not_with_the_edition(page, served):
    _, server = served
    url = f"http://127.0.0.1:{server.server_port}"
    keep(page, url)
    kept = page.evaluate(KEPT)
    assert f"{url}/zh/book/playground.html" in kept and not any("/model/" in address for address in kept)
    page.goto(f"{url}/zh/book/playground.html")
    load_model(page)
    for _ in range(300):  # the figure may be there before the copy is
        if f"{url}/model/model.safetensors" in page.evaluate(KEPT):
            break
        page.wait_for_timeout(100)
    go_offline(page, server)
    page.reload()
    load_model(page)


def test_a_new_build_reaches_the_reader_at_once_and_renews_what_was_kept(page, served):
    folder, server = served
    url = f"http://127.0.0.1:{server.server_port}"
    keep(page, url)
    new_build(folder)
    page.goto(f"{url}/zh/book/graph.html")
    assert page.locator("h1").inner_text() == "新版的图", "the network comes first"
    page.goto(f"{url}/zh/book/attention.html")
    take_over(page)
    go_offline(page, server)
    page.goto(f"{url}/zh/book/masking.html")
    assert "新版" in page.locator("article h1").inner_text()


def test_a_page_open_since_the_build_before_keeps_the_new_build(page, served):
    folder, server = served
    url = f"http://127.0.0.1:{server.server_port}"
    page.goto(f"{url}/zh/book/preface.html")
    page.locator(".keep-offline").wait_for(state="attached")
    new_build(folder)
    take_over(page)
    choose_to_keep(page)
    go_offline(page, server)
    page.goto(f"{url}/zh/book/masking.html")
    assert "新版" in page.locator("article h1").inner_text()


def test_what_was_kept_can_be_removed(page, served):
    _, server = served
    url = f"http://127.0.0.1:{server.server_port}"
    keep(page, url)
    page.reload()
    page.locator(".dropdown-download-buttons > button").click()
    page.get_by_text("删除离线副本").click()
    page.get_by_text("保存本版，离线阅读").wait_for()
    assert page.evaluate("caches.match(new URL('../files.json', location)).then(Boolean)") is False


def test_from_the_file_system_nothing_is_offered(page, site):
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(f"{site.as_uri()}/en/book/attention.html", wait_until="networkidle")
    assert page.locator(".keep-offline").count() == 0 and errors == []


def test_the_list_of_an_edition_names_its_files(site):
    files = json.loads((site / "en" / "files.json").read_text("utf8"))
    assert {"index.html", "search.html", "searchindex.js", "book/attention.html"} <= set(files)
    assert all((site / "en" / name).is_file() for name in files)
