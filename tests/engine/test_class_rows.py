"""Rows of class predictors that new classes keep, by value and for each head."""

from dataclasses import replace

import pytest
import torch

from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig
from spinet.engine.pretrained import load_pretrained
from spinet.errors import SpinetError
from spinet.models.class_rows import AVERAGE, NEW, ClassRows, take_rows

OLD, OURS = ("cat", "dog", "fish"), ("bird", "fish", "Dog")
ARCHITECTURES = {"separable": "spinenet49xs-mobile"}


def info_of(head, names, **settings):
    arch = ARCHITECTURES.get(head, "tiny")
    model = ModelConfig(head="retinanet" if head in ARCHITECTURES else head, arch=arch, proposals=8, **settings)
    return ModelInfo(load_architecture(arch), model, names, tuple(range(len(names))), 64)


def started(head, tmp_path, old=OLD, ours=OURS, source=None, **settings):
    """Return the weights of another model, those of a new one before and after it took them, and what it said."""
    torch.manual_seed(0)
    theirs = info_of(head, old, **(source or {}))
    saved = theirs.create_model().state_dict()
    for name, value in saved.items():
        # As after a training: neither biases nor statistics have their initial values.
        if value.is_floating_point():
            saved[name] = torch.rand_like(value) + 1
    save_weights(tmp_path / "w.safetensors", saved, theirs, {})
    info = info_of(head, ours, weights=str(tmp_path / "w.safetensors"), new_classes=True, **settings)
    model = info.create_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said = load_pretrained(model, info)
    return saved, before, model.state_dict(), said


# Of each predictor: groups, rows before the classes, values of a class.
MADE_UP = {
    "retinanet": {"cls_tower.predictor": (9, 0, 1)},
    "separable": {"cls_tower.predictor.pointwise": (9, 0, 1)},
    "classifier": {"fc": (1, 0, 1)},
    "faster-rcnn": {"box_heads.0.cls_score": (1, 1, 1), "box_heads.0.bbox_pred": (1, 1, 4)},
    "mask-rcnn": {
        "box_heads.0.cls_score": (1, 1, 1),
        "box_heads.0.bbox_pred": (1, 1, 4),
        "mask_head.predictor": (1, 1, 1),
    },
    "cascade-rcnn": {"box_heads.0.cls_score": (1, 1, 1), "box_heads.1.cls_score": (1, 1, 1)},
}


@pytest.mark.parametrize(
    "head",
    [head if head in ("retinanet", "classifier") else pytest.param(head, marks=pytest.mark.slow) for head in MADE_UP],
)
def test_classes_of_the_same_name_keep_their_rows_and_all_else_but_new_classes_is_taken(head, tmp_path):
    old, before, after, _ = started(head, tmp_path)

    predictors = {f"{name}.{kind}": rows for name, rows in MADE_UP[head].items() for kind in ("weight", "bias")}
    for name, (groups, first, values) in predictors.items():
        shape = (groups, first + 3, values, *after[name].shape[1:])
        theirs, fresh, ours = (state[name].reshape(shape) for state in (old, before, after))
        assert torch.equal(ours[:, :first], theirs[:, :first]), name
        assert torch.equal(ours[:, first], fresh[:, first]), name
        assert torch.equal(ours[:, first + 1], theirs[:, first + 2]), name
        assert torch.equal(ours[:, first + 2], theirs[:, first + 1]), name
        assert not torch.equal(theirs[:, first + 1], theirs[:, first + 2])
    assert all(torch.equal(after[name], old[name]) for name in after.keys() - predictors.keys())


@pytest.mark.slow
def test_another_number_of_classes_keeps_the_logits_of_the_same_class(tmp_path):
    theirs = ModelInfo(
        load_architecture("tiny"), ModelConfig(arch="tiny"), ("a", "b", "c", "d", "e"), (1, 2, 3, 4, 5), 64
    )
    model = theirs.create_model()
    torch.nn.init.normal_(model.cls_tower.predictor.weight)
    save_weights(tmp_path / "w.safetensors", model.state_dict(), theirs, {})
    settings = replace(theirs.model, weights=str(tmp_path / "w.safetensors"), new_classes=True)
    info = replace(theirs, model=settings, class_names=("x", "d"), category_ids=(1, 2))
    ours = info.create_model()

    load_pretrained(ours, info)

    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        (expected, boxes), (logits, moved) = model.eval()(images), ours.eval()(images)
    torch.testing.assert_close(logits[..., 1], expected[..., 3])
    assert not torch.allclose(logits[..., 0], expected[..., 3])
    torch.testing.assert_close(moved, boxes)


def test_weights_with_a_background_class_give_the_rows_of_the_named_classes(tmp_path):
    background = {"background": True}
    old, before, after, _ = started("retinanet", tmp_path, ("background", "dog", "fish"), ("fish", "bird"), background)

    weight = "cls_tower.predictor.weight"
    theirs, ours = old[weight].unflatten(0, (9, 3)), after[weight].unflatten(0, (9, 2))
    assert torch.equal(ours[:, 0], theirs[:, 2])
    assert torch.equal(ours[:, 1], before[weight].unflatten(0, (9, 2))[:, 1])


def test_the_average_leaves_the_background_out(tmp_path):
    old, _, after, said = started(
        "classifier", tmp_path, ("background", "dog", "fish"), ("x", "y"), {"background": True}, class_start="average"
    )

    assert torch.allclose(after["fc.weight"], old["fc.weight"][1:].mean(dim=0).expand(2, -1))
    assert torch.allclose(after["fc.bias"], old["fc.bias"][1:].mean().expand(2))
    assert said[1] == "classes: 2 started from the average (x, y)"


@pytest.mark.slow
def test_masks_follow_no_class_when_they_are_new_themselves(tmp_path):
    theirs = info_of("faster-rcnn", OLD)
    save_weights(tmp_path / "w.safetensors", theirs.create_model().state_dict(), theirs, {})
    info = info_of("mask-rcnn", OURS, weights=str(tmp_path / "w.safetensors"), new_classes=True)
    model = info.create_model()
    masks = {name: value.clone() for name, value in model.state_dict().items() if name.startswith("mask_head.")}

    said = load_pretrained(model, info)

    assert said[0].endswith("except mask_head, which are newly initialized")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in masks.items())


def test_other_anchors_are_refused_and_not_taken_apart_into_wrong_rows(tmp_path):
    with pytest.raises(SpinetError, match=r"does not match this network in 4 tensors, for example box_tower"):
        started("retinanet", tmp_path, octaves=2)


def test_rows_are_taken_group_by_group():
    old, new = torch.arange(12.0), -torch.arange(1.0, 9.0)
    # Two groups of a row for the background and two (now one) classes, two values each.
    rows = ClassRows(groups=2, first=1, values=2)

    assert take_rows(new, old, rows, [1], [0, 1]).tolist() == [0, 1, 4, 5, 6, 7, 10, 11]
    assert take_rows(new, old, rows, [AVERAGE], [0, 1]).tolist() == [0, 1, 3, 4, 6, 7, 9, 10]
    assert take_rows(new, old, rows, [NEW], [0, 1]).tolist() == [0, 1, -3, -4, 6, 7, -7, -8]
