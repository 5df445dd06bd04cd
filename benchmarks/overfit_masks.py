"""Overfits Mask R-CNN to a dozen COCO images: polygons, run-length masks and crowd regions end to end.

usage: python benchmarks/overfit_masks.py COCO_FOLDER

Trains and evaluates on the same images: four with crowd regions and eight with one to six objects.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from spinet import load_recipe, train
from spinet.data.coco import CocoDataset

root = Path(sys.argv[1])
torch.set_num_threads(1)

dataset = CocoDataset(root, "train", cache_images=True, masks=True)
annotations = json.loads(dataset.annotation_file.read_text())["annotations"]
crowds = {annotation["image_id"] for annotation in annotations if annotation["iscrowd"]}
crowded = [index for index, image in enumerate(dataset.samples) if image.image_id in crowds and len(image.labels)]
others = [
    index for index, image in enumerate(dataset.samples) if image.image_id not in crowds and 1 <= len(image.labels) <= 6
]
subset = dataset.subset(crowded[:4] + others[:8])

recipe = load_recipe("small-cpu-masks")
config = replace(
    recipe,
    epochs=250,
    batch_size=4,
    eval_epochs=0,
    log_steps=50,
    data=replace(recipe.data, root=str(root), image_size=256, scale_jitter=(1.0, 1.0), horizontal_flip=False),
    optim=replace(recipe.optim, lr=2.0, warmup_epochs=10, ema_decay=0.99),
)
result = train(config, None, train_set=subset, val_set=subset)
for name in ("AP", "AP50", "mask/AP", "mask/AP50"):
    print(f"{name} {result.last[name]:.3f}")
print(f"{result.seconds:.0f} s")
