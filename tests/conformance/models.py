"""The models that foreign clients meet; run as a script, it packs them into a registry.

They have every type of field but tensors, one output and several, numbers and text, and are
predicted at once, in turn, and in a process of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PLANS = ("basic", "pro", "team")
ROWS = 120

# References as `twofold serve` takes them; the first answers what names no model.
SERVED = ("churn", "forest", "species", "visits")


def people(count: int = ROWS) -> list[dict[str, Any]]:
    """Customers: a whole number, one that may be missing, text."""
    return [
        {
            "age": 20 + index * 7 % 50,
            "spent": None if index % 9 == 0 else index * 1.37 % 11,
            "plan": PLANS[index % 3],
        }
        for index in range(count)
    ]


def visits(count: int = ROWS) -> list[dict[str, Any]]:
    """Visits: truth, whole numbers, free text, a time without a zone and one with."""
    return [
        {
            "is_first": index % 2 == 0,
            "people": index % 5,
            "weight": None if index % 7 == 0 else index / 4,
            "note": f"note {index}",
            "since": f"2026-01-{index % 28 + 1:02d}T{index % 24:02d}:30:00",
            "booked": f"2025-12-{index % 28 + 1:02d}T08:00:00Z",
        }
        for index in range(count)
    ]


def forest_names() -> list[str]:
    """Names of twenty float32 fields."""
    return [f"f{index:02d}" for index in range(20)]


def pack(registry: Path) -> None:
    """Train and pack all of them."""
    import joblib
    import lightgbm as lgb
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

    import twofold

    random = np.random.default_rng(5)
    numbers = random.normal(size=(2_000, 20)).astype(np.float32)
    frame = pd.DataFrame(numbers, columns=forest_names())
    leaves = lgb.LGBMClassifier(n_estimators=50, num_leaves=15, verbose=-1, n_jobs=1)
    booster = leaves.fit(frame, numbers[:, 0] + numbers[:, 1] > 0).booster_
    sample = frame.head(ROWS)
    twofold.pack(booster, name="forest", sample=sample, registry=registry, runtime="compiled")

    customers = pd.DataFrame(people())
    made = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "spent"]),
        (OneHotEncoder(), ["plan"]),
    )
    fitted = make_pipeline(made, LogisticRegression())
    fitted.fit(customers, [int(index % 3 == 0) for index in range(ROWS)])
    joblib.dump(fitted, registry.parent / "churn.joblib")
    twofold.pack(
        registry.parent / "churn.joblib", name="churn", sample=customers, registry=registry,
        runtime="compiled", trust_pickle=True,
    )  # fmt: skip

    flowers = pd.DataFrame(random.normal(size=(300, 4)), columns=["a", "b", "c", "d"])
    kinds = np.array(["setosa", "versicolor", "virginica"])
    target = kinds[(flowers["a"] > 0).to_numpy().astype(int) + (flowers["b"] > 0).to_numpy()]
    # Clipped: the largest numbers would make NaN of a linear model's probabilities.
    species = make_pipeline(MinMaxScaler(clip=True), LogisticRegression()).fit(flowers, target)
    joblib.dump(species, registry.parent / "species.joblib")
    twofold.pack(
        registry.parent / "species.joblib", name="species", sample=flowers.head(ROWS),
        registry=registry, runtime="original", trust_pickle=True,
    )  # fmt: skip

    calls = pd.DataFrame(visits())
    calls["since"], calls["booked"] = (
        pd.to_datetime(calls["since"]),
        pd.to_datetime(calls["booked"]),
    )
    twofold.pack("visit_model:length", name="visits", sample=calls, registry=registry)


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
