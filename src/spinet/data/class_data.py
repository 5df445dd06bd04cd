"""Classification datasets: one class per image."""

from pathlib import Path

from torch import Tensor

from spinet.data.dataset import ImageDataset
from spinet.formats.class_files import ClassSample, read_class_split


class ClassDataset(ImageDataset):
    """One split of a classification dataset: image folders like ImageNet, or a JSON file like iNaturalist-2017.

    Image folders are `ROOT/{train,val}/CLASS/*.jpg`, also with nested folders; the val folder may be called valid or
    validation. Labels always follow the train folder, even if val does not have all classes. The other form is
    `ROOT/train2017.json` and `ROOT/val2017.json` (also in `ROOT/annotations`), with images, categories, and
    annotations that give each image one category; file names are relative to ROOT.

    Attributes:
        root: the dataset folder.
        split: "train" or "val".
        annotation_file: the split's folder or JSON file, for messages.
        samples: one `ClassSample` per image: image_id, path, label.
        class_names: name of each label.
        category_ids: id of each label, ascending: the JSON file's, or 1 to K.
    """

    samples: list[ClassSample]

    def __init__(self, root: str | Path, split: str, cache_images: bool = False) -> None:
        """Find the images and their classes; images are not opened.

        Args:
            root: the dataset folder.
            split: "train" or "val".
            cache_images: keep decoded images in memory; each loader worker keeps its own copy.

        Raises:
            SpinetError: folder, classes or image files are missing or invalid, or the folder is a detection dataset.
        """
        super().__init__(root, split, cache_images)
        self.annotation_file, names, self.samples, self.findings = read_class_split(self.root, split)
        self.category_ids, self.class_names = tuple(names), tuple(names.values())

    def image(self, index: int) -> Tensor:
        """Return the image of `samples[index]` as uint8 RGB `(3, H, W)`.

        Raises:
            SpinetError: the file is corrupt.
        """
        return self._read(self.samples[index])
