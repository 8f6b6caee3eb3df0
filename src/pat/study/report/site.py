"""A built site, checked without a browser: links that lead somewhere, nothing from outside.

A link to another site is the reader's choice and is left alone. What a page *loads* (scripts,
styles, fonts, images, frames) must lie in the site itself: the book reads without the network.
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes whose address a browser fetches by itself, by tag.
_LOADS = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
_LOADING_LINKS = {
    "stylesheet",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "icon",
    "manifest",
    "apple-touch-icon",
}
_CSS_ADDRESS = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")


def problems(html: Path) -> list[str]:
    """What is wrong with the site in folder `html`, one line each; empty when nothing is.

    Raises ValueError if the folder holds no page.
    """
    # Themes leave their templates among the static files; those are no pages.
    files = (path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts)
    pages = {path.resolve(): _read(path) for path in files}
    if not pages:
        raise ValueError(f"{html} holds no HTML page")
    found: list[str] = []
    for path, page in pages.items():
        where = path.relative_to(html.resolve()).as_posix()
        for address in page.loads:
            found += [f"{where}: {fault}" for fault in _load_fault(path, address)]
        for address in page.links:
            found += [f"{where}: {fault}" for fault in _link_fault(path, address, pages)]
    for style in sorted(html.rglob("*.css")):
        where = style.relative_to(html).as_posix()
        for address in _css_addresses(style.read_text(encoding="utf-8", errors="replace")):
            found += [f"{where}: {fault}" for fault in _load_fault(style, address)]
    return found


@dataclass
class _Page:
    """What a page offers as anchors, loads, and links to."""

    anchors: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = _Page()
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        self._style = tag == "style"
        self.page.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.page.loads += _css_addresses(values.get("style", ""))
        for name in _LOADS.get(tag, ()):
            if name in values:
                self.page.loads += _addresses(name, values[name])
        if tag == "link" and _LOADING_LINKS & set(values.get("rel", "").split()):
            self.page.loads.append(values.get("href", ""))
        if tag == "a" and "href" in values:
            self.page.links.append(values["href"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._style = self._style and tag != "style"

    def handle_data(self, data: str) -> None:
        if self._style:
            self.page.loads += _css_addresses(data)


def _read(path: Path) -> _Page:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader.page


def _addresses(attribute: str, value: str) -> list[str]:
    if attribute != "srcset":
        return [value]
    return [part.split()[0] for part in value.split(",") if part.strip()]


def _css_addresses(text: str) -> list[str]:
    return [first or second for first, second in _CSS_ADDRESS.findall(text)]


def _load_fault(source: Path, address: str) -> list[str]:
    parts = urlsplit(address.strip())
    if parts.scheme in {"data", "blob"} or not (parts.netloc or parts.path):
        return []
    if parts.scheme or parts.netloc:
        return [f"loads {address} from outside the book"]
    target = source.parent / unquote(parts.path)
    return [] if target.is_file() else [f"loads {address}, which does not exist"]


def _link_fault(source: Path, address: str, pages: dict[Path, _Page]) -> list[str]:
    parts = urlsplit(address.strip())
    if parts.scheme or parts.netloc:
        return []
    target = (source.parent / unquote(parts.path)).resolve() if parts.path else source
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return [f"links to {address}, which does not exist"]
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return [f"links to {address}, a page without that anchor"]
    return []
