"""One infer request: who may ask, whether it comes in time, where it is predicted, what is counted.

The lanes are fakes that keep what they are given, so that a test says when it is answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from callers import Waiter

from twofold.errors import DeadlineExceeded, Overloaded, PredictionFailed, TwofoldError
from twofold.serving.admission import GUARD_S, SHARES
from twofold.serving.cost import Cost, Curve
from twofold.serving.key_entries import Entry, render
from twofold.serving.keys import KeysFile
from twofold.serving.mailbox import Job, Result
from twofold.serving.metrics import ROWS
from twofold.serving.priority import Priority
from twofold.serving.service import Served
from twofold.serving.settings import ServeSettings
from twofold.serving.together import predict_together
from twofold.serving.turn import Turn
from twofold.serving.waiting import Task
from twofold.wire.access import Access
from twofold.wire.http import DEFAULT, Request, Response
from twofold.wire.infer import LARGE_BYTES, Infer
from twofold.wire.protocols import Protocol, readers
from twofold.wire.refusal import refusal

ROW = {"row": [1.5, None]}
EXPECTED_S = 0.005


@dataclass
class Lane:
    """Admits all but what it is told to refuse, and keeps what it is given."""

    refuses: TwofoldError | None = None
    is_ready: bool = True
    admitted: list[tuple[int, Priority, float, float]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)

    gate: Any = None

    def rows_of(self, size_bytes: int) -> int:
        return max(1, size_bytes // 1_000)

    def shut_until_s(self, error: Exception) -> None:
        """Say that no refusal holds for others."""

    def admit(self, rows: int, priority: Priority, deadline_s: float, now_s: float) -> float:
        if self.refuses is not None:
            raise self.refuses
        self.admitted.append((rows, priority, deadline_s, now_s))
        return EXPECTED_S

    def submit(self, task: Task) -> None:
        self.tasks.append(task)


@dataclass
class Answer:
    """What became of a request: its answer, or who waits for it."""

    response: Response | None
    waiter: Waiter

    @property
    def given(self) -> Response:
        """The one answer, whenever it came."""
        [response] = [*self.waiter.answers, *([self.response] if self.response else [])]
        return response

    @property
    def status(self) -> int:
        return self.given.status

    @property
    def body(self) -> Any:
        return msgspec.json.decode(self.given.body)


class Desk:
    """One handler over the bench's model `churn`, and its callers."""

    def __init__(
        self,
        bench: Any,
        *,
        turn: Any = None,
        apart: Any = None,
        here: bool = True,
        quick: Callable[[Any], float | None] | None = None,
        protocol: Protocol = Protocol.V1,
        access: Access | None = None,
        **limits: Any,
    ) -> None:
        churn = bench.service.find("churn")
        self.bench = bench
        self.turn, self.apart = turn, apart
        model = churn.model if here else None
        if quick is not None:
            model.quick = quick
        self.served = Served(churn.record, bench.metrics, model=model, turn=turn, apart=apart)
        settings = ServeSettings(max_rows=3, **limits)
        reader = readers(self.served, max_rows=3)[protocol]
        self.infer = Infer(
            bench.service, self.served, reader, protocol, access or Access(), settings
        )

    def ask(
        self,
        body: Any = ROW,
        headers: Mapping[bytes, bytes] | None = None,
        *,
        ago_s: float = 0.0,
    ) -> Answer:
        """Ask as `Routes` does: what is raised is refused."""
        text = body if isinstance(body, bytes) else msgspec.json.encode(body)
        received_s = self.bench.now_s - ago_s
        request = Request(b"POST", b"/", dict(headers or {}), text, DEFAULT, received_s)
        waiter = Waiter()
        try:
            return Answer(self.infer(request, waiter), waiter)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            return Answer(refusal(error), waiter)

    def gate(self, headers: Mapping[bytes, bytes], *, ago_s: float = 0.0) -> None:
        self.infer.gate(dict(headers), self.bench.now_s - ago_s)

    def outcomes(self) -> dict[str, float]:
        return self.bench.outcomes()

    @property
    def rows(self) -> float:
        """How many rows were counted as predicted."""
        metrics = self.bench.metrics
        counts = {labels: v[0] for family, labels, v in metrics.totals() if family.name == ROWS}
        return counts["churn", "3"]


