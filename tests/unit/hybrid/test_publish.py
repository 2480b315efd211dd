"""A committed run is published: written, verified, past the gates, and switched to in one step."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from twofold.errors import (
    GatesShut,
    InvalidInput,
    LeaseHeld,
    StoreUnavailable,
    TwofoldError,
)
from twofold.hybrid.publish import (
    CHECKED_PER_PART,
    CHECKED_ROWS,
    PublishState,
    PublishStep,
    PublishWatch,
    publish,
    roll_back,
)
from twofold.hybrid.settings import SnapshotSettings
from twofold.stores.embedded import EmbeddedPublication, EmbeddedStore
from twofold.stores.snapshot import Pointer, Snapshot, Stored
from twofold.stores.store import Rows

FIELDS = ("amount", "plan", "visits")
AMOUNTS = [float(number) for number in range(20)]
LIMITS = SnapshotSettings()
AS_OF = datetime.fromisoformat("2026-01-31T02:00:00+00:00")


class Crash(BaseException):
    """Stands for the end of the process: nothing in the code may catch it."""


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "churn"


def read(store: EmbeddedStore, *keys: str, features: bool = False) -> list[Stored | None]:
    reader = store.reader("churn")
    found = reader.find([key.encode() for key in keys], with_features=features).stored
    reader.close()
    return found


def predictions(store: EmbeddedStore, *keys: str) -> list[Any]:
    return [stored and stored.predictions for stored in read(store, *keys)]


def snapshots(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("0*-*")}


# ---- what is published -----------------------------------------------------------------------


def test_every_row_of_a_run_is_found_by_its_key_with_what_the_run_says_of_it(
    runs: Any, store: EmbeddedStore, now: datetime
) -> None:
    run = runs.commit(runs.table(AMOUNTS), as_of=AS_OF)
    published_at = now + timedelta(minutes=5)
    result = publish(run, store, LIMITS, watch=PublishWatch(clock=lambda: published_at))
    assert (result.state, result.snapshot.number, result.snapshot.rows) == (
        PublishState.PUBLISHED,
        1,
        20,
    )
    assert result.elapsed_s >= 0.0
    snapshot = result.snapshot
    assert re.fullmatch(r"000001-[0-9a-f]{8}", snapshot.name)
    assert (snapshot.model, snapshot.version, snapshot.digest) == ("churn", "3", "digest-3")
    assert (snapshot.run_id, snapshot.run) == ("night", f"{run.identity}-1")
    assert (snapshot.as_of, snapshot.predicted_at) == (AS_OF, now)
    assert snapshot.published_at == published_at
    assert (snapshot.outputs, snapshot.type, snapshot.features) == (("prediction",), "float64", ())
    assert not snapshot.is_forced
    assert sum(snapshot.spreads[0].rows) == 20
    assert store.pointer("churn") == Pointer(switches=1, current=snapshot)
    for number, stored in enumerate(read(store, *[f"c{number}" for number in range(20)])):
        assert stored is not None
        assert stored.predictions == (2.0 * number,)
        assert (stored.origin.as_of, stored.origin.predicted_at) == (AS_OF, now)
        assert stored.origin.run_id == "night"
    assert predictions(store, "c20", "") == [None, None]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("type_of", "predict"),
    [
        ("float64", lambda amount: [amount / 3, -amount]),
        ("float32", lambda amount: [amount / 3, float("nan")]),
        ("int64", lambda amount: [int(amount) - 5, 2**62]),
        ("bool", lambda amount: [amount > 4, amount > 10]),
        ("string", lambda amount: ["ü" if amount > 4 else "", f"{amount}"]),
    ],
)
def test_predictions_of_every_type_and_number_are_found_as_they_were(
    runs: Any, model: Any, store: EmbeddedStore, type_of: Any, predict: Any, kind: str
) -> None:
    several = model(predict, type_of, ("one", "two"))
    run = runs.commit(runs.table(AMOUNTS), model=several, format=kind)
    snapshot = publish(run, store, LIMITS).snapshot
    assert (snapshot.type, snapshot.outputs) == (type_of, ("one", "two"))
    rounded = pa.float32() if type_of == "float32" else None
    for amount, found in zip(
        AMOUNTS, predictions(store, *[f"c{number}" for number in range(20)]), strict=True
    ):
        wanted = [pa.array([value], rounded)[0].as_py() for value in predict(amount)]
        assert [str(value) for value in found] == [str(value) for value in wanted]
        assert [type(value) for value in found] == [type(value) for value in wanted]


def test_whole_number_keys_are_found_by_their_digits(runs: Any, store: EmbeddedStore) -> None:
    keys = pa.array([number - 10 for number in range(20)], pa.int64())
    publish(runs.commit(runs.table(AMOUNTS, id=keys)), store, LIMITS)
    assert predictions(store, "-10", "0", "9", "10") == [(0.0,), (20.0,), (38.0,), None]


def test_rows_in_quarantine_are_not_found(runs: Any, store: EmbeddedStore) -> None:
    amounts = [None if number in {1, 9} else float(number) for number in range(20)]
    wide = SnapshotSettings(max_quarantined_ratio=0.1)
    snapshot = publish(runs.commit(runs.table(amounts)), store, wide).snapshot
    assert snapshot.rows == 18
    assert predictions(store, "c0", "c1", "c9", "c10") == [(0.0,), None, None, (20.0,)]


def test_a_run_of_which_no_row_was_predicted_is_a_snapshot_without_keys(
    runs: Any, store: EmbeddedStore
) -> None:
    wide = SnapshotSettings(max_quarantined_ratio=1.0)
    for run_id, table in [("empty", runs.table([])), ("bad", runs.table([None] * 9))]:
        snapshot = publish(runs.commit(table, run_id=run_id), store, wide).snapshot
        assert snapshot.rows == 0
        assert predictions(store, "c0") == [None]


def test_repaired_rows_are_found_with_their_own_instant(
    runs: Any, store: EmbeddedStore, now: datetime, later: datetime
) -> None:
    amounts = [None if number in {1, 9} else float(number) for number in range(20)]
    run = runs.commit(runs.table(amounts), as_of=AS_OF)
    wide = SnapshotSettings(max_quarantined_ratio=0.1)
    first = publish(run, store, wide).snapshot
    mended = runs.mend(runs.table(AMOUNTS).take([9, 1]), [9, 1])
    second = publish(mended, store, LIMITS)
    assert second.state is PublishState.PUBLISHED
    assert second.snapshot.run != first.run
    assert (second.snapshot.rows, second.snapshot.predicted_at) == (20, now)
    found = read(store, "c0", "c1", "c9")
    assert [stored and stored.predictions for stored in found] == [(0.0,), (2.0,), (18.0,)]
    assert [stored and stored.origin.predicted_at for stored in found] == [now, later, later]
    assert {stored and stored.origin.as_of for stored in found} == {AS_OF}


@pytest.mark.parametrize("given", ["parquet", "csv"])
def test_features_lie_beside_the_predictions_if_they_are_wanted(
    runs: Any, model: Any, store: EmbeddedStore, given: str
) -> None:
    plan = pa.array([["basic", "pro"][number % 2] for number in range(20)])
    table = runs.table(AMOUNTS, plan=plan)
    run = runs.commit(table, given=given, keep=FIELDS)
    assert publish(run, store, LIMITS).snapshot.features == ()
    stored = read(store, "c3", features=True)[0]
    assert stored is not None
    assert stored.features is None
    # The same run with its features is another snapshot.
    result = publish(run, store, LIMITS, features=model.signature)
    assert result.state is PublishState.PUBLISHED
    assert result.snapshot.features == FIELDS
    wanted = table.select(FIELDS).to_pylist()
    for number, found in enumerate(
        read(store, *[f"c{number}" for number in range(20)], features=True)
    ):
        assert found is not None
        assert found.features == wanted[number]
    again = publish(run, store, LIMITS, features=model.signature)
    assert again.state is PublishState.ALREADY_PUBLISHED


def test_the_same_run_again_changes_nothing(runs: Any, store: EmbeddedStore, folder: Path) -> None:
    run = runs.commit(runs.table(AMOUNTS))
    first = publish(run, store, LIMITS)
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    steps: list[PublishStep] = []
    again = publish(run, store, LIMITS, force=True, watch=PublishWatch(step=steps.append))
    assert again.state is PublishState.ALREADY_PUBLISHED
    assert again.snapshot == first.snapshot
    assert steps == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
    assert store.pointer("churn").switches == 1


def test_a_run_that_was_published_before_the_current_one_is_published_anew(
    runs: Any, store: EmbeddedStore
) -> None:
    first = runs.commit(runs.table(AMOUNTS), run_id="first")
    second = runs.commit(runs.table(AMOUNTS), run_id="second")
    numbers = [publish(run, store, LIMITS).snapshot.number for run in [first, second, first]]
    assert numbers == [1, 2, 3]


def test_who_looks_on_is_told_each_step_and_how_many_rows_are_written(
    runs: Any, store: EmbeddedStore
) -> None:
    told: list[Any] = []
    publish(
        runs.commit(runs.table(AMOUNTS)),
        store,
        LIMITS,
        watch=PublishWatch(step=told.append, progress=told.append),
    )
    assert told == [
        PublishStep.WRITE,
        *[8, 16, 20],
        *[PublishStep.VERIFY, PublishStep.GATES, PublishStep.SWITCH, PublishStep.SWITCHED],
    ]


# ---- what is not -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good_run(new_runs: Callable[[], Any]) -> Any:
    runs = new_runs()
    return runs.commit(runs.table(AMOUNTS), run_id="good", as_of=AS_OF)


@pytest.fixture
def good(good_run: Any, store: EmbeddedStore) -> Snapshot:
    """What is current: twenty keys, of a run that all others are compared with."""
    return publish(good_run, store, LIMITS).snapshot


def assert_nothing_changed(store: EmbeddedStore, folder: Path, good: Snapshot) -> None:
    """Assert that the good snapshot is read on, and nothing else is left there."""
    assert store.pointer("churn").current == good
    assert snapshots(folder) == {item.name for item in store.pointer("churn").kept}
    assert predictions(store, "c7", "x7") == [(14.0,), None]


BAD: dict[str, Any] = {
    "min_rows_ratio": lambda runs: runs.commit(runs.table(AMOUNTS[:17])),
    "max_quarantined_ratio": lambda runs: runs.commit(runs.table([*AMOUNTS, None, None])),
    "max_prediction_psi": lambda runs: runs.commit(
        runs.table([amount - 1e6 for amount in AMOUNTS * 2], id=unique(40))
    ),
    "as_of": lambda runs: runs.commit(runs.table(AMOUNTS), as_of=AS_OF - timedelta(seconds=1)),
}


def unique(count: int) -> pa.Array:
    return pa.array([f"x{number}" for number in range(count)])


@pytest.mark.parametrize("gate", BAD)
def test_a_shut_gate_is_told_and_leaves_all_as_it_was_unless_it_is_forced(
    runs: Any, store: EmbeddedStore, folder: Path, good: Snapshot, gate: str
) -> None:
    run = BAD[gate](runs)
    steps: list[PublishStep] = []
    with pytest.raises(
        GatesShut, match=rf"^night: expected .*\({gate}\), got .*--force\.$"
    ) as shut:
        publish(run, store, LIMITS, watch=PublishWatch(step=steps.append))
    assert str(shut.value).count("expected") == 1
    assert steps[-1] is PublishStep.GATES
    assert_nothing_changed(store, folder, good)
    forced = publish(run, store, LIMITS, force=True).snapshot
    assert forced.is_forced
    assert {gate.gate for gate in forced.gates if not gate.passed} == {gate}
    assert store.pointer("churn") == Pointer(switches=2, current=forced, previous=good)


def test_every_shut_gate_is_told_at_once(
    runs: Any, store: EmbeddedStore, folder: Path, good: Snapshot
) -> None:
    run = runs.commit(runs.table([1.0, None]), as_of=AS_OF - timedelta(days=1))
    with pytest.raises(GatesShut) as caught:
        publish(run, store, LIMITS)
    for gate in ["min_rows_ratio", "max_quarantined_ratio", "as_of"]:
        assert f"({gate})" in str(caught.value)
    assert_nothing_changed(store, folder, good)


def test_a_good_run_that_is_forced_is_not_said_to_be(
    runs: Any, store: EmbeddedStore, good: Snapshot
) -> None:
    run = runs.commit(runs.table(AMOUNTS), as_of=AS_OF)
    assert not publish(run, store, LIMITS, force=True).snapshot.is_forced


def test_a_run_that_was_rolled_back_comes_again_only_if_it_is_forced(
    runs: Any, store: EmbeddedStore, folder: Path, good: Snapshot
) -> None:
    run = runs.commit(runs.table([amount + 0.25 for amount in AMOUNTS]), as_of=AS_OF)
    bad = publish(run, store, LIMITS).snapshot
    pointer = roll_back(store, "churn")
    assert pointer == store.pointer("churn")
    assert (pointer.current, pointer.previous) == (
        good,
        msgspec.structs.replace(bad, is_rolled_back=True),
    )
    with pytest.raises(GatesShut, match="rolled_back"):
        publish(run, store, LIMITS)
    assert_nothing_changed(store, folder, good)
    forced = publish(run, store, LIMITS, force=True).snapshot
    assert (forced.is_forced, forced.number) == (True, 3)


def test_where_there_is_nothing_before_there_is_no_way_back(
    store: EmbeddedStore, good: Snapshot
) -> None:
    with pytest.raises(InvalidInput, match="churn: expected a snapshot before the current one"):
        roll_back(store, "churn")
    with pytest.raises(InvalidInput, match="got none"):
        roll_back(store, "other")
    assert store.pointer("churn").current == good


@pytest.mark.parametrize("other", [19, 3])
def test_a_key_that_stands_twice_is_told_by_name(
    runs: Any, store: EmbeddedStore, folder: Path, good: Snapshot, other: int
) -> None:
    keys = [f"c{number}" for number in range(20)]
    keys[other] = "c2"
    run = runs.commit(runs.table(AMOUNTS, id=pa.array(keys)))
    says = rf"key: expected each key once, got 'c2' in rows 3 and {other + 1} of the predicted"
    with pytest.raises(InvalidInput, match=says):
        publish(run, store, LIMITS, force=True)
    assert_nothing_changed(store, folder, good)


def test_null_keys_are_refused(
    runs: Any, store: EmbeddedStore, folder: Path, good: Snapshot
) -> None:
    keys = [*[f"c{number}" for number in range(19)], None]
    run = runs.commit(runs.table(AMOUNTS, id=pa.array(keys)))
    with pytest.raises(InvalidInput, match="id: expected a key in every row"):
        publish(run, store, LIMITS, force=True)
    assert_nothing_changed(store, folder, good)


@pytest.mark.parametrize(
    ("changed", "wanted", "says"),
    [
        ({"key": None}, False, "expected a run with a key"),
        ({"format": "csv"}, False, "expected parts of Parquet or Arrow"),
        ({}, True, "expected every field among the kept columns"),
    ],
)
def test_a_run_that_cannot_be_read_by_key_is_refused_before_the_store_is_asked(
    runs: Any, model: Any, changed: dict[str, Any], wanted: bool, says: str
) -> None:
    table = runs.table(AMOUNTS)
    run = runs.commit(table.drop_columns(["id"]) if "key" in changed else table, **changed)
    features = model.signature if wanted else None
    with pytest.raises(InvalidInput, match=f"night: {says}"):
        publish(run, Broken(), LIMITS, features=features, force=True)  # type: ignore[arg-type]


class Broken:
    """A store that nobody may ask."""


def test_a_damaged_part_is_told_and_nothing_of_the_run_is_left(
    runs: Any, store: EmbeddedStore, folder: Path, good: Snapshot
) -> None:
    run = runs.commit(runs.table(AMOUNTS))
    path = run.folder / run.manifest.files[-1].name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(TwofoldError, match=r"part-000002.*the file that the manifest lists"):
        publish(run, store, LIMITS, force=True)
    assert_nothing_changed(store, folder, good)
    path.write_bytes(whole)
    assert publish(run, store, LIMITS, force=True).state is PublishState.PUBLISHED


def test_while_somebody_else_publishes_nothing_is_done(
    runs: Any, store: EmbeddedStore, folder: Path, good: Snapshot
) -> None:
    run = runs.commit(runs.table(AMOUNTS))
    with store.publishing("churn"), pytest.raises(LeaseHeld):
        publish(run, store, LIMITS)
    with store.publishing("churn"), pytest.raises(LeaseHeld):
        roll_back(store, "churn")
    assert_nothing_changed(store, folder, good)


# ---- a store that isn't what it should be ----------------------------------------------------


class Doubtful:
    """A publication into a folder that does something wrong; it notes what is discarded."""

    def __init__(self, real: EmbeddedPublication) -> None:
        self.real = real
        self.discarded: list[str] = []

    @property
    def pointer(self) -> Pointer:
        return self.real.pointer

    def write(self, snapshot: Snapshot, rows: Iterable[Rows]) -> None:
        self.real.write(snapshot, rows)

    def verify(self, snapshot: Snapshot) -> int:
        return self.real.verify(snapshot)

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        return self.real.find(snapshot, keys)

    def discard(self, snapshot: Snapshot) -> None:
        self.discarded.append(snapshot.name)
        self.real.discard(snapshot)

    def point(self, pointer: Pointer) -> None:
        self.real.point(pointer)


class LosesRow(Doubtful):
    """Loses the last row of all, and knows nothing of it."""

    def write(self, snapshot: Snapshot, rows: Iterable[Rows]) -> None:
        *first, last = list(rows)
        short = Rows(
            last.keys[:-1], tuple(c[:-1] for c in last.predictions), last.predicted_at[:-1]
        )
        self.real.write(snapshot, [*first, short])


class LosesKey(Doubtful):
    """Counts all keys, and finds one not."""

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        return [s if key != b"c7" else None for key, s in self._found(snapshot, keys)]

    def _found(
        self, snapshot: Snapshot, keys: Sequence[bytes]
    ) -> Iterable[tuple[bytes, Stored | None]]:
        return zip(keys, self.real.find(snapshot, keys), strict=True)


class Rounds(LosesKey):
    """Finds a prediction that is another in its last bit."""

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        found = []
        for key, stored in self._found(snapshot, keys):
            assert stored is not None
            bits = struct.pack("<q", struct.unpack("<q", struct.pack("<d", 14.0))[0] + 1)
            wrong = msgspec.structs.replace(stored, predictions=struct.unpack("<d", bits))
            found.append(wrong if key == b"c7" else stored)
        return found


class Misdates(LosesKey):
    """Finds a prediction of another instant."""

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        found = []
        for key, stored in self._found(snapshot, keys):
            assert stored is not None
            at = stored.origin.predicted_at + timedelta(microseconds=1)
            origin = msgspec.structs.replace(stored.origin, predicted_at=at)
            found.append(msgspec.structs.replace(stored, origin=origin) if key == b"c7" else stored)
        return found


class MixesFeatures(LosesKey):
    """Finds the features of another row."""

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        found = []
        for key, stored in self._found(snapshot, keys):
            assert stored is not None
            assert stored.features is not None
            wrong = msgspec.structs.replace(stored, features={**stored.features, "amount": 8.0})
            found.append(wrong if key == b"c7" else stored)
        return found


class LosesFeatures(LosesKey):
    """Finds no features."""

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        return [
            stored and msgspec.structs.replace(stored, features=None)
            for _, stored in self._found(snapshot, keys)
        ]


class GoesAway(Doubtful):
    """Doesn't answer any more when it is to read back, nor when it is to delete."""

    def verify(self, snapshot: Snapshot) -> int:
        raise StoreUnavailable("store: it went away")

    def discard(self, snapshot: Snapshot) -> None:
        super().discard(snapshot)
        raise StoreUnavailable("store: it is still away")


