"""`spinet push` and `spinet pull`, by the Hub's own client, against a stand-in of the Hub on this machine."""

import errno
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from shared_runs import detector_run
from upload_server import READ, WRITE, StoredRepository, upload_server

import spinet as package
from spinet.engine.config import read_config
from spinet.errors import SpinetError

# Of the client's own call of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
PLAIN = {"README.md", "model.safetensors", "config.json", "metrics.json", "architecture.svg"}
LICENCE = ("--license", "apache-2.0")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    return detector_run(tmp_path_factory.mktemp("push") / "run", digits)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in, as the Hub of this process, and a client without stored tokens and with a cache of its own."""
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    # The protocol of large files: the stand-in does not speak the newer one, xet.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", WRITE)
    with upload_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def test_a_push_is_one_commit_of_the_files_of_a_model_and_nothing_else(run, hub, spinet):
    code, out, err = spinet("push", run, "hf://me/cells", *LICENCE, "--dataset", "Digits")

    assert code == 0, err
    stored = hub.repositories["me/cells"]
    assert [set(commit) for commit in stored.commits] == [PLAIN]
    assert out.splitlines()[-1] == f"{hub.endpoint}/me/cells/commit/{stored.head}"
    assert not stored.private
    assert b"license: apache-2.0" in stored.files["README.md"]
    assert json.loads(stored.files["config.json"])["data"]["root"] == ""


def test_nothing_pushed_names_a_folder_of_this_machine(run, hub, spinet, digits):
    assert spinet("push", run, "hf://me/cells", *LICENCE, "--samples")[0] == 0

    stored = hub.repositories["me/cells"].files
    assert set(stored) == PLAIN | {f"samples/{number}.jpg" for number in range(1, 7)}
    for content in stored.values():
        for secret in (str(run.parent), str(digits), digits.name):
            assert secret.encode() not in content


def test_pushing_an_unchanged_run_makes_no_commit_and_a_changed_one_does(run, hub, spinet):
    first = spinet("push", run, "hf://me/cells", *LICENCE)[1]
    head = hub.repositories["me/cells"].head

    code, out, err = spinet("push", run, "hf://me/cells", *LICENCE)

    assert code == 0, err
    assert f"unchanged, no new commit: {hub.endpoint}/me/cells/commit/{head}" in out
    assert "unchanged" not in first
    assert len(hub.repositories["me/cells"].commits) == 1
    assert spinet("push", run, "hf://me/cells", *LICENCE, "--dataset", "Digits")[0] == 0
    assert [set(commit) for commit in hub.repositories["me/cells"].commits[1:]] == [{"README.md", "metrics.json"}]


def test_a_model_that_was_pushed_and_pulled_predicts_the_same(run, hub, spinet, digits, tmp_path):
    assert spinet("push", run, "hf://me/cells", *LICENCE)[0] == 0

    code, out, err = spinet("pull", "hf://me/cells", "-o", tmp_path / "cells")

    assert code == 0, err
    assert out.splitlines() == ["detector: retinanet on tiny, 3 classes, 64 px", str(tmp_path / "cells")]
    assert {path.name for path in (tmp_path / "cells").iterdir()} == PLAIN
    image = str(sorted((digits / "val").rglob("*.*"))[0])
    of_run, pulled = (package.load(path).predict(image, score_threshold=0.0) for path in (run, tmp_path / "cells"))
    np.testing.assert_array_equal(pulled.boxes, of_run.boxes)
    np.testing.assert_array_equal(pulled.scores, of_run.scores)
    assert spinet("evaluate", tmp_path / "cells", "--data.root", digits)[0] == 0


def test_python_pushes_and_pulls_too(run, hub, tmp_path):
    pushed = package.push(run, "hf://me/cells", license="mit", dataset="Digits", private=True)

    assert (pushed.changed, set(pushed.files)) == (True, PLAIN)
    assert hub.repositories["me/cells"].private
    revision = hub.repositories["me/cells"].head
    pulled = package.pull(f"hf://me/cells/model.safetensors@{revision}", tmp_path / "cells")
    assert pulled.info.class_names == package.load(run).class_names


def test_a_dry_run_writes_the_same_files_and_asks_nobody(run, hub, spinet, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")

    code, out, err = spinet("push", run, "hf://me/cells", *LICENCE, "--dry-run", tmp_path / "dry")

    assert code == 0, err
    assert hub.seen == []
    assert {path.name for path in (tmp_path / "dry").iterdir()} == PLAIN
    assert out.splitlines()[-1] == str(tmp_path / "dry")
    monkeypatch.setenv("HF_TOKEN", WRITE)
    assert spinet("push", run, "hf://me/cells", *LICENCE)[0] == 0
    stored = hub.repositories["me/cells"].files
    assert {path.name: path.read_bytes() for path in (tmp_path / "dry").iterdir()} == stored


def refused(spinet, *args):
    """Run a command that must fail with one sentence, which is returned."""
    code, out, err = spinet(*args)
    assert (code, out) == (1, "")
    assert err.startswith("spinet: error: ")
    assert len(err.splitlines()) == 1, err
    return err


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "pushing a model needs a token with write access: set HF_TOKEN"),
        ("hf_expired", "does not accept the token in HF_TOKEN (Invalid credentials"),
        (READ, "the token in HF_TOKEN may not do this with hf://me/cells (You don't have the rights"),
    ],
)
def test_a_push_without_a_right_token_is_refused(run, hub, spinet, monkeypatch, token, message):
    monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")

    assert message in refused(spinet, "push", run, "hf://me/cells", *LICENCE)
    assert hub.repositories == {}


def test_a_read_token_does_not_change_a_repository(run, hub, spinet, monkeypatch):
    hub.repositories["me/cells"] = StoredRepository(files={"README.md": b"old"})
    monkeypatch.setenv("HF_TOKEN", READ)

    assert "write access is needed" in refused(spinet, "push", run, "hf://me/cells", *LICENCE)
    assert hub.repositories["me/cells"].files == {"README.md": b"old"}


def test_a_private_push_does_not_go_to_a_public_repository(run, hub, spinet):
    hub.repositories["me/cells"] = StoredRepository()

    message = refused(spinet, "push", run, "hf://me/cells", *LICENCE, "--private")

    assert "exists and is public" in message
    assert hub.repositories["me/cells"].files == {}


@pytest.mark.parametrize(
    ("part", "status", "message"),
    [
        ("lfs/objects/batch", 413, "there is no space for hf://me/cells"),
        ("/commit/", 403, "may not do this with hf://me/cells (storage limit"),
        ("/storage/", 403, "may not do this"),
        ("/preupload/", 429, "has had too many requests"),
    ],
)
def test_what_the_hub_refuses_is_said_and_nothing_is_committed(run, hub, spinet, monkeypatch, part, status, message):
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the client's attempts
    hub.refuse[part] = (status, "storage limit reached")

    assert message in refused(spinet, "push", run, "hf://me/cells", *LICENCE)
    assert hub.repositories["me/cells"].commits == []


@pytest.mark.parametrize("command", ["push", "pull"])
def test_without_a_network_the_command_says_so(command, run, hub, spinet, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the port of `discard`, where nobody listens

    args = [run, "hf://me/cells", *LICENCE] if command == "push" else ["hf://me/cells", "-o", tmp_path / "out"]
    assert "could not reach http://127.0.0.1:9 for hf://me/cells" in refused(spinet, command, *args)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["push", "pull"])
def test_without_the_client_the_extra_is_named(command, run, spinet, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    args = [run, "hf://me/cells", *LICENCE] if command == "push" else ["hf://me/cells", "-o", tmp_path / "out"]
    assert "needs huggingface_hub, which is not installed: pip install 'spinet[hub]'" in refused(spinet, command, *args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["hf://cells", *LICENCE], "'hf://cells' is not an address on the hub; expected hf://owner/name"),
        (["me/cells", *LICENCE], "expected hf://owner/name"),
        (["hf://me/cells@dev", *LICENCE], "is pushed to the main branch"),
        (["hf://me/cells/../other", *LICENCE], "expected hf://owner/name"),
        (["hf://me/cells"], "--license is missing"),
        (["hf://me/cells", "--license", "apache"], "unknown licence 'apache', did you mean 'apache-2.0'?"),
    ],
)
def test_wrong_arguments_of_a_push_are_refused(run, hub, spinet, args, message):
    assert message in refused(spinet, "push", run, *args)
    assert hub.repositories == {}


def test_an_unfinished_run_and_a_folder_that_is_no_run_are_not_pushed(run, hub, spinet, tmp_path):
    unfinished = shutil.copytree(run, tmp_path / "run")
    (unfinished / "best.safetensors").unlink()
    (tmp_path / "empty").mkdir()

    assert "was never evaluated" in refused(spinet, "push", unfinished, "hf://me/cells", *LICENCE)
    assert "is empty; name the folder of a training" in refused(
        spinet, "push", tmp_path / "empty", "hf://me/cells", *LICENCE
    )
    assert hub.repositories == {}


def test_pulling_what_is_not_there_or_no_model_of_ours_is_refused(hub, spinet, tmp_path):
    torch_only = {"pytorch_model.bin": b"pickle", "README.md": b"# x"}
    hub.repositories["a/torch"] = StoredRepository(files=torch_only)
    hub.repositories["a/other"] = StoredRepository(files={"model.safetensors": b"\2\0\0\0\0\0\0\0{}"})
    hub.repositories["a/two"] = StoredRepository(files={"a.safetensors": b"", "b.safetensors": b""})

    for address, message in {
        "hf://a/none": "there is no repository hf://a/none, or it is private",
        "hf://a/torch": "holds no safetensors, only README.md, pytorch_model.bin; other weights may run code",
        "hf://a/other": "holds no model of Spinet",
        "hf://a/two": "name one as hf://a/two/FILE: a.safetensors, b.safetensors",
        "hf://a/two/c.safetensors": "has no weights c.safetensors; its safetensors are a.safetensors, b.safetensors",
        "hf://a/two@v9": "hf://a/two has no revision 'v9'",
        "runs/nothing": "neither an address hf://owner/name nor a .zip",
    }.items():
        assert message in refused(spinet, "pull", address, "-o", tmp_path / "out"), address
        assert not (tmp_path / "out").exists()


def test_a_pull_goes_only_into_a_new_folder_and_leaves_nothing_when_the_disk_is_full(
    run, hub, spinet, tmp_path, monkeypatch
):
    assert spinet("push", run, "hf://me/cells", *LICENCE)[0] == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert "is not empty" in refused(spinet, "pull", "hf://me/cells", "-o", tmp_path / "mine")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("spinet.share.folder.shutil.copyfile", full)
    before = sorted(tmp_path.iterdir())
    message = refused(spinet, "pull", "hf://me/cells", "-o", tmp_path / "new")
    assert "could not write the folder" in message
    assert "No space left on device" in message
    assert sorted({*tmp_path.iterdir(), tmp_path / "cache"}) == sorted({*before, tmp_path / "cache"})


def test_the_checksum_of_the_hub_is_compared(run, hub, spinet, tmp_path):
    assert spinet("push", run, "hf://me/cells", *LICENCE)[0] == 0
    hub.corrupt.add("model.safetensors")

    assert "does not have the checksum" in refused(spinet, "pull", "hf://me/cells", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_token_is_sent_to_the_hub_and_never_printed(run, hub, spinet):
    code, out, err = spinet("push", run, "hf://me/cells", *LICENCE)

    assert code == 0
    assert WRITE not in out + err
    assert {token for _, path, token in hub.seen if path.startswith("/api/")} == {WRITE}
    assert all(not token for _, path, token in hub.seen if path.startswith("/storage"))


def test_settings_of_a_pulled_model_are_a_recipe(run, hub, spinet, tmp_path):
    assert spinet("push", run, "hf://me/cells", *LICENCE)[0] == 0
    package.pull("hf://me/cells", tmp_path / "cells")

    config = read_config(run / "config.json")
    assert package.load_recipe(tmp_path / "cells" / "config.json") == replace(
        config, data=replace(config.data, root="")
    )


def test_an_address_without_a_model_raises_in_python_too(hub, tmp_path):
    with pytest.raises(SpinetError, match="there is no repository"):
        package.pull("hf://a/none", tmp_path / "out")
