"""Train Mask R-CNN, cut the objects out, and train a classifier on them, on generated photos.

usage: python examples/masks_and_classes.py [FOLDER [EPOCHS]]
"""

import sys
from dataclasses import replace
from pathlib import Path

from spinet import load_recipe, train
from spinet.data.demo import make_demo_dataset
from spinet.predict.crops import crop_boxes

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")
epochs = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0

photos = make_demo_dataset(folder / "data", classes=3, train_images=200, val_images=20)
recipe = load_recipe("small-cpu-masks")
config = replace(
    recipe,
    epochs=epochs,
    model=replace(recipe.model, arch="tiny"),
    data=replace(recipe.data, root=str(photos), image_size=128, horizontal_flip=False),
)
metrics = train(config, folder / "masks").best
print(f"boxes: AP50 {metrics['AP50']:.3f}, masks: AP50 {metrics['mask/AP50']:.3f}")

if not (folder / "crops").exists():
    crop_boxes(photos, folder / "crops")
recipe = load_recipe("small-cpu-classes")
config = replace(
    recipe,
    epochs=epochs,
    model=replace(recipe.model, arch="tiny"),
    data=replace(recipe.data, root=str(folder / "crops"), image_size=48, horizontal_flip=False),
)
metrics = train(config, folder / "classes").best
print(f"classes: top-1 {metrics['top1']:.3f}")
