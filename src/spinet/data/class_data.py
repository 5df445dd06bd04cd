"""Classification data sets: every image is of one class."""

from collections.abc import Iterable
from copy import copy
from pathlib import Path

from torch import Tensor

from spinet.data.class_files import read_class_split
from spinet.data.images import read_image


class ClassDataset:
    """One split of a classification data set: image folders as ImageNet's, or a JSON file as iNaturalist-2017's.

    Image folders are `ROOT/{train,val}/CLASS/*.jpg`, also with folders inside a class; the val folder may be called
    valid or validation. Its classes are those of the train folder, so that a val split that lacks some keeps its
    labels. The other form is `ROOT/train2017.json` and `ROOT/val2017.json` (also in `ROOT/annotations`), with images,
    categories, and annotations that give each image one category; file names are relative to ROOT.

    Attributes:
        root: the data set folder.
        split: "train" or "val".
        annotation_file: the split's folder or JSON file, for messages.
        samples: one `ClassSample` an image: image_id, path, label.
        class_names: name of each label.
        category_ids: id of each label, ascending: the JSON file's, or 1 to K.
    """

    def __init__(self, root: Path, split: str, cache_images: bool = False) -> None:
        """Find the images and their classes; images are only looked for, not opened.

        Args:
            root: the data set folder.
            split: "train" or "val".
            cache_images: keep each image that `image` has read in memory; loader workers keep one copy each.

        Raises:
            SpinetError: folder, classes or image files are missing or not valid, or the folder holds boxes.
        """
        self.root, self.split = root, split
        self.annotation_file, names, self.samples = read_class_split(root, split)
        self.category_ids, self.class_names = tuple(names), tuple(names.values())
        # By image id, so that views of this data set share it.
        self._cache: dict[int, Tensor] | None = {} if cache_images else None

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Tensor:
        """Return the image of `samples[index]` as uint8 RGB `(3, H, W)`.

        Raises:
            SpinetError: the file is broken.
        """
        sample = self.samples[index]
        if self._cache is not None and sample.image_id in self._cache:
            return self._cache[sample.image_id]
        image = read_image(sample.path)
        if self._cache is not None:
            self._cache[sample.image_id] = image
        return image

    def subset(self, indices: Iterable[int]) -> "ClassDataset":
        """Return a view of the images at these places; classes stay, and decoded images are shared."""
        view = copy(self)
        view.samples = [self.samples[index] for index in indices]
        return view
