import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_genotypes import genotypes
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from spinet.arch.block_spec import EXPANSION, BlockSpec
from spinet.arch.budgets import BUDGETS
from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.arch.cost import BLOCK_COSTS, Cost, backbone_cost, backbone_parts, total
from spinet.arch.genotype import Genotype
from spinet.arch.head_cost import HEADS, model_cost, model_parts
from spinet.arch.scaling import Scaling
from spinet.arch.variants import damage
from spinet.draw.routes import edges_of
from spinet.errors import SpinetError
from spinet.models.backbone import BLOCKS, SpineNet
from spinet.models.blocks import count_parameters
from spinet.models.factory import create_retinanet

TINY = load_architecture("tiny")
SPINENET49 = load_architecture("spinenet49")


def counted_by_torch(model: nn.Module, height: int, width: int, in_channels: int = 3) -> Cost:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.empty(1, in_channels, height, width, device="meta"))
    assert counter.get_total_flops() % 2 == 0
    return Cost(count_parameters(model), counter.get_total_flops() // 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_detectors_of_the_catalogue_cost_exactly_what_pytorch_counts(name):
    architecture = load_architecture(name)
    with torch.device("meta"):
        model = create_retinanet(architecture, num_classes=91)

    assert model_cost(architecture, 640) == counted_by_torch(model, 640, 640)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "spinenet49s-mobile"])
def test_detectors_cost_what_pytorch_counts_after_padding_the_image(name):
    architecture = load_architecture(name)
    with torch.device("meta"):
        model = create_retinanet(architecture, num_classes=7)

    assert model_cost(architecture, (250, 333), num_classes=7) == counted_by_torch(model, 250, 333)


@pytest.mark.slow
def test_other_anchors_than_nine_per_location_cost_what_pytorch_counts():
    with torch.device("meta"):
        model = create_retinanet(TINY, num_classes=7, octaves=2, aspect_ratios=(1.0,))

    assert model_cost(TINY, 64, num_classes=7, anchors=2) == counted_by_torch(model, 64, 64)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    genotype=genotypes(),
    repeats=st.integers(1, 2),
    family=st.sampled_from(["spinenet", "mobile"]),
    alpha_rule=st.sampled_from(["all", "v1"]),
    same_level_conv=st.booleans(),
    size=st.tuples(st.integers(33, 300), st.integers(33, 300)),
)
def test_any_backbone_costs_exactly_what_pytorch_counts(genotype, repeats, family, alpha_rule, same_level_conv, size):
    scaling = Scaling(
        width=0.25, repeats=repeats, family=family, alpha_rule=alpha_rule, same_level_conv=same_level_conv
    )
    architecture = Architecture(genotype, scaling)
    with torch.device("meta"):
        backbone = SpineNet(genotype, scaling)

    assert backbone_cost(architecture, size) == counted_by_torch(backbone, *size)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["short", "long", "sequential"])
def test_damaged_graphs_that_keep_their_merges_cost_what_pytorch_counts_and_draw_them(how):
    genotype = damage(SPINENET49.genotype, how, "keep")
    architecture = replace(SPINENET49, genotype=genotype)
    with torch.device("meta"):
        backbone = SpineNet(genotype, SPINENET49.scaling)

    assert backbone.blocks["14"].direct == (11,)
    assert backbone_cost(architecture, 128) == counted_by_torch(backbone, 128, 128)
    assert [(edge.source, edge.target) for edge in edges_of(genotype) if edge.role == "merge"] == [(11, 14)]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(genotypes(), st.sampled_from(["short", "long", "sequential"]), st.sampled_from(["drop", "keep", "recompute"]))
def test_any_damaged_backbone_costs_exactly_what_pytorch_counts(genotype, how, dangling):
    architecture = Architecture(damage(genotype, how, dangling), Scaling(width=0.25))
    with torch.device("meta"):
        backbone = SpineNet(architecture.genotype, architecture.scaling)

    assert backbone_cost(architecture, 128) == counted_by_torch(backbone, 128, 128)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.sets(st.integers(3, 7), min_size=1))
def test_a_backbone_of_some_levels_costs_exactly_what_pytorch_counts(levels):
    with torch.device("meta"):
        backbone = SpineNet(SPINENET49.genotype, SPINENET49.scaling, levels=sorted(levels))

    assert backbone_cost(SPINENET49, 256, levels) == counted_by_torch(backbone, 256, 256)


@pytest.mark.parametrize("head", HEADS)
def test_parts_sum_to_the_whole(head):
    parts = model_parts(SPINENET49, 640, head, 91)

    assert total(part.cost for part in parts) == model_cost(SPINENET49, 640, head, 91)


