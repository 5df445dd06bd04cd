import json
import struct
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.predict.predictor import Predictor
from spinet.predict.video import predict_video, upright
from spinet.predict.video_sources import device_of, find_sources, is_video, video_outputs

av = pytest.importorskip("av")

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (3, 8), 64)


class Finder(torch.nn.Module):
    """Finds a dog in the upper left quarter of every frame, as sure of it as the frame is bright."""

    def predict(self, images, score_threshold):
        corner = torch.tensor([[0.0, 0.0, 32.0, 16.0]])
        scores = images[:, :, :8, :8].mean(dim=(1, 2, 3)).sigmoid()
        return [{"boxes": corner, "scores": score[None], "labels": torch.tensor([1])} for score in scores]


class Blind(torch.nn.Module):
    """Finds nothing."""

    def predict(self, images, score_threshold):
        nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
        return [nothing for _ in images]


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

    # The first frames are dark.
    found = list(predict_video(predictor, source, tmp_path / "out", score_threshold=0.0, batch_size=batch_size))

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


def test_two_videos_of_one_name_are_numbered(tmp_path):
    found = video_outputs([tmp_path / "a" / "walk.avi", "camera:0", tmp_path / "b" / "walk.mp4"], tmp_path / "out")
    assert [path.name for path in found] == ["walk.mp4", "camera-0.mp4", "walk-2.mp4"]


# --- rotation, times, containers ---


def turned(path, matrix):
    """Write a display matrix into the header of an .mp4, as phones do; all of their files store lying frames."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 0x10000 for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(bytes(content))
    return path


def marked(path, **options):
    """A video of 64 x 48 whose upper left quarter is red."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32, 0] = 255
    return written(path, [pixels] * 3, [0, 0.1, 0.2], **options)


