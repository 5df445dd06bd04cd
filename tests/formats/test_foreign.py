import pytest

from spinet.data.coco import CocoDataset
from spinet.errors import SpinetError

FOREIGN = {
    "labelme/a.json": ('{"version": "5", "shapes": [], "imagePath": "a.jpg"}', "LabelMe's JSON .*labelme2coco"),
    "via.json": ('{"_via_settings": {}, "_via_img_metadata": {}}', "VIA's JSON .*export it as COCO in VIA"),
    "via_region_data.json": ('{"a.jpg1": {"regions": [{"shape_attributes": {}}]}}', "VIA's JSON"),
    "ds0/ann/a.jpg.json": ('{"objects": [{"classTitle": "cat"}]}', "Supervisely's"),
    "export.json": ('[{"annotations": [{"result": [{"from_name": "label"}]}]}]', "Label Studio's own JSON"),
    "train/_annotations.createml.json": ('[{"annotations": [{"coordinates": {"x": 1}}]}]', "CreateML"),
    "annotations/default.json": ('{"dm_format_version": "1.0", "items": []}', "datumaro's own JSON"),
    "annotations.xml": ("<annotations>\n  <version>1.1</version></annotations>", "CVAT's XML .*COCO 1.0"),
    "train_labels.csv": ("filename,width,height,class,xmin,ymin,xmax,ymax\n", "boxes in a CSV table"),
    "train.tfrecord-00000-of-00001": ("\1\2", "TFRecord"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_formats_that_are_not_read_are_named_with_a_way_out(tmp_path, name):
    content, sentence = FOREIGN[name]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)

    with pytest.raises(SpinetError, match=rf"holds {sentence}") as caught:
        CocoDataset(tmp_path, "train")
    assert "a format that is not read" in str(caught.value)


def test_other_files_are_no_foreign_format(tmp_path):
    (tmp_path / "package.json").write_text('{"name": "x"}')
    (tmp_path / "prices.csv").write_text("a,b\n1,2\n")
    (tmp_path / "broken.json").write_bytes(b"\xff\xfe\0")

    with pytest.raises(SpinetError, match="is not a dataset folder"):
        CocoDataset(tmp_path, "train")


def test_folders_with_the_names_of_files_and_links_to_themselves_are_no_files(tmp_path):
    for name in ("a.yaml", "b.data", "c.xml", "d.txt", "e.json", "f.csv", "train", "g.tfrecord"):
        (tmp_path / name).mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "broken.xml").symlink_to(tmp_path / "nowhere.xml")

    with pytest.raises(SpinetError, match="is not a dataset folder"):
        CocoDataset(tmp_path, "train")


@pytest.mark.parametrize("names", ["x" * 5000, "a\0b", "../" * 3000, "/dev/null/x"])
def test_an_odd_path_of_class_names_is_one_short_sentence(tmp_path, names):
    (tmp_path / "obj.data").write_text(f"classes = 1\nnames = {names}\ntrain = {names}\n")

    with pytest.raises(SpinetError) as caught:
        CocoDataset(tmp_path, "train")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
