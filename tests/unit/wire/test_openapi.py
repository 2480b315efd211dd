"""The OpenAPI document promises what the server does: rows, answers, refusals, limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from json_schema import admits
from shelves import Keyed, Shelf, origin_of, stored

from twofold.hybrid.settings import AnswerSettings
from twofold.serving.settings import ServeSettings
from twofold.wire.openapi import NO_ANSWERS, openapi
from twofold.wire.statuses import STATUSES

PREDICT = "/v1/models/churn/predict"
INFER = "/v2/models/churn/infer"


def infer_body(amounts: list[Any], plans: list[Any], **more: Any) -> dict[str, Any]:
    kinds = {"amount": ("FP64", amounts), "plan": ("BYTES", plans)}
    inputs = [
        {"name": name, "shape": [len(data)], "datatype": kind, "data": data}
        for name, (kind, data) in kinds.items()
    ]
    return {"inputs": inputs, **more}


def document_of(bench: Any, *, answering: Any = NO_ANSWERS, **settings: Any) -> Any:
    """Make the document of the bench's models, as it is read from the wire."""
    limits = ServeSettings(max_rows=3, **settings)
    made = openapi(bench.service, limits, version="9.9", answering=answering)
    return json.loads(json.dumps(made))


def operation_of(document: Any, path: str = PREDICT) -> Any:
    return document["paths"][path]["post"]


def body_schema(document: Any, path: str = PREDICT) -> Any:
    return operation_of(document, path)["requestBody"]["content"]["application/json"]["schema"]


def answer_schema(document: Any, path: str) -> Any:
    return operation_of(document, path)["responses"]["200"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, {"row": {"amount": 1.5, "plan": None}}),
        (PREDICT, {"rows": [[1, "pro"], {"amount": 2, "plan": "<basic>", "note": 1}]}),
        (PREDICT, {"rows": []}),
        ("/v1/models/churn/versions/2/predict", {"row": [1.5, None]}),
        ("/v1/models/risk/predict", {"row": [0.25, None]}),
        ("/v1/models/risk/predict", {"rows": [[0.25, None], [0.5, "pro"]]}),
        (INFER, infer_body([1.5], ["pro"])),
        (INFER, infer_body([1.5, 2.0, 3.0], ["pro", None, "<basic>"])),
        (INFER, infer_body([1], ["pro"], id="a", outputs=[{"name": "prediction"}])),
        ("/v2/models/risk/infer", infer_body([0.25], [None], id=None, parameters={"x": 1})),
        ("/invocations", {"dataframe_split": {"data": [[1.5, None]]}}),
        ("/invocations", {"dataframe_split": {"columns": ["amount", "plan"], "data": [[1, None]]}}),
        ("/invocations", {"dataframe_records": [{"amount": 1, "plan": None}], "params": {}}),
        ("/invocations", {"instances": [[1, None], {"amount": 1, "plan": "pro", "note": 0}]}),
        ("/invocations", {"inputs": {"amount": [1, 2], "plan": [None, "pro"]}}),
        ("/invocations", {"inputs": {"amount": 1, "plan": "pro"}}),
        ("/invocations", {"inputs": [[1, None]]}),
        ("/v2/repository/index", {"ready": True}),
    ],
)
def test_body_that_is_answered_is_as_described_and_so_is_its_answer(
    bench: Any, path: str, body: Any
) -> None:
    document = document_of(bench)
    assert admits(body_schema(document, path), body, document)
    response = bench.ask("POST", path, body)
    assert response.status == 200
    assert admits(answer_schema(document, path), json.loads(response.body), document)


@pytest.mark.parametrize("query", ["", "?x=1"])
def test_every_answer_to_get_is_as_described(bench: Any, query: str) -> None:
    document = document_of(bench)
    for path, methods in document["paths"].items():
        if "get" in methods:
            response = bench.ask("GET", path + query)
            [(kind, content)] = methods["get"]["responses"]["200"]["content"].items()
            assert response.content_type.decode().partition(";")[0] == kind
            is_json = kind == "application/json"
            answer = json.loads(response.body) if is_json else response.body.decode()
            assert admits(content["schema"], answer, document), path


def test_server_that_is_not_ready_says_so_as_described(bench: Any) -> None:
    document = document_of(bench)
    bench.service.drain()
    for path in ("/v2/health/ready", "/ping", "/health", "/v2/models/churn/ready"):
        described = document["paths"][path]["get"]["responses"]["503"]["content"]
        response = bench.ask("GET", path)
        assert response.status == 503
        answer = json.loads(response.body)
        assert answer["ready"] is False
        assert admits(described["application/json"]["schema"], answer, document)


