"""The script that everyone writes first: read all, predict all, write all. MODEL IN OUT."""

import sys

import joblib
import pandas as pd

model, source, target = sys.argv[1:]
rows = pd.read_csv(source) if source.endswith(".csv") else pd.read_parquet(source)
features = rows.drop(columns=["id"]).astype("float32")
rows["prediction"] = joblib.load(model).predict_proba(features)[:, 1]
rows[["id", "prediction"]].to_parquet(target, index=False)
