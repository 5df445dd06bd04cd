import json
import sys

import numpy as np
import pytest
import torch

from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.predict.predictor import Predictor
from spinet.predict.video import check_outputs, device_of, is_video, predict_video

av = pytest.importorskip("av")

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (3, 8), 64)


class Finder(torch.nn.Module):
    """Finds a dog in the upper left quarter of every frame, as sure of it as the frame is bright."""

    def predict(self, images, score_threshold):
        corner = torch.tensor([[0.0, 0.0, 32.0, 16.0]])
        scores = images[:, :, :8, :8].mean(dim=(1, 2, 3)).sigmoid()
        return [{"boxes": corner, "scores": score[None], "labels": torch.tensor([1])} for score in scores]


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(Finder(), INFO)


def film(path, frames=12, size=(64, 48), rate=10):
    """A video that grows brighter."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        noise = np.random.default_rng(0)
        for number in range(frames):
            image = noise.integers(0, 40, (size[1], size[0], 3)) + 200 * number // frames
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_every_frame_has_a_line_and_the_annotated_video_is_as_long(predictor, tmp_path, batch_size):
    source = film(tmp_path / "walk.avi")

    found = list(predict_video(predictor, source, tmp_path / "out", batch_size=batch_size))

    entries = lines(tmp_path / "out" / "walk.jsonl")
    assert entries == [frame.entry for frame in found]
    assert [entry["frame"] for entry in entries] == list(range(12))
    assert [entry["time"] for entry in entries] == pytest.approx([number / 10 for number in range(12)], abs=0.001)
    scores = [entry["detections"][0]["score"] for entry in entries]
    assert scores == sorted(scores)
    assert entries[0]["detections"][0] == {
        "category_id": 8,
        "bbox": [0.0, 0.0, 32.0, 16.0],
        "score": scores[0],
        "class": "dog",
    }
    with av.open(str(tmp_path / "out" / "walk.mp4")) as written:
        shown = [frame.to_ndarray(format="rgb24") for frame in written.decode(video=0)]
    assert len(shown) == 12
    assert shown[0].shape == (48, 64, 3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["walk.jsonl", "walk.mp4"]


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_a_video_that_ends_in_the_middle_is_one_sentence_and_what_was_done_is_kept(predictor, tmp_path, suffix):
    source = film(tmp_path / f"cut.{suffix}", frames=40)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 3 // 4])

    with pytest.raises(SpinetError, match=r"cut\.\w+ is truncated: it ends after \d+ frames"):
        list(predict_video(predictor, source, tmp_path / "out", batch_size=3))

    count = len(lines(tmp_path / "out" / "cut.jsonl"))
    assert 5 < count < 38
    with av.open(str(tmp_path / "out" / "cut.mp4")) as written:
        assert sum(1 for _ in written.decode(video=0)) == count


def test_a_user_who_stops_keeps_what_was_done(predictor, tmp_path):
    found = predict_video(predictor, film(tmp_path / "a.avi", frames=30), tmp_path / "out")
    next(found), next(found)
    found.close()

    assert [entry["frame"] for entry in lines(tmp_path / "out" / "a.jsonl")] == [0, 1]


def test_the_number_of_frames_can_be_limited(predictor, tmp_path):
    list(predict_video(predictor, film(tmp_path / "a.avi"), tmp_path / "out", frames=4))

    assert len(lines(tmp_path / "out" / "a.jsonl")) == 4


def test_what_is_no_video_is_one_sentence(predictor, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "gone.mp4", "camera:77"):
        source = tmp_path / name if "camera" not in name else name
        with pytest.raises(SpinetError, match=f"could not open the video .*{name}"):
            list(predict_video(predictor, source, tmp_path / "out"))


def test_cameras_are_what_each_system_calls_them():
    assert device_of("camera:2", "linux") == ("/dev/video2", "v4l2")
    assert device_of("camera:0", "darwin") == ("0", "avfoundation")
    assert device_of("camera:Integrated Camera", "win32") == ("video=Integrated Camera", "dshow")
    assert is_video("camera:0")
    assert is_video("walk.MP4")
    assert not is_video("walk.jpg")
    with pytest.raises(SpinetError, match="'camera:front' names no camera"):
        device_of("camera:front", "linux")
    with pytest.raises(SpinetError, match="cameras are not supported on 'plan9'"):
        device_of("camera:0", "plan9")


def test_a_missing_extra_is_named(predictor, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SpinetError, match=r"pip install 'spinet\[video\]'"):
        list(predict_video(predictor, tmp_path / "a.mp4", tmp_path / "out"))


def test_a_video_is_not_replaced_by_its_annotated_one(predictor, tmp_path):
    source = film(tmp_path / "walk.mp4")
    before = source.read_bytes()

    with pytest.raises(SpinetError, match=r"walk\.mp4 would be written over"):
        list(predict_video(predictor, source, tmp_path))

    assert source.read_bytes() == before


def test_two_videos_of_one_name_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(SpinetError, match="would be written twice"):
        check_outputs([tmp_path / "a" / "walk.avi", "camera:0", tmp_path / "b" / "walk.mp4"], tmp_path / "out")
