"""From a genotype to its reward: trains a narrow copy of it briefly and evaluates it on held-out images."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.arch.head_cost import model_cost
from spinet.arch.scaling import Scaling
from spinet.data.coco import CocoDataset
from spinet.data.digest import Digest, digest
from spinet.data.division import open_split
from spinet.doctor.annotations import objects_of, split_findings
from spinet.engine.build import ModelInfo
from spinet.engine.config import TrainConfig
from spinet.engine.evaluate import EvalOptions, mean_loss
from spinet.engine.machine import threads
from spinet.engine.train import SAID, TrainResult, train
from spinet.errors import BuildError, NotFinite, OutOfMemory, SpinetError, first_line, is_out_of_memory
from spinet.formats.splits import Division
from spinet.models.classifier import Classifier
from spinet.nas.proxies import Proxy
from spinet.nas.zero_cost import zero_cost_scores

# Most points of a learning curve.
CURVE_POINTS = 20


@dataclass(frozen=True)
class ProxyTask:
    """A proxy on a dataset and a device: call it with a genotype to train and evaluate that.

    It is small plain data that pickles; the dataset is opened at the first call in a process and kept for the next.

    Args:
        proxy: the training.
        root: dataset folder; its val split is never read.
        division: how to divide a dataset that has none; its val images are never read either.
        run: folder that may have recorded the same division.
        device: `auto`, `cpu`, `cuda` ...
        threads: of the CPU. Results depend on it in their last bits (floating-point order).
        workers: processes that load images; 0 loads in this one, best for cached images.
        zero_cost: whether to record scores of the untrained network, too.
    """

    proxy: Proxy
    root: str
    device: str = "auto"
    threads: int = 1
    workers: int = 0
    zero_cost: bool = True
    division: Division | None = None
    run: Path | None = None

    def __call__(
        self, genotype: Genotype, *, base: Scaling, rung: int, seed: int, accumulate: int = 1
    ) -> dict[str, Any]:
        """Train and evaluate one genotype; the same arguments give the same numbers in every process (CPU).

        Args:
            genotype: the graph.
            base: scaling of its space, of which the proxy takes a narrow copy.
            rung: index of the proxy's budget.
            seed: of weights, order and augmentation.
            accumulate: least number of parts to split a step into, because it did not fit; see `parts_of`.

        Returns:
            `reward`; `AP`, `AP50` and `loss` on the held-out images, unless the reward is the training loss; `curve`,
            the mean loss of each part of the training, at most 20 of equal length, and `train_loss`, that of the last
            part; `seconds` of the whole call; `macs` and `parameters` of the network that was trained; `zero_cost`, the
            scores of `spinet.nas.zero_cost`. Numbers that are not finite are left out.

        Raises:
            BuildError: the network cannot be built.
            OutOfMemory: a step does not fit.
            NotFinite: a loss or the weights, or the reward itself, stopped being numbers.
            SpinetError: the dataset or the settings are invalid.
        """
        started = time.monotonic()
        with threads(self.threads), memory_errors():
            data = self.data()
            config = self.config(rung, seed, accumulate, len(data.train))
            metrics = self.measured(genotype, base, config, data)
        return metrics | {"seconds": time.monotonic() - started}

    def data(self) -> "ProxyData":
        """Return the images to train on and those held out, opened once per process."""
        return open_data(self.root, self.proxy, self.division, self.run)

    def measured(self, genotype: Genotype, base: Scaling, config: TrainConfig, data: "ProxyData") -> dict[str, Any]:
        """Train and evaluate as a call does, with settings and data from outside; `seconds` is missing."""
        info = self.info(genotype, base, data.train)
        evaluate = self.proxy.reward != "train_loss"
        held_out = data.held_out
        result = train(config, None, train_set=data.train, val_set=held_out, info=info, quiet=True, evaluate=evaluate)
        metrics = self._metrics(config, result, held_out if evaluate else None)
        if self.zero_cost:
            device = next(result.model.parameters()).device
            metrics["zero_cost"] = zero_cost_scores(info, data.train, seed=config.seed, device=device)
        architecture = info.architecture
        assert isinstance(architecture, Architecture)
        cost = model_cost(architecture, info.image_size, num_classes=len(info.class_names), anchors=self.proxy.anchors)
        return metrics | {"macs": cost.multiply_adds, "parameters": cost.parameters}

    def config(self, rung: int, seed: int, accumulate: int, images: int) -> TrainConfig:
        """Return the settings of one training on so many images."""
        train, epochs = self.proxy.train, self.proxy.epochs(rung)
        steps = max(1, round(epochs * images / train.batch_size))
        return replace(
            train,
            data=replace(train.data, root=self.root, workers=self.workers),
            optim=replace(train.optim, lr_batch=train.batch_size),
            epochs=epochs,
            accumulate=parts_of(train.batch_size, accumulate),
            # Many short stretches, which `curve` joins to parts of equal length.
            log_steps=max(1, steps // (10 * CURVE_POINTS)),
            seed=seed,
            device=self.device,
            threads=self.threads,
        )

    def info(self, genotype: Genotype, base: Scaling, dataset: CocoDataset) -> ModelInfo:
        """Describe the narrow copy of a genotype that is trained.

        Raises:
            BuildError: it cannot be built.
        """
        try:
            architecture = Architecture(genotype, self.proxy.scaling(base))
        except SpinetError as error:
            raise BuildError(str(error)) from None
        train = self.proxy.train
        return ModelInfo(architecture, train.model, dataset.class_names, dataset.category_ids, train.data.image_size)

    def _metrics(self, config: TrainConfig, result: TrainResult, held_out: CocoDataset | None) -> dict[str, Any]:
        points = curve(result.losses)
        measured = {"train_loss": points[-1]} | (self._evaluated(config, result, held_out) if held_out else {})
        sign = -1 if self.proxy.reward in ("loss", "train_loss") else 1
        reward = sign * measured[self.proxy.reward]
        if not math.isfinite(reward):
            raise NotFinite(f"the reward, {self.proxy.reward}, is not finite: {reward}")
        finite = {name: value for name, value in measured.items() if math.isfinite(value)}
        return {"reward": reward, **finite, "curve": points}

    def _evaluated(self, config: TrainConfig, result: TrainResult, held_out: CocoDataset) -> dict[str, float]:
        assert not isinstance(result.model, Classifier)
        device = next(result.model.parameters()).device
        options = EvalOptions(
            config.data.image_size,
            config.batch_size // config.accumulate,
            device,
            self.workers,
            bf16=config.uses_bf16(device.type),
        )
        loss = mean_loss(result.model, held_out, options)
        return {"AP": result.last["AP"], "AP50": result.last["AP50"], "loss": loss}


def parts_of(batch_size: int, least: int) -> int:
    """Return the fewest equal parts, at least `least`, that a batch can be split into; at most one per image.

    >>> [parts_of(12, least) for least in (1, 2, 5, 8, 16)]
    [1, 2, 6, 12, 12]
    """
    return next((parts for parts in range(least, batch_size) if batch_size % parts == 0), batch_size)


@dataclass(frozen=True)
class ProxyData:
    """The two parts of a training split, and the digest of the whole."""

    train: CocoDataset
    held_out: CocoDataset
    digest: Digest

    def remarks(self) -> list[str]:
        """Return what a training says of the files and annotations before it begins, warnings marked as such."""
        parts = {"train": self.train, "held out": self.held_out}
        findings = [finding for name, part in parts.items() for finding in split_findings(name, part, objects_of(part))]
        kept = [finding for finding in findings if finding.severity != "hint" or finding.check in SAID]
        marks = {"hint": ""}
        return list(dict.fromkeys(marks.get(finding.severity, "warning: ") + finding.text for finding in kept))


@lru_cache(maxsize=2)
def open_data(root: str, proxy: Proxy, division: Division | None = None, run: Path | None = None) -> ProxyData:
    """Return the parts of a train split that a proxy trains on and evaluates on, opened once per process.

    `division` and `run` are as in `open_split`.

    Raises:
        SpinetError: the dataset cannot be read, or a part has no images or no objects.
    """
    whole = _dataset(root, proxy.train.data.cache_images, division, run)
    train, held_out = proxy.split([sample.image_id for sample in whole.samples])
    data = ProxyData(whole.subset(train), whole.subset(held_out), digest(whole, ids=True))
    for setting, part, what in (
        ("held_out", data.held_out, "held out for the reward"),
        ("data_fraction", data.train, "left to train on"),
    ):
        where = f"of the {len(whole)} images in {whole.annotation_file}"
        fraction = f"{setting} {getattr(proxy, setting):.3g} of the proxy {proxy.name}"
        if not len(part):
            raise SpinetError(f"{where}, none is {what}: {fraction} is too small")
        if not any(len(sample.labels) for sample in part.samples):
            raise SpinetError(
                f"{where}, {len(part)} are {what} and none of them has an object: change {fraction}, or split_seed"
            )
    return data


@lru_cache(maxsize=1)
def _dataset(root: str, cache_images: bool, division: Division | None, run: Path | None) -> CocoDataset:
    return open_split(lambda part: CocoDataset(Path(root), part, cache_images), "train", division, run)


def curve(losses: tuple[tuple[int, float], ...], points: int = CURVE_POINTS) -> list[float]:
    """Join stretches (last step, mean loss) into at most `points` parts of nearly equal length; return their means.

    >>> curve(((2, 4.0), (4, 3.0), (6, 2.0), (7, 1.0)), points=2)
    [3.5, 1.6666666666666667]
    """
    count = min(points, len(losses))
    means, start, done = [], 0, 0
    for part in range(count):
        end = round(len(losses) * (part + 1) / count)
        total, first = 0.0, done
        for step, loss in losses[start:end]:
            total += loss * (step - done)
            done = step
        means.append(total / (done - first))
        start = end
    return means


@contextmanager
def memory_errors() -> Iterator[None]:
    """Name what the check of a step does not see: no memory for the weights, or for the evaluation."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"the trial does not fit into memory: {first_line(error)}") from None
