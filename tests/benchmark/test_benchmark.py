import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_models import tiny_weights
from torch import nn

from spinet import extras
from spinet.benchmark.benchmark import benchmark
from spinet.benchmark.cases import Subject, synthetic_images
from spinet.benchmark.ceilings import (
    MEMORY,
    REPEATS,
    STAGE,
    _torch_products,
    fastest,
    matrix_ceilings,
    memory_ceiling,
)
from spinet.benchmark.options import BenchmarkOptions
from spinet.benchmark.peers import create_peer, peer_names
from spinet.benchmark.report import BenchmarkReport, Spread
from spinet.benchmark.train import benchmark_training, make_targets
from spinet.benchmark.work import count_work, peak_memory
from spinet.engine.machine import describe_machine
from spinet.errors import SpinetError
from spinet.nas.constraints import LatencyTable
from spinet.timing import Clock, interleave

CPU = torch.device("cpu")
SMALL = {"image_size": 64, "classes": 3, "rounds": 2, "warm_up": 0, "ceiling_side": 32, "ceiling_numbers": 4096}
PEER = "torchvision/retinanet_resnet50_fpn"


@pytest.fixture(scope="module")
def report() -> BenchmarkReport:
    return benchmark(["tiny", "spinenet49-quarter"], BenchmarkOptions(**SMALL), CPU)


@pytest.mark.slow
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_a_median_lies_between_its_quartiles(values):
    spread = Spread.of(values)
    assert min(values) - 1e-6 <= spread.low <= spread.median <= spread.high <= max(values) + 1e-6
    assert spread.runs == len(values)


def test_runs_take_turns_and_warm_up_rounds_do_not_count():
    order: list[str] = []

    def run(name: str, seconds: float):
        return lambda: order.append(name) or {"all": seconds}

    done: list[int] = []
    times = interleave({"a": run("a", 1.0), "b": run("b", 2.0)}, rounds=2, warm_up=1, progress=done.append)
    assert "".join(order) == "ababab"
    assert times == {"a": {"all": [1.0, 1.0]}, "b": {"all": [2.0, 2.0]}}
    assert done == [1, 2, 3]


def test_the_stages_of_a_run_add_up_to_all_of_it():
    clock = Clock(CPU)
    clock.start()
    for stage in ("pre", "network", "network", "post"):
        clock.lap(stage)
    stages = clock.total("pipeline")
    assert list(stages) == ["pipeline", "pre", "network", "post"]
    assert stages["pipeline"] == pytest.approx(sum(stages.values()) - stages["pipeline"])


def test_work_is_the_multiply_adds_of_a_convolution_and_the_bytes_of_its_tensors():
    conv = nn.Conv2d(2, 4, 3, padding=1)
    images = torch.zeros(1, 2, 8, 8)
    with torch.no_grad():
        work = count_work(lambda: conv(images).relu())
    assert work.macs == 9 * 2 * 4 * 64
    assert work.bytes == 4 * (images.numel() + 9 * 2 * 4 + 4 + 4 * 64)


def test_what_a_run_allocates_is_its_peak_memory():
    peak = peak_memory(lambda: torch.ones(2**24), CPU)
    assert peak is None or 0.8 * 2**26 < peak < 2 * 2**26


@pytest.mark.slow
def test_a_fused_network_executes_no_more_than_the_architecture_counts(report):
    for line in report.lines:
        assert line.work_macs is not None
        assert line.macs is not None
        assert 0.9 * line.macs < line.work_macs <= line.macs


@pytest.mark.slow
def test_every_number_of_a_report_is_positive_and_medians_lie_between_quartiles(report):
    assert [line.name for line in report.lines] == ["tiny", "spinenet49-quarter"]
    assert {"fp32, torch.mm", "fp32, torch convolution", MEMORY} <= set(report.ceilings)
    assert all(rate > 0 for rate in report.ceilings.values())
    for line in report.lines:
        assert set(line.stages) == {"pipeline", "pre", "network", "post"}
        assert all(0 < spread.low <= spread.median <= spread.high for spread in line.stages.values())
        assert line.stages["network"].high <= line.stages["pipeline"].high
        assert line.images_per_second == pytest.approx(1000 / line.stages["pipeline"].median)
        assert line.share == pytest.approx(line.macs_per_second / report.ceilings[fastest("fp32", report.ceilings)])
    assert report.lines[0].ratio == Spread(1.0, 1.0, 1.0, 2)
    assert report.lines[1].ratio.median > 0


def test_a_report_comes_back_from_its_file_and_says_where_it_was_measured(report, tmp_path):
    report.write(tmp_path / "results" / "x.json")
    again = BenchmarkReport.from_json((tmp_path / "results" / "x.json").read_text(), "x.json")
    assert again == report
    assert again.machine["versions"]["torch"] == torch.__version__.split("+")[0]
    assert {"cpu", "commit", "load_average", "load_average_after", "threads"} <= set(again.machine)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lines": [1]}', '{"lines": [{"stages": {}}]}'])