def written(path, pictures, seconds, aspect=0, **options):
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        for picture, second in zip(pictures, seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(1000 * second), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# Display matrices, and the corner in which the upper left quarter of the stored frame is shown.
TURNS = {
    "not at all": ((1, 0, 0, 1), "upper left"),
    "clockwise": ((0, 1, -1, 0), "upper right"),
    "half": ((-1, 0, 0, -1), "lower right"),
    "counterclockwise": ((0, -1, 1, 0), "lower left"),
    "mirrored": ((-1, 0, 0, 1), "upper right"),
    "upside down": ((1, 0, 0, -1), "lower left"),
    "transposed": ((0, 1, 1, 0), "upper left"),
    "transversed": ((0, -1, -1, 0), "lower right"),
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_are_turned_as_the_container_says_and_written_upright(tmp_path, turn):
    matrix, corner = TURNS[turn]
    source = turned(marked(tmp_path / "phone.mp4"), matrix)

    list(predict_video(Predictor(Blind(), INFO), source, tmp_path / "out"))

    with av.open(str(tmp_path / "out" / "phone.mp4")) as container:
        frame = next(container.decode(video=0))
        shown, again = frame.to_ndarray(format="rgb24"), frame.side_data.get("DISPLAYMATRIX")
    assert again is None
    assert shown.shape == ((64, 48, 3) if matrix[0] == 0 else (48, 64, 3))
    height, width = (side // 2 for side in shown.shape[:2])
    red = {
        f"{vertical} {horizontal}": shown[rows, columns, 0].mean()
        for vertical, rows in (("upper", slice(height)), ("lower", slice(height, None)))
        for horizontal, columns in (("left", slice(width)), ("right", slice(width, None)))
    }
    assert max(red, key=red.__getitem__) == corner


def test_a_turn_that_is_no_quarter_takes_the_nearest():
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)

    assert upright(pixels, (9, 3, 0, -3, 9, 0, 0, 0, 1)).tolist() == pixels.tolist()
    assert upright(pixels, (3, 9, 0, -9, 3, 0, 0, 0, 1)).shape == (3, 2, 1)
    assert upright(pixels, (0,) * 9).tolist() == pixels.tolist()


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("aspect", "size", "box"),
    [(2, (48, 128), [0, 0, 64, 32]), (Fraction(2, 3), (72, 64), [0, 0, 36, 18]), (0, (48, 64), [0, 0, 32, 16])],
)
def test_pixels_that_are_not_square_become_so_before_the_network_sees_them(
    predictor, tmp_path, suffix, aspect, size, box
):
    source = marked(tmp_path / f"tape.{suffix}", aspect=aspect)

    list(predict_video(predictor, source, tmp_path / "out"))

    with av.open(str(tmp_path / "out" / "tape.mp4")) as container:
        frame = next(container.decode(video=0))
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)
    # The finder's box is a quarter of what it sees: a square of 64 pixels that the frame was fitted into.
    assert lines(tmp_path / "out" / "tape.jsonl")[0]["detections"][0]["bbox"] == pytest.approx(box, abs=0.2)
    red = frame.to_ndarray(format="rgb24")[..., 0] > 128
    assert red.shape == size
    # All of the upper left quarter, except where the box and its name are drawn and where colours are blurred.
    assert red[: size[0] // 2 - 4, size[1] // 4 : size[1] // 2 - 4].mean() > 0.5
    assert red[size[0] // 2 + 4 :].mean() < 0.02
    assert red[:, size[1] // 2 + 4 :].mean() < 0.02


def test_pixels_that_are_not_square_are_those_of_the_stored_frame_which_is_turned_after_that(tmp_path):
    source = turned(marked(tmp_path / "phone.mp4", aspect=2), TURNS["clockwise"][0])

    list(predict_video(Predictor(Blind(), INFO), source, tmp_path / "out"))

    with av.open(str(tmp_path / "out" / "phone.mp4")) as container:
        assert next(container.decode(video=0)).to_ndarray(format="rgb24").shape == (128, 48, 3)


def test_pixels_of_an_absurd_shape_are_one_sentence(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr("spinet.predict.video.MAX_PIXELS", 64 * 48 * 30)
    source = marked(tmp_path / "tape.mkv", aspect=40)

    with pytest.raises(SpinetError, match=r"tape\.mkv asks for frames of 2560 x 48 pixels, by pixels of 40 times"):
        list(predict_video(predictor, source, tmp_path / "out"))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_frames_keep_their_own_times(predictor, tmp_path, suffix):
    seconds = [0.0, 0.04, 0.5, 0.52, 1.3, 2.2]
    pictures = [np.full((48, 64, 3), 30 * number, np.uint8) for number in range(6)]
    source = written(tmp_path / f"vfr.{suffix}", pictures, seconds)

    list(predict_video(predictor, source, tmp_path / "out"))

    assert [entry["time"] for entry in lines(tmp_path / "out" / "vfr.jsonl")] == pytest.approx(seconds, abs=0.002)
    with av.open(str(tmp_path / "out" / "vfr.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx(seconds, abs=0.002)


@pytest.mark.parametrize("name", ["clip.3gp", "clip.mts", "clip.flv", "clip.ogv", "clip", "clip.unheard", "CLIP.MOV"])
def test_what_pyav_opens_is_a_video_whatever_it_is_called(predictor, tmp_path, name):
    (tmp_path / name).write_bytes(film(tmp_path / "plain.mp4", frames=3).read_bytes())

    assert is_video(tmp_path / name)
    assert len(list(predict_video(predictor, tmp_path / name, tmp_path / "out"))) == 3


def test_images_texts_and_music_are_no_videos(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "image", "png")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "empty.dat").write_bytes(b"")
    with av.open(str(tmp_path / "tone.audio"), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())

    for name in ("image", "notes.txt", "empty.dat", "tone.audio", "gone", "gone.jpg"):
        assert not is_video(tmp_path / name)


def test_a_folder_is_sorted_into_images_and_videos_and_the_rest_is_said(tmp_path):
    for name in ("a.jpg", "b.MP4", "c.mts", ".d.mp4", "e.raw", "notes.txt", "more/f.jpg", "more/g.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    found = find_sources([tmp_path, tmp_path / "b.MP4"])
    assert found.images == [tmp_path]
    assert [path.name for path in found.videos] == ["b.MP4", "c.mts", "b.MP4"]
    files, folders = found.left_out
    assert "1 file is skipped" in files
    assert "e.raw" in files
    assert f"1 folder in it is left out, such as {tmp_path.name}/more;" in folders

    assert [path.name for path in find_sources([tmp_path], videos=False).videos] == []
    assert "3 files are skipped" in find_sources([tmp_path], videos=False).left_out[0]
    (tmp_path / "more" / "f.jpg").unlink()
    assert find_sources([tmp_path / "more"]).images == []


def test_a_name_as_long_as_the_file_system_allows_is_written(predictor, tmp_path):
    source = film(tmp_path / f"{'語' * 83}.mp4", frames=2)  # 253 bytes

    list(predict_video(predictor, source, tmp_path / "out"))

    assert [len(path.name.encode()) for path in sorted((tmp_path / "out").iterdir())] == [255, 253]
