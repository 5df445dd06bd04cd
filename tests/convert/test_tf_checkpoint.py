import shutil
import sys
from contextlib import suppress

import numpy as np
import pytest
from tf_writer import number, write_checkpoint

from spinet.convert import tf_checkpoint
from spinet.convert.tf_checkpoint import checkpoint_prefix, masked_crc32c, read_checkpoint
from spinet.errors import SpinetError

RANDOM = np.random.default_rng(0)
TENSORS = {
    "net/kernel": RANDOM.standard_normal((3, 3, 5, 7)).astype("float32"),
    "net/kernel_2": RANDOM.standard_normal((40, 30)),
    "net/half": RANDOM.standard_normal(11).astype("float16"),
    "net/empty": np.zeros((0, 4), "float32"),
    "global_step": np.array(7, "int64"),
    "counts": np.arange(5, dtype="int32"),
} | {f"many/{number:03}/gamma": np.full(3, number, "float32") for number in range(100)}
STRINGS = {"graph": b"a" * 5000}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder / "model.ckpt", TENSORS, strings=STRINGS, shards=2)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def refusal(folder):
    with pytest.raises(SpinetError) as error:
        read_checkpoint(folder / "model.ckpt")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_all_types_shapes_and_strings_come_back(written):
    found = read_checkpoint(written / "model.ckpt")
    assert found.tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(found.tensors[name], value)
        assert found.tensors[name].dtype == value.dtype
    assert found.strings == STRINGS


def test_bfloat16_is_widened(tmp_path):
    bits = np.array([0x3F80, 0xC000], "uint16").view("float16")
    write_checkpoint(tmp_path / "b", {"x": bits}, types={"x": 14})
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "b").tensors["x"], np.float32([1.0, -2.0]))


@pytest.mark.parametrize("name", ["model.ckpt", "model.ckpt.index", "model.ckpt.data-00001-of-00002", ""])
def test_prefix_file_and_folder_all_name_the_checkpoint(written, name):
    assert checkpoint_prefix(written / name) == written / "model.ckpt"


def test_a_folder_of_several_checkpoints_follows_its_list(folder):
    write_checkpoint(folder / "other", {"x": np.zeros(1, "float32")})
    with pytest.raises(SpinetError, match=r"names no checkpoint and holds 2 \.index files; name one"):
        checkpoint_prefix(folder)
    (folder / "checkpoint").write_text('model_checkpoint_path: "/far/away/other"\nall_model_checkpoint_paths: "x"\n')
    assert checkpoint_prefix(folder) == folder / "other"


def test_a_path_without_checkpoint_is_refused(tmp_path):
    with pytest.raises(SpinetError, match=r"there is no TensorFlow checkpoint .*none: .*none\.index does not exist"):
        read_checkpoint(tmp_path / "none")


def test_a_flipped_byte_in_the_data_names_the_variable(folder):
    value = TENSORS["net/kernel_2"].tobytes()
    file = next(file for file in folder.glob("*.data-*") if value in file.read_bytes())
    data = bytearray(file.read_bytes())
    data[data.index(value) + 4321] ^= 0x10
    file.write_bytes(data)
    assert refusal(folder) == f"{file} is corrupt: wrong checksum of the variable net/kernel_2"


def test_a_missing_shard_is_named(folder):
    file = folder / "model.ckpt.data-00001-of-00002"
    file.unlink()
    assert refusal(folder) == f"the data file {file} is missing; model.ckpt.index expects 2 such files"


def test_a_truncated_shard_is_named_with_both_sizes(folder):
    file = folder / "model.ckpt.data-00000-of-00002"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    expected = f"expected {len(whole):,} bytes, found {len(whole) - 9:,}"
    assert refusal(folder) == f"the data file {file} is truncated: {expected}"


@pytest.mark.parametrize("content", [b"", b"not a table", b"x" * 100])
def test_an_index_of_another_format_is_refused(folder, content):
    (folder / "model.ckpt.index").write_bytes(content)
    assert "is not the index of a TensorFlow checkpoint" in refusal(folder)


def test_any_flipped_byte_of_the_index_is_refused_or_harmless(folder):
    file = folder / "model.ckpt.index"
    whole = file.read_bytes()
    for position in [*range(0, len(whole), 37), *range(len(whole) - 60, len(whole))]:
        corrupt = bytearray(whole)
        corrupt[position] ^= 0x41
        file.write_bytes(corrupt)
        try:
            found = read_checkpoint(folder / "model.ckpt")
        except SpinetError:
            continue
        assert found.tensors.keys() == TENSORS.keys()


class Anything:
    """Equals every checksum."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


@pytest.mark.slow
def test_no_corruption_behind_a_valid_checksum_raises_anything_but_a_spinet_error(folder, monkeypatch):
    monkeypatch.setattr(tf_checkpoint, "masked_crc32c", lambda data: Anything())
    file = folder / "model.ckpt.index"
    whole = file.read_bytes()
    for seed in range(300):
        random = np.random.default_rng(seed)
        corrupt = bytearray(whole)
        for position in random.integers(len(whole), size=random.integers(1, 8)):
            corrupt[position] = random.choice([0, 0x7F, 0xFF, random.integers(256)])
        file.write_bytes(corrupt)
        with suppress(SpinetError):
            read_checkpoint(folder / "model.ckpt")


@pytest.mark.parametrize("size", [2**62, 2**70])
def test_a_shape_beyond_all_memory_is_refused(tmp_path, monkeypatch, size):
    monkeypatch.setattr("tf_writer.number", lambda field, value: number(field, size if value == 31 else value))
    write_checkpoint(tmp_path / "c", {"x": np.zeros((31, 4), "float32")})
    with pytest.raises(SpinetError, match="has 124 values, not shape"):
        read_checkpoint(tmp_path / "c")


# RFC 3720, appendix B.4.
@pytest.mark.parametrize(
    ("data", "crc"), [(b"", 0), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"123456789", 0xE3069283)]
)
def test_checksums_are_those_of_the_standard_rotated_and_shifted(data, crc):
    # tensorflow/tsl/lib/hash/crc32c.h: rotate right by 15 bits and add a constant.
    rotated = (crc >> 15) | (crc << 17 & 0xFFFFFFFF)
    assert masked_crc32c(data) == (rotated + 0xA282EAD8) % 2**32


def test_without_the_package_the_extra_is_named(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert refusal(written) == (
        "reading a TensorFlow checkpoint needs google_crc32c, which is not installed: pip install 'spinet[convert]'"
    )


def test_compression_is_refused(tmp_path):
    write_checkpoint(tmp_path / "c", {"x": np.zeros(1, "float32")}, compression=1)
    with pytest.raises(SpinetError, match=r"is compressed \(method 1\), which is not supported"):
        read_checkpoint(tmp_path / "c")


def test_an_unknown_type_is_named_with_its_variable(tmp_path):
    write_checkpoint(tmp_path / "c", {"x": np.zeros(1, "float32")}, types={"x": 8})
    with pytest.raises(SpinetError, match=r"the variable x has the unsupported dtype number 8"):
        read_checkpoint(tmp_path / "c")


def test_the_checksum_of_a_string_covers_its_length(folder):
    # The reader and the writer of these tests agree on it; so does TensorFlow's, in the tests with its own files.
    assert masked_crc32c((5000).to_bytes(4, "little")).to_bytes(4, "little") in b"".join(
        file.read_bytes() for file in folder.glob("*.data-*")
    )
