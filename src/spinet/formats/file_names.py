"""Finding the image files that an annotation file names, also where a tool or a system spelled the names otherwise."""

import ntpath
import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from spinet.errors import SpinetError
from spinet.formats.findings import Finding, of
from spinet.formats.listing import list_images
from spinet.formats.splits import SPLIT_NAMES, split_of_name

# Names longer than this are cut in messages.
SHOWN = 60


class FoundFiles(NamedTuple):
    """Image files: `names` relative to `folder`, and findings about names that were spelled otherwise."""

    folder: Path
    names: list[str]
    findings: list[Finding]


class _Tree:
    """The files below a folder by the ends of their spelling-free paths."""

    def __init__(self, paths: Iterable[str]) -> None:
        # None where several files have the same end.
        self.paths: dict[str, str | None] = {}
        for path in paths:
            for end in _ends(_plain(path)):
                self.paths[end] = None if end in self.paths else path

    def find(self, name: str) -> str | None:
        """Return the only file of that name: of several ones, the one whose folders agree best from the end."""
        longest = next((end for end in _ends(_plain(name)) if end in self.paths), None)
        return None if longest is None else self.paths[longest]


def find_files(names: Sequence[str], folders: Sequence[Path], root: Path, split: str, what: Path) -> FoundFiles:
    r"""Find the files of a split in the first of some folders that has them.

    Each folder is listed once, because looking for each of COCO's 118,287 files takes minutes on a network disk. A
    name that is not there may be spelled otherwise: with `\`, percent-encoded, in another Unicode form or case, with
    other folders in front. It stands for a file if exactly one fits, in the folder or, where no folder has any of the
    names, below `root` outside the folders of the other splits.

    Args:
        names: as they are in the annotation file.
        folders: where tools put the images, the likeliest first.
        root: the dataset folder.
        split: "train", "val" or "all".
        what: the annotation file, for messages.

    Raises:
        SpinetError: a file is missing; the error says where a file of a similar name is.
    """
    names = [_posix(name) for name in names]
    folder, missing = _best_folder(names, folders or [root])
    if not missing:
        return FoundFiles(folder, names, [])
    start, files = _relative(folder, root), [_relative(path, root) for path in list_images(root).images]
    whole = [posixpath.normpath(posixpath.join(start, name)) for name in names]
    tree = _Tree(path for path in files if not _of_another_split(path, split))
    found = {at: path for at in missing if (path := tree.find(names[at]))}
    if len(missing) < len(names):
        # Names that are right elsewhere say which folders belong to a name.
        found = {at: path for at, path in found.items() if _agree(names[at], path, _relative(root / path, folder))}
    found = _without_conflicts(whole, found, missing)
    lost = [at for at in missing if at not in found]
    if lost:
        raise _missing_error(names, lost, folder, files)
    for at, path in found.items():
        whole[at] = path
    return FoundFiles(root, whole, [_finding(names, found, split, what)])


def portable_names(paths: Sequence[Path]) -> list[str]:
    """Return the names of files below the deepest folder that contains all of them: the same wherever that folder is.

    Unicode forms do not count, because systems spell accents differently.
    """
    folders = {path.parent: "" for path in paths}
    if not folders:
        return []
    for folder in folders:
        folders[folder] = os.path.abspath(folder)  # noqa: PTH100 (resolving links would not survive a move)
    try:
        common = os.path.commonpath(folders.values())
    except ValueError:  # several drives of Windows
        common = ""
    for folder, place in folders.items():
        folders[folder] = Path(os.path.relpath(place, common) if common else place).as_posix()
    return [unicodedata.normalize("NFC", f"{folders[path.parent]}/{path.name}") for path in paths]


def _finding(names: Sequence[str], found: Mapping[int, str], split: str, what: Path) -> Finding:
    at, path = next(iter(found.items()))
    text = f"{split}: {of(len(found), len(names))} image names are spelled otherwise in {what.name} than their files,"
    text += f" such as {_cut(names[at])} for {_cut(path)}; check the boxes if these are other images"
    # In all names it is a habit of a tool; in a few of them more likely a mistake.
    return Finding("hint" if len(found) == len(names) else "warning", "image names", text)


