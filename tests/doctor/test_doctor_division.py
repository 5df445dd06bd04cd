import json

import pytest
from class_folders import write_image
from exports import WHOLE, pictures

from spinet.doctor.anchors import DetectorSettings
from spinet.doctor.examine import examine
from spinet.formats.splits import Division


def test_an_export_is_checked_as_it_would_be_divided(tmp_path):
    WHOLE["CVAT: COCO 1.0"](tmp_path, pictures())

    divided = examine(tmp_path, DetectorSettings(image_size=64), quick=True, division=Division(0.3))
    whole = examine(tmp_path, DetectorSettings(image_size=64), quick=True)

    assert {split: facts.images for split, facts in divided.splits.items()} == {"train": 7, "val": 3}
    assert [finding.text for finding in divided.findings if finding.check == "division"] == [
        f"7 images of {tmp_path} are train and 3 are val"
    ]
    assert [finding.severity for finding in whole.findings] == ["error", "error"]
    assert all("spinet split DIR" in finding.text for finding in whole.findings)


@pytest.mark.parametrize("severity", ["warning", "hint"])
def test_a_problem_of_an_export_is_said_once_for_the_split_that_has_it(tmp_path, severity):
    WHOLE["CVAT: COCO 1.0"](tmp_path, pictures())
    [file] = tmp_path.rglob("*.json")
    raw = json.loads(file.read_text())
    for entry in raw["annotations"][:1]:
        entry |= {"area": 0} if severity == "warning" else {"iscrowd": 1}
    file.write_text(json.dumps(raw))

    report = examine(tmp_path, DetectorSettings(image_size=64), quick=True, division=Division(0.3))

    words = "areas replaced that are not above 0" if severity == "warning" else "annotations are crowd regions"
    [text] = [finding.text for finding in report.findings if words in finding.text]
    assert text.partition(": ")[0] in ("train", "val")
    assert text.partition(": ")[2].startswith("1 of ")
    assert len(set(report.findings)) == len(report.findings)


def test_class_folders_without_splits_are_checked_too(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for number in range(5):
            write_image(tmp_path / name / f"{number}.png", seed=10 * label + number)

    report = examine(tmp_path, DetectorSettings(), division=Division(0.4))

    assert {split: facts.images for split, facts in report.splits.items()} == {"train": 6, "val": 4}
    assert report.count("error") == 0
