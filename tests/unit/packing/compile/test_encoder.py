"""scikit-learn's transformers before a model, compiled: the bits of the whole pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from twofold.model.infer import Overrides
from twofold.packing.compile import NotCompilable
from twofold.packing.compile.encoder import Column, RawText, encode
from twofold.packing.compile.features import Levels, Number, Step, Text

IS_NUMBER = make_column_selector(dtype_include="number")
IS_TEXT = make_column_selector(dtype_exclude="number")
BINS = {"quantile_method": "averaged_inverted_cdf", "random_state": 0}
OF_TEXT: dict[str, Any] = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "one-hot that refuses": OneHotEncoder(),
    "one-hot without the first": OneHotEncoder(drop="first", handle_unknown="ignore"),
    "one-hot of two as one": OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    "one-hot, rare ones together": OneHotEncoder(
        min_frequency=350, handle_unknown="infrequent_if_exist"
    ),
    "numbers": OrdinalEncoder(),
    "numbers, -1 if unknown": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "means of the target": TargetEncoder(random_state=0),
    "imputed, then one-hot": make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    ),
    "one-hot, scaled": make_pipeline(
        OneHotEncoder(handle_unknown="ignore", sparse_output=False), StandardScaler()
    ),
}
OF_NUMBERS: dict[str, Any] = {
    "medians": SimpleImputer(strategy="median"),
    "most frequent": SimpleImputer(strategy="most_frequent"),
    "a constant": SimpleImputer(strategy="constant", fill_value=-7.5),
    "means, and which were missing": SimpleImputer(add_indicator=True),
    "standard scores": make_pipeline(SimpleImputer(), StandardScaler()),
    "scores without mean": make_pipeline(SimpleImputer(), StandardScaler(with_mean=False)),
    "a range": MinMaxScaler(),
    "a range, clipped": MinMaxScaler((-1, 2), clip=True),
    "quartiles": make_pipeline(RobustScaler(), SimpleImputer()),
    "shares of the largest": MaxAbsScaler(),
    "as they are": "passthrough",
    "logarithms": make_pipeline(SimpleImputer(), FunctionTransformer(np.log1p)),
    "roots": FunctionTransformer(np.sqrt),
    "nothing done": FunctionTransformer(),
    "above a threshold": make_pipeline(SimpleImputer(), Binarizer(threshold=29.85)),
    "bins": make_pipeline(SimpleImputer(), KBinsDiscretizer(5, encode="ordinal", **BINS)),
    "bins, one-hot": make_pipeline(SimpleImputer(), KBinsDiscretizer(4, **BINS)),
    "two ways at once": make_union(
        SimpleImputer(), make_pipeline(SimpleImputer(), StandardScaler(), MinMaxScaler())
    ),
    "the best": make_pipeline(SimpleImputer(), SelectKBest(f_classif, k=3)),
    "what varies": make_pipeline(SimpleImputer(), VarianceThreshold(0.3)),
    "nested": make_column_transformer(
        (SimpleImputer(), [0, 1]), ("drop", [2]), remainder=make_pipeline(SimpleImputer())
    ),
}


def pipeline(text: Any, number: Any) -> Any:
    columns = make_column_transformer((number, IS_NUMBER), (text, IS_TEXT), sparse_threshold=0)
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=12))


@pytest.mark.parametrize("name", OF_TEXT)
def test_encoders_of_text(name: str, compare: Callable[..., Any], customers: Any) -> None:
    frame, left = customers
    compare(pipeline(OF_TEXT[name], SimpleImputer()).fit(frame, left), frame)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_transformers_of_numbers(name: str, compare: Callable[..., Any], customers: Any) -> None:
    frame, left = customers
    compare(pipeline(OneHotEncoder(), OF_NUMBERS[name]).fit(frame, left), frame)


@pytest.mark.parametrize("name", ["one-hot", "numbers, -1 if unknown", "means of the target"])
def test_texts_that_the_sample_does_not_show_may_be_allowed(
    name: str, compare: Callable[..., Any], customers: Any
) -> None:
    frame, left = customers
    model = pipeline(OF_TEXT[name], SimpleImputer()).fit(frame, left)
    compared = compare(model, frame, overrides=Overrides(unknown_categories="allow"))
    assert "a value the sample does not have" in compared.rows["contract"].to_pylist()


def test_texts_may_be_missing(compare: Callable[..., Any], customers: Any) -> None:
    frame, left = customers
    frame = frame.copy()
    frame.loc[::9, "contract"] = None
    frame.loc[::4, "tech_support"] = None
    imputed = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none", missing_values=np.nan),
        OneHotEncoder(handle_unknown="ignore"),
    )
    for text in (OneHotEncoder(), OrdinalEncoder(encoded_missing_value=-3), imputed):
        compare(pipeline(text, SimpleImputer()).fit(frame, left), frame)


@pytest.mark.parametrize("width", ["float32", "float64"])
def test_steps_round_as_the_columns_type_does(
    width: str, compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    frame = (numbers * 1000.123).astype(width)
    steps = (StandardScaler(), MinMaxScaler(), RobustScaler(), MaxAbsScaler())
    model = make_pipeline(*steps, HistGradientBoostingClassifier(max_iter=12))
    compare(model.fit(frame, two), frame)


def test_whole_numbers_may_be_categories(compare: Callable[..., Any]) -> None:
    frame = pd.DataFrame({"code": np.arange(700) % 6, "x": np.sin(np.arange(700.0))})
    target = ((frame["code"] % 2 == 0) ^ (frame["x"] > 0)).astype(int)
    encoders = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["code"]), remainder="passthrough"
    )
    model = make_pipeline(encoders, GradientBoostingClassifier(n_estimators=9))
    compare(model.fit(frame, target), frame)


def test_the_means_of_three_classes(compare: Callable[..., Any], customers: Any) -> None:
    frame, left = customers
    target = left + (frame["tenure"].to_numpy() > 40)
    model = pipeline(TargetEncoder(random_state=0), SimpleImputer())
    compare(model.fit(frame, target), frame)


def test_an_encoder_that_refuses_texts_is_not_compiled_for_a_field_that_may_have_them(
    compare: Callable[..., Any], customers: Any
) -> None:
    frame, left = customers
    model = pipeline(OneHotEncoder(), SimpleImputer()).fit(frame, left)
    with pytest.raises(NotCompilable, match="its encoder refuses texts that multiple_lines may"):
        compare(model, frame, overrides=Overrides(unknown_categories="allow"))


@pytest.mark.parametrize(
    ("transformer", "reason"),
    [
        (PCA(2), "no compiled form of the transformer PCA"),
        (FunctionTransformer(np.abs), "no compiled form of the function absolute"),
        (FunctionTransformer(np.log1p, kw_args={"dtype": float}), "with arguments"),
        (FeatureUnion([("a", PCA(1)), ("b", "passthrough")]), "no compiled form of the trans"),
        (SimpleImputer(missing_values=0), "an imputer of 0"),
    ],
)
def test_what_the_kernel_can_not_do_is_named(
    transformer: Any, reason: str, compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    frame = numbers.abs()
    model = make_pipeline(transformer, DecisionTreeClassifier(max_depth=2)).fit(frame, two)
    with pytest.raises(NotCompilable, match=reason):
        compare(model, frame)


def test_steps_add_up_on_a_number() -> None:
    scaler = StandardScaler().fit([[1.0], [3.0]])
    (column,) = encode(make_pipeline(scaler), [Column(Number(4))])
    assert column.feature == Number(4, (Step("subtract", 2.0), Step("divide", 1.0)))


def test_a_one_hot_column_is_a_table_of_texts() -> None:
    encoder = OneHotEncoder(handle_unknown="ignore").fit([["a"], ["b"]])
    first, second = encode(encoder, [Column(RawText(0))])
    assert first.feature == Text(0, {"a": 1.0, "b": 0.0}, 0.0, 0.0)
    assert second.feature == Text(0, {"a": 0.0, "b": 1.0}, 0.0, 0.0)


def test_a_threshold_on_a_scaled_number_is_moved_to_the_number_itself() -> None:
    block = encode(MinMaxScaler().fit([[0.0], [8.0]]), [Column(Number(0))])
    (column,) = encode(Binarizer(threshold=0.5).fit([[1.0]]), block)
    cut = column.feature
    assert isinstance(cut, Levels)
    assert (cut.input, cut.edges, dataclasses.astuple(cut)[2]) == (0, (4.0,), (0.0, 1.0))
