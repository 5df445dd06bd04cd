import shutil

import numpy as np
import pytest
from tf_writer import write_checkpoint

from spinet.convert.crc32c import crc32c, mask
from spinet.convert.tf_checkpoint import checkpoint_prefix, read_checkpoint
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
    assert refusal(folder) == f"{file} is damaged: the checksum of the variable net/kernel_2 does not fit"


def test_a_missing_shard_is_named(folder):
    file = folder / "model.ckpt.data-00001-of-00002"
    file.unlink()
    assert refusal(folder) == f"the data file {file} is missing; model.ckpt.index asks for 2 such files"


def test_a_truncated_shard_is_named_with_both_sizes(folder):
    file = folder / "model.ckpt.data-00000-of-00002"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    expected = f"{len(whole):,} bytes are expected, {len(whole) - 9:,} found"
    assert refusal(folder) == f"the data file {file} is cut off: {expected}"


@pytest.mark.parametrize("content", [b"", b"not a table", b"x" * 100])
def test_an_index_of_another_format_is_refused(folder, content):
    (folder / "model.ckpt.index").write_bytes(content)
    assert "is not the index of a TensorFlow checkpoint" in refusal(folder)


def test_any_flipped_byte_of_the_index_is_refused_or_harmless(folder):
    file = folder / "model.ckpt.index"
    whole = file.read_bytes()
    for place in [*range(0, len(whole), 37), *range(len(whole) - 60, len(whole))]:
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        file.write_bytes(damaged)
        try:
            found = read_checkpoint(folder / "model.ckpt")
        except SpinetError:
            continue
        assert found.tensors.keys() == TENSORS.keys()


def test_compression_is_refused(tmp_path):
    write_checkpoint(tmp_path / "c", {"x": np.zeros(1, "float32")}, compression=1)
    with pytest.raises(SpinetError, match=r"is compressed \(method 1\), which is not supported"):
        read_checkpoint(tmp_path / "c")


def test_an_unknown_type_is_named_with_its_variable(tmp_path):
    write_checkpoint(tmp_path / "c", {"x": np.zeros(1, "float32")}, types={"x": 8})
    with pytest.raises(SpinetError, match=r"the variable x has the type number 8, which is not supported"):
        read_checkpoint(tmp_path / "c")


def test_the_checksum_of_a_string_covers_its_length(folder):
    # The reader and the writer of these tests agree on it; so does TensorFlow's, in the tests with its own files.
    assert mask(crc32c((5000).to_bytes(4, "little"))).to_bytes(4, "little") in b"".join(
        file.read_bytes() for file in folder.glob("*.data-*")
    )
