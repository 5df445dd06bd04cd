"""Journals of searches that never ran: real choices of a real space, rewards planted in them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from spinet.arch.graph_hash import graph_hash
from spinet.nas.space import Choices, Space
from spinet.nas.spaces import SPACES

START = datetime(2026, 1, 1, tzinfo=UTC)


HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>&\x1b[31m"


def planted(space: Space, choices: Choices) -> float:
    """A reward that favours bottlenecks and blocks of middle levels, between 0 and about 0.4."""
    blocks = space.decode(choices).blocks
    middle = sum(block.level in (4, 5) for block in blocks) / len(blocks)
    bottlenecks = sum(block.kind == "bottleneck" for block in blocks) / len(blocks)
    return max(0.0, 0.35 * middle + 0.15 * bottlenecks - 0.05)


class JournalMaker:
    """Makes the events of a search; `strategy` "evolution" mutates the best so far after `first` random trials."""

    def __init__(self, seed: int = 0, space: str = "spinenet49", **header: Any) -> None:
        self.space = SPACES[space]
        self.random = Random(seed)
        self.clock = START
        self.asked = 0
        self.first_trial: dict[tuple[str, int], int] = {}
        self.told: dict[int, dict[str, Any]] = {}
        self.ranking: list[tuple[float, Choices]] = []
        proxy = {"name": "tiny", "rungs": [4, 16], "reward": "AP50", "image_size": 128}
        constraint = {"measure": "macs", "low": 80e9, "high": 90e9, "image_size": 640, "head": "retinanet"}
        self.events: list[dict[str, Any]] = [
            {
                "event": "search",
                "version": 1,
                "space": self.space.to_dict(),
                "strategy": {"name": "evolution", "population": 100, "sample": 25},
                "proxy": proxy,
                "data": "data/bccd",
                "constraints": [constraint],
                "seed": seed,
                "replicates": 1,
            }
            | header
        ]
        self.session()

    def session(self) -> None:
        started = self.clock.isoformat()
        about = {"workers": 2, "executor": "processes", "device": "cpu", "spinet": "0.1.0"}
        self.events.append({"event": "session", "started": started, **about})

    def ask(self, choices: Choices, rung: int = 0, **notes: Any) -> int:
        number, graph = self.asked, graph_hash(self.space.decode(choices))
        self.asked += 1
        original = self.first_trial.setdefault((graph, rung), number)
        self.events.append(
            {
                "event": "ask",
                "trial": number,
                "choices": list(choices),
                "graph": graph,
                "rung": rung,
                "replicate": 0,
                "seed": self.random.getrandbits(60),
                "draws": self.random.randint(1, 9) if rung == 0 else 0,
                "duplicate_of": None if original == number else original,
                "notes": notes,
            }
        )
        return number

    def tell(self, number: int, choices: Choices, rung: int = 0, *, status: str = "done", reason: str = "") -> None:
        ask = next(event for event in self.events if event["event"] == "ask" and event["trial"] == number)
        if ask["duplicate_of"] is not None:
            told = self.told[ask["duplicate_of"]]
        else:
            told = {"status": status, **self._measured(choices, rung, status), "reason": reason}
        self.told[number] = told
        self.events.append({"event": "tell", "trial": number, **told})
        if ask["duplicate_of"] is None:
            seconds = round(self.random.uniform(15, 20) * 4**rung, 3)
            self.clock += timedelta(seconds=seconds / 2)
            self.events.append(
                {
                    "event": "time",
                    "trial": number,
                    "seconds": seconds,
                    "worker": "host:1",
                    "ended": self.clock.isoformat(),
                }
            )
        if told["status"] == "done" and rung == 0:
            self.ranking.append((told["reward"], choices))

    def retry(self, number: int, status: str, attempt: int, reason: str) -> None:
        self.events.append({"event": "retry", "trial": number, "status": status, "attempt": attempt, "reason": reason})

    def run(self, trials: int, *, first: int = 30, failures: float = 0.0, rungs: int = 1) -> "JournalMaker":
        """Add trials: random ones, then children of the best, some failing, and one in five promoted."""
        for _ in range(trials):
            rung, random = 0, len(self.ranking) < first
            if random:
                choices = self.space.sample(self.random)
            elif rungs > 1 and self.random.random() < 0.2:
                rung, choices = 1, max(self.random.sample(self.ranking, min(10, len(self.ranking))))[1]
            else:
                choices = self.space.mutate(
                    max(self.random.sample(self.ranking, min(10, len(self.ranking))))[1], self.random
                )
            number = self.ask(choices, rung, **({"random": True} if random else {}))
            if self.random.random() < failures:
                status = self.random.choice(["nan", "oom", "timeout", "lost", "build"])
                if status in ("oom", "lost"):
                    self.retry(number, status, 1, f"the worker said {status}")
                self.tell(number, choices, rung, status=status, reason=f"planted failure: {status} at step 12")
            else:
                self.tell(number, choices, rung)
        return self

    def write(self, run: Path, torn: str = "") -> Path:
        run.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(event) + "\n" for event in self.events)
        (run / "journal.jsonl").write_text(lines + torn)
        return run

    def _measured(self, choices: Choices, rung: int, status: str) -> dict[str, Any]:
        if status != "done":
            return {"reward": 0.0 if status == "nan" else None, "metrics": {}}
        reward = planted(self.space, choices) + 0.15 * rung + self.random.gauss(0, 0.02)
        metrics = {
            "AP": round(reward / 2, 4),
            "AP50": round(reward, 4),
            "loss": round(2 - reward, 4),
            "train_loss": round(1.5 - reward, 4),
            "curve": [round(3 - k / 10 - reward, 3) for k in range(12)],
            "macs": 300_000_000,
            "parameters": 1_200_000,
        }
        return {"reward": round(reward, 6), "metrics": metrics}
