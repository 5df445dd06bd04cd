import math

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.ops import box_iou, sigmoid_focal_loss

from spinet.arch.catalog import load_architecture
from spinet.models.anchors import encode_boxes, match_anchors
from spinet.models.backbone import SpineNet
from spinet.models.factory import create_retinanet
from spinet.models.options import BackboneOptions
from spinet.models.retinanet import RetinaNet
from spinet.models.towers import Tower

CPU = torch.device("cpu")


class Planted(RetinaNet):
    """A detector of 64 x 64 images whose outputs are written by the test."""

    def __init__(self, num_classes: int = 3) -> None:
        tiny = load_architecture("tiny")
        super().__init__(SpineNet(tiny.genotype, tiny.scaling), num_classes)
        self.spots = self.anchors(64, 64, CPU)
        self.logits = torch.full((1, len(self.spots), num_classes), -20.0)
        self.deltas = torch.zeros(1, len(self.spots), 4)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.logits, self.deltas

    def plant(self, anchor: int, box: tuple[float, float, float, float], label: int, score: float) -> None:
        self.logits[0, anchor, label] = math.log(score / (1 - score))
        self.deltas[0, anchor] = encode_boxes(torch.tensor([box]), self.spots[anchor : anchor + 1])[0]

    def found(self, **limits: float) -> list[tuple[list[int], int, float]]:
        """(box in whole pixels, label, score) of every detection."""
        (detections,) = self.predict(torch.zeros(1, 3, 64, 64), **limits)
        return [
            (box.round().int().tolist(), label.item(), pytest.approx(score.item(), abs=1e-5))
            for box, label, score in zip(detections["boxes"], detections["labels"], detections["scores"], strict=True)
        ]


@pytest.fixture
def planted() -> Planted:
    return Planted()


def batch(size: int = 128, rows: int = 4) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Two noise images: one with an object for each level of the tiny network, one with a single object."""
    torch.manual_seed(1)
    boxes = torch.zeros(2, rows, 4)
    labels = torch.full((2, rows), -1)
    # Anchors of levels 3, 4 and 5 have sides from 24, 48 and 96.
    boxes[0, :3] = torch.tensor([[8.0, 8, 32, 30], [50, 40, 100, 95], [10, 12, 110, 118]])
    labels[0, :3] = torch.tensor([0, 2, 1])
    boxes[1, 0], labels[1, 0] = torch.tensor([60.0, 20, 90, 60]), 2
    return torch.randn(2, 3, size, size), {"boxes": boxes, "labels": labels}


def losses_by_loops(model: RetinaNet, images: torch.Tensor, targets: dict[str, torch.Tensor]) -> dict[str, float]:
    """The losses written from the paper's rules: one image, one object, one anchor at a time."""
    logits, deltas = model(images)
    anchors = model.anchors(images.shape[-2], images.shape[-1], CPU)
    class_sum, box_sum, positives = 0.0, 0.0, 0
    for image in range(len(images)):
        real = targets["labels"][image] >= 0
        boxes, labels = targets["boxes"][image][real], targets["labels"][image][real]
        overlap = box_iou(boxes, anchors)
        owner = {}
        for anchor in range(len(anchors)):
            if overlap[:, anchor].max() >= 0.5:
                owner[anchor] = overlap[:, anchor].argmax().item()
        for index in reversed(range(len(boxes))):
            owner[overlap[index].argmax().item()] = index
        one_hot = torch.zeros_like(logits[image])
        for anchor, index in owner.items():
            one_hot[anchor, labels[index]] = 1
            offsets = encode_boxes(boxes[index], anchors[anchor])
            for error in (deltas[image, anchor] - offsets).abs().tolist():
                box_sum += error**2 / 2 if error <= 0.1 else 0.1 * (error - 0.05)
        class_sum += sigmoid_focal_loss(logits[image], one_hot, alpha=0.25, gamma=1.5, reduction="sum").item()
        positives += len(owner)
    return {"class": class_sum / (positives + 1), "box": 50 * box_sum / (4 * (positives + 1))}


