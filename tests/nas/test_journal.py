import errno
import fcntl
import json
import subprocess
import sys

import pytest

from spinet.errors import SpinetError
from spinet.nas.journal import NAME, Journal, is_written, read_journal

HEADER = {"event": "search", "version": 1}
TELL = {"event": "tell", "trial": 0, "status": "done", "reward": 0.1, "metrics": {"name": "é"}}


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path) as opened:
        opened.append([HEADER], durable=True)
        yield opened


def test_an_event_is_a_line_that_readers_see_while_the_journal_is_open(journal):
    journal.append([TELL, TELL], durable=True)
    assert list(read_journal(journal.path)) == [HEADER, TELL, TELL]
    assert journal.path.read_text().count("\n") == 3


def test_what_append_returns_is_what_a_reader_reads(journal):
    (event,) = journal.append([{"event": "ask", "choices": (1, 2), "notes": {1: 0.1}}], durable=False)
    assert event == {"event": "ask", "choices": [1, 2], "notes": {"1": 0.1}}


@pytest.mark.parametrize("torn", [b'{"event":"tell","tri', b'{"event":"tell","trial":0}', b"\0" * 100_000, b"\xff"])
def test_a_torn_last_line_is_cut_off_on_opening_and_not_seen_by_readers(tmp_path, torn):
    with Journal(tmp_path) as journal:
        journal.append([HEADER, TELL], durable=True)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole + torn)

    assert len(list(read_journal(tmp_path / NAME))) == 2
    with Journal(tmp_path) as journal:
        assert journal.size == len(whole)
        journal.append([TELL], durable=True)
    assert list(read_journal(tmp_path / NAME)) == [HEADER, TELL, TELL]


def test_a_torn_first_line_leaves_an_empty_journal(tmp_path):
    (tmp_path / NAME).write_text('{"event":"sea')
    with Journal(tmp_path) as journal:
        assert journal.size == 0


@pytest.mark.parametrize(
    "line", ['{"event":"tell","tr', "[1]", '{"event":"swim"}', '{"trial":1}', '{"event":"search"}', ""]
)
def test_a_corrupt_line_in_the_middle_is_an_error_that_names_file_and_line(tmp_path, line):
    lines = [json.dumps(HEADER), json.dumps(TELL), line, json.dumps(TELL)]
    (tmp_path / NAME).write_text("\n".join(lines) + "\n")
    with pytest.raises(SpinetError, match=r"journal\.jsonl, line 3 is corrupt"):
        list(read_journal(tmp_path / NAME))


def test_a_file_that_is_not_a_journal_is_rejected(tmp_path):
    (tmp_path / NAME).write_text(json.dumps(TELL) + "\n")
    with pytest.raises(SpinetError, match="line 1 is corrupt: the event search must be the first line"):
        list(read_journal(tmp_path / NAME))
    with pytest.raises(SpinetError, match="could not read the journal .*: No such file"):
        list(read_journal(tmp_path / "nowhere" / NAME))


def test_a_second_writer_is_rejected_until_the_first_has_closed(tmp_path):
    with Journal(tmp_path) as journal:
        with pytest.raises(SpinetError, match=r"another search is writing .*journal\.jsonl"):
            Journal(tmp_path)
        assert is_written(journal.path)
    Journal(tmp_path).close()


def test_a_file_system_without_locks_is_one_sentence(tmp_path, monkeypatch):
    def no_locks(file, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(SpinetError, match="could not lock .*: No locks available; use a run folder on a file system"):
        Journal(tmp_path)


def test_a_cleared_journal_starts_over(journal):
    journal.append([TELL, TELL], durable=False)
    journal.clear()
    assert (journal.size, list(read_journal(journal.path))) == (0, [])
    journal.append([HEADER], durable=False)
    assert list(read_journal(journal.path)) == [HEADER]
    assert journal.size == journal.path.stat().st_size


def test_a_closed_journal_is_not_being_written(tmp_path):
    Journal(tmp_path).close()
    assert not is_written(tmp_path / NAME)
    assert not is_written(tmp_path / "nowhere")


def test_non_finite_numbers_never_reach_the_file(journal):
    with pytest.raises(ValueError, match="JSON"):
        journal.append([{**TELL, "reward": float("nan")}], durable=True)
    assert list(read_journal(journal.path)) == [HEADER]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpinetError, match="could not open the journal"):
        Journal(tmp_path / "file")


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from spinet.errors import SpinetError
from spinet.nas.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # as a full disk: part of a line still fits
journal = Journal(Path(sys.argv[1]))
journal.append([{"event": "search"}], durable=True)
acknowledged = 0
try:
    for trial in range(1000):
        journal.append([{"event": "tell", "trial": trial, "text": "x" * 100}], durable=True)
        acknowledged += 1
except SpinetError as error:
    print(json.dumps([acknowledged, str(error), journal.path.stat().st_size]))
"""


def test_a_full_disk_is_one_sentence_and_loses_nothing_that_was_acknowledged(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True)
    acknowledged, sentence, size = json.loads(done.stdout)
    assert 0 < acknowledged < 1000
    assert sentence.startswith("could not write the journal")
    assert "File too large" in sentence
    assert (tmp_path / NAME).read_bytes().endswith(b"\n")
    assert (tmp_path / NAME).stat().st_size == size
    told = [event["trial"] for event in read_journal(tmp_path / NAME) if event["event"] == "tell"]
    assert told == list(range(acknowledged))


def test_a_journal_of_many_lines_opens_at_its_end(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append([HEADER, *[TELL] * 5000], durable=True)
        size = journal.size
    assert size > 2**17
    with Journal(tmp_path) as journal:
        assert journal.size == size
