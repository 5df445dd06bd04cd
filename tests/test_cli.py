import json
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from small_models import tiny_weights

from spinet import cli
from spinet.arch.baseline import BASELINES
from spinet.arch.block_spec import EXPANSION
from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.recipes import RECIPES


def test_help_lists_every_command(spinet):
    code, out, _ = spinet("--help")
    assert code == 0
    assert all(f"spinet {name}" in out for name in cli.COMMANDS)


def test_no_command_is_an_error_that_shows_the_commands(spinet):
    code, out, _ = spinet()
    assert code == 2
    assert "spinet train" in out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_its_own_help(spinet, command):
    code, out, _ = spinet(command, "--help")
    assert code == 0
    assert "usage: spinet" in out


def test_an_unknown_command_is_refused_with_the_nearest(spinet):
    code, _, err = spinet("trian")
    assert code == 1
    assert err.startswith("spinet: error: unknown command 'trian', did you mean 'train'?")


@pytest.mark.slow
def test_help_list_and_show_never_import_torch():
    program = (
        "import sys; sys.argv = ['spinet', *{args!r}]\n"
        "from spinet.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    for args in (["--help"], ["list"], ["show", "spinenet49"], ["train", "demo", "--help"]):
        done = subprocess.run([sys.executable, "-c", program.format(args=args)], capture_output=True, text=True)
        assert done.returncode == 0, (args, done.stderr)


def test_list_names_every_architecture_and_recipe(spinet):
    code, out, _ = spinet("list")
    assert code == 0
    assert all(name in out for name in [*names(), *BASELINES, *RECIPES])


@pytest.mark.parametrize("name", names())
def test_show_prints_every_block_of_every_architecture(spinet, name):
    code, out, _ = spinet("show", name)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    shown = [row[0] for row in rows if len(row) > 3 and any(kind in row for kind in EXPANSION)]
    assert shown == [str(number) for number in range(len(load_architecture(name).genotype.all_blocks))]


def test_show_fits_into_80_columns(spinet):
    _, out, _ = spinet("show", "spinenet49-resnext32x8d-v1", "--head", "mask-rcnn", "--image-size", "1280")
    table = out.split("Scaling(")[0]
    assert "resnext32x8d" in table
    assert "…" not in table


def test_show_with_a_head_prints_what_every_part_and_the_whole_cost(spinet):
    code, out, _ = spinet("show", "spinenet49", "--image-size", "640", "--head", "retinanet")
    assert code == 0
    for text in ("21,831,488", "28,543,383", "85,281.6", "class tower", "box tower", "connections", "endpoints"):
        assert text in out


def test_show_with_a_head_as_json_gives_every_part(spinet):
    code, out, _ = spinet("show", "spinenet49", "--head", "retinanet", "--num-classes", "90", "--json")
    costs = json.loads(out)
    assert code == 0
    assert (costs["architecture"], costs["image_size"], costs["head"]) == ("spinenet49", 640, "retinanet")
    assert costs["parameters"] == 28_522_638 == sum(part["parameters"] for part in costs["parts"])
    assert costs["multiply_adds"] == sum(part["multiply_adds"] for part in costs["parts"])


def test_show_says_that_a_baseline_has_no_graph(spinet):
    code, _, err = spinet("show", "resnet50-fpn")
    assert (code, "a baseline without a graph to show; train it with --model.arch resnet50-fpn" in err) == (1, True)


def test_show_refuses_an_image_without_pixels(spinet):
    code, _, err = spinet("show", "tiny", "--image-size", "0")
    assert (code, "--image-size must be at least 1 and at most 1,000,000, not 0" in err) == (1, True)


def test_show_json_is_the_architecture_file(spinet):
    _, out, _ = spinet("show", "spinenet49s", "--json")
    assert Architecture.from_json(out, "output") == load_architecture("spinenet49s")


def test_show_refuses_a_broken_architecture_file_by_its_block(spinet, tmp_path):
    broken = json.loads(load_architecture("tiny").to_json())
    broken["blocks"][5]["parents"] = [3, 9]
    (tmp_path / "mine.json").write_text(json.dumps(broken))
    code, _, err = spinet("show", tmp_path / "mine.json")
    assert code == 1
    assert "mine.json: block 7: parents must be two different earlier blocks (0 to 6), not (3, 9)" in err


def test_train_without_a_recipe_lists_them(spinet):
    code, out, _ = spinet("train")
    assert code == 2
    assert all(name in out for name in RECIPES)


def test_an_unknown_recipe_is_refused_with_the_nearest(spinet, tmp_path):
    code, _, err = spinet("train", "demoo", "--run", tmp_path / "run")
    assert code == 1
    assert "unknown recipe 'demoo', did you mean 'demo'?" in err


def test_an_unknown_setting_is_refused_with_the_nearest(spinet, tmp_path):
    code, _, err = spinet("train", "demo", "--run", tmp_path / "run", "--optim.lrr", 3)
    assert code == 2
    assert "--optim.lrr" in err
    assert "--optim.lr FLOAT" in err


def test_a_wrong_value_is_refused_with_its_setting(spinet, tmp_path):
    code, _, err = spinet("train", "demo", "--run", tmp_path / "run", "--optim.lr", "fast")
    assert code == 2
    assert "--optim.lr" in err
    assert "fast" in err


def test_training_without_data_says_which_setting_is_missing(spinet, tmp_path):
    code, _, err = spinet("train", "demo", "--run", tmp_path / "run")
    assert code == 1
    assert "data.root is not set; it must be" in err
    assert not (tmp_path / "run").exists()


def small(root, run, *more):
    """A training command of two steps."""
    settings = ("--data.root", root, "--run", run, "--epochs", 0.5, "--batch-size", 4, "--data.image-size", 64)
    return ("train", "demo", *settings, "--device", "cpu", *more)


@pytest.mark.slow
def test_training_evaluating_and_predicting_work_in_a_row(spinet, tmp_path, digits):
    code, out, _ = spinet(*small(digits, tmp_path / "run"))
    assert code == 0
    assert "learning rate: 0.01562 (1 per 256 images, scaled to batch size 4" in out
    assert "step 2/2" in out

    code, out, _ = spinet("evaluate", tmp_path / "run", "--device", "cpu", "--json")
    assert code == 0
    assert json.loads(out)["AP"] >= 0

    photos = sorted((digits / "val").iterdir())[:2]
    code, out, _ = spinet("predict", tmp_path / "run", *photos, "--out", tmp_path / "out", "--device", "cpu")
    assert code == 0
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [entry["file"] for entry in entries] == [str(photo) for photo in photos]
    with Image.open(tmp_path / "out" / f"{photos[0].stem}.jpg") as picture:
        assert picture.size == (64, 64)

    code, out, _ = spinet(*small(digits, tmp_path / "run"))
    assert code == 0
    assert "has already finished" in out


def bad_data(tmp_path, digits, change):
    """A copy of the generated data set whose train annotations `change` has spoilt."""
    root = tmp_path / "data"
    shutil.copytree(digits, root)
    file = root / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    change(root, content)
    file.write_text(json.dumps(content))
    return root


def drop_annotations(_, content):
    del content["annotations"]


def orphan_category(_, content):
    for annotation in content["annotations"][::2]:
        annotation["category_id"] = 77


def cut_image(root, _):
    for photo in (root / "train").iterdir():
        photo.write_bytes(photo.read_bytes()[:200])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop_annotations, ("instances_train.json", "annotations")),
        (orphan_category, ("instances_train.json", "77")),
        (cut_image, ("train/000001.jpg", "16 of 16 images cannot be read")),
    ],
)
def test_spoilt_data_is_one_sentence_and_leaves_no_weights(spinet, tmp_path, digits, change, words):
    root = bad_data(tmp_path, digits, change)
    code, _, err = spinet(*small(root, tmp_path / "run"))
    assert code == 1
    assert err.startswith("spinet: error: ")
    assert len(err.strip().splitlines()) == 1
    assert all(word in err for word in words), err
    assert not list(tmp_path.glob("run/*.safetensors"))
    assert not list(tmp_path.glob("run/*.pt"))


