"""A request is let in by its key, to the key's models, within its quota, as what it may be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from twofold.errors import QuotaExceeded
from twofold.serving.key_entries import Entry, render
from twofold.serving.keys import KeysFile
from twofold.serving.priority import Priority
from twofold.serving.quotas import Quotas
from twofold.wire.access import Access
from twofold.wire.refusal import refusal
from twofold.wire.statuses import STATUSES, WireError

NOW_UTC = datetime(2026, 7, 1, tzinfo=UTC)
NORMAL, INTERACTIVE, BACKGROUND = Priority.NORMAL, Priority.INTERACTIVE, Priority.BACKGROUND
SECRET = b"tf_secret-of-the-desk"


def admit(
    access: Access, headers: Mapping[bytes, bytes], model: str = "churn", now_s: float = 0.0
) -> Priority:
    """Do as a request does: show its key, and if nothing else is against it take from the quota."""
    priority, key = access.identify(headers, model, now_utc=NOW_UTC)
    if key is not None:
        access.take(key, now_s=now_s)
    return priority


class Door:
    """Access by a file of keys, with clocks that are moved by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_s = 100.0
        self.now_utc = NOW_UTC
        self.write()
        self.file = KeysFile(path)
        shared = memoryview(bytearray(Quotas.size_bytes(2)))
        self.quotas = [Quotas(shared, regions=2, region=region) for region in range(2)]
        self.access = Access(self.file, self.quotas[0])

    def write(self, *more: Entry) -> None:
        hashes = [
            hashlib.sha256(key).hexdigest() for key in (SECRET, b"night", b"limited", b"over")
        ]
        entries = (
            Entry("desk", (hashes[0],), INTERACTIVE),
            Entry("night", (hashes[1],), BACKGROUND, models=("churn",)),
            Entry("limited", (hashes[2],), max_requests_per_s=2.0, burst_requests=3),
            Entry("over", (hashes[3],), expires_at=NOW_UTC + timedelta(seconds=10)),
        )
        self.path.write_text("\n".join(map(render, (*entries, *more))), encoding="utf-8")

    def admit(self, key: bytes = SECRET, model: str = "churn", **headers: bytes) -> Priority:
        sent = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        if key:
            sent[b"authorization"] = b"Bearer " + key
        priority, key_found = self.access.identify(sent, model, now_utc=self.now_utc)
        assert key_found is not None
        self.access.take(key_found, now_s=self.now_s)
        return priority

    def refused(self, key: bytes = SECRET, model: str = "churn", **headers: bytes) -> WireError:
        with pytest.raises(WireError) as caught:
            self.admit(key, model, **headers)
        return caught.value


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "keys.toml")


# Without keys.


@pytest.mark.parametrize(
    ("headers", "priority"),
    [
        ({}, NORMAL),
        ({b"authorization": b"Bearer anything", b"x-api-key": b"anything"}, NORMAL),
        ({b"x-twofold-priority": b"interactive"}, INTERACTIVE),
        ({b"x-twofold-priority": b"normal"}, NORMAL),
        ({b"x-twofold-priority": b"background"}, BACKGROUND),
    ],
)
def test_without_keys_everybody_is_in_as_what_they_ask_for(
    headers: dict[bytes, bytes], priority: Priority
) -> None:
    access = Access()
    assert access.is_open
    access.renew()
    assert access.identify(headers, "churn", now_utc=NOW_UTC) == (priority, None)


def test_unknown_class_is_refused_and_the_three_are_named(door: Door) -> None:
    error = door.refused(x_twofold_priority=b"urgent")
    assert error.code == "bad_request"
    assert str(error) == (
        "X-Twofold-Priority: expected one of interactive, normal, background, "
        "got string 'urgent'. Send one of them, or leave the header out."
    )
    for word in (b"", b"Normal", b"\xff", b"normal, normal"):
        with pytest.raises(WireError, match="expected one of interactive, normal, background"):
            Access().identify({b"x-twofold-priority": word}, "churn", now_utc=NOW_UTC)


# Keys.


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer " + SECRET},
        {b"authorization": b"bearer   " + SECRET},
        {b"authorization": b"BEARER " + SECRET + b" "},
        {b"x-api-key": SECRET},
        {b"x-api-key": SECRET, b"authorization": b"Bearer of-a-gateway"},
        {b"x-api-key": SECRET, b"authorization": b"Basic dTpw"},
        {b"x-api-key": b"", b"authorization": b"Bearer " + SECRET},
    ],
)
def test_key_comes_in_either_header(door: Door, headers: dict[bytes, bytes]) -> None:
    assert not door.access.is_open
    assert admit(door.access, headers) is INTERACTIVE


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer   "},
        {b"authorization": b"Basic " + SECRET},
        {b"authorization": SECRET},
        {b"x-api-key": b""},
    ],
)
def test_request_without_a_key_is_told_how_to_send_one(
    door: Door, headers: dict[bytes, bytes]
) -> None:
    with pytest.raises(WireError) as caught:
        door.access.identify(headers, "churn", now_utc=NOW_UTC)
    assert caught.value.code == "unauthorized"
    assert str(caught.value) == (
        "authorization: expected an API key, got none. "
        "Send the header Authorization: Bearer KEY, or X-Api-Key: KEY."
    )


