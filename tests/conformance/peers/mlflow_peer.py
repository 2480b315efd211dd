"""MLflow's own scoring server, with a model that doubles: `python mlflow_peer.py PORT FOLDER`."""

from __future__ import annotations

import sys
from typing import Any

import mlflow.pyfunc
import uvicorn
from mlflow.pyfunc import scoring_server


class Doubler(mlflow.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input["x"] * 2


mlflow.pyfunc.save_model(sys.argv[2], python_model=Doubler(), pip_requirements=[])
app = scoring_server.init(mlflow.pyfunc.load_model(sys.argv[2]))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
