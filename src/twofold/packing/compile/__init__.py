"""Compiling a model: its encoder and its trees as the arrays of the native kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np

from twofold.model.signature import Field, Signature
from twofold.packing.compile import lightgbm, sklearn_trees, xgboost
from twofold.packing.compile.encoder import Block, Column, RawText, encode
from twofold.packing.compile.ensemble import Ensemble, assemble
from twofold.packing.compile.features import (
    FUNCTIONS,
    Feature,
    Levels,
    NotCompilable,
    Number,
    Text,
)
from twofold.packing.compile.linear import LIKELIER, assemble_linear, is_linear, read_linear
from twofold.packing.sources import Source
from twofold.predictor.program import WHOLE, Header, Input, Program
from twofold.predictor.runtimes.labels import READERS

__all__ = ["NotCompilable", "compile_model"]

Assemble = Callable[[list[Feature], list[Input], frozenset[int]], Program]


@dataclasses.dataclass(frozen=True)
class _Model:
    """A model read.

    Attributes:
        assemble: Makes its program, given its features and their inputs.
        block: The columns it sees.
        refuses_missing: Whether the original raises where one of these is missing.
    """

    assemble: Assemble
    block: Block
    refuses_missing: bool = False


def compile_model(source: Source, signature: Signature) -> Program:
    """Compile a model.

    Args:
        source: The model.
        signature: Its inputs.

    Raises:
        NotCompilable: With the reason, for people.
    """
    found: Any = source
    inputs, block = _inputs(signature, _booster_categories(found))
    match source.framework:
        case "scikit-learn":
            model = _sklearn(found, block)
        case "lightgbm":
            ensemble = lightgbm.read_booster(found.booster.model_to_string())
            model = _Model(partial(_trees, _labelled(found, ensemble)), block)
        case "xgboost":
            ensemble = xgboost.read_booster(bytes(found.booster.save_raw("json")))
            model = _Model(partial(_trees, _labelled(found, ensemble)), block)
        case other:
            raise NotCompilable(f"no compiled form of {other} models")
    features = [_number(column) for column in model.block]
    for feature in features:
        _check_refusals(signature, inputs, feature, refuses_missing=model.refuses_missing)
    present = frozenset(
        index for index, item in enumerate(features) if _is_present(signature, inputs, item)
    )
    return model.assemble(features, _with_texts(signature, inputs, features), present)


def _trees(
    ensemble: Ensemble, features: list[Feature], inputs: list[Input], present: frozenset[int]
) -> Program:
    return assemble(ensemble, features, inputs, present=present)


def _terms(coefficients: Any, intercepts: Any, header: Header, *rest: Any) -> Program:
    features, inputs, _ = rest
    return assemble_linear(coefficients, intercepts, header, features, inputs)


def _booster_categories(source: Any) -> list[list[Any]] | None:
    """The categories that a booster was trained with, by categorical field; None for others."""
    if not hasattr(source, "booster"):
        return None
    return getattr(source.booster, "pandas_categorical", None) or []


def _inputs(signature: Signature, trained: list[list[Any]] | None) -> tuple[list[Input], Block]:
    """The kernel's inputs, and what each is as a column of the model's table."""
    inputs: list[Input] = []
    block: Block = []
    ordered = iter(trained or ())
    for index, field in enumerate(signature.fields):
        if field.type == "timestamp":
            raise NotCompilable("timestamp fields")
        known = None
        if field.categorical and trained is not None:
            known = next(ordered, field.categories)
        positions = range(field.length or 0) if field.type == "tensor" else [WHOLE]
        for position in positions:
            inputs.append(Input(field=index, position=position, kind=field.type))
            block.append(_column(field, len(inputs) - 1, known))
    return inputs, block


def _column(field: Field, at: int, known: Any) -> Column:
    if field.type != "string":
        return Column(Number(at), single=field.type == "float32")
    if known is not None:
        # A categorical's number is its place among the categories; any other text is missing.
        numbers = {str(text): float(number) for number, text in enumerate(known)}
        return Column(Text(at, numbers, np.nan, np.nan))
    return Column(RawText(at, categories=field.categories if field.categorical else None))


def _sklearn(source: Any, block: Block) -> _Model:
    if source.feature_names is None and any(isinstance(c.feature, RawText) for c in block):
        raise NotCompilable("text fields without names")
    estimator = source.estimator
    while type(estimator).__name__ == "Pipeline":
        for _, step in estimator.steps[:-1]:
            block = encode(step, block)
        estimator = estimator.steps[-1][1]
    labels = source.output.kind == "label"
    if is_linear(estimator):
        parts = read_linear(estimator, labels=labels)
        return _Model(partial(_terms, *parts), block, refuses_missing=True)
    ensemble, block = sklearn_trees.read_trees(estimator, block, labels=labels)
    refuses = sklearn_trees.refuses_missing(estimator)
    return _Model(partial(_trees, ensemble), block, refuses)


def _labelled(source: Any, ensemble: Ensemble) -> Ensemble:
    """Let a booster's probabilities become labels, or one of them, as it is asked for."""
    only = getattr(source, "class_index", None)
    if source.output.kind != "label":
        header = msgspec.structs.replace(ensemble.header, only=only)
        return dataclasses.replace(ensemble, header=header)
    artifact_call: str = source.call
    reader = READERS[artifact_call]
    header = msgspec.structs.replace(
        ensemble.header,
        labels="above" if len(ensemble.bases) == 1 else "argmax",
        threshold=LIKELIER,
        classes=tuple(reader(text) for text in source.output.classes or ()),
    )
    return dataclasses.replace(ensemble, header=header)


