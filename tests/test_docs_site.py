"""The documentation site: which pages it has, where their links lead, and what the check of a built site finds."""

import tomllib

import pytest

import docs_links
import docs_site
import spinet
from docs_site import ROOT, fitted

CONFIG = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]


def pages_of(nav):
    for entry in nav:
        for value in entry.values():
            yield from pages_of(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_navigation_once(tmp_path):
    docs_site.stage(tmp_path / "docs")
    assert sorted(pages_of(CONFIG["nav"])) == sorted(path.name for path in (tmp_path / "docs").glob("*.md"))


def test_every_public_name_is_on_one_page_of_the_python_api():
    names = [name for _, text in docs_site.API.values() for name in text.split()]
    assert set(spinet.__all__) <= set(names)
    assert len(names) == len(set(names))


def test_what_is_staged_replaces_what_was_there(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "old.md").touch()
    docs_site.stage(tmp_path / "docs")
    assert not (tmp_path / "docs" / "old.md").exists()
    assert "::: spinet.train" in (tmp_path / "docs" / "api-use.md").read_text()


@pytest.mark.parametrize(
    ("folder", "text", "on_the_site"),
    [
        (".", "[data](docs/data.md#train)", "[data](data.md#train)"),
        (".", "![a](docs/detections.jpg)", "![a](detections.jpg)"),
        ("docs", "[data](data.md)", "[data](data.md)"),
        ("docs", "[contributing](../CONTRIBUTING.md)", "[contributing](contributing.md)"),
        ("docs", "[README](../README.md)", "[README](index.md)"),
        ("docs", "[examples/search.py](../examples/search.py)", "`examples/search.py`"),
        ("docs", "[a search](../examples/search.py)", "a search (`examples/search.py`)"),
        ("docs", "[paper](https://arxiv.org/abs/1912.05027)", "[paper](https://arxiv.org/abs/1912.05027)"),
        ("docs", "[below](#train)", "[below](#train)"),
    ],
)
def test_links_lead_to_the_same_on_the_site(folder, text, on_the_site):
    assert fitted(text, ROOT / folder, "") == on_the_site


def test_other_files_are_linked_in_the_repository_if_its_address_is_known():
    text = fitted("[a search](../examples/search.py)", ROOT / "docs", "https://example.org/spinet/blob/main/")
    assert text == "[a search](https://example.org/spinet/blob/main/examples/search.py)"


@pytest.fixture
def site(tmp_path):
    """A function that writes a site of two pages with this in the first, and returns what is wrong with it."""

    def check(text):
        (tmp_path / "index.html").write_text(f'<h1 id="top">A</h1>{text}')
        (tmp_path / "other.html").write_text('<h2 id="here">B</h2>')
        (tmp_path / "picture.png").touch()
        return list(docs_links.faults(tmp_path))

    return check


@pytest.mark.parametrize(
    "text",
    [
        '<a href="other.html#here">b</a>',
        '<a href="#top">a</a>',
        '<img src="picture.png">',
        '<a href="https://example.org">e</a>',
        '<link rel="canonical" href="https://example.org">',
        '<img src="data:image/png;base64,AA">',
    ],
)
def test_a_site_without_faults_passes(site, text):
    assert site(text) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('<a href="gone.html">b</a>', "index.html leads to gone.html, which does not exist"),
        ('<a href="other.html#gone">b</a>', "index.html leads to other.html#gone, a page without that anchor"),
        ('<a href="#gone">b</a>', "index.html leads to #gone, a page without that anchor"),
        ('<img src="gone.png">', "index.html leads to gone.png, which does not exist"),
        ('<script src="https://example.org/x.js"></script>', "index.html loads https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "index.html loads //example.org/x.css"),
    ],
)
def test_a_fault_of_a_site_is_found(site, text, fault):
    assert site(text) == [fault]


def test_an_empty_site_is_a_fault(tmp_path):
    assert list(docs_links.faults(tmp_path)) == [f"{tmp_path} has no pages"]
