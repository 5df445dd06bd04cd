"""A trained run for the tests of what is made of one."""

import pytest

from spinet.data.coco import CocoDataset
from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from spinet.engine.train import train


@pytest.fixture(scope="session")
def learnt(digits, tmp_path_factory):
    """A run that knows the 16 photos that it was trained on by heart, in a quarter of a minute."""
    run = tmp_path_factory.mktemp("learnt") / "run"
    config = TrainConfig(
        model=ModelConfig(arch="tiny", bn_momentum=0.1),
        data=DataConfig(
            root=str(digits),
            image_size=64,
            workers=0,
            cache_images=True,
            scale_jitter=(1.0, 1.0),
            horizontal_flip=False,
        ),
        optim=OptimConfig(lr=0.05, lr_batch=8, schedule="cosine", warmup_epochs=2, ema_decay=0.9),
        epochs=150,
        batch_size=8,
        eval_epochs=0,
        save_seconds=1e9,
        device="cpu",
    )
    result = train(config, run, val_set=CocoDataset(digits, "train"), quiet=True)
    assert result.last["AP"] > 0.8
    return run