@pytest.mark.slow
def test_losses_equal_those_computed_anchor_by_anchor(tiny_detector):
    images, targets = batch()
    tiny_detector.eval()  # the same batch statistics in both runs

    losses = tiny_detector.losses(images, targets)

    assert set(losses) == {"class", "box"}
    expected = losses_by_loops(tiny_detector, images, targets)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)


def test_the_number_of_padding_rows_changes_nothing(tiny_detector):
    images, few = batch(rows=4)
    _, many = batch(rows=16)
    tiny_detector.eval()

    assert tiny_detector.losses(images, few) == tiny_detector.losses(images, many)


def test_losses_of_a_batch_pool_those_of_its_images(tiny_detector):
    images, targets = batch()
    tiny_detector.eval()
    anchors = tiny_detector.anchors(128, 128, CPU)
    positives = (match_anchors(anchors, targets["boxes"], targets["labels"]).labels >= 0).sum(dim=1)

    together = tiny_detector.losses(images, targets)
    alone = [
        tiny_detector.losses(images[i : i + 1], {name: value[i : i + 1] for name, value in targets.items()})
        for i in range(2)
    ]

    assert positives.tolist()[0] != positives.tolist()[1]
    for name in ("class", "box"):
        pooled = sum(loss[name] * (count + 1) for loss, count in zip(alone, positives, strict=True))
        torch.testing.assert_close(together[name], pooled / (positives.sum() + 1), rtol=1e-4, atol=1e-6)


def test_images_without_objects_have_no_box_loss_and_a_class_loss_of_background(tiny_detector):
    images, targets = batch()
    tiny_detector.eval()
    nothing = {"boxes": torch.zeros(2, 0, 4), "labels": torch.zeros(2, 0, dtype=torch.int64)}
    padding = {"boxes": targets["boxes"], "labels": torch.full_like(targets["labels"], -1)}

    losses = tiny_detector.losses(images, nothing)

    assert losses["box"] == 0
    logits, _ = tiny_detector(images)
    expected = sigmoid_focal_loss(logits, torch.zeros_like(logits), alpha=0.25, gamma=1.5, reduction="sum")
    torch.testing.assert_close(losses["class"], expected, rtol=1e-4, atol=0)
    assert tiny_detector.losses(images, padding) == losses


@pytest.mark.slow
def test_losses_stay_in_full_precision_under_autocast(tiny_detector):
    images, targets = batch()
    tiny_detector.eval()
    exact = tiny_detector.losses(images, targets)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = tiny_detector.losses(images, targets)

    for name in ("class", "box"):
        assert losses[name].dtype == torch.float32
        assert losses[name].item() == pytest.approx(exact[name].item(), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_the_losses_reach_every_parameter(activation):
    torch.manual_seed(0)
    model = create_retinanet(load_architecture("tiny"), num_classes=3, activation=activation)
    images, targets = batch()

    sum(model.losses(images, targets).values()).backward()

    untouched = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert untouched == []
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.slow
def test_the_losses_and_their_gradients_never_wait_for_a_value_from_the_device(tiny_detector):
    targets = {"boxes": torch.tensor([[[8.0, 8, 40, 40]]]), "labels": torch.tensor([[1]])}
    tiny_detector.losses(torch.zeros(1, 3, 64, 64), targets)

    # Tensors without values: whatever has to look at one fails.
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        images = fake.from_tensor(torch.zeros(2, 3, 64, 64))
        targets = {name: fake.from_tensor(value.repeat_interleave(2, 0)) for name, value in targets.items()}
        torch.stack(list(tiny_detector.losses(images, targets).values())).sum().backward()
        with pytest.raises(RuntimeError):
            targets["labels"].sum().item()


@pytest.mark.slow
def test_a_few_steps_of_plain_descent_lower_both_losses(tiny_detector):
    images, targets = batch()
    before = tiny_detector.losses(images, targets)
    optimizer = torch.optim.SGD(tiny_detector.parameters(), lr=0.01, momentum=0.9)
    for _ in range(15):
        optimizer.zero_grad()
        sum(tiny_detector.losses(images, targets).values()).backward()
        torch.nn.utils.clip_grad_norm_(tiny_detector.parameters(), 10)
        optimizer.step()

    after = tiny_detector.losses(images, targets)

    assert after["class"] < 0.8 * before["class"]
    assert after["box"] < 0.5 * before["box"]


def test_the_untrained_network_gives_every_class_a_chance_of_one_in_a_hundred(tiny_detector):
    logits, deltas = tiny_detector.eval()(torch.randn(2, 3, 64, 64))

    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.01), rtol=0.02, atol=0)
    assert deltas.abs().max() < 0.01