def test_a_file_that_is_no_benchmark_is_one_sentence(text):
    with pytest.raises(SpinetError, match=r"x\.json is not a benchmark report"):
        BenchmarkReport.from_json(text, "x.json")


def test_threads_are_as_before_after_a_benchmark(report, pytestconfig):
    threads = pytestconfig.getoption("threads")
    assert torch.get_num_threads() == threads
    assert describe_machine(CPU)["threads"] == threads


@pytest.mark.slow
@pytest.mark.parametrize("head", ["faster-rcnn", "classifier"])
def test_other_heads_are_measured_too(head):
    report = benchmark(["tiny"], BenchmarkOptions(**SMALL | {"head": head, "rounds": 1}), CPU)
    assert report.lines[0].stages["network"].median > 0


@pytest.mark.slow
def test_torchvision_is_measured_in_pytorch_whatever_runs_the_others():
    options = BenchmarkOptions(**SMALL, backends=("onnxruntime",), against=PEER)
    ours, peer = benchmark(["tiny", PEER], options, CPU).lines
    assert (ours.backend, peer.backend, peer.precision) == ("onnxruntime", "eager", "fp32")
    assert set(ours.stages) == {"pipeline", "pre", "file", "network"}
    assert peer.ratio.median == 1.0
    assert ours.ratio.median > 0
    assert peer.work_macs == peer.macs


@pytest.mark.slow
@pytest.mark.usefixtures("openvino_in_bf16")
def test_openvino_runs_in_all_precisions_beside_its_own_ceilings(tmp_path):
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "image.png")
    options = BenchmarkOptions(
        **SMALL, backends=("openvino",), precisions=("fp32", "bf16", "int8"), calibration=tmp_path
    )
    report = benchmark(["tiny"], options, CPU)
    assert [line.ceiling for line in report.lines] == [
        fastest(precision, report.ceilings) for precision in options.precisions
    ]
    assert report.lines[2].ceiling == "int8, OpenVINO"
    assert all(line.share is not None and line.share > 0 for line in report.lines)


def test_ceilings_are_counted_in_multiply_adds_and_bytes():
    memory = memory_ceiling(CPU, numbers=1000)
    assert memory.amount == REPEATS * 12_000
    assert memory.run()[STAGE] > 0
    products = list(matrix_ceilings("fp32", CPU, 1, side=16))
    assert {product.name for product in products} >= {"fp32, torch.mm", "fp32, torch convolution"}
    for product in products:
        assert product.amount == REPEATS * 16**3
        assert product.run()[STAGE] > 0


def test_a_product_as_a_convolution_is_the_product():
    products = _torch_products(8, torch.float32, CPU)
    torch.testing.assert_close(products["torch convolution"]()[0, :, :, 0].T, products["torch.mm"]())


def test_synthetic_images_are_larger_than_what_the_network_sees():
    subject = Subject.load("tiny", BenchmarkOptions(**SMALL))
    images = synthetic_images(2, 64)
    assert [tuple(image.shape) for image in images] == [(3, 80, 80)] * 2
    assert subject.batch(images, CPU).shape == (2, 3, 64, 64)


@pytest.mark.slow
def test_a_training_step_has_three_stages_and_loading_stands_beside_decoding(digits):
    options = BenchmarkOptions(**SMALL | {"batch_size": 2})
    step, decoding, batches = benchmark_training(["tiny"], options, CPU, str(digits)).lines
    assert set(step.stages) == {"step", "forward", "backward", "update"}
    assert step.work_macs > 2 * 2 * step.macs
    assert decoding.name.startswith("decoding of")
    assert batches.images_per_second > 0
    assert step.images == batches.images == 2


@pytest.mark.parametrize("head", ["retinanet", "mask-rcnn", "classifier"])
def test_synthetic_targets_fit_the_image_and_the_head(head):
    options = BenchmarkOptions(**SMALL | {"head": head, "batch_size": 2})
    targets = make_targets(options, head == "mask-rcnn", CPU)
    assert ("masks" in targets) == (head == "mask-rcnn")
    assert int(targets["labels"].max()) < 3
    if head != "classifier":
        assert bool((targets["boxes"][..., 2:] > targets["boxes"][..., :2]).all())
        assert 0 <= float(targets["boxes"].min()) <= float(targets["boxes"].max()) <= 64


@pytest.mark.slow
def test_torchvision_trains_in_the_same_run():
    lines = benchmark_training(["tiny", PEER], BenchmarkOptions(**SMALL | {"batch_size": 2}), CPU).lines
    assert lines[1].ratio.median > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_size": 0}, "image_size is 0"),
        ({"rounds": 0}, "rounds is 0"),
        ({"threads": -1}, "threads is -1; it must be at least 0"),
        ({"backends": ("openvno",)}, "openvino"),
        ({"precisions": ("fp16",)}, "fp16"),
        ({"precisions": ("int8",)}, "eager cannot run int8; use openvino"),
        ({"head": "none"}, "head 'none'"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(settings, words):
    with pytest.raises(SpinetError, match=words):
        BenchmarkOptions(**settings)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "nothing to measure; name architectures"),
        (["spinenet94"], "spinenet9"),
        (["torchvision/retinanet"], "retinanet_resnet50_fpn"),
        (["missing.onnx"], r"there is no exported file missing\.onnx"),
    ],
)
def test_names_that_cannot_be_measured_are_one_sentence(names, words):
    with pytest.raises(SpinetError, match=words):
        benchmark(names, BenchmarkOptions(**SMALL), CPU)


