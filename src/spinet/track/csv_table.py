"""`metrics.csv`: the metrics of a run as a table with one row per step, for spreadsheets and pandas."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from spinet.files import write_atomically
from spinet.track.tracker import End, Tracker

METRICS = "metrics.jsonl"
TABLE = "metrics.csv"


class CsvTable(Tracker):
    """Writes the table anew from `metrics.jsonl`, at each evaluation and at the end: resuming leaves no gaps in it.

    The trials of a search become `trials.csv`.
    """

    name: ClassVar[str] = "csv"

    def start(self, identity: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Say where the tables will be."""
        self.where = f"{TABLE} or, of a search, trials.csv in {self.run}"
        self._trials: dict[str, dict[str, Any]] = dict(identity.get("trials", {}))
        return {"trials": self._trials}

    def log(self, step: int, values: Mapping[str, float]) -> None:  # noqa: ARG002
        """Write the table after an evaluation."""
        if any(name.startswith("val/") for name in values):
            self._write()

    def add(self, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Do nothing: the files are beside the table."""

    def add_trial(self, number: int, settings: Mapping[str, Any], values: Mapping[str, float], failed: bool) -> None:
        """Write `trials.csv` with one more row."""
        self._trials[str(number)] = {"trial": number, **settings, **values, "failed": int(failed)}
        write_atomically(self.run / "trials.csv", _table(self._trials.values()))

    def end(self, how: End) -> None:  # noqa: ARG002
        """Write the table once more."""
        self._write()

    def _write(self) -> None:
        rows: dict[int, dict[str, Any]] = {}
        if (self.run / METRICS).is_file():
            for text in (self.run / METRICS).read_text(encoding="utf-8").splitlines():
                line = json.loads(text)
                rows.setdefault(line["step"], {}).update(line)
            write_atomically(self.run / TABLE, _table(rows.values()))


def _table(rows: Any) -> str:
    """Return rows as CSV with all columns that any of them has, in the order of their first appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
