"""A snapshot found by key over its mapped files."""

from __future__ import annotations

import gc
import shutil
import struct
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import PREDICTED_AT, rows_of, snapshot_of

from twofold.stores.files import SnapshotWriter, map_file
from twofold.stores.index import native
from twofold.stores.mapped import MappedSnapshot
from twofold.stores.store import Rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
COLUMNS = {
    "float64": st.floats(),
    "float32": st.floats(width=32),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "string": TEXTS,
}
ARROW = {"float32": pa.float64(), "float64": pa.float64(), "bool": pa.bool_()}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("snapshot")


def opened(folder: Path, every: Sequence[Rows], **facts: Any) -> MappedSnapshot:
    snapshot = snapshot_of(1, sum(len(rows.keys) for rows in every), **facts)
    with SnapshotWriter(folder, snapshot) as writer:
        writer.write_all(every)
    return MappedSnapshot(folder, snapshot)


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


@given(st.data(), st.sampled_from(sorted(COLUMNS)), st.integers(1, 3))
def test_every_row_is_found_as_it_was_written_in_whatever_parts(
    folders: Callable[[], Path], data: st.DataObject, kind: str, outputs: int
) -> None:
    keys = data.draw(st.lists(TEXTS, unique=True, max_size=12))
    column = st.lists(COLUMNS[kind], min_size=len(keys), max_size=len(keys))
    columns = [data.draw(column) for _ in range(outputs)]
    # Rows that were repaired were predicted later.
    later = data.draw(st.lists(st.sampled_from([0, 0, 1, 9]), min_size=12, max_size=12))
    instants = [PREDICTED_AT + timedelta(seconds=later[at]) for at in range(len(keys))]
    arrays = [pa.array(values, ARROW.get(kind)) for values in columns]
    features = pa.RecordBatch.from_pydict({"text": keys, "later": later[: len(keys)]})
    ends = sorted(data.draw(st.sets(st.integers(0, len(keys)))) | {0, len(keys)})
    whole = rows_of(keys, *columns, predicted_at=instants)
    every = [
        Rows(
            whole.keys[first:last],
            tuple(array[first:last] for array in arrays),
            whole.predicted_at[first:last],
            features[first:last],
        )
        for first, last in pairwise(ends)
    ]
    names = tuple(f"out{number}" for number in range(outputs))
    found = opened(folders(), every, outputs=names, type=kind, features=("text", "later"))
    for at, key in enumerate(keys):
        stored = found.find(key.encode(), with_features=True)
        assert stored is not None
        assert [bits(value) for value in stored.predictions] == [bits(c[at]) for c in columns]
        assert [type(value) for value in stored.predictions] == [type(c[at]) for c in columns]
        assert stored.origin.predicted_at == instants[at]
        assert stored.features == {"text": key, "later": later[at]}
        plain = found.find(key.encode())
        assert plain is not None
        assert plain.features is None
        assert plain.origin is stored.origin
        quick = found.quick(key.encode())
        assert quick is not None
        assert [bits(value) for value in quick.predictions] == [bits(c[at]) for c in columns]
        assert quick.origin is stored.origin
    assert found.find(b"\xffno key") is found.quick(b"\xffno key") is None


def test_rows_of_the_run_share_its_origin_and_repaired_ones_have_their_own(tmp_path: Path) -> None:
    instants = [PREDICTED_AT, PREDICTED_AT.replace(hour=9), PREDICTED_AT, PREDICTED_AT]
    found = opened(tmp_path, [rows_of("abcd", predicted_at=instants)])
    origins = [found.find(key.encode()).origin for key in "abcd"]  # type: ignore[union-attr]
    assert origins[0] is origins[2] is origins[3]
    assert origins[1].predicted_at == PREDICTED_AT.replace(hour=9)
    assert origins[1].as_of == origins[0].as_of


def test_without_published_features_there_are_none(tmp_path: Path) -> None:
    stored = opened(tmp_path, [rows_of("ab")]).find(b"a", with_features=True)
    assert stored is not None
    assert stored.features is None


def test_a_snapshot_without_rows_knows_no_key(tmp_path: Path) -> None:
    for number, kind in enumerate(COLUMNS):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = opened(folder, [], type=kind, features=("amount",))
        assert found.find(b"a", with_features=True) is None


def test_it_is_read_on_when_its_files_are_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    features = pa.RecordBatch.from_pydict({"amount": [0.5, 1.5]})
    found = opened(folder, [rows_of("ab", features=features)], features=("amount",))
    shutil.rmtree(folder)
    stored = found.find(b"b", with_features=True)
    assert stored is not None
    assert (stored.predictions, stored.features) == ((1.5,), {"amount": 1.5})


def test_its_files_are_let_go_of_with_it(tmp_path: Path) -> None:
    features = pa.RecordBatch.from_pydict({"amount": [0.5, 1.5]})
    found = opened(tmp_path, [rows_of("ab", features=features)], features=("amount",))
    assert found.find(b"a", with_features=True) is not None
    del found
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    places = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    assert not [place for place in places if place.parent == tmp_path]


@pytest.mark.parametrize("kind", sorted(COLUMNS))
@pytest.mark.parametrize("change", [-1, 1, -8, 8])
def test_files_of_another_length_are_not_opened(tmp_path: Path, kind: str, change: int) -> None:
    values = {"string": ["x", "yy", ""], "bool": [True, False, True], "int64": [1, 2, 3]}
    instants = [PREDICTED_AT.replace(hour=9)] * 3
    rows = rows_of("abc", values.get(kind, [0.5, 1.5, 2.5]), predicted_at=instants)
    snapshot = opened(tmp_path, [rows], type=kind).snapshot
    # The bytes of texts are only read where their ends say.
    for path in sorted(tmp_path.iterdir()):
        if path.name in {"files.json", "keys"} or (path.name, kind) == ("values-0", "string"):
            continue
        whole = path.read_bytes()
        path.write_bytes(whole + b"\0" * change if change > 0 else whole[:change])
        with pytest.raises(ValueError, match=r"."):
            MappedSnapshot(tmp_path, snapshot)
        path.write_bytes(whole)
    assert MappedSnapshot(tmp_path, snapshot).find(b"a") is not None


def test_files_of_other_keys_are_not_opened(tmp_path: Path) -> None:
    snapshot = opened(tmp_path, [rows_of("abc")]).snapshot
    with pytest.raises(ValueError, match="number of keys"):
        MappedSnapshot(tmp_path, snapshot_of(1, rows=2))
    (tmp_path / "values-0").unlink()
    with pytest.raises(FileNotFoundError):
        MappedSnapshot(tmp_path, snapshot)


@pytest.mark.skipif(native() is None or sys.platform != "linux", reason="built, on Linux")
def test_pages_are_entered_while_there_is_time(tmp_path: Path) -> None:
    path = tmp_path / "values"
    path.write_bytes(b"x" * (5 << 20))
    sizes = []
    for left_ns in (0, 10**10):
        mapped = map_file(path)
        assert (native().enter_pages(mapped, left_ns) > 0) == (left_ns > 0)
        sizes.append(resident_kb(path))
        mapped.close()
    assert sizes == [0, 5 << 10]
    assert native().enter_pages(b"", 1) == 1


def resident_kb(path: Path) -> int:
    """Of a mapped file, how much is in the process's page table."""
    _, found, rest = Path("/proc/self/smaps").read_text(encoding="utf-8").partition(f"{path}\n")
    assert found
    return next(int(line.split()[1]) for line in rest.splitlines() if line.startswith("Rss:"))
