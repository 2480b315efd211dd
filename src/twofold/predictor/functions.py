"""The two functions: many in, many out; one in, one out. For anything that predicts.

A model is a packed version (`Predictor`), a scikit-learn-like estimator (has `fit` and
`predict`: given many rows at once), any object with `predict` (given one item at a time), or
any callable (likewise).
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from twofold.errors import DeclarationError, InvalidInput, PredictionFailed, TwofoldError
from twofold.model.tables import is_table, table_of
from twofold.predictor.door import Predictor, raised

MAX_SHOWN_CHARS = 60


class _Kind(enum.Enum):
    PACKED = enum.auto()
    ESTIMATOR = enum.auto()
    PER_ITEM = enum.auto()


def batch_predict(model: Any, data: Any) -> Any:
    """Predict many items.

    Args:
        model: See this module's docstring.
        data: A list, tuple, iterator, array, series or table of items; for a table, an item is
            a row.

    Returns:
        One prediction per item, in their order, in the same kind of container: a list for a
        list, an array for an array; a series (pandas, with its index; polars) for a series or
        data frame; an Arrow array for an Arrow table.

    Raises:
        InvalidInput: `data` isn't many items, or doesn't fit the model's signature.
        DeclarationError: `model` isn't one.
        PredictionFailed: The model raised; the message names the item.
    """
    kind = _kind_of(model, "batch_predict")
    _check_many(data)
    if isinstance(data, Iterator):
        data = list(data)
    if kind is _Kind.PACKED:
        predictions = model.predict(data)
    elif kind is _Kind.ESTIMATOR:
        predictions = _call_estimator(model, data, "batch_predict")
    else:
        predict = _per_item(model)
        predictions = [
            _call(predict, item, f"batch_predict: item {index}")
            for index, item in enumerate(_items(data))
        ]
    _check_count(predictions, data)
    return _like(data, predictions)


def real_time_predict(model: Any, x: Any) -> Any:
    """Predict one item.

    Args:
        model: See this module's docstring.
        x: One item: a number, text, dict, tuple, one-dimensional array; for packed models and
            estimators also a flat list, which is one row.

    Returns:
        Its prediction, equal to the one `batch_predict` gives it.

    Raises:
        InvalidInput: `x` is many items, or doesn't fit the model's signature.
        DeclarationError: `model` isn't one.
        PredictionFailed: The model raised.
    """
    kind = _kind_of(model, "real_time_predict")
    row_lists = kind is not _Kind.PER_ITEM
    _check_one(x, row_lists=row_lists)
    if kind is _Kind.PACKED:
        return model.predict_one(x)
    if kind is _Kind.ESTIMATOR:
        many = _one_row_of(model, x)
        found = _call_estimator(model, many, "real_time_predict")
        first = found[0] if not hasattr(found, "iloc") else found.iloc[0]
        return first.item() if isinstance(first, np.generic) else first
    return _call(_per_item(model), x, "real_time_predict")


def _kind_of(model: Any, function: str) -> _Kind:
    if isinstance(model, Predictor):
        return _Kind.PACKED
    if isinstance(model, type):
        name = model.__name__
        raise DeclarationError(
            f"{function}: expected a model, got the class {name}. Pass an instance: {name}()."
        )
    if hasattr(model, "predict"):
        return _Kind.ESTIMATOR if hasattr(model, "fit") else _Kind.PER_ITEM
    if callable(model):
        return _Kind.PER_ITEM
    raise DeclarationError(
        f"{function}: expected a model (a callable, an object with .predict, or a packed model), "
        f"got {_shown(model)}. Pass the model first, the data second."
    )


def _per_item(model: Any) -> Callable[[Any], Any]:
    return model.predict if hasattr(model, "predict") else model


def _shown(value: Any) -> str:
    text = repr(value)
    text = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."
    return f"one {type(value).__name__}: {text}"


def _check_many(data: Any) -> None:
    where = "batch_predict: expected many inputs (a list, array or table), got"
    single = isinstance(data, (str, bytes, Mapping)) or not isinstance(data, Iterable)
    if single and not is_table(data):
        one, many = repr(data), f"[{data!r}]"
        if len(one) > MAX_SHOWN_CHARS:
            one, many = "it", "a list of it"
        raise InvalidInput(
            f"{where} {_shown(data)}. Pass {many}, or call real_time_predict(model, {one})."
        )
    if isinstance(data, AbstractSet):
        raise InvalidInput(f"{where} a set, which has no order. Pass sorted(...) of it.")
    if isinstance(data, np.ndarray) and data.ndim == 0:
        raise InvalidInput(
            f"{where} an array without dimensions. Pass a list, or call real_time_predict."
        )


def _check_one(x: Any, *, row_lists: bool) -> None:
    where = "real_time_predict: expected one input, got"
    many = is_table(x) or isinstance(x, (AbstractSet, Iterator))
    if isinstance(x, list):
        many = not row_lists or any(isinstance(item, (list, tuple, Mapping)) for item in x)
    elif isinstance(x, np.ndarray):
        many = x.ndim > 1
    if many:
        count = f" of {len(x)}" if isinstance(x, Sized) else ""
        fix = "Pass one item, or call batch_predict(model, ...) for many."
        if isinstance(x, list) and not row_lists:
            fix += " A row of several values is passed as a tuple or dict."
        raise InvalidInput(f"{where} a {type(x).__name__}{count}. {fix}")


def _call(predict: Callable[[Any], Any], item: Any, where: str) -> Any:
    try:
        return predict(item)
    except TwofoldError:
        raise
    except Exception as error:
        raise PredictionFailed(f"{where}: {raised(error)}") from error


def _call_estimator(model: Any, data: Any, function: str) -> Any:
    if isinstance(data, np.ndarray) or is_table(data):
        shape = getattr(data, "shape", (0, 0))
        flat = len(shape) == 1
    else:
        data = list(data)
        flat = any(not hasattr(row, "__len__") for row in data)
    if flat:
        raise InvalidInput(
            f"{function}: expected rows of features, got single values. Pass one list per row: "
            "[[1.0], [2.0]]."
        )
    try:
        return model.predict(data)
    except TwofoldError:
        raise
    except Exception as error:
        raise PredictionFailed(f"{function}: {raised(error)}") from error


def _one_row_of(model: Any, x: Any) -> Any:
    if isinstance(x, Mapping):
        import pandas as pd  # noqa: PLC0415 - only for estimators, which bring it

        return pd.DataFrame([dict(x)])
    if isinstance(x, np.ndarray):
        return x.reshape(1, -1)
    if hasattr(x, "to_frame"):
        return x.to_frame().T
    if not isinstance(x, Sequence) or isinstance(x, (str, bytes)):
        raise InvalidInput(
            f"real_time_predict: expected one row of features, got {_shown(x)}. Pass a list of "
            "features, or a dict by name."
        )
    names = getattr(model, "feature_names_in_", None)
    if names is not None and len(names) == len(x):
        return _one_row_of(model, dict(zip(names, x, strict=True)))
    return [list(x)]


def _items(data: Any) -> Iterable[Any]:
    if is_table(data) and not _is_series(data):
        return table_of(data).to_pylist()
    return data


def _is_series(data: Any) -> bool:
    return hasattr(data, "to_frame") and hasattr(data, "name")


def _check_count(predictions: Any, data: Any) -> None:
    wanted = data.num_rows if hasattr(data, "num_rows") else len(data)
    if not hasattr(predictions, "__len__") or len(predictions) != wanted:
        got = len(predictions) if hasattr(predictions, "__len__") else "no list"
        raise PredictionFailed(
            f"batch_predict: expected {wanted} predictions, got {got}. The model must return one "
            "for each item, in order."
        )


def _like(data: Any, predictions: Any) -> Any:
    """Give predictions in the kind of container that the items came in."""
    if isinstance(data, (list, tuple)):
        plain = predictions.tolist() if hasattr(predictions, "tolist") else list(predictions)
        return plain if isinstance(data, list) else tuple(plain)
    if isinstance(data, np.ndarray):
        return np.asarray(predictions)
    values = predictions.tolist() if isinstance(predictions, np.ndarray) else predictions
    match type(data).__module__.partition(".")[0]:
        case "pandas":
            import pandas as pd  # noqa: PLC0415 - the data is pandas', so it is loaded

            one_each = np.ndim(predictions) == 1
            named = functools.partial(pd.Series, name="prediction") if one_each else pd.DataFrame
            return named(predictions, index=data.index)
        case "polars":
            import polars as pl  # noqa: PLC0415 - as above

            return pl.Series("prediction", values)
        case "pyarrow":
            import pyarrow as pa  # noqa: PLC0415 - as above

            return pa.array(values)
        case _:
            return predictions
