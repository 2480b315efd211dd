"""ONNX files, packed as they are: ONNX Runtime is their own library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twofold.errors import DeclarationError, TwofoldError, problem
from twofold.model.record import Artifact, Framework
from twofold.model.registry import file_digest
from twofold.model.signature import OutputKind, Signature
from twofold.packing.sources import Declared, no_such_output
from twofold.predictor.runtimes.matrix import width_of
from twofold.predictor.runtimes.onnx import FEED_TYPES, MATRIX_RANK, open_session

FILE = "original.onnx"
PROBABILITIES = ("prob", "score")
WITH_NAN = ("tensor(float)", "tensor(double)")


def read_model(path: Path, output: OutputKind | None) -> OnnxSource:
    """Read an ONNX file.

    Raises:
        DeclarationError: It isn't one, or has inputs or outputs that no signature holds.
        ConfigError: ONNX Runtime isn't installed.
    """
    content = path.read_bytes()
    try:
        session = open_session(content)
    except TwofoldError:
        raise
    except Exception as error:
        what = str(error).strip().partition("\n")[0][:200]
        fix = "Export it again."
        raise DeclarationError(problem(str(path), "an ONNX model", what, fix)) from error
    return OnnxSource(content, session, output)


class OnnxSource:
    """An ONNX model."""

    framework: Framework = "onnx"
    libraries = ("onnxruntime", "numpy")

    def __init__(self, content: bytes, session: Any, output: OutputKind | None) -> None:
        """Decide which output is the prediction."""
        self.content = content
        self._inputs = session.get_inputs()
        for item in self._inputs:
            if item.type not in FEED_TYPES:
                raise DeclarationError(
                    problem(
                        f"onnx input {item.name}",
                        f"one of {', '.join(FEED_TYPES)}",
                        item.type,
                        "Export the model with such inputs.",
                    )
                )
        many = len(self._inputs) > 1
        self.feature_names = tuple(item.name for item in self._inputs) if many else None
        self._chosen, self.output = self._choose(session.get_outputs(), output)

    def _choose(self, outputs: list[Any], kind: OutputKind | None) -> tuple[Any, Declared]:
        for item in outputs[:1] if kind == "label" else outputs:
            if not item.type.startswith("tensor"):
                raise DeclarationError(
                    problem(
                        f"onnx output {item.name}",
                        "a tensor",
                        item.type,
                        "Export the model with the option zipmap=False.",
                    )
                )
        likely = [
            item for item in outputs if any(word in item.name.lower() for word in PROBABILITIES)
        ]
        several = len(outputs) > 1 or kind == "probability"
        if likely and several and kind in (None, "probability"):
            chosen = likely[0]
            count = chosen.shape[-1] if len(chosen.shape) == MATRIX_RANK else 1
            if not isinstance(count, int) or count > 2:  # noqa: PLR2004 - two: the positive class
                return chosen, _columns(chosen, count)
            return chosen, Declared("probability")
        if kind == "probability":
            raise no_such_output("this ONNX model", kind, "value, label")
        chosen = outputs[0]
        labels = kind == "label" or (kind is None and likely and len(outputs) > 1)
        return chosen, Declared("label" if labels else "value")

    def predict_given(self, frame: Any) -> list[Any] | None:  # noqa: ARG002 - there is a file only
        """Nothing: what was given is what is stored."""
        return None

    def write_original(
        self,
        folder: Path,
        signature: Signature,
        *,
        trust_pickle: bool,  # noqa: ARG002 - no code is in it
    ) -> Artifact:
        """Write the model as it came."""
        path = folder / FILE
        path.write_bytes(self.content)
        first = self._inputs[0]
        matrix = len(self._inputs) == 1 and (
            len(signature.fields) > 1 or first.name not in signature.names
        )
        self._check_nulls(signature, matrix=matrix)
        shape = first.shape
        if matrix and len(shape) == MATRIX_RANK and isinstance(shape[1], int):
            width = width_of(signature)
            if shape[1] != width:
                raise DeclarationError(
                    problem(
                        f"onnx input {first.name}",
                        f"{shape[1]} columns",
                        f"a sample with {width}",
                        "Drop the columns that are not inputs (--drop).",
                    )
                )
        two = len(self._chosen.shape) == MATRIX_RANK and self._chosen.shape[-1] == 2  # noqa: PLR2004
        return Artifact(
            file=path.name,
            format="onnx",
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
            call=self._chosen.name,
            input="matrix" if matrix else "columns",
            class_index=1 if two and self.output.kind == "probability" else None,
        )

    def _check_nulls(self, signature: Signature, *, matrix: bool) -> None:
        """Refuse nulls where the model has nothing that stands for them: NaN is a float."""
        types = {item.name: item.type for item in self._inputs}
        for field in signature.fields:
            kind = self._inputs[0].type if matrix else types.get(field.name)
            if field.nullable and kind not in (None, *WITH_NAN):
                raise DeclarationError(
                    problem(
                        f"sample.{field.name}",
                        f"a value in every row, as the model's input is a {kind}",
                        "nulls",
                        "Fill them in, here and in the rows to predict.",
                    )
                )


def _columns(chosen: Any, count: Any) -> Declared:
    if not isinstance(count, int):
        raise DeclarationError(
            problem(
                f"onnx output {chosen.name}",
                "a fixed number of classes",
                f"shape {chosen.shape}",
                "Export the model with the classes' number, or pack it with --output label.",
            )
        )
    names = tuple(str(index) for index in range(count))
    return Declared("probability", tuple(f"prediction_{name}" for name in names), names)
