"""A run in MLflow. MLflow's own variables say where: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME."""

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from spinet.extras import import_extra
from spinet.track.tracker import End, Tracker

EXPERIMENT = "spinet"
STATUS: Mapping[End, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
# MLflow's limits: parameters in one call (of metrics it takes more), characters of one.
BATCH, LONGEST = 100, 6000


class MlflowRun(Tracker):
    """Settings as parameters, metrics by step, files and pictures as artifacts, trials as nested runs."""

    name: ClassVar[str] = "mlflow"

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        # A server that does not answer holds up a training for half a minute, not for an hour.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._mlflow = import_extra("mlflow", "mlflow", "tracking with mlflow")
        logging.getLogger("mlflow.store").setLevel(logging.WARNING)  # it tells of each table that it creates
        # Without these two MLflow cannot open the database that is its default, and names the model registry instead.
        for package in ("sqlalchemy", "alembic"):
            import_extra(package, "mlflow", "tracking with mlflow")

    def start(self, identity: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Create a run in the experiment, or continue one."""
        address = self._mlflow.get_tracking_uri()
        self._client = self._mlflow.MlflowClient(tracking_uri=address)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(name)
        self.where = f"experiment {name} in {address}"
        self._steps: dict[str, int] | None = None
        if identity.get("address") == address and self._exists(identity["run"]):
            self._id = identity["run"]
            self._client.update_run(self._id, status="RUNNING")
            self._steps = {}
        else:
            self._id = self._client.create_run(self._experiment, run_name=self.run.resolve().name).info.run_id
            self._parameters(self._id, settings)
        return {"address": address, "run": self._id}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add metrics, except those of steps that an interrupted session has added already."""
        new = {_plain(name): value for name, value in values.items() if step > self._last(_plain(name))}
        self._metrics(self._id, step, new)

    def add(self, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Add artifacts."""
        for file in files:
            self._client.log_artifact(self._id, str(file))
        for picture in pictures:
            self._client.log_artifact(self._id, str(picture), "pictures")

    def add_trial(self, number: int, settings: Mapping[str, Any], values: Mapping[str, float], failed: bool) -> None:
        """Add a nested run."""
        tags = {"mlflow.parentRunId": self._id}
        trial = self._client.create_run(self._experiment, tags=tags, run_name=f"trial {number}").info.run_id
        self._parameters(trial, settings)
        self._metrics(trial, 0, {_plain(name): value for name, value in values.items()})
        self._client.set_terminated(trial, STATUS["failed" if failed else "finished"])

    def end(self, how: End) -> None:
        """Set the status."""
        self._client.set_terminated(self._id, STATUS[how])

    def _exists(self, run: str) -> bool:
        try:
            return bool(self._client.get_run(run).info.lifecycle_stage == "active")
        except self._mlflow.exceptions.MlflowException:
            return False

    def _last(self, name: str) -> int:
        """Return the last step of a metric that earlier sessions have added; -1 without any."""
        if self._steps is None:
            return -1
        if name not in self._steps:
            history = self._client.get_metric_history(self._id, name)
            self._steps[name] = max((metric.step for metric in history), default=-1)
        return self._steps[name]

    def _metrics(self, run: str, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._mlflow.entities.Metric(name, value, now, step) for name, value in values.items()]
        for first in range(0, len(metrics), BATCH):
            self._client.log_batch(run, metrics=metrics[first : first + BATCH])

    def _parameters(self, run: str, settings: Mapping[str, Any]) -> None:
        parameters = [
            self._mlflow.entities.Param(_plain(name), str(value)[:LONGEST]) for name, value in settings.items()
        ]
        for first in range(0, len(parameters), BATCH):
            self._client.log_batch(run, params=parameters[first : first + BATCH])


def _plain(name: str) -> str:
    """Replace what MLflow allows in no name, such as the brackets of a class.

    >>> _plain("val/AP/dog (small)")
    'val/AP/dog _small_'
    """
    return re.sub(r"[^\w\-. :/]", "_", name)
