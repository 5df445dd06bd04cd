"""A search as one self-contained HTML page, also while it runs."""

from dataclasses import asdict
from pathlib import Path

from spinet.draw.architecture import draw
from spinet.draw.page import render_page
from spinet.extras import import_extra
from spinet.files import write_atomically
from spinet.nas.advice import training_commands
from spinet.nas.state import load_search
from spinet.nas.trial import Candidate
from spinet.report.digest import Digest
from spinet.report.figures import Figure, funnel, progress
from spinet.report.fronts import entropy, fronts, rung_figure, rung_pairs
from spinet.report.tables import best_trials, correlations, description, facts, failures, rung_costs
from spinet.text import count_of, duration

# Number of the best networks that are drawn, and in the table.
DRAWN, LISTED = 3, 10


def write_report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a search, which may be running, and return its path.

    Args:
        run: folder of the search, with its journal.
        out: the page; `report.html` in the folder by default.

    Raises:
        SpinetError: there is no journal, it is corrupt, a package of the extra `search` is missing, or the page
            cannot be written.
    """
    digest, path = Digest(load_search(run)), Path(out or Path(run) / "report.html")
    write_atomically(path, render(digest, Path(run)))
    return path


def render(digest: Digest, run: Path) -> str:
    """Return the page of a search in the folder `run`."""
    header = digest.search.header
    strategy = header["strategy"].get("name", "unknown")
    if isinstance(header["strategy"].get("inner"), dict):
        strategy = f"{strategy} around {header['strategy']['inner'].get('name', 'unknown')}"
    groups: dict[str, list[Figure]] = {
        "progress": [progress(digest)] if digest.by_rung else [],
        "fronts": fronts(digest),
        "rungs": [rung_figure(digest, low, high) for low, high in rung_pairs(digest)],
        "policy": [figure for figure in [entropy(digest)] if figure],
    }
    if digest.trained:
        groups["progress"].append(funnel(digest))
    figures = [asdict(figure) for figures in groups.values() for figure in figures]
    best = digest.search.leaders(LISTED)
    best_head, best_rows = best_trials(digest, best)
    return render_page(
        "spinet.report",
        "report.html.j2",
        title=f"Search in {digest.search.space.name}",
        space=digest.search.space.name,
        strategy=strategy,
        run=run.resolve().name,
        commands=training_commands(digest.search, run),
        proxy=(header["proxy"] or {}).get("name", "unnamed") if header["proxy"] else None,
        facts=facts(digest),
        notices=_notices(digest),
        correlations=correlations(digest),
        best_head=best_head,
        best=best_rows,
        drawings=_drawings(digest, best),
        costs=rung_costs(digest) if digest.search.seconds else [],
        pace=_pace(digest),
        failures=failures(digest),
        description=description(digest),
        figures=figures,
        plotly=import_extra("plotly.offline", "search", "the report of a search").get_plotlyjs() if figures else "",
        **groups,
    )


def _notices(digest: Digest) -> list[str]:
    """What the reader has to know first."""
    notices, search = [], digest.search
    failed, open_trials = search.failures.total(), count_of(len(search.open), "open trial")
    if not digest.by_rung and failed:
        (status, count), *_ = search.failures.most_common(1)
        notices.append(
            f"Nothing was measured: all {count_of(failed, 'trial')} failed, most often as {status} ({count:,}). See "
            "the table of failures below."
        )
    elif not search.finished:
        notices.append("No trial has finished yet.")
    if search.running:
        notices.append(
            f"The search was running when this page was written, with {open_trials}; write it again for more."
        )
    elif search.open:
        notices.append(f"The search was stopped with {open_trials}; re-run the same command to resume.")
    if not search.header["proxy"]:
        notices.append("This search has no proxy task: its rewards do not come from training networks.")
    return notices


def _drawings(digest: Digest, best: list[Candidate]) -> list[tuple[str, str]]:
    """Drawing and caption of the published network and of the best ones."""
    if not best:
        return []
    shown = [(draw(digest.architecture(network.first)), _about(digest, network)) for network in best[:DRAWN]]
    return [(draw(digest.reference), _about_reference(digest)), *shown]


def _about(digest: Digest, candidate: Candidate) -> str:
    _, macs, parameters = digest.point(candidate)
    return (
        f"Reward {candidate.reward:.4f} after {digest.epochs(candidate.rung)}; {macs:.1f} GMACs, {parameters:.1f} M "
        "parameters. Blocks are in building order from left to right, each at the height of its level."
    )


def _about_reference(digest: Digest) -> str:
    cost = digest.cost(digest.reference)
    macs, parameters = cost.multiply_adds / 1e9, cost.parameters / 1e6
    text = f"The published network, for comparison: {macs:.1f} GMACs, {parameters:.1f} M parameters."
    rewards = [
        f"{reward:.4f} after {digest.epochs(rung)}"
        for rung in digest.by_rung
        if (reward := digest.rewards(rung).get(digest.reference_graph)) is not None
    ]
    return f"{text} Reward in this search: {', '.join(rewards)}." if rewards else f"{text} It was not among the trials."


def _pace(digest: Digest) -> str:
    seconds, elapsed = digest.search.seconds, digest.search.elapsed
    wall = f" in {duration(elapsed)} of wall-clock time, {seconds / elapsed:.1f} at a time" if elapsed else ""
    return f"{duration(seconds)} of trials{wall}. Times depend on the machine and its load, without lost attempts."
