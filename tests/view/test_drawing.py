"""Pictures of graphs: boxes that do not overlap, repeats folded, names that stay names, and no time lost."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from xml.etree import ElementTree

import pytest

import nervure as nv
from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.program import Program
from nervure.ir.types import TensorType, f32
from nervure.passes.manager import Pipeline, run_pipeline
from nervure.view import dot, mermaid, svg
from nervure.view.drawing import draw
from nervure.view.escape import visible
from nervure.view.fold import repeats
from nervure.view.layered import Layout, layout
from nervure.zoo import VGG, CharRNN, LeNet5

T = TensorType(f32, (4,))
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "]]>--><!--",
    "\u202egnp.exe\u2066",
    "nul\x00bell\x07newline\ntab\t",
    "\ud800lone\udfff\ufffe\uffff",
    '%n \\N \\" #quot; &amp; {{x}} `${x}`',
    "漢字" * 40,
]


def chain(count: int, seed: int | None = None) -> Graph:
    """Nodes one after the other; of three kinds in a random order where there is a seed."""
    rng = random.Random(seed)
    x = value = Value(T, name="x")
    for _ in range(count):
        value = b.tanh(value) if seed is None else rng.choice((b.tanh, b.exp, b.neg))(value)
    return Graph("main", [x], [value])


def tangle(count: int, seed: int) -> Graph:
    rng = random.Random(seed)
    values = [Value(T, name="x")]
    for _ in range(count):
        near = values[-25:]
        values.append(b.add(rng.choice(near), rng.choice(near)) if rng.random() < 0.5 else b.exp(values[-1]))
    return Graph("main", values[:1], values[-1:])


def unrolled() -> Graph:
    program = nv.trace(CharRNN(), *CharRNN.inputs)
    return run_pipeline(program, Pipeline.parse("decompose,unroll{max=1024}")).program.main


def overlaps(sizes: list[tuple[float, float]], found: Layout) -> int:
    """Pairs of boxes of which one lies on the other."""
    boxes = [(x - w / 2, y, x + w / 2, y + h) for (w, h), (x, y) in zip(sizes, found.places, strict=True)]
    boxes.sort(key=lambda box: box[1])
    total = 0
    for k, (left, _, right, bottom) in enumerate(boxes):
        for other in boxes[k + 1 :]:
            if other[1] >= bottom:
                break
            total += other[0] < right and left < other[2]
    return total


@pytest.mark.parametrize("seed", range(8))
def test_boxes_do_not_overlap_and_edges_go_down(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.choice((5, 40, 200))
    sizes = [(rng.uniform(20, 200), rng.uniform(20, 90)) for _ in range(count)]
    edges = sorted({tuple(sorted(rng.sample(range(count), 2))) for _ in range(2 * count)})
    found = layout(sizes, [(u, v) for u, v in edges])
    assert overlaps(sizes, found) == 0
    for (u, v), route in zip(edges, found.routes, strict=True):
        assert len(route) >= 2
        assert route[0] == pytest.approx((found.places[u][0], found.places[u][1] + sizes[u][1]), abs=0.1)
        assert route[-1] == pytest.approx(found.places[v], abs=0.1)
        assert all(y <= t for (_, y), (_, t) in pairwise(route))
    for (x, y), (w, h) in zip(found.places, sizes, strict=True):
        assert min(x - w / 2, y) >= 0 and x + w / 2 <= found.width and y + h <= found.height
    assert found == layout(sizes, [(u, v) for u, v in edges])


def test_a_chain_is_drawn_straight() -> None:
    found = layout([(50 + k % 3 * 20, 30) for k in range(30)], [(k, k + 1) for k in range(29)])
    assert len({x for x, _ in found.places}) == 1


def test_parallel_paths_do_not_cross() -> None:
    # each row is given in the opposite order of the one above
    edges = [(3 * row + k, 3 * row + 5 - k) for row in range(9) for k in range(3)]
    found = layout([(40, 20)] * 30, edges)
    columns = {x for x, _ in found.places}
    assert len(columns) == 3


def test_edges_that_are_too_long_are_left_out_and_the_rest_stays() -> None:
    count = 1200
    edges = [(k, k + 1) for k in range(count - 1)] + [(k, count - 1 - k) for k in range(count // 2 - 1)]
    found = layout([(40, 20)] * count, edges)
    left_out = sum(not route for route in found.routes)
    assert 0 < left_out < count // 2
    assert all(found.routes[: count - 1])
    assert overlaps([(40, 20)] * count, found) == 0


def test_an_unrolled_network_folds_into_one_box() -> None:
    graph = unrolled()
    drawing = draw(graph)
    (box,) = [box for box in drawing.boxes if box.kind == "repeat"]
    assert box.title == "\u00d7 49"
    assert len(box.nodes) == 49 * 6
    assert len(drawing.boxes) < 35
    assert len(draw(graph, fold=False).boxes) > 250


def test_what_is_joined_otherwise_does_not_fold() -> None:
    x = Value(T, name="x")
    values = [x]
    for k in range(30):
        values.append(b.add(values[-1], values[-1 - k % 7] if k >= 7 else values[-1]))
    alike = [x]
    for _ in range(30):
        alike.append(b.add(alike[-1], alike[-1]))
    assert [r.times for r in repeats(Graph("m", [x], alike[-1:]).nodes)] == [30]
    assert all(r.times < 8 for r in repeats(Graph("m", [x], values[-1:]).nodes))


@pytest.mark.parametrize("seed", range(5))
def test_folding_makes_no_circle(seed: int) -> None:
    graph = tangle(300, seed)
    for fold in (True, False):
        drawing = draw(graph, fold)
        assert all(u < v for u, v in drawing.edges)
        drawing.layout()


@pytest.mark.parametrize("module", [LeNet5, VGG])
def test_a_small_model_is_drawn_whole(module: type[LeNet5]) -> None:
    program = nv.trace(module(), *module.inputs)
    start = time.process_time()
    picture = svg(program.main)
    assert time.process_time() - start < 2
    root = ElementTree.fromstring(picture)
    texts = [t.text or "" for t in root.iter(f"{SVG}text")]
    assert texts.count("conv") == sum(n.op.mnemonic == "conv" for n in program.main.nodes)
    assert any(t.startswith("@") and t.endswith(".weight") for t in texts)


@pytest.mark.parametrize("graph", [chain(5000), chain(5000, seed=1), tangle(1000, 2)])
@pytest.mark.parametrize("fold", [True, False])
def test_thousands_of_nodes_are_drawn_in_less_than_two_seconds(graph: Graph, fold: bool) -> None:
    start = time.process_time()
    picture = svg(graph, fold)
    assert time.process_time() - start < 2
    assert svg(graph, fold) == picture


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_names(name: str) -> None:
    x = Value(T, entry=name, name=name)
    y = b.exp(x)
    graph = Graph(name, [Value(T, name=name)], [y], [(name, y)])
    picture = svg(graph)
    root = ElementTree.fromstring(picture)
    kinds = {e.tag.removeprefix(SVG) for e in root.iter()}
    assert kinds <= {"svg", "title", "defs", "marker", "path", "g", "rect", "text"}
    assert all(c.isprintable() or c == "\n" for c in picture)
    drawing = draw(graph)
    count = len(drawing.boxes) + len(drawing.edges)
    for text, more in ((dot(graph), 3), (mermaid(graph), 1)):
        assert all(c.isprintable() or c == "\n" for c in text)
        assert len(text.splitlines()) == count + more
    assert "<" not in mermaid(graph).replace("<br/>", "")


def test_dot_and_mermaid_have_every_box_and_edge() -> None:
    graph = nv.trace(LeNet5(), *LeNet5.inputs).main
    drawing = draw(graph)
    assert dot(graph).count(" -> ") == mermaid(graph).count(" --> ") == len(drawing.edges)
    assert dot(graph).count("label=") == len(drawing.boxes)


def test_what_is_not_seen_is_written_out() -> None:
    assert visible("a\x00b\u202ec\n\u2066\ud800") == r"a\x00b\u202ec\x0a\u2066\ud800"
    assert visible("naïve 漢字 π") == "naïve 漢字 π"


def test_empty_graphs_have_pictures() -> None:
    x = Value(T, name="x")
    for graph in (Graph("none", [], []), Graph("same", [x], [x]), Graph("read", [], [Value(T, entry="w")])):
        ElementTree.fromstring(svg(graph))
        assert dot(graph) and mermaid(graph)
    assert Program("p", [Graph("none", [], [])]).main.name == "none"
