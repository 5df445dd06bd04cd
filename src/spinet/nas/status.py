"""What a search has come to, from its journal alone, also while it is being written."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from spinet.errors import SpinetError
from spinet.nas.history import checked_events
from spinet.nas.journal import NAME, is_written
from spinet.nas.resume import replay
from spinet.nas.state import SearchState


def summary(run: Path) -> dict[str, Any]:
    """Return the numbers of a search, as plain data.

    Raises:
        SpinetError: there is no journal, or it is damaged.
    """
    path, state = run / NAME, SearchState()
    last = ""
    for line, start, event in checked_events(path):
        replay(state, path, line, start, event)
        last = event.get("ended") or event.get("started") or last
    if not state.header:
        raise SpinetError(f"{path} is empty: the search has not begun")
    failures = {status: count for status, count in sorted(state.counts.items()) if status != "done"}
    best = state.best
    return {
        "space": state.header["space"]["name"],
        "strategy": state.header["strategy"].get("name"),
        "proxy": (state.header["proxy"] or {}).get("name"),
        "running": is_written(path),
        "asked": state.asked,
        "told": state.told,
        "trained": sum(state.counts.values()),
        "done": state.counts["done"],
        "by_rung": _by_rung(state),
        "duplicates": state.duplicates,
        "failures": failures,
        "reasons": dict(state.reasons.most_common(3)),
        "open": sorted(state.open),
        "best": {"trial": best.trial, "rung": best.rung, "reward": best.reward} if best else None,
        "acceptance": state.acceptance,
        "seconds": round(state.seconds, 3),
        "trials_per_hour": _rate(state, last),
        "sessions": state.sessions,
        "workers": state.session.get("workers"),
        "executor": state.session.get("executor"),
        "last": last,
    }


def status_text(found: Mapping[str, Any]) -> str:
    """Return a summary for people to read."""
    best, rate, open_trials = found["best"], found["trials_per_hour"], len(found["open"])
    proxy = f", proxy {found['proxy']}" if found["proxy"] else ""
    going_on = f"running, {open_trials} trials under way" if found["running"] else "not running"
    lines = [
        f"space {found['space']}, strategy {found['strategy']}{proxy}",
        f"{going_on}; {found['executor']}, {found['workers']} workers, start {found['sessions']}",
        f"{found['told']:,} trials told: {found['trained']:,} trained, {found['duplicates']:,} duplicates",
    ]
    if len(found["by_rung"]) > 1:
        counts = ", ".join(f"{count:,} at rung {rung}" for rung, count in found["by_rung"].items())
        lines.append(f"trained: {counts}")
    if best:
        lines.append(f"best: trial {best['trial']}, reward {best['reward']:.4g} at rung {best['rung']}")
    if found["failures"]:
        kinds = ", ".join(f"{count} {status}" for status, count in found["failures"].items())
        lines.append(f"failures: {kinds}")
        lines += [f"  {count} times {reason}" for reason, count in found["reasons"].items()]
    if found["acceptance"] is not None and found["acceptance"] < 1:
        lines.append(f"the constraints accept {found['acceptance']:.1%} of the draws")
    pace = f", {rate:,.0f} trials/h since the last start" if rate else ""
    lines.append(f"{found['seconds'] / 3600:,.2f} hours of training{pace}; last sign of life {found['last']}")
    return "\n".join(lines)


def _by_rung(state: SearchState) -> dict[str, int]:
    """Trained trials that were told, by rung; texts, as the keys of JSON are."""
    found: Counter[int] = Counter()
    for (_, rung), numbers in state.trained.items():
        found[rung] += sum(number not in state.open for number in numbers)
    return {str(rung): found[rung] for rung in sorted(found)}


def _rate(state: SearchState, last: str) -> float | None:
    """Trials told an hour since the last start."""
    try:
        passed = datetime.fromisoformat(last) - datetime.fromisoformat(state.session["started"])
    except (KeyError, TypeError, ValueError):
        return None
    told = state.told - state.told_before
    return round(3600 * told / passed.total_seconds(), 1) if passed.total_seconds() > 0 and told else None
