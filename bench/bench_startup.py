"""A fresh process to its first prediction: a compiled model against its own library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from common import median_s, readable, scratch

import twofold

TWOFOLD = """
import twofold
print(twofold.load("m", registry="registry").predict_one([0.5] * 20))
"""
LIBRARY = """
import lightgbm, numpy
booster = lightgbm.Booster(model_file="model.txt")
print(float(booster.predict(numpy.full((1, 20), 0.5), num_threads=1)[0]))
"""
TARGET = 5


def main() -> None:
    """Measure and print."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(5000, 20)), columns=[f"x{i}" for i in range(20)])
    model = lightgbm.LGBMClassifier(n_estimators=200, verbose=-1).fit(frame, frame["x0"] > 0)
    with scratch() as text:
        folder = Path(text)
        model.booster_.save_model(folder / "model.txt")
        twofold.pack(
            model, name="m", sample=frame, registry=folder / "registry", runtime="compiled"
        )

        def run(code: str) -> str:
            command = [sys.executable, "-W", "ignore", "-c", code]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            return done.stdout

        assert run(TWOFOLD) == run(LIBRARY)
        ours, theirs = median_s(lambda: run(TWOFOLD)), median_s(lambda: run(LIBRARY))
        print(
            f"process start to first prediction: {readable(ours)} compiled, {readable(theirs)} "
            f"LightGBM, {theirs / ours:.1f}x ({TARGET})"
        )


if __name__ == "__main__":
    main()
