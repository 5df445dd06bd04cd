import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference

from spinet.data.masks import as_rle, decode_columns, encode_columns, is_empty, read_mask

HEIGHT, WIDTH = 30, 40
SIDES = st.integers(1, 40)
POINTS = st.floats(-20, 60, allow_nan=False, width=32)
POLYGONS = st.lists(st.lists(POINTS, min_size=3, max_size=8), min_size=1, max_size=3)


def some_mask(height: int, width: int, seed: int, share: float = 0.5) -> np.ndarray:
    return (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)


def run_lengths(mask: np.ndarray) -> list[int]:
    counts, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@pytest.mark.slow
@given(halves=POLYGONS, seed=st.integers(0, 100))
def test_polygons_cover_the_pixels_that_they_cover_in_pycocotools(halves, seed):
    rng = np.random.default_rng(seed)
    polygons = [[value for x in half for value in (x, float(rng.uniform(-5, 35)))] for half in halves]

    mask = read_mask(polygons, HEIGHT, WIDTH)

    assert mask == reference.merge(reference.frPyObjects(polygons, HEIGHT, WIDTH))["counts"]


@given(height=SIDES, width=SIDES, seed=st.integers(0, 100), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_both_kinds_of_run_lengths_are_the_same_mask(height, width, seed, share):
    mask = some_mask(height, width, seed, share)
    compressed = reference.encode(np.asfortranarray(mask))["counts"]

    from_list = read_mask({"size": [height, width], "counts": run_lengths(mask)}, height, width)
    from_text = read_mask({"size": [height, width], "counts": compressed.decode()}, height, width)

    assert from_list == from_text == compressed
    assert is_empty(compressed, height, width) == (mask.sum() == 0)


@given(height=SIDES, width=SIDES, seed=st.integers(0, 100), share=st.sampled_from([0.0, 0.1, 0.9, 1.0]), data=st.data())
def test_any_columns_of_a_mask_can_be_decoded(height, width, seed, share, data):
    mask = some_mask(height, width, seed, share)
    first, last = sorted((data.draw(st.integers(0, width)), data.draw(st.integers(0, width))))
    rle = reference.encode(np.asfortranarray(mask))["counts"]

    columns = decode_columns(rle, height, width, first, last)

    assert columns.dtype == np.uint8
    assert np.array_equal(columns.T, mask[:, first:last])


@given(height=SIDES, width=SIDES, seed=st.integers(0, 100), share=st.sampled_from([0.0, 0.1, 0.9, 1.0]), data=st.data())
def test_a_part_is_encoded_as_pycocotools_encodes_the_whole_image(height, width, seed, share, data):
    left, right = sorted((data.draw(st.integers(0, width)), data.draw(st.integers(0, width))))
    top, bottom = sorted((data.draw(st.integers(0, height)), data.draw(st.integers(0, height))))
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top:bottom, left:right] = some_mask(bottom - top, right - left, seed, share)

    rle = encode_columns(mask[top:bottom, left:right].T.astype(bool), left, top, height, width)

    expected = reference.encode(np.asfortranarray(mask))
    assert rle == {"size": [height, width], "counts": expected["counts"].decode()}
    assert rle == as_rle(expected["counts"], height, width)


def test_polygons_of_whole_numbers_are_read():
    mask = read_mask([[10, 10, 20, 10, 20, 15, 10, 15]], HEIGHT, WIDTH)

    assert np.argwhere(decode_columns(mask, HEIGHT, WIDTH, 0, WIDTH)).tolist() == [
        [x, y] for x in range(10, 20) for y in range(10, 15)
    ]