def test_answer_of_another_version_is_not_as_described(bench: Any) -> None:
    document = document_of(bench)
    answer = json.loads(bench.ask("POST", PREDICT, {"row": [1.5, None]}).body)
    pinned = answer_schema(document, "/v1/models/churn/versions/2/predict")
    assert not admits(pinned, answer, document)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, {}),
        (PREDICT, {"row": [1.0, None], "rows": [[1.0, None]]}),
        (PREDICT, {"row": [1.0, None], "id": 7}),
        (PREDICT, {"rows": [1.0, None]}),
        (PREDICT, {"rows": [[1.0, None]] * 4}),
        (PREDICT, {"row": ["1.0", None]}),
        (PREDICT, [1.0, None]),
        (INFER, {}),
        (INFER, {"inputs": []}),
        (INFER, infer_body([1.0] * 4, ["pro"] * 4)),
        (INFER, infer_body([1.0], ["gold"])),
        (INFER, infer_body([None], ["pro"])),
        (INFER, infer_body([1.0], ["pro"], id=7)),
        (INFER, infer_body([1.0], ["pro"], outputs=[{"name": "score"}])),
        (INFER, infer_body([1.0], ["pro"], parameters={"binary_data_output": 1})),
        ("/invocations", {}),
        ("/invocations", {"dataframe_split": {"data": []}}),
        ("/invocations", {"dataframe_split": {"data": [[1.0, None]] * 4}}),
        ("/invocations", {"dataframe_split": {"columns": ["amount"], "data": [[1.0]]}}),
        ("/invocations", {"dataframe_records": [{"amount": 1.0}]}),
        ("/invocations", {"instances": [[1.0, None]], "inputs": [[1.0, None]]}),
        ("/invocations", {"inputs": {"amount": [1.0]}}),
        ("/invocations", {"inputs": {"amount": [1.0], "plan": [3]}}),
        ("/invocations", {"instances": [[1.0, None]], "more": 1}),
        ("/v2/repository/index", {"ready": "yes"}),
        ("/v2/repository/index", []),
    ],
)
def test_body_that_is_refused_is_not_as_described_and_its_refusal_is(
    bench: Any, path: str, body: Any
) -> None:
    document = document_of(bench)
    assert not admits(body_schema(document, path), body, document)
    response = bench.ask("POST", path, body)
    described = operation_of(document, path)["responses"][str(response.status)]["$ref"]
    assert described == f"#/components/responses/{response.status}"
    schema = document["components"]["responses"][str(response.status)]["content"]
    answer = json.loads(response.body)
    assert admits(schema["application/json"]["schema"], answer, document)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, b"not json", {}),
        (400, b'{"row":[1.0,null]}', {b"x-twofold-deadline-ms": b"soon"}),
        (415, b'{"row":[1.0,null]}', {b"content-type": b"text/csv"}),
        (422, b'{"row":[]}', {}),
        (500, b'{"row":[666.0,null]}', {}),
        (500, b'{"row":[-666.0,null]}', {}),
    ],
)
def test_refusal_of_any_kind_is_as_described(
    bench: Any, status: int, body: bytes, headers: dict[bytes, bytes]
) -> None:
    document = document_of(bench)
    response = bench.ask("POST", PREDICT, body, headers)
    assert response.status == status
    assert str(status) in operation_of(document)["responses"]
    error = document["components"]["schemas"]["Error"]
    answer = json.loads(response.body)
    assert admits(error, answer, document)
    assert answer.keys() <= error["properties"].keys()


def test_every_status_and_code_is_explained(bench: Any) -> None:
    responses = document_of(bench)["components"]["responses"]
    told = {
        code: int(status)
        for status, response in responses.items()
        for code in response["description"].partition(": ")[2].split(", ")
    }
    assert told == STATUSES
    assert responses["503"]["description"] == (
        "Service Unavailable: draining, stale, store_unavailable, overloaded, too_many_connections"
    )


def test_default_version_has_a_path_without_its_number_and_the_others_have_not(
    bench: Any,
) -> None:
    paths = document_of(bench)["paths"]
    posted = [path for path in paths if path.endswith("/predict")]
    assert posted == [
        "/v1/models/churn/versions/3/predict",
        "/v1/models/churn/predict",
        "/v1/models/churn/versions/2/predict",
        "/v1/models/risk/versions/1/predict",
        "/v1/models/risk/predict",
        "/v1/models/image/versions/1/predict",
        "/v1/models/image/predict",
    ]
    pinned, plain = paths[posted[0]]["post"], paths[posted[1]]["post"]
    assert pinned["operationId"] == "predict-churn-3"
    assert plain == {**pinned, "operationId": "predict-churn-default"}
    inferred = [path for path in paths if path.endswith("/infer")]
    assert inferred == [f"/v2{path[3:-8]}/infer" for path in posted]
    assert [path for path, methods in paths.items() if "post" in methods].count("/invocations") == 1


