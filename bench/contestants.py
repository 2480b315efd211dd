"""The servers that are measured, the models they serve and the requests they get."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pyarrow as pa
from load.build import built
from load.request import Request
from peers.install import peers_python
from serving import Cores, Server, free_port

import twofold

FEATURES = 20
TRAINED_ROWS, SAMPLE_ROWS = 60_000, 3_000
DIGITS = 4
"""Of the numbers in a request's JSON."""
PEERS = Path(__file__).parent / "peers"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

V1_PATH = "/v1/models/churn/predict"
V2_PATH = "/v2/models/churn/infer"
V2_INPUT = "x"


def field_names() -> list[str]:
    """The fields of the benchmarks' models."""
    return [f"x{index}" for index in range(FEATURES)]


def bytecode_in(folder: Path) -> dict[str, str]:
    """What makes processes keep their bytecode in a folder.

    Installed packages come with theirs; a checkout may be told to keep none.
    """
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


@dataclass(frozen=True)
class Lab:
    """One run of the benchmarks: its folder, and the standard model in it.

    Attributes:
        folder: Where everything is.
        quick: Whether short runs will do.
        serve_flags: Further flags of `twofold serve`.
        constant_path: What twofold answers without a model.
        only: Which loads of `overload` are run: those with this in their name.
    """

    folder: Path
    quick: bool = False
    serve_flags: Sequence[str] = ()
    constant_path: str = "/v2/health/live"
    only: str = ""

    @property
    def registry(self) -> Path:
        """Where the models are packed."""
        return self.folder / "registry"

    @cached_property
    def standard(self) -> Standard:
        """LightGBM 200 x 31 over 20 float32 features, packed as `churn`."""
        return Standard.made(self.folder, self.registry)

    def twofold(self, model: str, *flags: str, cores: Cores, port: int = 0) -> Server:
        """`twofold serve`, by the Python that runs this.

        Args:
            model: What it serves.
            flags: Its flags.
            cores: Where it runs.
            port: A free one, if it shall not wait in `with` until the server says its own.
        """
        command = [sys.executable, "-m", "twofold", "serve", model, f"--port={port}", "--json"]
        command += ["--registry", str(self.registry), *flags, *self.serve_flags]
        log = self.folder / f"twofold-{model}.log"
        environment = {**ONE_THREAD, **bytecode_in(self.folder)}
        return Server(
            "twofold", command, log, cores, port=port, environment=environment, announced=not port
        )

    def epoll(self, cores: Cores) -> Server:
        """The C server."""
        library = Path(lightgbm.__file__).parent / "lib" / "lib_lightgbm.so"
        found = str(library.parent)
        program = built("epoll_lightgbm", self.folder, str(library), f"-Wl,-rpath,{found}")
        port = free_port()
        command = [str(program), str(port), str(self.standard.text), str(FEATURES)]
        return Server("C epoll", command, self.folder / "epoll.log", cores, port=port)

    def fastapi(self, cores: Cores) -> Server:
        """FastAPI, as written by hand."""
        port = free_port()
        words = f"-m uvicorn plain_fastapi:app --port {port} --workers 1"
        words += " --no-access-log --log-level warning"
        return self._peer("FastAPI", words, port, cores)

    def mosec(self, cores: Cores) -> Server:
        """Mosec with dynamic batching."""
        port = free_port()
        words = f"mosec_batching.py --address 127.0.0.1 --port {port} --log-level warning"
        return self._peer("mosec", words, port, cores)

    def _peer(self, name: str, words: str, port: int, cores: Cores) -> Server:
        return Server(
            name,
            [str(peers_python()), *words.split()],
            self.folder / f"{name}.log",
            cores,
            port=port,
            cwd=PEERS,
            environment={**ONE_THREAD, "MODEL": str(self.standard.joblib)},
        )


@dataclass(frozen=True)
class Standard:
    """The standard model, for every contestant.

    Attributes:
        joblib: The estimator, for Python servers.
        text: The booster, for the C server.
        row: What is asked.
        prediction: What must be answered.
    """

    joblib: Path
    text: Path
    row: list[float]
    prediction: float

    @classmethod
    def made(cls, folder: Path, registry: Path) -> Standard:
        """Train and pack it."""
        random = np.random.default_rng(7)
        rows = random.normal(size=(TRAINED_ROWS, FEATURES)).astype(np.float32)
        noise = random.normal(size=TRAINED_ROWS) * 0.5
        target = rows[:, 0] + rows[:, 1] * rows[:, 2] + np.sin(rows[:, 3] * 2) + noise > 0
        model = lightgbm.LGBMClassifier(
            n_estimators=200, num_leaves=31, verbose=-1, random_state=0, n_jobs=1
        ).fit(rows, target.astype(int))
        made = cls(
            folder / "churn.joblib",
            folder / "churn.txt",
            row := [round(float(value), DIGITS) for value in rows[0]],
            float(model.predict_proba(np.asarray([row], dtype=np.float32))[0, 1]),
        )
        joblib.dump(model, made.joblib)
        model.booster_.save_model(made.text)
        sample = rows[:SAMPLE_ROWS]
        table = pa.table({name: sample[:, at] for at, name in enumerate(field_names())})
        predictor = twofold.pack(
            model, name="churn", sample=table, registry=registry, runtime="compiled"
        )
        assert predictor.predict_one(row) == made.prediction
        return made

    @property
    def as_list(self) -> Request:
        """The row as a list, in the signature's order; the peers take it, too."""
        return row_request(V1_PATH, self.row)

    @property
    def as_dict(self) -> Request:
        """The row by field name."""
        return row_request(V1_PATH, dict(zip(field_names(), self.row, strict=True)))

    @property
    def v2_json(self) -> Request:
        """The row in the Open Inference Protocol."""
        tensor = {"name": V2_INPUT, "shape": [1, FEATURES], "datatype": "FP32", "data": self.row}
        return Request(V2_PATH, json.dumps({"inputs": [tensor]}).encode(), expect="outputs")

    @property
    def v2_binary(self) -> Request:
        """The row in the protocol's binary extension, and the answer as well."""
        data = np.asarray(self.row, dtype="<f4").tobytes()
        tensor = {
            "name": V2_INPUT,
            "shape": [1, FEATURES],
            "datatype": "FP32",
            "parameters": {"binary_data_size": len(data)},
        }
        head = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
        header = json.dumps(head).encode()
        return Request(
            V2_PATH,
            header + data,
            "application/octet-stream",
            (("Inference-Header-Content-Length", str(len(header))),),
            expect="outputs",
        )


def row_request(path: str, row: Any) -> Request:
    """A request for one row."""
    return Request(path, json.dumps({"row": row}).encode(), expect="prediction")


def prediction_in(response: tuple[int, Any, bytes]) -> float:
    """The prediction of an answer, whichever protocol it is in."""
    _, headers, body = response
    length = headers.get("Inference-Header-Content-Length")
    if length is not None:
        (output,) = json.loads(body[: int(length)])["outputs"]
        kind = {"FP32": "<f4", "FP64": "<f8"}[output["datatype"]]
        return float(np.frombuffer(body[int(length) :], dtype=kind)[0])
    said = json.loads(body)
    return float(said["outputs"][0]["data"][0] if "outputs" in said else said["prediction"])
