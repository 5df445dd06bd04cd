import math

import pytest
import torch
from torch import nn

from spinet.arch.catalog import load_architecture
from spinet.data.coco import CocoDataset
from spinet.data.loader import eval_loader
from spinet.data.transforms import EvalTransform
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.nas.zero_cost import _SharedSigns, gradient_scores, synflow, zero_cost_scores

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(digits):
    return CocoDataset(digits, "train", cache_images=True)


@pytest.fixture(scope="module")
def info(dataset):
    return ModelInfo(load_architecture("tiny"), ModelConfig(), dataset.class_names, dataset.category_ids, 64)


def first_images(dataset, count):
    (batch,) = eval_loader(dataset.subset(range(count)), EvalTransform(64), batch_size=count)
    return batch


@pytest.mark.slow
def test_scores_depend_on_the_seed_alone(info, dataset):
    one, again, other = (zero_cost_scores(info, dataset, seed=seed, device=CPU) for seed in (0, 0, 1))

    assert one == again
    assert all(one[name] != other[name] for name in ("grad_norm", "naswot", "snip", "synflow"))


@pytest.mark.slow
def test_the_norm_of_the_gradient_is_that_of_a_training_step(info, dataset):
    torch.manual_seed(0)
    model = info.create_model().train()
    batch = first_images(dataset, 4)

    found = gradient_scores(model, batch, CPU)["grad_norm"]

    model.zero_grad()
    sum(model.losses(batch.images, batch.targets).values()).backward()
    squares = [float(weight.grad.square().sum()) for weight in model.parameters() if weight.grad is not None]
    assert found == pytest.approx(math.sqrt(sum(squares)), rel=1e-5)


def test_images_that_the_network_cannot_tell_apart_have_no_score(info, dataset):
    batch = first_images(dataset, 2)
    same = batch._replace(
        images=batch.images[:1].repeat(2, 1, 1, 1),
        targets={name: value[:1].repeat(2, *[1] * (value.dim() - 1)) for name, value in batch.targets.items()},
    )

    assert gradient_scores(info.create_model(), same, CPU)["naswot"] == -math.inf


def test_shared_signs_are_counted_for_each_pair_of_images():
    norm = nn.BatchNorm2d(1).eval()
    signs = _SharedSigns(norm)

    # Three places, of which the two images share one sign: the matrix is ((3, 1), (1, 3)).
    norm(torch.tensor([[1.0, 2.0, 3.0], [1.0, -2.0, -3.0]]).view(2, 1, 1, 3))

    assert signs.log_determinant() == pytest.approx(math.log(8))


def test_synflow_of_one_convolution_is_the_sum_of_its_weights_over_the_pixels():
    class OneConvolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1, bias=False)
            self.conv.weight.data = torch.tensor([[1.0, -2, 3], [-4, 5, -6]]).view(2, 3, 1, 1)

        def forward(self, images):
            return {3: self.conv(images)}

    assert synflow(OneConvolution(), 4) == pytest.approx(math.log(21 * 16))


@pytest.mark.slow
def test_synflow_does_not_see_the_signs_of_weights(info):
    torch.manual_seed(0)
    plain, flipped = info.create_model().backbone, info.create_model().backbone
    flipped.load_state_dict(plain.state_dict())
    for module in flipped.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.neg_()

    assert synflow(plain, 64) == synflow(flipped, 64)


@pytest.mark.slow
def test_scores_that_are_not_finite_are_left_out(info, dataset):
    scores = zero_cost_scores(info, dataset.subset([0, 0]), seed=0, device=CPU)

    assert {*scores} == {"grad_norm", "snip", "synflow"}
