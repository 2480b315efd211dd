"""A small world to pack models from: numbers, text, missing values, a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROWS = 300


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "tenure": random.integers(0, 72, ROWS),
            "charge": random.normal(60, 20, ROWS),
            "contract": random.choice(["Month", "One year", "Two year"], ROWS),
        }
    )
    frame.loc[::17, "charge"] = np.nan
    return frame


@pytest.fixture(scope="session")
def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["tenure", "charge"]].fillna(0.0)


@pytest.fixture(scope="session")
def target(frame: pd.DataFrame) -> Any:
    return ((frame["tenure"] < 20) & (frame["contract"] == "Month")).to_numpy().astype(int)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "registry"