@pytest.mark.slow
def test_boxes_that_are_dropped_are_counted_in_a_warning(spinet, tmp_path, digits):
    def spoil(_, content):
        content["annotations"][0]["bbox"] = [1000, 1000, 5, 5]
        content["annotations"][1]["bbox"] = [5, 5, 0, 5]

    code, out, _ = spinet(*small(bad_data(tmp_path, digits, spoil), tmp_path / "run"))
    assert code == 0
    assert re.search(r"warning: train: 1 of \d+ .*boxes outside their image dropped, such as train/000001.jpg", out)
    assert re.search(r"warning: train: 1 of \d+ .*boxes of zero area dropped, such as train/0000", out)


def test_a_missing_data_folder_is_one_sentence(spinet, tmp_path):
    code, _, err = spinet(*small(tmp_path / "nowhere", tmp_path / "run"))
    assert code == 1
    assert f"there is no dataset folder {tmp_path / 'nowhere'}" in err


@pytest.mark.slow
def test_evaluating_on_data_of_other_classes_is_one_sentence(spinet, tmp_path, digits):
    spinet(*small(digits, tmp_path / "run"))

    root = bad_data(tmp_path, digits, lambda *_: None)
    file = root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["categories"].append({"id": 50, "name": "extra"})
    file.write_text(json.dumps(content))
    code, _, err = spinet("evaluate", tmp_path / "run", "--data.root", root, "--device", "cpu")
    assert code == 1
    assert "was trained on 3 classes" in err
    assert "has 4" in err


