"""Weights and checkpoints written before detector parts were renamed."""

import pytest
import torch

from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import load_model, save_weights
from spinet.engine.config import ModelConfig, OptimConfig, TrainConfig
from spinet.engine.state import TrainState

# Present prefix -> what it was, for each kind of network.
TOWERS = {"cls_tower.": "classes.", "box_tower.": "boxes."}
STAGES = {
    f"box_heads.{stage}.{new}.": f"stages.{stage}.{old}."
    for stage in range(2)
    for new, old in {
        "convs": "convs",
        "norm": "norm",
        "fc": "dense",
        "cls_score": "classes",
        "bbox_pred": "boxes",
    }.items()
}
RPN = {"rpn.cls_logits.": "regions.scores.", "rpn.bbox_pred.": "regions.boxes.", "rpn.": "regions."}
MASKS = {"mask_head.predictor.": "masks.masks.", "mask_head.deconv.": "masks.upsampling.", "mask_head.": "masks."}
OLD = {
    "retinanet": TOWERS,
    "mask-rcnn": RPN | STAGES | MASKS,
    "cascade-rcnn": RPN | STAGES,
    "classifier": {"fc.": "dense."},
}


def info_of(head: str) -> ModelInfo:
    model = ModelConfig(arch="tiny", head=head, proposals=20)
    return ModelInfo(load_architecture("tiny"), model, ("cat", "dog"), (1, 2), 64)


def old_keys(state: dict[str, torch.Tensor], head: str) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, value in state.items():
        prefix = next((new for new in OLD[head] if name.startswith(new)), "backbone.")
        assert name.startswith(prefix)
        renamed[OLD[head].get(prefix, prefix) + name.removeprefix(prefix)] = value
    return renamed


@pytest.mark.slow
@pytest.mark.parametrize("head", OLD)
def test_weights_files_with_the_old_keys_load_with_equal_outputs(tmp_path, head):
    info, images, path = info_of(head), torch.rand(2, 3, 64, 64), tmp_path / "old.safetensors"
    torch.manual_seed(0)
    model = info.create_model().eval()
    old = old_keys(model.state_dict(), head)
    assert old.keys().isdisjoint(name for name in model.state_dict() if not name.startswith("backbone."))
    save_weights(path, old, info, {})

    loaded, _ = load_model(path)

    with torch.no_grad():
        expected, outputs = model(images), loaded(images)
    assert all(torch.equal(one, other) for one, other in zip(expected, outputs, strict=True))


def test_training_states_with_the_old_keys_resume():
    config = TrainConfig(model=info_of("retinanet").model, optim=OptimConfig(ema_decay=0.9, drops=()))
    written, resumed = (TrainState(info_of("retinanet"), config, torch.device("cpu")) for _ in range(2))
    content = written.to_dict()
    content |= {name: old_keys(content[name], "retinanet") for name in ("model", "average")}

    resumed.load(content)

    for mine, theirs in (
        (resumed.model.state_dict(), written.model.state_dict()),
        (resumed.average.state, written.average.state),
    ):
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
