"""The files of a snapshot: written once, read back, and never more than a snapshot or an error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from published import PREDICTED_AT, rows_of, small_files, snapshot_of

from twofold.errors import InvalidInput, TwofoldError
from twofold.stores import files
from twofold.stores.files import SnapshotWriter, digest_of, map_file, verify_files
from twofold.stores.store import Rows

FEATURES = pa.RecordBatch.from_pydict({"amount": [0.5, 1.5, None]})


def write(folder: Path, *rows: Rows, **facts: Any) -> int:
    folder.mkdir(exist_ok=True)
    with SnapshotWriter(folder, snapshot_of(1, **facts)) as writer:
        writer.write_all(rows)
    return verify_files(folder)


def open_in(folder: Path) -> list[str]:
    """What this process has open in a folder, and no garbage."""
    places = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    return [place.name for place in places if place.parent == folder]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "000001-0123abcd"


def test_every_file_is_there_and_what_is_read_back_is_the_number_of_keys(folder: Path) -> None:
    later = [PREDICTED_AT.replace(hour=9), PREDICTED_AT, PREDICTED_AT.replace(hour=8)]
    rows = rows_of(["a", "bb", ""], [0.5, 1.5, 2.5], [1.0, 2.0, 3.0], predicted_at=later)
    assert write(folder, rows, rows_of(["c"], [3.5], [4.0]), outputs=("x", "y")) == 4
    assert {path.name for path in folder.iterdir()} == {
        *["keys", "keys.ends", "index", "values-0", "values-1", "later", "later.at", "files.json"]
    }
    assert (folder / "keys").read_bytes() == b"abbc"
    assert np.fromfile(folder / "keys.ends", "<u8").tolist() == [0, 1, 3, 3, 4]
    assert np.fromfile(folder / "values-1", "<f8").tolist() == [1.0, 2.0, 3.0, 4.0]
    assert np.fromfile(folder / "later", "<u8").tolist() == [0, 2]


def test_of_slices_only_their_own_rows_are_written(folder: Path) -> None:
    whole = rows_of(["a", "bb", "ccc", "d"], ["w", "", "yy", "z"])
    rows = Rows(
        whole.keys.slice(1, 2), (whole.predictions[0].slice(1, 2),), whole.predicted_at.slice(1, 2)
    )
    assert write(folder, rows, rows_of(["e"], ["v"]), type="string") == 3
    assert (folder / "keys").read_bytes() == b"bbccce"
    assert (folder / "values-0").read_bytes() == b"yyv"
    assert np.fromfile(folder / "values-0.ends", "<u8").tolist() == [0, 0, 2, 3]


@pytest.mark.parametrize("kind", ["float64", "string"])
def test_a_snapshot_without_a_row_is_one_all_the_same(folder: Path, kind: str) -> None:
    assert write(folder, type=kind, rows=0) == 0


@pytest.mark.parametrize(
    ("kind", "values", "written"),
    [
        ("bool", [True, False], b"\1\0"),
        ("int64", [-(2**63), 2**63 - 1], np.array([-(2**63), 2**63 - 1], "<i8").tobytes()),
        ("float64", [0.1, -0.0], np.array([0.1, -0.0], "<f8").tobytes()),
        ("float32", [0.5, 1e300], np.array([0.5, 1e300], "<f8").tobytes()),
        ("string", ["ü", ""], "ü".encode()),
    ],
)
def test_predictions_of_every_type_are_written_to_the_bit(
    folder: Path, kind: str, values: list[Any], written: bytes
) -> None:
    write(folder, rows_of(["a", "b"], values), type=kind)
    assert (folder / "values-0").read_bytes() == written


def test_features_are_an_arrow_file_of_all_rows_that_is_read_back_too(folder: Path) -> None:
    every = [rows_of(["a", "b", "c"], features=FEATURES), rows_of(["d"], features=FEATURES[:1])]
    assert write(folder, *every, features=("amount",)) == 4
    table = pa.ipc.open_file(pa.memory_map(str(folder / "features"))).read_all()
    assert table.column("amount").to_pylist() == [0.5, 1.5, None, 0.5]
    assert "features" in msgspec.json.decode((folder / "files.json").read_bytes())


@pytest.mark.parametrize("way", ["flip", "cut", "grow"])
def test_any_file_that_is_not_as_it_was_written_is_told_by_its_name(folder: Path, way: str) -> None:
    later = [PREDICTED_AT.replace(hour=9)] * 3
    write(folder, rows_of("abc", features=FEATURES, predicted_at=later), features=("amount",))
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        place = len(whole) // 2
        damaged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        path.write_bytes({"flip": damaged, "cut": whole[:-1], "grow": whole + b"\0"}[way])
        with pytest.raises((TwofoldError, OSError), match=path.name):
            verify_files(folder)
        path.write_bytes(whole)
    assert verify_files(folder) == 3


def test_a_file_that_is_gone_is_told(folder: Path) -> None:
    write(folder, rows_of("abc"))
    (folder / "values-0").unlink()
    with pytest.raises(FileNotFoundError, match="values-0"):
        verify_files(folder)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["a", "b", "a"], "'a' in rows 1 and 3 of the predicted ones"),
        (["a", "b", "c", "d", "b"], "'b' in rows 2 and 5 of"),
        (["", "x", ""], "'' in rows 1 and 3 of"),
        (["x" * 100] * 2, f"'{'x' * 80}' in rows 1 and 2 of"),
        ([b"\xff", b"\xff"], "'\N{REPLACEMENT CHARACTER}' in rows 1 and 2 of"),
    ],
)
def test_a_key_that_stands_twice_is_told_with_its_rows_also_of_several_parts(
    folder: Path, keys: list[Any], says: str
) -> None:
    with pytest.raises(InvalidInput, match=r"key: expected each key once, got ") as caught:
        write(folder, rows_of(keys[:1]), rows_of(keys[1:]))
    assert says in str(caught.value)


def test_more_rows_than_an_index_can_number_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_ROWS", 4)
    with pytest.raises(InvalidInput, match="churn: expected at most 4 keys, got more"):
        write(folder, rows_of("abc"), rows_of("de"))


def test_what_raises_on_the_way_is_told_and_no_file_stays_open(folder: Path) -> None:
    def rows() -> Iterator[Rows]:
        yield rows_of("abc", features=FEATURES)
        raise TwofoldError("of the run")

    folder.mkdir()
    with (
        pytest.raises(TwofoldError, match="of the run"),
        SnapshotWriter(folder, snapshot_of(1)) as writer,
    ):
        writer.write_all(rows())
    assert open_in(folder) == []


@pytest.mark.parametrize("size", [0, 100, 100_000, 900_000, 1_600_000])
def test_a_full_disk_is_told_and_leaves_no_file_open(folder: Path, size: int) -> None:
    keys = [f"customer-{number:08}" for number in range(100_000)]
    rows = rows_of(keys)
    folder.mkdir()
    writer = SnapshotWriter(folder, snapshot_of(1, rows=len(keys)))
    caught: OSError | None = None
    # What one file has no room for others may have, so that all of them are closed.
    with small_files(size):
        try:
            with writer:
                writer.write_all([rows])
        except OSError as error:
            caught = error
    assert caught is not None
    assert caught.errno == errno.EFBIG
    assert open_in(folder) == []


def test_room_for_the_index_is_made_before_it_is_written_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A mapped file that the disk has no room for would kill the process.
    def full(descriptor: int, offset: int, size: int) -> None:
        assert (offset, size) == (0, files.index_bytes(3, 0))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        write(folder, rows_of("abc"))


def test_all_of_it_is_on_disk_before_it_is_told_to_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write(folder, rows_of("abc", features=FEATURES), features=("amount",))
    assert synced == {folder.name, *(path.name for path in folder.iterdir())}


def test_a_snapshot_is_written_into_a_folder_of_its_own_only(folder: Path) -> None:
    write(folder, rows_of("abc"))
    with pytest.raises(FileExistsError):
        write(folder, rows_of("abc"))


def test_an_empty_file_is_mapped_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert map_file(tmp_path / "empty") == b""
    (tmp_path / "full").write_bytes(b"abc")
    assert map_file(tmp_path / "full")[:] == b"abc"


def test_a_digest_is_of_all_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 << 20))
    first = digest_of(path)
    assert first.bytes == 3 << 20
    for place in [0, 1 << 20, (3 << 20) - 1]:
        data = bytearray(3 << 20)
        data[place] = 1
        path.write_bytes(data)
        assert digest_of(path) != first
