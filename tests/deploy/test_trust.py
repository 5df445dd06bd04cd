import errno
import os
import secrets
import shutil
import stat
import sys
from pathlib import Path

import pytest
from exportable import tiny

import spinet as public
from spinet.deploy.export import ExportOptions, export_model
from spinet.deploy.sessions import open_session
from spinet.deploy.trust import read_program, record_export, state_folder, was_exported_here
from spinet.engine.checkpoint import save_weights
from spinet.errors import SpinetError

CONTENT = b"a program"
REFUSED = "is not on record as exported here by this user, and opening a .pt2 file runs code inside it"


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A state folder of the test's own, which does not exist yet."""
    folder = tmp_path / "home" / "state"
    monkeypatch.setenv("SPINET_STATE", str(folder))
    return folder


def test_a_file_that_was_recorded_is_read_under_any_name(state, tmp_path):
    record_export(CONTENT)
    (tmp_path / "copy.pt2").write_bytes(CONTENT)

    assert read_program(tmp_path / "copy.pt2") == CONTENT


@pytest.mark.parametrize("content", [b"", b"A program", CONTENT + b"\0", CONTENT[:-1]])
def test_a_file_that_differs_in_a_byte_is_not_read_without_trust(state, tmp_path, content):
    record_export(CONTENT)
    (tmp_path / "x.pt2").write_bytes(content)

    with pytest.raises(SpinetError, match=REFUSED) as raised:
        read_program(tmp_path / "x.pt2")

    assert "ONNX" in str(raised.value)
    assert len(str(raised.value).replace(str(tmp_path), "")) < 300
    assert read_program(tmp_path / "x.pt2", trust=True) == content


def test_another_user_or_machine_does_not_know_the_file(state, tmp_path, monkeypatch):
    record_export(CONTENT)
    monkeypatch.setenv("SPINET_STATE", str(tmp_path / "other"))
    assert not was_exported_here(CONTENT)

    # Records alone are worth nothing: the key is the other user's.
    record_export(b"their own")
    for record in (state / "exported").iterdir():
        (tmp_path / "other" / "exported" / record.name).touch()
    assert not was_exported_here(CONTENT)
    assert was_exported_here(b"their own")


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX's")
def test_only_the_user_can_read_the_key(state):
    record_export(CONTENT)

    assert stat.S_IMODE((state / "secret" / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((state / "secret").stat().st_mode) == 0o700
    assert [file.name for file in state.iterdir() if file.name.startswith(".")] == []


def test_the_key_is_made_once_and_a_lost_one_makes_all_files_unknown(state):
    record_export(CONTENT)
    key = (state / "secret" / "key").read_bytes()
    record_export(b"another")
    assert (state / "secret" / "key").read_bytes() == key

    (state / "secret" / "key").unlink()
    assert not was_exported_here(CONTENT)
    record_export(CONTENT)
    assert was_exported_here(CONTENT)


@pytest.mark.parametrize("lost", [False, True])
def test_of_two_processes_that_make_a_key_at_once_the_first_one_counts_also_without_hard_links(
    state, monkeypatch, lost
):
    def link(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")  # as exFAT says

    def bytes_of_the_slower_one(count):
        assert not was_exported_here(b"a faster one's")
        monkeypatch.setattr(secrets, "token_bytes", token_bytes)
        record_export(b"a faster one's")
        return token_bytes(count)

    if lost:
        record_export(b"before")
        (state / "secret" / "key").unlink()
    token_bytes = secrets.token_bytes
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(secrets, "token_bytes", bytes_of_the_slower_one)

    record_export(CONTENT)

    assert was_exported_here(CONTENT)
    assert was_exported_here(b"a faster one's")
    assert sorted(file.name for file in state.iterdir()) == ["exported", "secret"]


def test_no_other_process_sees_half_of_a_key(state, monkeypatch):
    def rename(made, target):
        assert len((made / "key").read_bytes()) == 32
        assert not target.exists()
        return whole_rename(made, target)

    whole_rename = Path.rename
    monkeypatch.setattr(Path, "rename", rename)

    record_export(CONTENT)

    assert was_exported_here(CONTENT)


def test_a_truncated_key_knows_no_file(state):
    record_export(CONTENT)
    (state / "secret" / "key").write_bytes(b"short")

    said = record_export(CONTENT)

    assert not was_exported_here(CONTENT)
    assert said == f"the key in {state / 'secret'} is corrupt; delete that folder for a new one"
    shutil.rmtree(state / "secret")
    assert record_export(CONTENT) == ""
    assert was_exported_here(CONTENT)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
def test_a_key_that_cannot_be_written_is_not_called_corrupt(state, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "rename", fail)

    assert record_export(CONTENT) == f"the state folder cannot be written: {os.strerror(number)}"
    assert not was_exported_here(CONTENT)


def test_the_state_folder_is_that_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("SPINET_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "spinet"

    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert state_folder() == tmp_path / "me" / ".local" / "state" / "spinet"


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(SpinetError, match=r"could not read .*gone\.pt2: No such file"):
        read_program(tmp_path / "gone.pt2")


def test_trust_is_for_programs(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"")
    for open_it in (open_session, public.load):
        with pytest.raises(SpinetError, match=r"trust is for \.pt2 files, which .*a\.onnx is not"):
            open_it(tmp_path / "a.onnx", trust=True)
    with pytest.raises(SpinetError, match=r"trust is for \.pt2 files, which .*run is not"):
        public.load(tmp_path / "run", trust=True)


@pytest.mark.parametrize("command", [("predict", "x.png"), ("evaluate", "--data.root", "x"), ("benchmark",)])
def test_each_command_that_opens_a_file_asks_for_trust_in_one_sentence(spinet, state, tmp_path, command):
    (tmp_path / "x.pt2").write_bytes(CONTENT)
    name, *more = command

    code, _, error = spinet(name, tmp_path / "x.pt2", *more)
    assert (code, error.count("\n")) == (1, 1)
    assert REFUSED in error
    assert "--trust" in error

    # With it, PyTorch is asked, which finds no program.
    code, _, error = spinet(name, tmp_path / "x.pt2", *more, "--trust")
    assert (code, error.count("\n")) == (1, 1)
    assert "PyTorch could not read" in error


@pytest.mark.slow
def test_what_was_exported_here_opens_and_with_a_changed_byte_needs_trust(state, tmp_path):
    path = tmp_path / "c.pt2"
    export_model(*tiny("classifier"), path, ExportOptions("pt2"))
    assert open_session(path).manifest.outputs == ("probabilities",)

    # A zip archive ends with a comment of any length, here of one byte more.
    path.write_bytes(path.read_bytes()[:-2] + b"\1\0\0")
    with pytest.raises(SpinetError, match=REFUSED):
        open_session(path)
    assert open_session(path, trust=True).manifest.outputs == ("probabilities",)


@pytest.mark.slow
def test_where_nothing_can_be_recorded_the_export_says_that_its_file_will_need_trust(spinet, state, tmp_path):
    state.parent.write_text("a file in the place of the home folder")
    model, info = tiny("classifier")
    save_weights(tmp_path / "c.safetensors", model.state_dict(), info, {})

    code, _, error = spinet("export", tmp_path / "c.safetensors", "-o", tmp_path / "c.pt2", "--format", "pt2")

    assert code == 0
    assert f"opening {tmp_path / 'c.pt2'} will need --trust" in error
    assert ": the state folder cannot be written: " in error
