"""The ledger of a run."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.ledger import Finished, Identity, Started, changes, parse_ledger, render_entry
from twofold.batch.manifest import FileEntry

NOW = datetime(2026, 1, 31, tzinfo=UTC)
IDENTITY = Identity(
    run_id="night",
    model="churn@1",
    model_digest="aa",
    input_fingerprint="bb",
    key="id",
    keep=(),
    partition_rows=8,
    as_of=NOW,
)
STARTED = Started(identity=IDENTITY, registry="/r", input="/i", started_at=NOW, rows_total=None)


def finished(partition: int, first_row: int | None = None) -> Finished:
    row = partition * 8 if first_row is None else first_row
    part = FileEntry(name=f"part-{partition}", rows=8, bytes=1, sha256="cc")
    return Finished(partition=partition, first_row=row, rows_in=8, part=part, quarantine=None)


def written(*entries: Started | Finished) -> bytes:
    return b"".join(map(render_entry, entries))


def test_what_is_written_is_read() -> None:
    data = written(STARTED, finished(0), finished(1))
    ledger = parse_ledger(data)
    assert ledger.started == STARTED
    assert ledger.finished == (finished(0), finished(1))
    assert ledger.valid_bytes == len(data)


def test_a_ledger_of_before_partitions_had_times_is_read() -> None:
    [entry] = parse_ledger(written(STARTED, finished(0))).finished
    assert (entry.began_at, entry.finished_at) == (None, None)


@given(st.integers(0, 10_000), st.binary(max_size=20))
def test_line_torn_anywhere_is_as_if_it_were_never_written(at: int, tail: bytes) -> None:
    lines = [render_entry(STARTED), render_entry(finished(0)), render_entry(finished(1))]
    data = b"".join(lines)
    cut = at % len(data)
    whole = max(n for n in range(3) if cut >= sum(map(len, lines[:n])))
    ledger = parse_ledger(data[:cut] + tail.replace(b"\n", b""))
    assert ledger.valid_bytes == sum(map(len, lines[:whole]))
    assert ledger.started == (STARTED if whole else None)
    assert ledger.finished == (finished(0),)[: max(0, whole - 1)]


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_flipped_byte_is_noticed(at: int, flip: int) -> None:
    first = len(render_entry(STARTED))
    data = bytearray(written(STARTED, finished(0)))
    data[first + at % (len(data) - first)] ^= flip
    assert parse_ledger(bytes(data)).finished in ((), (finished(0),))
    assert parse_ledger(bytes(data)).started == STARTED


def test_partition_done_again_replaces_what_was_said_of_it_before() -> None:
    again = msgspec.structs.replace(
        finished(0), part=FileEntry(name="part-0", rows=8, bytes=2, sha256="dd")
    )
    assert parse_ledger(written(STARTED, finished(0), again)).finished == (again,)


def test_partitions_count_up_to_the_first_gap() -> None:
    ledger = parse_ledger(written(STARTED, finished(0), finished(2)))
    assert ledger.finished == (finished(0),)
    ledger = parse_ledger(written(STARTED, finished(0), finished(1, first_row=99)))
    assert ledger.finished == (finished(0),)


def test_ledger_that_does_not_begin_with_a_start_is_empty() -> None:
    ledger = parse_ledger(written(finished(0), STARTED))
    assert (ledger.started, ledger.finished, ledger.valid_bytes) == (None, (), 0)


def test_changes_name_what_differs_in_the_readers_words() -> None:
    now = msgspec.structs.replace(IDENTITY, model="churn@2", keep=("a", "b"), key=None)
    assert changes(IDENTITY, now) == [
        "model churn@2 (was churn@1)",
        "key column none (was id)",
        "kept columns a, b (was none)",
    ]
    assert changes(IDENTITY, IDENTITY) == []


def test_another_code_is_named_unless_the_run_is_committed() -> None:
    now = msgspec.structs.replace(IDENTITY, code="twofold 2, pyarrow 3")
    then = msgspec.structs.replace(IDENTITY, code="twofold 1, pyarrow 3")
    assert changes(then, now) == ["code twofold 2, pyarrow 3 (was twofold 1, pyarrow 3)"]
    assert changes(IDENTITY, now) == []


def test_attempt_that_does_not_say_as_of_takes_the_runs_own() -> None:
    assert changes(IDENTITY, msgspec.structs.replace(IDENTITY, as_of=None)) == []
    later = msgspec.structs.replace(IDENTITY, as_of=datetime(2026, 2, 1, tzinfo=UTC))
    assert changes(IDENTITY, later)
