"""Archives of strangers: only a checkpoint is unpacked, into the folder, or nothing at all."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tf_writer import write_checkpoint

from spinet.convert.tf_checkpoint import read_checkpoint
from spinet.errors import SpinetError
from spinet.hub import archive
from spinet.hub.archive import unpack_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "spinenet-49"
    write_checkpoint(folder / "model.ckpt", {"a/kernel": np.arange(6.0, dtype="float32").reshape(2, 3)})
    (folder / "checkpoint").write_text('model_checkpoint_path: "/google/model.ckpt"\n')
    (folder / "model.ckpt.meta").write_bytes(b"x" * 1000)
    return folder


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "cache" / "unpacked"
    folder.mkdir(parents=True)
    return folder


def packed(file: Path, *entries: tarfile.TarInfo | Path, kind: str = "w:gz") -> Path:
    with tarfile.open(file, kind) as content:
        for entry in entries:
            if isinstance(entry, Path):
                content.add(entry, entry.name)
            else:
                content.addfile(entry, io.BytesIO(b"\0" * entry.size))
    return file


def entry(name: str, size: int = 5, **facts: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


def outside(tmp_path: Path) -> set[Path]:
    """All files but those of the unpacking."""
    return {path for path in tmp_path.rglob("*") if "unpacked" not in path.parts}


@pytest.mark.parametrize("kind", ["w:gz", "w", "w:xz"])
def test_a_checkpoint_is_unpacked_and_nothing_else(checkpoint, target, tmp_path, kind):
    prefix = unpack_checkpoint(packed(tmp_path / "a.tar", checkpoint, kind=kind), target, "here")
    assert read_checkpoint(prefix).tensors["a/kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]
    names = {path.name for path in target.rglob("*") if path.is_file()}
    assert names == {"checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"}


@pytest.mark.parametrize(
    "bad",
    [
        entry("../evil.index"),
        entry("a/../../evil.index"),
        entry("/tmp/evil.index"),
        entry("C:\\evil.index"),
        entry("model.ckpt.index", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("link", 0, type=tarfile.SYMTYPE, linkname=".."),
        entry("hard.index", 0, type=tarfile.LNKTYPE, linkname="../../evil.index"),
        entry("pipe", 0, type=tarfile.FIFOTYPE),
        entry("device", 0, type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    ],
    ids=lambda bad: f"{bad.name}-{bad.type.decode()}",
)
@pytest.mark.parametrize("first", [True, False])
def test_a_hostile_archive_writes_nothing_anywhere(checkpoint, target, tmp_path, bad, first):
    entries = [bad, checkpoint] if first else [checkpoint, bad]
    file = packed(tmp_path / "a.tar.gz", *entries)
    before = outside(tmp_path)
    with pytest.raises(
        SpinetError, match=r"here has an entry (outside of it|that is no file), .*; nothing was unpacked"
    ):
        unpack_checkpoint(file, target, "here")
    assert outside(tmp_path) == before
    assert not list(target.iterdir())


def test_an_archive_with_too_much_in_it_is_refused(checkpoint, target, tmp_path, monkeypatch):
    file = packed(tmp_path / "a.tar.gz", checkpoint)
    monkeypatch.setattr(archive, "MAX_BYTES", 900)
    with pytest.raises(SpinetError, match="it has more than 1,000 entries or 0 GB"):
        unpack_checkpoint(file, target, "here")
    monkeypatch.setattr(archive, "MAX_BYTES", 10**9)
    many = packed(tmp_path / "b.tar.gz", *(entry(f"{number}.index", 0) for number in range(1001)))
    with pytest.raises(SpinetError, match="more than 1,000 entries"):
        unpack_checkpoint(many, target, "here")
    assert not list(target.iterdir())


def test_a_file_that_says_to_be_huge_is_refused_before_it_is_read(target, tmp_path):
    header = entry("model.ckpt.index", archive.MAX_BYTES + 1).tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header + bytes(1024)))
    with pytest.raises(SpinetError, match="is not a checkpoint"):
        unpack_checkpoint(tmp_path / "a.tar.gz", target, "here")


def test_no_and_several_checkpoints_are_refused(checkpoint, target, tmp_path):
    with pytest.raises(SpinetError, match="here holds no TensorFlow checkpoint"):
        unpack_checkpoint(packed(tmp_path / "a.tar.gz", entry("readme.txt")), target, "here")
    other = checkpoint.rename(tmp_path / "other")
    write_checkpoint(tmp_path / "one" / "model.ckpt", {"a": np.zeros(1, "float32")})
    with pytest.raises(SpinetError, match=r"here holds several checkpoints: one/model.ckpt.index, other/model.ckpt"):
        unpack_checkpoint(packed(tmp_path / "b.tar.gz", tmp_path / "one", other), target, "here")


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_corrupt_archive_is_one_sentence(checkpoint, target, tmp_path, damage):
    file = packed(tmp_path / "a.tar.gz", checkpoint)
    file.write_bytes({"cut": file.read_bytes()[:-200], "text": b"<html>", "empty": b""}[damage])
    with pytest.raises(SpinetError, match=r"here (is not an intact archive|holds no TensorFlow checkpoint)"):
        unpack_checkpoint(file, target, "here")