def large(size: int) -> bytes:
    """Make a body of exactly this size that has one row."""
    text = msgspec.json.encode(ROW)
    return text + b" " * (size - len(text))


def result_of(response: Response, outcome: str = "ok", rows: int = 1) -> Result:
    return Result(outcome, rows, msgspec.msgpack.encode(response))


# ---- where it is predicted ----------------------------------------------------------------


def test_cheap_model_answers_at_once(bench: Any) -> None:
    desk = Desk(bench)
    answer = desk.ask()
    assert answer.response is not None
    assert (answer.status, answer.body["prediction"]) == (200, 3.0)
    assert (desk.outcomes(), desk.rows) == ({"ok": 1}, 1)


def test_plain_row_goes_the_models_quick_way_and_all_else_the_long_one(bench: Any) -> None:
    quickly: list[Any] = []

    def quick(row: Any) -> float | None:
        quickly.append(row)
        return None if row == [7.0, None] else 0.25

    desk = Desk(bench, quick=quick)
    assert desk.ask({"row": [1.5, None]}).body["prediction"] == 0.25
    assert desk.ask({"row": [7.0, None]}).body["prediction"] == 14.0, "it was not plain enough"
    assert desk.ask({"rows": [[1.5, None]]}).body["predictions"] == [3.0]
    assert quickly == [[1.5, None], [7.0, None]]
    assert (desk.outcomes(), desk.rows) == ({"ok": 3}, 3)


def test_quick_way_is_for_models_that_wait_for_no_turn(bench: Any) -> None:
    desk = Desk(bench, turn=Lane(), quick=lambda _: 0.25)
    assert desk.ask().response is None
    assert len(desk.turn.tasks) == 1


def test_model_that_is_predicted_turn_by_turn_is_given_checked_rows(bench: Any) -> None:
    desk = Desk(bench, turn=Lane())
    answer = desk.ask({"rows": [{"plan": "pro", "amount": 1}, [2.0, None]]}, ago_s=0.25)
    [task] = desk.turn.tasks
    assert answer.response is None
    assert answer.waiter.task is task
    assert (task.work, task.rows) == ([[1.0, "pro"], [2.0, None]], 2)
    assert (task.deadline_s, task.priority) == (bench.now_s - 0.25 + 1.0, Priority.NORMAL)
    assert (task.admitted_s, task.expected_s) == (bench.now_s, EXPECTED_S)
    assert desk.turn.admitted == [(1, Priority.NORMAL, task.deadline_s, bench.now_s)]
    assert desk.outcomes() == {}
    task.end([[2.0, 4.0]])
    assert (answer.status, answer.body["predictions"]) == (200, [2.0, 4.0])
    assert (desk.outcomes(), desk.rows) == ({"ok": 1}, 2)


def test_request_whose_rows_are_wrong_never_waits_for_a_turn(bench: Any) -> None:
    desk = Desk(bench, turn=Lane())
    assert desk.ask({"row": ["x", None]}).status == 422
    assert (desk.turn.tasks, desk.outcomes()) == ([], {"invalid": 1})


@pytest.mark.parametrize("protocol", Protocol)
def test_model_in_a_process_of_its_own_is_sent_the_body_as_it_came(
    bench: Any, protocol: Protocol
) -> None:
    desk = Desk(bench, apart=Lane(), here=False, protocol=protocol)
    headers = {
        b"host": b"x",
        b"authorization": b"Bearer secret",
        b"content-type": b"application/octet-stream",
        b"content-encoding": b"br",
        b"accept": b"text/csv",
        b"inference-header-content-length": b"9",
    }
    answer = desk.ask(b"not even looked at", headers)
    [task] = desk.apart.tasks
    assert answer.response is None
    assert answer.waiter.task is task
    sent = {name: headers[name] for name in list(headers)[2:]}
    assert task.work == Job(protocol, sent, b"not even looked at", bench.now_s + 1.0)
    assert desk.outcomes() == {}
    response = Response(200, b"[1]", b"text/csv", b"X-One: 1\r\n")
    task.end(result_of(response, rows=7))
    assert answer.given == response
    assert (desk.outcomes(), desk.rows) == ({"ok": 1}, 7)


