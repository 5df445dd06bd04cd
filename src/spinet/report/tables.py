"""The text and the tables of a report: key facts, rank correlations, best trials, failures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from spinet.nas.trial import Candidate
from spinet.report.digest import Digest, pairs_of
from spinet.report.fronts import rung_pairs
from spinet.report.statistics import bootstrap, kendall, precision_at_top, regret_of_top1, spearman
from spinet.text import count_of, duration

MEANING = {
    "nan": "training diverged; counts as the worst reward",
    "oom": "did not fit into memory, even in smaller parts",
    "timeout": "took longer than allowed",
    "lost": "its worker died repeatedly",
    "build": "the network could not be built",
    "error": "the objective raised an error",
}
# Pairs with fewer graphs get no row: their intervals would span everything.
FEWEST = 5


def facts(digest: Digest) -> list[tuple[str, str, str]]:
    """Key facts: what it is, the value, and what to add."""
    search = digest.search
    best = next(iter(search.leaders(1)), None)
    states = {"open": len(search.open), "failed": search.failures.total(), "duplicates": search.duplicates}
    published = search.references(best.rung) if best else []
    beside = f"; the published network has {fmean(published):.4f}" if published else ""
    rows = [
        (
            f"best {digest.reward_name}",
            f"{best.reward:.4f}",
            f"trial {best.first.number}, {digest.epochs(best.rung)}{beside}",
        )
        if best
        else (f"best {digest.reward_name}", "none yet", "nothing measured"),
        ("trials", f"{search.finished:,}", ", ".join(f"{count:,} {state}" for state, count in states.items() if count)),
        ("cost", duration(search.seconds), f"of training and evaluation, in {duration(search.elapsed)}"),
    ]
    if search.acceptance and search.acceptance < 1:
        rows.append(("acceptance", f"{search.acceptance:.1%}", f"of {search.draws:,} draws satisfy the constraints"))
    return rows


def description(digest: Digest) -> list[tuple[str, str]]:
    """Return the settings of the search as terms and texts."""
    header, space = digest.search.header, digest.search.space
    proxy = dict(header.get("proxy") or {})
    last: Mapping[str, Any] = digest.search.sessions[-1] if digest.search.sessions else {}
    constraints = [_constraint(constraint) for constraint in header.get("constraints") or []]
    terms = [
        ("space", f"{space.name}: {space.size():.3g} architectures, {space.blocks} searched blocks"),
        ("strategy", _settings(header.get("strategy") or {})),
        ("proxy task", _settings(proxy) or "none"),
        ("data", str(header.get("data") or "none")),
        ("constraints", "; ".join(constraints) or "none"),
        ("seed", f"{header.get('seed', 0)}, {count_of(header.get('replicates') or 1, 'training')} per network"),
        ("last session", _settings({key: value for key, value in last.items() if key != "event"})),
        ("sessions", str(len(digest.search.sessions))),
    ]
    return [(term, text) for term, text in terms if text]


def correlations(digest: Digest) -> list[list[str]]:
    """Rows of the table of rank correlations: rung against rung, seed against seed, costs against reward."""
    rows = [
        _correlation(f"{digest.epochs(low)} \N{RIGHTWARDS ARROW} {digest.epochs(high)}", *digest.pairs(low, high))
        for low, high in rung_pairs(digest)
    ]
    for rung, graphs in digest.by_rung.items():
        twice = [[trial.reward or 0.0 for trial in graph.trials] for graph in graphs if len(graph.trials) > 1]
        label = f"one seed \N{RIGHTWARDS ARROW} another, {digest.epochs(rung)}"
        rows.append(_correlation(label, [pair[0] for pair in twice], [pair[1] for pair in twice]))
        rewards = digest.rewards(rung)
        for name, cost in (("MACs", "multiply_adds"), ("parameters", "parameters")):
            baseline = {graph: float(getattr(digest.costs[graph], cost)) for graph in rewards}
            label = f"{name} alone \N{RIGHTWARDS ARROW} {digest.epochs(rung)}"
            rows.append(_correlation(label, *pairs_of(baseline, rewards)))
    return [row for row in rows if row]


def best_trials(digest: Digest, best: Sequence[Candidate]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of the best trials."""
    known = [name for name in ("AP", "AP50", "loss") if any(name in graph.first.metrics for graph in best)]
    latency = any(digest.latency(graph) is not None for graph in best)
    head = ["", "trial", "reward", "training", *known, "GMACs", "M parameters", *["ms"] * latency, "trained", "graph"]
    rows = []
    for rank, candidate in enumerate(best, 1):
        number, macs, parameters = digest.point(candidate)
        values = [_number(candidate.first.metrics.get(name)) for name in known]
        ms = [_number(digest.latency(candidate))] * latency
        first = [str(rank), str(number), f"{candidate.reward:.4f}", digest.epochs(candidate.rung)]
        last = [f"{macs:.1f}", f"{parameters:.1f}", *ms, count_of(len(candidate.trials), "time"), candidate.graph[:10]]
        rows.append([*first, *values, *last])
    return head, rows


def failures(digest: Digest) -> list[list[str]]:
    """Rows of the table of failures and of repeated attempts."""
    rows = []
    for status, count in digest.search.failures.most_common():
        reasons = Counter(trial.reason for trial in digest.trained if trial.status == status and trial.reason)
        usual = reasons.most_common(1)[0][0] if reasons else ""
        rows.append([status, f"{count:,}", MEANING.get(status, ""), usual])
    retried = Counter(status for record in digest.search.records for status, _ in record.retries)
    for status, count in retried.most_common():
        rows.append([f"{status}, repeated", f"{count:,}", "attempts that were repeated, not trials", ""])
    return rows


def rung_costs(digest: Digest) -> list[list[str]]:
    """Rows of the table of what each training length cost."""
    rows = []
    for rung in sorted({record.rung for record in digest.search.records}):
        seconds = [record.seconds for record in digest.trained if record.rung == rung]
        mean = duration(sum(seconds) / len(seconds)) if seconds else ""
        rows.append([digest.epochs(rung), f"{len(seconds):,}", mean, duration(sum(seconds))])
    return rows


def _correlation(label: str, cheap: Sequence[float], costly: Sequence[float]) -> list[str]:
    if len(cheap) < FEWEST:
        return []
    repeats = 500 if len(cheap) <= 1000 else 100  # nobody waits long for a page
    rank = str(bootstrap(spearman, cheap, costly, repeats=repeats))
    top = str(bootstrap(precision_at_top, cheap, costly, repeats=repeats))
    regret = f"{regret_of_top1(cheap, costly):.4f}"
    return [label, f"{len(cheap):,}", rank, f"{kendall(cheap, costly):.2f}", top, regret]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _constraint(constraint: Mapping[str, Any]) -> str:
    low, high = constraint.get("low"), constraint.get("high")
    others = {key: value for key, value in constraint.items() if key not in ("measure", "low", "high")}
    window = " to ".join(f"{edge:.4g}" if isinstance(edge, int | float) else "any" for edge in (low, high))
    return f"{constraint.get('measure')} from {window}" + (f" ({_settings(others)})" if others else "")


def _settings(settings: Mapping[str, Any]) -> str:
    name = [str(settings["name"])] if settings.get("name") else []
    return ", ".join(name + [f"{key} {_plain(value)}" for key, value in settings.items() if key != "name"])


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_settings(value)})"
    return "/".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)