def test_limits_are_those_of_the_settings(bench: Any) -> None:
    document = document_of(bench, deadline_s=0.25)
    _, many = body_schema(document)["oneOf"]
    assert many["properties"]["rows"]["maxItems"] == 3
    parameters = [
        document["components"]["parameters"][reference["$ref"].rpartition("/")[2]]
        for reference in operation_of(document)["parameters"]
    ]
    assert [(item["name"], item["in"], item["required"]) for item in parameters] == [
        ("X-Twofold-Deadline-Ms", "header", False),
        ("X-Twofold-Priority", "header", False),
        ("X-Twofold-Timing", "header", False),
        ("X-Request-Id", "header", False),
    ]
    assert parameters[0]["description"].endswith("Without it: 250.")


@pytest.mark.parametrize("path", [PREDICT, INFER, "/invocations"])
@pytest.mark.parametrize("sent", [b"mine", b"~" * 128, b"~" * 129, b"m\xfcll", b""])
@pytest.mark.parametrize("amount", [1.5, "much"])
def test_id_of_a_request_may_be_sent_and_is_answered_as_described(
    bench: Any, path: str, sent: bytes, amount: Any
) -> None:
    document = document_of(bench)
    operation = operation_of(document, path)
    assert {"$ref": "#/components/parameters/requestId"} in operation["parameters"]
    body = infer_body([amount], ["pro"]) if path == INFER else {"row": [amount, "pro"]}
    body = {"inputs": [[amount, "pro"]]} if path == "/invocations" else body
    response = bench.ask("POST", path, body, {b"x-request-id": sent})
    assert response.status == (200 if amount == 1.5 else 422)
    described = operation["responses"][str(response.status)]
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    schema = described["headers"]["X-Request-Id"]["schema"]
    lines = response.headers.decode().splitlines()
    [came] = [line[14:] for line in lines if line.startswith("X-Request-Id: ")]
    assert admits(schema, came, document)
    assert (came == sent.decode("latin-1")) == admits(schema, sent.decode("latin-1"), document)


