"""Settings that train on the generated photos in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from spinet.engine.state import TrainState


@pytest.fixture
def config(digits: Path) -> TrainConfig:
    """Eight steps of four images, with everything that draws random numbers switched on."""
    return TrainConfig(
        model=ModelConfig(arch="tiny", stochastic_depth=0.2, dropblock=0.1),
        data=DataConfig(root=str(digits), image_size=64, workers=0, cache_images=True),
        optim=OptimConfig(lr=1.0, schedule="cosine", warmup_epochs=0.5, ema_decay=0.9),
        epochs=2,
        batch_size=4,
        eval_epochs=1,
        log_steps=1,
        save_seconds=0,
        device="cpu",
    )


@pytest.fixture
def short(config: TrainConfig) -> TrainConfig:
    """Two steps, evaluated once."""
    return replace(config, epochs=0.5, eval_epochs=0)


def _interrupt(run: Path) -> None:
    del run
    raise KeyboardInterrupt


@pytest.fixture
def stop_at(monkeypatch):
    """Return a function that has trainings stop after they save at a step, or go on to their end again.

    Its second argument is another thing to do at that step, with the run folder.
    """
    save = TrainState.save

    def stop_after(step, action=_interrupt):
        def saved(state, run):
            save(state, run)
            if state.step == step:
                action(run)

        monkeypatch.setattr(TrainState, "save", saved)

    return stop_after
