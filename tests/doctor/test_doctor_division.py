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


def test_class_folders_without_splits_are_checked_too(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for number in range(5):
            write_image(tmp_path / name / f"{number}.png", seed=10 * label + number)

    report = examine(tmp_path, DetectorSettings(), division=Division(0.4))

    assert {split: facts.images for split, facts in report.splits.items()} == {"train": 6, "val": 4}
    assert report.count("error") == 0
