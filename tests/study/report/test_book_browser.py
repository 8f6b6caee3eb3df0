"""The built book in a real browser: `pytest -m browser --book FOLDER [--shots FOLDER]`.

Every page is read over loopback, with no way to the network, on a wide and on a narrow screen, in
light and in dark.
"""

import json
import lzma
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

SETTLED = """async () => {
    if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
    await document.fonts.ready;
    return true;
}"""

# What is wrong with the content of a page, in words.
FAULTS = """() => {
    const faults = [];
    for (const node of document.querySelectorAll("mjx-merror, .MathJax_Error"))
        faults.push("broken formula: " + node.textContent.slice(0, 80));
    for (const node of document.querySelectorAll("div.math, span.math"))
        if (!node.querySelector("mjx-container"))
            faults.push("raw formula: " + node.textContent.slice(0, 80));
    for (const image of document.images) {
        const alt = (image.getAttribute("alt") || "").trim();
        if (!image.complete || image.naturalWidth === 0) faults.push("broken image: " + image.src);
        if (!alt) faults.push("image without alt text: " + image.src);
    }
    for (const node of document.querySelectorAll(".pat-plotly")) {
        if (!node.getAttribute("aria-label")) faults.push("interactive figure without label");
        if (!node.querySelector("svg.main-svg")) faults.push("interactive figure not drawn");
    }
    for (const node of document.querySelectorAll(".problematic, .system-message"))
        faults.push("error text in the page: " + node.textContent.slice(0, 80));
    return faults;
}"""

# Elements that reach beyond the window, if the page as a whole can be scrolled sideways.
TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    const reach = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
    const excess = reach - width;
    if (excess <= 1) return [];
    const wide = [...document.querySelectorAll("article *, .bd-main > *")]
        .filter((node) => node.getBoundingClientRect().right > width + 1)
        .slice(0, 5)
        .map((node) => node.tagName + "." + node.className);
    return ["the page is " + excess + " px too wide: " + wide.join(", ")];
}"""

# Text with too little contrast to what lies behind it (WCAG 2: 4.5, large text 3).
PALE = """() => {
    const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const channel = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const behind = (node) => {
        let color = [255, 255, 255];
        const chain = [];
        for (let n = node; n; n = n.parentElement) chain.unshift(n);
        for (const n of chain) {
            const [r, g, b, a = 1] = rgb(getComputedStyle(n).backgroundColor);
            color = [r, g, b].map((v, i) => v * a + color[i] * (1 - a));
        }
        return color;
    };
    const pale = new Set();
    const texts = "p, li, td, th, h1, h2, h3, h4, figcaption, dt, dd, a, code, pre, pre span, "
        + ".caption-text, .pat-plotly svg text, .pat-plotly svg tspan";
    for (const node of document.querySelectorAll("article :is(" + texts + ")")) {
        const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
        const style = getComputedStyle(node);
        if (!own || !node.getClientRects().length || style.visibility === "hidden") continue;
        const ink = node.namespaceURI.endsWith("svg") ? style.fill : style.color;
        if (style.opacity === "0" || ink === "rgba(0, 0, 0, 0)") continue;
        const back = behind(node);
        const [r, g, b, a = 1] = rgb(ink);
        const front = [r, g, b].map((v, i) => v * a + back[i] * (1 - a));
        const [high, low] = [light(front), light(back)].sort((x, y) => y - x);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < (large ? 3 : 4.5))
            pale.add(
                node.tagName + " " + contrast.toFixed(1) + ": " + ink + " on "
                + back.map(Math.round) + ": " + node.textContent.trim().slice(0, 30)
            );
    }
    return [...pale].slice(0, 8);
}"""


def paths_of_this_machine(html: str) -> list[str]:
    """The folders of this machine that a page names: they would mean nothing to its reader."""
    tree = str(Path(__file__).resolve().parents[3])
    return [f"a path of this machine: {found}" for found in re.findall(re.escape(tree) + "[^<'\"]*", html)]


def pages(folder: Path | None) -> list[str]:
    """The pages of the book, relative to its folder; of source listings, all made alike, one in twenty."""
    if folder is None:
        return []
    found = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html"))]
    listings = [name for name in found if name.startswith("_modules/")]
    return [name for name in found if not name.startswith(("_static/", "_modules/"))] + listings[::20]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", pages(metafunc.config.getoption("--book")))


@pytest.fixture(scope="module")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the book is served on this machine."""
    folder = request.config.getoption("--book")
    if folder is None:
        pytest.skip("no built book given (--book FOLDER)")
    if not (folder / "index.html").is_file():
        pytest.fail(f"--book {folder}: no index.html there")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    executable = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    if executable is None:
        pytest.fail(f"no browser on the PATH: looked for {', '.join(CHROMIUMS)}")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Visit:
    """One open page, and all that went wrong with it."""

    page: Any
    faults: list[str] = field(default_factory=list)

    def go(self, url: str) -> None:
        self.page.goto(url, wait_until="load")
        self.page.evaluate(SETTLED)


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    opened = Visit(context.new_page())

    def only_this_machine(route: Any) -> None:
        target = urlsplit(route.request.url)
        if target.hostname == "127.0.0.1" or target.scheme in {"data", "blob"}:
            route.continue_()
        else:
            opened.faults.append(f"request to the outside: {route.request.url}")
            route.abort()

    def heard(message: Any) -> None:
        if message.type == "error":
            opened.faults.append(f"console: {message.text}")

    def answered(response: Any) -> None:
        if response.status >= 400:
            opened.faults.append(f"status {response.status}: {response.url}")

    context.route("**/*", only_this_machine)
    opened.page.on("console", heard)
    opened.page.on("pageerror", lambda error: opened.faults.append(f"script error: {error}"))
    opened.page.on("response", answered)
    yield opened
    context.close()


