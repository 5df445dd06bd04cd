import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations, zip_longest
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_genotypes import genotypes

from spinet import cli
from spinet.arch.block_spec import MAX_LEVEL, MIN_LEVEL
from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.arch.scaling import Scaling
from spinet.arch.variants import damage
from spinet.draw.architecture import differences, draw, draw_pair
from spinet.draw.catalogue_page import draw_catalogue
from spinet.draw.layout import lay_out, shape_of
from spinet.draw.routes import edges_of, route
from spinet.draw.text import length

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
few = settings(max_examples=25, deadline=None)


@st.composite
def architectures(draw_one):
    scaling = Scaling(width=draw_one(st.sampled_from([0.25, 1.0, 1.3])), repeats=draw_one(st.integers(1, 6)))
    return Architecture(draw_one(genotypes()), scaling, draw_one(st.text(max_size=60)))


def classed(tree, word):
    """All elements of a picture that have `word` among their classes."""
    return [element for element in tree.iter() if word in element.get("class", "").split()]


def boxes_and_curves(found):
    layout = lay_out(found, range(MIN_LEVEL, MAX_LEVEL + 1), 70)
    return layout.boxes, route(layout, edges_of(found.genotype))


def assert_shows_everything(found):
    graph, tree = found.genotype, ET.fromstring(draw(found))
    blocks = graph.all_blocks
    assert [int(block.get("data-block")) for block in classed(tree, "block")] == list(range(len(blocks)))
    assert len(classed(tree, "shape")) == len(blocks)
    assert len(classed(tree, "copy")) == len(blocks) * min(found.scaling.repeats - 1, 3)
    assert len(classed(tree, "curve")) == len(classed(tree, "head")) == len(edges_of(graph))
    shown = {(edge.get("data-from"), edge.get("data-to")) for edge in classed(tree, "parent")}
    assert len(classed(tree, "parent")) == sum(len(block.parents) for block in blocks)
    assert shown == {(str(parent), str(i)) for i, block in enumerate(blocks) for parent in block.parents}
    dashed = [edge for edge in classed(tree, "edge") if edge.find(f"{SVG}path[@stroke-dasharray]") is not None]
    assert len(dashed) == len([e for e in edges_of(graph) if e.role == "merge"]) == sum(map(len, graph.merges.values()))
    red = {int(block.get("data-block")) for block in classed(tree, "block") if "#d7263d" in ET.tostring(block).decode()}
    assert red == set(graph.endpoints.values()) & graph.live
    unused = {int(block.get("data-block")) for block in classed(tree, "unused") if "block" in block.get("class")}
    assert unused == set(range(len(blocks))) - graph.live


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_catalogue_drawing_shows_each_block_connection_merge_and_endpoint_once(name):
    assert_shows_everything(load_architecture(name))


@pytest.mark.slow
@few
@given(architectures())
def test_random_drawings_show_each_block_connection_merge_and_endpoint_once(found):
    assert_shows_everything(found)


@pytest.mark.slow
@few
@given(architectures(), architectures())
def test_everything_lies_inside_the_drawing(one, other):
    for text in (draw(one), draw_pair(one, other)):
        tree = ET.fromstring(text)
        _, _, width, height = map(float, tree.get("viewBox").split())
        for path in (*classed(tree, "shape"), *classed(tree, "curve"), *classed(tree, "head")):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d"))]
            assert all(0 < x < width for x in numbers[::2])
            assert all(0 < y < height for y in numbers[1::2])
        signs = {id(words): sign for sign in classed(tree, "sign") for words in sign.iter(f"{SVG}text")}
        for words in tree.iter(f"{SVG}text"):
            x, y, room = (
                float(words.get("x")),
                float(words.get("y")),
                length(words.text or "", float(words.get("font-size"))),
            )
            if id(words) in signs:
                dx, dy = map(float, re.findall(r"[\d.]+", signs[id(words)].get("transform")))
                x, y = x + dx, y + dy
            left = x - room / 2 if words.get("text-anchor") == "middle" else x
            assert left > 0
            assert left + room < width
            assert 10 < y < height - 5


@few
@given(architectures())
@pytest.mark.slow
def test_shapes_never_overlap(found):
    boxes, _ = boxes_and_curves(found)
    for a, b in combinations(boxes, 2):
        assert a.right < b.left or b.right < a.left or a.bottom < b.top or b.bottom < a.top


