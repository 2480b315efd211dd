"""The quickest of the Python model servers, set up well: one worker, dynamic batching.

MODEL is the model's joblib file. mosec's own flags follow, such as --port.
"""

from __future__ import annotations

import os
from typing import Any

import joblib
import numpy as np
from mosec import Server, ValidationError, Worker

MAX_BATCH_ROWS = 32
MAX_WAIT_MS = 1


class Churn(Worker):
    """Predicts the rows of several requests in one call."""

    def __init__(self) -> None:
        """Load the model; this runs in the worker's process."""
        super().__init__()
        self.model = joblib.load(os.environ["MODEL"])

    def forward(self, data: list[Any]) -> list[dict[str, float]]:
        """Predict one row for each request."""
        try:
            rows = np.asarray([one["row"] for one in data], dtype=np.float32)
        except (KeyError, ValueError) as error:
            raise ValidationError(str(error)) from error
        return [{"prediction": float(value)} for value in self.model.predict_proba(rows)[:, 1]]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Churn, num=1, max_batch_size=MAX_BATCH_ROWS, max_wait_time=MAX_WAIT_MS)
    server.run()
