"""The page of a compilation, without a browser: what it holds, how large it is, and that names stay names."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hostile import NAMES, hostile_program

import nervure as nv
from nervure import nn
from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.origin import Origin, origins_of
from nervure.ir.program import Program
from nervure.ir.types import TensorType, f32
from nervure.passes.manager import Pipeline, run_pipeline
from nervure.view import page, program_html
from nervure.view.escape import asset, json_text
from nervure.zoo import VGG, CharRNN, LeNet5

T = TensorType(f32, (4, 6))


class Parsed(HTMLParser):
    """The elements of a page, what its scripts and styles hold, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside = ""
        self.held: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag in self.held:
            self.held[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in self.held:
            self.held[self.inside][-1] += data

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.held["script"][0])

    @property
    def policy(self) -> str:
        found = [a["content"] for t, a in self.elements if a.get("http-equiv") == "Content-Security-Policy"]
        assert len(found) == 1 and found[0] is not None
        return found[0]


def ticking() -> Callable[[], float]:
    ticks = count()
    return lambda: next(ticks) * 1e-3


def traced(module: type[Any]) -> Program:
    return nv.trace(module(), *module.inputs)


def thousand() -> Program:
    rng = random.Random(1)
    x = Value(T, name="x")
    values = [x]
    while len(values) <= 1000:
        near = values[-12:]
        other = rng.choice((b.exp, b.tanh, b.sin))(values[-1])
        values.append(b.add(rng.choice(near), rng.choice(near)) if rng.random() < 0.5 else other)
    used = {o for v in values if v.node for o in v.node.operands}
    ends = [v for v in values[1:] if v not in used]
    total = ends[0]
    for end in ends[1:]:
        total = b.add(total, end)
    return Program("thousand", [Graph("main", [x], [total])])


@pytest.fixture(scope="module")
def lenet() -> str:
    return page(traced(LeNet5), clock=ticking())


def test_a_page_asks_nothing_of_any_network(lenet: str) -> None:
    parsed = Parsed(lenet)
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg\")", lenet)
    assert not re.search(r"[\"'(=]\s*//", lenet.partition("<script")[0])
    assert "@import" not in lenet and "url(" not in lenet.partition("<body")[0]
    links = {v for t, a in parsed.elements for k, v in a.items() if k in ("src", "href", "action", "srcset")}
    assert links == {"data:,", "#main"}
    assert not any(k.startswith("on") or k == "style" for _, a in parsed.elements for k in a)


def test_the_policy_allows_one_script_by_its_hash_and_nothing_else(lenet: str) -> None:
    parsed = Parsed(lenet)
    data, script = parsed.held["script"]
    (style,) = parsed.held["style"]
    assert json.loads(data)
    policy = {part.split()[0]: part.split()[1:] for part in parsed.policy.split("; ")}
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[name] == [f"'sha256-{digest}'"]
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert "unsafe" not in parsed.policy


def test_the_script_makes_no_markup_from_strings() -> None:
    script = asset("page.js")
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "fetch(",
                 "XMLHttpRequest", "import(", "DOMParser", "createContextualFragment", ".style"):  # fmt: skip
        assert word not in script, word


def test_every_pass_is_listed_and_each_change_has_its_stage(lenet: str) -> None:
    data = Parsed(lenet).data
    names = [data["strings"][p["name"]] for p in data["passes"]]
    assert names[0] == "check-windows" and {"inline", "fuse"} <= set(names)
    changed = [p for p in data["passes"] if p["changed"]]
    assert [p["stage"] for p in changed] == list(range(1, len(data["stages"])))
    assert all(stage["lines"] and stage["graphs"] for stage in data["stages"])
    assert data["left_out"] == []