def test_the_untrained_network_finds_nothing(tiny_detector):
    detections = tiny_detector.eval().predict(torch.randn(2, 3, 64, 96))

    assert [{name: tuple(value.shape) for name, value in found.items()} for found in detections] == [
        {"boxes": (0, 4), "scores": (0,), "labels": (0,)}
    ] * 2


def test_towers_start_with_the_published_spreads(narrow):
    torch.manual_seed(0)
    found = load_architecture("spinenet49-quarter")
    model = create_retinanet(found, num_classes=20)

    for tower in (model.cls_tower, model.box_tower):
        assert len(tower.convs) == 2
        for conv in tower.convs:
            assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert not conv.bias.any()
        assert tower.predictor.weight.std().item() == pytest.approx(1e-5, rel=0.05)
    assert model.cls_tower.predictor.bias.tolist() == pytest.approx([-math.log(99)] * 180)
    assert not model.box_tower.predictor.bias.any()


def tower(values: int, levels: tuple[int, ...] = (3,), depth: int = 0) -> Tower:
    torch.manual_seed(0)
    return Tower(1, 1, depth, 2 * values, levels, BackboneOptions()).eval()


def test_a_tower_gives_levels_then_rows_then_columns_then_anchors_then_values():
    head = tower(values=3, levels=(3, 4))
    with torch.no_grad():
        head.predictor.weight.zero_()
        head.predictor.weight[:, 0, 1, 1] = 1  # every channel repeats the pixel ...
        head.predictor.bias.copy_(torch.arange(6) * 100)  # ... and adds a hundred a channel
    fine, coarse = torch.arange(6.0).reshape(1, 1, 2, 3), torch.tensor([50.0, 51]).reshape(1, 1, 1, 2)

    output = head({3: fine, 4: coarse}, 3)

    expected = [
        [pixel + 100 * (3 * anchor + value) for value in range(3)]
        for pixel in [0, 1, 2, 3, 4, 5, 50, 51]
        for anchor in range(2)
    ]
    assert output.tolist() == [expected]


def test_levels_share_the_convolutions_but_not_the_batch_norms(tiny_detector):
    tiny_detector.eval()
    images = torch.randn(1, 3, 64, 64)
    torch.nn.init.normal_(tiny_detector.cls_tower.predictor.weight)
    before, _ = tiny_detector(images)

    for norm in tiny_detector.cls_tower.norms["4"]:
        norm.running_mean += 1
    after, _ = tiny_detector(images)

    # 64 x 64: 8 * 8 cells of level 3, 4 * 4 of level 4, 2 * 2 of level 5, with nine anchors each.
    same = (before == after).all(dim=-1)[0]
    assert same[: 64 * 9].all()
    assert not same[64 * 9 : 80 * 9].any()
    assert same[80 * 9 :].all()
    assert len({id(conv) for conv in tiny_detector.cls_tower.convs}) == 2


def test_state_dict_keys_of_the_head_name_tower_level_and_depth(tiny_detector):
    keys = [key for key in tiny_detector.state_dict() if key.startswith("box_tower.") and key.endswith("weight")]

    assert keys == [
        "box_tower.convs.0.weight",
        "box_tower.convs.1.weight",
        "box_tower.norms.3.0.weight",
        "box_tower.norms.3.1.weight",
        "box_tower.norms.4.0.weight",
        "box_tower.norms.4.1.weight",
        "box_tower.norms.5.0.weight",
        "box_tower.norms.5.1.weight",
        "box_tower.predictor.weight",
    ]


def test_anchors_are_no_part_of_the_weights(tiny_detector):
    before = set(tiny_detector.state_dict())

    tiny_detector.anchors(64, 64, CPU)

    assert set(tiny_detector.state_dict()) == before


