"""Detect objects, or classify: a trained model and images in, results in memory and a drawing out.

usage: python examples/predict.py MODEL IMAGE...     (MODEL: run folder, weights file or exported file)
"""

import sys

import spinet

model = spinet.load(sys.argv[1])
for path, result in zip(sys.argv[2:], model.predict(sys.argv[2:], score_threshold=0.4), strict=True):
    print(path, result)

# Images may also be PIL images, NumPy arrays (H, W, 3) or tensors (3, H, W), and one image gives one result.
result = model.predict(spinet.read_image(sys.argv[2]))
print(result.scores[:3], result.labels[:3], result.class_names[:3])
if isinstance(result, spinet.DetectionResult):
    print(result.boxes[:3])  # XYXY in pixels
    confident = result[result.scores > 0.8]
    print(len(confident), "confident objects,", confident.to_coco(image_id=1)[:1])
    confident.save("drawing.jpg")