@dataclasses.dataclass
class DoubtfulStore:
    """A store with such publications."""

    real: EmbeddedStore
    kind: type[Doubtful]
    made: list[Doubtful] = dataclasses.field(default_factory=list)

    @contextmanager
    def publishing(self, model: str) -> Generator[Doubtful]:
        with self.real.publishing(model) as publication:
            self.made.append(self.kind(publication))
            yield self.made[-1]

    def pointer(self, model: str) -> Pointer:
        return self.real.pointer(model)

    def reader(self, model: str) -> Any:
        return self.real.reader(model)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (LosesRow, r"night: expected 20 keys, got 19\. Nothing was switched"),
        (LosesKey, r"night: key 'c7': expected \(14\.0,\), got nothing\. Nothing was switched"),
        (Rounds, r"key 'c7': expected \(14\.0,\), got \(14\.000000000000002,\)"),
        (Misdates, "key 'c7': expected"),
        (MixesFeatures, "key 'c7': expected"),
        (LosesFeatures, "key 'c[0-9]+': expected"),
        (GoesAway, "store: it went away"),
    ],
)
def test_what_is_not_as_it_was_written_is_not_switched_to_and_is_discarded(
    runs: Any,
    model: Any,
    store: EmbeddedStore,
    folder: Path,
    good: Snapshot,
    kind: type[Doubtful],
    says: str,
) -> None:
    run = runs.commit(runs.table(AMOUNTS), as_of=AS_OF, keep=FIELDS)
    doubtful = DoubtfulStore(store, kind)
    features = model.signature if kind in {MixesFeatures, LosesFeatures} else None
    with pytest.raises(TwofoldError, match=says):
        publish(run, doubtful, LIMITS, features=features, force=True)
    (made,) = doubtful.made
    assert len(made.discarded) == 1
    assert_nothing_changed(store, folder, good)
    honest = DoubtfulStore(store, Doubtful)
    assert publish(run, honest, LIMITS, features=features).state is PublishState.PUBLISHED
    assert honest.made[0].discarded == []