def test_keys_are_described_only_where_there_are_any(bench: Any) -> None:
    document = document_of(bench)
    assert "securitySchemes" not in document["components"]
    assert not {"401", "403", "429"} & operation_of(document)["responses"].keys()
    guarded = document_of(bench, api_keys="keys.toml")
    assert set(guarded["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    assert {"401", "403", "429"} <= operation_of(guarded)["responses"].keys()
    assert operation_of(guarded)["security"] == [{"bearer": []}, {"apiKey": []}]


@pytest.mark.parametrize("keys", ["", "keys.toml"])
def test_every_status_that_may_occur_is_described(bench: Any, keys: str) -> None:
    document = document_of(bench, api_keys=keys)
    told = {
        path: {int(status) for status in operation["responses"]}
        for path, methods in document["paths"].items()
        for operation in methods.values()
    }
    everywhere = {200, 400, 405, 408, 413, 414, 417, 431, 500, 503}
    infer = everywhere | {404, 415, 422, 504} | ({401, 403, 429} if keys else set())
    assert told["/metrics"] == told["/v2/health/ready"] == told["/ping"] == everywhere
    assert told["/v2/models/churn/config"] == everywhere | {404}
    assert told["/v2/repository/index"] == everywhere | {422}
    for path in (PREDICT, INFER, "/invocations", "/v2/models/churn/versions/2/infer"):
        assert told[path] == infer
    # Whatever may occur anywhere has been said somewhere.
    assert set().union(*told.values()) == ({200} | set(STATUSES.values())) - (
        set() if keys else {401, 403, 429}
    )


def test_document_names_the_release_and_the_models(bench: Any) -> None:
    assert document_of(bench)["info"] == {
        "title": "twofold",
        "version": "9.9",
        "summary": "Predictions of churn, risk, image.",
    }


def test_example_of_the_sample_is_the_example_of_the_document(bench: Any) -> None:
    churn = bench.service.find("churn")
    churn.example = {"amount": 17.25, "plan": "pro"}
    content = operation_of(document_of(bench))["requestBody"]["content"]["application/json"]
    assert content["examples"] == {
        "one": {"value": {"row": churn.example}},
        "many": {"value": {"rows": [churn.example]}},
    }


# Answers by key

ASK = "/v1/models/churn/answers"
BY_KEY = f"{ASK}/{{key}}"
ROW = {"amount": 1.5, "plan": "pro"}


@pytest.fixture
def keyed(bench: Any) -> Keyed:
    old = origin_of(run_id="", source="live", as_of=origin_of().as_of.replace(year=2020))
    shelf = Shelf(a=stored(7.5), b=stored(8.5, features=ROW), old=stored(1.0, origin=old))
    return Keyed(bench, shelf).open("churn", "risk", max_keys=3)


@pytest.fixture
def answering(keyed: Keyed) -> Any:
    """The document of a server whose models answer by key."""
    return json.loads(keyed.bench.ask("GET", "/openapi.json").body)


def test_answers_by_key_are_described_only_where_there_are_any(bench: Any, answering: Any) -> None:
    assert not any("answers" in path for path in document_of(bench)["paths"])
    described = [path for path in answering["paths"] if "answers" in path]
    assert described == [BY_KEY, ASK, BY_KEY.replace("churn", "risk"), "/v1/models/risk/answers"]
    every = [item for path in described for item in answering["paths"][path].values()]
    names = {operation["operationId"] for operation in every}
    assert names == {"answer-churn", "ask-churn", "answer-risk", "ask-risk"}


@pytest.mark.parametrize(
    "body",
    [
        {"key": "a"},
        {"key": "old", "max_age_s": 60},
        {"key": "a", "row": ROW, "keep": True},
        {"key": 17, "row": [1.5, None], "row_as_of": "2026-01-31T00:00:00Z"},
        {"key": "b", "changes": {"amount": 2.0}},
        {"key": "a", "row": None, "changes": None, "max_age_s": None, "keep": None},
        {"keys": ["a", "none", 17], "max_age_s": 1e9},
        {"keys": []},
    ],
)
def test_body_that_asks_by_key_is_as_described_and_so_is_its_answer(
    keyed: Keyed, answering: Any, body: Any
) -> None:
    assert admits(body_schema(answering, ASK), body, answering)
    status, answer = keyed.post(body)
    assert status == 200
    assert admits(answer_schema(answering, ASK), answer, answering)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": None},
        {"key": 1.5},
        {"key": "a", "row": 5},
        {"key": "a", "row": {"amount": "x", "plan": None}},
        {"key": "b", "changes": {"amuont": 1.0}},
        {"key": "b", "changes": {"amount": "x"}},
        {"key": "a", "keep": 1},
        {"key": "a", "max_age_s": -1},
        {"key": "a", "row_as_of": 17},
        {"key": "a", "more": 1},
        {"keys": ["a"] * 4},
        {"keys": "a"},
        {"keys": ["a"], "row": None},
        {"keys": ["a"], "key": "a"},
    ],
)
def test_body_that_asks_for_nothing_is_not_as_described_and_its_refusal_is(
    keyed: Keyed, answering: Any, body: Any
) -> None:
    assert not admits(body_schema(answering, ASK), body, answering)
    status, answer = keyed.post(body)
    assert status in {413, 422}
    described = operation_of(answering, ASK)["responses"][str(status)]["$ref"]
    assert described == f"#/components/responses/{status}"
    assert admits(answering["components"]["schemas"]["Error"], answer, answering)


@pytest.mark.parametrize("key", ["a", "old", "b?max_age_s=1"])
def test_answer_to_get_by_key_is_as_described(keyed: Keyed, answering: Any, key: str) -> None:
    operation = answering["paths"][BY_KEY]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    status, answer = keyed.get(key)
    assert status == 200
    assert admits(schema, answer, answering)
    assert not admits(schema, answer | {"source": "guess"}, answering)
    parameters = answering["components"]["parameters"]
    named = [parameters[item["$ref"].rpartition("/")[2]] for item in operation["parameters"]]
    assert [(item["name"], item["in"], item["required"]) for item in named[-3:]] == [
        ("key", "path", True),
        ("max_age_s", "query", False),
        ("features", "query", False),
    ]


def test_limits_and_refusals_of_answers_by_key_are_those_of_the_settings(bench: Any) -> None:
    policy = {"risk": AnswerSettings(max_keys=7)}
    document = document_of(bench, answering=policy, api_keys="keys.toml")
    _, many = document["components"]["schemas"]["risk-ask"]["oneOf"]
    assert many["properties"]["keys"]["maxItems"] == 7
    told = {
        int(status)
        for path in ("/v1/models/risk/answers", "/v1/models/risk/answers/{key}")
        for operation in document["paths"][path].values()
        for status in operation["responses"]
    }
    assert {200, 400, 401, 403, 404, 413, 422, 429, 500, 503, 504} <= told


def test_examples_of_asking_by_key_are_as_described(answering: Any) -> None:
    content = operation_of(answering, ASK)["requestBody"]["content"]["application/json"]
    assert set(content["examples"]) == {"one", "many"}
    for example in content["examples"].values():
        assert admits(body_schema(answering, ASK), example["value"], answering)