def test_large_body_is_sent_to_the_models_own_process_and_a_smaller_one_is_not(bench: Any) -> None:
    desk = Desk(bench, apart=Lane(), quick=lambda _: 0.25)
    assert desk.ask(large(LARGE_BYTES)).body["prediction"] == 0.25
    assert desk.apart.tasks == []
    assert desk.ask(large(LARGE_BYTES + 1)).response is None
    [task] = desk.apart.tasks
    assert task.rows == (LARGE_BYTES + 1) // 1_000
    assert desk.apart.admitted == [(task.rows, Priority.NORMAL, task.deadline_s, bench.now_s)]


def test_large_body_goes_to_the_own_process_of_a_model_with_turns_too(bench: Any) -> None:
    desk = Desk(bench, turn=Lane(), apart=Lane())
    desk.ask(large(LARGE_BYTES + 1))
    assert (len(desk.turn.tasks), len(desk.apart.tasks)) == (0, 1)
    desk.ask(large(LARGE_BYTES))
    assert (len(desk.turn.tasks), len(desk.apart.tasks)) == (1, 1)


def test_more_rows_than_the_loop_can_bear_go_to_the_models_own_process(bench: Any) -> None:
    desk = Desk(bench, apart=Lane())
    desk.served.rows_here = 1
    assert desk.ask({"rows": [[1.0, "pro"]]}).body["predictions"] == [2.0]
    assert desk.ask({"rows": [[1.0, "pro"]] * 2}).response is None
    [task] = desk.apart.tasks
    assert desk.apart.admitted == [(2, Priority.NORMAL, task.deadline_s, bench.now_s)]


def test_large_body_is_predicted_here_where_there_is_no_other_process(bench: Any) -> None:
    assert Desk(bench).ask(large(LARGE_BYTES + 1)).body["prediction"] == 3.0


def test_requests_that_come_in_one_turn_are_predicted_together_and_fail_alone(bench: Any) -> None:
    soon: list[Callable[[], None]] = []
    sizes: list[int] = []

    def predict(rows: Any) -> Any:
        sizes.append(len(rows))
        return bench.service.find("churn").predict(rows)

    turn = Turn(
        lambda groups: predict_together(groups, predict),
        soon.append,
        cost=Cost(Curve(0.001, 0.000001), now_s=bench.now_s),
        max_rows=100,
        max_tasks=100,
        clock=lambda: bench.now_s,
        lag_s=lambda _: 0.0,
    )
    desk = Desk(bench, turn=turn)
    amounts = (1.0, 666.0, 3.0, 4.0)
    answers = [desk.ask({"row": [amount, None]}) for amount in amounts]
    none = desk.ask({"rows": []})
    assert len(soon) == 1
    soon.pop()()
    assert sizes[0] == 4
    assert [answer.status for answer in answers] == [200, 500, 200, 200]
    assert [a.body["prediction"] for a in answers if a.status == 200] == [2.0, 6.0, 8.0]
    assert none.body["predictions"] == []
    assert desk.outcomes() == {"ok": 4, "failed": 1}


def test_answer_that_cannot_be_made_costs_the_others_of_its_turn_nothing(bench: Any) -> None:
    desk = Desk(bench, turn=Lane())
    answers = [desk.ask() for _ in range(2)]
    broken, whole = desk.turn.tasks
    broken.end([[]])  # a model that gave too few predictions
    whole.end([[3.0]])
    assert [answer.status for answer in answers] == [500, 200]
    assert desk.outcomes() == {"failed": 1, "ok": 1}


def test_request_without_rows_has_an_answer_without_predictions(bench: Any) -> None:
    answer = Desk(bench).ask({"rows": []})
    assert (answer.status, answer.body["predictions"]) == (200, [])


# ---- whether it comes in time -------------------------------------------------------------


