"""GPU benchmark: latencies compared with the paper's, throughput, training, and host-device synchronization.

The paper's latencies are of whole pipelines on a V100 (Table 4). `--smoke` runs everything at tiny sizes, also on
CPUs.

usage: python benchmarks/gpu.py OUT [--device cuda] [--data.root DIR] [--rounds R] [--smoke]
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from spinet.benchmark.benchmark import benchmark, measure_cases
from spinet.benchmark.cases import Case, Subject
from spinet.benchmark.options import BenchmarkOptions
from spinet.benchmark.report import BenchmarkReport
from spinet.benchmark.train import benchmark_training, make_targets
from spinet.commands.benchmark import print_report
from spinet.data.device_augment import RawImages
from spinet.data.transforms import IMAGE_STD, TrainTransform
from spinet.engine.config import OptimConfig
from spinet.engine.distributed import pick_device
from spinet.engine.machine import describe_machine
from spinet.engine.optim import create_optimizer
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.timing import Run, finish, timed

PEER = "torchvision/retinanet_resnet50_fpn"
# Milliseconds of SpineNet's RetinaNets on a V100 at batch 1 (paper, Table 4).
PAPER = {("spinenet49s", 640): 11.7, ("spinenet49", 640): 15.3, ("spinenet49", 896): 34.3}


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        latencies: models and image sizes at batch size 1.
        networks: compared with torchvision's in throughput and training.
        size: of their images, pixels.
        throughput: its batch size.
        training: images per step.
        options: common ones.
    """

    latencies: tuple[tuple[str, int], ...]
    networks: tuple[str, ...]
    size: int
    throughput: int
    training: int
    options: BenchmarkOptions


FULL = Plan(tuple(PAPER), ("spinenet49s", "spinenet49"), 640, 32, 16, BenchmarkOptions())
SMOKE = Plan((("tiny", 64),), ("tiny",), 64, 2, 2, BenchmarkOptions(classes=3, ceiling_side=64, ceiling_numbers=2**12))


def main(
    out: tyro.conf.Positional[Path],
    device: str = "auto",
    root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
    rounds: int = 50,
    smoke: bool = False,
) -> None:
    """Measure everything and write OUT after each part, so that a failing part does not lose the others.

    Args:
        out: JSON file to write.
        device: `auto` takes the GPU if there is one.
        root: Dataset folder, to measure loading as well.
        rounds: Measured runs per model.
        smoke: Tiny sizes, to check that everything runs.
    """
    chosen = pick_device(device)
    plan = SMOKE if smoke else FULL
    plan = replace(plan, options=replace(plan.options, rounds=rounds))
    results: dict[str, Any] = {"machine": describe_machine(chosen)}
    for name, part in parts(plan, chosen, root, smoke).items():
        print(f"== {name}", flush=True)
        try:
            result = part()
        except (SpinetError, RuntimeError) as error:
            result = {"error": str(error).strip().splitlines()[0]}
        if isinstance(result, BenchmarkReport):
            print_report(result)
            result = json.loads(result.to_json())
        else:
            print(json.dumps(result), flush=True)
        results[name] = result
        write_atomically(out, json.dumps(results, indent=1) + "\n")


def parts(plan: Plan, device: torch.device, root: str, smoke: bool) -> dict[str, Callable[[], Any]]:
    """Return the measurements by name."""
    # On GPUs compiled models run as CUDA graphs. Compiling takes a CPU minutes, too long for a smoke test.
    both = replace(plan.options, backends=("eager",) if smoke else ("eager", "compile"), precisions=("bf16",))
    batches = replace(both, image_size=plan.size, batch_size=plan.throughput)
    steps = replace(both, image_size=plan.size, batch_size=plan.training)
    names = [*plan.networks, PEER]
    latency = {
        f"latency of {name} at {size}, paper {PAPER.get((name, size), '-')} ms": lambda name=name, size=size: benchmark(
            [name], replace(both, image_size=size, precisions=("fp32", "bf16")), device
        )
        for name, size in plan.latencies
    }
    return {
        **latency,
        "throughput": lambda: benchmark(names, batches, device),
        "training": lambda: benchmark_training(names, steps, device, root),
        "optimiser": lambda: measure_cases(optimisers(plan, device), plan.options, device),
        "augmentation": lambda: measure_cases(augmentations(plan, device), plan.options, device),
        "augmentation does not wait for the host": lambda: augmentation_without_waiting(plan, device),
        "losses do not wait for the host": lambda: losses_without_waiting(plan, device),
    }