@few
@given(architectures())
@pytest.mark.slow
def test_curves_run_through_no_block_between_their_ends(found):
    boxes, curves = boxes_and_curves(found)
    for curve in curves:
        for box in boxes[curve.edge.source + 1 : curve.edge.target]:
            for share in range(11):
                y = curve.at(box.left + (box.right - box.left) * share / 10)
                assert y < box.top - 1 or y > box.bottom + 1, (curve.edge, box)


@few
@given(architectures())
@pytest.mark.slow
def test_curves_begin_and_end_on_the_border_of_their_blocks(found):
    boxes, curves = boxes_and_curves(found)
    for curve in curves:
        source, target = boxes[curve.edge.source], boxes[curve.edge.target]
        (start_x, start_y), (end_x, end_y) = curve.points[0], curve.points[-1]
        assert source.x < start_x <= source.right
        assert source.top < start_y < source.bottom
        assert target.left <= end_x < target.x
        assert target.top < end_y < target.bottom


@pytest.mark.slow
@few
@given(architectures(), architectures())
def test_a_pair_marks_exactly_the_blocks_that_differ(one, other):
    both = list(zip_longest(one.genotype.all_blocks, other.genotype.all_blocks))
    first = [i for i, (a, b) in enumerate(both) if a != b and a is not None]
    second = [i for i, (a, b) in enumerate(both) if a != b and b is not None]
    marked = classed(ET.fromstring(draw_pair(one, other)), "changed")
    assert [int(mark.get("data-block")) for mark in marked] == first + second


def test_a_pair_of_equals_marks_nothing_and_says_so():
    found = load_architecture("tiny")
    assert classed(ET.fromstring(draw_pair(found, found)), "changed") == []
    assert differences(found, found) == ["no difference"]


def test_a_pair_keeps_the_colour_of_new_connections_alone():
    one = load_architecture("tiny")
    blocks = list(one.genotype.blocks)
    blocks[1] = replace(blocks[1], parents=(0, 2))
    other = replace(one, genotype=replace(one.genotype, blocks=tuple(blocks)), scaling=replace(one.scaling, repeats=2))
    assert differences(one, other) == ["block 3: from 1 and 2 \u2192 0 and 2", "repeats: 1 \u2192 2"]
    pale = "#c8d0da"
    edges = classed(ET.fromstring(draw_pair(one, other)), "edge")
    coloured = [(e.get("data-from"), e.get("data-to")) for e in edges if e[0].get("stroke") != pale]
    assert coloured == [("1", "3"), ("0", "3")]


def test_merges_are_compared_as_they_are_whatever_rule_or_name_makes_them():
    one = load_architecture("spinenet49")
    kept = replace(one, genotype=damage(one.genotype, "long", "keep"))
    dropped = replace(one, genotype=replace(one.genotype, dangling="none"))
    assert "block 14: from 7 and 12 \u2192 12" in differences(one, kept)
    assert differences(one, dropped) == ["block 14: merges 11 \u2192 none", "dangling rule: tf \u2192 none"]


def test_blocks_that_only_one_of_a_pair_has_are_named():
    found = differences(load_architecture("tiny"), load_architecture("spinenet49"))
    assert "only in the second: 10, 11, 12, 13, 14, 15, 16" in found


def test_each_kind_of_block_has_a_shape_of_its_own_and_unknown_kinds_have_one_too():
    kinds = ("bottleneck", "residual", "mbconv", "resnext32x4d", "something else")
    assert len({shape_of(kind) for kind in kinds}) == len(kinds)
    assert shape_of("resnext32x8d") == shape_of("resnext32x4d")


def test_the_catalogue_page_shows_the_cost_of_each_detector_at_its_published_size():
    page = draw_catalogue([load_architecture(name) for name in ("spinenet49", "spinenet190", "spinenet49-mobile")])
    rows = [re.sub("<[^>]+>", "|", row) for row in re.findall(r"<tr>(<td>.*)</tr>", page)]
    cells = [[cell for cell in row.split("|") if cell] for row in rows]
    assert [row[:4] for row in cells] == [
        ["spinenet49", "640", "28.54", "85.28"],
        ["spinenet190", "1280", "163.64", "1,881.66"],
        ["spinenet49-mobile", "384", "2.34", "0.98"],
    ]


