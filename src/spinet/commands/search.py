"""`spinet search`: begins a search or goes on with it; looks at one with `status`, `report`, `export`."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from spinet.commands.console import say
from spinet.errors import SpinetError, unknown_name

if TYPE_CHECKING:
    from spinet.search.constraints import Constraint
    from spinet.search.executors import TrialExecutor
    from spinet.search.space import Space
    from spinet.search.strategies import Settings

_Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def search_command(args: list[str]) -> None:
    """Find a backbone of your own; status, report and export look at a search."""
    from spinet.search.spaces import SPACES

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
    strategy: str = "evolution",
    proxy: str = "tiny",
    halving: int = 0,
    constraint: tuple[str, ...] = (),
    latency_table: Path | None = None,
    scaling: str = "",
    window: int | None = None,
    seed: int = 0,
    replicates: int = 1,
    timeout: float | None = None,
    executor: Literal["auto", "in-process", "processes", "ray"] = "auto",
    ray_address: str | None = None,
    gpus: tuple[str, ...] = (),
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
        halving: Train one in so many again at the proxy's next rung (successive halving); 0 stays at the first.
        constraint: Windows like macs=84e9:86e9, parameters=:30e6 or latency=:40, of the full-size detector at 640 px;
            "none" lifts the space's own.
        latency_table: What `spinet search latency` wrote, for a constraint on latency (ms).
        scaling: Architecture whose width, depth and head the result shall have; the space's own if left out.
        window: Last blocks that an intermediate block may take parents from; the space's own if left out.
        seed: Seed of everything.
        replicates: Times that one graph is trained before its reward is taken as known.
        timeout: Seconds that a trial may take.
        executor: Where trials run; auto takes processes for more than one worker.
        ray_address: Ray cluster to use, such as auto.
        gpus: GPUs that the worker processes share; none trains on the CPU.
        zero_cost: Record scores of the untrained networks beside the rewards.
    """
    from spinet.search.config import SearchConfig
    from spinet.search.proxies import load_proxy
    from spinet.search.proxy import ProxyTask, open_data
    from spinet.search.run import search
    from spinet.search.spaces import load_space
    from spinet.search.strategies import create_strategy

    searched = _space(space, scaling, window)
    task = load_proxy(proxy)
    settings = _settings(strategy, halving, len(task.rungs), seed)
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
    evaluate = partial(ProxyTask(task, root, "cuda" if gpus else "cpu", zero_cost=zero_cost), base=base)
    with ExitStack() as stack:
        where = stack.enter_context(_executor(executor, workers, timeout, gpus, ray_address))
        result = search(config, run, create_strategy(settings, searched), evaluate, where)
    say(f"{result.ended} after {result.told} trials")
    if result.best:
        say(f"best: trial {result.best.trial}, reward {result.best.reward:.4f} at rung {result.best.rung}")
        say(f"{run / 'best.json'}")


def _space(name: str, scaling: str, window: int | None) -> "Space":
    from spinet.arch.catalog import load_architecture
    from spinet.search.spaces import load_space

    space = load_space(name)
    if scaling:
        space = replace(space, scaling=load_architecture(scaling).scaling)
    return space if window is None else replace(space, window=window)


def _settings(strategy: str, halving: int, rungs: int, seed: int) -> "Settings":
    from spinet.search.strategies import STRATEGIES, HalvingSettings, PolicySettings

    if strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    settings = STRATEGIES[strategy]
    if isinstance(settings, PolicySettings):
        settings = replace(settings, seed=seed)
    return HalvingSettings(inner=settings, eta=halving, rungs=rungs) if halving else settings


def _constraints(space: "Space", texts: tuple[str, ...], table: Path | None) -> "tuple[Constraint, ...]":
    from spinet.search.constraints import default_constraints, parse_constraint

    if not texts:
        return default_constraints(space)
    return () if texts == ("none",) else tuple(parse_constraint(text, table) for text in texts)


def _executor(
    name: str, workers: int, timeout: float | None, gpus: tuple[str, ...], address: str | None
) -> "TrialExecutor":
    if name == "auto":
        name = "ray" if address else "processes" if workers > 1 or gpus else "in-process"
    if name == "in-process":
        from spinet.search.executors import InProcess, check_executor

        if workers > 1:
            raise SpinetError(f"in-process has one worker, not {workers}; take --executor processes")
        check_executor(name, workers, timeout)
        return InProcess(timeout)
    if name == "ray":
        from spinet.search.ray_executor import RayExecutor

        return RayExecutor(workers, timeout, gpus=len(gpus) / workers, address=address)
    from spinet.search.processes import Processes

    return Processes(workers, timeout, gpus)


def _status(args: list[str]) -> None:
    """How far it is, and its best."""

    def command(run: _Run, json_: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
        """Print how far a search is; it may be running.

        Args:
            run: Folder of the search.
            json_: Print JSON.
        """
        from spinet.search.status import status_text, summary

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
        from spinet.search.report import write_report

        say(str(write_report(run, out)))

    tyro.cli(command, args=args, prog="spinet search report")


def _export(args: list[str]) -> None:
    """Its trials as an optuna study."""

    def command(run: _Run, optuna: str) -> None:
        """Write the trials of a search into an optuna storage, for optuna-dashboard and the like.

        Args:
            run: Folder of the search.
            optuna: Storage, such as sqlite:///search.db.
        """
        from spinet.search.optuna_export import export_optuna

        say(f"{export_optuna(run, optuna)} trials in {optuna}")

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
        from spinet.search.latency import measure_latency

        table = measure_latency(_space(space, scaling, None), out, image_size=image_size, device=device)
        say(f"{len(table.milliseconds)} parts on {table.device}: {out}")

    tyro.cli(command, args=args, prog="spinet search latency")


_LOOKS: dict[str, Callable[[list[str]], None]] = {
    "status": _status,
    "report": _report,
    "export": _export,
    "latency": _latency,
}
