"""Record what tensorflow/models computes with Mask and Cascade R-CNNs on a narrow SpineNet-49, stage by stage.

usage: python benchmarks/golden_maskrcnn.py FOLDER

Writes FOLDER/model_garden/MaskRCNN-SpineNet and FOLDER/model_garden/CascadeRCNN-SpineNet, each with a checkpoint as a
trainer saves it (`ckpt`), its variables (`keys.txt`) and the outputs (`golden.npz`). Weights and statistics are random.
`SPINET_GOLDEN=FOLDER pytest tests/convert/test_convert_maskrcnn_golden.py` compares with them.

Needs an environment of its own (recorded with Python 3.12 on a CPU):

    pip install tensorflow-cpu==2.20.0 tf-keras==2.20.1 pyyaml gin-config tensorflow-datasets scipy pycocotools \
        opencv-python-headless matplotlib
    pip install --no-deps tf-models-official==2.20.0
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from official.vision.configs import common, decoders
from official.vision.configs import maskrcnn as configs
from official.vision.modeling import factory
from official.vision.modeling.backbones.spinenet import SpineNet
from official.vision.ops import anchor, box_ops

HEIGHT, WIDTH, CLASSES = 256, 384, 6
CHANNELS, CONVS = 16, 2
# Standard deviation of the class logits.
LOGITS = 2.0
# Weights of the box offsets of each stage, as `MaskRCNNModel` has them.
WEIGHTS = ([10.0, 10.0, 5.0, 5.0], [20.0, 20.0, 10.0, 10.0])


def image() -> np.ndarray:
    """An image (1, H, W, 3), smooth enough for features to differ from place to place."""
    y, x, c = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(3), indexing="ij")
    places = np.arange(HEIGHT * WIDTH * 3, dtype=np.int64).reshape(y.shape)
    noise = places * places * 7919 % 1009 / 504.5 - 1
    waves = np.sin(y / (11.0 + 3 * c)) + np.cos(x / (17.0 - 4 * c)) + np.sin((x * y) / 2000.0)
    return (waves + 0.5 * noise)[None].astype("float32")


def disturb(variables: list[tf.Variable], seed: int) -> None:
    """Make every weight and statistic differ from its neighbours, and predictions about as large as trained ones."""
    generator = np.random.default_rng(seed)
    for variable in variables:
        noise = generator.standard_normal(variable.shape)
        if "moving_variance" in variable.name or "gamma" in variable.name:
            value = 1 + 0.3 * np.abs(noise)
        elif "kernel" in variable.name:
            inputs = np.prod(variable.shape[:-1])
            if "upsampling" in variable.name:  # transposed: height, width, out, in
                inputs = variable.shape[-1]
            value = noise / np.sqrt(inputs)
            value *= {"rpn-boxes": 0.15, "detection-boxes": 3.0}.get(layer(variable), 1.0)
        else:
            value = 0.2 * noise
        variable.assign(value.astype("float32"))


def settle(model: tf_keras.Model, inputs: tf.Tensor, shape: tf.Tensor, scales: int) -> None:
    """Give batch norms statistics near those of the features, so that these stay small, and each class its share."""
    for part in model.submodules:
        if isinstance(part, tf_keras.layers.BatchNormalization):
            part.momentum = 0.0
    tf_keras.backend.set_learning_phase(1)
    features, rois = regions(model, inputs, shape, scales)
    for head in model.detection_head:
        head(model.roi_aligner(features, rois))
    few = rois[:, :50]
    model.mask_head([model.mask_roi_aligner(features, few), tf.zeros(few.shape[:2], tf.int32)])
    tf_keras.backend.set_learning_phase(0)
    generator = np.random.default_rng(6)
    for variable in model.variables:
        noise = generator.standard_normal(variable.shape)
        if "moving_variance" in variable.name:
            variable.assign((np.asarray(variable) * (1 + 0.2 * np.abs(noise)) + 0.2).astype("float32"))
        elif "moving_mean" in variable.name:
            variable.assign_add((0.05 * noise).astype("float32"))
    features, rois = regions(model, inputs, shape, scales)
    for head in model.detection_head:
        logits, _ = head(model.roi_aligner(features, rois))
        mean, deviation = tf.reduce_mean(logits, (0, 1)), tf.math.reduce_std(logits, (0, 1))
        for variable in head.variables:
            if layer(variable) == "detection-scores":
                centered = variable - mean if "bias" in variable.name else variable
                variable.assign(LOGITS * centered / deviation)


def regions(model: tf_keras.Model, inputs: tf.Tensor, shape: tf.Tensor, scales: int) -> tuple[dict, tf.Tensor]:
    """Features and proposals."""
    features = model.backbone(inputs)
    scores, boxes = model.rpn_head(features)
    return features, model.roi_generator(boxes, scores, anchors(scales), shape, training=False)[0]


def layer(variable: tf.Variable) -> str:
    """Name of the layer of a variable."""
    return variable.name.split("/")[-2]


def build(cascade: bool) -> tf_keras.Model:
    """Build an R-CNN with the project's own factory."""
    activation = "swish" if cascade else "relu"
    specs = tf_keras.layers.InputSpec(shape=[None, HEIGHT, WIDTH, 3])
    backbone = SpineNet(specs, filter_size_scale=0.25, endpoints_num_filters=CHANNELS, activation=activation)
    head = {"num_convs": CONVS, "num_filters": CHANNELS}
    config = configs.MaskRCNN(
        num_classes=CLASSES,
        input_size=[HEIGHT, WIDTH, 3],
        min_level=3,
        max_level=7,
        anchor=configs.Anchor(anchor_size=3.0, num_scales=3 if cascade else 1),
        decoder=decoders.Decoder(type="identity", identity=decoders.Identity()),
        rpn_head=configs.RPNHead(num_convs=2 if cascade else 1, num_filters=CHANNELS),
        detection_head=configs.DetectionHead(
            **head,
            num_fcs=1,
            fc_dims=4 * CHANNELS,
            class_agnostic_bbox_pred=cascade,
            cascade_class_ensemble=cascade,
        ),
        roi_sampler=configs.ROISampler(cascade_iou_thresholds=[0.7] if cascade else None),
        mask_head=configs.MaskHead(**head),
        norm_activation=common.NormActivation(activation=activation, use_sync_bn=False),
    )
    return factory.build_maskrcnn(specs, config, backbone=backbone)


