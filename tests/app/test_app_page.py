"""The served page: asked by programs, twenty at once, and by a browser."""

import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from chromium import Chromium, find_chromium
from PIL import Image
from small_models import Finder, tiny_weights

from spinet.app.models import Models
from spinet.app.serve import build_page, serve
from spinet.predict.predictor import Predictor

pytest.importorskip("gradio", reason="the page needs the extra app")

pytestmark = [
    pytest.mark.slow,
    # Gradio and what it is made of: files and sockets left to the garbage collector, old names of their own.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a page with a finder of known objects and a classifier."""
    folder = tmp_path_factory.mktemp("page")
    paths = [tiny_weights(folder / "finder.safetensors"), tiny_weights(folder / "classifier.safetensors", "classifier")]
    models = Models(paths, torch.device("cpu"))
    finder = models["finder.safetensors"]
    models._opened[finder.name] = replace(finder, predictor=Predictor(Finder(masks=True), finder.info))
    page = build_page(models, [photo(folder / "example.png")])
    for port in range(47860, 47900):
        try:
            url = serve(page, port=port)
            break
        except Exception:
            continue
    yield url
    page.close(verbose=False)


def photo(path: Path, size: tuple[int, int] = (200, 100)) -> Path:
    Image.new("RGB", size, (90, 120, 150)).save(path)
    return path


def look(address: str, file: Path) -> tuple:
    from gradio_client import Client, handle_file

    # Its own patience of 5 seconds is too short for twenty on a busy machine.
    patient = {"timeout": 300}
    client = Client(address, verbose=False, analytics_enabled=False, download_files=False, httpx_kwargs=patient)
    return client.predict(handle_file(file), "finder.safetensors", "nothing", 0.3, [], 0.4, api_name="/look")


def test_twenty_uploads_at_once_are_all_answered_each_with_its_own_image(address, tmp_path):
    photos = [photo(tmp_path / f"{number}.png", (200 + number, 100)) for number in range(20)]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda file: look(address, file), photos))

    for number, answer in enumerate(answers):
        assert f"{number}.png, {200 + number} x 100 pixels" in str(answer)
        assert "1 cat, 1 ant" in str(answer)


def test_a_text_file_is_a_sentence_and_the_next_image_is_answered(address, tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")

    assert "could not read the image notes.jpg" in str(look(address, tmp_path / "notes.jpg"))
    assert "1 cat, 1 ant" in str(look(address, photo(tmp_path / "a.png")))


def test_an_image_of_100_megapixels_is_answered_in_its_own_pixels(address, tmp_path):
    answer = str(look(address, photo(tmp_path / "vast.png", (12500, 8000))))

    assert "vast.png, 12500 x 8000 pixels" in answer
    # 32 of the network's 64 pixels are 6250 of the photo, and 16 of its 41 are 3122.
    assert "<td>6,250</td><td>3,122</td>" in answer


def test_the_page_listens_on_this_machine_only_and_names_nothing_to_load_elsewhere(address):
    assert address.startswith("http://127.0.0.1:")
    page = urllib.request.urlopen(address).read().decode()
    assert 'script src="http' not in page
    assert 'rel="stylesheet" href="http' not in page


@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine")
def test_a_browser_without_a_network_uploads_an_image_and_sees_the_detections(address, tmp_path):
    with Chromium(tmp_path / "profile") as browser:
        browser.resize(390, 844)
        browser.open(address)
        browser.wait_for("!!document.querySelector('input[type=file]')", 120)
        browser.upload(photo(tmp_path / "a.png"))
        browser.wait_for("document.querySelectorAll('#table-0 tbody tr').length === 2", 120)
        # Gradio's images load lazily: one below the window may wait until it is scrolled to.
        picture = "document.querySelector('#picture-0 img')"
        browser.wait_for(f"{picture}?.scrollIntoView() ?? {picture}?.naturalWidth === 600")

        assert browser.run("document.querySelector('#table-0 tbody tr').innerText").split()[:2] == ["cat", "0.90"]
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.asked_outside(address) == []
        assert browser.failures() == []