def test_page(visit: Visit, address: str, page_name: str, request: pytest.FixtureRequest) -> None:
    shots: Path | None = request.config.getoption("--shots")
    listing = page_name.startswith(("_modules", "genindex", "py-modindex"))

    def shoot(kind: str) -> None:
        if shots is not None and not listing:
            shots.mkdir(parents=True, exist_ok=True)
            name = page_name.removesuffix(".html").replace("/", "-")
            visit.page.screenshot(path=shots / f"{name}-{kind}.png", full_page=True)

    visit.go(f"{address}/{page_name}")
    visit.faults += visit.page.evaluate(FAULTS)
    visit.faults += paths_of_this_machine(visit.page.content())
    visit.faults += [f"light: {text}" for text in visit.page.evaluate(PALE)]
    shoot("light")
    visit.page.set_viewport_size(PHONE)
    visit.page.wait_for_timeout(400)
    visit.faults += [f"phone: {text}" for text in visit.page.evaluate(TOO_WIDE)]
    shoot("phone")
    visit.page.set_viewport_size(DESKTOP)
    visit.page.emulate_media(color_scheme="dark")
    visit.go(f"{address}/{page_name}")
    if visit.page.evaluate("document.documentElement.dataset.theme") != "dark":
        visit.faults.append("the page does not follow the reader's dark mode")
    visit.faults += [f"dark: {text}" for text in visit.page.evaluate(PALE)]
    shoot("dark")
    assert not visit.faults, "\n".join(visit.faults)


BAD = """<html><body style="background: #fff"><article>
<p style="color: #ccc">pale</p><p style="color: #000">dark enough</p>
<img src="data:image/png;base64,AAAA"><div class="math">\\(x\\)</div>
<div style="width: 2000px">wide</div><div class="pat-plotly"></div>
<script src="https://example.org/outside.js"></script><script>nosuchfunction()</script>
</article></body></html>"""


def test_the_checks_see_what_is_wrong(visit: Visit, address: str) -> None:
    visit.page.goto(f"{address}/no-such-page.html")
    visit.page.set_content(BAD)
    assert any("status 404" in fault for fault in visit.faults)
    assert any("to the outside: https://example.org" in fault for fault in visit.faults)
    assert any("nosuchfunction" in fault for fault in visit.faults)
    assert paths_of_this_machine(f"<p>{Path(__file__)}</p>") == [f"a path of this machine: {Path(__file__)}"]
    seen = "\n".join(visit.page.evaluate(FAULTS))
    for fault in ("broken image", "without alt", "raw formula", "without label", "not drawn"):
        assert fault in seen
    pale = visit.page.evaluate(PALE)
    assert len(pale) == 1
    assert pale[0].startswith("P 1.6")
    assert "too wide" in visit.page.evaluate(TOO_WIDE)[0]


def test_search_finds_a_word(visit: Visit, address: str) -> None:
    visit.go(f"{address}/index.html")
    visit.page.locator("button.search-button-field, button.search-button__button").first.click()
    visit.page.keyboard.type("stability")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#search-results ul.search li a", timeout=15_000)
    first = visit.page.locator("#search-results ul.search li a").first
    first.click()
    visit.page.wait_for_load_state("load")
    assert "stability" in visit.page.locator("article").inner_text().lower()
    assert not visit.faults, "\n".join(visit.faults)


def test_reader_can_switch_to_dark(visit: Visit, address: str) -> None:
    visit.go(f"{address}/index.html")
    theme = "document.documentElement.dataset.theme"
    seen = {visit.page.evaluate(theme)}
    for _ in range(3):
        visit.page.locator("button.theme-switch-button").first.click()
        seen.add(visit.page.evaluate(theme))
    assert seen == {"light", "dark"}


SWEEP = "executed/digits/oracle_sweep.html"
VERDICT_ROWS = ".verdicts tbody tr"


