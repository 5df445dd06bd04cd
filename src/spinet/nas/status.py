"""Progress and best trial of a search, from its journal alone, which may be being written."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from spinet.nas.state import load_search
from spinet.text import count_of


def summary(run: str | Path) -> dict[str, Any]:
    """Return the numbers of a search, as plain data."""
    state = load_search(run)
    best = state.best
    session = state.sessions[-1] if state.sessions else {}
    by_rung = Counter(record.rung for record in state.records if record.status and record.duplicate_of is None)
    return {
        "space": state.space.name,
        "strategy": state.header["strategy"].get("name"),
        "proxy": (state.header["proxy"] or {}).get("name"),
        "running": state.running,
        "asked": len(state.records),
        "told": state.finished,
        "trained": state.counts.total(),
        "done": state.counts["done"],
        "by_rung": {str(rung): by_rung[rung] for rung in sorted(by_rung)},
        "duplicates": state.duplicates,
        "failures": dict(sorted(state.failures.items())),
        "reasons": dict(state.reasons.most_common(3)),
        "open": sorted(state.open),
        "reward": state.reward_name,
        "best": {"trial": best.first.number, "rung": best.rung, "reward": best.reward} if best else None,
        "published": state.references(best.rung) if best else [],
        "best_is_published": best is not None and best.first.is_reference,
        "acceptance": state.acceptance,
        "seconds": round(state.seconds, 3),
        "trials_per_hour": round(state.per_hour, 1) if state.per_hour else None,
        "sessions": len(state.sessions),
        "workers": session.get("workers"),
        "executor": session.get("executor"),
        "last": state.last.isoformat(timespec="milliseconds") if state.last else "",
    }


def status_text(numbers: Mapping[str, Any]) -> str:
    """Return a summary for people to read."""
    best, rate = numbers["best"], numbers["trials_per_hour"]
    proxy = f", proxy {numbers['proxy']}" if numbers["proxy"] else ""
    running = f"running, {len(numbers['open'])} open trials" if numbers["running"] else "not running"
    lines = [
        f"space {numbers['space']}, strategy {numbers['strategy']}{proxy}",
        f"{running}; {numbers['executor']}, {numbers['workers']} workers, session {numbers['sessions']}",
        f"{numbers['told']:,} trials finished: {numbers['trained']:,} trained, {numbers['duplicates']:,} duplicates",
    ]
    if len(numbers["by_rung"]) > 1:
        counts = ", ".join(f"{count:,} at rung {rung}" for rung, count in numbers["by_rung"].items())
        lines.append(f"trained: {counts}")
    if best:
        lines.append(best_text(numbers))
    if numbers["failures"]:
        kinds = ", ".join(f"{count} {status}" for status, count in numbers["failures"].items())
        lines.append(f"failures: {kinds}")
        lines += [f"  {count} times {reason}" for reason, count in numbers["reasons"].items()]
    if numbers["acceptance"] is not None and numbers["acceptance"] < 1:
        lines.append(f"the constraints accept {numbers['acceptance']:.1%} of the draws")
    pace = f", {rate:,.0f} trials/h in this session" if rate else ""
    lines.append(f"{numbers['seconds'] / 3600:,.2f} hours of training{pace}; last activity {numbers['last']}")
    return "\n".join(lines)


def best_text(numbers: Mapping[str, Any]) -> str:
    """Return a line about the best trial of a `summary`, and the published network beside it if that was trained."""
    best, published = numbers["best"], numbers["published"]
    who = "the published network itself, " if numbers["best_is_published"] else ""
    text = f"best: {who}trial {best['trial']}, {numbers['reward']} {best['reward']:.4g} at rung {best['rung']}"
    if who or not published:
        return text
    return f"{text}; the published network: {fmean(published):.4g} ({count_of(len(published), 'training')})"
