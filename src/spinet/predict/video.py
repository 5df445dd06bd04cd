"""Videos and cameras in, annotated videos and one line of JSON per frame out, by PyAV (the extra `video`)."""

import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.formats.images import MAX_PIXELS
from spinet.predict.ahead import ahead, batches
from spinet.predict.predictor import Predictor, Prepared, Score, check_options
from spinet.predict.results import DetectionResult
from spinet.predict.video_sources import device_of, video_outputs, video_stream
from spinet.predict.video_writer import video_writer

# Fraction of a video's stated length that may be missing at its end, because containers round it.
MISSING = 0.02


@dataclass(frozen=True)
class FramePrediction:
    """The prediction for one frame: its line in the JSON file, and what was found in few words."""

    number: int
    entry: dict[str, Any]
    summary: str


def predict_video(
    predictor: Predictor,
    source: Path | str,
    out: Path,
    *,
    score_threshold: Score = 0.3,
    batch_size: int = 1,
    frames: int | None = None,
    stem: str | None = None,
) -> Iterator[FramePrediction]:
    """Detect objects in every frame; write `NAME.mp4` with them drawn and `NAME.jsonl` with one line per frame.

    Frames are turned as the rotation in the container says, and each keeps its own time. Pixels that are shown wider or
    higher than they are stored become square: boxes are in pixels of the written video. Both files get their names when
    the video ends or is interrupted, and hold all frames until then.

    Args:
        predictor: the detector.
        source: a video file, or `camera:0`.
        out: folder for both files.
        score_threshold: objects with lower scores are left out; see `Predictor.predict` for "auto".
        batch_size: frames that go through the network at once.
        frames: stop after this many.
        stem: NAME of both files; that of the source if None.

    Raises:
        SpinetError: PyAV is not installed, an option is out of range, the video cannot be opened, is truncated, or
            would be replaced by the annotated one.
    """
    check_options(score_threshold, batch_size=batch_size)
    av = import_extra("av", "video", "reading videos")
    (video,) = video_outputs([source], out, None if stem is None else [stem])
    try:
        name, input_format = device_of(str(source))
        container = av.open(name, format=input_format)
    except (av.error.FFmpegError, OSError) as error:
        raise SpinetError(f"could not open the video {source}: {error.strerror or error}") from None
    with container:
        stream = video_stream(container)
        if stream is None:
            raise SpinetError(f"{source} contains no video stream, only {len(container.streams)} of other kinds")
        prepared = ahead(_prepared(av, container, stream, predictor, str(source), frames), 2 * batch_size)
        # The thread that decodes has to end before the container is closed.
        with (
            closing(prepared),
            video_writer(av, video, video.with_suffix(".jsonl"), stream.average_rate) as write,
        ):
            for batch in batches(prepared, batch_size):
                results = predictor.predict_batch([image for _, _, image in batch], score_threshold)
                for (number, seconds, _), result in zip(batch, results, strict=True):
                    assert isinstance(result, DetectionResult)
                    entry = {"frame": number, "time": round(seconds, 4), "detections": result.to_dict()["detections"]}
                    write(result.plot(), entry, seconds)
                    yield FramePrediction(number, entry, result.summary())


def _prepared(
    av: Any, container: Any, stream: Any, predictor: Predictor, source: str, frames: int | None
) -> Iterator[tuple[int, float, Prepared]]:
    """Yield frames with their numbers and times; raise a SpinetError if they end before the video should."""
    number, seconds, why = 0, 0.0, "no frames come after it"
    rate = float(stream.average_rate or 25)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    # Broadcasts and cameras count from anywhere; players show the first frame at 0.
    start = container.start_time / av.time_base if container.start_time is not None else None
    try:
        for frame in islice(container.decode(stream), frames):
            width, height = _square_size(frame.width, frame.height, aspect, source)
            stored = frame.to_ndarray(format="rgb24", width=width, height=height)
            pixels = upright(stored, _display_matrix(frame))
            image = torch.from_numpy(pixels).permute(2, 0, 1)
            if frame.time is None:
                seconds = number and seconds + 1 / rate
            else:
                start = float(frame.time) if start is None else start
                seconds = max(float(frame.time) - start, 0.0)
            yield number, seconds, predictor.prepare(image)
            number += 1
    except av.error.FFmpegError as error:
        why = str(error.strerror or error)
    else:
        # Some containers state the number of frames, some the length, some neither: then any end will do. The length
        # says less: the last frame may stay for long.
        if stream.frames:
            complete = number >= stream.frames * (1 - MISSING)
        elif stream.duration:
            complete = seconds + 2 / rate >= float(stream.duration * stream.time_base) * (1 - MISSING)
        else:
            complete = seconds + 2 / rate >= float((container.duration or 0) / av.time_base) * (1 - MISSING)
        if number == frames or complete:
            return
    raise SpinetError(
        f"the video {source} is truncated: it ends after {number} frames ({seconds:.2f} seconds), {why}; "
        "the predictions up to there have been written"
    )


def _square_size(width: int, height: int, aspect: Fraction, source: str) -> tuple[int, int]:
    """Return width and height of a frame whose pixels are shown `aspect` times as wide as high, in square pixels.

    The side that is too short grows, so that nothing is lost.

    >>> _square_size(720, 576, Fraction(64, 45), "a.mpg"), _square_size(64, 48, Fraction(2, 3), "a.avi")
    ((1024, 576), (64, 72))
    """
    one = Fraction(1)
    square = round(width * max(aspect, one)), round(height / min(aspect, one))
    if square[0] * square[1] > MAX_PIXELS:
        raise SpinetError(
            f"the video {source} asks for frames of {square[0]} x {square[1]} pixels, by pixels of {aspect} times "
            f"their height; must be at most {MAX_PIXELS:,}"
        )
    return square


def _display_matrix(frame: Any) -> tuple[int, ...]:
    """Return the 3x3 matrix that turns a stored frame into the one that is shown; the identity if there is none."""
    found = frame.side_data.get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(found)[:36]) if found is not None else (1, 0, 0, 0, 1, 0, 0, 0, 1)


def upright(pixels: NDArray[np.uint8], matrix: tuple[int, ...]) -> NDArray[np.uint8]:
    """Turn and mirror an image `(H, W, 3)` by a display matrix, to the nearest quarter turn.

    The matrix `(a, b, u, c, d, v, x, y, w)` shows the pixel (x, y) at (a x + c y, b x + d y)
    (ISO/IEC 14496-12, section 6.2.2).

    >>> upright(np.arange(6, dtype=np.uint8).reshape(2, 3, 1), (0, 1, 0, -1, 0, 0, 0, 0, 1))[..., 0].tolist()
    [[3, 0], [4, 1], [5, 2]]
    """
    a, b, _, c, d = matrix[:5]
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, across, down = pixels.transpose(1, 0, 2), c, b
    turned = pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    return np.ascontiguousarray(turned)