def test_source_program_kernels_and_code_are_linked_by_line(lenet: str) -> None:
    data = Parsed(lenet).data
    strings, origins = data["strings"], data["origins"]
    (source,) = data["sources"]
    assert strings[source["file"]] == "nervure/zoo.py"
    line = next(k for k, n in enumerate(source["lines"]) if "self.conv1(x)" in strings[n]) + source["first"]
    number = origins.index(f"nervure/zoo.py:{line}")
    first = data["stages"][0]["lines"]
    assert any(number in entry[4] and "conv{" in strings[entry[0]] for entry in first)
    for code in data["code"]:
        bodies = [body for _, lines, body in code["blocks"] if number in lines]
        assert bodies, code["key"]
    assert [c["key"] for c in data["code"]] == ["kernels", "llvm", "asm"]
    assert any(
        "vfmadd" in body or "fmul" in body or "mul" in body for _, _, body in data["code"][2]["blocks"]
    )


def test_a_node_keeps_its_number_until_a_pass_touches_it(lenet: str) -> None:
    data = Parsed(lenet).data
    before, after = ({line[2]: line for line in s["lines"] if line[2] > 0} for s in data["stages"][:2])
    assert len(before) == 16 and len(after) == 22
    kept = [n for n in after if n in before and before[n][3] == after[n][3]]
    ops = {data["strings"][after[n][0]].split(" = ")[1].split("{")[0].split(" ")[0] for n in kept}
    assert len(kept) == 13 and "conv" in ops and "linear" not in ops


def test_memory_and_times_are_there(lenet: str) -> None:
    data = Parsed(lenet).data
    memory = data["memory"]
    scratch = [row for row in memory["rows"] if row[0] == "scratch"]
    assert scratch and all(0 <= first <= last < len(memory["steps"]) for *_, first, last in scratch)
    assert all(p["seconds"] == pytest.approx(1e-3) for p in data["passes"])


def test_a_profile_is_shown() -> None:
    import numpy as np

    from nervure.inspect.profile import profile

    program = traced(LeNet5)
    found = profile(nv.compile(program), [np.zeros((2, 1, 28, 28), "f")], runs=2)
    data = Parsed(page(program, profile=found)).data
    assert len(data["profile"]["rows"]) == len(found.rows)


def test_equal_programs_give_equal_pages(lenet: str) -> None:
    net = LeNet5()
    one, other = (page(nv.trace(net, *LeNet5.inputs), clock=ticking()) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_stay_data(name: str) -> None:
    x = Value(T, name=name)
    with origins_of((Origin(name, 1),)):
        y = b.exp(b.add(x, Value(T, entry=name or "w")))
        y.name = name
    text = page(Program(name, [Graph(name, [x], [y])]), backend="reference")
    parsed = Parsed(text)
    clean = Parsed(page(Program("p", [Graph("g", [x], [y])]), backend="reference"))
    assert [t for t, _ in parsed.elements] == [t for t, _ in clean.elements]
    assert parsed.held["script"][1] == asset("page.js") and parsed.held["style"] == [asset("page.css")]
    assert all(c.isprintable() for c in text.replace("\n", ""))
    assert all(s.isprintable() for s in [*parsed.data["strings"], *parsed.data["origins"]])


def test_a_thousand_hostile_names_add_no_element() -> None:
    text = page(hostile_program(1000), backend="reference")
    tags = [t for t, _ in Parsed(text).elements]
    assert tags.count("script") == 2 and "img" not in tags and "iframe" not in tags


def test_json_in_a_page_is_ascii_and_ends_no_element() -> None:
    value = ["</script>", "<!--", "&", "\u2028", "\x00", "\ud800"]
    text = json_text(value)
    assert json.loads(text) == value
    assert text.isascii() and not set("<>&") & set(text)


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../secret.py", "a/../../secret.py", "secret.txt", "link.py"]
)
def test_a_program_cannot_name_files_into_its_page(tmp_path: Path, file: str) -> None:
    (tmp_path / "secret.py").write_text("password = 'hunter2'\n")
    root = tmp_path / "root"
    root.mkdir()
    (root / "secret.txt").write_text("password = 'hunter2'\n")
    (root / "link.py").symlink_to(tmp_path / "secret.py")
    (root / "fine.py").write_text("def f(x):\n    return x\n")
    x = Value(T, name="x")
    with origins_of((Origin(file, 1), Origin("fine.py", 2))):
        program = Program("p", [Graph("main", [x], [b.exp(x)])])
    text = page(program, backend="reference", roots=[root])
    assert "hunter2" not in text
    assert "def f(x):" in text