def optimisers(plan: Plan, device: torch.device) -> list[Case]:
    """Return weight updates of a model: one by one, with foreach, and in a fused kernel."""
    model = Subject.load(plan.networks[0], replace(plan.options, image_size=plan.size)).model.to(device)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    groups = create_optimizer(model, OptimConfig()).param_groups
    kinds = {"one by one": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
    cases = []
    for name, kind in kinds.items():
        weights = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups]
        optimizer = torch.optim.SGD(weights, lr=0.0, momentum=0.9, **kind)
        run = timed("update", optimizer.step, device)
        cases.append(Case(f"SGD {name}", "eager", "fp32", run, 1, whole="update", core="update"))
    return cases


def augmentations(plan: Plan, device: torch.device) -> list[Case]:
    """Return the augmentation of a decoded training batch, by a worker and by the device."""
    raw = raw_batch(plan, 0.0)

    def render(target: torch.device) -> Run:
        return timed("render", lambda: raw.to(target, non_blocking=True), target)

    targets = {"a worker": torch.device("cpu"), "the device": device}
    return [
        Case(f"rendered by {name}", "loader", "fp32", render(target), plan.training, whole="render", core="render")
        for name, target in targets.items()
    ]


def raw_batch(plan: Plan, colour_jitter: float) -> RawImages:
    """Generate images of COCO's usual shape, pinned if there is a GPU, with their random augmentations."""
    torch.manual_seed(0)
    transform = TrainTransform(plan.size, colour_jitter=colour_jitter)
    height, width = 3 * plan.size // 4, plan.size
    pairs = []
    for _ in range(plan.training):
        image = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8).permute(2, 0, 1)
        pairs.append(transform.place((height, width), torch.zeros(0, 4))[0].reduce(image))
    raw = RawImages.of(*zip(*pairs, strict=True))
    return raw.pin_memory() if torch.cuda.is_available() else raw


def augmentation_without_waiting(plan: Plan, device: torch.device) -> dict[str, Any]:
    """Augment with an error wherever the host would wait for the GPU; return the differences from the CPU."""
    differences: dict[str, Any] = {"checked": device.type == "cuda"}
    for jitter in (0.0, 0.4):
        raw = raw_batch(plan, jitter)
        with no_waiting(device):
            images = raw.to(device, non_blocking=True)
        # In gray levels, 0-255.
        levels = 255 * torch.tensor(IMAGE_STD).view(3, 1, 1) * (images.cpu() - raw.to(torch.device("cpu"))).abs()
        differences[f"colour jitter {jitter}"] = {
            "most levels": round(float(levels.max())),
            "share that differs": float((levels > 0.5).float().mean()),
        }
    return differences


def losses_without_waiting(plan: Plan, device: torch.device) -> dict[str, Any]:
    """Compute losses and gradients with an error wherever the host would wait for the GPU."""
    options = replace(plan.options, image_size=plan.size, batch_size=plan.training)
    model: Any = Subject.load(plan.networks[0], options).model.to(device).train()
    images = torch.randn(plan.training, 3, plan.size, plan.size, device=device)
    targets = make_targets(options, False, device)
    # Anchors are copied to the GPU once per image size.
    losses = model.losses(images, targets)
    with no_waiting(device):
        losses = model.losses(images, targets)
        torch.stack(list(losses.values())).sum().backward()
    finish(device)
    return {"checked": device.type == "cuda", "losses": {name: float(value.detach()) for name, value in losses.items()}}


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """Make PyTorch raise where the host waits for a GPU; does nothing on CPUs."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


if __name__ == "__main__":
    tyro.cli(main)
