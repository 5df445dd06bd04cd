"""docs/architecture.md names every folder and every file of the package, and nothing that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "spinet"
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}


def test_the_first_sentence_names_every_folder():
    sentence = TEXT[TEXT.index(">") : TEXT.index("A file imports only")]
    assert set(re.findall(r"\*\*(\w+)\*\*", sentence)) == FOLDERS


def test_the_table_lists_every_file_of_every_folder():
    rows = [line.split("|") for line in TEXT.splitlines() if line.startswith(("| `", "| beside"))]
    listed = {row[1].strip().strip("`/"): set(re.findall(r"`(\w+)`", row[3])) for row in rows}

    for folder in FOLDERS:
        assert listed[folder] == {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"}, folder
    beside = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert listed["beside them"] == beside
