"""Packing a model, as Python callers and the command line do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from twofold.app.settings import read
from twofold.model.infer import Overrides
from twofold.model.record import RuntimeName
from twofold.model.registry import Registry
from twofold.model.signature import FieldType, OutputKind
from twofold.packing.pack import Declaration
from twofold.packing.pack import pack as pack_version
from twofold.predictor import load as loading
from twofold.predictor.door import Predictor
from twofold.predictor.parity import TOLERANCE


# The parameters are the public declaration of a model; a value type here would only move them.
def pack(  # noqa: PLR0913
    model: Any,
    *,
    name: str,
    sample: Any,
    registry: Path | str | None = None,
    output: OutputKind | None = None,
    call: Literal["row", "batch"] = "row",
    drop: Sequence[str] = (),
    types: Mapping[str, FieldType] | None = None,
    nullable: Sequence[str] = (),
    unknown_categories: Literal["refuse", "allow"] = "refuse",
    extra_fields: Literal["refuse", "ignore"] = "refuse",
    tolerance: float = TOLERANCE,
    trust_pickle: bool = False,
    runtime: RuntimeName | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Predictor:
    """Pack a model: tell its signature, prove its parity, store it as a version.

    Args:
        model: A file (scikit-learn .joblib, .pkl or .skops; LightGBM .txt; XGBoost .json or
            .ubj; .onnx), `"module:attribute"`, an estimator or booster, or a function of a module.
        name: The model's name in the registry.
        sample: Rows like those to be predicted: a Parquet, CSV or Arrow file, a pyarrow, pandas
            or polars table, or a list of dicts.
        registry: The registry's folder; by default the settings' (`./registry`).
        output: What to predict: `probability`, `label` or `value`; by default a classifier's
            probability, else the value.
        call: For Python callables: whether one takes a `row` (a dict) or a `batch` (an Arrow
            table).
        drop: Columns of the sample that are not inputs; callers may still send them.
        types: Field types, where the sample doesn't tell them right.
        nullable: Fields that may be null although the sample has no null in them.
        unknown_categories: Whether strings that the sample didn't show are refused or allowed.
        extra_fields: Whether fields that are none of the model's are refused or ignored.
        tolerance: Largest difference of a converted model from the original, relative to
            `max(1, |original|)`; no label may flip in any case.
        trust_pickle: Whether loading the version may run a pickle.
        runtime: The runtime to use: `compiled`, `onnx` or `original`; by default the fastest
            of those that are proven.
        say: Told each step as it begins.

    Returns:
        The version's door; the same content packed again gives the version that exists.

    Raises:
        DeclarationError: Model, sample and options don't fit together; nothing is stored.
    """
    declaration = Declaration(
        model=model,
        name=name,
        sample=sample,
        output=output,
        call=call,
        overrides=Overrides(drop, types or {}, nullable, unknown_categories, extra_fields),
        tolerance=tolerance,
        trust_pickle=trust_pickle,
        runtime=runtime,
    )
    opened = Registry(registry or read().registry)
    packed = pack_version(declaration, registry=opened, now=datetime.now(UTC), say=say)
    return loading.open_version(opened, packed.record)