def test_rows_of_every_part_are_read_back_and_not_too_many_of_one(
    runs: Any, store: EmbeddedStore
) -> None:
    asked: list[bytes] = []

    class Notes(Doubtful):
        def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
            asked.extend(keys)
            return super().find(snapshot, keys)

    publish(runs.commit(runs.table(AMOUNTS)), DoubtfulStore(store, Notes), LIMITS)
    assert sorted(asked) == sorted(b"c%d" % number for number in range(20))
    assert 8 <= CHECKED_PER_PART < CHECKED_ROWS


# ---- a publisher that dies -------------------------------------------------------------------


@pytest.mark.parametrize("step", [*PublishStep])
def test_a_publisher_that_dies_at_a_step_leaves_one_snapshot_or_the_other_and_may_try_again(
    runs: Any, store: EmbeddedStore, folder: Path, good: Snapshot, step: PublishStep
) -> None:
    def die(at: PublishStep) -> None:
        if at is step:
            raise Crash

    keys = pa.array([f"x{number}" for number in range(20)])
    run = runs.commit(runs.table(AMOUNTS, id=keys), as_of=AS_OF)
    reader = store.reader("churn")
    assert reader.find_one(b"c7") is not None
    with pytest.raises(Crash):
        publish(run, store, LIMITS, watch=PublishWatch(step=die))
    is_switched = step is PublishStep.SWITCHED
    assert (reader.find_one(b"x7") is not None) == is_switched
    assert (reader.find_one(b"c7") is None) == is_switched
    result = publish(run, store, LIMITS)
    wanted = PublishState.ALREADY_PUBLISHED if is_switched else PublishState.PUBLISHED
    assert (result.state, result.snapshot.number) == (wanted, 2)
    assert reader.find_one(b"x7") is not None
    assert snapshots(folder) == {good.name, result.snapshot.name}
    reader.close()


def test_another_models_predictions_are_not_compared_by_other_outputs(
    runs: Any, model: Any, store: EmbeddedStore, good: Snapshot
) -> None:
    several = model(lambda amount: [amount + 1e9] * 2, names=("yes", "no"), version="4")
    run = runs.commit(runs.table(AMOUNTS), model=several, as_of=AS_OF)
    gates = publish(run, store, LIMITS).snapshot.gates
    assert "max_prediction_psi" not in {gate.gate for gate in gates}
