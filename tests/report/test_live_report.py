"""The page that follows a run, over HTTP."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
from chromium import Chromium, find_chromium
from null_trials import Climber, Evaluation, configuration
from PIL import Image
from shared_runs import classifier_run, detector_run

from spinet.commands.report import report_command
from spinet.engine.config import OptimConfig, TrainConfig
from spinet.engine.first_batch import PICTURE
from spinet.engine.run_folder import LOCK, exclusive
from spinet.errors import SpinetError
from spinet.nas.run import run_search
from spinet.report.live import LivePage
from spinet.report.serve import LiveServer
from spinet.workers.executors import InProcess


def add_lines(run, *steps):
    with (run / "metrics.jsonl").open("a") as file:
        for step in steps:
            line = {"step": step, "loss": 2 / step, "loss/class": 1 / step, "loss/box": 1 / step, "lr": 0.1}
            line |= {"epoch": step / 10, "images_per_second": 8.0, "memory_gib": 1.5}
            file.write(json.dumps(line) + "\n")


@pytest.fixture
def unfinished(tmp_path):
    """What a training of 20 epochs has written before its first evaluation."""
    run = tmp_path / "run"
    run.mkdir()
    config = TrainConfig(optim=OptimConfig(schedule="cosine"), epochs=20, batch_size=4)
    (run / "config.json").write_text(config.to_json().replace('"root": ""', '"root": "d"'))
    add_lines(run, 10, 20)
    Image.new("RGB", (20, 20)).save(run / PICTURE)
    return run


@contextmanager
def served(run):
    with LiveServer(LivePage(run), 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, path="/", method="GET", host=None):
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_address[1]}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("ETag"), content


def test_a_run_before_its_first_evaluation_has_a_page_with_what_there_is(unfinished):
    with served(unfinished) as server, exclusive(unfinished):
        status, _, page = ask(server)

    assert status == 200
    for text in ("2 of 20 epochs", "The first evaluation is still to come", "Losses on the training images", "<img",
                 "What the network sees"):  # fmt: skip
        assert text in page


def test_a_page_changes_with_the_run_and_only_then(unfinished):
    with served(unfinished) as server:
        _, first, page = ask(server)
        assert ask(server, method="HEAD") == (200, first, "")
        assert ask(server)[2] == page
        add_lines(unfinished, 30)
        _, second, later = ask(server)

    assert second != first
    assert "3 of 20 epochs" in later


@pytest.mark.parametrize("path", ["/config.json", "/../config.json", "/%2e%2e/config.json", "/train-batch.jpg", "x"])
def test_nothing_but_the_page_is_served(unfinished, path):
    with served(unfinished) as server:
        assert ask(server, path) == (404, None, "only / is served")


def test_another_name_for_this_machine_is_not_served(unfinished):
    with served(unfinished) as server:
        assert ask(server, host="example.org:80")[0] == 403
        assert ask(server, host=f"localhost:{server.server_address[1]}")[0] == 200


def test_a_browser_at_the_usual_port_names_none(unfinished):
    with served(unfinished) as server:
        assert ask(server, host="127.0.0.1")[0] == 200


def test_a_folder_that_has_gone_is_a_sentence_and_comes_back(unfinished):
    with served(unfinished) as server:
        (unfinished / "config.json").rename(unfinished / "elsewhere")
        status, _, page = ask(server)
        assert status == 503
        assert "holds no run" in page
        (unfinished / "elsewhere").rename(unfinished / "config.json")
        assert ask(server)[0] == 200


@pytest.mark.parametrize("make", [detector_run, classifier_run], ids=["detector", "classifier"])
def test_a_run_that_has_ended_has_its_whole_report(make, digits, tmp_path):
    run = make(tmp_path / "run", digits) if make is detector_run else make(tmp_path / "run")
    with served(run) as server:
        status, _, page = ask(server)

    assert status == 200
    assert "All metrics" in page


def test_val_images_of_a_running_training_are_shown(digits, tmp_path):
    run = detector_run(tmp_path / "run", digits)
    with served(run) as server, exclusive(run):
        page = ask(server)[2]
        assert ask(server)[2] == page

    assert "The worst val images so far" in page
    assert "step 40, ground truth" in page


def test_a_search_has_its_report(tmp_path):
    pytest.importorskip("plotly")
    run_search(configuration(trials=3), tmp_path / "run", Climber(), Evaluation(), InProcess(), quiet=True)
    with served(tmp_path / "run") as server:
        assert "Search in" in ask(server)[2]


def test_a_taken_port_and_a_missing_run_are_one_sentence(unfinished, tmp_path):
    with LiveServer(LivePage(unfinished), 0) as server:
        port = server.server_address[1]
        with pytest.raises(SpinetError, match=rf"cannot serve at 127.0.0.1:{port}: Address already in use; another"):
            report_command([str(unfinished), "--serve", "--port", str(port)])
    with pytest.raises(SpinetError, match="there is no run folder"):
        report_command([str(tmp_path / "nope"), "--serve"])
    with pytest.raises(SpinetError, match="--port is 0; it must be from 1 to 65535"):
        report_command([str(unfinished), "--serve", "--port", "0"])
    with pytest.raises(SpinetError, match="--out is for a page that is written"):
        report_command([str(unfinished), "--serve", "-o", str(tmp_path / "x.html")])


@pytest.mark.slow
def test_ctrl_c_ends_it_with_130(unfinished):
    with LiveServer(LivePage(unfinished), 0) as server:
        port = server.server_address[1]
    command = [sys.executable, "-m", "spinet", "report", str(unfinished), "--serve", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=os.environ | {"PYTHONUNBUFFERED": "1"}) as process:  # fmt: skip
        assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors == "spinet: stopped by Ctrl-C\n"


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
def test_the_browser_follows_the_run_and_says_when_it_is_no_longer_served(unfinished, tmp_path):
    with Chromium(tmp_path / "profile") as browser:
        browser.resize(390, 800)
        with exclusive(unfinished), served(unfinished) as server:
            browser.open(server.address)
            browser.wait_for("document.body?.innerText.includes('2 of 20 epochs')")
            assert browser.run("document.documentElement.scrollWidth") <= 390
            add_lines(unfinished, 30)
            browser.wait_for("document.body?.innerText.includes('3 of 20 epochs')")
            assert not browser.asked_outside(server.address)
        browser.wait_for("document.body?.innerText.includes('not live')")


def test_the_lock_that_tells_whether_a_run_goes_on_changes_the_page(unfinished):
    page = LivePage(unfinished)
    before = page.tag()
    with exclusive(unfinished):
        assert (unfinished / LOCK).exists()
        held = page.tag()
        assert held != before
    (unfinished / LOCK).touch()  # what a killed process leaves: the file without the lock
    times = (unfinished / LOCK).stat()
    released = page.tag()
    with exclusive(unfinished):
        os.utime(unfinished / LOCK, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert page.tag() != released
