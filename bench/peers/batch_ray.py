"""Ray Data: map_batches with actors that load the model once, as its guide says. MODEL IN OUT."""

import os
import sys

os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"

import pyarrow as pa
import ray

BATCH_ROWS = 100_000
CORES = len(os.sched_getaffinity(0))
model, source, target = sys.argv[1:]


class Predictor:
    """Holds the model."""

    def __init__(self) -> None:
        """Load it."""
        import lightgbm

        self._booster = lightgbm.Booster(model_file=model)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The key and the prediction of each row."""
        import numpy as np

        names = [name for name in batch.column_names if name != "id"]
        matrix = np.empty((batch.num_rows, len(names)), np.float32)
        for at, name in enumerate(names):
            matrix[:, at] = batch.column(name).to_numpy()
        predictions = self._booster.predict(matrix, num_threads=1)
        return pa.table({"id": batch["id"], "prediction": predictions})


ray.init(num_cpus=CORES, include_dashboard=False, object_store_memory=2 << 30)
ray.data.read_parquet(source).map_batches(
    Predictor,
    batch_size=BATCH_ROWS,
    batch_format="pyarrow",
    compute=ray.data.ActorPoolStrategy(size=CORES),
    num_cpus=0.5,  # reading and writing need a share as well
).write_parquet(target)
