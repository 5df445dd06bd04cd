"""Train, evaluate and predict from Python, on generated photos; the command line does the same.

usage: python examples/train_and_predict.py [FOLDER [EPOCHS]]
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from spinet import Predictor, load_recipe, train
from spinet.data.demo import make_demo_dataset
from spinet.data.images import read_image

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")
epochs = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0

root = make_demo_dataset(folder / "data", classes=3, train_images=200, val_images=20)
recipe = load_recipe("demo")
config = replace(recipe, epochs=epochs, data=replace(recipe.data, root=str(root)))
result = train(config, folder / "run")
print(f"AP {result.best['AP']:.3f}, AP50 {result.best['AP50']:.3f} after {result.steps} steps")

predictor = Predictor.load(folder / "run", torch.device("cpu"))
found = predictor(read_image(sorted((root / "val").iterdir())[0]))
for box, score, label in zip(found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True):
    print(predictor.info.class_names[label], f"{score:.2f}", [round(value) for value in box])
