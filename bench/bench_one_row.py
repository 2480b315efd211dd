"""One row of the Telco pipeline in process: scikit-learn itself against each runtime of twofold."""

from __future__ import annotations

from pathlib import Path

from common import median_s, scratch, show, telco

ROWS = 200


def main() -> None:
    """Measure and print."""
    with scratch() as folder:
        table, model, _, predictor = telco(Path(folder))
        rows = table.slice(0, ROWS).to_pylist()
        frames = [table.slice(index, 1).to_pandas() for index in range(ROWS)]
        position = iter(range(10**9))
        original_s = median_s(
            lambda: model.predict_proba(frames[next(position) % ROWS]), calls=ROWS
        )
        twofold_s = median_s(lambda: predictor.predict_one(rows[next(position) % ROWS]), calls=5000)
        chosen = predictor.record.runtimes.real_time
        show(
            "one row, dict in, probability out",
            [
                ("scikit-learn predict_proba, one-row frame", original_s, ""),
                (f"twofold predict_one ({chosen})", twofold_s, "checked against the signature"),
            ],
            "scikit-learn predict_proba, one-row frame",
        )


if __name__ == "__main__":
    main()
