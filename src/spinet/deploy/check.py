"""Whether an exported file computes the same as its network, on a few images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from spinet.deploy.exported import split_detections
from spinet.deploy.graph import PAD_COLOUR, Graph
from spinet.deploy.manifest import ExportPrecision
from spinet.deploy.sessions import InferenceSession
from spinet.errors import SpinetError
from spinet.models.detections import Detections

# fp32: largest differences of raw outputs and probabilities relative to their largest value, of boxes in pixels, and
# of scores.
RAW, PIXELS, SCORES = 1e-3, 0.1, 1e-3
# fp32: fraction of detections that may be replaced by others, at the threshold or where two overlap just so much.
REPLACED = 0.01
# Lower precision: this fraction of the detections above a score must be found with at least this IoU.
CONFIDENT, RECALL, OVERLAP = 0.3, 0.9, 0.5
# Lower precision: least correlation of raw outputs, or cosine similarity of probabilities.
COSINE = 0.95


@dataclass(frozen=True)
class Agreement:
    """How close an exported file is to its network.

    Attributes:
        raw: largest difference of raw outputs and probabilities, relative to the largest value.
        cosine: least cosine similarity between them; of raw outputs after subtracting their means.
        detections: how many of the network's detections were compared.
        matched: fraction of them that the file finds too, 1.0 if there are none.
    """

    raw: float
    cosine: float
    detections: int
    matched: float


def sample_images(count: int, height: int, width: int) -> list[Tensor]:
    """Generate images `(H, W, 3)` with soft shapes, edges and noise, the last ones padded; always the same ones."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for index in range(count):
        total = torch.zeros(3, height, width)
        for cells in (2, 5, 13, 31):
            noise = torch.randn(1, 3, cells, cells, generator=generator)
            total += F.interpolate(noise, (height, width), mode="bicubic" if cells < 13 else "nearest")[0]
        image = (128 + 40 * total).clamp(0, 255).byte().permute(1, 2, 0).contiguous()
        image[height - (height * index) // (2 * count) :] = torch.tensor(PAD_COLOUR, dtype=torch.uint8)
        images.append(image)
    return images


def check(
    graph: Graph,
    session: InferenceSession,
    images: Sequence[Tensor],
    precision: ExportPrecision,
    where: str,
    real: bool = False,
) -> Agreement:
    """Compare a file with its network.

    Args:
        graph: the network.
        session: the file; its raw outputs are compared too, if it has any.
        images: uint8 RGB `(H, W, 3)`.
        precision: `"fp32"` must agree up to rounding, lower precision must find nearly all confident detections.
        where: names the file in errors.
        real: whether the images are real ones. On synthetic images a trained network may produce hundreds of
            confident detections, and which of them are the best hundred is chance; so in lower precision only the raw
            outputs count there, if there are any.

    Raises:
        SpinetError: they differ.
    """
    batch, raws, cosines, pairs = session.manifest.batch_size, [0.0], [1.0], []
    names, exact = (*graph.output_names, *graph.raw_names), precision == "fp32"
    for start in range(0, len(images), batch):
        inputs = torch.stack([images[(start + index) % len(images)] for index in range(batch)])
        with torch.no_grad():
            ours = dict(zip(names, graph(inputs), strict=True))
        theirs = session.run(inputs)
        for name in (*graph.raw_names, "probabilities"):
            if name in ours and name in theirs:
                mine, other = ours[name].float(), theirs[name].float()
                raws.append(float((mine - other).abs().max() / mine.abs().max().clamp(min=1e-6)))
                mean = mine.mean() if name in graph.raw_names else 0.0
                cosines.append(float(F.cosine_similarity((mine - mean).flatten(), (other - mean).flatten(), dim=0)))
        has_raw = any(name in theirs for name in graph.raw_names)
        if "labels" in ours and (exact or real or not has_raw):
            limit = 0.0 if exact else CONFIDENT
            pairs += list(zip(split_detections(ours, limit), split_detections(theirs, 0.0), strict=True))
    # Unlike Python's, torch's `max` and `min` keep NaN.
    raw, cosine = float(torch.tensor(raws).max()), float(torch.tensor(cosines).min())
    hits = [matches(mine, other, exact) for mine, other in pairs]
    count = sum(len(hit) for hit in hits)
    agreement = Agreement(raw, cosine, count, sum(int(hit.sum()) for hit in hits) / count if count else 1.0)
    same_raw = raw <= RAW if exact else cosine >= COSINE
    if not (same_raw and agreement.matched >= (1 - REPLACED if exact else RECALL)):
        hint = "" if exact or real else "; real images as calibration are a fairer test"
        raise SpinetError(
            f"{where} was not written: its outputs differ from the network's (raw outputs by {raw:.2g} of their "
            f"range, cosine {cosine:.4f}; {agreement.matched:.1%} of {count} detections match){hint}"
        )
    return agreement


def matches(ours: Detections, theirs: Detections, exact: bool) -> Tensor:
    """Return which of our detections `(D,)` the others contain, equal up to rounding or only overlapping well."""
    if len(ours["labels"]) == 0 or len(theirs["labels"]) == 0:
        return torch.zeros(len(ours["labels"]), dtype=torch.bool)
    same = ours["labels"][:, None] == theirs["labels"]
    if not exact:
        same &= box_iou(ours["boxes"], theirs["boxes"]) >= OVERLAP
        return same.any(dim=1)
    same &= (ours["boxes"][:, None] - theirs["boxes"]).abs().amax(dim=2) <= PIXELS
    same &= (ours["scores"][:, None] - theirs["scores"]).abs() <= SCORES
    if "masks" in ours and "masks" in theirs:
        # Sharp edges differ most; the mean tells whether it is the same mask.
        same &= (ours["masks"][:, None] - theirs["masks"]).abs().mean(dim=(2, 3)) <= SCORES
    return same.any(dim=1)