LANES = {
    "direct": dict,
    "turn": lambda: {"turn": Lane()},
    "apart": lambda: {"apart": Lane(), "here": False},
}


@pytest.fixture(params=LANES)
def lanes(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The lanes of each kind of model."""
    return LANES[request.param]()


@pytest.mark.parametrize(
    "text", [b"0", b"0.000", b"1e-999", b"-1", b"x", b"", b"nan", b"1e3", b" 5", b"5, 6"]
)
def test_deadline_that_is_no_positive_number_is_refused(
    bench: Any, lanes: dict[str, Any], text: bytes
) -> None:
    desk = Desk(bench, **lanes)
    answer = desk.ask(headers={b"x-twofold-deadline-ms": text})
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert answer.body["error"].startswith("X-Twofold-Deadline-Ms: expected a positive number")
    assert desk.outcomes() == {"invalid": 1}
    assert not any(lane.tasks for lane in lanes.values() if isinstance(lane, Lane))


@pytest.mark.parametrize(
    ("text", "allowed_s"),
    [
        (None, 1.0),
        (b"250", 0.25),
        (b"0.5", 0.0005),
        (b"600000", 600.0),
        (b"999999999", 3_600.0),
        (b"247.38291700044647", 0.24738291700044647),
        (b"25e-1", 0.0025),
    ],
)
def test_deadline_counts_from_the_first_byte(
    bench: Any, text: bytes | None, allowed_s: float
) -> None:
    headers = {} if text is None else {b"x-twofold-deadline-ms": text}
    for lanes in (LANES["turn"](), LANES["apart"]()):
        desk = Desk(bench, **lanes)
        desk.ask(headers=headers, ago_s=0.5 * allowed_s)
        [lane] = [lane for lane in (desk.turn, desk.apart) if lane]
        [task] = lane.tasks
        expected_s = bench.now_s + 0.5 * allowed_s
        assert task.deadline_s == pytest.approx(expected_s, abs=1e-9)
        assert lane.admitted[0][2] == task.deadline_s
        assert desk.ask(headers=headers, ago_s=1.01 * allowed_s).status == 504
        assert len(lane.tasks) == 1
    desk = Desk(bench)
    assert desk.ask(headers=headers, ago_s=0.99 * allowed_s).status == 200
    late = desk.ask(headers=headers, ago_s=1.01 * allowed_s)
    assert (late.status, late.body["code"]) == (504, "deadline_exceeded")
    assert ": expected " in late.body["error"]


def test_loop_that_is_too_late_for_a_deadline_refuses_it(bench: Any) -> None:
    bench.lag_s = 0.3
    desk = Desk(bench)
    answer = desk.ask(headers={b"x-twofold-deadline-ms": b"250"})
    assert (answer.status, answer.body["code"]) == (503, "overloaded")
    assert b"Retry-After: " in answer.given.headers
    assert desk.ask(headers={b"x-twofold-deadline-ms": b"800"}).status == 200
    assert desk.ask().status == 200
    assert Desk(bench, deadline_s=0.2).ask().status == 503
    assert desk.outcomes() == {"ok": 2, "refused": 2}


@pytest.mark.parametrize(("chance", "status"), [(0.74, 503), (0.76, 200)])
def test_share_that_is_refused_grows_with_the_lag(
    bench: Any, monkeypatch: pytest.MonkeyPatch, chance: float, status: int
) -> None:
    monkeypatch.setattr("twofold.wire.infer.random", lambda: chance)
    most_s = SHARES[Priority.NORMAL] * 1.0 - GUARD_S
    bench.lag_s = most_s * (1 + 0.75) / 2
    assert Desk(bench).ask().status == status


def test_request_that_its_lane_refuses_is_told_when_to_come_back(bench: Any) -> None:
    refuses = Overloaded("server: expected less, got more. Try again later.", retry_after_s=7)
    for lanes in ({"turn": Lane(refuses)}, {"apart": Lane(refuses), "here": False}):
        desk = Desk(bench, **lanes)
        answer = desk.ask()
        assert (answer.status, answer.given.headers) == (503, b"Retry-After: 7\r\n")
        assert answer.body["error"] == str(refuses)
    assert bench.outcomes() == {"refused": 2}


def test_what_came_before_the_draining_is_answered_and_nothing_after(
    bench: Any, lanes: dict[str, Any]
) -> None:
    desk = Desk(bench, **lanes)
    bench.now_s += 0.5
    bench.service.drain()
    bench.now_s += 0.25
    before = desk.ask(ago_s=0.5)
    assert before.response is None or before.status == 200
    after = desk.ask(ago_s=0.125)
    assert (after.status, after.body["code"]) == (503, "draining")
    assert b"Retry-After: 1\r\n" in after.given.headers


# ---- who asks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "priority"),
    [
        (None, Priority.NORMAL),
        (b"interactive", Priority.INTERACTIVE),
        (b"normal", Priority.NORMAL),
        (b"background", Priority.BACKGROUND),
    ],
)
def test_priority_of_the_header_is_that_of_the_task(
    bench: Any, word: bytes | None, priority: Priority
) -> None:
    headers = {} if word is None else {b"x-twofold-priority": word}
    for lanes in (LANES["turn"](), LANES["apart"]()):
        desk = Desk(bench, **lanes)
        desk.ask(headers=headers)
        [lane] = [lane for lane in (desk.turn, desk.apart) if lane]
        assert [task.priority for task in lane.tasks] == [priority]
        assert [admitted[1] for admitted in lane.admitted] == [priority]


def test_priority_that_is_none_is_refused_whatever_the_lane(
    bench: Any, lanes: dict[str, Any]
) -> None:
    answer = Desk(bench, **lanes).ask(headers={b"x-twofold-priority": b"urgent"})
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert "got string 'urgent'" in answer.body["error"]


@pytest.fixture
def access(tmp_path: Path) -> Access:
    """Three keys: `desk` for all models, `other` for another one, `limited` to two requests."""
    hashes = [hashlib.sha256(name).hexdigest() for name in (b"desk", b"other", b"limited")]
    entries = (
        Entry("desk", (hashes[0],), Priority.INTERACTIVE),
        Entry("other", (hashes[1],), models=("fraud",)),
        Entry("limited", (hashes[2],), max_requests_per_s=1.0, burst_requests=2),
    )
    path = tmp_path / "keys.toml"
    path.write_text("\n".join(map(render, entries)), encoding="utf-8")
    path.chmod(0o600)
    return Access(KeysFile(path))


def key(name: bytes) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + name}


def test_request_needs_a_key_where_there_are_any(
    bench: Any, access: Access, lanes: dict[str, Any]
) -> None:
    desk = Desk(bench, access=access, **lanes)
    for headers in ({}, key(b"guessed")):
        answer = desk.ask(headers=headers)
        assert (answer.status, answer.body["code"]) == (401, "unauthorized")
        assert b"WWW-Authenticate: Bearer\r\n" in answer.given.headers
    forbidden = desk.ask(headers=key(b"other"))
    assert (forbidden.status, forbidden.body["code"]) == (403, "forbidden")
    assert desk.outcomes() == {"invalid": 3}
    answer = desk.ask(headers=key(b"desk"))
    assert answer.response is None or answer.status == 200


def test_key_decides_how_important_a_request_may_be(bench: Any, access: Access) -> None:
    desk = Desk(bench, turn=Lane(), access=access)
    desk.ask(headers=key(b"desk"))
    desk.ask(headers=key(b"limited") | {b"x-twofold-priority": b"interactive"})
    assert [task.priority for task in desk.turn.tasks] == [Priority.INTERACTIVE, Priority.NORMAL]


def test_key_over_its_quota_is_refused_until_there_is_room(
    bench: Any, access: Access, lanes: dict[str, Any]
) -> None:
    desk = Desk(bench, access=access, **lanes)
    answers = [desk.ask(headers=key(b"limited")) for _ in range(3)]
    assert [answer.response is None or answer.status == 200 for answer in answers[:2]] == [True] * 2
    assert (answers[2].status, answers[2].body["code"]) == (429, "quota_exceeded")
    assert b"Retry-After: 1\r\n" in answers[2].given.headers
    assert desk.outcomes()["refused"] == 1
    bench.now_s += 1.01
    again = desk.ask(headers=key(b"limited"))
    assert again.response is None or again.status == 200


def test_request_takes_from_the_quota_once_though_it_is_asked_for_twice(
    bench: Any, access: Access
) -> None:
    desk = Desk(bench, access=access)
    for _ in range(2):
        for _ in range(5):
            desk.gate(key(b"limited") | {b"content-length": b"20000"})
        assert desk.ask(headers=key(b"limited")).status == 200
    assert desk.ask(headers=key(b"limited")).status == 429


def test_request_that_its_lane_refuses_takes_nothing_from_the_quota(
    bench: Any, access: Access
) -> None:
    turn = Lane(Overloaded("server: expected less, got more. Wait.", retry_after_s=1))
    desk = Desk(bench, turn=turn, access=access)
    for _ in range(5):
        assert desk.ask(headers=key(b"limited")).status == 503
    turn.refuses = None
    assert [desk.ask(headers=key(b"limited")).response for _ in range(2)] == [None, None]
    assert desk.ask(headers=key(b"limited")).status == 429


# ---- the gate -----------------------------------------------------------------------------


def test_gate_refuses_what_the_whole_request_would_be_refused_for(
    bench: Any, access: Access
) -> None:
    desk = Desk(bench, access=access)
    for headers, words in (
        ({}, "authorization: expected an API key"),
        (key(b"other"), "model: expected one that this API key is for"),
        (key(b"desk") | {b"x-twofold-deadline-ms": b"0"}, "X-Twofold-Deadline-Ms: expected"),
        (key(b"desk") | {b"x-twofold-priority": b"urgent"}, "X-Twofold-Priority: expected"),
    ):
        with pytest.raises(TwofoldError, match=words):
            desk.gate(headers)
    with pytest.raises(DeadlineExceeded, match="deadline: expected"):
        desk.gate(key(b"desk"), ago_s=1.1)
    assert desk.outcomes() == {"invalid": 4, "late": 1}
    desk.gate(key(b"desk"))
    assert desk.outcomes() == {"invalid": 4, "late": 1}


def test_gate_asks_the_lane_that_a_body_of_that_length_would_go_to(bench: Any) -> None:
    refuses = Overloaded("server: expected less, got more. Wait.", retry_after_s=1)
    desk = Desk(bench, turn=Lane(), apart=Lane(refuses))
    desk.gate({b"content-length": b"%d" % LARGE_BYTES})
    assert len(desk.turn.admitted) == 1
    with pytest.raises(Overloaded):
        desk.gate({b"content-length": b"%d" % (LARGE_BYTES + 1)})
    assert desk.outcomes() == {"refused": 1}


def test_gate_lets_the_body_in_of_a_request_that_began_before_the_draining(bench: Any) -> None:
    desk = Desk(bench)
    bench.now_s += 0.5
    bench.service.drain()
    bench.now_s += 0.25
    desk.gate({b"content-length": b"20000"}, ago_s=0.5)
    with pytest.raises(TwofoldError, match="got told to stop"):
        desk.gate({b"content-length": b"20000"})


# ---- how it ends --------------------------------------------------------------------------


def test_every_way_to_end_at_once_is_counted_once(bench: Any) -> None:
    desk = Desk(bench)
    for status, asked in (
        (200, {}),
        (400, {"body": b"{"}),
        (422, {"body": b"{}"}),
        (413, {"body": {"rows": [1, 2, 3, 4]}}),
        (415, {"headers": {b"content-encoding": b"gzip"}}),
        (500, {"body": {"row": [666.0, None]}}),
        (500, {"body": {"row": [-666.0, None]}}),
        (504, {"ago_s": 1.1}),
    ):
        answer = desk.ask(**asked)
        assert answer.status == status
        assert status == 200 or {"error", "code"} <= answer.body.keys()
    assert desk.outcomes() == {"ok": 1, "invalid": 4, "failed": 2, "late": 1}
    assert desk.rows == 1


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        (DeadlineExceeded("deadline: expected more, got less. Wait."), 504, "late"),
        (Overloaded("server: expected less, got more. Wait.", retry_after_s=1), 503, "refused"),
        (PredictionFailed("secret of the model"), 500, "failed"),
        (MemoryError("secret of the server"), 500, "failed"),
    ],
)
def test_every_way_to_end_later_is_counted_once(
    bench: Any, error: Exception, status: int, outcome: str
) -> None:
    for number, lanes in enumerate((LANES["turn"](), LANES["apart"]()), 1):
        desk = Desk(bench, **lanes)
        answer = desk.ask()
        [lane] = [lane for lane in (desk.turn, desk.apart) if lane]
        [task] = lane.tasks
        task.end(error)
        task.end(error)
        assert answer.status == status
        assert {"error", "code"} <= answer.body.keys()
        assert "secret" not in answer.body["error"]
        assert desk.outcomes() == {outcome: number}
    assert desk.rows == 0


def test_ending_that_the_other_process_tells_is_counted_as_told(bench: Any) -> None:
    desk = Desk(bench, apart=Lane(), here=False)
    response = Response(422, b'{"error":"x","code":"invalid_input"}')
    for outcome in ("invalid", "late", "failed", "refused"):
        answer = desk.ask()
        desk.apart.tasks.pop().end(result_of(response, outcome, rows=0))
        assert answer.given == response
    assert desk.outcomes() == {"invalid": 1, "late": 1, "failed": 1, "refused": 1}
    assert desk.rows == 0


def test_caller_that_has_gone_is_told_nothing(bench: Any) -> None:
    for lanes in (LANES["turn"](), LANES["apart"]()):
        desk = Desk(bench, **lanes)
        answer = desk.ask()
        task = answer.waiter.task
        assert task is not None
        task.gone = True
        task.end(PredictionFailed("nobody cares"))
        assert answer.waiter.answers == []
    assert "ok" not in bench.outcomes()


# ---- how long it took ---------------------------------------------------------------------


def stages_of(response: Response) -> dict[str, float]:
    """Read the Server-Timing header: milliseconds by stage."""
    [line] = [x for x in response.headers.splitlines() if x.startswith(b"Server-Timing: ")]
    parts = line.removeprefix(b"Server-Timing: ").decode().split(", ")
    return {name: float(dur) for name, dur in (part.split(";dur=") for part in parts)}


def test_stages_are_told_to_who_asks_for_them(bench: Any) -> None:
    timing = {b"x-twofold-timing": b"1"}
    assert stages_of(Desk(bench).ask(headers=timing, ago_s=0.5).given) == {
        "parse": 500.0,
        "queue": 0.0,
        "predict": 0.0,
        "encode": 0.0,
        "total": 500.0,
    }
    for lanes in (LANES["turn"](), LANES["apart"]()):
        desk = Desk(bench, **lanes)
        answer = desk.ask(headers=timing, ago_s=0.5)
        [lane] = [lane for lane in (desk.turn, desk.apart) if lane]
        [task] = lane.tasks
        task.started_s, task.predict_s = bench.now_s + 0.25, 0.125
        bench.now_s += 0.5
        own = Response(200, b"{}", headers=b"X-One: 1\r\n")
        task.end([[3.0]] if desk.turn else result_of(own))
        assert stages_of(answer.given) == {
            "parse": 500.0,
            "queue": 250.0,
            "predict": 125.0,
            "encode": 125.0,
            "total": 1000.0,
        }
        assert desk.turn or answer.given.headers.startswith(b"X-One: 1\r\nServer-Timing: ")


def test_stages_are_told_to_nobody_else(bench: Any, lanes: dict[str, Any]) -> None:
    desk = Desk(bench, **lanes)
    answer = desk.ask()
    for lane in (desk.turn, desk.apart):
        for task in lane.tasks if lane else ():
            task.end([[3.0]] if desk.turn else result_of(Response(200, b"{}")))
    assert b"Server-Timing" not in answer.given.headers