@pytest.mark.long
def test_a_thousand_nodes_take_less_than_five_megabytes() -> None:
    text = page(thousand())
    data = Parsed(text).data
    assert len(text.encode()) < 5_000_000
    assert [len(s["lines"]) > 900 for s in data["stages"][:1]] == [True]
    assert data["code"][0]["blocks"]


def test_what_does_not_fit_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import nervure.view.collect as collect

    monkeypatch.setattr(collect, "BYTES", 60_000)
    text = page(traced(LeNet5))
    data = Parsed(text).data
    assert any("functions of LLVM" in said for said in data["left_out"])
    assert data["stages"][0]["lines"] and data["stages"][-1]["lines"]
    assert len(text) < 60_000 + len(asset("page.js")) + len(asset("page.css")) + 80_000


@pytest.mark.parametrize("module", [LeNet5, VGG, CharRNN])
def test_the_data_of_a_model_takes_less_than_two_seconds(module: type[Any]) -> None:
    from nervure.view.collect import compilation, page_data

    made = compilation(traced(module))
    start = time.process_time()
    page_data(made)
    assert time.process_time() - start < 2


def test_a_chain_of_five_thousand_nodes_is_one_box() -> None:
    x = value = Value(T, name="x")
    for _ in range(5000):
        value = b.tanh(value)
    program = Program("chain", [Graph("main", [x], [value])])
    start = time.process_time()
    data = Parsed(page(program, pipeline=Pipeline.parse("canonicalize,cse,dce"))).data
    assert time.process_time() - start < 2
    assert [box[0] for box in data["stages"][0]["graphs"][0]["boxes"]] == ["input", "repeat", "output"]
    assert "3000" in data["refusal"]


def test_a_backend_without_kernels_has_a_page_that_says_so() -> None:
    data = Parsed(page(traced(LeNet5), backend="onnx")).data
    assert data["code"] == [] and data["memory"] is None
    assert data["refusal"] == "backend onnx has no kernels to show"


def test_the_body_of_a_loop_has_a_picture_of_its_own() -> None:
    program = run_pipeline(traced(CharRNN), Pipeline.parse("decompose")).program
    data = Parsed(page(program, backend="reference")).data
    names = [data["strings"][g["name"]] for g in data["stages"][0]["graphs"]]
    assert names[0] == "forward" and any("scan" in name for name in names[1:])
    body = data["stages"][0]["graphs"][1]
    lines = {line[2] for line in data["stages"][0]["lines"]}
    assert any(box[8] for box in body["boxes"])
    assert all(number in lines for box in body["boxes"] for number in box[8])


def test_notebooks_show_programs_and_graphs_without_scripts() -> None:
    program = traced(LeNet5)
    html = program._repr_html_()
    assert html == program_html(program)
    tags = {t for t, _ in Parsed(html).elements}
    assert "svg" in tags and tags.isdisjoint({"script", "style", "iframe", "img", "link"})
    assert program.main._repr_svg_().startswith("<svg ")
    hostile = hostile_program(40)._repr_html_()
    allowed = {"div", "strong", "details", "summary", "svg", "title", "defs", "marker", "path", "g", "rect", "text", "pre"}  # fmt: skip
    assert {t for t, _ in Parsed(hostile).elements} <= allowed


def test_a_drawing_that_folds_repeats_has_one_without_beside_it(lenet: str) -> None:
    def deep(x: Any) -> Any:
        for _ in range(20):
            x = nn.tanh(x * 2 + 1)
        return x

    data = Parsed(page(nv.trace(deep, "f32[B,8]"), backend="reference")).data
    drawing = data["stages"][0]["graphs"][0]
    kinds = [box[0] for box in drawing["unfolded"]["boxes"]]
    assert any(box[0] == "repeat" for box in drawing["boxes"]) and "repeat" not in kinds
    assert len(kinds) > 60
    assert all("unfolded" not in g for stage in Parsed(lenet).data["stages"] for g in stage["graphs"])