def test_every_block_connection_and_endpoint_is_a_separate_part():
    parts = backbone_parts(SPINENET49, 640)

    genotype = SPINENET49.genotype
    assert [part.name for part in parts if part.kind == "stem"] == ["first convolution"]
    assert [part.index for part in parts if part.kind == "block"] == list(range(17))
    assert [(part.source, part.index) for part in parts if part.kind == "connection"] == [
        (parent, index) for index, block in enumerate(genotype.all_blocks) for parent in block.parents
    ]
    assert [part.name for part in parts if part.kind == "endpoint"] == [f"endpoint P{level}" for level in range(3, 8)]


def test_the_parts_of_a_small_graph_cost_what_is_computed_by_hand():
    stem = (BlockSpec(2, "residual"), BlockSpec(2, "residual"))
    genotype = Genotype(stem, (BlockSpec(4, "bottleneck", (0, 1), endpoint=True),))
    architecture = Architecture(genotype, Scaling(width=0.0625, stem_channels=4, endpoint_channels=8))

    parts = {part.name: part.cost for part in backbone_parts(architecture, 64)}

    # Level 2 is 16x16 with 4 channels, level 4 is 4x4 with 16; alpha keeps 2 of 4 channels.
    assert parts == {
        "first convolution": Cost(49 * 3 * 4 + 8, 49 * 3 * 4 * 32 * 32),
        "block 0, level 2 residual": Cost(2 * (9 * 16 + 8), 2 * 9 * 16 * 256),
        "block 1, level 2 residual": Cost(2 * (9 * 16 + 8), 2 * 9 * 16 * 256),
        "connection 0 -> 2": Cost(8 + 4 + 36 + 4 + 128 + 128, 8 * 256 + 36 * 64 + 128 * 16),
        "connection 1 -> 2": Cost(8 + 4 + 36 + 4 + 128 + 128, 8 * 256 + 36 * 64 + 128 * 16),
        "block 2, level 4 bottleneck": Cost(1024 + 32 + 9 * 256 + 32 + 1024 + 128, (1024 + 2304 + 1024) * 16),
        "endpoint P4": Cost(64 * 8 + 16, 64 * 8 * 16),
    }


def test_dead_blocks_cost_nothing():
    dead = BlockSpec(6, "bottleneck", (2, 3))
    genotype = replace(TINY.genotype, blocks=(*TINY.genotype.blocks, dead))

    assert backbone_cost(replace(TINY, genotype=genotype), 128) == backbone_cost(TINY, 128)


@pytest.mark.parametrize(
    ("name", "size", "million", "giga"),
    [
        # Google's code, counted layer by layer, with 3 anchors a place; the last with 9.
        ("spinenet49s", 640, 13.947, 59.7),
        ("spinenet49", 640, 40.754, 215.45),
        ("spinenet96", 1024, 55.185, 314.1),
        ("spinenet143", 1280, 79.170, 497.6),
        ("spinenet190", 1536, 168.22, 1683.6),
    ],
)
def test_mask_rcnn_costs_what_the_released_code_does(name, size, million, giga):
    found = model_cost(load_architecture(name), size, "mask-rcnn")

    assert found.parameters == pytest.approx(million * 1e6, rel=1e-4)
    assert found.multiply_adds == pytest.approx(giga * 1e9, rel=5e-4)


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "giga"),
    [
        ("spinenet49", 1001, 22_089, 3.48),
        ("spinenet96", 1001, 36_520, 5.72),
        ("spinenet143", 1001, 60_505, 9.09),
        ("spinenet190", 1001, 127_101, 19.11),
        ("spinenet49", 5089, 23_139, 3.48),
    ],
)
def test_classifiers_cost_what_the_released_code_does(name, classes, parameters, giga):
    found = model_cost(load_architecture(name), 224, "classifier", classes)

    assert round(found.parameters / 1000) == pytest.approx(parameters, abs=1)
    assert found.multiply_adds == pytest.approx(giga * 1e9, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "million", "giga"),
    [("r35-sp18", 21.9, 86.8), ("r23-sp30", 21.9, 86.8), ("r14-sp39", 21.9, 86.8), ("r0-sp53", 20.4, 83.5)],
)
def test_the_blocks_of_a_budget_without_their_connections_cost_what_was_counted(name, million, giga):
    architecture = Architecture(BUDGETS[name].chain(), Scaling())

    parts = model_parts(architecture, 640, "retinanet", 90)
    blocks = total(part.cost for part in parts if part.kind != "connection")

    assert blocks.parameters == pytest.approx(million * 1e6, rel=5e-3)
    assert blocks.multiply_adds == pytest.approx(giga * 1e9, rel=5e-3)


def test_an_unknown_head_is_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown head 'retinnet', did you mean 'retinanet'"):
        model_cost(TINY, 64, "retinnet")


def test_counting_imports_neither_torch_nor_numpy():
    program = (
        "import sys\n"
        "from spinet.arch.catalog import load_architecture\n"
        "from spinet.arch.head_cost import model_cost\n"
        "model_cost(load_architecture('spinenet49'), 640)\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_kind_of_block_has_an_entry_in_all_three_tables():
    assert BLOCK_COSTS.keys() == EXPANSION.keys() == BLOCKS.keys()