def test_a_name_that_is_markup_is_text_on_the_page():
    page = draw_catalogue([replace(load_architecture("tiny"), name="<b>bold</b>")])
    assert "<b>" not in page


def test_drawing_twice_gives_the_same_text():
    assert draw(load_architecture("spinenet96")) == draw(load_architecture("spinenet96"))


def test_names_and_sources_are_escaped():
    found = replace(load_architecture("tiny"), name='<&>"\x00', source="</desc><script>")
    tree = ET.fromstring(draw(found))
    assert tree.find(f"{SVG}title").text == '<&>"\N{REPLACEMENT CHARACTER}'
    assert tree.find(f"{SVG}desc").text == "</desc><script>"
    assert '<&>"\N{REPLACEMENT CHARACTER}' in [words.text for words in tree.iter(f"{SVG}text")]
    assert "<script>" not in draw_catalogue([found])


@pytest.mark.slow
def test_the_catalogue_page_holds_every_drawing_and_no_link_elsewhere():
    found = [load_architecture(name) for name in names()]
    page = draw_catalogue(found)
    assert all(draw(one) in page for one in found)
    assert not re.search(r'(src|href)="(?!#)', page)
    # An identifier may stand once in a page, so the drawings have none.
    assert re.findall(r'\bid="([^"]+)"', page) == [f"drawing-{place}" for place in range(len(found))]


def test_the_drawing_in_the_readme_is_current():
    committed = (ROOT / "docs" / "spinenet49.svg").read_text(encoding="utf-8")
    assert committed == draw(load_architecture("spinenet49")), "run: spinet draw spinenet49 -o docs/spinenet49.svg"
    assert "docs/spinenet49.svg" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def spinet(monkeypatch, capsys):
    """Return a function that runs `spinet draw` and returns (exit code, error output)."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["spinet", "draw", *map(str, args)])
        try:
            cli.main()
        except SystemExit as stop:
            return stop.code or 0, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


@pytest.mark.slow
def test_the_command_writes_one_two_or_all(spinet, tmp_path):
    one, two = load_architecture("tiny"), load_architecture("spinenet49")
    for args, expected in (
        (("tiny", "-o", tmp_path / "one.svg"), draw(one)),
        (("tiny", "spinenet49", "-o", tmp_path / "pair.svg"), draw_pair(one, two)),
        (("tiny", "-o", tmp_path / "one.html"), draw_catalogue([one])),
        (("--all", "-o", tmp_path / "all.html"), draw_catalogue([load_architecture(name) for name in names()])),
    ):
        assert spinet(*args) == (0, "")
        assert args[-1].read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("tiny", "-o", "one.gif"), "--out must end in .svg or .png or .html, not one.gif"),
        (("tiny", "tiny", "-o", "pair.html"), "--out must end in .svg or .png, not pair.html"),
        (("--all", "-o", "all.png"), "--out must end in .html, not all.png"),
        (("-o", "one.svg"), "expected one or two names, or --all without names"),
        (("tiny", "tiny", "tiny", "-o", "one.svg"), "not 3 names"),
        (("tiny", "--all", "-o", "all.html"), "expected one or two names, or --all without names"),
        (("tinny", "-o", "one.svg"), "unknown architecture 'tinny', did you mean 'tiny'?"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence_and_no_file(spinet, tmp_path, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    code, err = spinet(*args)
    assert code == 1
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_png_without_its_package_names_the_command_that_installs_it(spinet, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    code, err = spinet("tiny", "-o", tmp_path / "one.png")
    assert code == 1
    assert "pip install 'spinet[draw]'" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_png_has_two_pixels_for_each_unit_and_letters(spinet, tmp_path):
    pytest.importorskip("resvg_py", reason="PNG needs the extra 'draw'")
    from PIL import Image

    assert spinet("tiny", "-o", tmp_path / "one.png") == (0, "")
    _, _, width, height = map(float, ET.fromstring(draw(load_architecture("tiny"))).get("viewBox").split())
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (int(2 * width), pytest.approx(2 * height, abs=1))
        title = picture.convert("L").crop((0, 20, 300, 90))
        assert title.getextrema()[0] < 60
