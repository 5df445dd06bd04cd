"""Mask R-CNN learns a dozen real photos by heart: polygons, run lengths and crowd regions from end to end.

usage: python benchmarks/masks_by_heart.py COCO_FOLDER

Four photos with crowd regions and eight with one to six objects are trained on and measured on.
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

photos = CocoDataset(root, "train", cache_images=True, masks=True)
truth = json.loads(photos.annotation_file.read_text())
crowds = {entry["image_id"] for entry in truth["annotations"] if entry["iscrowd"]}
crowded = [place for place, sample in enumerate(photos.samples) if sample.image_id in crowds and len(sample.labels)]
others = [
    place
    for place, sample in enumerate(photos.samples)
    if sample.image_id not in crowds and 1 <= len(sample.labels) <= 6
]
part = photos.subset(crowded[:4] + others[:8])

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
result = train(config, None, train_set=part, val_set=part)
for name in ("AP", "AP50", "mask/AP", "mask/AP50"):
    print(f"{name} {result.last[name]:.3f}")
print(f"{result.seconds:.0f} s")
