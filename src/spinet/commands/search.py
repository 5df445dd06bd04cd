"""`spinet search`: begins a search or goes on with it; looks at one with `status`, `report`, `export`."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

import tyro

from spinet.commands.console import say
from spinet.errors import SpinetError, unknown_name

if TYPE_CHECKING:
    from spinet.nas.constraints import Constraint
    from spinet.nas.evaluation import Evaluate
    from spinet.nas.proxies import Proxy
    from spinet.nas.settings import StrategySettings
    from spinet.nas.space import Space
    from spinet.workers.executors import TrialExecutor

_EXECUTORS = ("auto", "in-process", "processes", "ray")

_Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def search_command(args: list[str]) -> None:
    """Find a backbone of your own; status, report and export look at a search."""
    from spinet.nas.spaces import SPACES

    if args and args[0] in _LOOKS:
        _LOOKS[args[0]](args[1:])
        return
    if not args or args[0].startswith("-"):
        say("usage: spinet search SPACE --data.root DIR --run RUN [settings]\n")
        say("SPACE is one of these names, or a space's .json file; `spinet search SPACE --help` lists the settings.\n")
        say("\n".join(f"  {space.name:20}{space.size():.3g} choices; {space.source}" for space in SPACES.values()))
        say("\nOf a search that runs or ran:\n")
        say("\n".join(f"  spinet search {name:10}{command.__doc__}" for name, command in _LOOKS.items()))
        if not {"-h", "--help"} & set(args):
            raise SystemExit(2)
        return
    description = (_search.__doc__ or "").partition("Args:")[0]
    tyro.cli(partial(_search, args[0]), args=args[1:], prog=f"spinet search {args[0]}", description=description)


def _search(
    space: Annotated[str, tyro.conf.Suppress],
    root: Annotated[str, tyro.conf.arg(name="data.root")],
    run: Path,
    trials: int = 100,
    workers: int = 1,
    strategy: str = "controller",
    proxy: str = "tiny",
    halving: int = 0,
    constraint: tuple[str, ...] = (),
    latency_table: Path | None = None,
    scaling: str = "",
    window: int | None = None,
    seed: int = 0,
    replicates: int = 1,
    timeout: float | None = None,
    executor: str = "auto",
    ray_address: str | None = None,
    gpus: tuple[str, ...] = (),
    threads: int = 1,
    zero_cost: bool = True,
) -> None:
    """Search a space for the architecture with the best reward on a proxy task; the same command goes on.

    Each trial trains a narrow copy of an architecture for a short while on a part of the training images and is
    rewarded on the rest; the val split is never read. RUN/best.json is the best so far, at full size, for
    `spinet train RECIPE --model.arch RUN/best.json`.

    Args:
        space: What is searched.
        root: Data set folder.
        run: Folder of the search: journal.jsonl, best.json.
        trials: Trials in all, those of earlier starts and duplicates included.
        workers: Trials at a time.
        strategy: random, evolution, evolution-small, controller (the paper's, tuned), controller-paper, reinforce or
            factored.
        proxy: tiny (hundreds of photos), lean, lean-fast or paper; or a proxy's .json file.
        halving: Train one in so many again at the proxy's next rung (successive halving), where it has one; 0 stays
            at the first.
        constraint: Windows like macs=84e9:86e9, parameters=:30e6 or latency=:40, of the full-size detector at 640 px,
            latency at the image size of its table; "none" lifts the space's own.
        latency_table: What `spinet search latency` wrote, for a constraint on latency (ms); each trial's is recorded.
        scaling: Architecture whose width, depth and head the result shall have; the space's own if left out.
        window: Last blocks that an intermediate block may take parents from; the space's own if left out.
        seed: Seed of everything.
        replicates: Times that one graph is trained before its reward is taken as known.
        timeout: Seconds that a trial may take.
        executor: Where trials run: in-process, processes or ray; auto takes processes for more than one worker or
            for GPUs.
        ray_address: Ray cluster to use, such as auto.
        gpus: GPUs that the workers share; all that are visible if left out, "none" trains on the CPU.
        threads: CPU threads of each trial; its reward hangs on them in the last bits.
        zero_cost: Record scores of the untrained networks beside the rewards.
    """
    from spinet.nas.config import SearchConfig
    from spinet.nas.proxies import load_proxy
    from spinet.nas.proxy import ProxyTask, open_data
    from spinet.nas.run import run_search
    from spinet.nas.spaces import load_space
    from spinet.nas.strategies import create_strategy

    searched = _space(space, scaling, window)
    task = load_proxy(proxy)
    settings = _settings(strategy, halving, task, seed)
    config = SearchConfig(
        searched,
        settings.to_dict(),
        task.to_dict(),
        root,
        _constraints(searched, constraint, latency_table),
        seed,
        replicates,
        trials,
    )
    data = open_data(root, task)
    say(f"{len(data.train)} images to learn from, {len(data.held_out)} held out of {data.train.annotation_file}")
    # The proxy is a narrow copy of the space's own networks, whatever size the result shall have.
    base = load_space(space).scaling
    task.scaling(base)
    used = _gpus(gpus, workers, ray_address)
    name = _executor_name(executor, workers, used, ray_address)
    device = "cpu" if not used else _cuda(used[0]) if name == "in-process" else "cuda"
    evaluate: Evaluate = partial(ProxyTask(task, root, device, threads, zero_cost=zero_cost), base=base)
    if latency_table:
        evaluate = _with_latency(evaluate, searched, latency_table)
    with ExitStack() as stack:
        where = stack.enter_context(_executor(name, workers, timeout, used, ray_address, threads))
        each = f", {threads} CPU threads each" if used else ""
        say(f"trials at a time: {where.workers} ({where.name}), on {where.device}{each}")
        result = run_search(config, run, create_strategy(settings, searched), evaluate, where)
    say(f"{result.ended} after {result.finished} trials")
    if result.best_trial:
        say(f"best: trial {result.best_trial.number}, reward {result.best_reward:.4f} at rung {result.best_trial.rung}")
        say(f"{run / 'best.json'}")


def _space(name: str, scaling: str, window: int | None) -> "Space":
    from spinet.arch.catalog import load_architecture
    from spinet.nas.spaces import load_space

    space = load_space(name)
    if scaling:
        space = replace(space, scaling=load_architecture(scaling).scaling)
    return space if window is None else replace(space, window=window)


def _settings(strategy: str, halving: int, proxy: "Proxy", seed: int) -> "StrategySettings":
    from spinet.nas.proxies import PROXIES
    from spinet.nas.settings import STRATEGIES, HalvingSettings, PolicySettings

    if strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    settings = STRATEGIES[strategy]
    if isinstance(settings, PolicySettings):
        settings = replace(settings, seed=seed)
    if halving and len(proxy.rungs) < 2:
        more = ", ".join(f"{each.name} {len(each.rungs)}" for each in PROXIES.values() if len(each.rungs) > 1)
        raise SpinetError(
            f"halving {halving} needs a rung to go on to, and the proxy {proxy.name} has one only; take one with more "
            f"({more}) or add to the rungs of a proxy's .json file"
        )
    return HalvingSettings(inner=settings, eta=halving, rungs=len(proxy.rungs)) if halving else settings


def _constraints(space: "Space", texts: tuple[str, ...], table: Path | None) -> "tuple[Constraint, ...]":
    from spinet.nas.constraints import default_constraints, parse_constraint

    if not texts:
        return default_constraints(space)
    return () if texts == ("none",) else tuple(parse_constraint(text, table) for text in texts)


def _with_latency(evaluate: "Evaluate", space: "Space", path: Path) -> "Evaluate":
    from spinet.arch.catalog import Architecture
    from spinet.nas.constraints import LatencyTable, WithLatency

    table = LatencyTable.load(path)
    # A table of another space is refused before anything is trained.
    table.latency(Architecture(space.decode(space.sample(Random(0))), space.scaling))
    return WithLatency(evaluate, table, space.scaling)


def _gpus(asked: tuple[str, ...], workers: int, address: str | None) -> tuple[str, ...]:
    """Return the GPUs that so many workers use: those asked for or all that are visible, no more than workers."""
    import torch

    from spinet.workers.processes import visible_gpus

    if asked == ("none",):
        return ()
    visible = visible_gpus() if torch.cuda.is_available() else []
    for gpu in asked:
        if gpu not in visible and not address:  # whose GPUs a cluster has is its own affair
            seen = f"visible are {', '.join(visible)}" if visible else "none is visible here"
            raise SpinetError(f"there is no GPU {gpu!r}: {seen}")
    return (asked or tuple(visible))[: max(workers, 0)]


def _cuda(gpu: str) -> str:
    """Return torch's name, in this process, of a GPU that CUDA_VISIBLE_DEVICES names so."""
    from spinet.workers.processes import visible_gpus

    return f"cuda:{visible_gpus().index(gpu)}"


def _executor_name(name: str, workers: int, gpus: tuple[str, ...], address: str | None) -> str:
    if name not in _EXECUTORS:
        raise unknown_name("executor", name, _EXECUTORS)
    if name == "auto":
        return "ray" if address else "processes" if workers > 1 or gpus else "in-process"
    return name


def _executor(
    name: str,
    workers: int,
    timeout: float | None,
    gpus: tuple[str, ...],
    address: str | None,
    threads: int,
) -> "TrialExecutor":
    from spinet.workers.executors import InProcess, check_executor

    check_executor(name, workers, timeout)
    if threads < 1:
        raise SpinetError(f"{name}: {threads} threads cannot work; at least 1 is needed")
    if name == "in-process":
        if workers > 1:
            raise SpinetError(f"in-process has one worker, not {workers}; take --executor processes")
        return InProcess(timeout, f"GPU {gpus[0]}" if gpus else f"cpu, {threads} threads each")
    if name == "ray":
        from spinet.workers.ray_executor import RayExecutor

        # A trial trains on one GPU, or on a share of one.
        return RayExecutor(workers, timeout, cpus=threads, gpus=min(1.0, len(gpus) / workers), address=address)
    from spinet.workers.processes import ProcessExecutor

    return ProcessExecutor(workers, timeout, gpus, threads)


def _status(args: list[str]) -> None:
    """How far it is, and its best."""

    def command(run: _Run, json_: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
        """Print how far a search is; it may be running.

        Args:
            run: Folder of the search.
            json_: Print JSON.
        """
        from spinet.nas.status import status_text, summary

        found = summary(run)
        if json_:
            sys.stdout.write(json.dumps(found) + "\n")
        else:
            say(status_text(found))

    tyro.cli(command, args=args, prog="spinet search status")


def _report(args: list[str]) -> None:
    """Its page: rewards, fronts, drawings, in one HTML file."""

    def command(run: _Run, out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None) -> None:
        """Write the report of a search as one HTML page that needs no network; the search may be running.

        Args:
            run: Folder of the search.
            out: File to write; RUN/report.html if left out.
        """
        from spinet.report.report import write_report

        say(str(write_report(run, out)))

    tyro.cli(command, args=args, prog="spinet search report")


def _export(args: list[str]) -> None:
    """Its trials as an optuna study."""

    def command(run: _Run, optuna: str, name: str | None = None) -> None:
        """Write the trials of a search into an optuna storage, for optuna-dashboard and the like.

        Args:
            run: Folder of the search.
            optuna: Storage, such as sqlite:///search.db.
            name: Name of the study; that of the folder if left out.
        """
        from spinet.report.optuna_export import export_optuna

        say(f"{export_optuna(run, optuna, name)} trials in {optuna}")

    tyro.cli(command, args=args, prog="spinet search export")


def _latency(args: list[str]) -> None:
    """Times of a space's parts on this machine."""

    def command(
        space: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SPACE")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
        image_size: int = 640,
        device: str = "cpu",
        scaling: str = "",
    ) -> None:
        """Measure every block, connection and endpoint of a space, and the head, for a constraint on latency.

        Args:
            space: Name or .json file of the space.
            out: Table to write (JSON).
            image_size: Side of the image, pixels.
            device: `cpu`, `cuda` ...
            scaling: Architecture whose scaling the networks shall have; the space's own if left out.
        """
        from spinet.nas.latency import measure_latency

        table = measure_latency(_space(space, scaling, None), out, image_size=image_size, device=device)
        say(f"{len(table.milliseconds)} parts on {table.device}: {out}")

    tyro.cli(command, args=args, prog="spinet search latency")


_LOOKS: dict[str, Callable[[list[str]], None]] = {
    "status": _status,
    "report": _report,
    "export": _export,
    "latency": _latency,
}
