"""The service that people write by hand around a model; MODEL is its joblib file."""

from __future__ import annotations

import os

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["MODEL"])


class Customer(BaseModel):
    """What is sent."""

    row: list[float]


@app.post("/predict")
def predict(customer: Customer) -> dict[str, float]:
    """Predict one row."""
    rows = np.asarray([customer.row], dtype=np.float32)
    return {"prediction": float(model.predict_proba(rows)[0, 1])}
