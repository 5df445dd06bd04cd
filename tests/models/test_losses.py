import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from spinet.models.losses import focal_loss, huber_loss


def test_focal_loss_by_hand():
    # Sigmoid 0.5 everywhere: a negative costs 0.75 * 0.5^1.5 * ln 2, a positive 0.25 * 0.5^1.5 * ln 2.
    unit = 0.5**1.5 * math.log(2)

    background = focal_loss(torch.zeros(1, 1), torch.tensor([-1]))
    one_of_three = focal_loss(torch.zeros(1, 3), torch.tensor([1]))

    assert background.item() == pytest.approx(0.75 * unit)
    assert one_of_three.item() == pytest.approx(0.25 * unit + 2 * 0.75 * unit)


@pytest.mark.slow
@given(
    seed=st.integers(0, 1000),
    classes=st.integers(1, 5),
    labels=st.lists(st.integers(-1, 4), min_size=1, max_size=12),
    alpha=st.floats(0.05, 0.95),
    gamma=st.floats(0, 3),
)
def test_focal_loss_equals_torchvisions_on_one_hot_labels(seed, classes, labels, alpha, gamma):
    labels = torch.tensor(labels).clamp(max=classes - 1)
    logits = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(seed)).double() * 4
    one_hot = F.one_hot(labels + 1, classes + 1)[:, 1:].double()

    expected = sigmoid_focal_loss(logits, one_hot, alpha, gamma, reduction="sum")

    torch.testing.assert_close(focal_loss(logits, labels, alpha, gamma), expected)


def test_focal_loss_sums_over_all_leading_axes():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 7, 3), torch.randint(-1, 3, (2, 7))

    parts = [focal_loss(logits[i, j : j + 1], labels[i, j : j + 1]) for i in range(2) for j in range(7)]

    torch.testing.assert_close(focal_loss(logits, labels), torch.stack(parts).sum())


@pytest.mark.parametrize("label", [-1, 0])
@pytest.mark.parametrize("size", [-200.0, -90.0, 90.0, 200.0])
def test_focal_loss_and_its_gradient_stay_finite_for_extreme_logits(label, size):
    logits = torch.tensor([[size]], requires_grad=True)

    loss = focal_loss(logits, torch.tensor([label]))
    loss.backward()

    wrong = (size > 0) == (label == -1)
    # Surely wrong costs its distance from zero, surely right nothing.
    expected = (0.75 if label == -1 else 0.25) * abs(size) if wrong else 0.0
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    assert logits.grad.isfinite().all()


def test_focal_loss_has_the_gradient_of_its_value():
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, -1, 1])

    assert torch.autograd.gradcheck(lambda values: focal_loss(values, labels), logits)


def test_huber_loss_by_hand():
    deltas = torch.tensor([[0.05, 0.3, 0.0, -0.1]])

    loss = huber_loss(deltas, torch.zeros(1, 4), torch.tensor([True]))

    # Within 0.1: half the square. Beyond: 0.1 * (distance - 0.05).
    assert loss.item() == pytest.approx(0.5 * 0.05**2 + 0.1 * (0.3 - 0.05) + 0 + 0.5 * 0.1**2)


def test_huber_loss_and_its_gradient_leave_background_anchors_out():
    deltas = torch.ones(2, 3, 4, requires_grad=True)
    positive = torch.tensor([[True, False, False], [False, False, True]])

    loss = huber_loss(deltas, torch.zeros(2, 3, 4), positive)
    loss.backward()

    assert loss.item() == pytest.approx(2 * 4 * 0.1 * (1 - 0.05))
    assert torch.equal(deltas.grad.abs().sum(-1) > 0, positive)