def _number(column: Column) -> Feature:
    if isinstance(column.feature, RawText):
        raise NotCompilable("text that no encoder turns into numbers")
    return column.feature


def _check_refusals(
    signature: Signature, inputs: list[Input], feature: Feature, *, refuses_missing: bool
) -> None:
    """Check that no row gets an answer here that the original refuses.

    Raises:
        NotCompilable: A row that fits the signature would.
    """
    if not isinstance(feature, (Number, Levels, Text)):
        return
    field = signature.fields[inputs[feature.input].field]
    if isinstance(feature, Text):
        is_open = field.categories is None or field.unknown_categories == "allow"
        unseen = is_open or not feature.values.keys() >= set(field.categories or ())
        if feature.unknown is None and unseen:
            raise NotCompilable(f"its encoder refuses texts that {field.name} may have")
        missing = feature.missing
    else:
        missing = feature.missing if isinstance(feature, Levels) else feature.of([np.nan])[0]
    refused = missing is None or (refuses_missing and np.isnan(missing))
    if field.nullable and refused:
        raise NotCompilable(f"the model refuses missing values, and {field.name} may be null")


def _is_present(signature: Signature, inputs: list[Input], feature: Feature) -> bool:
    """Whether a feature of a row that fits the signature is never missing."""
    if isinstance(feature, Number):
        steps = {step.name for step in feature.steps}
        # Below some input a logarithm is NaN.
        return not (
            signature.fields[inputs[feature.input].field].nullable or steps & set(FUNCTIONS)
        )
    return False


def _with_texts(signature: Signature, inputs: list[Input], features: list[Feature]) -> list[Input]:
    """The inputs with all texts that the signature or an encoder knows."""
    known: dict[int, dict[str, None]] = {}
    for feature in features:
        if isinstance(feature, Text):
            texts = known.setdefault(feature.input, {})
            texts |= dict.fromkeys(feature.values)
    return [
        msgspec.structs.replace(
            item,
            categories=tuple(
                {
                    **dict.fromkeys(signature.fields[item.field].categories or ()),
                    **known.get(at, {}),
                }
            ),
        )
        if item.kind == "string"
        else item
        for at, item in enumerate(inputs)
    ]
