"""ONNX models that are wrong in one way each, with what the error has to name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["HOSTILE", "chain", "field", "files"]

VECTOR = [4]


def info(name: str, dims: Any = VECTOR, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, dims)


def chain(
    *nodes: Any, initializers: Any = (), outputs: Any = ("y",), functions: Any = (), opset: int = 17
) -> Any:
    """A model with the input x and these nodes."""
    graph = helper.make_graph(list(nodes), "g", [info("x")], [info(o) for o in outputs], list(initializers))
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def relu(
    source: str = "x", result: str = "y", name: str = "the_relu", op: str = "Relu", **attributes: Any
) -> Any:
    return helper.make_node(op, [source], [result], name=name, **attributes)


def add_weight(tensor: Any) -> Any:
    return chain(helper.make_node("Add", ["x", "w"], ["y"], name="the_add"), initializers=[tensor])


def weight(**fields: Any) -> Any:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    for name, value in fields.items():
        if isinstance(value, list):
            tensor.ClearField(name)
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return tensor


def typed(kind: int, dims: list[int], **fields: list[Any]) -> Any:
    tensor = TensorProto(name="w", data_type=kind, dims=dims)
    for name, value in fields.items():
        getattr(tensor, name).extend(value)
    return tensor


def external(**entries: str) -> Any:
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def with_attribute(**fields: Any) -> Any:
    node = relu(op="LeakyRelu")
    node.attribute.add(name="alpha", **fields)
    return chain(node)


def nested(depth: int) -> Any:
    """An If in an If in an If."""
    body = helper.make_graph([relu("x", "z")], "b", [], [info("z")])
    for k in range(depth):
        node = helper.make_node("If", ["c"], ["z"], name=f"if{k}", then_branch=body, else_branch=body)
        if k > 1:  # both branches would double the file each time
            node = helper.make_node("If", ["c"], ["z"], name=f"if{k}", then_branch=body)
        body = helper.make_graph([node], "b", [], [info("z")])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    return chain(constant, *body.node, outputs=["z"])


def calling(name: str, inner: str, times: int = 1) -> Any:
    """A function of one input that calls another so often."""
    nodes = [
        helper.make_node(inner, ["a" if k == 0 else f"t{k}"], [f"t{k + 1}"], domain="own")
        for k in range(times)
    ]
    return helper.make_function("own", name, ["a"], [f"t{times}"], nodes, [helper.make_opsetid("own", 1)])


def bomb(depth: int, times: int) -> Any:
    functions = [calling(f"f{k}", f"f{k + 1}", times) for k in range(depth)]
    leaf = helper.make_function(
        "own", f"f{depth}", ["a"], ["b"], [relu("a", "b")], [helper.make_opsetid("", 17)]
    )
    return chain(helper.make_node("f0", ["x"], ["y"], domain="own"), functions=[*functions, leaf])


def sparse(dims: list[int], count: int, indices: list[int]) -> Any:
    values = numpy_helper.from_array(np.ones(count, np.float32), "w")
    places = numpy_helper.from_array(np.array(indices, np.int64))
    model = chain(helper.make_node("Add", ["x", "w"], ["y"], name="the_add"))
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=places, dims=dims))
    return model


def edited(model: Any, edit: Callable[[Any], Any]) -> Any:
    edit(model)
    return model


def cyclic() -> Any:
    return chain(relu("b", "a", "first"), relu("a", "b", "second"), relu("a", "y", "third"))


def cycle_through_a_body() -> Any:
    body = helper.make_graph([relu("late", "z", "inside")], "b", [], [info("z")])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    branch = helper.make_node("If", ["c"], ["y"], name="branch", then_branch=body, else_branch=body)
    return chain(constant, branch, relu("y", "late", "follower"))


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "no graph": (onnx.ModelProto, "no graph"),
    "an undefined name": (lambda: chain(relu("xx")), "node 'the_relu'.*'xx', which nothing makes"),
    "an undefined name in a body": (
        lambda: chain(
            helper.make_node(
                "If",
                ["x"],
                ["y"],
                name="branch",
                then_branch=helper.make_graph([relu("nowhere", "z", "inside")], "b", [], [info("z")]),
                else_branch=helper.make_graph([relu("x", "z")], "b", [], [info("z")]),
            )
        ),
        "branch.*inside.*'nowhere'",
    ),
    "an undefined output": (lambda: chain(relu("x", "z")), "output reads 'y', which nothing makes"),
    "two nodes that make a name": (lambda: chain(relu(), relu(name="other")), "'other'.*'y'.*the_relu"),
    "a node that makes an input": (lambda: chain(relu("x", "x"), relu()), "the_relu.*makes 'x'"),
    "two initializers of a name": (
        lambda: edited(add_weight(weight()), lambda m: m.graph.initializer.append(weight())),
        "two initializers have the name 'w'",
    ),
    "two inputs of a name": (
        lambda: edited(chain(relu()), lambda m: m.graph.input.append(info("x"))),
        "two inputs have the name 'x'",
    ),
    "a cycle": (cyclic, "node 'first' .*needs its own result"),
    "a node that reads itself": (lambda: chain(relu("y", "y")), "'the_relu' .*needs its own result"),
    "a cycle through a body": (cycle_through_a_body, "needs its own result"),
    "a name that is no text": (
        lambda: onnx.ModelProto.FromString(
            chain(relu("x", "y", "abc")).SerializeToString().replace(b"abc", b"\xff\xfe\xfd")
        ),
        "no UTF-8",
    ),
    "dims below 0": (lambda: add_weight(weight(dims=[-4])), r"'w': dims \[-4\]"),
    "dims beyond the data": (lambda: add_weight(weight(dims=[1 << 40])), "'w': 16 bytes of data"),
    "dims beyond all memory": (
        lambda: add_weight(weight(dims=[1 << 62, 1 << 62])),
        "'w': dims .* are more than",
    ),
    "dims beyond all memory and one of 0": (
        lambda: add_weight(weight(dims=[0, 1 << 62])),
        "'w': dims .* are more than",
    ),
    "too many axes": (lambda: add_weight(weight(dims=[1] * 65)), "'w': 65 axes"),
    "too little data": (lambda: add_weight(weight(raw_data=b"abc")), "'w': 3 bytes"),
    "no data": (lambda: add_weight(typed(1, [1 << 34])), "'w': 0 elements in float_data"),
    "data in another field": (
        lambda: add_weight(typed(1, [2], int64_data=[1, 2])),
        "'w': data in int64_data",
    ),
    "data twice": (lambda: add_weight(weight(float_data=[1.0] * 4)), "'w': data twice"),
    "no element type": (lambda: add_weight(weight(data_type=0)), "'w': element type 0"),
    "an unknown element type": (lambda: add_weight(weight(data_type=99)), "'w': element type 99"),
    "an unknown element type of an input": (
        lambda: edited(chain(relu()), lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99)),
        "input 'x': element type 99",
    ),
    "an input of dims below 0": (
        lambda: edited(chain(relu()), lambda m: m.graph.input[0].CopyFrom(info("x", [-7]))),
        r"input 'x': dims \[-7\]",
    ),
    "an input beyond all memory": (
        lambda: edited(chain(relu()), lambda m: m.graph.input[0].CopyFrom(info("x", [1 << 40] * 3))),
        "input 'x': dims .* are more than",
    ),
    "a constant of dims beyond its data": (
        lambda: chain(
            helper.make_node("Constant", [], ["y"], name="the_constant", value=weight(dims=[1 << 34])),
        ),
        "the_constant.*'value': 16 bytes",
    ),
    "sparse dims beyond all memory": (lambda: sparse([1 << 62], 1, [0]), "'w': dims .* are more than"),
    "sparse indices that do not fit": (lambda: sparse([8], 2, [0]), "'w': indices of dims"),
    "an attribute of another type": (lambda: with_attribute(type=1, i=3), "the_relu.*'alpha' says it is f"),
    "an attribute of no type": (lambda: with_attribute(f=3.0), "the_relu.*'alpha' has type 0"),
    "an attribute without its tensor": (lambda: with_attribute(type=4), "the_relu.*'alpha' says it is t"),
    "two attributes of a name": (
        lambda: edited(with_attribute(type=1, f=1.0), lambda m: m.graph.node[0].attribute.add(name="alpha")),
        "the_relu.*two attributes",
    ),
    "a node without op": (lambda: chain(relu(op="")), "the_relu.*no op"),
    "a node without its inputs": (
        lambda: chain(helper.make_node("Conv", ["x"], ["y"], name="the_conv")),
        "the_conv.*1 input, expected 2 to 3",
    ),
    "a node that leaves an input out": (
        lambda: chain(helper.make_node("Conv", ["", "x"], ["y"], name="the_conv")),
        r"the_conv.*input 0 \(X\) is left out",
    ),
    "a node of too many outputs": (
        lambda: chain(helper.make_node("Relu", ["x"], ["y", "z"], name="the_relu")),
        "the_relu.*2 outputs, expected 1",
    ),
    "a node without its attribute": (
        lambda: chain(helper.make_node("Cast", ["x"], ["y"], name="the_cast")),
        "the_cast.*attribute 'to' is missing",
    ),
    "an attribute of a type that its op does not have": (
        lambda: chain(relu(op="LeakyRelu", alpha=[1.0])),
        "the_relu.*attribute 'alpha' has type 6, expected float",
    ),
    "a size whose name is no text": (
        lambda: onnx.ModelProto.FromString(
            edited(chain(relu()), lambda m: m.graph.input[0].CopyFrom(info("x", ["abc"])))
            .SerializeToString()
            .replace(b"abc", b"\xff\xfe\xfd")
        ),
        "input 'x': the name of an axis is no UTF-8 text",
    ),
    "an opset of the future": (lambda: chain(relu(), opset=9999), "opset 9999"),
    "an opset below 1": (lambda: chain(relu(), opset=-1), "opset -1"),
    "bodies in bodies": (lambda: nested(27), "more than 24 bodies"),
    "a function that calls itself": (
        lambda: chain(helper.make_node("f", ["x"], ["y"], domain="own"), functions=[calling("f", "f")]),
        "function 'f' calls itself",
    ),
    "functions that call each other": (
        lambda: chain(
            helper.make_node("f", ["x"], ["y"], domain="own"),
            functions=[calling("f", "g"), calling("g", "f")],
        ),
        "calls itself",
    ),
    "functions that multiply": (lambda: bomb(30, 8), "nodes once its functions are inlined"),
    "two functions of a name": (
        lambda: edited(bomb(1, 1), lambda m: m.functions.append(m.functions[0])),
        "two functions have the name 'f0'",
    ),
    "a function that reads what nothing makes": (
        lambda: chain(
            relu(),
            functions=[
                helper.make_function(
                    "own", "f", ["a"], ["b"], [relu("x", "b", "inner")], [helper.make_opsetid("", 17)]
                )
            ],
        ),
        "function 'f': node 'inner'.*'x', which nothing makes",
    ),
    "external data for bytes": (lambda: add_weight(external(location="w.bin")), "'w'.*no folder"),
    "external data without a place": (lambda: add_weight(external(offset="0")), "'w'.*without a location"),
}
"""How to make each, and a pattern of the error."""


def field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes."""
    size, head = len(content), b""
    while size >= 0x80:
        head, size = head + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + head + bytes([size]) + content


def files() -> Iterator[tuple[str, bytes, str]]:
    """Files that are no ONNX models: what they are, the bytes, a pattern of the error."""
    whole = chain(relu()).SerializeToString()
    yield "an empty file", b"", "empty"
    yield "a truncated file", whole[:-5], "damaged ONNX model"
    yield "a file of zeros", bytes(1 << 16), "field number 0 at byte 0"
    yield "a file of ones", b"\xff" * 4096, "at byte 0"
    yield (
        "a length beyond the file",
        b"\x3a\xff\xff\xff\xff\x7f",
        "a field of 34359738367 bytes of which 0 are there",
    )
    yield "a message bomb", field(7, b"\x0a\x00" * 6_000_000), "more than 524,288 messages"
    yield "a field bomb", field(7, b"\x12\x00" * 6_000_000), "more than 2,097,152 fields"
    deep = b""
    for _ in range(2000):
        deep = field(1, field(5, field(6, deep)))
    yield "a nest of bodies", field(7, deep), "nested more than 96 deep at byte .* in graph.node.attribute.g"
    yield "a zip archive", b"PK\x03\x04" + bytes(60), "torch.onnx.export"
    yield "a pointer", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"
