from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twofold.errors import ConfigError, InvalidInput
from twofold.lab import endpoint
from twofold.lab.ask import Answer
from twofold.lab.endpoint import Wanted, find_endpoint
from twofold.lab.requests import Protocol

URL = "http://127.0.0.1:9"
TWOFOLD: dict[str, Any] = {
    "GET /v1/models": {"models": [{"name": "churn", "version": "1", "default": True},
                                  {"name": "churn", "version": "2", "default": False}]},
    "GET /v1/models/churn": {"inputs": [{"name": "b", "type": "float64"},
                                        {"name": "zip", "type": "string"}]},
    "GET /openapi.json": {"paths": {"/v1/models/churn/predict": {"post": {"requestBody": {
        "content": {"application/json": {"examples": {"one": {"value": {
            "row": {"b": 1.5, "zip": "01"}}}}}}}}}}},
    "POST /v1/models/churn/predict": {"prediction": 1},
    "GET /v1/models/churn/answers/k1": {"prediction": 1},
}  # fmt: skip


class Server:
    """Answers what it knows with 200, anything else with 404; remembers what it was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, list[bytes]()

    def __call__(self, address: Any, request: bytes) -> Answer:
        self.asked.append(request)
        found = self.answers.get(" ".join(request.decode().split()[:2]))
        if found is None:
            return Answer(404, b"nothing here")
        return found if isinstance(found, Answer) else Answer(200, json.dumps(found).encode())


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Any:
    def serve(answers: dict[str, Any]) -> Server:
        server = Server(answers)
        monkeypatch.setattr(endpoint, "ask", server)
        return server

    return serve


def body(request: bytes) -> Any:
    return json.loads(request.partition(b"\r\n\r\n")[2])


def test_a_twofold_server_is_known_by_its_models_and_shows_a_row_itself(served: Any) -> None:
    served(TWOFOLD)
    found = find_endpoint(Wanted(url=URL, deadline_s=0.25))
    assert found.protocol is Protocol.TWOFOLD
    assert found.path == "/v1/models/churn/predict"
    (request,) = found.target.requests
    assert body(request) == {"row": {"b": 1.5, "zip": "01"}}
    assert b"X-Twofold-Deadline-Ms: 250\r\n" in request
    assert found.target.address == ("127.0.0.1", 9)


def test_rows_of_a_file_have_only_what_the_model_takes_as_it_takes_it(
    served: Any, tmp_path: Path
) -> None:
    served(TWOFOLD)
    (tmp_path / "r.csv").write_text("id,zip,b\nk1,01,2\nk2,02,3\n")
    found = find_endpoint(Wanted(url=URL, rows=tmp_path / "r.csv"))
    assert [body(request)["row"] for request in found.target.requests] == [
        {"b": 2, "zip": "01"},
        {"b": 3, "zip": "02"},
    ]
    assert found.rows == 2


def test_keys_are_asked_for_by_get(served: Any, tmp_path: Path) -> None:
    served(TWOFOLD)
    (tmp_path / "r.csv").write_text("id\nk1\nk2\n")
    found = find_endpoint(Wanted(url=URL, keys=(tmp_path / "r.csv", "id")))
    assert found.protocol is Protocol.ANSWERS
    starts = [request.split(b" HTTP")[0] for request in found.target.requests]
    assert starts == [b"GET /v1/models/churn/answers/k1", b"GET /v1/models/churn/answers/k2"]


def test_another_server_of_the_open_inference_protocol_tells_its_inputs(
    served: Any, tmp_path: Path
) -> None:
    inputs = [{"name": "b", "datatype": "FP32", "shape": [-1, 1]}]
    served(
        {
            "GET /v2": {"name": "other"},
            "POST /v2/repository/index": [{"name": "m", "state": "READY"}],
            "GET /v2/models/m": {"inputs": inputs},
            "POST /v2/models/m/infer": {},
        }
    )
    (tmp_path / "r.jsonl").write_text('{"a": 1, "b": 2.5}\n')
    found = find_endpoint(Wanted(url=URL, rows=tmp_path / "r.jsonl", deadline_s=0.1))
    assert found.protocol is Protocol.V2
    (request,) = found.target.requests
    assert body(request)["inputs"] == [{**inputs[0], "shape": [1, 1], "data": [2.5]}]
    assert b"Twofold" not in request


def test_a_server_that_only_answers_to_ping_is_taken_for_mlflow(
    served: Any, tmp_path: Path
) -> None:
    served({"GET /ping": "", "POST /invocations": {}})
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n')
    found = find_endpoint(Wanted(url=URL, rows=tmp_path / "r.jsonl"))
    assert (found.protocol, found.path) == (Protocol.MLFLOW, "/invocations")


def test_any_url_is_asked_with_what_a_template_makes_of_a_row(served: Any, tmp_path: Path) -> None:
    served({"POST /p": {}})
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "body").write_text('{"instances": [{{values}}]}')
    wanted = Wanted(url=f"{URL}/p", rows=tmp_path / "r.jsonl", body=tmp_path / "body")
    found = find_endpoint(wanted)
    assert found.protocol is Protocol.JSON
    assert body(found.target.requests[0]) == {"instances": [[1]]}


def test_a_server_that_says_no_is_never_loaded(served: Any, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n')
    served({"POST /p": Answer(422, b"a: expected text")})
    with pytest.raises(ConfigError, match="got 422 a: expected text"):
        find_endpoint(Wanted(url=f"{URL}/p", rows=tmp_path / "r.jsonl"))


def test_an_answer_without_what_is_expected_is_no_good_one(served: Any, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n')
    served({"POST /p": {"error": "no model"}})
    with pytest.raises(ConfigError, match="an answer with prediction in it"):
        find_endpoint(Wanted(url=f"{URL}/p", rows=tmp_path / "r.jsonl", expect="prediction"))


def test_several_models_need_a_name(served: Any) -> None:
    models = [{"name": name, "default": True} for name in ("a", "b")]
    served({"GET /v1/models": {"models": models}})
    with pytest.raises(ConfigError, match="--model: expected one served model, got a, b"):
        find_endpoint(Wanted(url=URL))


def test_what_nothing_is_known_of_is_said(served: Any) -> None:
    served({})
    with pytest.raises(ConfigError, match="--protocol"):
        find_endpoint(Wanted(url=URL))


def test_without_rows_or_an_example_it_says_which_flags_help(served: Any) -> None:
    served({"POST /p": {}})
    with pytest.raises(ConfigError, match="--rows FILE"):
        find_endpoint(Wanted(url=f"{URL}/p"))


def test_rows_that_lack_an_input_are_refused_before_the_load(served: Any, tmp_path: Path) -> None:
    tensors = [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("a", "b")]
    served({"GET /v2/models/m": {"inputs": tensors}})
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(InvalidInput, match="a column 'b'"):
        find_endpoint(Wanted(url=f"{URL}/v2/models/m/infer", rows=tmp_path / "r.jsonl"))


def test_headers_are_sent_with_every_request(served: Any) -> None:
    server = served(TWOFOLD)
    find_endpoint(Wanted(url=URL, headers=[("X-Api-Key", "k")]))
    assert all(b"X-Api-Key: k\r\n" in request for request in server.asked)
