"""Which sources are videos or cameras, and where what is made of them goes."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from spinet.errors import SpinetError
from spinet.files import refuse_replacing, unique_names
from spinet.formats.findings import such_as
from spinet.formats.listing import Listing, is_hidden, list_images

# Common ones: in a folder, files are told by their names.
_SUFFIXES = """
    .mp4 .mov .m4v .avi .mkv .webm .mpg .mpeg .ts .mts .m2ts .m2t .wmv .asf .3gp .3g2 .flv .f4v .ogv .ogm .vob .mxf
    .divx .dv .m1v .m2v .mjpeg .mjpg .h264 .264 .h265 .265 .hevc .ivf .nut .y4m .rm .rmvb .qt .wtv
"""
VIDEO_SUFFIXES = frozenset(_SUFFIXES.split())
CAMERA = "camera:"
# FFmpeg's input format for cameras on each system, and its name for one camera.
DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}
# What FFmpeg makes a video of too: texts, as on a terminal.
NO_VIDEOS = {"tty", "bin", "xbin", "adf", "idf"}


@dataclass(frozen=True)
class Sources:
    """What there is to predict.

    Attributes:
        images: image files, and folders with images.
        videos: videos and cameras, those in folders included.
        left_out: a sentence about the files in a folder that are neither, and about the folders in it.
    """

    images: list[Path]
    videos: list[Path]
    left_out: list[str]


def find_sources(paths: Sequence[Path], videos: bool = True) -> Sources:
    """Sort the given paths into images and videos; in folders, files are told by their names, and not looked for below.

    Args:
        paths: images, videos, cameras and folders.
        videos: whether videos in folders are wanted.

    Raises:
        SpinetError: a folder cannot be read, or contains neither.
    """
    sources = Sources([], [], [])
    for path in paths:
        if not path.is_dir():
            (sources.videos if is_video(path) else sources.images).append(path)
            continue
        listing, inside = list_images(path, below=False), _videos_in(path) if videos else []
        if listing.images or not inside:  # without both, whoever reads the images says so
            sources.images.append(path)
        sources.videos.extend(inside)
        wanted = VIDEO_SUFFIXES if videos else frozenset()
        others = {suffix: found for suffix, found in listing.skipped.items() if suffix not in wanted}
        folders = sorted(item for item in path.iterdir() if item.is_dir() and not is_hidden(item.name))
        if others:
            sources.left_out.append(f"{path}: {Listing([], others).skipped_text()}")
        if folders:
            sources.left_out.append(
                f"{path}: {len(folders):,} {'folder in it is' if len(folders) == 1 else 'folders in it are'} left out, "
                f"{such_as(folders[0])}; name what is to be predicted too"
            )
    return sources


def _videos_in(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in VIDEO_SUFFIXES and not is_hidden(file.name) and file.is_file()
    )


def is_video(source: Path | str) -> bool:
    """Whether a source is a camera, a video by its name, or a file that PyAV opens as a video and Pillow does not."""
    path = Path(source)
    if str(source).startswith(CAMERA) or path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    if path.suffix.lower() in Image.registered_extensions() or not path.is_file():
        return False
    return not _is_image(path) and _holds_video(path)


def _is_image(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except Exception:  # Pillow's readers raise nearly anything for what they cannot read
        return False


def _holds_video(path: Path) -> bool:
    try:
        import av
    except ImportError:
        return False
    try:
        with av.open(str(path)) as container:
            return video_stream(container) is not None and container.format.name not in NO_VIDEOS
    except (av.error.FFmpegError, OSError, ValueError):
        return False


def video_stream(container: Any) -> Any | None:
    """Return the first video stream of a container that is not the cover of an album; None if there is none."""
    covers = (stream for stream in container.streams.video if "attached_pic" in str(stream.disposition))
    covered = {stream.index for stream in covers}
    return next((stream for stream in container.streams.video if stream.index not in covered), None)


def device_of(source: str, platform: str = sys.platform) -> tuple[str, str | None]:
    """Return what FFmpeg opens for a file or `camera:0`, and the input format of a camera.

    Raises:
        SpinetError: a camera has no name, or cameras are not supported on this system.

    >>> device_of("camera:0", "linux"), device_of("walk.mp4")
    (('/dev/video0', 'v4l2'), ('walk.mp4', None))
    """
    if not source.startswith(CAMERA):
        return source, None
    name = source.removeprefix(CAMERA)
    if not name or (platform != "win32" and not name.isdigit()):
        raise SpinetError(f"{source!r} names no camera; expected {CAMERA} and its number, such as camera:0")
    if platform not in DEVICES:
        raise SpinetError(f"cameras are not supported on {platform!r}, only on {', '.join(sorted(DEVICES))}")
    input_format, pattern = DEVICES[platform]
    return pattern.format(name), input_format


def video_outputs(sources: Sequence[Path | str], out: Path, stems: Sequence[str] | None = None) -> list[Path]:
    """Return where the annotated video of each source goes; its JSON lines go beside it.

    They have the names of the sources, numbered where two are alike, or those of `stems`.

    Raises:
        SpinetError: an annotated video would replace a source.
    """
    own = [str(source).replace(":", "-") if str(source).startswith(CAMERA) else Path(source).stem for source in sources]
    videos = [out / f"{stem}.mp4" for stem in stems or unique_names(own)]
    refuse_replacing(videos, [Path(source) for source in sources if not str(source).startswith(CAMERA)])
    return videos