def test_unknown_and_ended_keys_are_refused_alike_and_never_repeated(door: Door) -> None:
    assert door.admit(b"over") is NORMAL
    door.now_utc += timedelta(seconds=10)
    errors = [door.refused(key) for key in (b"over", b"tf_guessed", b"x" * 10_000, b"\xff\r\n")]
    said = (
        "authorization: expected an API key in force, got one that isn't. "
        "Ask the server's operator for a key."
    )
    assert {(error.code, str(error)) for error in errors} == {("unauthorized", said)}


def test_answer_without_a_good_key_names_the_scheme(door: Door) -> None:
    response = refusal(door.refused(b"tf_guessed"))
    assert (response.status, response.headers) == (401, b"WWW-Authenticate: Bearer\r\n")


def test_rotation_shows_with_the_next_request(door: Door) -> None:
    extra = Entry("new", (hashlib.sha256(b"brand-new").hexdigest(),))
    assert door.refused(b"brand-new").code == "unauthorized"
    door.write(extra)
    door.access.renew()
    assert door.admit(b"brand-new") is NORMAL
    door.write()
    door.access.renew()
    assert door.refused(b"brand-new").code == "unauthorized"


def test_key_for_some_models_is_not_for_others(door: Door) -> None:
    assert door.admit(b"night", "churn") is BACKGROUND
    error = door.refused(b"night", "fraud")
    assert (error.code, STATUSES[error.code]) == ("forbidden", 403)
    assert str(error).startswith("model: expected one that this API key is for, got 'fraud'. ")
    assert door.admit(SECRET, "fraud") is INTERACTIVE


# Classes.


@pytest.mark.parametrize(
    ("key", "asked", "priority"),
    [
        (SECRET, None, INTERACTIVE),
        (SECRET, b"interactive", INTERACTIVE),
        (SECRET, b"normal", NORMAL),
        (SECRET, b"background", BACKGROUND),
        (b"limited", None, NORMAL),
        (b"limited", b"interactive", NORMAL),
        (b"limited", b"background", BACKGROUND),
        (b"night", None, BACKGROUND),
        (b"night", b"interactive", BACKGROUND),
        (b"night", b"normal", BACKGROUND),
    ],
)
def test_request_is_never_more_than_its_key_may_ask_for(
    door: Door, key: bytes, asked: bytes | None, priority: Priority
) -> None:
    headers = {} if asked is None else {"x_twofold_priority": asked}
    assert door.admit(key, **headers) is priority


# Quotas.


def over(admit: Callable[[], object]) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as caught:
        admit()
    return caught.value


def test_key_over_its_quota_is_told_when_to_come_back_and_others_are_not_touched(
    door: Door,
) -> None:
    for _ in range(3):
        door.admit(b"limited")
    error = over(lambda: door.admit(b"limited"))
    assert error.retry_after_s == pytest.approx(0.5, abs=1e-5)
    assert str(error) == (
        "quota: expected at most 2 requests/s with this API key and 3 after a rest, got more. "
        "Send it again after the seconds that Retry-After says."
    )
    response = refusal(error)
    assert (response.status, response.headers) == (429, b"Retry-After: 1\r\n")
    assert [door.admit(SECRET) for _ in range(9)] == [INTERACTIVE] * 9
    door.now_s += error.retry_after_s
    assert door.admit(b"limited") is NORMAL


def test_quota_holds_over_workers_and_over_a_change_of_the_file(door: Door) -> None:
    other = Access(KeysFile(door.path), door.quotas[1])
    for _ in range(3):
        admit(other, {b"x-api-key": b"limited"}, now_s=door.now_s)
    door.write(Entry("a-new-one", (hashlib.sha256(b"x").hexdigest(),)))
    door.access.renew()
    over(lambda: door.admit(b"limited"))


def test_request_that_is_refused_for_another_reason_costs_nothing(door: Door) -> None:
    for _ in range(5):
        door.refused(b"limited", x_twofold_priority=b"urgent")
        door.access.identify({b"x-api-key": b"limited"}, "churn", now_utc=NOW_UTC)
    for _ in range(3):
        door.admit(b"limited")
    over(lambda: door.admit(b"limited"))


def test_one_process_needs_no_quotas_of_others(door: Door) -> None:
    alone = Access(door.file)
    headers = {b"x-api-key": b"limited"}
    for _ in range(3):
        admit(alone, headers)
    over(lambda: admit(alone, headers))
