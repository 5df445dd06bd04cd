"""Build the documentation site from docs/, README.md and the docstrings: `make docs`.

The pages are copied into build/docs first. There links between them are made to fit, links to other files of the
repository become plain names (or addresses below $SPINET_REPOSITORY), and the pages of the Python API are written.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docs_links
import spinet

ROOT = Path(__file__).resolve().parents[1]
STAGE, SITE = ROOT / "build" / "docs", ROOT / "build" / "site"
# Pages that lie beside docs/ in the repository.
BESIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
API = {
    "api-use": (
        "Train and predict",
        "train evaluate load Predictor DetectionResult ClassResult export crop_boxes pack push pull read_image "
        "load_recipe make_demo_dataset SpinetError",
    ),
    "api-settings": (
        "Settings of a training",
        "TrainConfig engine.config.ModelConfig engine.config.DataConfig engine.config.OptimConfig",
    ),
    "api-networks": (
        "Networks",
        "create_backbone create_retinanet create_rcnn create_classifier SpineNet RetinaNet RCNN Classifier "
        "models.detections.Detections models.options.DetectorOptions TorchvisionBackbone load_model load_detector "
        "load_classifier load_backbone BLOCKS",
    ),
    "api-architectures": (
        "Architectures and their cost",
        "Architecture Genotype BlockSpec Scaling load_architecture load_network Cost model_cost backbone_cost "
        "layer_cost BLOCK_COSTS EXPANSION",
    ),
    "api-data": ("Datasets", "CocoDataset ClassDataset"),
    "api-search": ("Search", "search nas.run.SearchResult nas.space.Space nas.constraints.Constraint"),
}
# A link or an image; no address, no place on the same page.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def fitted(text: str, folder: Path, repository: str) -> str:
    """The text of a page in `folder` of the repository, with links as they are on the site.

    All pages of the site are in one folder. A link to a file that is no page leads to `repository`; without an
    address of the repository it becomes the file's name.
    """

    def link(found: re.Match[str]) -> str:
        image, label, target, anchor = found[1], found[2], found[3], found[4] or ""
        path = (folder / target).resolve()
        if path.parent == ROOT / "docs":
            return f"{image}[{label}]({path.name}{anchor})"
        name = path.relative_to(ROOT).as_posix()
        if name in BESIDE:
            return f"{image}[{label}]({BESIDE[name]}{anchor})"
        if repository:
            return f"[{label}]({repository.rstrip('/')}/{name}{anchor})"
        return f"{label} (`{name}`)" if label.strip("`") != name else f"`{name}`"

    return LINK.sub(link, text)


def api_page(title: str, names: str) -> str:
    """A page of the Python API: a directive of mkdocstrings for each name."""
    parts = [f"# {title}\n"]
    for name in names.split():
        parts.append(f"::: spinet.{name}\n    options:\n      heading_level: 2\n")
    return "\n".join(parts)


def stage(folder: Path, repository: str = "") -> None:
    """Write the pages of the site, still Markdown, into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (ROOT / "docs").iterdir():
        if path.suffix == ".md":
            text = fitted(path.read_text(encoding="utf-8"), ROOT / "docs", repository)
            (folder / path.name).write_text(text, encoding="utf-8")
        elif path.is_file():
            shutil.copy(path, folder)
    for name, page in BESIDE.items():
        text = fitted((ROOT / name).read_text(encoding="utf-8"), ROOT, repository)
        (folder / page).write_text(text, encoding="utf-8")
    for page, (title, names) in API.items():
        (folder / f"{page}.md").write_text(api_page(title, names), encoding="utf-8")


def build() -> str:
    """Build the site, and return what the generator said besides its usual lines."""
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    usual = ("Build started", "Build finished", "No issues found")
    said = "\n".join(line for line in said.splitlines() if line.strip() and not line.startswith(usual))
    return said or ("the build failed without a word" if done.returncode else "")


def main() -> None:
    """Build and check the site; the exit status is 1 if anything is wrong."""
    missing = set(spinet.__all__) - {name for _, names in API.values() for name in names.split()}
    if missing:
        sys.exit(f"these names of the Python API are on no page: {', '.join(sorted(missing))}")
    stage(STAGE, os.environ.get("SPINET_REPOSITORY", ""))
    # In strict mode too the generator builds with missing pictures and pages, and with faulty docstrings.
    faults = [*filter(None, [build()]), *docs_links.faults(SITE)]
    if faults:
        sys.exit("\n".join(faults))
    print(f"{SITE / 'index.html'}: {len(list(SITE.rglob('*.html')))} pages, all links lead somewhere")


if __name__ == "__main__":
    main()
