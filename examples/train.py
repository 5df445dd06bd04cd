"""Train a detector on your own images, evaluate, predict and export it; the command line does the same.

usage: python examples/train.py [FOLDER [EPOCHS]]
"""

import sys
from pathlib import Path

import spinet

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")
epochs = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0

# A dataset in COCO, YOLO or Pascal VOC format; here, generated images of handwritten digits.
data = spinet.make_demo_dataset(folder / "data", classes=3, train_images=200, val_images=20)

# The same call again resumes an interrupted run. Any setting can be changed, by its name in config.json.
trained = spinet.train("demo", folder / "run", data=data, epochs=epochs, optim={"lr": 0.8}, model__anchor_scale=3)
print(f"AP {trained.best['AP']:.3f}, AP50 {trained.best['AP50']:.3f} after {trained.steps} steps")

print("on the training images:", spinet.evaluate(folder / "run", split="train")["AP50"])
print(spinet.load(folder / "run").predict(sorted((data / "val").iterdir())[0]))
print(spinet.export(folder / "run", folder / "model.pt2", format="pt2"))