def test_claims_are_chosen_by_verdict_with_the_keyboard(visit: Visit, address: str) -> None:
    visit.go(f"{address}/claims.html")
    table = visit.page.locator(".verdicts table").first
    rows = table.locator("tbody tr")
    buttons = visit.page.locator(".verdict-filter").first.locator("button")
    total = rows.count()
    assert total >= 18
    assert buttons.count() >= 2
    counts = []
    for index in range(buttons.count()):
        button = buttons.nth(index)
        name, number = button.inner_text().rsplit(": ", 1)
        button.focus()
        visit.page.keyboard.press("Enter" if index % 2 else "Space")
        assert button.get_attribute("aria-pressed") == "true"
        assert visit.page.locator('.verdict-filter button[aria-pressed="true"]').count() >= 1
        shown = [row for row in rows.all() if row.is_visible()]
        assert len(shown) == int(number) > 0
        if index:
            assert {row.locator(".verdict").inner_text().strip() for row in shown} == {name}
            counts.append(int(number))
    assert sum(counts) == total
    assert not visit.faults, "\n".join(visit.faults)


def test_a_chosen_verdict_stays_chosen_on_a_phone(visit: Visit, address: str) -> None:
    visit.page.set_viewport_size(PHONE)
    visit.go(f"{address}/claims.html")
    button = visit.page.locator(".verdict-filter").first.locator("button").nth(1)
    button.click()
    rows = visit.page.locator(".verdicts table").first.locator("tbody tr")
    assert sum(row.is_visible() for row in rows.all()) == int(button.inner_text().rsplit(": ", 1)[1])
    assert visit.page.evaluate(TOO_WIDE) == []
    card = next(row for row in rows.all() if row.is_visible())
    assert card.evaluate("row => getComputedStyle(row).display") == "block"


def test_lines_of_an_interactive_figure_are_bright_in_the_dark(visit: Visit, address: str) -> None:
    colours = """() => [...document.querySelectorAll(".pat-plotly .js-plotly-plot")].flatMap(
        (figure) => figure.data.map((trace) => trace.line.color))"""

    def brightness(colour: str) -> float:
        r, g, b = map(int, re.findall(r"\d+", colour))
        return 0.3 * r + 0.59 * g + 0.11 * b

    visit.go(f"{address}/{SWEEP}")
    on_white = visit.page.evaluate(colours)
    assert min(map(brightness, on_white)) < 100  # the highest ratio's
    visit.page.emulate_media(color_scheme="dark")
    visit.page.wait_for_function(f"(white) => ({colours})().join() !== white.join()", arg=on_white)
    assert min(map(brightness, visit.page.evaluate(colours))) > 110
    visit.page.emulate_media(color_scheme="light")
    visit.page.wait_for_function(f"(white) => ({colours})().join() === white.join()", arg=on_white)
    assert not visit.faults, "\n".join(visit.faults)


def test_a_figure_opens_on_a_page_of_its_own_in_its_full_size(visit: Visit, address: str) -> None:
    visit.page.set_viewport_size(PHONE)
    visit.go(f"{address}/{SWEEP}")
    image = visit.page.locator(".bd-article .cell_output img").first
    small = image.evaluate("image => image.width")
    image.click()
    visit.page.wait_for_url("**/*.svg")
    assert visit.page.evaluate("document.documentElement.width.baseVal.value") >= small
    assert not visit.faults, "\n".join(visit.faults)


def test_without_scripts_every_claim_is_there(browser: Any, address: str) -> None:
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/claims.html")
    rows = page.locator(VERDICT_ROWS).all()
    assert len(rows) >= 18
    assert all(row.is_visible() for row in rows)
    assert page.locator(".verdict-filter").count() == 0
    context.close()


def test_a_number_leads_to_the_records_behind_it(visit: Visit, address: str) -> None:
    visit.go(f"{address}/claims.html")
    visit.page.locator(f"{VERDICT_ROWS} td:nth-child(3) a").first.click()
    visit.page.wait_for_load_state("load")
    assert "evidence.html#evidence-" in visit.page.url
    target = visit.page.locator(f'[id="{visit.page.url.rsplit("#", 1)[1]}"]')
    values = target.locator("xpath=following::details").first
    values.locator("summary").click()
    link = values.locator("a").first
    link.wait_for(state="visible")
    answer = visit.page.request.get(f"{address}/{link.get_attribute('href')}")
    assert answer.status == 200
    ids = [json.loads(line)["id"] for line in lzma.decompress(answer.body()).splitlines()]
    first = values.locator("code").first.inner_text()
    assert any(run_id.startswith(first) for run_id in ids)
    assert not visit.faults, "\n".join(visit.faults)


def test_notebooks_can_be_downloaded(visit: Visit, address: str, request: pytest.FixtureRequest) -> None:
    folder = request.config.getoption("--book")
    chapters = [name for name in pages(folder) if name.startswith("executed/")]
    assert chapters, "the book has no experiment"
    for name in chapters:
        visit.go(f"{address}/{name}")
        target = visit.page.locator(".btn-download-source-button").first.get_attribute("href")
        assert target is not None
        assert target.endswith(".ipynb")
        answer = visit.page.request.get(f"{address}/{Path(name).parent.as_posix()}/{target}")
        assert answer.status == 200
        assert answer.json()["nbformat"] == 4