@pytest.mark.slow
def test_weights_loaded_into_another_detector_give_the_same_outputs(tiny_detector):
    other = create_retinanet(load_architecture("tiny"), num_classes=3).eval()
    images = torch.randn(2, 3, 64, 64)
    tiny_detector(images)  # moves the running statistics
    expected = tiny_detector.eval()(images)
    assert not torch.equal(other(images)[0], expected[0])

    other.load_state_dict(tiny_detector.state_dict())

    assert all(torch.equal(mine, theirs) for mine, theirs in zip(other(images), expected, strict=True))


@pytest.mark.parametrize(("height", "width"), [(70, 100), (96, 128), (65, 97), (1, 1)])
def test_images_are_padded_to_a_multiple_of_the_coarsest_stride(tiny_detector, height, width):
    tiny_detector.eval()
    images = torch.randn(1, 3, height, width)
    rows, columns = math.ceil(height / 32), math.ceil(width / 32)
    padded = F.pad(images, (0, columns * 32 - width, 0, rows * 32 - height))

    logits, deltas = tiny_detector(images)

    # A square of 32 pixels has 16, 4 and 1 cells of nine anchors.
    count = rows * columns * (16 + 4 + 1) * 9
    assert (logits.shape, deltas.shape) == ((1, count, 3), (1, count, 4))
    assert torch.equal(logits, tiny_detector(padded)[0])
    anchors = tiny_detector.anchors(height, width, CPU)
    assert torch.equal(anchors, tiny_detector.anchors(rows * 32, columns * 32, CPU))
    assert len(anchors) == count


def test_the_first_anchors_of_each_level_are_the_published_ones(tiny_detector):
    anchors = tiny_detector.anchors(64, 64, CPU)

    # Scale 3, three octaves, ratios 1/2, 1, 2: the second of a cell is the square of the first octave.
    for first, stride in ((0, 8), (64 * 9, 16), (80 * 9, 32)):
        centre, half = stride / 2, 3 * stride / 2
        assert anchors[first + 1].tolist() == [centre - half, centre - half, centre + half, centre + half]
        widths = (anchors[first : first + 9, 2] - anchors[first : first + 9, 0]).tolist()
        expected = [3 * stride * 2 ** (octave / 3) * math.sqrt(ratio) for octave in range(3) for ratio in (0.5, 1, 2)]
        assert widths == pytest.approx(expected)


def test_the_anchor_scale_can_be_chosen():
    model = create_retinanet(load_architecture("tiny"), num_classes=3, anchor_scale=4.0)

    assert model.anchors(64, 64, CPU)[1].tolist() == [4 - 16, 4 - 16, 4 + 16, 4 + 16]


@pytest.mark.slow
def test_a_planted_prediction_comes_out_with_its_box_label_and_score(planted):
    planted.plant(300, (10, 20, 30, 50), label=2, score=0.9)

    assert planted.found() == [([10, 20, 30, 50], 2, 0.9)]


@pytest.mark.slow
def test_detections_come_best_first(planted):
    planted.plant(100, (0, 0, 10, 10), label=0, score=0.3)
    planted.plant(300, (20, 20, 40, 40), label=1, score=0.8)
    planted.plant(700, (40, 0, 60, 10), label=2, score=0.5)

    assert [label for _, label, _ in planted.found()] == [1, 2, 0]


@pytest.mark.slow
def test_duplicates_of_one_class_are_suppressed_but_not_across_classes(planted):
    planted.plant(100, (10, 10, 30, 30), label=0, score=0.9)
    planted.plant(101, (10, 10, 30, 28), label=0, score=0.8)
    planted.plant(102, (10, 10, 30, 29), label=1, score=0.7)

    assert planted.found() == [([10, 10, 30, 30], 0, 0.9), ([10, 10, 30, 29], 1, 0.7)]


def test_one_anchor_can_show_two_classes(planted):
    planted.plant(100, (10, 10, 30, 30), label=0, score=0.9)
    planted.plant(100, (10, 10, 30, 30), label=2, score=0.6)

    assert planted.found() == [([10, 10, 30, 30], 0, 0.9), ([10, 10, 30, 30], 2, 0.6)]


