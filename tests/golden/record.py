"""Record what Google's own code computes with networks a few channels wide; README.md says how to run it.

usage: python tests/golden/record.py PUBLISHED_VARIABLES.tsv
"""

import gzip
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from official.vision.modeling import retinanet_model
from official.vision.modeling.backbones.spinenet import SpineNet
from official.vision.modeling.backbones.spinenet_mobile import SpineNetMobile
from official.vision.modeling.heads.dense_prediction_heads import RetinaNetHead
from official.vision.modeling.layers.detection_generator import MultilevelDetectionGenerator

HERE = Path(__file__).resolve().parent
CLASSES = 4


def image(height: int, width: int) -> np.ndarray:
    """An image (1, H, W, 3) that any machine makes alike."""
    places = np.arange(height * width * 3, dtype=np.int64)
    return (places * places * 7919 % 1009 / 504.5 - 1).reshape(1, height, width, 3)


def disturb(model: tf_keras.Model, seed: int) -> None:
    """Make every weight and statistic differ from its neighbours, batch norms too; half precision compresses well."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        noise = generator.standard_normal(variable.shape)
        if "moving_variance" in variable.name or "gamma" in variable.name:
            value = 1 + 0.3 * np.abs(noise)
        elif "kernel" in variable.name:
            value = noise / np.sqrt(9 if "depthwise" in variable.name else np.prod(variable.shape[:-1]))
        else:
            value = 0.3 * noise
        variable.assign(value.astype("float16").astype("float32"))


def in_float64(make, model: tf_keras.Model) -> tf_keras.Model:
    """The same network in double precision."""
    tf_keras.backend.set_floatx("float64")
    twin = make()
    tf_keras.backend.set_floatx("float32")
    twin.set_weights([weight.astype("float64") for weight in model.get_weights()])
    return twin


def save(name: str, checkpoint: tf.train.Checkpoint) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.write(f"{folder}/ckpt")
        pack(Path(folder), name)


def pack(folder: Path, name: str) -> None:
    """Put a checkpoint's files into an archive."""
    with zipfile.ZipFile(HERE / f"{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


def levels(features: dict[str, tf.Tensor], prefix: str) -> dict[str, np.ndarray]:
    return {f"{prefix}_{level}": np.asarray(value) for level, value in features.items()}


def record_backbone() -> None:
    """The main network, its blocks once; features in float64."""

    def make() -> tf_keras.Model:
        return SpineNet(
            tf_keras.layers.InputSpec(shape=[None, 128, 256, 3]),
            filter_size_scale=0.07,
            endpoints_num_filters=6,
            activation="swish",
        )

    model = make()
    disturb(model, 1)
    save("main", tf.train.Checkpoint(backbone=model))
    twin = in_float64(make, model)
    np.savez_compressed(HERE / "main.npz", **levels(twin(image(128, 256), training=False), "features"))


def record_detector() -> None:
    """The mobile network with its RetinaNet, as a trainer saves it; all that it gives on the way."""
    backbone = SpineNetMobile(
        tf_keras.layers.InputSpec(shape=[None, 128, 128, 3]),
        filter_size_scale=0.2,
        endpoints_num_filters=8,
        activation="swish",
    )
    head = RetinaNetHead(
        min_level=3,
        max_level=7,
        num_classes=CLASSES,
        num_anchors_per_location=9,
        num_convs=2,
        num_filters=8,
        use_separable_conv=True,
        activation="swish",
        norm_momentum=0.99,
        norm_epsilon=0.001,
    )
    generator = MultilevelDetectionGenerator(
        pre_nms_top_k=5000,
        pre_nms_score_threshold=0.05,
        nms_iou_threshold=0.5,
        max_num_detections=100,
        nms_version="v2",
    )
    model = retinanet_model.RetinaNetModel(
        backbone,
        None,
        head,
        generator,
        min_level=3,
        max_level=7,
        num_scales=3,
        aspect_ratios=[0.5, 1.0, 2.0],
        anchor_size=3.0,
    )
    inputs = tf.constant(image(128, 128), tf.float32)
    model(inputs, training=True)  # makes the head's variables
    disturb(backbone, 2)
    disturb(head, 3)
    optimizer = tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    optimizer.apply_gradients([(tf.zeros_like(value), value) for value in head.trainable_variables[:2]])
    step = tf.Variable(7, dtype=tf.int64)
    save("mobile-retinanet", tf.train.Checkpoint(backbone=backbone, head=head, optimizer=optimizer, global_step=step))
    features = backbone(inputs, training=False)
    scores, boxes = head(features, training=False)[:2]
    found = model(inputs, image_shape=tf.constant([[128, 128]]), training=False)
    outputs = levels(features, "features") | levels(scores, "classes") | levels(boxes, "boxes")
    names = ("boxes", "scores", "classes")
    outputs |= {f"detection_{name}": np.asarray(found[f"detection_{name}"])[0] for name in names}
    outputs["detection_count"] = np.asarray(found["num_detections"])[0]
    np.savez_compressed(HERE / "mobile-retinanet.npz", **outputs)


def record_types() -> None:
    """A few variables of several types, by the writer of TensorFlow 1."""
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), tf.compat.v1.Session() as session:
        values = {
            "spinenet/conv2d/kernel": np.sin(np.arange(24.0)).reshape(2, 3, 4).astype("float32"),
            "half": np.arange(5).astype("float16") / 3,
            "brain": np.arange(5).astype("float32") / 3,
            "double": np.arange(3) / 7,
            "global_step": np.array(62557, "int64"),
            "flags": np.array([True, False]),
            "empty": np.zeros((0, 3), "float32"),
        }
        kinds = {"brain": tf.bfloat16}
        variables = {
            name: tf.compat.v1.get_variable(name, initializer=tf.constant(value, kinds.get(name)), use_resource=True)
            for name, value in values.items()
        }
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(list(variables.values()))
        saver.save(session, f"{folder}/model.ckpt", write_meta_graph=False, write_state=False)
        pack(Path(folder), "types")


def main() -> None:
    """Record everything."""
    record_backbone()
    record_detector()
    record_types()
    published = Path(sys.argv[1]).read_bytes()
    (HERE / "published-spinenet49s-variables.tsv.gz").write_bytes(gzip.compress(published, 9, mtime=0))


if __name__ == "__main__":
    main()
