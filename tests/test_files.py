import random
import signal
import subprocess
import sys
import time

import pytest

from spinet.errors import SpinetError, unknown_name
from spinet.files import refuse_replacing, write_atomically


def test_a_file_is_written_with_its_folders(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", "text")
    assert (tmp_path / "a" / "b.txt").read_text() == "text"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    file = tmp_path / "weights"
    file.write_text("old")
    # A file-size limit fails the write in its middle, as a full disk does.
    program = f"""
import resource, signal, sys
from pathlib import Path
from spinet.errors import SpinetError
from spinet.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    write_atomically(Path({str(file)!r}), b"x" * 100000)
except SpinetError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"could not write {file} (100,000 bytes): File too large; the file there before is")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(SpinetError, match=r"could not write .*/run/config\.json"):
        write_atomically(tmp_path / "run" / "config.json", "{}")


@pytest.mark.slow
def test_a_kill_in_the_middle_of_writing_leaves_a_whole_file(tmp_path):
    file, begun = tmp_path / "state", tmp_path / "begun"
    program = f"""
from pathlib import Path
from spinet.files import write_atomically
for turn in range(10**6):
    write_atomically(Path({str(file)!r}), bytes([turn % 256]) * 30_000_000)
    Path({str(begun)!r}).touch()
"""
    draw = random.Random(0)
    for _ in range(8):
        begun.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", program])
        # However long a busy machine takes to start it.
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = file.read_bytes()
        assert len(content) == 30_000_000
        assert content.count(content[0]) == len(content)


def test_the_nearest_name_is_offered():
    assert "did you mean 'spinenet49'?" in str(unknown_name("architecture", "spinnet49", ["spinenet49", "tiny"]))
    assert "did you mean" not in str(unknown_name("architecture", "xyz", ["spinenet49", "tiny"]))


def test_an_output_may_take_the_place_of_no_source_by_whatever_name(tmp_path):
    source, link, folder = tmp_path / "a", tmp_path / "link", tmp_path / "x"
    source.write_text("mine")
    link.symlink_to(source)
    folder.mkdir()

    refuse_replacing([tmp_path / "b", tmp_path / "c"], [source, tmp_path / "gone"])
    for output, original in ((source, source), (source, link), (folder / ".." / "a", source)):
        with pytest.raises(SpinetError, match="is one of the originals; choose another folder"):
            refuse_replacing([output], [original])


def test_two_outputs_of_one_name_are_refused(tmp_path):
    with pytest.raises(SpinetError, match="would be written twice"):
        refuse_replacing([tmp_path / "b", tmp_path / "b"], [])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("spinenet50", "spinenet49"),
        ("spinenet100", "spinenet96"),
        ("spinnet49", "spinenet49"),
        ("tinny", "tiny"),
    ],
)
def test_the_name_with_the_nearest_number_is_suggested_before_one_of_alike_letters(name, nearest):
    known = ["spinenet49", "spinenet49s", "spinenet96", "spinenet143", "spinenet190", "tiny"]
    assert f"did you mean '{nearest}'?" in str(unknown_name("architecture", name, known))


@pytest.mark.parametrize("name", ["x" * 10**6, ["x"] * 10**6, 10**5000], ids=["text", "list", "digits"])
def test_a_long_unknown_name_is_quoted_in_part_and_soon(name):
    message = str(unknown_name("architecture", name, [f"name {index}" for index in range(100)]))
    assert len(message) < 200
