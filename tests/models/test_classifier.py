import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from spinet.arch.catalog import load_architecture
from spinet.arch.cost import Cost
from spinet.arch.head_cost import model_cost
from spinet.errors import SpinetError
from spinet.models.blocks import count_parameters
from spinet.models.classifier import Classifier
from spinet.models.factory import create_backbone, create_classifier, create_rcnn, create_retinanet
from spinet.models.options import BackboneOptions, DetectorOptions

TINY = load_architecture("tiny")


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return create_classifier(TINY, 10).eval()


def counted_by_torch(model, size):
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return Cost(count_parameters(model), counter.get_total_flops() // 2)


@pytest.mark.parametrize("classes", [1000, 1001, 5089])
@pytest.mark.parametrize("name", ["spinenet49s", "spinenet49", "spinenet49s-v1", "spinenet49-mobile"])
@pytest.mark.slow
def test_classifiers_cost_what_pytorch_counts(name, classes):
    architecture = load_architecture(name)
    with torch.device("meta"):
        model = create_classifier(architecture, classes)

    assert model_cost(architecture, 224, "classifier", classes) == counted_by_torch(model, 224)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes", "thousand"),
    [
        ("spinenet49", 1001, 22_089),
        ("spinenet96", 1001, 36_520),
        ("spinenet143", 1001, 60_505),
        ("spinenet190", 1001, 127_101),
        ("spinenet49", 5089, 23_139),
        ("spinenet96", 5089, 37_571),
        ("spinenet143", 5089, 61_555),
        ("spinenet190", 5089, 129_198),
        ("spinenet49s", 1001, 9_218),
        ("spinenet49s-256", 1001, 9_730),
    ],
)
def test_classifiers_have_the_published_parameters(name, classes, thousand):
    with torch.device("meta"):
        model = create_classifier(load_architecture(name), classes)

    assert count_parameters(model) / 1000 == pytest.approx(thousand, abs=1)


@pytest.mark.parametrize("size", [(224, 224), (65, 97)])
def test_features_of_all_levels_are_added_from_the_top_down_and_averaged(classifier, size):
    images = torch.rand(2, 3, *size)
    features = classifier.backbone(images)
    coarse, middle, fine = features[5], features[4], features[3]
    total = F.interpolate(F.interpolate(coarse, size=middle.shape[-2:]) + middle, size=fine.shape[-2:]) + fine

    expected = F.linear((total / 3).mean(dim=(2, 3)), classifier.fc.weight, classifier.fc.bias)

    torch.testing.assert_close(classifier(images), expected)


def test_aggregation_one_builds_only_the_coarsest_or_the_given_level():
    images = torch.rand(1, 3, 64, 64)
    for asked, level in ((None, 5), (4, 4)):
        model = create_classifier(TINY, 10, aggregation="one", level=asked).eval()
        assert model.backbone.levels == (level,)
        torch.testing.assert_close(model(images), model.fc(model.backbone(images)[level].mean(dim=(2, 3))))


def test_concatenated_means_make_a_vector_of_all_levels_finest_first():
    model = create_classifier(TINY, 10, aggregation="concat").eval()
    images = torch.rand(1, 3, 64, 64)
    vector = torch.cat([model.backbone(images)[level].mean(dim=(2, 3)) for level in (3, 4, 5)], dim=1)

    assert model.fc.in_features == 3 * model.backbone.out_channels
    torch.testing.assert_close(model(images), model.fc(vector))


def test_the_concatenation_of_table_11_has_1280_values():
    with torch.device("meta"):
        model = create_classifier(load_architecture("spinenet49"), 1000, aggregation="concat")

    assert model.fc.in_features == 1280


def test_losses_are_cross_entropy_with_the_truth_smoothed(classifier):
    images, labels = torch.rand(4, 3, 64, 64), torch.tensor([0, 3, 9, 3])
    truth = F.one_hot(labels, 10) * 0.9 + 0.1 / 10

    plain = classifier.losses(images, {"labels": labels})
    classifier.label_smoothing = 0.1
    smoothed = classifier.losses(images, {"labels": labels})

    logs = classifier(images).log_softmax(dim=1)
    torch.testing.assert_close(plain["class"], -logs[range(4), labels].mean())
    torch.testing.assert_close(smoothed["class"], -(truth * logs).sum(dim=1).mean())


def test_every_parameter_learns_from_the_loss(classifier):
    classifier.train().losses(torch.rand(2, 3, 64, 64), {"labels": torch.tensor([1, 2])})["class"].backward()

    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in classifier.parameters())


@pytest.mark.slow
def test_predictions_come_best_first_and_sum_to_at_most_one(classifier):
    found = classifier.predict(torch.rand(3, 3, 64, 64), top=4)

    assert found["scores"].shape == found["labels"].shape == (3, 4)
    assert torch.equal(found["scores"], found["scores"].sort(dim=1, descending=True).values)
    assert (found["scores"].sum(dim=1) < 1).all()
    torch.testing.assert_close(classifier.predict(torch.rand(1, 3, 64, 64), top=99)["scores"].sum(), torch.tensor(1.0))


def test_the_background_is_never_predicted(classifier):
    classifier.background = True
    torch.nn.init.constant_(classifier.fc.bias[:1], 50.0)

    found = classifier.predict(torch.rand(1, 3, 64, 64), top=99)

    assert sorted(found["labels"][0].tolist()) == list(range(1, 10))
    assert found["scores"].sum() < 1e-6


def test_the_dense_layer_begins_small(classifier):
    assert float(classifier.fc.weight.detach().std()) == pytest.approx(0.01, rel=0.2)
    assert not classifier.fc.bias.any()


def test_what_cannot_be_built_is_refused():
    with pytest.raises(SpinetError, match="unknown aggregation 'al', did you mean 'all'"):
        Classifier(create_backbone(TINY, levels=None), 10, aggregation="al")
    with pytest.raises(SpinetError, match="num_classes must be at least 1, not 0"):
        create_classifier(TINY, 0)
    with pytest.raises(SpinetError, match="level 4: only the aggregation 'one' uses a single level, not 'all'"):
        create_classifier(TINY, 10, level=4)
    with pytest.raises(SpinetError, match="no features of level 7"):
        create_classifier(TINY, 10, aggregation="one", level=7)


@pytest.mark.slow
def test_whole_models_pass_their_options_to_backbone_and_heads():
    options = DetectorOptions(activation="swish", pool_mode="tpu", bn_eps=1e-4, bn_momentum=0.003)
    for create in (create_retinanet, create_rcnn, create_classifier):
        model = create(TINY, 3, options)
        assert model.backbone.options == options
        assert create(TINY, 3, activation="swish").backbone.options.activation == "swish"
        norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.003)}


def test_keywords_change_single_options_and_unknown_ones_are_refused():
    options = BackboneOptions(activation="swish", bn_eps=1e-4)

    backbone = create_backbone(TINY, None, options=options, bn_eps=1e-5)

    assert (backbone.options.activation, backbone.options.bn_eps) == ("swish", 1e-5)
    with pytest.raises(SpinetError, match="unknown option 'aktivation', did you mean 'activation'"):
        create_backbone(TINY, None, aktivation="swish")
