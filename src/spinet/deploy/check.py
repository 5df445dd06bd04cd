"""Whether an exported file computes what its network computes, on pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from spinet.deploy.exported import split_detections
from spinet.deploy.graph import PAD_COLOUR, Graph
from spinet.deploy.manifest import Precision
from spinet.deploy.sessions import Session
from spinet.errors import SpinetError
from spinet.models.detections import Detections

# Largest difference of raw outputs and probabilities, as a share of their largest value; of boxes in pixels; of scores.
RAW, PIXELS, SCORES = 1e-3, 0.1, 1e-3
# Detections that others may take the place of: at the threshold, or two that overlap just so. Of this share at most.
SWAPPED = 0.01
# What lower precision has to find again of what is found with at least this score, and how well it has to overlap.
SURE, FOUND_AGAIN, OVERLAP = 0.3, 0.9, 0.5
# Of lower precision: the least correlation between raw outputs, or cosine between probabilities, of the two.
COSINE = 0.95


@dataclass(frozen=True)
class Agreement:
    """How close an exported file is to its network.

    Attributes:
        raw: largest difference of raw outputs and probabilities, as a share of the largest value.
        cosine: between them, the least; of raw outputs after their means are taken away.
        detections: of the network, those that were compared.
        matched: share of them that the file finds too, 1.0 if there are none.
    """

    raw: float
    cosine: float
    detections: int
    matched: float


def photo_like(count: int, height: int, width: int) -> list[Tensor]:
    """Make pictures with soft shapes, edges and noise, the last ones with padding, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    pictures = []
    for index in range(count):
        total = torch.zeros(3, height, width)
        for cells in (2, 5, 13, 31):
            noise = torch.randn(1, 3, cells, cells, generator=generator)
            total += F.interpolate(noise, (height, width), mode="bicubic" if cells < 13 else "nearest")[0]
        picture = (128 + 40 * total).clamp(0, 255).byte().permute(1, 2, 0).contiguous()
        picture[height - (height * index) // (2 * count) :] = torch.tensor(PAD_COLOUR, dtype=torch.uint8)
        pictures.append(picture)
    return pictures


def check(
    graph: Graph,
    session: Session,
    pictures: Sequence[Tensor],
    precision: Precision,
    where: str,
    photos: bool = False,
) -> Agreement:
    """Compare a file with its network on pictures.

    Args:
        graph: the network.
        session: the file; where it gives raw outputs too, they are compared.
        pictures: uint8 RGB `(H, W, 3)`.
        precision: in fp32 all has to be equal but for rounding; else nearly all that is surely found is found again.
        where: names the file in errors.
        photos: whether the pictures are photos. In made ones a trained network may be sure of hundreds of things, and
            which of them are its best hundred is chance; so in lower precision raw outputs alone count there, if any.

    Raises:
        SpinetError: they differ.
    """
    batch, raws, cosines, pairs = session.manifest.batch_size, [0.0], [1.0], []
    names, exact = (*graph.output_names, *graph.raw_names), precision == "fp32"
    for start in range(0, len(pictures), batch):
        chosen = [pictures[(start + index) % len(pictures)] for index in range(batch)]
        images = torch.stack(chosen)
        with torch.no_grad():
            ours = dict(zip(names, graph(images), strict=True))
        theirs = session.run(images)
        for name in (*graph.raw_names, "probabilities"):
            if name in ours and name in theirs:
                mine, other = ours[name].float(), theirs[name].float()
                raws.append(float((mine - other).abs().max() / mine.abs().max().clamp(min=1e-6)))
                middle = mine.mean() if name in graph.raw_names else 0.0
                cosines.append(float(F.cosine_similarity((mine - middle).flatten(), (other - middle).flatten(), dim=0)))
        has_raw = any(name in theirs for name in graph.raw_names)
        if "labels" in ours and (exact or photos or not has_raw):
            limit = 0.0 if exact else SURE
            pairs += list(zip(split_detections(ours, limit), split_detections(theirs, 0.0), strict=True))
    # Unlike Python's, torch's `max` and `min` keep what is not a number.
    raw, cosine = float(torch.tensor(raws).max()), float(torch.tensor(cosines).min())
    hits = [matches(mine, other, exact) for mine, other in pairs]
    count = sum(len(hit) for hit in hits)
    agreement = Agreement(raw, cosine, count, sum(int(hit.sum()) for hit in hits) / count if count else 1.0)
    same_raw = raw <= RAW if exact else cosine >= COSINE
    if not (same_raw and agreement.matched >= (1 - SWAPPED if exact else FOUND_AGAIN)):
        fairer = "" if exact or photos else "; photos like those that it will see are a fairer test: --calibration DIR"
        raise SpinetError(
            f"{where} was not written: it computes something else than the network (raw outputs differ by {raw:.2g} of "
            f"their range, cosine {cosine:.4f}; {agreement.matched:.1%} of {count} detections are found again){fairer}"
        )
    return agreement


def matches(ours: Detections, theirs: Detections, exact: bool) -> Tensor:
    """Tell which of our detections `(D,)` the others have too: the same but for rounding, or just well overlapping."""
    if len(ours["labels"]) == 0 or len(theirs["labels"]) == 0:
        return torch.zeros(len(ours["labels"]), dtype=torch.bool)
    same = ours["labels"][:, None] == theirs["labels"]
    if not exact:
        same &= box_iou(ours["boxes"], theirs["boxes"]) >= OVERLAP
        return same.any(dim=1)
    same &= (ours["boxes"][:, None] - theirs["boxes"]).abs().amax(dim=2) <= PIXELS
    same &= (ours["scores"][:, None] - theirs["scores"]).abs() <= SCORES
    if "masks" in ours and "masks" in theirs:
        # The largest is that of masks of sharp edges; the mean says whether it is the same mask.
        same &= (ours["masks"][:, None] - theirs["masks"]).abs().mean(dim=(2, 3)) <= SCORES
    return same.any(dim=1)
