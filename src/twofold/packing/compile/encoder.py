"""scikit-learn's transformers as features: what each output column is, as a function of one input.

Numbers keep the steps that were applied to them; nothing here loads scikit-learn, whose objects
bring their own numbers. Encoders of categories are asked themselves, once for every category they
know, for a text they don't know and for null, so that nothing of their rules is told again here.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from twofold.packing.compile.features import (
    FUNCTIONS,
    Constant,
    Feature,
    Levels,
    NotCompilable,
    Number,
    Step,
    Text,
    equals,
    pull_back,
)

UNKNOWN_TEXT = "\u0001a text that no encoder knows\u0001"
MAX_CATEGORIES = 20_000


@dataclasses.dataclass(frozen=True)
class RawText:
    """A text input that no encoder has turned into a number yet.

    Attributes:
        input: Its position among the inputs.
        fill: What stands in for null, if an imputer came before.
        categories: Of a categorical column: any other text is null.
    """

    input: int
    fill: str | None = None
    categories: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """One column between two transformers.

    Attributes:
        feature: What it is.
        single: Whether it is held as float32; else float64 (or text).
    """

    feature: Feature | RawText
    single: bool = False


Block = list[Column]
"""The columns that go into a transformer, or come out of it."""


def encode(transformer: Any, block: Block) -> Block:
    """What comes out of a fitted transformer.

    Raises:
        NotCompilable: It isn't known here, or does what the kernel can't do.
    """
    if transformer is None or transformer == "passthrough":
        return block
    name = type(transformer).__name__
    is_known = type(transformer).__module__.startswith("sklearn.")
    rule = RULES.get(name) if is_known else None
    if rule is not None:
        return rule(transformer, block)
    if is_known and hasattr(transformer, "get_support"):
        return [block[index] for index in np.flatnonzero(transformer.get_support())]
    raise NotCompilable(f"no compiled form of the transformer {name}")


def _pipeline(transformer: Any, block: Block) -> Block:
    for _, step in transformer.steps:
        block = encode(step, block)
    return block


def _union(transformer: Any, block: Block) -> Block:
    out: Block = []
    for name, part in transformer.transformer_list:
        weight = (transformer.transformer_weights or {}).get(name)
        if part == "drop":
            continue
        found = encode(part, block)
        out += found if weight is None else _stepped(found, ("multiply", [weight] * len(found)))
    return out


def _columns(transformer: Any, block: Block) -> Block:
    if transformer.transformer_weights:
        raise NotCompilable("no compiled form of transformer_weights")
    chosen = transformer._transformer_to_input_indices  # noqa: SLF001 - selectors, resolved
    out: Block = []
    for name, part, _ in transformer.transformers_:
        if part != "drop":
            out += encode(part, [block[index] for index in chosen[name]])
    return out


def _is_single(block: Block) -> bool:
    """Whether scikit-learn would hold these columns together as float32."""
    return bool(block) and all(column.single for column in block)


def _stepped(block: Block, *operations: tuple[str, Any]) -> Block:
    """Apply elementwise operations, each with one value per column; float32 stays float32."""
    single = _is_single(block)
    out: Block = []
    for index, column in enumerate(block):
        steps: list[Step] = []
        for name, values in operations:
            steps.append(Step(name, float(values[index])))
            if single:
                steps.append(Step("float32"))
        out.append(Column(apply(column.feature, tuple(steps)), single))
    return out


def apply(feature: Feature | RawText, steps: tuple[Step, ...]) -> Feature:
    """A feature after some steps.

    Raises:
        NotCompilable: It is text.
    """

    def of(values: Any) -> Any:
        return Number(0, steps).of(values)

    match feature:
        case Number():
            return feature.then(*steps)
        case Levels():
            values, missing = of([*feature.values]).tolist(), of([feature.missing])[0]
            return dataclasses.replace(feature, values=tuple(values), missing=float(missing))
        case Text():
            return Text(
                feature.input,
                {text: float(of([value])[0]) for text, value in feature.values.items()},
                None if feature.unknown is None else float(of([feature.unknown])[0]),
                None if feature.missing is None else float(of([feature.missing])[0]),
            )
        case Constant():
            return Constant(float(of([feature.value])[0]))
        case RawText():
            raise NotCompilable("arithmetic on text")


def _standard(transformer: Any, block: Block) -> Block:
    # Of float32 columns it rounds its own numbers first.
    kind = np.float32 if _is_single(block) else np.float64
    operations: list[tuple[str, Any]] = []
    if transformer.with_mean:
        operations.append(("subtract", transformer.mean_.astype(kind)))
    if transformer.with_std:
        operations.append(("divide", transformer.scale_.astype(kind)))
    return _stepped(block, *operations)


def _min_max(transformer: Any, block: Block) -> Block:
    found = _stepped(block, ("multiply", transformer.scale_), ("add", transformer.min_))
    if not transformer.clip:
        return found
    low, high = map(float, transformer.feature_range)
    clip = (Step("clip", low, high),)
    return [Column(apply(column.feature, clip), column.single) for column in found]


def _robust(transformer: Any, block: Block) -> Block:
    operations: list[tuple[str, Any]] = []
    if transformer.with_centering:
        operations.append(("subtract", transformer.center_))
    if transformer.with_scaling:
        operations.append(("divide", transformer.scale_))
    return _stepped(block, *operations)


def _max_abs(transformer: Any, block: Block) -> Block:
    return _stepped(block, ("divide", transformer.scale_))


def _imputer(transformer: Any, block: Block) -> Block:
    missing = transformer.missing_values
    if isinstance(missing, str) or not (missing is None or np.isnan(missing)):
        raise NotCompilable(f"an imputer of {missing!r}, not of missing values")
    single = _is_single(block)
    out: Block = []
    for column, value in zip(block, transformer.statistics_.tolist(), strict=True):
        dropped = value is None or (isinstance(value, float) and np.isnan(value))
        if dropped and not transformer.keep_empty_features:
            continue
        out.append(Column(_filled(column.feature, value), single))
    if transformer.indicator_ is not None:
        out += _indicator(transformer.indicator_, block)
    return out


def _filled(feature: Feature | RawText, value: Any) -> Feature | RawText:
    match feature:
        case RawText():
            return dataclasses.replace(feature, fill=feature.fill or str(value))
        case Constant():
            return feature
        case Number():
            return feature.then(Step("fill", float(value)))
        case Levels():
            is_missing = np.isnan(feature.missing)
            return dataclasses.replace(feature, missing=float(value)) if is_missing else feature
        case Text():
            is_missing = feature.missing is not None and np.isnan(feature.missing)
            return dataclasses.replace(feature, missing=float(value)) if is_missing else feature


def _indicator(transformer: Any, block: Block) -> Block:
    out: Block = []
    for index in np.asarray(transformer.features_).tolist():
        feature = block[index].feature
        match feature:
            case RawText(fill=None):
                out.append(Column(Text(feature.input, {}, 0.0, 1.0)))
            case Number() if np.isnan(feature.of([np.nan])[0]):
                out.append(Column(Levels(feature.input, (), (0.0,), 1.0)))
            case _:
                raise NotCompilable("an indicator of missing values after another transformer")
    return out


def _function(transformer: Any, block: Block) -> Block:
    # Histogram gradient boosting checks its numbers that way.
    checks = getattr(getattr(transformer.func, "func", None), "__name__", "") == "check_array"
    if transformer.func is None or checks:
        return block
    if transformer.kw_args:
        raise NotCompilable("no compiled form of a FunctionTransformer with arguments")
    for name, function in FUNCTIONS.items():
        if transformer.func is function:
            if _is_single(block):
                raise NotCompilable(f"no compiled form of {name} in float32")
            step = (Step(name),)
            return [Column(apply(column.feature, step), column.single) for column in block]
    shown = getattr(transformer.func, "__name__", "a function")
    raise NotCompilable(f"no compiled form of the function {shown}")


def _binarizer(transformer: Any, block: Block) -> Block:
    cut = np.array([float(transformer.threshold)])
    return [Column(_levels(column.feature, cut, (0.0, 1.0)), column.single) for column in block]


def _levels(feature: Feature | RawText, cuts: Any, values: tuple[float, ...]) -> Feature:
    """A feature that depends on which of some cuts a number lies above."""
    if not isinstance(feature, Number):
        raise NotCompilable("cutting what is no number into ranges")
    edges = pull_back(feature.of, cuts)
    missing = float(feature.of([np.nan])[0])
    filled = np.nan if np.isnan(missing) else values[int(np.searchsorted(cuts, missing))]
    # Cuts between which no input falls leave ranges without inputs.
    kept = [value for value, low, high in zip(values, edges, edges[1:], strict=False) if low < high]
    kept += values[len(edges) - 1 :] if len(edges) else values
    return Levels(feature.input, tuple(np.unique(edges).tolist()), tuple(kept), float(filled))


def _bins(transformer: Any, block: Block) -> Block:
    out: Block = []
    for column, edges in zip(block, transformer.bin_edges_, strict=True):
        # A value on an edge belongs to the bin above it.
        cuts = np.nextafter(np.asarray(edges, np.float64)[1:-1], -np.inf)
        cuts = np.unique(cuts)
        count = len(cuts) + 1
        if len(cuts) != len(edges) - 2 or _is_single(block):
            raise NotCompilable("no compiled form of these bins")
        if transformer.encode == "ordinal":
            out.append(Column(_levels(column.feature, cuts, tuple(map(float, range(count))))))
            continue
        for wanted in range(count):
            values = tuple(float(index == wanted) for index in range(count))
            out.append(Column(_levels(column.feature, cuts, values)))
    return out


def _categories(transformer: Any, block: Block) -> Block:
    """OneHotEncoder, OrdinalEncoder, TargetEncoder: asked for every category they know."""
    known = [list(items) for items in transformer.categories_]
    if sum(map(len, known)) > MAX_CATEGORIES:
        raise NotCompilable(f"more than {MAX_CATEGORIES} categories")
    first = [next((c for c in items if not _is_missing(c)), np.nan) for items in known]
    reference = _ask(transformer, [first])
    if reference is None:
        raise NotCompilable(f"{type(transformer).__name__} refuses its own categories")
    width = reference.shape[1]
    out: list[Feature | None] = [None] * width
    for index, (column, items) in enumerate(zip(block, known, strict=True)):
        points = _points(column.feature, items)
        rows = [[*first[:index], point, *first[index + 1 :]] for point in points]
        together = _ask(transformer, rows)
        if together is not None:
            answers = [together[row : row + 1] for row in range(len(rows))]
        else:  # it refuses some of them: find out which
            answers = [_ask(transformer, [row]) for row in rows]
        known_answers = [answer[0] for answer in answers if answer is not None]
        varies = (np.array(known_answers) != reference[0]).any(axis=0)
        for position in np.flatnonzero(varies).tolist():
            if out[position] is not None:
                raise NotCompilable(f"{type(transformer).__name__} mixes its columns")
            values = [None if answer is None else float(answer[0, position]) for answer in answers]
            out[position] = _of_points(column.feature, points, values)
    return [
        Column(Constant(float(reference[0, position])) if feature is None else feature)
        for position, feature in enumerate(out)
    ]


def _ask(transformer: Any, rows: list[list[Any]]) -> Any:
    """What a transformer makes of some rows; None if it refuses them."""
    table: Any = np.array(rows, object)
    names = getattr(transformer, "feature_names_in_", None)
    if all(not isinstance(item, str) for row in rows for item in row):
        table = table.astype(np.float64)
    if names is not None:
        import pandas as pd  # noqa: PLC0415 - the transformer was trained on a frame of it

        table = pd.DataFrame(table, columns=list(names))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the unknown category that it is asked for
            found = transformer.transform(table)
    except Exception:  # noqa: BLE001 - transformers refuse values with errors of their own
        return None
    return np.asarray(found.todense() if hasattr(found, "todense") else found, np.float64)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _points(feature: Feature | RawText, items: Sequence[Any]) -> list[Any]:
    """The values at which an encoder is asked: all it knows, one it doesn't, and null."""
    if isinstance(feature, RawText):
        texts = [item for item in items if isinstance(item, str)]
        if len(texts) + sum(map(_is_missing, items)) < len(items):
            raise NotCompilable("categories that are no text, of a text field")
        return [*texts, UNKNOWN_TEXT, np.nan]
    if not isinstance(feature, Number):
        raise NotCompilable("categories of what is neither text nor a number")
    numbers = sorted(float(item) for item in items if not _is_missing(item))
    beyond = (numbers[-1] if numbers else 0.0) + 1.5
    return [*numbers, beyond, np.nan]


