"""Which files in a folder are images: one rule for every reader, which counts what it leaves out."""

import heapq
import mimetypes
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageFile

from spinet.errors import SpinetError
from spinet.formats.findings import Finding, such_as

# Written by systems and tools beside the images; names that begin with a dot are hidden as well.
HIDDEN = frozenset(
    {
        "@eadir",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__macosx",
        "__pycache__",
        "thumbs.db",
        "desktop.ini",
    }
)
# Files that lie beside images and nobody takes for one; `mimetypes` knows many more.
_SUFFIXES = """
    .7z .bz2 .cache .cfg .conf .csv .data .db .docx .geojson .gz .html .ini .ipynb .json .jsonl .lock .log .lst
    .md .names .npy .npz .odt .parquet .pdf .pickle .pkl .pptx .pt .pth .rar .record .rst .rtf .safetensors
    .sqlite .tfrecord .tgz .toml .txt .url .xlsx .xml .xz .yaml .yml .zst
"""
_NAMES = "authors changelog checksums copying license makefile md5sums notice readme sha256sums"
SIDE_FILES, SIDE_NAMES = frozenset(_SUFFIXES.split()), frozenset(_NAMES.split())
# Among more files than this at least one in a hundred has to be an image: a link or a path to a whole disk ends here.
STRAY_FILES, FEWEST = 200_000, 0.01

# Without the tables of the system, so that all machines say the same.
_types = mimetypes.MimeTypes()


@dataclass(frozen=True)
class Listing:
    """The images in a folder, and the files that may be images or videos but cannot be read.

    Attributes:
        images: sorted by path.
        skipped: for each suffix in lower case, without one for "", how many files were left out and the first of them.
    """

    images: list[Path] = field(default_factory=list)
    skipped: dict[str, tuple[int, Path]] = field(default_factory=dict)

    def __add__(self, other: "Listing") -> "Listing":
        skipped = dict(self.skipped)
        for suffix, (count, example) in other.skipped.items():
            before, first = skipped.get(suffix, (0, example))
            skipped[suffix] = before + count, first
        return Listing([*self.images, *other.images], skipped)

    def skipped_text(self) -> str:
        """Return one sentence about the files that were left out, or an empty string."""
        if not self.skipped:
            return ""
        count = sum(number for number, _ in self.skipped.values())
        most = sorted(self.skipped.items(), key=lambda item: (-item[1][0], item[0]))
        kinds = ", ".join(f"{suffix or 'no suffix'}: {number:,}" for suffix, (number, _) in most[:4])
        return (
            f"{count:,} file{'s are' if count > 1 else ' is'} skipped because Pillow does not read the format"
            f" ({kinds}{', ...' if len(most) > 4 else ''}), {such_as(most[0][1][1])}; convert or move what is an image"
        )


def image_suffixes() -> frozenset[str]:
    """Return the suffixes of all formats that the installed Pillow decodes, in lower case with the dot.

    Formats that Pillow only recognises (stubs such as HDF5, and videos) or that need another program (EPS) are not
    among them; formats of plug-ins that were imported, such as pillow-heif, are.
    """
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if _is_decoded(name))


def _is_decoded(name: str) -> bool:
    # Several JPEG images in a file, which the plug-in for JPEG opens.
    name = "JPEG" if name == "MPO" else name
    factory = Image.OPEN[name][0] if name in Image.OPEN else None
    is_stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    return factory is not None and not is_stub and Image.MIME.get(name, "image/").startswith("image/")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no data: hidden, or left behind by a system (macOS, Windows, a NAS, Jupyter)."""
    return name.startswith(".") or name.casefold() in HIDDEN


def list_images(folder: Path, *, below: bool = True) -> Listing:
    """List the images in a folder, and unless `below` is false in all folders below it.

    Links to files and folders are followed, each folder once. Hidden names (see `is_hidden`) are left out, but
    `folder` itself may be hidden.

    Raises:
        SpinetError: a folder cannot be read, or there are hundreds of thousands of files and hardly any image.
    """
    known = image_suffixes()
    images: list[str] = []
    skipped: dict[str, tuple[int, Path]] = {}
    for number, entry in enumerate(_files(folder, below), start=1):
        suffix = suffix_of(entry.name)
        if suffix in known:
            # A link to nowhere stays, to be missed when it is read.
            if entry.is_file() or entry.is_symlink():
                images.append(entry.path)
        elif may_be_media(entry.name):
            count, example = skipped.get(suffix, (0, Path(entry.path)))
            skipped[suffix] = count + 1, min(example, Path(entry.path))
        if number % STRAY_FILES == 0 and len(images) < FEWEST * number:
            raise SpinetError(
                f"{str(folder)[:80]} holds more than {number:,} files, of which {len(images):,} of the first ones are"
                " images; expected a folder of images"
            )
    return Listing([Path(path) for path in sorted(images)], skipped)


def has_image(folder: Path) -> bool:
    """Whether there is an image in a folder, not below it."""
    known = image_suffixes()
    return any(suffix_of(entry.name) in known for entry in _files(folder, below=False))


def suffix_of(name: str) -> str:
    """Return the suffix of a file name in lower case, with the dot; empty if there is none."""
    # Not Path.suffix, because there may be a million names.
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def may_be_media(name: str) -> bool:
    """Whether a file that is no image by its suffix may be one, or a video, rather than a side file."""
    suffix = suffix_of(name)
    if not suffix:
        return name.casefold() not in SIDE_NAMES
    if suffix in SIDE_FILES:
        return False
    kind = _types.guess_type(f"a{suffix}", strict=False)[0]
    return kind is None or kind.startswith(("image/", "video/"))


def skipped_findings(split: str, listing: Listing) -> list[Finding]:
    """Return a warning about files of a split that were left out, if there are any."""
    text = listing.skipped_text()
    return [Finding("warning", "skipped files", f"{split}: {text}")] if text else []


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Return the given files, and for a folder the images in it (not below it), by name.

    Raises:
        SpinetError: a path does not exist, or a folder holds no image.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = list_images(path, below=False)
            if not inside.images:
                why = inside.skipped_text()
                raise SpinetError(
                    f"the folder {path} contains no image that Pillow reads" + (f": {why}" if why else "")
                )
            files += inside.images
        elif path.is_file():
            files.append(path)
        else:
            raise SpinetError(f"there is no image or folder {path}")
    return files


def _files(folder: Path, below: bool) -> Iterator["os.DirEntry[str]"]:
    """Yield what is no folder; linked folders come last, because a folder that is seen twice keeps its own name."""
    seen: set[tuple[int, int]] = set()
    folders, linked = [str(folder)], list[str]()
    while folders or linked:
        current = folders.pop() if folders else heapq.heappop(linked)
        try:
            found = Path(current).stat()
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            with os.scandir(current) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    if not is_folder(entry):
                        yield entry
                    elif below and entry.is_symlink():
                        heapq.heappush(linked, entry.path)
                    elif below:
                        folders.append(entry.path)
        except OSError as error:
            raise SpinetError(f"could not read the folder {current[:120]}: {error.strerror}") from error


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry of a folder is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