@pytest.mark.slow
def test_the_overlap_from_which_duplicates_go_can_be_chosen(planted):
    # 20 x 20 and 20 x 12 within it: overlap 0.6.
    planted.plant(100, (10, 10, 30, 30), label=0, score=0.9)
    planted.plant(101, (10, 10, 30, 22), label=0, score=0.8)

    assert len(planted.found()) == 1
    assert len(planted.found(nms_threshold=0.65)) == 2


@pytest.mark.slow
def test_detections_below_the_score_threshold_are_left_out(planted):
    planted.plant(100, (0, 0, 10, 10), label=0, score=0.04)
    planted.plant(300, (20, 20, 40, 40), label=1, score=0.06)

    assert [label for _, label, _ in planted.found()] == [1]
    assert [label for _, label, _ in planted.found(score_threshold=0.03)] == [1, 0]
    assert planted.found(score_threshold=0.5) == []


@pytest.mark.slow
def test_only_the_best_detections_and_candidates_are_returned(planted):
    for row in range(6):
        planted.plant(90 * row, (0, 10 * row, 8, 10 * row + 8), label=row % 3, score=0.9 - 0.1 * row)

    assert [score for _, _, score in planted.found(max_detections=2)] == [0.9, 0.8]
    assert [score for _, _, score in planted.found(candidates=3)] == [0.9, 0.8, 0.7]
    assert len(planted.found()) == 6


@pytest.mark.slow
def test_boxes_are_clipped_to_the_image_and_not_to_its_padding(planted):
    planted.plant(100, (-10, -5, 90, 62), label=0, score=0.9)

    (detections,) = planted.predict(torch.zeros(1, 3, 50, 60))

    torch.testing.assert_close(detections["boxes"], torch.tensor([[0.0, 0, 60, 50]]))


@pytest.mark.slow
def test_prediction_builds_no_graph_for_gradients(tiny_detector):
    (detections,) = tiny_detector.eval().predict(torch.randn(1, 3, 32, 32), score_threshold=0.0)

    assert len(detections["scores"]) > 0
    assert not detections["boxes"].requires_grad


@pytest.mark.slow
def test_training_continues_after_a_prediction_in_inference_mode(tiny_detector):
    images, targets = batch()
    with torch.inference_mode():
        tiny_detector.eval().predict(images)  # the first use of this size makes its anchors

    loss = sum(tiny_detector.train().losses(images, targets).values())
    loss.backward()

    assert tiny_detector.box_tower.predictor.weight.grad.abs().sum() > 0


def test_images_of_a_batch_are_predicted_each_for_itself(tiny_detector):
    torch.nn.init.normal_(tiny_detector.cls_tower.predictor.weight, std=10)  # strong enough to find something
    images = torch.randn(3, 3, 64, 64)
    tiny_detector.eval()

    together = tiny_detector.predict(images)

    assert sum(len(found["scores"]) for found in together) > 0
    for image, found in zip(images, together, strict=True):
        (alone,) = tiny_detector.predict(image[None])
        torch.testing.assert_close(found["scores"], alone["scores"], rtol=1e-4, atol=1e-5)
        assert torch.equal(found["labels"], alone["labels"])


def test_head_width_and_depth_come_from_the_architecture(narrow):
    model = create_retinanet(narrow, num_classes=5)

    assert (len(model.cls_tower.convs), len(model.box_tower.convs)) == (1, 1)
    assert model.cls_tower.predictor.weight.shape == (9 * 5, 4, 3, 3)
    assert model.box_tower.predictor.weight.shape == (9 * 4, 4, 3, 3)


