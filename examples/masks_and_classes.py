"""Train Mask R-CNN, crop the objects, and train a classifier on the crops, with generated images.

usage: python examples/masks_and_classes.py [FOLDER [EPOCHS]]
"""

import sys
from pathlib import Path

import spinet

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")
epochs = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
small = {"epochs": epochs, "model.arch": "tiny", "data.horizontal_flip": False}

images = spinet.make_demo_dataset(folder / "data", classes=3, train_images=200, val_images=20)
best = spinet.train("small-cpu-masks", folder / "masks", data=images, data__image_size=128, **small).best
print(f"boxes: AP50 {best['AP50']:.3f}, masks: AP50 {best['mask/AP50']:.3f}")
result = spinet.load(folder / "masks").predict(sorted((images / "val").iterdir())[0], score_threshold=0.05)
print(result, "with masks of shape", result.masks.shape)

crops = folder / "crops"
if not crops.exists():
    spinet.crop_boxes(images, crops)
best = spinet.train("small-cpu-classes", folder / "classes", data=crops, data__image_size=48, **small).best
print(f"classes: top-1 {best['top1']:.3f}")
print(spinet.load(folder / "classes").predict(sorted(crops.glob("val/*/*.jpg"))[0], top=3))
