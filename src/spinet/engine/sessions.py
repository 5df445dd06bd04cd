"""When a run was trained, on what, and how each session ended: `sessions.jsonl` in the run folder.

The file is for people and reports: nothing of a training depends on it.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from spinet.engine.machine import device_name, versions
from spinet.engine.state import TrainState
from spinet.formats.findings import Finding

SESSIONS = "sessions.jsonl"


@contextmanager
def session(run: Path, state: TrainState, device: torch.device, findings: Sequence[Finding]) -> Iterator[None]:
    """Note the start of a session with what the doctor found, and its end; a killed one has no end."""
    started = time.monotonic()

    def end(how: str) -> None:
        _append(run, {"event": "end", "step": state.step, "how": how, "seconds": round(time.monotonic() - started, 1)})

    said = [{"severity": finding.severity, "text": finding.text} for finding in findings]
    _append(run, {"event": "start", "step": state.step, "device": device_name(device), "doctor": said, **_now()})
    try:
        yield
    except KeyboardInterrupt:
        end("stopped")
        raise
    except BaseException as error:
        end(f"failed: {error!s:.300}")
        raise
    end("finished")


def read_sessions(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run; older runs have none, and lines that are not JSON are left out."""
    lines: list[dict[str, Any]] = []
    with suppress(OSError):
        for text in (run / SESSIONS).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and line.get("event") in ("start", "end"):
                    lines.append(line)
    return lines


def _now() -> dict[str, Any]:
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}


def _append(run: Path, line: Mapping[str, Any]) -> None:
    with suppress(OSError), (run / SESSIONS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
