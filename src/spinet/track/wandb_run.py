"""A run in Weights & Biases. Its own variables say where: WANDB_PROJECT, WANDB_MODE, WANDB_DIR, WANDB_API_KEY."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from spinet.extras import import_extra
from spinet.track.tracker import End, Tracker

PROJECT = "spinet"


class WandbRun(Tracker):
    """Settings as config, metrics by step, weights as an artifact, trials as runs of a group."""

    name: ClassVar[str] = "wandb"

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        self._wandb = import_extra("wandb", "wandb", "tracking with wandb")
        self._open: Any = None

    def start(self, identity: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Create a run, or continue one; offline, both sessions have its id and become one when they are synced."""
        name = self.run.resolve().name
        known = identity.get("id")
        self._project = os.environ.get("WANDB_PROJECT", PROJECT)
        self._open = self._init(id=known, name=name, resume="allow" if known else None, config=dict(settings))
        self.where = self._open.url or f"offline, in {self._open.dir}"
        return {"id": self._open.id}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add metrics; the package leaves out steps before those that it has."""
        self._open.log(dict(values), step=step)

    def add(self, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Add pages and pictures as media, and other files as an artifact."""
        media: dict[str, Any] = {}
        others = [file for file in files if file.suffix != ".html"]
        artifact = self._wandb.Artifact(f"{self._open.id}-weights", "model")
        for file in files:
            if file.suffix == ".html":
                media[file.stem] = self._wandb.Html(file.read_text(encoding="utf-8"), inject=False)
        for file in others:
            artifact.add_file(str(file))
        if pictures:
            media["pictures"] = [self._wandb.Image(str(picture), caption=picture.stem) for picture in pictures]
        if media:
            self._open.log(media)
        if others:
            self._open.log_artifact(artifact)

    def add_trial(self, number: int, settings: Mapping[str, Any], values: Mapping[str, float], failed: bool) -> None:
        """Add a run of the group that is named after the search's run."""
        group = {"group": self._open.id, "job_type": "trial", "reinit": "create_new"}
        trial = self._init(name=f"trial {number}", config=dict(settings), **group)
        trial.log(dict(values))
        trial.finish(exit_code=int(failed))

    def end(self, how: End) -> None:
        """Close the run."""
        if self._open is not None:
            self._open.finish(exit_code=0 if how == "finished" else 1)
            self._open = None

    def _init(self, **arguments: Any) -> Any:
        # The terminal belongs to the training: neither a banner nor a copy of its output.
        settings = self._wandb.Settings(silent=True, console="off")
        return self._wandb.init(project=self._project, settings=settings, **arguments)
