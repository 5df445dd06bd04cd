"""`spinet search`: starts or resumes a search."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

import tyro

from spinet.commands.console import say
from spinet.commands.search_views import VIEWS, chosen_space
from spinet.errors import SpinetError, unknown_name
from spinet.text import count_of

if TYPE_CHECKING:
    from spinet.formats.splits import Division
    from spinet.nas.constraints import Constraint, LatencyTable
    from spinet.nas.evaluation import Evaluate
    from spinet.nas.proxies import Proxy
    from spinet.nas.settings import StrategySettings
    from spinet.nas.space import Space


def search_command(args: list[str]) -> None:
    """Search for a backbone; status, report and export inspect a search."""
    from spinet.nas.spaces import SPACES

    if args and args[0] in VIEWS:
        tyro.cli(VIEWS[args[0]][0], args=args[1:], prog=f"spinet search {args[0]}")
        return
    if not args or args[0].startswith("-"):
        say("usage: spinet search SPACE --data.root DIR --run RUN [options]\n")
        say("SPACE is one of these names, or the .json file of a space; for its options: spinet search SPACE --help.\n")
        say("\n".join(f"  {space.name:20}{space.size():.3g} choices; {space.source}" for space in SPACES.values()))
        say("\nOther commands:\n")
        say("\n".join(f"  spinet search {name:10}{summary}" for name, (_, summary) in VIEWS.items()))
        if not {"-h", "--help"} & set(args):
            raise SystemExit(2)
        return
    if args[0] not in SPACES and not args[0].endswith(".json") and not Path(args[0]).is_file():
        raise unknown_name("space or command", args[0], [*SPACES, *VIEWS])
    _search(args[0], tyro.cli(_Options, args=args[1:], prog=f"spinet search {args[0]}"))


_CONSTRAINT = (
    "Limits of the full-size detector at 640 px, such as macs=84e9:86e9, parameters=:30e6 or latency=:40 (ms, at the "
    "image size of its table). An architecture stands for its own cost: latency=:mine.json is not slower than that. "
    'The word "none" lifts the default limits of the space.'
)


@dataclass
class _Options:
    """Search a space for the architecture with the best reward on a proxy task; re-run the same command to resume.

    Each trial trains a narrow copy of an architecture briefly on part of the training images; its reward is measured on
    the rest, and the val split is never read. RUN/best.json holds the best architecture so far at full size: pass it to
    spinet train as --model.arch.
    """

    root: Annotated[str, tyro.conf.arg(name="data.root")]
    """Dataset folder."""
    run: Path
    """Folder of the search: journal.jsonl, best.json."""
    val_share: Annotated[float, tyro.conf.arg(name="data.val-share")] = 0
    """Fraction of the images of a dataset without a val split that no trial reads, as for a training on it."""
    val_seed: Annotated[int, tyro.conf.arg(name="data.val-seed")] = 0
    """Seed of that division."""
    trials: int = 100
    """Total number of trials, including duplicates and those of earlier sessions."""
    workers: int = 1
    """Number of trials that run in parallel."""
    strategy: str = "controller"
    """random, evolution, evolution-small, controller (the paper's, tuned), controller-paper, reinforce or factored."""
    proxy: str = "tiny"
    """tiny (for hundreds of images), lean, lean-fast or paper; or the .json file of a proxy."""
    halving: int = 0
    """Successive halving: promote the best 1/N of the trials to the next rung of the proxy; 0 turns it off."""
    constraint: Annotated[tuple[str, ...], tyro.conf.arg(help=_CONSTRAINT)] = ()
    latency_table: Path | None = None
    """File from `spinet search latency`, for limits on latency; also records the latency of each trial."""
    scaling: str = ""
    """Architecture that sets width, depth and head of the result; by default those of the space."""
    window: int | None = None
    """Number of preceding blocks that an intermediate block may take parents from; by default that of the space."""
    seed: int = 0
    """Random seed."""
    replicates: int = 1
    """Number of trainings per graph, with different seeds, before further trials of it count as duplicates."""
    references: int = 2
    """Number of trainings of the space's published network that come first, at each rung, to compare rewards with."""
    estimate: bool = True
    """Measure a few steps first, and say how long the search will take."""
    timeout: float | None = None
    """Time limit of a trial, seconds."""
    executor: str = "auto"
    """Where trials run: in-process, processes or ray; auto uses processes for several workers or for GPUs."""
    ray_address: str | None = None
    """Ray cluster to use, such as auto."""
    gpus: tuple[str, ...] = ()
    """GPUs for the workers to share; by default all visible ones, "none" trains on the CPU."""
    threads: int = 1
    """CPU threads per trial; results depend on the thread count in the last bits (floating-point order)."""
    zero_cost: bool = True
    """Also record zero-cost scores of the untrained networks."""
    log_to: Annotated[tuple[str, ...], tyro.conf.arg(metavar="{csv,mlflow,wandb}")] = ()
    """Experiment trackers that get a run for the search, and one below it for each trial."""


def _search(name: str, options: _Options) -> None:
    from spinet.data.division_record import record
    from spinet.nas.advice import training_commands
    from spinet.nas.config import SearchConfig
    from spinet.nas.constraints import WithLatency
    from spinet.nas.estimate import expected
    from spinet.nas.journal import NAME, check_folder
    from spinet.nas.proxies import load_proxy
    from spinet.nas.proxy import ProxyTask, open_data
    from spinet.nas.run import run_search
    from spinet.nas.spaces import load_space
    from spinet.nas.state import load_search
    from spinet.nas.status import best_text, summary
    from spinet.nas.strategies import create_strategy
    from spinet.report.tracked_trials import add_trials
    from spinet.track.trackers import Trackers
    from spinet.workers.create import create_executor

    check_folder(options.run)
    space, proxy = chosen_space(name, options.scaling, options.window), load_proxy(options.proxy)
    settings = _settings(options, proxy)
    numbers = (_constraints(space, options), options.seed, options.replicates, options.trials, options.references)
    division = _division(options)
    data = open_data(options.root, proxy, division, options.run)
    for remark in data.remarks():
        say(remark)
    config = SearchConfig(space, settings.to_dict(), proxy.to_dict(), options.root, *numbers, data.digest, division)
    say(f"{len(data.train)} images to train on, {len(data.held_out)} held out of {data.train.annotation_file}")
    # The proxy is a narrow copy of the space's own networks, whatever size the result will have.
    base = load_space(name).scaling
    proxy.scaling(base)
    table = _latency_table(space, options.latency_table)
    machine = (options.workers, options.timeout, options.gpus, options.threads, options.ray_address)
    executor, device = create_executor(options.executor, *machine)
    settled = (options.zero_cost, division, options.run)
    task = ProxyTask(proxy, options.root, device, options.threads, 0, *settled)
    evaluate: Evaluate = partial(task, base=base)
    if table:
        evaluate = WithLatency(evaluate, table, space.scaling)
    is_new = not (options.run / NAME).is_file()
    if data.train.division and is_new and not (options.run / "config.json").is_file():
        record(options.run, *data.train.division)
    with Trackers(options.log_to, options.run, say) as trackers, executor:
        threads = "" if device == "cpu" else f", {count_of(options.threads, 'CPU thread')} each"
        say(f"workers: {executor.workers} ({executor.name}), on {executor.device}{threads}")
        if options.references and not config.reference_trials:
            say("the published network is outside the space or its constraints: rewards have no reference")
        if options.estimate and is_new:
            say(expected(task, config, base, executor))
        about = {"strategy": options.strategy, "proxy": proxy.name, "space": name, "seed": options.seed}
        observe = partial(add_trials, trackers, about) if options.log_to else None
        result = run_search(config, options.run, create_strategy(settings, space), evaluate, executor, observe=observe)
        trackers.add([options.run / "best.json"])
        if result.ended == "interrupted":
            trackers.close("stopped")
    say(f"{result.ended} after {result.finished} trials")
    if result.best:
        state = load_search(options.run)
        say(best_text(summary(options.run)))
        commands = training_commands(state, options.run)
        beside = ", and beside it the published network," if len(commands) > 1 else ""
        say(f"{options.run / 'best.json'}: train it{beside} on all training images with")
        say("\n".join(f"  {command}" for command in commands))
    if result.ended == "interrupted":
        raise result.stopped(options.run, options.trials)


def _division(options: _Options) -> "Division | None":
    from spinet.formats.splits import Division

    if not 0 <= options.val_share < 1:
        raise SpinetError(f"--data.val-share is {options.val_share:g}; must be at least 0 and below 1")
    return Division(options.val_share, options.val_seed) if options.val_share else None


def _settings(options: _Options, proxy: "Proxy") -> "StrategySettings":
    from spinet.nas.proxies import PROXIES
    from spinet.nas.settings import HalvingSettings
    from spinet.nas.strategies import strategy_settings

    settings, halving = strategy_settings(options.strategy, options.seed), options.halving
    if halving and len(proxy.rungs) < 2:
        more = ", ".join(f"{name} {len(other.rungs)}" for name, other in PROXIES.items() if len(other.rungs) > 1)
        raise SpinetError(
            f"halving {halving} needs a proxy with more than one rung, and {proxy.name} has only one; use one of "
            f"{more}, or add to the rungs of a proxy's .json file"
        )
    return HalvingSettings(inner=settings, eta=halving, rungs=len(proxy.rungs)) if halving else settings


def _constraints(space: "Space", options: _Options) -> "tuple[Constraint, ...]":
    from spinet.nas.constraints import default_constraints, parse_constraint

    if not options.constraint:
        return default_constraints(space)
    if options.constraint == ("none",):
        return ()
    return tuple(parse_constraint(text, options.latency_table) for text in options.constraint)


def _latency_table(space: "Space", path: Path | None) -> "LatencyTable | None":
    from spinet.arch.catalog import Architecture
    from spinet.nas.constraints import LatencyTable

    table = LatencyTable.load(path) if path else None
    if table:  # reject the table of another space before anything is trained
        table.latency(Architecture(space.decode(space.sample(Random(0))), space.scaling))
    return table