SIZE = [HEIGHT, WIDTH]
TRIANGLE = [1, 1, 9, 1, 9, 9]
FULL = reference.encode(np.ones(SIZE, dtype=np.uint8, order="F"))["counts"].decode()


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        (None, r"^has no segmentation; Mask R-CNN needs polygons or run lengths"),
        ([], r"^has no segmentation"),
        ("mask", r"^has a str as segmentation; must be a list of polygons or RLE$"),
        ([3, [1, 2]], r"^has a segmentation that is not a list of polygons; expected \[\[x1"),
        ([[1, 2, 3, 4], [5]], r"^has a polygon of 4 numbers; must be x and y of at least three points"),
        ([1, 2, 3, 4], r"^has a polygon of 4 numbers; must be x and y of at least three points"),
        ([[*TRIANGLE, 5]], r"^has a polygon of 7 numbers; .*, an even number of at least 6$"),
        ([[]], r"^has a polygon of 0 numbers"),
        ([[*TRIANGLE[:5], "9 px"]], r"^has a polygon whose points are not all finite numbers$"),
        ([[*TRIANGLE[:5], True]], r"^has a polygon whose points are not all finite numbers$"),
        ([[*TRIANGLE[:5], math.nan]], r"^has a polygon whose points are not all finite numbers$"),
        ([[*TRIANGLE[:5], 1e12]], r"^has a polygon with a point more than 100,000 pixels from its image$"),
        ([[*TRIANGLE[:5], 10**400]], r"^has a polygon with a point more than 100,000 pixels from its image$"),
        ([[*TRIANGLE[:5], -(10**400)]], r"^has a polygon with a point more than 100,000 pixels from its image$"),
        (
            {"size": [30.0, 40.0], "counts": [1200]},
            r"^has RLE of size \[30.0, 40.0\] containing float; must be integers",
        ),
        ({"size": [30.0, 40.0], "counts": FULL}, r"^has RLE of size \[30.0, 40.0\] containing float; .*: \[30, 40\]$"),
        ({}, r"^has RLE of size None, but its image has height 30 and width 40; must be \[30, 40\]$"),
        ({"size": [40, 30], "counts": [1200]}, r"^has RLE of size \[40, 30\]"),
        ({"size": SIZE, "counts": [5, 200]}, r"^has invalid RLE counts: they sum to 205 pixels, but .* has 1,200$"),
        ({"size": SIZE, "counts": [1202, -2]}, r"^has RLE counts that are not all non-negative integers$"),
        ({"size": SIZE, "counts": [5.5, 1194.5]}, r"^has RLE counts that are not all non-negative integers$"),
        ({"size": SIZE, "counts": "zzzzzzzzzz"}, r"^has invalid RLE counts"),
        ({"size": SIZE, "counts": "5"}, r"^has invalid RLE counts"),
        ({"size": SIZE, "counts": ""}, r"^has invalid RLE counts"),
        ({"size": SIZE, "counts": "é€"}, r"^has invalid RLE counts"),
        ({"size": SIZE, "counts": None}, r"^has invalid RLE counts; must be a list of integers or COCO's"),
        ({"size": SIZE}, r"^has invalid RLE counts"),
    ],
)
def test_a_broken_mask_is_one_clause_that_says_what_is_allowed(segmentation, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_mask(segmentation, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "segmentation", [TRIANGLE, [[*TRIANGLE[:5], "9"]], [[str(value) for value in TRIANGLE]], [[1.0, 1, "9.0", 1, 9, 9]]]
)
def test_a_polygon_without_its_list_and_numbers_as_text_are_read_for_what_they_say(segmentation):
    assert read_mask(segmentation, HEIGHT, WIDTH) == read_mask([TRIANGLE], HEIGHT, WIDTH)


@pytest.mark.parametrize("splinter", [[1, 2, 3, 4], [*TRIANGLE, 7], [], [1, 1, 2, 2, 3, math.nan], None])
def test_an_invalid_polygon_beside_a_valid_one_is_left_out_and_reported(splinter):
    left_out = []

    mask = read_mask([splinter, TRIANGLE], HEIGHT, WIDTH, left_out)

    assert mask == read_mask([TRIANGLE], HEIGHT, WIDTH)
    assert len(left_out) == 1
    assert left_out[0].startswith("has a ")


@given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12))
def test_no_text_of_counts_is_taken_for_a_mask_of_another_size(text):
    try:
        mask = read_mask({"size": SIZE, "counts": text}, HEIGHT, WIDTH)
    except ValueError:
        return

    assert decode_columns(mask, HEIGHT, WIDTH, 0, WIDTH).shape == (WIDTH, HEIGHT)
