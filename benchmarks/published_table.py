"""Writes docs/published.md: every published number of parameters and FLOPs, compared with ours.

usage: python benchmarks/published_table.py [--check]
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_cost import SHAPES, classifier_cost, mask_rcnn_cost
from spinet.arch.baseline import Baseline
from spinet.arch.budgets import BUDGETS
from spinet.arch.catalog import Architecture, load_architecture, load_network
from spinet.arch.cost import Cost, total
from spinet.arch.head_cost import Head, model_cost, model_parts
from spinet.arch.scaling import Scaling
from spinet.models.blocks import count_parameters
from spinet.models.factory import create_retinanet

FILE = Path(__file__).resolve().parents[1] / "docs" / "published.md"
# Relative differences up to this need no explanation.
CLOSE = 0.005

BATCH_NORM = "includes batch norm and activations, which ours excludes; explains part of it"
ONE_DIGIT = "published with one or two digits"
V1_FIGURE = "0.08 M unexplained"
R0 = "v1 figure unexplained; the later version has 95.2 B"
MASK_49 = "v1 figure unexplained, perhaps a typo for 43.1; its other Mask R-CNN models agree"
MASK_49S = "0.5 B unexplained; parameters agree"
LATERAL = "4.0 B below ours for every backbone; the lateral convolution of level 2 alone has 4.2 B"
R101 = "perhaps a typo for 64.8; the other two agree"


@dataclass(frozen=True)
class Row:
    """A published model: label, our name, image size, FLOPs in billions, parameters in millions, and a reason.

    `size` is the side of a square, or height and width, pixels. Published figures are strings to keep their digits;
    empty ones were not published. `reason` explains a difference.
    """

    label: str
    name: str
    size: int | tuple[int, int]
    flops: str
    parameters: str
    reason: str = ""


@dataclass(frozen=True)
class Section:
    """A published table whose models share a head and classes; `constant` marks FLOPs with the constant of v1."""

    title: str
    head: Head
    classes: int
    rows: tuple[Row, ...]
    constant: bool = False


NAS_FPN_384 = "resnet50-nas-fpn, 384 channels"

SECTIONS = (
    Section(
        "Later release, RetinaNet, COCO (91 classes)",
        "retinanet",
        91,
        (
            Row("SpineNet-49S", "spinenet49s-256", 640, "33.8", "11.9"),
            Row("SpineNet-49", "spinenet49", 640, "85.4", "28.5"),
            Row("SpineNet-96", "spinenet96", 1024, "265.4", "43.0"),
            Row("SpineNet-143", "spinenet143", 1280, "524.0", "67.0"),
            Row("SpineNet-190", "spinenet190", 1280, "1885.0", "163.6"),
            Row("R50-FPN", "resnet50-fpn", 640, "97.0", "34.0"),
            Row("SpineNet-49 (MBConv)", "spinenet49-mobile", 384, "1.0", "2.34", ONE_DIGIT),
            Row("R0-SP53", "r0-sp53", 640, "95.2", ""),
        ),
    ),
    Section(
        "Later release, Mask R-CNN, COCO (91 classes)",
        "mask-rcnn",
        91,
        (
            Row("SpineNet-49S", "spinenet49s", 640, "60.2", "13.9", MASK_49S),
            Row("SpineNet-49", "spinenet49", 640, "215.7", "40.8"),
            Row("SpineNet-96", "spinenet96", 1024, "314.6", "55.2"),
            Row("SpineNet-143", "spinenet143", 1280, "498.4", "79.2"),
            Row("SpineNet-190", "spinenet190", 1536, "1685.7", "168.2"),
        ),
    ),
    Section(
        "Later release, ImageNet (1001 classes)",
        "classifier",
        1001,
        (
            Row("SpineNet-49", "spinenet49", 224, "3.5", "22.1", ONE_DIGIT),
            Row("SpineNet-96", "spinenet96", 224, "5.7", "36.5"),
            Row("SpineNet-143", "spinenet143", 224, "9.1", "60.5"),
            Row("SpineNet-190", "spinenet190", 224, "19.1", "127.1"),
        ),
    ),
    Section(
        "Later release, iNaturalist (5089 classes)",
        "classifier",
        5089,
        (
            Row("SpineNet-49", "spinenet49", 224, "3.5", "23.1", ONE_DIGIT),
            Row("SpineNet-96", "spinenet96", 224, "", "37.6"),
            Row("SpineNet-143", "spinenet143", 224, "", "61.6"),
            Row("SpineNet-190", "spinenet190", 224, "", "129.2"),
        ),
    ),
    Section(
        "Paper v1, Table 2, RetinaNet (90 classes)",
        "retinanet",
        90,
        (
            Row("SpineNet-49s", "spinenet49s-v1", 640, "44.7", "16.3"),
            Row("SpineNet-49", "spinenet49-v1", 640, "92.8", "30.9"),
            Row("R50-FPN", "resnet50-fpn", 640, "96.8", "34.0"),
            Row("R50-NAS-FPN", "resnet50-nas-fpn", 640, "140.0", "60.3"),
            Row("SpineNet-49", "spinenet49-v1", 896, "181.4", "30.9"),
            Row("SpineNet-96", "spinenet96-v1", 1024, "283.8", "45.3"),
            Row("R101-FPN", "resnet101-fpn", 1024, "325.0", "53.0"),
            Row("SpineNet-143", "spinenet143", 1280, "544.5", "66.9"),
            Row("R50-NAS-FPN", NAS_FPN_384, 1280, "1043.0", "103.0", "width of neck and head inferred from its size"),
        ),
        constant=True,
    ),
    Section(
        "Paper v1, Table 3 (90 classes)",
        "retinanet",
        90,
        (
            Row("R0-SP53", "r0-sp53", 640, "102.7", "29.5", R0),
            Row("R50-FPN", "resnet50-fpn", 640, "96.8", "34.0"),
            Row("R0-SP53+", "r0-sp53-plus-v1", 640, "92.0", "29.9"),
            Row("SpineNet-49", "spinenet49-v1", 640, "92.8", "30.9"),
        ),
        constant=True,
    ),
    Section(
        "Paper v1, Table 5, Mask R-CNN (91 classes)",
        "mask-rcnn",
        91,
        (
            Row("SpineNet-49s", "spinenet49s-v1", 640, "82.5", "19.2"),
            Row("SpineNet-49", "spinenet49-v1", 640, "225.0", "43.6", MASK_49),
            Row("SpineNet-96", "spinenet96-v1", 1024, "325.0", "57.5"),
            Row("SpineNet-143", "spinenet143", 1280, "518.8", "79.1"),
            Row("R50-FPN", "resnet50", (800, 1280), "370.1", "45.8", LATERAL),
            Row("R101-FPN", "resnet101", (800, 1280), "445.9", "67.8", f"{LATERAL}; {R101}"),
            Row("X152-FPN", "resnext152-32x8d", (800, 1280), "784.3", "142.6", LATERAL),
        ),
        constant=True,
    ),
    Section(
        "Paper v1, Table 6, ImageNet (1001 classes)",
        "classifier",
        1001,
        (
            Row("SpineNet-49s", "spinenet49s-v1", 224, "2.9", "14.2", V1_FIGURE),
            Row("SpineNet-49", "spinenet49-v1", 224, "4.4", "24.5"),
            Row("SpineNet-96", "spinenet96-v1", 224, "6.6", "38.9"),
            Row("SpineNet-143", "spinenet143", 224, "9.7", "60.5"),
        ),
        constant=True,
    ),
    Section(
        "Paper v1, Table 6, ImageNet, ResNet (1000 classes)",
        "classifier",
        1000,
        (
            Row("ResNet-34", "resnet34", 224, "3.7", "21.8", ONE_DIGIT),
            Row("ResNet-50", "resnet50", 224, "4.1", "25.6"),
            Row("ResNet-101", "resnet101", 224, "7.8", "44.6"),
            Row("ResNet-152", "resnet152", 224, "11.5", "60.2"),
        ),
        constant=True,
    ),
    Section(
        "Paper v1, Table 6, iNaturalist (5089 classes)",
        "classifier",
        5089,
        (
            Row("SpineNet-49s", "spinenet49s-v1", 224, "2.9", "15.2"),
            Row("SpineNet-49", "spinenet49-v1", 224, "4.4", "25.5"),
            Row("SpineNet-96", "spinenet96-v1", 224, "6.6", "40.0"),
            Row("SpineNet-143", "spinenet143", 224, "9.7", "61.6"),
            Row("ResNet-34", "resnet34", 224, "3.7", "23.9", ONE_DIGIT),
            Row("ResNet-50", "resnet50", 224, "4.1", "33.9"),
            Row("ResNet-101", "resnet101", 224, "7.8", "52.9"),
            Row("ResNet-152", "resnet152", 224, "11.5", "68.6"),
        ),
        constant=True,
    ),
    Section(
        "Paper v1, Table 9, on-device RetinaNet (91 classes)",
        "retinanet",
        91,
        (
            Row("SpineNet-49xxs (MBConv)", "spinenet49xxs-mobile-v1", 256, "0.16", "0.85"),
            Row("SpineNet-49xs (MBConv)", "spinenet49xs-mobile-v1", 384, "0.52", "1.01", f"{BATCH_NORM}; {ONE_DIGIT}"),
            Row("SpineNet-49s (MBConv)", "spinenet49s-mobile-v1", 384, "0.67", "1.34", BATCH_NORM),
            Row("SpineNet-49 (MBConv)", "spinenet49-mobile-v1", 384, "0.97", "2.28", BATCH_NORM),
        ),
    ),
    Section(
        "Paper v1, Table 10, ResNeXt (90 classes)",
        "retinanet",
        90,
        (
            Row("SpineNet-49 (X-32x4)", "spinenet49-resnext32x4d-v1", 640, "91.8", "30.0"),
            Row("SpineNet-49 (X-32x8)", "spinenet49-resnext32x8d-v1", 640, "111.9", "46.1"),
            Row("SpineNet-49", "spinenet49-v1", 640, "92.8", "30.9"),
        ),
        constant=True,
    ),
)

# Figures that the paper quotes: table, model, size, FLOPs in billions, parameters in millions, why not counted here.
YOLO, AMOEBA = "its detector is not RetinaNet", "AmoebaNet cells are not implemented"
SSD, LITE = "SSDLite is not implemented", "the separable necks and heads of FPNLite are not implemented"
HRNET = "Faster R-CNN of another codebase, with 512 proposals"
QUOTED = (
    ("2", "YOLOv3 DarkNet-53", "608", "70.3", "", YOLO),
    ("2", "AmoebaNet-FPN", "1280", "655.5", "114.4", AMOEBA),
    ("2", "AmoebaNet-NAS-FPN", "1280", "1316.5", "166.5", AMOEBA),
    ("5", "HRNetV2-W18, Faster R-CNN", "800x1200", "170.8", "26.2", HRNET),
    ("5", "HRNetV2-W32, Faster R-CNN", "800x1200", "263.4", "45", HRNET),
    ("9", "MobileNetV3-Small-SSDLite", "", "0.16", "1.77", SSD),
    ("9", "MobileNetV3-SSDLite", "", "0.51", "3.22", SSD),
    ("9", "MobileNetV2-SSDLite", "", "0.8", "4.3", SSD),
    ("9", "MnasNet-A1-SSDLite", "", "0.8", "4.9", SSD),
    ("9", "MobileNetV2-NAS-FPNLite (3 @48)", "", "0.76", "2.16", LITE),
    ("9", "MobileNetV2-NAS-FPNLite (7 @64)", "", "0.98", "2.62", LITE),
    ("9", "MobileNetV2-FPNLite", "", "1.01", "2.2", LITE),
)

INTRODUCTION = """# Published numbers compared with ours

