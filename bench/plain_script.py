"""The nightly script that twofold replaces: read all, predict all, write all. IN MODEL OUT."""

import sys

import joblib
import pandas as pd

source, model, target = sys.argv[1:]
customers = pd.read_parquet(source)
pipeline = joblib.load(model)
features = customers.drop(columns=["customer_id"])
customers["prediction"] = pipeline.predict_proba(features)[:, 1]
customers[["customer_id", "prediction"]].to_parquet(target)
