"""MLflow's scoring client, as it talks to the servers that MLflow starts."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
from exchange import answer
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, _, port = sys.argv[1].removeprefix("http://").partition(":")
client = ScoringServerClient(host, port)


def look() -> str:
    client.ping()
    client.wait_server_ready(timeout=5)
    return client.get_version()


def frame(rows: list[dict[str, Any]], dtypes: dict[str, str] | None = None, **how: Any) -> Any:
    """Invoke with a frame, whose columns have dtypes as a user's frame might have."""
    made = pd.DataFrame(rows).astype(dtypes or {})
    return client.invoke(made, **how).get_predictions().to_dict("list")


def array(values: list[list[Any]]) -> Any:
    return client.invoke(np.array(values)).get_predictions().to_dict("list")


def listed(rows: list[Any]) -> Any:
    return client.invoke(rows).get_predictions().to_dict("list")


answer({"look": look, "frame": frame, "array": array, "listed": listed})
