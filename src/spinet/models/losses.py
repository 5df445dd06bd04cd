"""Detector losses on fixed shapes (RetinaNet paper, section 3; tensorflow/tpu modeling/losses.py)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 1.5) -> Tensor:
    """Sum of the focal losses of `logits` `(..., K)` against `labels` `(...)` in 0..K-1, -1 for background.

    Every entry is first counted as a negative, then the few positives are corrected: no one-hot tensor is built.
    """
    negatives = (1 - alpha) * (torch.sigmoid(logits) ** gamma * F.softplus(logits)).sum()
    positive = labels >= 0
    matched = logits.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    as_negative = (1 - alpha) * torch.sigmoid(matched) ** gamma * F.softplus(matched)
    as_positive = alpha * torch.sigmoid(-matched) ** gamma * F.softplus(-matched)
    return negatives + torch.where(positive, as_positive - as_negative, 0.0).sum()


def huber_loss(deltas: Tensor, targets: Tensor, positive: Tensor, delta: float = 0.1) -> Tensor:
    """Sum of the Huber losses of `deltas` `(..., 4)` over the anchors where `positive` `(...)` holds."""
    losses = F.huber_loss(deltas, targets, reduction="none", delta=delta)
    return torch.where(positive.unsqueeze(-1), losses, 0.0).sum()


def mean_huber_loss(deltas: Tensor, targets: Tensor, positive: Tensor, delta: float) -> Tensor:
    """Mean of the Huber losses of `deltas` `(..., 4)` where `positive` `(...)` holds; 0 if it holds nowhere."""
    # Targets of RoIs without an area are infinite or NaN, which times zero would still be NaN; none is positive.
    targets = torch.where(positive.unsqueeze(-1), targets, 0.0)
    return huber_loss(deltas, targets, positive, delta) / (4 * positive.sum()).clamp(min=1)


def roi_class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of `logits` `(R, K + 1)`, background first, against `labels` `(R,)`.

    Labels are 0..K-1, -1 for background and -2 to ignore; 0 if all are ignored.
    """
    total = F.cross_entropy(logits, labels + 1, ignore_index=-1, reduction="sum")
    return total / (labels >= -1).sum().clamp(min=1)
