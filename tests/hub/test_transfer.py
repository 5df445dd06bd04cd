import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from io import FileIO
from pathlib import Path

import pytest
from weights_server import weights_server

from spinet.errors import SpinetError
from spinet.hub import cache, transfer
from spinet.hub.transfer import Patience, fetch_url

CONTENT = random.Random(0).randbytes(1_000_000)
QUICK = Patience(attempts=5, wait=0.01, timeout=5)


@pytest.fixture
def server():
    with weights_server() as running:
        running.behaviour.files["m.bin"] = CONTENT
        yield running


def fetch(server, folder: Path, path: str = "m.bin", patience: Patience = QUICK, **options) -> Path:
    done = []
    fetch_url(
        server.url(path),
        folder / "p",
        folder / "p.json",
        lambda *state: done.append(state),
        patience=patience,
        **options,
    )
    assert done[-1][0] == (folder / "p").stat().st_size
    return folder / "p"


def test_a_file_arrives_whole(server, tmp_path):
    assert fetch(server, tmp_path, size=len(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize(("path", "asked"), [("modèle 1.bin", "mod%C3%A8le%201.bin"), ("a%20b.bin", "a%20b.bin")])
def test_other_letters_are_quoted_once(server, tmp_path, path, asked):
    server.behaviour.files[asked] = CONTENT[:100]
    assert fetch(server, tmp_path, path).read_bytes() == CONTENT[:100]


def test_a_cut_transfer_is_resumed_where_it_ended(server, tmp_path):
    server.behaviour.cuts = [400_000, 300_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked == [None, "bytes=400000-", "bytes=700000-"]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.behaviour.cuts, server.behaviour.ranges = [400_000], False
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.behaviour.asked) == 2


def test_a_file_that_changed_meanwhile_is_not_mixed_with_its_old_version(server, tmp_path):
    (tmp_path / "p").write_bytes(b"x" * 500)
    (tmp_path / "p.json").write_text(f'{{"url": "{server.url("m.bin")}", "etag": "\\"zero\\"", "total": 1000000}}')
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_without_a_version_a_file_of_another_size_starts_anew(server, tmp_path):
    server.behaviour.etag = ""
    (tmp_path / "p").write_bytes(b"x" * 500)
    (tmp_path / "p.json").write_text(f'{{"url": "{server.url("m.bin")}", "total": 777}}')
    with pytest.raises(SpinetError, match="another part of the file"):
        fetch(server, tmp_path, patience=Patience(1, 0.01, 5))
    assert not (tmp_path / "p").exists()
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_what_another_address_left_is_not_resumed(server, tmp_path):
    (tmp_path / "p").write_bytes(b"x" * 500)
    (tmp_path / "p.json").write_text('{"url": "https://a.b/other", "total": 1000000}')
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked == [None]


def test_a_complete_file_is_not_asked_for_again(server, tmp_path):
    fetch(server, tmp_path)
    fetch_url(server.url("m.bin"), tmp_path / "p", tmp_path / "p.json", lambda *_: None, patience=QUICK)
    assert len(server.behaviour.asked) == 1


def test_cuts_without_progress_end_in_a_sentence_and_keep_what_is_there(server, tmp_path):
    server.behaviour.cuts = [400_000] + [0] * 9
    with pytest.raises(SpinetError, match=r"the connection was cut after 400,000 of 1,000,000 bytes, 5 times in a row"):
        fetch(server, tmp_path)
    assert (tmp_path / "p").read_bytes() == CONTENT[:400_000]
    server.behaviour.cuts = []
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.behaviour.codes = [503, 429]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_server_that_falls_silent_is_given_up(server, tmp_path):
    server.behaviour.pause = 2
    started = time.monotonic()
    with pytest.raises(SpinetError, match="the server sent nothing for too long, 2 times"):
        fetch(server, tmp_path, patience=Patience(2, 0.01, 0.2))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (404, "there is no file at http.*404"),
        (403, "refuses access to http.*403"),
        (418, "could not be fetched: the server answers 418"),
    ],
)
def test_an_error_of_the_server_is_one_sentence(server, tmp_path, code, message):
    server.behaviour.codes = [code]
    with pytest.raises(SpinetError, match=message):
        fetch(server, tmp_path)
    assert not (tmp_path / "p").exists()


