"""The store in a folder: whatever happens to a publisher, one whole snapshot is read."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from published import live_of, publish_rows, rows_of, small_files, snapshot_of

from twofold.errors import (
    CommitUnknown,
    InvalidInput,
    LeaseHeld,
    StoreUnavailable,
)
from twofold.hybrid.publish import roll_back
from twofold.stores import embedded, files
from twofold.stores.embedded import (
    ATTEMPTS,
    EmbeddedPublication,
    EmbeddedReader,
    EmbeddedStore,
    read_pointer,
)
from twofold.stores.snapshot import Pointer, Snapshot, rolled_back, switched
from twofold.stores.words import Words

KEYS = [b"a", b"b", b"c"]


class Crash(BaseException):
    """Stands for the end of the process: nothing in the code may catch it."""


class Bench:
    """A store, and the snapshots that are published to it: that of number n says n for each key."""

    def __init__(self, folder: Path) -> None:
        self.store = EmbeddedStore(folder / "store")
        self.folder = folder / "store" / "churn"
        self.readers: list[EmbeddedReader] = []

    def publish(self, number: float, **facts: Any) -> Snapshot:
        return publish_rows(self.store, [rows_of(KEYS, [float(number)] * 3)], **facts)

    def reader(self) -> EmbeddedReader:
        reader = self.store.reader("churn")
        self.readers.append(reader)
        return reader

    def read(self, reader: EmbeddedReader | None = None) -> float | None:
        """What a reader has for all keys, whichever way it is asked; or one that comes just now."""
        reader = reader or self.reader()
        found = reader.find(KEYS)
        values = {stored and stored.predictions[0] for stored in found.stored}
        (value,) = values | {
            stored and stored.predictions[0] for stored in map(reader.find_one, KEYS)
        }
        assert (found.snapshot is None) == (value is None)
        return value

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def snapshots(self) -> set[int]:
        return {int(name[:6]) for name in self.names() if name[:6].isdigit()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for reader in made.readers:
        reader.close()


# ---- reading ---------------------------------------------------------------------------------


def test_before_anything_is_published_no_key_is_known_and_nothing_is_made(bench: Bench) -> None:
    reader = bench.reader()
    assert bench.read(reader) is None
    assert reader.switches == -1
    assert not reader.keep(b"a", live_of(), snapshot_of())
    assert bench.store.pointer("churn") == Pointer()
    assert not bench.folder.parent.exists()
    bench.publish(1)
    assert (bench.read(reader), reader.switches) == (1.0, 1)


def test_a_reader_sees_a_switch_at_once_and_without_asking_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = bench.reader()
    for number in range(1, 6):
        bench.publish(number)
        assert bench.read(reader) == bench.read() == number
    opened: list[Any] = []
    monkeypatch.setattr(embedded, "read_pointer", opened.append)
    monkeypatch.setattr(os, "open", lambda *_: opened.append(_))
    for _ in range(3):
        assert bench.read(reader) == 5.0
    assert opened == []


def test_keys_that_are_looked_up_together_are_answered_from_one_snapshot(bench: Bench) -> None:
    class Keys(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            for place, key in enumerate(KEYS):
                if place == 1:
                    bench.publish(2)
                    bench.publish(3)  # deletes what is being read
                yield key

    bench.publish(1)
    reader = bench.reader()
    found = reader.find(Keys(KEYS))
    assert found.snapshot is not None
    assert found.snapshot.number == 1
    assert [stored and stored.predictions for stored in found.stored] == [(1.0,)] * 3
    assert bench.read(reader) == 3.0


def test_other_keys_are_unknown_and_features_are_given_if_they_are_wanted(bench: Bench) -> None:
    features = pa.RecordBatch.from_pydict({"amount": [0.5, 1.5, 2.5]})
    rows = rows_of(KEYS, features=features)
    snapshot = publish_rows(bench.store, [rows], features=("amount",))
    reader = bench.reader()
    found = reader.find([b"b", b"x", b""], with_features=True)
    assert found.snapshot == snapshot
    assert [stored and stored.features for stored in found.stored] == [{"amount": 1.5}, None, None]
    assert reader.find_one(b"x") is None
    stored = reader.find_one(b"b")
    assert stored is not None
    assert stored.features is None
    assert reader.find([]).snapshot == snapshot


def test_models_have_snapshots_of_their_own_and_no_others_names(bench: Bench) -> None:
    bench.publish(1)
    assert bench.store.pointer("other") == Pointer()
    assert bench.store.reader("other").find([b"a"]).snapshot is None
    for act in [
        bench.store.pointer,
        bench.store.reader,
        lambda n: bench.store.publishing(n).__enter__(),
    ]:
        with pytest.raises(InvalidInput, match="model name"):
            act("../churn")
    assert bench.names() == {"lease", "pointer.json", "words", "000001-0123abcd"}


def test_a_reader_that_is_closed_may_read_again(bench: Bench) -> None:
    bench.publish(1)
    reader = bench.reader()
    for number in [1, 2]:
        assert bench.read(reader) == number
        reader.close()
        reader.close()
        bench.publish(number + 1)


def test_a_snapshot_that_is_deleted_while_it_is_opened_is_not_missed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(1)
    opened, numbers = embedded.MappedSnapshot, iter([2, 3, 4, 5])

    def late(folder: Path, snapshot: Snapshot) -> Any:
        if folder.exists() and next(numbers, 9) < 6:
            monkeypatch.setattr(embedded, "MappedSnapshot", opened)
            bench.publish(2)
            bench.publish(3)
            monkeypatch.setattr(embedded, "MappedSnapshot", late)
        return opened(folder, snapshot)

    monkeypatch.setattr(embedded, "MappedSnapshot", late)
    assert bench.read() == 3.0


def test_a_switch_that_is_made_while_a_snapshot_is_opened_is_seen_the_next_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(1)
    opened = embedded.MappedSnapshot

    def slow(folder: Path, snapshot: Snapshot) -> Any:
        monkeypatch.undo()
        bench.publish(2)
        return opened(folder, snapshot)

    monkeypatch.setattr(embedded, "MappedSnapshot", slow)
    reader = bench.reader()
    first = reader.find(KEYS).snapshot
    assert first is not None
    assert first.number == 1
    assert bench.read(reader) == 2.0


def test_who_looks_while_a_switch_is_under_way_sees_it_as_soon_as_it_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(1)
    early, late = bench.reader(), bench.reader()
    rename, seen = Path.rename, [bench.read(early)]

    def watched(path: Path, to: Path) -> Path:
        seen.extend([bench.read(early), bench.read(late)])
        moved = rename(path, to)
        seen.extend([bench.read(early), bench.read(late)])
        return moved

    monkeypatch.setattr(Path, "rename", watched)
    bench.publish(2)
    assert seen == [1.0, 1.0, 1.0, 2.0, 2.0]


def test_a_snapshot_that_is_gone_for_good_is_told(bench: Bench) -> None:
    snapshot = bench.publish(1)
    shutil.rmtree(bench.folder / snapshot.name)
    reader = bench.reader()
    for ask in [lambda: reader.find(KEYS), lambda: reader.find_one(b"a")]:
        with pytest.raises(StoreUnavailable, match="expected a whole snapshot, got one that can't"):
            ask()
    bench.publish(2)
    assert bench.read(reader) == 2.0
    assert ATTEMPTS > 1


def test_a_snapshot_that_is_damaged_is_told_until_it_is_rolled_back(bench: Bench) -> None:
    bench.publish(1)
    snapshot = bench.publish(2)
    (bench.folder / snapshot.name / "values-0").write_bytes(b"x")
    reader = bench.reader()
    with pytest.raises(StoreUnavailable, match=r"values-0.*Roll back"):
        bench.read(reader)
    roll_back(bench.store, "churn")
    assert bench.read(reader) == 1.0


def test_what_the_disk_says_is_told_in_our_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(1)

    def fail(number: int) -> Callable[..., Any]:
        def failing(*_: object) -> Any:
            raise OSError(number, os.strerror(number))

        return failing

    for number, says in [
        (errno.EIO, r"churn: expected a folder to work in, got Input/output error\. Make room, or"),
        (errno.EACCES, r"got Permission denied\. Give this user the right"),
        (errno.EROFS, r"got Read-only file system\. Give this user the right"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", fail(number))
            with pytest.raises(StoreUnavailable, match=says):
                bench.store.pointer("churn")
            with pytest.raises(StoreUnavailable, match=says):
                bench.read()
        for name in ["make_durably", "hold_lease", "sync"]:
            with monkeypatch.context() as patch:
                patch.setattr(embedded, name, fail(number))
                with pytest.raises(StoreUnavailable, match=says):
                    bench.publish(2)
    assert bench.read() == 1.0


def test_a_pointer_that_is_none_is_told_and_taken_away_it_begins_anew_for_all(
    bench: Bench,
) -> None:
    for number in [1, 2, 3]:
        bench.publish(number)
    reader = bench.reader()
    assert bench.read(reader) == 3.0
    (bench.folder / "pointer.json").write_bytes(b"{")
    with pytest.raises(InvalidInput, match=r"pointer\.json: expected a pointer to snapshots.*Take"):
        bench.store.pointer("churn")
    with pytest.raises(StoreUnavailable, match=r"pointer\.json: expected a pointer to snapshots"):
        bench.reader().find_one(b"a")
    (bench.folder / "pointer.json").unlink()
    bench.publish(4)
    assert bench.read(reader) == bench.read() == 4.0
    bench.publish(5)
    assert bench.read(reader) == bench.read() == 5.0


# ---- publishing ------------------------------------------------------------------------------


def test_nobody_reads_a_snapshot_before_it_is_switched_to(bench: Bench) -> None:
    bench.publish(1)
    reader = bench.reader()
    with bench.store.publishing("churn") as publication:
        second = snapshot_of(2)
        publication.write(second, [rows_of(KEYS, [2.0] * 3)])
        assert publication.verify(second) == 3
        (stored, none) = publication.find(second, [b"a", b"x"])
        assert stored is not None
        assert (stored.predictions, none) == ((2.0,), None)
        assert bench.read(reader) == 1.0
        publication.point(switched(publication.pointer, second))
        assert bench.read(reader) == 2.0
        assert publication.pointer == bench.store.pointer("churn")


def test_only_the_current_and_the_previous_snapshot_are_kept(bench: Bench) -> None:
    for number in range(1, 5):
        bench.publish(number)
        assert bench.snapshots() == {number, max(number - 1, 1)}
    roll_back(bench.store, "churn")
    assert bench.snapshots() == {3, 4}
    bench.publish(5)
    assert bench.snapshots() == {3, 5}


def test_rolled_back_and_forth_each_reader_follows(bench: Bench) -> None:
    bench.publish(1)
    bench.publish(2)
    reader = bench.reader()
    assert bench.read(reader) == 2.0
    for number in [1, 2, 1, 2]:
        pointer = roll_back(bench.store, "churn")
        assert bench.read(reader) == bench.read() == number
        assert pointer == bench.store.pointer("churn")
    assert bench.store.pointer("churn").switches == 6


def test_what_is_not_of_a_publisher_is_never_deleted(bench: Bench) -> None:
    # A store that is the folder of the registry, or of the runs, by mistake.
    kept = ["3", "aliases.json", "part-000000.parquet", "live", "live-x", "000001", "notes.next"]
    for name in kept:
        (bench.folder / name).mkdir(parents=True)
    for name in ["000007-89abcdef", "live-7"]:
        (bench.folder / name).mkdir()
    (bench.folder / "pointer.json.next").touch()
    bench.publish(1)
    assert bench.names() == {*kept, "lease", "pointer.json", "words", "000001-0123abcd"}


def test_two_cannot_publish_a_model_at_once_but_two_models(bench: Bench) -> None:
    with bench.store.publishing("churn"):
        with pytest.raises(LeaseHeld, match="store: churn: expected no other publisher, got one"):
            bench.publish(1)
        with bench.store.publishing("other"):
            pass
    bench.publish(1)
    assert bench.read() == 1.0


def test_a_pointer_that_somebody_else_has_moved_is_not_moved(bench: Bench) -> None:
    bench.publish(1)
    with bench.store.publishing("churn") as publication:
        third = snapshot_of(3)
        publication.write(third, [rows_of(KEYS, [3.0] * 3)])
        moved = switched(publication.pointer, third)
        # As on a file system that has no locks.
        other = EmbeddedPublication(bench.folder, "churn")
        second = snapshot_of(2)
        other.write(second, [rows_of(KEYS, [2.0] * 3)])
        other.point(switched(other.pointer, second))
        with pytest.raises(LeaseHeld, match="churn: expected the snapshots as they were"):
            publication.point(moved)
    assert bench.read() == 2.0
    bench.publish(4)
    assert bench.read() == 4.0


def test_a_written_snapshot_is_discarded_whole_or_in_part_and_no_other(bench: Bench) -> None:
    first, second = bench.publish(1), bench.publish(2)
    with bench.store.publishing("churn") as publication:
        third, fourth = snapshot_of(3), snapshot_of(4)
        publication.write(third, [rows_of(KEYS)])
        (bench.folder / fourth.name).mkdir()
        (bench.folder / fourth.name / "keys").touch()
        for snapshot in [third, fourth, snapshot_of(5), first, second]:
            publication.discard(snapshot)
        assert bench.snapshots() == {1, 2}
    assert bench.read() == 2.0


def test_a_full_disk_is_told_and_what_is_current_is_read_on(
    bench: Bench,
) -> None:
    bench.publish(1)
    reader = bench.reader()
    keys = [f"customer-{number:08}" for number in range(10_000)]
    with bench.store.publishing("churn") as publication:
        written = pytest.raises(StoreUnavailable, match=r"got File too large\. Make room")
        with written, small_files(100_000):
            publication.write(snapshot_of(2, rows=len(keys)), [rows_of(keys)])
    assert bench.read(reader) == bench.read() == 1.0
    bench.publish(2)
    assert bench.read(reader) == 2.0


@pytest.mark.parametrize("step", ["draft", "rename"])
def test_a_pointer_that_cannot_be_moved_stays_where_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    bench.publish(1)
    reader = bench.reader()
    assert bench.read(reader) == 1.0
    assert reader.keep(b"a", live_of(9.0), snapshot_of())
    sync = embedded.sync

    def full(path: Path, *_: Path) -> None:
        if path.name == "pointer.json.next":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(*((embedded, "sync") if step == "draft" else (Path, "rename")), full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            bench.publish(2)
    for each in [reader, bench.reader()]:
        found = each.find(KEYS)
        assert found.snapshot is not None
        assert found.snapshot.number == 1
        # What was kept is kept: nothing was switched.
        assert [item and item.predictions[0] for item in found.stored] == [9.0, 1.0, 1.0]
    bench.publish(2)
    assert bench.read(reader) == bench.read() == 2.0
    assert bench.snapshots() == {1, 2}


def test_a_switch_that_may_not_outlive_a_crash_is_told_and_is_one_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in [1, 2]:
        bench.publish(number)
    reader = bench.reader()
    sync = embedded.sync

    def broken(path: Path) -> None:
        if path == bench.folder and read_pointer(path).switches == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "sync", broken)
        with pytest.raises(CommitUnknown, match=r"churn: expected a durable switch, got .*outlive"):
            bench.publish(3)
        # After a crash the one before may be current again, and what was before that its previous.
        assert bench.snapshots() == {1, 2, 3}
        assert bench.read(reader) == bench.read() == 3.0
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            bench.publish(4)
        assert bench.snapshots() == {1, 2, 3}
    bench.publish(4)
    assert bench.snapshots() == {3, 4}
    assert bench.read(reader) == 4.0


def test_what_cannot_be_deleted_after_a_switch_does_not_undo_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in [1, 2]:
        bench.publish(number)

    def busy(path: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", busy)
        bench.publish(3)
    assert bench.read() == 3.0
    assert bench.snapshots() == {1, 2, 3}
    bench.publish(4)
    assert bench.snapshots() == {3, 4}


BEFORE_RENAME = [
    *["mkdir", "write", "fsync", "sync draft", "begin_switch", "after begin_switch", "rename"]
]
AFTER_RENAME = ["after rename", "end_switch", "after end_switch", "sync", "rmtree", "after rmtree"]


def dying(bench: Bench, patch: pytest.MonkeyPatch, step: str) -> None:
    """Let the next publisher die at a step, or just after it."""
    name, is_after, is_over = step.removeprefix("after "), step.startswith("after "), False
    owners: dict[str, Any] = {
        "mkdir": Path,
        "write": embedded.SnapshotWriter,
        "fsync": os,
        "sync draft": embedded,
        "begin_switch": Words,
        "rename": Path,
        "end_switch": Words,
        "sync": embedded,
        "rmtree": shutil,
    }
    attribute = {"write": "write_all", "sync draft": "sync"}.get(name, name)
    call = getattr(owners[name], attribute)

    def call_or_die(*given: Any, **named: Any) -> Any:
        nonlocal is_over
        moved = read_pointer(bench.folder).switches == 3
        ours = given[0] if isinstance(given[0], Path) else None
        wanted = {
            "sync draft": ours is not None and ours.name == "pointer.json.next",
            "sync": ours == bench.folder and moved,
            # The publisher says at first where the pointer stands.
            "end_switch": moved,
        }.get(name, True)
        if not wanted or is_over:
            return call(*given, **named)
        is_over = True
        if is_after:
            call(*given, **named)
        raise Crash

    patch.setattr(owners[name], attribute, call_or_die)


@pytest.mark.parametrize("step", [*BEFORE_RENAME, *AFTER_RENAME])
def test_wherever_a_publisher_dies_one_whole_snapshot_is_read_by_all_and_the_next_one_works(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for number in [1, 2]:
        bench.publish(number)
    reader = bench.reader()
    assert bench.read(reader) == 2.0
    with monkeypatch.context() as patch:
        dying(bench, patch, step)
        with pytest.raises(Crash):
            bench.publish(3)
    expected = 3.0 if step in AFTER_RENAME else 2.0
    for _ in range(2):
        assert bench.read(reader) == bench.read() == expected
    kept = {item.number for item in bench.store.pointer("churn").kept}
    assert bench.snapshots() >= kept
    # Its successor ends what it had begun, also if that doesn't switch.
    with bench.store.publishing("churn") as publication:
        assert bench.snapshots() == kept
        assert not bench.names() & {"pointer.json.next", "live-2" if expected == 3.0 else ""}
        assert {item.number for item in publication.pointer.kept} == kept
    assert bench.read(reader) == bench.read() == expected
    words = Words(bench.folder / "words")
    assert words.switches == 2 * bench.store.pointer("churn").switches
    words.close()
    assert bench.publish(4).number == expected + 1
    assert bench.read(reader) == bench.read() == 4.0
    roll_back(bench.store, "churn")
    assert bench.read(reader) == bench.read() == expected


@pytest.mark.parametrize("step", AFTER_RENAME)
def test_a_move_is_on_disk_before_anything_is_deleted_that_it_does_not_lead_to(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for number in [1, 2]:
        bench.publish(number)
    with monkeypatch.context() as patch:
        dying(bench, patch, step)
        with pytest.raises(Crash):
            bench.publish(3)
    done: list[str] = []
    sync, rmtree = embedded.sync, shutil.rmtree
    monkeypatch.setattr(embedded, "sync", lambda path: (done.append("sync"), sync(path)))
    monkeypatch.setattr(shutil, "rmtree", lambda path: (done.append("rmtree"), rmtree(path)))
    with bench.store.publishing("churn"):
        assert done[0] == "sync"
        assert "rmtree" in done or step == "after rmtree"


# ---- the words -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["gone", "zeros", "short", "odd"])
def test_words_that_were_lost_are_no_loss(bench: Bench, way: str) -> None:
    for number in [1, 2]:
        bench.publish(number)
    path = bench.folder / "words"
    early = bench.reader()
    assert bench.read(early) == 2.0
    if way == "gone":
        path.unlink()
    elif way == "short":
        path.unlink()
        path.write_bytes(b"\0\0\0")
    else:
        with path.open("r+b") as file:  # where readers have it mapped
            file.write({"zeros": bytes(16), "odd": b"\x05" + bytes(15)}[way])
    reader = bench.reader()
    assert bench.read(reader) == 2.0
    # Nothing is kept before it is known again which switch it belongs to.
    assert not reader.keep(b"a", live_of(), snapshot_of(2))
    readers = [reader] if way in {"gone", "short"} else [reader, early]
    for number in [3, 4]:
        bench.publish(number)
        for each in [*readers, bench.reader()]:
            assert bench.read(each) == number
    assert reader.keep(b"a", live_of(), bench.store.pointer("churn").current or snapshot_of())


def test_a_store_that_was_copied_without_its_words_is_read(bench: Bench, tmp_path: Path) -> None:
    for number in [1, 2]:
        bench.publish(number)
    shutil.copytree(bench.folder.parent, tmp_path / "copy", ignore=lambda *_: ["words"])
    reader = EmbeddedStore(tmp_path / "copy").reader("churn")
    assert bench.read(reader) == 2.0
    reader.close()


# ---- live predictions ------------------------------------------------------------------------


def test_a_kept_prediction_is_read_by_all_until_the_next_switch(bench: Bench) -> None:
    first = bench.publish(1)
    one, other = bench.reader(), bench.reader()
    assert not one.keep(b"a", live_of(), first)  # nothing was read yet
    assert (bench.read(one), bench.read(other)) == (1.0, 1.0)
    assert one.keep(b"b", live_of(7.0), first)
    assert one.keep(b"new", live_of(8.0), first)
    for reader in [one, other, bench.reader()]:
        assert reader.find_one(b"b") == live_of(7.0)
        assert reader.find([b"a", b"new", b"x"]).stored[1:] == [live_of(8.0), None]
    bench.publish(2)
    for reader in [one, other, bench.reader()]:
        assert bench.read(reader) == 2.0
        assert reader.find_one(b"new") is None
    assert not {name for name in bench.names() if name.startswith("live-")}
    # Rolled back, it is the snapshot as it was written.
    roll_back(bench.store, "churn")
    assert bench.read(one) == bench.read() == 1.0


def test_a_kept_prediction_goes_with_the_features_that_the_batch_had(bench: Bench) -> None:
    features = pa.RecordBatch.from_pydict({"amount": [0.5, 1.5, 2.5]})
    snapshot = publish_rows(bench.store, [rows_of(KEYS, features=features)], features=("amount",))
    reader = bench.reader()
    reader.find(())
    for key in [b"b", b"new"]:
        assert reader.keep(key, live_of(), snapshot)
    found = reader.find([b"b", b"new"], with_features=True).stored
    assert [stored and stored.features for stored in found] == [{"amount": 1.5}, None]
    assert [stored and stored.origin.source for stored in found] == ["live", "live"]


def test_nothing_is_kept_for_a_snapshot_that_is_not_current_any_more(bench: Bench) -> None:
    first = bench.publish(1)
    reader = bench.reader()
    assert bench.read(reader) == 1.0
    second = bench.publish(2)
    assert not reader.keep(b"a", live_of(), first)  # it hasn't looked since
    assert bench.read(reader) == 2.0
    assert not reader.keep(b"a", live_of(), first)
    assert reader.keep(b"a", live_of(), second)


def test_a_disk_that_has_no_room_for_what_is_kept_is_told(bench: Bench) -> None:
    snapshot = bench.publish(1)
    reader = bench.reader()
    assert bench.read(reader) == 1.0
    (bench.folder / "live-1").mkdir()
    with pytest.raises(StoreUnavailable, match="expected a folder to work in, got Is a directory"):
        reader.keep(b"a", live_of(), snapshot)
    assert bench.read(reader) == 1.0


def test_the_files_of_a_snapshot_are_on_disk_before_it_is_switched_to(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    rename, sync = Path.rename, embedded.sync

    def note(path: Path) -> None:
        done.append(path.name)
        sync(path)

    monkeypatch.setattr(embedded, "sync", note)
    monkeypatch.setattr(files, "sync", note)
    monkeypatch.setattr(Path, "rename", lambda path, to: (done.append("!"), rename(path, to))[1])
    snapshot = bench.publish(1)
    assert done == [
        "churn",
        "files.json",
        snapshot.name,
        "churn",
        "pointer.json.next",
        "!",
        "churn",
    ]


def test_a_pointer_is_rolled_back_by_the_publisher_only(bench: Bench) -> None:
    bench.publish(1)
    bench.publish(2)
    with bench.store.publishing("churn") as publication:
        with pytest.raises(LeaseHeld):
            roll_back(bench.store, "churn")
        publication.point(rolled_back(publication.pointer, "churn"))
    assert bench.read() == 1.0
