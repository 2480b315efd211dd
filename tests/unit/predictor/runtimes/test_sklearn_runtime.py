"""Estimators behind the door."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from numpy.lib.npyio import DataSource
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import shuffle

from twofold.errors import ConfigError
from twofold.predictor.runtimes.sklearn import read_skops, untrusted_types, use_one_thread

RANDOM = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {"x": RANDOM.normal(size=120), "n": RANDOM.integers(0, 9, 120), "s": list("abcd") * 30}
)
TARGET = (FRAME["x"] > 0).to_numpy()


def test_a_pipeline_of_a_frame_predicts_as_itself(opened: Any) -> None:
    columns = ColumnTransformer([("s", OneHotEncoder(), ["s"])], remainder="passthrough")
    model = make_pipeline(columns, DecisionTreeClassifier(max_depth=4)).fit(FRAME, TARGET)
    found = opened(model, FRAME)
    assert found.artifact.format == "skops"
    assert found.many()[0].tolist() == model.predict_proba(FRAME)[:, 1].tolist()


def test_an_estimator_of_a_matrix_needs_no_names(opened: Any) -> None:
    rows = FRAME[["x", "n"]]
    model = DecisionTreeClassifier(max_depth=4).fit(rows.to_numpy(), TARGET)
    assert (
        opened(model, rows).many()[0].tolist()
        == model.predict_proba(rows.to_numpy())[:, 1].tolist()
    )


def test_forests_predict_with_one_thread_wherever_they_stand(opened: Any) -> None:
    forest = RandomForestClassifier(8, n_jobs=2)
    model = make_pipeline(
        StandardScaler(), VotingClassifier([("f", forest)], voting="soft", n_jobs=2)
    ).fit(FRAME[["x", "n"]], TARGET)
    assert (
        opened(model, FRAME[["x", "n"]]).many()[0].tolist()
        == model.predict_proba(FRAME[["x", "n"]])[:, 1].tolist()
    )
    use_one_thread(model)
    assert model[-1].n_jobs == 1
    assert model[-1].estimators_[0].n_jobs == 1


def test_unknown_categories_are_no_news_at_every_call(opened: Any) -> None:
    encoder = OneHotEncoder(handle_unknown="ignore", drop="first")  # with drop it warns
    columns = ColumnTransformer([("s", encoder, ["s"])])
    known = FRAME["s"] != "d"
    model = make_pipeline(columns, LogisticRegression()).fit(FRAME[known], TARGET[known])
    with pytest.warns(UserWarning, match="Found unknown categories"):
        model.predict_proba(FRAME)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = opened(model, FRAME)
        found.runtime.predict_columns(found.rows)


def removing(folder: Path) -> Any:
    """An estimator whose state holds a type of NumPy that removes a folder when it goes."""
    model = StandardScaler().fit([[0.0], [1.0]])
    source = DataSource.__new__(DataSource)
    source.__dict__.update({"_istmpdest": False, "_destpath": str(folder)})
    model.anything = source
    return model


HARMFUL = {
    "a type of NumPy with side effects": removing,
    "a function that scikit-learn has": lambda _: FunctionTransformer(shuffle),
    "a type of this module": lambda _: StandardScaler().set_params(with_mean=Own()),
}


class Own:
    """A type that no library knows."""


@pytest.mark.parametrize("name", HARMFUL)
def test_only_plain_types_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    skops.io.dump(HARMFUL[name](tmp_path), path)
    assert untrusted_types(path)
    with pytest.raises(ConfigError, match="expected types of scikit-learn and NumPy only"):
        read_skops(path)


def test_selectors_of_features_may_name_their_score(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    model = SelectKBest(k=1).fit(FRAME[["x", "n"]], TARGET)
    skops.io.dump(model, path)
    assert skops.io.get_untrusted_types(file=path)
    read = read_skops(path)
    np.testing.assert_array_equal(
        read.transform(FRAME[["x", "n"]]), model.transform(FRAME[["x", "n"]])
    )