def anchors(scales: int) -> dict[str, tf.Tensor]:
    """Anchors of each level, as the model makes them."""
    boxes = anchor.Anchor(3, 7, scales, [0.5, 1.0, 2.0], 3.0, (HEIGHT, WIDTH)).multilevel_boxes
    return {level: value[None] for level, value in boxes.items()}


def record(folder: Path, cascade: bool) -> None:
    """Write checkpoint and outputs of one network."""
    model = build(cascade)
    inputs, shape = tf.constant(image()), tf.constant([[float(HEIGHT), float(WIDTH)]])
    model(inputs, image_shape=shape, training=False)  # makes the heads' variables
    disturb(model.variables, 5)
    settle(model, inputs, shape, 3 if cascade else 1)
    found = model(inputs, image_shape=shape, training=False)
    features = found["decoder_features"]
    boxes, _ = model.roi_generator(
        found["rpn_boxes"], found["rpn_scores"], anchors(3 if cascade else 1), shape, training=False
    )
    mask_features = model.mask_roi_aligner(features, found["detection_boxes"])
    names = ("detection_boxes", "detection_scores", "detection_classes", "detection_masks", "num_detections")
    outputs = {name: found[name] for name in names} | {
        "image": inputs,
        "proposals": boxes,
        "roi_features": model.roi_aligner(features, boxes),
        "mask_features": mask_features,
        "mask_logits": model.mask_head([mask_features, found["detection_classes"]]),
    }
    for stage, head in enumerate(model.detection_head):
        outputs[f"class_{stage}"], deltas = head(model.roi_aligner(features, boxes))
        outputs[f"box_{stage}"] = deltas
        if cascade:
            boxes = box_ops.decode_boxes(deltas, boxes, weights=WEIGHTS[stage])
            boxes = box_ops.clip_boxes(boxes, shape[:, None])
    for level in features:
        outputs[f"features_{level}"] = features[level]
        outputs[f"rpn_scores_{level}"] = found["rpn_scores"][level]
        outputs[f"rpn_boxes_{level}"] = found["rpn_boxes"][level]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "golden.npz", **{name: np.asarray(value) for name, value in outputs.items()})
    optimizer = tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    optimizer.apply_gradients([(tf.zeros_like(value), value) for value in model.trainable_variables[:3]])
    step = tf.Variable(7, dtype=tf.int64)
    # official/vision trainers save the model and its `checkpoint_items`.
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, global_step=step, **model.checkpoint_items)
    checkpoint.write(str(folder / "ckpt"))
    found_names = [f"{name}\t{shape}" for name, shape in tf.train.list_variables(str(folder / "ckpt"))]
    (folder / "keys.txt").write_text("\n".join(found_names) + "\n")
    count = int(found["num_detections"][0])
    valid = int(np.any(np.asarray(outputs["proposals"])[0] != 0, axis=1).sum())
    print(f"{folder}: {valid} proposals, {count} detections of classes {set(outputs['detection_classes'].numpy()[0])}")


def main() -> None:
    """Record both networks."""
    root = Path(sys.argv[1]) / "model_garden"
    record(root / "MaskRCNN-SpineNet", cascade=False)
    record(root / "CascadeRCNN-SpineNet", cascade=True)


if __name__ == "__main__":
    main()
