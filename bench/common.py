"""What the benchmarks share: the Telco customers, the plain model, medians of repeated calls."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa

import twofold
from twofold.demo import customers

MIN_CALLS = 5
MIN_S = 0.5


def median_s(call: Callable[[], Any], *, calls: int = MIN_CALLS) -> float:
    """Median seconds of a call, after one that doesn't count.

    Quick calls are repeated for a while: right after another library's call, its threads may
    still spin on the cores.
    """
    call()
    end_s = time.perf_counter() + MIN_S
    times = [_timed(call) for _ in range(max(calls, MIN_CALLS))]
    while time.perf_counter() < end_s:
        times.append(_timed(call))
    return float(np.median(times))


def _timed(call: Callable[[], Any]) -> float:
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s


def telco(folder: Path) -> tuple[pa.Table, Any, Path, twofold.Predictor]:
    """The customers' features, the trained pipeline, its file, and its packed version."""
    real = customers.real_customers()
    model = customers.train(real)
    path = folder / "churn.joblib"
    joblib.dump(model, path)
    predictor = twofold.pack(
        path, name="churn", sample=real, registry=folder / "registry", drop=["customer_id", "churn"]
    )
    return real.select(customers.features(real)), model, path, predictor


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for one benchmark."""
    return tempfile.TemporaryDirectory(prefix="twofold-bench-")


def show(title: str, rows: list[tuple[str, float, str]], base: str) -> None:
    """Print times and how many times quicker each is than `base`."""
    reference = next(seconds for name, seconds, _ in rows if name == base)
    print(f"\n{title}")
    for name, seconds, note in rows:
        print(f"  {name:<44} {readable(seconds):>10} {reference / seconds:>9,.1f}x  {note}")


def readable(seconds: float) -> str:
    """A time with the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:,.2f} {unit}"
    return f"{seconds * 1e6:,.1f} µs"
