"""A real server, started as a user starts it: answers, drains, and survives its workers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import LIMIT_S, ServerProcess, is_alive, read_response, until, url_of

import twofold
from twofold.app.serve import running_server
from twofold.errors import ConfigError
from twofold.serving.settings import ServeSettings

sys.path.insert(0, str(Path(__file__).parent))
from bad_inputs import (
    GOOD,
    PACK,
    PREDICT,
    changed,
    pack_model,
    post,
)
from bad_inputs import (
    http as request_bytes,
)

ONE = post(json.dumps({"row": GOOD}))


class Server(ServerProcess):
    def predict(self, body: Any, path: str = PREDICT) -> Any:
        status, answer = self.ask("POST", path, body)
        assert status == 200, answer
        return json.loads(answer)


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # The machine may be busy: what is refused for lack of time is other tests' business.
        [
            sys.executable,
            "-m",
            "twofold",
            "serve",
            "--deadline-s=30",
            *arguments,
            "--port=0",
            "--json",
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Server]:
    with command(folder, *arguments) as process:
        try:
            yield Server(process, url_of(process))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    pack_model(folder)
    model = folder / "model.py"
    model.write_text(model.read_text().replace("* 2.0", "* 3.0"), encoding="utf-8")
    subprocess.run([sys.executable, "-c", PACK], cwd=folder, check=True, timeout=LIMIT_S)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with started(folder, "demo@2", "demo@1", "--workers=2") as server:
        yield server


def test_one_row_and_many_rows_are_predicted(server: Server) -> None:
    tail = {"model": "demo", "version": "2", "source": "live"}
    assert server.predict({"row": GOOD}) == {"prediction": 6.5, **tail}
    assert server.predict({"row": list(GOOD.values())}) == {"prediction": 6.5, **tail}
    several = [GOOD, changed(amount=0.0), changed(visits=7)]
    assert server.predict({"rows": several}) == {"predictions": [6.5, 2.0, 11.5], **tail}


def test_version_can_be_pinned(server: Server) -> None:
    answer = server.predict({"row": GOOD}, "/v1/models/demo/versions/1/predict")
    assert (answer["version"], answer["prediction"]) == ("1", 5.0)


def test_wire_gives_the_same_bits_as_the_door(server: Server, folder: Path) -> None:
    model = twofold.load("demo@2", registry=folder / "registry")
    several = [changed(amount=1 / 3 * i, visits=i) for i in range(20)]
    assert server.predict({"rows": several})["predictions"] == model.predict(several).tolist()
    for row in several:
        assert server.predict({"row": row})["prediction"] == model.predict_one(row)


def test_health_models_and_documents_are_there(server: Server) -> None:
    assert server.ask("GET", "/v2/health/live") == (200, b'{"live":true}')
    assert server.ask("GET", "/v2/health/ready") == (200, b'{"ready":true}')
    listed = json.loads(server.ask("GET", "/v1/models")[1])["models"]
    assert [(item["version"], item["default"]) for item in listed] == [("2", True), ("1", False)]
    document = json.loads(server.ask("GET", "/openapi.json")[1])
    operation = document["paths"][PREDICT]["post"]
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        server.predict(example["value"])
    status, page = server.ask("GET", "/docs")
    assert status == 200
    assert b"amount" in page


def test_one_connection_serves_many_requests_however_they_are_sent(server: Server) -> None:
    body = json.dumps({"row": GOOD}).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\n".encode()
    chunks = b"".join(b"%x;x=y\r\n%b\r\n" % (len(p), p) for p in (body[:7], body[7:]))
    with server.connect() as client:
        for sent in (ONE, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"):
            client.sendall(sent)
            assert b'"prediction":6.5' in read_response(client)
        client.sendall(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert b'"prediction":6.5' in read_response(client)
        client.sendall(ONE * 100 + request_bytes("GET", "/nope", headers={"Connection": "close"}))
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    assert received.count(b'"prediction":6.5') == 100
    assert received.endswith(b'"code":"unknown_path"}')


def test_metrics_are_those_of_all_workers_whoever_answers(server: Server) -> None:
    series = 'twofold_requests_total{model="demo",version="1",outcome="ok"}'
    before = server.metric(series)
    for _ in range(40):
        server.predict({"row": GOOD}, "/v1/models/demo/versions/1/predict")
    assert {server.metric(series) for _ in range(20)} == {before + 40}


def test_rude_clients_harm_nobody(server: Server) -> None:
    workers = server.workers()
    for index in range(150):
        client = server.connect()
        client.sendall((b"\x00\xff" * 500, ONE[:80], ONE * 50)[index % 3])
        # Zero linger: the close resets the connection, whatever is on its way.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert server.predict({"row": GOOD})["prediction"] == 6.5
    assert server.workers() == workers


def test_stop_answers_what_is_in_flight_then_ends_well(folder: Path) -> None:
    with started(folder, "demo@1", "--workers=2") as server:
        slow = post(json.dumps({"row": changed(amount=777.0)}))
        with server.connect() as half, server.connect() as busy, server.connect() as idle:
            idle.sendall(ONE)
            read_response(idle)
            half.sendall(ONE[:-10])
            busy.sendall(slow)
            until(lambda: server.metric("twofold_connections") >= 3, "the connections")
            server.process.send_signal(signal.SIGTERM)
            assert idle.recv(100) == b""
            half.sendall(ONE[-10:])
            answers = [read_response(half), read_response(busy)]
            # Its own worker may have learnt of the stop only after answering, but then it hangs up.
            assert half.recv(100) == b""
        assert server.process.wait(LIMIT_S) == 0
    assert b'"prediction":5.0' in answers[0]
    assert b'"prediction":1556.0' in answers[1]
    with pytest.raises(OSError, match="refused"):
        server.connect()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_idle_server_stops_at_once_and_leaves_no_process(
    folder: Path, kind: signal.Signals
) -> None:
    with started(folder, "demo@1", "--workers=2") as server:
        workers = server.workers()
        assert len(workers) == 2
        assert server.stop(kind) == 0
        assert server.process.stderr is not None
        assert "Traceback" not in server.process.stderr.read()
    until(lambda: not any(map(is_alive, workers)), "the workers' end")


def test_killed_worker_is_replaced_while_the_other_answers(folder: Path) -> None:
    with started(folder, "demo@1", "--workers=2") as server:
        for turn in range(1, 3):
            before = server.workers()
            os.kill(before[0], signal.SIGKILL)
            until(lambda: len(set(server.workers()) - set(before)) == 1, "another worker")  # noqa: B023
            until(lambda: server.metric("twofold_worker_restarts_total") == turn, "its count")  # noqa: B023
            assert server.predict({"row": GOOD})["prediction"] == 5.0
        assert server.stop() == 0


def test_only_worker_killed_is_back_and_goes_on_counting(folder: Path) -> None:
    series = 'twofold_requests_total{model="demo",version="1",outcome="ok"}'
    with started(folder, "demo@1", "--workers=1") as server:
        server.predict({"row": GOOD})
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: answers(server), "an answer")
        assert server.metric(series) == 2
        assert server.stop() == 0


def answers(server: Server) -> bool:
    try:
        return server.predict({"row": GOOD})["prediction"] == 5.0
    except (OSError, http.client.HTTPException):
        return False


def test_workers_end_when_their_supervisor_is_killed(folder: Path) -> None:
    with started(folder, "demo@1", "--workers=2") as server:
        workers = server.workers()
        server.stop(signal.SIGKILL)
    until(lambda: not any(map(is_alive, workers)), "the workers' end")


def test_changed_model_file_ends_the_start_with_its_reason_and_no_restart_loop(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "registry", tmp_path / "registry")
    packed = tmp_path / "registry" / "demo" / "1" / "model.py"
    packed.chmod(0o644)
    packed.write_text(packed.read_text() + "# changed", encoding="utf-8")
    with command(tmp_path, "demo@1", "--workers=2") as process:
        out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "model.py" in json.loads(out)["error"]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "nope"),
        (["demo@9"], "9"),
        (["demo", "--host=256.0.0.1"], "serve.host: expected an address"),
    ],
)
def test_server_that_cannot_start_says_why(folder: Path, arguments: list[str], words: str) -> None:
    with command(folder, *arguments) as process:
        out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert words in json.loads(out)["error"]
    assert "Traceback" not in err


def test_background_server_on_a_taken_port_raises_what_the_server_said(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServeSettings(port=taken.getsockname()[1], workers=1)
        server = running_server(["demo"], registry=folder / "registry", settings=settings)
        with pytest.raises(ConfigError, match=r"serve\.port: expected a free port"), server:
            pass


def test_slow_clients_do_not_keep_others_waiting(folder: Path) -> None:
    with started(folder, "demo@1", "--workers=1", "--header-timeout-s=0.5") as server:
        slow = [server.connect() for _ in range(100)]
        stop = threading.Event()

        def drip() -> None:
            for byte in ONE:
                if stop.wait(0.02):
                    return
                for client in slow:
                    with contextlib.suppress(OSError):
                        client.send(bytes([byte]))

        thread = threading.Thread(target=drip)
        thread.start()
        for _ in range(50):
            assert server.predict({"row": GOOD})["prediction"] == 5.0
        received = [read_response(client) for client in slow]
        stop.set()
        thread.join()
        for client in slow:
            client.close()
    assert all(b"408 Request Timeout" in answer for answer in received)


def test_scikit_learn_pipeline_is_served_with_the_bits_of_its_door(tmp_path: Path) -> None:
    sklearn_pipeline = pytest.importorskip("sklearn.pipeline")
    pd = pytest.importorskip("pandas")
    joblib = pytest.importorskip("joblib")
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    people = pd.DataFrame(
        {
            "age": [20 + i % 50 for i in range(200)],
            "spent": [i * 1.37 % 11 for i in range(200)],
            "plan": [("basic", "pro")[i % 2] for i in range(200)],
        }
    )
    made = make_column_transformer(
        (StandardScaler(), ["age", "spent"]), (OneHotEncoder(), ["plan"])
    )
    fitted = sklearn_pipeline.make_pipeline(made, LogisticRegression())
    fitted.fit(people, [int(i % 3 == 0) for i in range(200)])
    joblib.dump(fitted, tmp_path / "churn.joblib")
    registry = tmp_path / "registry"
    model = twofold.pack(
        tmp_path / "churn.joblib", name="churn", sample=people, registry=registry,
        output="probability", trust_pickle=True,
    )  # fmt: skip
    several = people.head(20).to_dict("records")
    settings = ServeSettings(port=0, workers=1, deadline_s=30.0)
    with running_server(["churn"], registry=registry, settings=settings) as url:
        server = Server(process=None, url=url)  # type: ignore[arg-type] - it is stopped for us
        path = "/v1/models/churn/predict"
        many = server.predict({"rows": several}, path)["predictions"]
        assert many == model.predict(several).tolist()
        assert many == [server.predict({"row": row}, path)["prediction"] for row in several]
