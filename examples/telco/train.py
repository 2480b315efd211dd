"""Train a churn model on the Telco customers, as one does without knowing of twofold."""

from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

customers = pd.read_parquet(Path(__file__).with_name("telco_churn.parquet"))
left = customers["churn"] == "Yes"
features = customers.drop(columns=["customer_id", "churn"])

model = make_pipeline(
    make_column_transformer(
        (SimpleImputer(strategy="median"), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    ),
    GradientBoostingClassifier(random_state=0),
)
model.fit(features, left)
joblib.dump(model, "churn.joblib")
print(f"trained on {len(features):,} customers: churn.joblib")
