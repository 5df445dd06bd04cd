"""What the guides tell readers to type is run in order, on tiny data and with tiny networks."""

import json
import re
import shlex
import shutil
from dataclasses import asdict

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
from spinet.recipes import RECIPES

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
    "spinet report runs/mine --serve": "serves until it is stopped; tests/report drives it",
    "spinet export runs/mine -o strip.onnx": "ties of equal scores in a random network break otherwise; tests/deploy",
    "spinet app": "serves until it is stopped; tests/app drives it",
    "spinet push": "needs an account; tests/share pushes to a server of its own",
    "spinet pull hf://": "needs a network; tests/share pulls from a server of its own",
    "spinet predict published/retinanet": "needs a network; tests/hub fetches from a server of its own",
    "spinet weights get": "needs a network; tests/hub",
    "spinet weights path NAME": "needs weights that were fetched; tests/hub",
    "spinet weights remove NAME": "needs weights that were fetched; tests/hub",
    "spinet convert": "needs a checkpoint of others; tests/convert",
    "spinet predict weights.safetensors": "needs the file of the line before",
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
FEW = "--data.image-size 64 --data.workers 0 --epochs 0.2 --batch-size 4 --device cpu"
TINY = "--model.arch tiny"
# Scores that find something, so that there are thresholds to use.
LEARNED = f"{TINY} --model.weights learned.safetensors --model.new-classes --optim.lr 1e-6"
# What is added to a command that begins so, to make it small; the longest that fits.
ADDED = {
    "spinet train": FEW,
    "spinet train small-cpu ": f"{FEW} {LEARNED}",
    "spinet train small-cpu-masks": f"{FEW} {TINY} --model.proposals 8",
    "spinet train small-cpu-classes": f"{FEW} {TINY}",
    "spinet search spinenet49": "--trials 2 --references 1 --proxy mini.json --workers 1 --no-estimate",
    "spinet doctor": "--workers 1",
}
REPLACED = {
    'data="DIR"': 'data={"root": "DIR", "image_size": 64, "workers": 0}, batch_size=4, device="cpu"',
    'epochs=50, model__arch="spinenet49s"': 'epochs=0.2, model__arch="tiny"',
    'model__weights="runs/other"': 'model__weights="runs/other", epochs=0.2',
    'spinet.train("small-cpu", "runs/mine"': 'spinet.train("small-cpu", "runs/python"',
    'spinet.train("finetune-cpu", "runs/mine"': 'spinet.train("finetune-cpu", "runs/python"',
    "train_images=300, val_images=60": "train_images=4, val_images=2",
    "train_images=1000, val_images=100": "train_images=4, val_images=2",
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
    settings = asdict(RECIPES["small-cpu"].config.model)
    model, info = tiny(**{name: value for name, value in settings.items() if name not in ("arch", "head")})
    names = ("zero", "one", "two")
    info = ModelInfo(info.architecture, info.model, names, (1, 2, 3), 64)
    save_weights(tmp_path / "learned.safetensors", model.state_dict(), info, {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def smaller(line):
    """The words of a command, made small."""
    line = line.split(" #")[0]
    fits = [begin for begin in ADDED if line.startswith(begin)]
    added = ADDED[max(fits, key=len)] if fits else ""
    if "--model.arch" in line:
        added = added.replace(LEARNED, "")
    return [word for word in [*words_of(line), *shlex.split(added)] if word != "video.mp4"]  # tests/predict has videos


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_runs_from_its_first_line_to_its_last(guide, folder):
    prepare(guide, folder)
    said, count = folder / "said.txt", 0
    for block in blocks_of(guide):
        # tests/test_examples.py runs the Python of the README.
        if block.language == "python" and guide != "README" and not any(key in block.text for key in LEFT_OUT_PYTHON):
            forked.done(forked.script, written(block.text, folder), output=said)
            count += 1
        for line in lines_of(block):
            if words_of(line) and not line.startswith(tuple(LEFT_OUT)):
                forked.done(forked.command, *smaller(line), output=said)
                count += 1
    assert count


def written(text, folder):
    """The file of a block of Python, made small."""
    for old, new in REPLACED.items():
        text = text.replace(old, new)
    file = folder / "block.py"
    file.write_text(text if "import spinet" in text else f"import spinet\n{text}")
    return file


def prepare(guide, folder):
    """Make what a guide takes for granted: runs, and in data.md an export that is not divided."""
    if guide == "masks":
        (folder / "DIR").unlink()
        (folder / "DIR").symlink_to(folder / "kites")
    if guide == "data":
        source = (folder / "DIR").resolve()
        (folder / "DIR").unlink()
        shutil.copytree(source / "train", folder / "DIR" / "images")
        shutil.copy(source / "annotations" / "instances_train.json", folder / "DIR" / "result.json")
    if guide in ("reports", "export", "sharing", "python"):
        train("mine", folder)
    if guide in ("reports", "finetuning", "README"):
        train("other", folder)
    if guide == "README":
        forked.done(forked.command, "export", "runs/other", "-o", "mine.onnx", output=folder / "said.txt")


def train(name, folder):
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
