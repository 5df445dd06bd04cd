"""Check a built site: every link leads to a page and an anchor that exist, and nothing is loaded from elsewhere."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a browser loads something without being asked.
LOADS = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}
# Relations of <link> that load nothing.
SILENT = {"canonical", "next", "prev", "alternate", "author", "license", "edit"}


class Page(HTMLParser):
    """The anchors and the addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = {"", "__top"}
        self.addresses: list[tuple[bool, str]] = []
        """Each with whether a browser loads it."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names and where it leads."""
        values = dict(attrs)
        self.anchors.update(value for name in ("id", "name") if (value := values.get(name)))
        silent = tag == "link" and set((values.get("rel") or "").split()) & SILENT
        for name in ("href", "src"):
            if value := values.get(name):
                self.addresses.append(((tag, name) in LOADS and not silent, value))


def read(path: Path) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def faults(site: Path) -> Iterator[str]:
    """What is wrong with the site in this folder, one sentence each."""
    pages = {path.resolve(): read(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site} has no pages"
    for path, page in pages.items():
        if path.name == "404.html":  # served for any address, so its links are absolute
            continue
        where = path.relative_to(site.resolve())
        for loaded, address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme in ("data", "javascript", "mailto"):
                continue
            if parts.scheme or parts.netloc:
                if loaded:
                    yield f"{where} loads {address}"
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{where} leads to {address}, which does not exist"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{where} leads to {address}, a page without that anchor"
