"""What is known of an ONNX file before it predicts: which output, which inputs, which nulls."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from twofold.errors import ConfigError, DeclarationError
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Field, FieldType, Output, OutputKind, Signature
from twofold.packing.sources import Declared
from twofold.packing.sources.onnx import FILE, OnnxSource, read_model
from twofold.predictor.runtimes import open_runtime

FLOAT = TensorProto.FLOAT
Shape = list[Any]
CLASSIFIER = (("label", [None, 2]), ("probabilities", [None, 2]))


def written(
    folder: Path,
    outputs: tuple[tuple[str, Shape], ...],
    *,
    kind: int = FLOAT,
    inputs: tuple[tuple[str, Shape], ...] = (("rows", [None, 2]),),
    listed: str | None = None,
) -> Path:
    """Write a model that gives its first input back as every output.

    Args:
        folder: Where to.
        outputs: Their names and shapes.
        kind: The type of all tensors.
        inputs: Their names and shapes.
        listed: A last output, which is a list of tensors and no tensor.
    """
    nodes = [helper.make_node("Identity", [inputs[0][0]], [name]) for name, _ in outputs]
    made = [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs]
    if listed:
        nodes.append(helper.make_node("SequenceConstruct", [inputs[0][0]], [listed]))
        made.append(helper.make_tensor_sequence_value_info(listed, kind, None))
    graph = helper.make_graph(
        nodes,
        "same",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        made,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "m.onnx"
    onnx.save(model, path)
    return path


def signed(*names: str, kind: FieldType = "float32", nullable: bool = False) -> Signature:
    return Signature(fields=tuple(Field(name=name, type=kind, nullable=nullable) for name in names))


def stored(source: OnnxSource, signature: Signature, folder: Path) -> Artifact:
    return source.write_original(folder, signature, trust_pickle=False)


OUTPUTS: dict[str, tuple[tuple[tuple[str, Shape], ...], OutputKind | None, Declared]] = {
    "probabilities of two classes": (CLASSIFIER, None, Declared("probability")),
    "probabilities asked for": (CLASSIFIER, "probability", Declared("probability")),
    "labels asked for": (CLASSIFIER, "label", Declared("label")),
    "probabilities that come first": (
        (("Scores", [None, 2]), ("class", [None, 2])),
        None,
        Declared("probability"),
    ),
    "one probability a row": (
        (("label", [None, 1]), ("prob", [None, 1])),
        None,
        Declared("probability"),
    ),
    "one probability a row, flat": (
        (("label", [None]), ("prob", [None])),
        None,
        Declared("probability"),
    ),
    "three classes": (
        (("label", [None, 3]), ("prob", [None, 3])),
        None,
        Declared(
            "probability",
            ("prediction_0", "prediction_1", "prediction_2"),
            ("0", "1", "2"),
        ),
    ),
    "a value": ((("variable", [None, 1]),), None, Declared("value")),
    "a value asked for": ((("variable", [None, 1]),), "value", Declared("value")),
    "the only output as a label": ((("class", [None]),), "label", Declared("label")),
    "a value called a score": ((("score", [None, 1]),), None, Declared("value")),
    "several values": ((("first", [None]), ("second", [None])), None, Declared("value")),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_prediction_is_told_from_names_and_shapes(name: str, tmp_path: Path) -> None:
    outputs, kind, expected = OUTPUTS[name]
    width = outputs[0][1]
    source = read_model(written(tmp_path, outputs, inputs=(("rows", width),)), kind)
    assert source.output == expected


@pytest.mark.parametrize(
    ("kind", "call", "class_index"),
    [(None, "probabilities", 1), ("probability", "probabilities", 1), ("label", "label", None)],
)
def test_the_artifact_says_which_output_is_the_prediction(
    kind: OutputKind | None, call: str, class_index: int | None, tmp_path: Path
) -> None:
    source = read_model(written(tmp_path, CLASSIFIER), kind)
    artifact = stored(source, signed("a", "b"), tmp_path)
    assert (artifact.call, artifact.class_index) == (call, class_index)


@pytest.mark.parametrize("width", [1, 3])
def test_only_one_of_two_probabilities_stands_for_both(width: int, tmp_path: Path) -> None:
    shape: Shape = [None, width]
    path = written(tmp_path, (("label", shape), ("prob", shape)), inputs=(("rows", shape),))
    signature = signed(*"abc"[:width])
    assert stored(read_model(path, None), signature, tmp_path).class_index is None


def test_probabilities_of_an_unknown_number_of_classes_are_refused(tmp_path: Path) -> None:
    shape: Shape = [None, "classes"]
    path = written(tmp_path, (("label", shape), ("prob", shape)), inputs=(("rows", shape),))
    with pytest.raises(DeclarationError) as caught:
        read_model(path, None)
    assert "onnx output prob: expected a fixed number of classes, got shape" in str(caught.value)
    assert str(caught.value).endswith("or pack it with --output label.")
    assert read_model(path, "label").output == Declared("label")


def test_probabilities_of_a_model_without_any_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError) as caught:
        read_model(written(tmp_path, (("variable", [None, 1]),)), "probability")
    assert str(caught.value) == (
        "--output probability: expected one of value, label for this ONNX model, "
        "got probability. Choose one of them."
    )


def test_an_output_that_is_no_tensor_is_refused_unless_it_is_not_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, (("label", [None, 2]),), listed="probabilities")
    for kind in (None, "probability", "value"):
        with pytest.raises(DeclarationError) as caught:
            read_model(path, kind)  # type: ignore[arg-type]
        assert str(caught.value) == (
            "onnx output probabilities: expected a tensor, got seq(tensor(float)). "
            "Export the model with the option zipmap=False."
        )
    assert stored(read_model(path, "label"), signed("a", "b"), tmp_path).call == "label"


def test_an_input_of_a_type_that_no_field_has_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, (("y", [None, 2]),), kind=TensorProto.FLOAT16)
    with pytest.raises(DeclarationError) as caught:
        read_model(path, None)
    assert str(caught.value) == (
        "onnx input rows: expected one of tensor(float), tensor(double), tensor(int64), "
        "tensor(int32), tensor(bool), tensor(string), got tensor(float16). "
        "Export the model with such inputs."
    )


def test_only_a_model_of_several_inputs_names_its_fields(tmp_path: Path) -> None:
    one = read_model(written(tmp_path, (("y", [None, 2]),)), None)
    assert one.feature_names is None
    inputs = (("b", [None, 1]), ("a", [None, 1]))
    two = read_model(written(tmp_path, (("y", [None, 1]),), inputs=inputs), None)
    assert two.feature_names == ("b", "a")
    assert (two.framework, two.libraries) == ("onnx", ("onnxruntime", "numpy"))


@pytest.mark.parametrize(
    ("inputs", "names", "expected"),
    [
        ((("rows", [None, 2]),), ("a", "b"), "matrix"),
        ((("rows", [None, 1]),), ("a",), "matrix"),
        ((("a", [None, 1]),), ("a",), "columns"),
        ((("a", [None, 2]),), ("a", "b"), "matrix"),
        ((("a", [None, 1]), ("b", [None, 1])), ("a", "b"), "columns"),
        ((("rows", [None, None]),), ("a", "b", "c"), "matrix"),
        ((("rows", ["n", "width"]),), ("a", "b", "c"), "matrix"),
    ],
)
def test_one_input_of_many_fields_is_a_matrix(
    inputs: Any, names: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    source = read_model(written(tmp_path, (("y", inputs[0][1]),), inputs=inputs), None)
    assert stored(source, signed(*names), tmp_path).input == expected


def test_a_sample_of_another_width_than_the_matrix_is_refused(tmp_path: Path) -> None:
    source = read_model(written(tmp_path, (("y", [None, 2]),)), None)
    with pytest.raises(DeclarationError) as caught:
        stored(source, signed("a", "b", "target"), tmp_path)
    assert str(caught.value) == (
        "onnx input rows: expected 2 columns, got a sample with 3. "
        "Drop the columns that are not inputs (--drop)."
    )


def test_a_tensor_counts_with_its_length(tmp_path: Path) -> None:
    path = written(tmp_path, (("y", [None, 3]),), inputs=(("rows", [None, 3]),))
    vector = Field(name="v", type="tensor", length=2)
    signature = Signature(fields=(Field(name="a", type="float32"), vector))
    assert stored(read_model(path, None), signature, tmp_path).input == "matrix"
    with pytest.raises(DeclarationError, match="expected 3 columns, got a sample with 2"):
        stored(read_model(path, None), Signature(fields=(vector,)), tmp_path)


NULLS: list[tuple[int, str, FieldType]] = [
    (TensorProto.INT64, "tensor(int64)", "int64"),
    (TensorProto.INT32, "tensor(int32)", "int64"),
    (TensorProto.BOOL, "tensor(bool)", "bool"),
    (TensorProto.STRING, "tensor(string)", "string"),
]


@pytest.mark.parametrize(("kind", "name", "field"), NULLS)
@pytest.mark.parametrize("inputs", ["one matrix", "one column each"])
def test_nulls_are_refused_where_nothing_stands_for_them(
    kind: int, name: str, field: FieldType, inputs: str, tmp_path: Path
) -> None:
    given: Any = (("rows", [None, 2]),)
    if inputs == "one column each":
        given = (("a", [None, 1]), ("b", [None, 1]))
    path = written(tmp_path, (("y", given[0][1]),), kind=kind, inputs=given)
    source = read_model(path, None)
    fields = (Field(name="a", type=field), Field(name="b", type=field, nullable=True))
    with pytest.raises(DeclarationError) as caught:
        stored(source, Signature(fields=fields), tmp_path)
    assert str(caught.value) == (
        f"sample.b: expected a value in every row, as the model's input is a {name}, got nulls. "
        "Fill them in, here and in the rows to predict."
    )
    stored(source, signed("a", "b", kind=field), tmp_path)


@pytest.mark.parametrize("kind", [FLOAT, TensorProto.DOUBLE])
def test_nulls_reach_a_model_of_floats_as_nan(kind: int, tmp_path: Path) -> None:
    path = written(tmp_path, (("y", [None, 1]),), kind=kind, inputs=(("a", [None, 1]),))
    source = read_model(path, None)
    signature = signed("a", kind="int64", nullable=True)
    artifact = stored(source, signature, tmp_path)
    output = Output(kind="value", type="float64")
    runtime = open_runtime(artifact, tmp_path, signature, output, trust_pickle=False)
    many = runtime.predict_columns(columns_of(signature, [[None], [7]]))[0]
    assert np.isnan(many).tolist() == [True, False]
    assert np.isnan(runtime.predict_values([None])[0])


def test_the_file_is_stored_as_it_came(tmp_path: Path) -> None:
    path = written(tmp_path, CLASSIFIER)
    content = path.read_bytes()
    source = read_model(path, None)
    path.unlink()
    artifact = stored(source, signed("a", "b"), tmp_path)
    assert (artifact.file, artifact.format) == (FILE, "onnx")
    assert (tmp_path / FILE).read_bytes() == content
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)


@pytest.mark.parametrize("content", [b"", b"\x08\x09broken", b"no protobuf\nat all"])
def test_a_file_that_is_no_model_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        read_model(path, None)
    assert str(caught.value).startswith(f"{path}: expected an ONNX model, got ")
    assert str(caught.value).endswith(". Export it again.")
    assert "\n" not in str(caught.value)


def test_a_file_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, CLASSIFIER)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'twofold\[onnx\]'"):
        read_model(path, None)