def _of_points(
    feature: Feature | RawText, points: list[Any], values: list[float | None]
) -> Feature:
    *known, unknown, missing = values
    if isinstance(feature, RawText):
        by_text = dict(zip(points[:-2], known, strict=True))
        if feature.fill is not None:
            missing = by_text.get(feature.fill, unknown)
        if feature.categories is not None:
            by_text = {text: by_text.get(text, unknown) for text in feature.categories}
            unknown = missing
        known_texts = {text: value for text, value in by_text.items() if value is not None}
        return Text(feature.input, known_texts, unknown, missing)
    if not isinstance(feature, Number) or unknown is None:
        raise NotCompilable("an encoder of numbers that refuses numbers it doesn't know")
    cuts: list[float] = []
    ranges: list[float] = [unknown]
    for point, value in zip(points[:-2], known, strict=True):
        low, high = equals(point)
        if not cuts or cuts[-1] < low:
            cuts.append(low)
        else:
            ranges.pop()
        cuts.append(high)
        ranges += [0.0 if value is None else value, unknown]
    found = _levels(feature, np.array(cuts), tuple(ranges))
    if not isinstance(found, Levels):
        raise NotCompilable("categories of what is no number")
    if np.isnan(feature.of([np.nan])[0]):
        if missing is None:
            raise NotCompilable("an encoder of numbers that refuses missing ones")
        return dataclasses.replace(found, missing=missing)
    return found


RULES: dict[str, Callable[[Any, Block], Block]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _columns,
    "FeatureUnion": _union,
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "RobustScaler": _robust,
    "MaxAbsScaler": _max_abs,
    "SimpleImputer": _imputer,
    "MissingIndicator": _indicator,
    "FunctionTransformer": _function,
    "Binarizer": _binarizer,
    "KBinsDiscretizer": _bins,
    "OneHotEncoder": _categories,
    "OrdinalEncoder": _categories,
    "TargetEncoder": _categories,
}
"""The transformers known here, by class name."""