def test_evaluating_what_is_no_run_is_one_sentence(spinet, tmp_path):
    code, _, err = spinet("evaluate", tmp_path / "gone")
    assert code == 1
    assert "there is no weights file or run folder" in err


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_named_and_the_others_are_predicted(spinet, tmp_path, digits):
    spinet(*small(digits, tmp_path / "run"))
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "broken.jpg").write_text("no photo")
    Image.new("RGB", (90, 50), "red").save(folder / "good.png")
    code, _, err = spinet("predict", tmp_path / "run", folder, "--out", tmp_path / "out", "--device", "cpu")
    assert code == 1
    assert "broken.jpg" in err
    assert "1 file failed, as said above; all others are done" in err
    assert (tmp_path / "out" / "good.jpg").is_file()
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 1


@pytest.mark.slow
def test_a_folder_of_images_and_videos_is_predicted_whole_and_a_bad_video_fails_alone(spinet, tmp_path):
    av = pytest.importorskip("av")
    tiny_weights(tmp_path / "w.safetensors")
    (tmp_path / "mixed").mkdir()
    Image.new("RGB", (90, 50), "red").save(tmp_path / "mixed" / "a.png")
    with av.open(str(tmp_path / "mixed" / "walk.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48)))
        container.mux([*stream.encode(frame), *stream.encode()])
    (tmp_path / "mixed" / "bad.avi").write_text("no video")
    (tmp_path / "mixed" / "c.heic").write_text("an image that Pillow does not read")

    code, out, err = spinet(
        "predict", tmp_path / "w.safetensors", tmp_path / "mixed", "-o", tmp_path / "out", "--device", "cpu"
    )

    assert code == 1
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["a.jpg", "predictions.json", "walk.jsonl", "walk.mp4"]
    assert "could not open the video" in err
    assert "1 file failed, as said above; all others are done" in err
    assert "c.heic" in err
    assert "walk.mp4" in out


@pytest.mark.parametrize("command", [["predict", "x" * 300, "a.jpg"], ["evaluate", "x" * 300], ["doctor", "x" * 300]])
def test_an_argument_too_long_for_a_name_is_one_sentence(spinet, command):
    code, _, err = spinet(*command)

    assert (code, err.count("\n")) == (1, 1)
    assert len(err) < 300


@pytest.mark.slow
def test_predicting_nothing_is_one_sentence(spinet, tmp_path, digits):
    spinet(*small(digits, tmp_path / "run"))
    code, _, err = spinet("predict", tmp_path / "run", "--device", "cpu")
    assert code == 1
    assert "no image given" in err
    code, _, err = spinet("predict", tmp_path / "run", tmp_path / "none.jpg", "--device", "cpu")
    assert code == 1
    assert "there is no image or folder" in err


@pytest.mark.parametrize(
    ("command", "more"),
    [("train", "; run the same command again to resume a training from its last checkpoint"), ("list", "")],
)
def test_an_interrupted_command_says_how_to_go_on_where_it_can(spinet, monkeypatch, command, more):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, command, interrupted)
    code, _, err = spinet(command)
    assert code == 130
    assert err == f"spinet: stopped by Ctrl-C{more}\n"
