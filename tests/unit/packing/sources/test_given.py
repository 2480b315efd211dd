"""A sample as it was given: the model's columns of some rows, as pandas has them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from twofold.packing.sources.given import is_pandas, take_given

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [0.5, 1.5, 2.5]})
PLACES = np.array([0, 2])


def test_a_frame_stays_what_it_is() -> None:
    found = take_given(FRAME.astype({"b": object}), ("b", "a"), PLACES)
    assert found.columns.tolist() == ["b", "a"]
    assert found["b"].dtype == object
    assert found.to_numpy().tolist() == [["x", 1], ["z", 3]]


def test_a_table_becomes_a_frame() -> None:
    found = take_given(pa.Table.from_pandas(FRAME), ("c",), PLACES)
    assert found["c"].tolist() == [0.5, 2.5]


def test_only_frames_of_pandas_are_frames_of_pandas() -> None:
    assert is_pandas(FRAME)
    assert not is_pandas(pa.Table.from_pandas(FRAME))
    assert not is_pandas([{"a": 1}])
