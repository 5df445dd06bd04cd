"""A search as one self-contained HTML page, also while it runs."""

from pathlib import Path

from spinet.arch.catalog import Architecture
from spinet.draw.architecture import draw
from spinet.draw.text import clean
from spinet.files import write_atomically
from spinet.nas.state import load_search
from spinet.nas.trial import Candidate
from spinet.report.digest import Digest
from spinet.report.figures import Figure, funnel, progress
from spinet.report.fronts import entropy, fronts, rung_figure, rung_pairs
from spinet.report.page import card, definitions, fact_cards, figure_card, page, pair, sentences
from spinet.report.tables import (
    best_trials,
    correlations,
    count_of,
    description,
    duration,
    facts,
    failures,
    rung_costs,
    table,
)

# How many of the best networks are drawn, and how many stand in the table.
DRAWN, LISTED = 3, 10


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of a search; the search may be running.

    Args:
        run: folder of the search, with its journal.
        out: the page; `report.html` in the folder by default.

    Returns:
        The page's path.

    Raises:
        SpinetError: there is no journal, it is damaged, a package of the extra `search` is missing, or the page
            cannot be written.
    """
    digest = Digest(load_search(run))
    path = out or run / "report.html"
    write_atomically(path, render(digest, run.resolve().name))
    return path


def render(digest: Digest, name: str) -> str:
    """Return the page of a search; `name` is what the run is called."""
    search = digest.search
    proxy = search.header.get("proxy") or {}
    task = f"proxy task {proxy.get('name', 'unnamed')}" if proxy else "no proxy task"
    settings = search.header.get("strategy") or {}
    strategy = settings.get("name", "unknown")
    if isinstance(settings.get("inner"), dict):
        strategy = f"{strategy} around {settings['inner'].get('name', 'unknown')}"
    lead = (
        f"A search for networks in the space {search.space.name} with the strategy {strategy}, run {name}: each "
        f"trial trains one network for a short time ({task}), and its reward tells the strategy where to "
        "look next. Rest the pointer on a point to read about it; drag over a figure to zoom, double-click to go back."
    )
    figures, parts = _progress(digest)
    more_figures, more_parts = _comparisons(digest)
    parts = [fact_cards(facts(digest)), *_notices(digest), *parts, *more_parts, *_best(digest), *_costs(digest)]
    parts.append(card("What was searched, and how", definitions(description(digest))))
    return page(f"Search in {search.space.name}", lead, parts, [*figures, *more_figures])


def _notices(digest: Digest) -> list[str]:
    """What has to be said first."""
    found = []
    told = [each for each in digest.search.records if each.status]
    failed = sum(digest.failures.values())
    if not digest.by_rung and failed:
        (status, count), *_ = digest.failures.most_common(1)
        text = f"Nothing was measured: all {count_of(failed, 'trial')} failed, most often as {status} ({count:,})."
        found.append(text + " The table of failures below says why.")
    elif not told:
        found.append("No trial has ended yet.")
    if digest.search.running:
        found.append(
            f"The search was running when this page was written, {count_of(digest.open, 'trial')} under way; write the "
            "report again to see more."
        )
    elif digest.open:
        found.append(
            f"The search was stopped with {count_of(digest.open, 'trial')} under way; the same command goes on and "
            "makes up for them."
        )
    if not digest.search.header.get("proxy"):
        found.append("This search has no proxy task: its rewards do not come from training networks.")
    return [card("", f"<p>{clean(text)}</p>", kind="note") for text in found]


def _progress(digest: Digest) -> tuple[list[Figure], list[str]]:
    if not digest.trained:
        return [], []
    figures = [*([progress(digest)] if digest.by_rung else []), funnel(digest)]
    return figures, [figure_card(each) for each in figures]


def _comparisons(digest: Digest) -> tuple[list[Figure], list[str]]:
    against_cost = fronts(digest)
    against_rungs = [rung_figure(digest, low, high) for low, high in rung_pairs(digest)]
    parts = []
    if against_cost:
        parts.append(pair([figure_card(each) for each in against_cost]))
    parts += [figure_card(each) for each in against_rungs]
    rows = correlations(digest)
    if rows:
        head = [
            "from \N{RIGHTWARDS ARROW} to",
            "graphs",
            "Spearman",
            "Kendall",
            "precision at 10 %",
            "regret of the best",
        ]
        words = sentences(
            "How well one measurement ranks networks as another does: 1 is the same order, 0 is chance (0.1 for "
            "precision: the share of the best tenth that is the best tenth again); brackets are 95 % bootstrap "
            "intervals, and regret is the reward lost by trusting the first. MACs and parameters alone are what a "
            "search has to beat, two seeds of one training are the ceiling.",
            "The networks are those that the strategy chose, not a sample of the space, so the numbers are no property "
            "of the proxy task; an interval that holds 0 shows nothing.",
        )
        parts.append(
            card(
                "Does a cheap measurement rank like a dear one?",
                table(head, rows) + f"<figcaption>{words}</figcaption>",
            )
        )
    policy = entropy(digest)
    if policy:
        parts.append(figure_card(policy))
    return [*against_cost, *against_rungs, *([policy] if policy else [])], parts


def _best(digest: Digest) -> list[str]:
    best = digest.search.leaders(LISTED)
    if not best:
        return []
    words = sentences(
        "The best networks, those of the longest training first; costs are at full scale with the detector's head, and "
        "the number in the last column but one says how often the same network was trained.",
        "The first is not shown to be better than the second: the best of many noisy measurements is always too good.",
    )
    listed = card("Best trials", best_trials(digest, best) + f"<figcaption>{words}</figcaption>")
    drawings = [_drawing(digest.reference, _about_reference(digest))]
    drawings += [_drawing(digest.architecture(each.first), _about(digest, each)) for each in best[:DRAWN]]
    return [listed, pair(drawings)]


def _drawing(architecture: Architecture, about: str) -> str:
    picture = f'<div class="wide">{draw(architecture)}</div>'
    return card("", f"<figure>{picture}<figcaption>{clean(about)}</figcaption></figure>")


def _about(digest: Digest, summary: Candidate) -> str:
    _, macs, parameters = digest.point(summary)
    return (
        f"Reward {summary.reward:.4f} after {digest.epochs(summary.rung)}; {macs:.1f} GMACs, {parameters:.1f} M "
        "parameters. Blocks in building order from left to right, each at the height of its level."
    )


def _about_reference(digest: Digest) -> str:
    cost = digest.cost(digest.reference)
    macs, parameters = cost.multiply_adds / 1e9, cost.parameters / 1e6
    text = f"The published network, for comparison: {macs:.1f} GMACs, {parameters:.1f} M parameters."
    rewards = [
        f"{reward:.4f} after {digest.epochs(rung)}"
        for rung in digest.by_rung
        if (reward := digest.reward_of(digest.reference_graph, rung)) is not None
    ]
    return f"{text} Reward in this search: {', '.join(rewards)}." if rewards else f"{text} It was not among the trials."


def _costs(digest: Digest) -> list[str]:
    parts = []
    if digest.seconds:
        together = f"<p>{clean(_pace(digest))}</p>"
        parts.append(card("What it cost", rung_costs(digest) + f"<figcaption>{together}</figcaption>"))
    failed = failures(digest)
    if failed:
        parts.append(card("What failed", f'<div class="words">{failed}</div>'))
    return parts


def _pace(digest: Digest) -> str:
    text = f"{duration(digest.seconds)} of trials"
    elapsed = digest.search.elapsed
    if elapsed:
        text += f" in {duration(elapsed)} of running, {digest.seconds / elapsed:.1f} at a time"
    return text + ". Times are of this machine and whatever else it did; attempts that were lost are not in them."