Every number of parameters and FLOPs in paper v1 (Tables 2, 3, 5, 6, 9, 10) and in the later release, next to ours
for every model that can be built here. Figures that the paper quotes from other authors are at the end. This file is
generated by `python benchmarks/published_table.py`, from the architectures alone; the results equal PyTorch's own
counters. As in the paper, FLOPs are multiply-adds, in billions (B). Ours count convolutions and dense layers; the
published ones also count batch norm and activations, about 0.1 %. Parameters are the trainable ones, in millions (M).
`spinet show NAME --image-size SIZE --head HEAD` prints the costs of a SpineNet part by part;
`benchmarks/resnet_cost.py` counts ResNets.
"""

V1_NOTE = """The models of paper v1 differ from those of the release. Their parameters follow from one difference:
`alpha` narrows only connections that start at a bottleneck block, and not those from level 2 to level 2
(`alpha_rule="v1"`, names that end in `-v1`). Their FLOPs exceed ours by a constant, about 5.4 B at 640 px and
proportional to the image area, independent of width, depth, block kind and task. It is not in the parameters, and its
cause is unknown. The last column gives this remainder, scaled to 640 px. ResNet-FPN and NAS-FPN have none."""


def count(row: Row, section: Section) -> Cost:
    """Return our cost for a row."""
    if row.name == NAS_FPN_384:
        return _count_baseline(Baseline(body="resnet50", neck="nas-fpn", channels=384, head_channels=384), row, section)
    if row.name in SHAPES:
        if section.head == "classifier":
            return classifier_cost(row.name, row.size, section.classes)
        return mask_rcnn_cost(row.name, row.size, section.classes)
    network = load_network(row.name)
    if isinstance(network, Baseline):
        return _count_baseline(network, row, section)
    return model_cost(network, row.size, section.head, section.classes)


def _count_baseline(baseline: Baseline, row: Row, section: Section) -> Cost:
    with torch.device("meta"):
        model = create_retinanet(baseline, section.classes).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.empty(1, 3, *_sides(row), device="meta"))
    return Cost(count_parameters(model), counter.get_total_flops() // 2)


def difference(ours: float, published: str) -> float:
    """Return the relative difference to the published figure; 0 if none was published."""
    return ours / float(published) - 1 if published else 0.0


def remainder(row: Row, giga: float) -> float:
    """Return the published FLOPs minus ours, in billions, scaled to 640 px."""
    height, width = _sides(row)
    return (float(row.flops) - giga) * 640 * 640 / (height * width)


def is_permuted(row: Row) -> bool:
    """Whether a row is a scale-permuted network rather than a baseline."""
    return not row.name.startswith("resne")


def _sides(row: Row) -> tuple[int, int]:
    return (row.size, row.size) if isinstance(row.size, int) else row.size


def _line(row: Row, section: Section) -> str:
    cost = count(row, section)
    giga, million = cost.multiply_adds / 1e9, cost.parameters / 1e6
    size = str(row.size) if isinstance(row.size, int) else "x".join(map(str, row.size))
    cells = [row.label, f"`{row.name}`", size]
    for ours, published in ((giga, row.flops), (million, row.parameters)):
        digits = 3 if ours < 10 else 2
        shown = f"{difference(ours, published):+.2%}" if published else ""
        cells += [published, f"{ours:.{digits}f}", shown.replace("%", " %")]
    notes = [row.reason]
    if section.constant and is_permuted(row) and row.flops:
        notes.insert(0, f"{remainder(row, giga):+.1f} B at 640")
    cells.append("; ".join(note for note in notes if note))
    return "| " + " | ".join(cells) + " |"


def _budgets() -> str:
    """Bound the cost of the models whose connections were never published."""
    lines = ["## Paper v1, Table 3, connections never published (90 classes, 640)\n"]
    lines.append(
        "Only the blocks of R35-SP18, R23-SP30 and R14-SP39 were published (`spinet.arch.budgets`); ours counts"
    )
    lines.append("blocks, stem, endpoints and heads without any connection.\n")
    lines.append("| model | published B | without connections | published M | without connections |")
    lines.append("|---|---|---|---|---|")
    for name, flops, parameters in (
        ("r35-sp18", "91.7", "25.7"),
        ("r23-sp30", "96.5", "28.7"),
        ("r14-sp39", "99.7", "29.1"),
        ("r0-sp53", "102.7", "29.5"),
    ):
        parts = model_parts(Architecture(BUDGETS[name].chain(), Scaling()), 640, "retinanet", 90)
        cost = total(part.cost for part in parts if part.kind != "connection")
        giga, million = cost.multiply_adds / 1e9, cost.parameters / 1e6
        lines.append(f"| {name.upper()} | {flops} | {giga:.2f} | {parameters} | {million:.2f} |")
    return "\n".join(lines)


def _fixed_orderings() -> str:
    """Count models of the papers without published figures."""
    lines = ["## Models of the papers without published counts (91 classes, 640)\n"]
    lines.append("| model | name | B | M |")
    lines.append("|---|---|---|---|")
    for label, name in (
        ("Hourglass, chain", "hourglass"),
        ("Fish, chain", "fish"),
        ("SpineNet-49S as released", "spinenet49s"),
        ("SpineNet-143L", "spinenet143l"),
        ("R0-SP53+, released connections", "r0-sp53-plus"),
        ("ResNeXt 32x4d, released connections", "spinenet49-resnext32x4d"),
        ("ResNeXt 32x8d, released connections", "spinenet49-resnext32x8d"),
    ):
        cost = model_cost(load_architecture(name), 640)
        lines.append(f"| {label} | `{name}` | {cost.multiply_adds / 1e9:.2f} | {cost.parameters / 1e6:.3f} |")
    for label, name, size in (
        ("SpineNet-49S (MBConv), 384", "spinenet49s-mobile", 384),
        ("SpineNet-49XS (MBConv), 256", "spinenet49xs-mobile", 256),
    ):
        cost = model_cost(load_architecture(name), size)
        lines.append(f"| {label} | `{name}` | {cost.multiply_adds / 1e9:.3f} | {cost.parameters / 1e6:.3f} |")
    return "\n".join(lines)


def _quoted() -> str:
    """List the quoted figures."""
    lines = ["## Quoted by the paper from other authors, not built here\n"]
    lines.append("| table of v1 | model | size | published B | published M | reason |")
    lines.append("|---|---|---|---|---|---|")
    lines += ["| " + " | ".join(row) + " |" for row in QUOTED]
    return "\n".join(lines)


def render() -> str:
    """Return the whole document."""
    head = "| model | name | size | published B | ours | | published M | ours | | note |\n" + "|---" * 10 + "|"
    parts = [INTRODUCTION]
    for section in SECTIONS:
        if section.title.startswith("Paper v1, Table 2"):
            parts.append(V1_NOTE + "\n")
        parts.append(f"## {section.title}\n\n{head}\n" + "\n".join(_line(row, section) for row in section.rows) + "\n")
    parts += [_budgets() + "\n", _fixed_orderings() + "\n", _quoted()]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the document, or check that it is current."""
    text = render()
    if "--check" in sys.argv:
        raise SystemExit(
            0 if FILE.read_text() == text else f"{FILE} is out of date; run python benchmarks/published_table.py"
        )
    FILE.write_text(text)


if __name__ == "__main__":
    main()
