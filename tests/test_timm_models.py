import pytest
import torch

from spinet.arch.catalog import names
from spinet.errors import SpinetError
from spinet.models.factory import create_backbone

timm = pytest.importorskip("timm", reason="the extra timm is not installed")
import spinet.timm_models  # noqa: E402, F401


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_timm_knows_every_name_of_the_catalogue(name):
    with torch.device("meta"):
        model = timm.create_model(name, features_only=True)

    features = model.eval()(torch.empty(1, 3, 128, 128, device="meta"))

    assert [flow.shape[1] for flow in features] == model.feature_info.channels()
    assert [128 // flow.shape[2] for flow in features] == model.feature_info.reduction()


@pytest.mark.parametrize(
    ("asked", "strides"), [((0, 1, 2), [8, 16, 32]), ((1, 3), [16, 64]), ((-1,), [128]), (2, [64, 128])]
)
def test_timm_returns_the_levels_at_the_requested_indices(asked, strides):
    model = timm.create_model("spinenet49-quarter", features_only=True, out_indices=asked, in_chans=1).eval()

    features = model(torch.zeros(1, 1, 128, 128))

    assert [128 // flow.shape[2] for flow in features] == model.feature_info.reduction() == strides
    modules = dict(model.named_modules())
    assert all(name in modules for name in model.feature_info.module_name())


@pytest.mark.slow
def test_weights_of_our_backbone_load_into_timms_and_back():
    torch.manual_seed(0)
    ours = create_backbone("spinenet49-quarter", activation="swish").eval()
    theirs = timm.create_model("spinenet49-quarter", features_only=True, activation="swish").eval()
    images = torch.randn(1, 3, 64, 64)

    theirs.body.load_state_dict(ours.state_dict())

    assert all(torch.equal(one, other) for one, other in zip(ours(images).values(), theirs(images), strict=True))
    ours.load_state_dict(theirs.body.state_dict())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "tiny is a backbone without a classifier; pass features_only=True"),
        ({"features_only": True, "pretrained": True}, "timm's hub has no weights of tiny"),
        ({"features_only": True, "out_indices": (0, 3)}, r"tiny has no features at out_indices \(0, 3\)"),
        ({"features_only": True, "out_indices": 4}, r"its indices are 0 \(level 3\), 1 \(level 4\), 2 \(level 5\)"),
    ],
    ids=str,
)
def test_what_timm_cannot_have_is_refused_in_a_sentence(settings, sentence):
    with pytest.raises(SpinetError, match=sentence):
        timm.create_model("tiny", **settings)
