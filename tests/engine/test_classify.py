import json
import math

import forked
import pytest
import torch
from PIL import Image

from spinet.arch.catalog import load_architecture
from spinet.data.class_data import ClassDataset
from spinet.engine.build import ModelInfo
from spinet.engine.classify import class_metrics, evaluate_classes, label_ids
from spinet.engine.config import ModelConfig
from spinet.engine.distributed import process_group
from spinet.engine.evaluate import EvalOptions
from spinet.errors import SpinetError
from spinet.models.factory import create_classifier

CPU = torch.device("cpu")
GREYS = {"black": 0, "grey": 128, "white": 255}


def write_greys(root, classes, split="train", images=2):
    for name in classes:
        for number in range(images):
            path = root / split / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (GREYS.get(name, 0),) * 3).save(path)
    return root


def measure_a_share(folder):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, device = create_classifier(load_architecture("tiny"), 3), torch.device("cpu")
    with process_group(device) as group:
        metrics = evaluate_classes(
            model, ClassDataset(folder, "train"), EvalOptions(32, 2, device, group=group)
        ).metrics
        (folder / f"{group.rank}.txt").write_text(json.dumps(metrics))


def info(names, ids) -> ModelInfo:
    return ModelInfo(load_architecture("tiny"), ModelConfig(head="classifier", arch="tiny"), names, ids, 32)


class Brightness(torch.nn.Module):
    """Ranks `classes` labels: first the one given for dark, middling or bright images, then the others in order."""

    def __init__(self, first: dict[str, int], classes: int) -> None:
        super().__init__()
        self.first, self.classes = first, classes

    def predict(self, images, top):
        rows = []
        for value in images.mean(dim=(1, 2, 3)).tolist():
            best = self.first["black" if value < -1 else "grey" if value < 1 else "white"]
            rows.append([best, *(label for label in range(self.classes) if label != best)][:top])
        return {"labels": torch.tensor(rows), "scores": torch.zeros(len(rows), len(rows[0]))}


def measured(model, dataset, category_ids=None):
    return evaluate_classes(model, dataset, EvalOptions(32, 4, CPU), category_ids).metrics


def test_top_one_is_the_share_of_best_guesses_that_are_right(tmp_path):
    dataset = ClassDataset(write_greys(tmp_path, GREYS), "train")

    metrics = measured(Brightness({"black": 0, "grey": 0, "white": 2}, 3), dataset)

    assert metrics == {
        "top1": pytest.approx(2 / 3),
        # With three classes every true one is among the best five.
        "top5": 1,
        "top1/black": 1,
        "top1/grey": 0,
        "top1/white": 1,
    }


def test_top_five_counts_the_first_five_guesses(tmp_path):
    write_greys(tmp_path, ["a", "b", "c", "d", "white", "x", "y"], images=1)
    dataset = ClassDataset(tmp_path, "train")

    # All but one image are black: guessed are the labels 6, 0, 1, 2, 3; of the white one 5, 0, 1, 2, 3.
    metrics = measured(Brightness({"black": 6, "grey": 0, "white": 5}, 7), dataset)

    assert metrics["top1"] == pytest.approx(1 / 7)
    assert metrics["top5"] == pytest.approx(5 / 7)
    assert metrics["top1/y"] == 1
    assert metrics["top1/white"] == 0


def test_a_class_without_images_has_no_share_of_its_own(tmp_path):
    write_greys(tmp_path, GREYS)
    dataset = ClassDataset(write_greys(tmp_path, ["white"], split="val"), "val")

    metrics = measured(Brightness({"black": 0, "grey": 1, "white": 2}, 3), dataset)

    assert metrics["top1"] == 1
    assert math.isnan(metrics["top1/black"])


def test_classes_of_one_name_are_told_apart_by_their_ids(tmp_path):
    dataset = ClassDataset(write_greys(tmp_path, GREYS), "train")
    dataset.class_names, dataset.category_ids = ("finch", "finch", "owl"), (4, 9, 12)

    metrics = class_metrics([(0, 0), (1, 3), (2, 5)], dataset)

    assert metrics == {
        "top1": pytest.approx(1 / 3),
        "top5": pytest.approx(2 / 3),
        "top1/finch (4)": 1,
        "top1/finch (9)": 0,
        "top1/owl": 0,
    }


def test_a_model_of_more_classes_is_wrong_when_it_guesses_one_of_the_others(tmp_path):
    dataset = ClassDataset(write_greys(tmp_path, GREYS), "train")
    ids = label_ids(info(("pink", "white", "grey", "black"), (1, 2, 3, 4)), dataset, "run")

    metrics = measured(Brightness({"black": 3, "grey": 0, "white": 1}, 4), dataset, category_ids=ids)

    assert ids == (-1, 3, 2, 1)
    assert [metrics[f"top1/{name}"] for name in GREYS] == [1, 0, 1]


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path):
    # Seven images, so that the shares differ in length.
    write_greys(write_greys(tmp_path, ["black", "grey"], images=3), ["white"], images=1)
    forked.group(measure_a_share, tmp_path, output=tmp_path / "said")
    both = [json.loads((tmp_path / f"{rank}.txt").read_text()) for rank in range(2)]

    torch.manual_seed(0)
    alone = measured(create_classifier(load_architecture("tiny"), 3), ClassDataset(tmp_path, "train"))

    assert both == [alone, alone]


def test_a_real_classifier_is_measured_and_left_in_the_mode_it_was_in(tmp_path):
    dataset = ClassDataset(write_greys(tmp_path, GREYS), "train")
    model = create_classifier(load_architecture("tiny"), 4, background=True).train()

    metrics = measured(model, dataset, category_ids=(-1, 1, 2, 3))

    assert model.training
    assert metrics["top5"] == 1
    assert 0 <= metrics["top1"] <= 1


def test_part_of_the_classes_is_matched_by_name(tmp_path):
    # Alone, without a train split beside it, the folder of whites has other ids than in training.
    dataset = ClassDataset(write_greys(tmp_path, ["grey", "white"], split="val"), "val")

    assert label_ids(info(("black", "grey", "white"), (1, 2, 3)), dataset, "run") == (-1, 1, 2)


def test_ids_that_a_json_file_gives_win_over_names(tmp_path):
    dataset = ClassDataset(write_greys(tmp_path, GREYS), "train")
    dataset.class_names, dataset.category_ids = ("finch", "finch"), (4, 9)

    assert label_ids(info(("finch", "owl", "finch"), (9, 2, 4)), dataset, "run") == (9, -1, 4)


def test_all_wordnet_ids_are_in_the_order_of_the_published_classifiers(tmp_path):
    dataset = ClassDataset(write_greys(tmp_path, ["n01440764", "n01443537", "n01484850"], images=1), "train")
    names = ("background", "tench", "goldfish", "great white shark")

    assert label_ids(info(names, (0, 1, 2, 3)), dataset, "run") == (-1, 1, 2, 3)


def test_a_class_that_the_model_does_not_know_is_named(tmp_path):
    dataset = ClassDataset(write_greys(tmp_path, GREYS), "train")

    with pytest.raises(SpinetError, match=r"run knows 2 classes \(black, grey\), but not all of the 3 that .*: white"):
        label_ids(info(("black", "grey"), (1, 2)), dataset, "run")
