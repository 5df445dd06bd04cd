"""The classes of COCO 2017; published detection checkpoints contain no class names."""

# Category ids run from 1 to 90 with gaps; a number before a name is its id after a gap.
_NAMES = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
13 stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, 27 backpack,
umbrella, 31 handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
skateboard, surfboard, tennis racket, bottle, 46 wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich,
orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, 67 dining table, 70 toilet,
72 tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, 84 book, clock,
vase, scissors, teddy bear, hair drier, toothbrush"""


def _classes() -> dict[int, str]:
    classes: dict[int, str] = {}
    last = 0
    for item in _NAMES.replace("\n", " ").split(", "):
        first, _, rest = item.partition(" ")
        last = int(first) if first.isdigit() else last + 1
        classes[last] = rest if first.isdigit() else item
    return classes


# Category id -> name.
COCO = _classes()


def class_table(count: int, background: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the class names and category ids of a detector.

    80 classes, or 91 including the background, are taken for COCO's; others are numbered.

    >>> class_table(80, background=False)[0][:3]
    ('person', 'bicycle', 'car')
    >>> class_table(91, background=True)[0][:2], class_table(91, background=True)[0][12]
    (('background', 'person'), 'unused 12')
    """
    if not background and count == len(COCO):
        return tuple(COCO.values()), tuple(COCO)
    ids = tuple(range(count)) if background else tuple(range(1, count + 1))
    names = {0: "background"} | (COCO if background and count == 91 else {})
    word = "unused" if background and count == 91 else "class"
    return tuple(names.get(number, f"{word} {number}") for number in ids), ids