def test_another_length_than_published_is_refused_before_anything_is_transferred(server, tmp_path):
    with pytest.raises(SpinetError, match="has 1,000,000 bytes, but 5 were published"):
        fetch(server, tmp_path, size=5)
    assert not (tmp_path / "p").exists()


def test_more_bytes_announced_than_sent_is_a_cut(server, tmp_path):
    server.behaviour.length, server.behaviour.ranges = 1_000_010, False
    with pytest.raises(SpinetError, match="could not be transferred: the connection was cut"):
        fetch(server, tmp_path)


def test_a_page_to_sign_in_is_not_taken_for_the_file(server, tmp_path):
    server.behaviour.kind = "text/html; charset=utf-8"
    with pytest.raises(SpinetError, match="is a web page and not a file"):
        fetch(server, tmp_path)
    assert not (tmp_path / "p").exists()


def test_redirects_are_followed_but_not_to_an_address_that_is_not_encrypted(server, tmp_path):
    server.behaviour.redirects = {"a.bin": server.url("m.bin"), "b.bin": "http://example.org/m.bin", "c.bin": "/c.bin"}
    assert fetch(server, tmp_path, "a.bin").read_bytes() == CONTENT
    with pytest.raises(SpinetError, match="'http://example.org/m.bin' is not encrypted"):
        fetch(server, tmp_path, "b.bin")
    with pytest.raises(SpinetError, match="the server answers 302"):
        fetch(server, tmp_path, "c.bin")
    server.behaviour.redirects = {"d.bin": "file:///etc/hostname"}
    with pytest.raises(SpinetError, match="is not allowed"):
        fetch(server, tmp_path, "d.bin")


def test_https_is_not_left_for_this_machine_either():
    from urllib.request import Request

    with pytest.raises(SpinetError, match="which is not encrypted"):
        transfer._Redirects().redirect_request(Request("https://a.b/x"), None, 302, "", {}, "http://127.0.0.1:1/m.bin")


def test_nobody_there_is_one_sentence_at_once(tmp_path):
    with pytest.raises(
        SpinetError, match=r"127.0.0.1 could not be reached for http://127.0.0.1:9/m.bin: Connection refused"
    ):
        fetch_url("http://127.0.0.1:9/m.bin", tmp_path / "p", tmp_path / "p.json", lambda *_: None, patience=QUICK)


def test_a_full_disk_is_said_before_the_transfer(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, cache.SPARE + 999_999))
    with pytest.raises(SpinetError, match=r"is too full: 1.0 MB are to transfer, and 17.8 MB are free"):
        fetch(server, tmp_path)
    assert not (tmp_path / "p").exists()


class FullDisk(FileIO):
    """A file on a disk with room for half of the content."""

    def write(self, data):
        if self.tell() + len(data) > len(CONTENT) // 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_disk_that_fills_up_meanwhile_is_one_sentence_and_the_rest_follows_later(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: FullDisk(path, mode.replace("b", "")))
        with pytest.raises(SpinetError, match="is full; what has been transferred is kept"):
            fetch(server, tmp_path)
    assert CONTENT.startswith((tmp_path / "p").read_bytes())
    assert fetch(server, tmp_path).read_bytes() == CONTENT


PROGRAM = """
import sys
from pathlib import Path
from spinet.hub.transfer import fetch_url
folder = Path(sys.argv[2])
fetch_url(sys.argv[1], folder / "p", folder / "p.json", lambda *_: None)
"""


def test_a_transfer_killed_five_times_ends_with_the_same_bytes(server, tmp_path):
    server.behaviour.chunk, server.behaviour.pause = 20_000, 0.01
    command = [sys.executable, "-c", PROGRAM, server.url("m.bin"), str(tmp_path)]
    sizes = [0]
    for _ in range(5):
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while (size := size_of(tmp_path / "p")) < sizes[-1] + 100_000 and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        sizes.append(size)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] < len(CONTENT)
    server.behaviour.pause = 0
    subprocess.run(command, check=True)
    assert (tmp_path / "p").read_bytes() == CONTENT
    assert len(server.behaviour.asked) == 6
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0 for asked in server.ranges_asked]
    assert all(start >= size for start, size in zip(starts, sizes, strict=True))


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
