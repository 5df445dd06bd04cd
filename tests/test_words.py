"""Texts use the field's words: some old forms that readers had to translate are refused."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "src").rglob("*.j2"),
    *(ROOT / "examples").glob("*.py"),
    *(path for path in (ROOT / "docs").glob("*.md") if path.name != "log.md"),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]
# Each form with the word to use instead.
OLD_FORMS = {
    r"data sets?\b": "dataset",
    r"\bphotos?\b": "image",
    r"\bguess(es|ed|er|ers)?\b(?!\")": "prediction",
    r"\bdamaged\b(?! graph)": "corrupt",
    r"\b(goes|go|went|gone|going) on with\b": "resume",
    r"\ballowed (is|are)\b": "must be, expected one of",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\blearnt\b(?!\")": "learned",
    r"\bby heart\b": "memorize, overfit",
    r"\bat birth\b": "on construction",
    r"\b(whole numbers?|a text)\b(?! (element|file))": "integer, string",
    r"\bshares? of\b": "fraction of, ratio",
    r"\bpixel by pixel\b": "channels-last",
    r"\bthousand millions?\b": "G",
    r"\bsurest\b": "highest-scoring",
    r"\bdear(er|est)?\b": "expensive",
    r"\bit is none\b": "is not supported",
    r"(?<!in )(?<!takes )\b(a|the) place\b": "location, index, device, path",
    r"\bhow far it is\b": "progress",
    r"\b(images?|steps?|trials?|anchors?|points?) a (batch|step|second|rank|place|location|trial|update)\b": "per",
    r"\bheed(s|ed)?\b": "support, ignore",
}
# A name of others, the heading of a recorded table, and the backgrounds of the demo, which are photos.
RIGHT = re.compile(r"Handwritten Digits' data set|share of random architectures below it|digits on photos", re.I)
DEMO = {"demo.py", "digits.py"}


@pytest.mark.parametrize("form", OLD_FORMS)
def test_old_words_are_not_used(form):
    pattern = re.compile(form, re.I)

    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip():.100}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(RIGHT.sub("", line)) and not ("photo" in form and path.name in DEMO)
    ]

    assert not found, f"write {OLD_FORMS[form]!r} instead:\n" + "\n".join(found)
