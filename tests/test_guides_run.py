"""What the guides tell readers to type is run in order, on tiny data and with tiny networks."""

import json
import re
import shlex

import forked
import numpy as np
import pytest
from exportable import tiny
from guides import blocks_of, lines_of, text_of, words_of
from PIL import Image

import spinet
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.nas.proxies import PROXIES

GUIDES = ["start", "data", "masks", "classification", "finetuning", "reports", "search", "export", "sharing", "weights"]
GUIDES += ["python", "architectures", "README"]
# Everything that is not run, by the beginning of the line, with the reason.
LEFT_OUT = {
    "git clone": "needs a network",
    "python3 -m venv": "installs",
    "pip install": "installs",
    "make ": "is what runs this test",
    "torchrun": "tests/engine runs two processes",
    "trtexec": "needs TensorRT",
    "python -m modelopt": "needs NVIDIA's Model Optimizer",
    "spinet app": "serves until it is stopped; tests/app drives it",
    "spinet push": "needs an account; tests/share pushes to a server of its own",
    "spinet pull hf://": "needs a network; tests/share pulls from a server of its own",
    "spinet predict published/retinanet": "needs a network; tests/hub fetches from a server of its own",
    "spinet weights get": "needs a network; tests/hub",
    "spinet weights path NAME": "needs weights that were fetched; tests/hub",
    "spinet weights remove NAME": "needs weights that were fetched; tests/hub",
    "spinet convert": "needs a checkpoint of others; tests/convert",
    "spinet export runs/mine -o mine_int8": "takes half a minute; tests/deploy",
    "spinet predict mine_int8": "needs the file of the line before",
    "spinet train small-cpu --data.root DIR --run runs/mine --log-to": "needs MLflow; tests/track",
    "spinet draw --all": "draws for half a minute; tests/draw",
}
# Blocks of Python that are not run, by what they contain.
LEFT_OUT_PYTHON = {
    "cv2": "needs OpenCV; start.md has the same with Pillow",
    "detector.losses(images, targets)": "`images` and `targets` are the reader's",
    "my_measurement": "the measurement is the reader's; README.md has one that runs",
}
SMALL = "--data.image-size 64 --data.workers 0 --model.arch tiny --epochs 0.2 --batch-size 4 --device cpu"
LEARNED = "--model.weights learned.safetensors --model.new-classes --optim.lr 1e-6"
# What is added to a command that begins so, to make it small; the longest that fits.
ADDED = {
    "spinet train": f"{SMALL} {LEARNED}",
    "spinet train small-cpu-masks": f"{SMALL} --model.proposals 8",
    "spinet train small-cpu-classes": SMALL,
    "spinet train finetune-cpu": "--data.image-size 64 --data.workers 0 --epochs 0.2 --batch-size 4 --device cpu",
    "spinet search spinenet49": "--trials 2 --references 1 --proxy mini.json --workers 1 --no-estimate",
    "spinet doctor": "--workers 1",
}
REPLACED = {
    'data="DIR"': 'data={"root": "DIR", "image_size": 64, "workers": 0}, epochs=0.2, batch_size=4, device="cpu"',
    'epochs=50, model__arch="spinenet49s"': 'model__arch="tiny"',
    "train_images=300, val_images=60": "train_images=4, val_images=2, image_size=64",
    "train_images=1000, val_images=100": "train_images=4, val_images=2, image_size=64",
    "trials=50": "trials=3",
}


@pytest.fixture
def folder(tmp_path, digits, colours, kites, monkeypatch):
    """A folder with all that the guides speak of: data, images, and a run that finds something everywhere."""
    for name in ("DIR", "DATA", "DEMO"):
        (tmp_path / name).symlink_to(digits)
    (tmp_path / "ROOT").symlink_to(colours)
    for name in ("folder", "images"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / name / "one.png")
    Image.open(next((digits / "val").iterdir())).save(tmp_path / "image.jpg")
    proxy = PROXIES["tiny"].with_settings(name="mini", image_size=64, rungs=(0.2,))
    (tmp_path / "mini.json").write_text(json.dumps(proxy.to_dict()))
    model, info = tiny()
    names = ("zero", "one", "two")
    info = ModelInfo(info.architecture, info.model, names, (1, 2, 3), 64)
    save_weights(tmp_path / "learned.safetensors", model.state_dict(), info, {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def smaller(line):
    """The words of a command, made small."""
    line = line.split(" #")[0]
    fits = [begin for begin in ADDED if line.startswith(begin)]
    return [*words_of(line), *shlex.split(ADDED[max(fits, key=len)] if fits else "")]


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_runs_from_its_first_line_to_its_last(guide, folder):
    prepare(guide, folder)
    said = folder / "said.txt"
    for block in blocks_of(guide):
        if block.language == "python" and not any(word in block.text for word in LEFT_OUT_PYTHON):
            text = block.text
            for old, new in REPLACED.items():
                text = text.replace(old, new)
            forked.done(forked.code, text if "import" in text else f"import spinet\n{text}", output=said)
        for line in lines_of(block):
            if words_of(line) and not any(line.startswith(begin) for begin in LEFT_OUT):
                forked.done(forked.command, *smaller(line), output=said)
    assert said.exists()


def prepare(guide, folder):
    """Train what a guide takes for granted."""
    if guide == "masks":
        (folder / "DIR").unlink()
        (folder / "DIR").symlink_to(folder / "kites")
    if guide in ("reports", "export", "sharing", "python"):
        train(folder, "mine")
    if guide in ("reports", "finetuning", "README"):
        train(folder, "other")


def train(folder, name):
    line = f"spinet train small-cpu --data.root DIR --run runs/{name}"
    forked.done(forked.command, *smaller(line), output=folder / "said.txt")


def test_whatever_is_left_out_is_in_a_guide():
    lines = [line for name in [*GUIDES, "clusters"] for block in blocks_of(name) for line in lines_of(block)]
    assert [begin for begin in LEFT_OUT if not any(line.startswith(begin) for line in lines)] == []
    texts = [block.text for name in GUIDES for block in blocks_of(name) if block.language == "python"]
    assert [word for word in [*LEFT_OUT_PYTHON, *REPLACED] if not any(word in text for text in texts)] == []


def test_every_line_of_a_guide_is_run_or_left_out():
    for name in [*GUIDES, "clusters"]:
        for block in blocks_of(name):
            for line in lines_of(block):
                known = not line.strip() or words_of(line) or line.startswith(tuple(LEFT_OUT))
                assert known, f"{name}.md: {line}"
                assert block.language in ("", "python")


def test_every_name_of_the_python_guide_exists():
    for name in re.findall(r"spinet\.(\w+)\(", text_of("python")):
        assert hasattr(spinet, name)
