"""How long a search will take, from a few steps of its first trial."""

import time
from dataclasses import dataclass, replace
from itertools import islice
from random import Random

from spinet.arch.genotype import Genotype
from spinet.arch.scaling import Scaling
from spinet.data.unread import Unread
from spinet.engine.machine import threads
from spinet.nas.config import SearchConfig
from spinet.nas.evaluation import STATUS
from spinet.nas.proxy import ProxyData, ProxyTask, memory_errors
from spinet.nas.references import published_choices
from spinet.text import duration
from spinet.workers.executors import TrialExecutor

# Steps of the shorter and of the longer training.
FEW, MORE = 1, 8


@dataclass(frozen=True)
class TrialSeconds:
    """What the parts of a trial take, in seconds."""

    step: float
    held_out: float  # one image on which the reward is measured
    rest: float  # building the network, and what else happens once

    def of(self, steps: int, held_out: int) -> float:
        """Return the seconds of a trial with so many steps and held-out images.

        >>> TrialSeconds(step=0.5, held_out=0.1, rest=2.0).of(steps=20, held_out=50)
        17.0
        """
        return self.rest + steps * self.step + held_out * self.held_out


def measure(task: ProxyTask, genotype: Genotype, base: Scaling) -> TrialSeconds:
    """Measure trainings of `FEW` and `MORE` steps, rewarded on one image and on a few.

    Raises:
        SpinetError: those of `ProxyTask`.
    """
    with threads(task.threads), memory_errors():
        data = task.data()
        # Without objects there is no reward.
        order = sorted(range(len(data.held_out)), key=lambda index: not len(data.held_out.samples[index].labels))
        unread = Unread(data.held_out.split, len(data.held_out))
        readable = (index for index in order if unread.image_of(data.held_out, index) is not None)
        order = list(islice(readable, task.proxy.train.batch_size + 1))
        many = len(order)

        def seconds(steps: int, held_out: int) -> float:
            part = ProxyData(data.train, data.held_out.subset(order[:held_out]), data.digest)
            config = task.config(0, 0, 1, len(data.train))
            config = replace(config, epochs=steps * config.batch_size / len(data.train))
            started = time.monotonic()
            task.measured(genotype, base, config, part)
            return time.monotonic() - started

        seconds(FEW, many)  # not counted: what only the first training does, such as decoding images to keep
        least = seconds(FEW, 1)
        # One image to evaluate: networks of other ages find other numbers of boxes, which cost time.
        step = max(0.0, seconds(MORE, 1) - least) / (MORE - FEW)
        held_out = max(0.0, seconds(FEW, many) - least) / max(1, many - 1)
    return TrialSeconds(step, held_out, max(0.0, least - FEW * step - held_out))


def search_seconds(task: ProxyTask, measured: TrialSeconds, config: SearchConfig) -> float:
    """Return the seconds of all trials, one after the other; with successive halving a part of them is longer."""
    eta, references = int(config.strategy.get("eta", 0)), config.reference_trials[: config.trials]
    data, batch = task.data(), task.proxy.train.batch_size
    rungs = range(len(task.proxy.rungs) if eta else 1)
    each = [
        measured.of(max(1, round(task.proxy.epochs(rung) * len(data.train) / batch)), len(data.held_out))
        for rung in rungs
    ]
    shares = [1 / eta**rung if eta else 1.0 for rung in rungs]
    mean = sum(share * seconds for share, seconds in zip(shares, each, strict=True)) / sum(shares)
    return sum(each[trial.rung] for trial in references) + mean * (config.trials - len(references))


def expected(task: ProxyTask, config: SearchConfig, base: Scaling, executor: TrialExecutor) -> str:
    """Measure a trial in a worker, and return a sentence on how long the search will take.

    Raises:
        SpinetError: those of `ProxyTask` that are not about this one network.
    """
    choices = published_choices(config.space) or config.space.sample(Random(config.seed))
    future = executor.submit(measure, task, config.space.decode(choices), base)
    try:
        measured = future.result()
    except tuple(STATUS) as error:
        return f"how long a trial takes could not be measured: {error}"
    seconds = search_seconds(task, measured, config)
    parallel = f" ({executor.workers} at a time)" if executor.workers > 1 else ""
    return (
        f"a trial takes about {duration(seconds / config.trials)} on average, measured on a few steps: "
        f"{config.trials:,} trials{parallel} about {duration(seconds / executor.workers)}, and less for each duplicate"
    )