def test_a_separable_head_has_a_depthwise_and_a_1x1_convolution_instead_of_each():
    model = create_retinanet(load_architecture("spinenet49xs-mobile"), num_classes=5)

    keys = {key: tuple(value.shape) for key, value in model.cls_tower.named_parameters() if "norms" not in key}

    expected: dict[str, tuple[int, ...]] = {}
    for name, channels in [*((f"convs.{depth}", 24) for depth in range(4)), ("predictor", 45)]:
        expected |= {
            f"{name}.depthwise.weight": (24, 1, 3, 3),
            f"{name}.pointwise.weight": (channels, 24, 1, 1),
            f"{name}.pointwise.bias": (channels,),
        }
    assert keys == expected
    assert model.cls_tower.bias.tolist() == pytest.approx([-math.log(99)] * 45)
    assert model.cls_tower.predictor.depthwise.weight.std().item() == pytest.approx(0.03, rel=0.3)
    assert model.cls_tower.convs[0].pointwise.weight.std().item() == pytest.approx(0.01, rel=0.3)


@pytest.mark.slow
def test_a_mobile_detector_learns_and_predicts():
    torch.manual_seed(0)
    model = create_retinanet(load_architecture("spinenet49xs-mobile"), num_classes=3, activation="hard_swish")
    targets = {"boxes": torch.tensor([[[8.0, 8, 40, 40]]] * 2), "labels": torch.tensor([[1], [2]])}

    losses = model.losses(torch.randn(2, 3, 128, 128), targets)
    sum(losses.values()).backward()

    assert all(parameter.grad is not None for parameter in model.parameters())
    assert len(model.eval().predict(torch.randn(2, 3, 100, 90))) == 2


def test_the_factory_hands_every_setting_on():
    model = create_retinanet(
        load_architecture("tiny"),
        num_classes=3,
        activation="swish",
        pad_mode="same",
        pool_mode="mg",
        bn_eps=1e-4,
        bn_momentum=0.003,
        stochastic_depth=0.2,
        dropblock=0.1,
    )

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.003)}
    assert model.cls_tower.activation is model.backbone.blocks["2"].activation is F.silu
    assert model.backbone.stem.conv.conv.explicit
    assert model.backbone.stem.pool_mode == model.backbone.blocks["2"].parents["0"].pool_mode == "mg"
    last = model.backbone.blocks["9"].body[0]
    assert (last.drop_path.p, last.dropblock.probability) == pytest.approx((0.2, 0.1))


@pytest.mark.slow
# torch 2.11 compiles through parts of its own that it has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_compiled_detector_is_one_graph_with_equal_outputs(tiny_detector):
    # All that the compiler does but the kernels: tests/predict/test_predict_options.py has it write those.
    tiny_detector.eval()
    images = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(tiny_detector, fullgraph=True, backend="aot_eager")

    with torch.no_grad():
        outputs, expected = compiled(images), tiny_detector(images)

    for mine, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.slow
def test_candidates_have_the_same_shapes_whatever_the_image_shows(planted):
    nothing = planted.candidates(torch.zeros(1, 3, 64, 64), count=50)
    planted.plant(300, (10, 20, 30, 50), label=2, score=0.9)
    one = planted.candidates(torch.zeros(1, 3, 64, 64), count=50)

    for few, more in zip(nothing, one, strict=True):
        assert few.shape == more.shape
        assert few.shape[:2] == (1, 50)
    assert one.labels[0, 0] == 2
    assert one.boxes[0, 0].round().tolist() == [10, 20, 30, 50]
    assert one.scores[0, :2].tolist() == pytest.approx([0.9, 0], abs=1e-5)


def test_the_background_is_no_candidate():
    tiny = load_architecture("tiny")
    model = create_retinanet(tiny, 3, background=True).eval()
    torch.nn.init.constant_(model.cls_tower.bias, 5.0)

    candidates = model.candidates(torch.randn(1, 3, 32, 32), count=10_000)

    assert candidates.labels.unique().tolist() == [1, 2]
    assert len(candidates.labels[0]) == 2 * len(model.anchors(32, 32, CPU))


@pytest.mark.slow
def test_candidates_can_be_exported(tiny_detector):
    class Finder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = tiny_detector.eval()

        def forward(self, images):
            return tuple(self.model.candidates(images, 100))

    finder, images = Finder(), torch.randn(2, 3, 64, 64)
    expected = finder(images)

    program = torch.export.export(finder, (images,), strict=False)

    for found, wanted in zip(program.module()(images), expected, strict=True):
        torch.testing.assert_close(found, wanted)