@pytest.mark.slow
def test_a_network_to_compare_with_has_to_take_part():
    with pytest.raises(SpinetError, match="tiny-like"):
        benchmark(["tiny"], BenchmarkOptions(**SMALL, against="tiny-like"), CPU)


@pytest.mark.slow
def test_int8_without_calibration_images_is_one_sentence():
    options = BenchmarkOptions(**SMALL, backends=("openvino",), precisions=("int8",))
    with pytest.raises(SpinetError, match="set calibration to their folder"):
        benchmark(["tiny"], options, CPU)


def test_a_backend_without_its_package_names_the_extra(monkeypatch):
    def missing(module: str):
        raise ImportError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(SpinetError, match=r"pip install 'spinet\[export\]'"):
        benchmark(["tiny"], BenchmarkOptions(**SMALL, backends=("onnxruntime",)), CPU)


def test_what_cannot_train_is_refused():
    with pytest.raises(SpinetError, match="openvino cannot train"):
        benchmark_training(["tiny"], BenchmarkOptions(**SMALL, backends=("openvino",)), CPU)
    with pytest.raises(SpinetError, match="an exported file, which cannot be trained"):
        benchmark_training(["model.onnx"], BenchmarkOptions(**SMALL), CPU)
    with pytest.raises(SpinetError, match="nothing to measure"):
        benchmark_training([], BenchmarkOptions(**SMALL), CPU)


def test_peers_are_detectors_whose_images_may_be_of_any_size():
    assert PEER in peer_names()
    assert not any("ssd" in name for name in peer_names())
    with pytest.raises(SpinetError):
        create_peer("torchvision/ssd300_vgg16", 3, 64)


@pytest.mark.slow
def test_the_command_prints_a_table_or_json_and_writes_a_file(spinet, tmp_path, monkeypatch):
    monkeypatch.setattr("spinet.benchmark.ceilings.SIDES", {"cpu": 32})
    monkeypatch.setattr("spinet.benchmark.ceilings.NUMBERS", {"cpu": 4096})
    words = ("benchmark", "tiny", "--image-size", "64", "--classes", "3", "--rounds", "1", "--warm-up", "0")
    file = tmp_path / "x.json"
    _, shown, _ = spinet(*words, "--out", file)
    assert "ceiling, fp32, torch.mm" in shown
    assert "tiny" in shown
    assert BenchmarkReport.from_json(file.read_text(), "x").lines[0].name == "tiny"
    assert json.loads(spinet(*words, "--json")[1])["lines"][0]["name"] == "tiny"


def test_the_help_names_no_head_that_would_be_refused_and_no_empty_default(spinet):
    _, shown, _ = spinet("benchmark", "--help")
    assert "--head {retinanet," in shown
    assert "(default: )" not in shown


@pytest.mark.slow
def test_blocks_are_measured_as_the_table_that_a_search_reads(spinet, tmp_path):
    file = tmp_path / "blocks.json"
    _, shown, _ = spinet(
        "benchmark", "tiny", "--blocks", "--image-size", 64, "--classes", 3, "--rounds", 1, "--out", file
    )
    assert "the sum of its parts" in shown
    assert LatencyTable.load(file).image_size == 64


@pytest.mark.slow
@pytest.mark.parametrize("head", ["retinanet", "mask-rcnn", "classifier"])
def test_a_run_is_trained_on_its_own_head_and_classes_whatever_the_options_are(tmp_path, head):
    run = tiny_weights(tmp_path / "run" / "best.safetensors", head).parent
    options = BenchmarkOptions(**SMALL | {"head": "faster-rcnn", "classes": 91, "batch_size": 2})

    report = benchmark_training([str(run)], options, CPU)

    assert report.lines[0].stages["backward"].median > 0


def test_a_batch_too_small_to_train_on_is_one_sentence():
    with pytest.raises(SpinetError, match="batch norm needs more than one value per channel"):
        benchmark_training(["spinenet49-quarter"], BenchmarkOptions(**SMALL), CPU)


@pytest.mark.parametrize("option", [("--backend", "openvino"), ("--batch-size", "2"), ("--precision", "bf16")])
def test_options_that_a_table_of_blocks_would_not_heed_are_refused(spinet, tmp_path, option):
    code, _, error = spinet("benchmark", "tiny", "--blocks", "--out", tmp_path / "b.json", *option)

    assert code == 1
    assert "are for whole models" in error
