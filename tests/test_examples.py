import json
import re
from pathlib import Path

import forked
import pytest
from exportable import noise, tiny
from PIL import Image

from spinet.engine.checkpoint import save_weights

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = {
    "add_block.py": [],
    "backbone_features.py": [],
    "drop_in.py": [],
    "masks_and_classes.py": ["{folder}", "0.2"],
    "predict.py": ["{weights}", "{image}", "{image}"],
    "search.py": ["{folder}", "20"],
    "train.py": ["{folder}", "0.2"],
}


def test_every_example_is_tested():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(ARGUMENTS)


def test_examples_import_public_names_only():
    for path in (ROOT / "examples").glob("*.py"):
        used = re.findall(r"^ *(?:from|import) (spinet\S*)", path.read_text(), flags=re.MULTILINE)
        # Importing this module is its use.
        assert set(used) <= {"spinet", "spinet.timm_models"}, path.name


@pytest.fixture
def files(tmp_path):
    """A detector that finds something everywhere, and an image."""
    model, info = tiny()
    save_weights(tmp_path / "weights.safetensors", model.state_dict(), info, {})
    Image.fromarray(noise(90, 70).permute(1, 2, 0).numpy()).save(tmp_path / "image.png")
    return {"folder": tmp_path, "weights": tmp_path / "weights.safetensors", "image": tmp_path / "image.png"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_example_runs(name, files, tmp_path, monkeypatch):
    arguments = [argument.format(**files) for argument in ARGUMENTS[name]]
    monkeypatch.chdir(tmp_path)
    assert forked.done(forked.script, ROOT / "examples" / name, *arguments, output=tmp_path / "said.txt")


@pytest.mark.slow
def test_the_python_in_the_readme_runs(tmp_path, digits, monkeypatch):
    (tmp_path / "DIR").symlink_to(digits)
    (tmp_path / "image.jpg").symlink_to(next((digits / "val").iterdir()))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 4
    short = 'data={"root": "DIR", "image_size": 64}, epochs=0.2, model__arch="tiny"'
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        forked.done(forked.code, block.replace('data="DIR"', short), output=tmp_path / "said.txt")


PARAMETERS = {
    "own_images.ipynb": {
        "SETTINGS": {"epochs": 0.2, "data.image_size": 64, "data.workers": 0, "model.arch": "tiny", "device": "cpu"},
        "GENERATED": {"classes": 3, "train_images": 8, "val_images": 2, "image_size": 64, "object_sizes": (16, 40)},
    },
    "search.ipynb": {
        "TRIALS": 2,
        "EPOCHS": 0.2,
        "GENERATED": {"classes": 3, "train_images": 10, "val_images": 2, "image_size": 64, "object_sizes": (16, 40)},
        "SETTINGS": {"data.image_size": 64, "data.workers": 0, "batch_size": 8, "device": "cpu"},
    },
}


def test_every_notebook_is_tested():
    assert {path.name for path in (ROOT / "examples").glob("*.ipynb")} == set(PARAMETERS)


def test_notebooks_are_kept_without_outputs():
    for path in (ROOT / "examples").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_every_notebook_runs(name, tmp_path, monkeypatch):
    cells = json.loads((ROOT / "examples" / name).read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    # The first cell has the parameters.
    assert all(f"{parameter} = " in code[0] for parameter in PARAMETERS[name])
    code.insert(1, "\n".join(f"{parameter} = {value!r}" for parameter, value in PARAMETERS[name].items()))
    monkeypatch.chdir(tmp_path)
    forked.done(forked.code, "\n".join(code), output=tmp_path / "said.txt", MPLBACKEND="agg")


def test_every_link_between_documents_leads_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} -> {target}"
