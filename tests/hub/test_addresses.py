from pathlib import Path

import pytest

from spinet.errors import SpinetError
from spinet.hub.addresses import is_address, parse_address


@pytest.mark.parametrize(
    ("text", "kind", "target", "file", "revision"),
    [
        ("published/retinanet-spinenet49", "published", "retinanet-spinenet49", "", ""),
        ("https://a.b/c/model.tar.gz?x=1", "web", "https://a.b/c/model.tar.gz?x=1", "", ""),
        ("http://127.0.0.1:80/m.pth", "web", "http://127.0.0.1:80/m.pth", "", ""),
        ("http://localhost/m.pth", "web", "http://localhost/m.pth", "", ""),
        ("http://[::1]:3/m.safetensors", "web", "http://[::1]:3/m.safetensors", "", ""),
        ("file:///data/my%20model.safetensors", "file", "/data/my model.safetensors", "", ""),
        ("hf://me/cells", "hub", "me/cells", "", ""),
        ("hf://me/cells/v/m.safetensors@refs/pr/1", "hub", "me/cells", "v/m.safetensors", "refs/pr/1"),
    ],
)
def test_each_form_of_address_is_understood_as_a_string_and_as_a_path(text, kind, target, file, revision):
    for given in (text, Path(text)):
        found = parse_address(given)
        assert (found.kind, found.target, found.file, found.revision) == (kind, target, file, revision)


@pytest.mark.parametrize("path", ["runs/mine", "best.safetensors", "/a/b.onnx", "C:/x", "camera:0", "spinenet49", ""])
def test_everything_else_is_a_path(path):
    assert not is_address(path)


def test_a_folder_of_that_name_is_meant_before_published_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_address("published/mine")
    (tmp_path / "published" / "mine").mkdir(parents=True)
    assert not is_address("published/mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://a.b/m.pth", "is not encrypted"),
        ("http://127.0.0.1.evil.org/m.pth", "is not encrypted"),
        ("https://a.b/m.onnx", r"must end with .safetensors, .pth, .tar.gz"),
        ("https://a.b/", "must end with"),
        ("https://[x/m.pth", "is not a valid address"),
        ("https://a.b:port/m.pth", "is not a valid address"),
        ("https://me:secret@a.b/m.pth", "an address on a.b has a user's name in it"),
        ("s3://bucket/m.pth", "expected published/NAME, https://"),
        ("hf://me", "expected hf://owner/name"),
        ("hf://me/../x", "expected hf://owner/name"),
        ("hf://me/x/../../y.safetensors", "expected hf://owner/name"),
        ("hf://me/x@", "expected hf://owner/name"),
    ],
)
def test_other_addresses_are_refused_in_a_sentence(text, message):
    with pytest.raises(SpinetError, match=message):
        parse_address(text)


def test_names_in_the_cache_are_safe_and_differ_where_addresses_do():
    names = [parse_address(f"https://a.b/{name}").cache_name for name in ("x/m.pth", "y/m.pth", "..%2F..%2Fm.pth")]
    assert len(set(names)) == 3
    assert all("/" not in name and ".." not in name for name in names)
