"""From a journal to the state of its search, and to a strategy that has learnt what it holds."""

import json
from pathlib import Path

from spinet.errors import SpinetError
from spinet.nas.config import SearchConfig, check_header
from spinet.nas.journal import Event, Journal
from spinet.nas.snapshot import NAME as SNAPSHOT
from spinet.nas.snapshot import load_snapshot
from spinet.nas.state import SearchState
from spinet.nas.trial import Snapshots, Strategy


def resume(config: SearchConfig, run: Path, journal: Journal, strategy: Strategy) -> SearchState:
    """Begin a journal, or replay the one there is into a state and a fresh strategy.

    Raises:
        SpinetError: the journal is of another search, or damaged; the sentence names the setting or the line.
    """
    state = SearchState()
    if journal.size and _asked_nothing(journal, config):
        journal.clear()
    if journal.size == 0:
        (run / SNAPSHOT).unlink(missing_ok=True)  # of a journal that is gone
        for start, event in journal.append([config.header()], durable=True):
            state.apply(event, start)
        state.strategy = strategy
        return state
    _, header = next(journal.read())
    check_header(journal.path, header, config)
    learnt = _load(run, strategy, journal)
    for line, (start, event) in enumerate(journal.read()):
        if line == learnt:
            state.strategy = strategy
        replay(state, journal.path, line + 1, start, event)
    state.strategy = strategy
    return state


def replay(state: SearchState, path: Path, line: int, start: int, event: Event) -> None:
    """Let a state take in a line of a journal.

    Raises:
        SpinetError: the event does not fit what came before.
    """
    try:
        state.apply(event, start)
    except (LookupError, TypeError, ValueError) as error:
        raise SpinetError(
            f"{path}, line {line} is damaged: its {event['event']} does not fit the lines before ({error!r})"
        ) from None


def _asked_nothing(journal: Journal, config: SearchConfig) -> bool:
    """Whether the journal is of another search, which never came to a trial: its settings may be corrected."""
    if next(journal.read())[1] == json.loads(json.dumps(config.header())):
        return False
    return all(event["event"] in ("search", "session") for _, event in journal.read())


def _load(run: Path, strategy: Strategy, journal: Journal) -> int:
    """Give a strategy its snapshot, if there is one; return how many lines of the journal it has learnt."""
    if not isinstance(strategy, Snapshots):
        return 0
    saved = load_snapshot(run, journal)
    if saved is None:
        return 0
    strategy.load(saved[1])
    return saved[0]
