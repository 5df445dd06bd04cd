import re
import subprocess
import sys
from pathlib import Path

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
def test_every_example_runs(name, files, tmp_path):
    arguments = [argument.format(**files) for argument in ARGUMENTS[name]]
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_the_python_in_the_readme_runs(tmp_path, digits):
    (tmp_path / "DIR").symlink_to(digits)
    (tmp_path / "image.jpg").symlink_to(next((digits / "val").iterdir()))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    short = 'data={"root": "DIR", "image_size": 64}, epochs=0.2, model__arch="tiny"'
    for block in blocks:
        code = block.replace('data="DIR"', short)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_every_link_between_documents_leads_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} -> {target}"