def _best_folder(names: Sequence[str], folders: Sequence[Path]) -> tuple[Path, list[int]]:
    """Return the folder with most of the files, and the positions of the names that are missing there."""
    best: tuple[Path, list[int]] | None = None
    for folder in folders:
        missing = _missing(names, folder)
        if best is None or len(missing) < len(best[1]):
            best = folder, missing
        if not missing:
            break
    assert best is not None
    return best


def _missing(names: Sequence[str], folder: Path) -> list[int]:
    listed: dict[str, set[str]] = {}
    missing = []
    for position, name in enumerate(names):
        place, _, last = name.rpartition("/")
        if place not in listed:
            listed[place] = _listing(folder / place)
        if last not in listed[place]:
            missing.append(position)
    return missing


def _listing(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208
    except (OSError, ValueError):
        return set()


def _without_conflicts(whole: Sequence[str], found: Mapping[int, str], missing: Sequence[int]) -> dict[int, str]:
    """Leave out the files that would stand for two different names."""
    owners: dict[str, set[str]] = defaultdict(set)
    lacking = set(missing)
    for at, name in enumerate(whole):
        owners[found.get(at, "") if at in lacking else name].add(name)
    return {at: path for at, path in found.items() if len(owners[path]) == 1}


def _agree(name: str, path: str, below: str) -> bool:
    """Whether a name and a file differ by leading folders only; the file is given from two folders."""
    name = f"/{_plain(name)}"
    return name.endswith(f"/{_plain(below)}") or f"/{_plain(path)}".endswith(name)


def _missing_error(names: Sequence[str], lost: Sequence[int], folder: Path, files: Sequence[str]) -> SpinetError:
    first = names[lost[0]]
    text = f"{len(lost):,} of {len(names):,} image files are missing, the first one is {folder / _cut(first)}"
    near, differs = _nearest(first, files)
    return SpinetError(f"{text}; {differs}: {_cut(near)}" if near else text)


def _nearest(name: str, paths: Sequence[str]) -> tuple[str, str]:
    """Return the file with the most similar name, and what is different."""
    last = _plain(name).rpartition("/")[2]
    stem = posixpath.splitext(last)[0]
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_name[_plain(path).rpartition("/")[2]].append(path)
    if last in by_name:
        found = by_name[last]
        several = f" ({len(found)} files have that name)" if len(found) > 1 else ""
        return min(found), f"a file of that name is in another folder{several}"
    for other, found in by_name.items():
        if posixpath.splitext(other)[0] == stem:
            return min(found), "there is one with another suffix"
    close = get_close_matches(last, by_name, n=1, cutoff=0.75)
    return (min(by_name[close[0]]), "the nearest name is") if close else ("", "")


def _of_another_split(path: str, split: str) -> bool:
    others = {*SPLIT_NAMES, "test"} - {split}
    return split in SPLIT_NAMES and any(split_of_name(name) in others for name in path.split("/")[:-1])


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _posix(name: str) -> str:
    r"""Return a name with `/` between its folders.

    >>> _posix("images\\a.jpg"), _posix("./b/../a.jpg"), _posix("C:\\me\\a.jpg")
    ('images/a.jpg', 'a.jpg', 'C:/me/a.jpg')
    """
    if "\\" in name or name.startswith(".") or "/." in name or "//" in name:
        return posixpath.normpath(name.replace("\\", "/"))
    return name


def _plain(name: str) -> str:
    r"""Return a name without what different systems spell differently.

    >>> _plain("C:\\My%20Images\\A.JPG"), _plain("e\u0301.png") == _plain("%C3%A9.PNG")
    ('/my images/a.jpg', True)
    """
    whole = ntpath.splitdrive(unquote(name).replace("\\", "/"))[1]
    return unicodedata.normalize("NFC", whole).casefold()


def _ends(path: str) -> Iterator[str]:
    """Yield a path, the path without its first folder, and so on."""
    while path:
        yield path
        path = path.partition("/")[2]


def _cut(name: str) -> str:
    return name if len(name) <= SHOWN else f"...{name[-SHOWN:]}"
