"""Live predictions kept beside a snapshot: whole, for all readers, until the next switch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import live_of, snapshot_of

from twofold.stores import live_log
from twofold.stores.live_log import HEAD, MAX_BYTES, LiveLog, log_path
from twofold.stores.values import Origins
from twofold.stores.words import Words


class Place:
    """A folder with words, and readers of its log."""

    def __init__(self, folder: Path, switches: int = 1) -> None:
        self.folder = folder
        self.words = Words(folder / "words", make=True)
        self.words.end_switch(switches)

    def reader(self, switches: int = 1) -> LiveLog:
        return LiveLog(self.folder, switches, Origins(snapshot_of()))

    def keep(self, key: bytes, value: float = 9.5, by: LiveLog | None = None) -> bool:
        return (by or self.reader()).append(key, live_of(value), self.words)

    def seen(self, by: LiveLog | None = None, *, keys: bytes = b"abc") -> dict[bytes, float]:
        """What a reader knows, or one that comes just now."""
        by = by or self.reader()
        by.follow(self.words)
        found = {keys[at : at + 1]: by.get(keys[at : at + 1]) for at in range(len(keys))}
        return {key: stored.predictions[0] for key, stored in found.items() if stored}

    @property
    def log(self) -> Path:
        return log_path(self.folder, 1)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.words.close()


@pytest.fixture(scope="session")
def any_place(tmp_path_factory: pytest.TempPathFactory) -> type[Place]:
    class Another(Place):
        def __init__(self) -> None:
            super().__init__(tmp_path_factory.mktemp("log"))

    return Another


def test_what_one_keeps_every_reader_sees_and_those_that_come_later_too(place: Place) -> None:
    early = place.reader()
    assert place.seen(early) == {}
    assert place.keep(b"a", 1.5)
    assert place.seen(early) == {b"a": 1.5}
    assert place.keep(b"b", 2.5)
    assert place.seen(early) == place.seen() == {b"a": 1.5, b"b": 2.5}


def test_of_a_key_that_was_kept_twice_the_last_counts(place: Place) -> None:
    for value in [1.5, 2.5]:
        assert place.keep(b"a", value)
    assert place.seen() == {b"a": 2.5}


def test_a_kept_prediction_has_its_own_version_and_instants(place: Place) -> None:
    place.keep(b"a")
    reader = place.reader()
    reader.follow(place.words)
    assert reader.get(b"a") == live_of()


def test_after_a_switch_nothing_is_kept_nor_read_any_more(place: Place) -> None:
    old = place.reader()
    place.keep(b"a")
    place.words.end_switch(2)
    assert not place.keep(b"b", by=old)
    assert place.seen(old) == {}
    assert place.seen(place.reader(2)) == {}
    assert place.keep(b"c", by=place.reader(2))
    assert place.seen(place.reader(2)) == {b"c": 9.5}
    assert place.seen(place.reader(1)) == {}


def test_while_a_switch_is_under_way_nothing_is_kept(place: Place) -> None:
    place.words.begin_switch(2)
    assert not place.keep(b"a")
    place.words.end_switch(1)
    assert place.keep(b"a")


def test_a_switch_that_was_not_made_loses_nothing_and_more_is_kept_behind_it(
    place: Place,
) -> None:
    early = place.reader()
    place.keep(b"a", 1.5)
    assert place.seen(early) == {b"a": 1.5}
    place.words.begin_switch(2)
    place.words.end_switch(1)
    place.keep(b"b", 2.5)
    assert place.seen(early) == place.seen() == {b"a": 1.5, b"b": 2.5}


def test_who_keeps_one_while_a_switch_is_made_leaves_nothing_to_the_new_log(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def switch_meanwhile(descriptor: int, data: bytes, at: int) -> int:
        place.words.begin_switch(2)
        place.words.end_switch(2)
        return pwrite(descriptor, data, at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", switch_meanwhile)
        place.keep(b"a")
    early = place.reader(2)
    assert place.seen(early) == {}
    assert place.keep(b"b", 2.5, by=place.reader(2))
    assert place.seen(early) == place.seen(place.reader(2)) == {b"b": 2.5}


def test_two_that_keep_at_once_do_not_mix_what_they_keep(place: Place) -> None:
    with place.log.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not place.keep(b"a")
    assert place.keep(b"b")
    assert place.seen() == {b"b": 9.5}


def test_a_log_has_a_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.keep(b"a")
    size = place.words.live_bytes(1)
    monkeypatch.setattr(live_log, "MAX_BYTES", 2 * size)
    assert place.keep(b"b")
    assert not place.keep(b"c")
    assert not place.keep(b"")
    assert place.seen() == {b"a": 9.5, b"b": 9.5}
    assert place.log.stat().st_size == 2 * size
    assert 1 << 20 <= MAX_BYTES < 2**32


def test_what_somebody_who_died_had_begun_is_written_over(place: Place) -> None:
    place.keep(b"a", 1.5)
    with place.log.open("ab") as file:
        file.write(b"\1\0\0\0\xff\xff")
    early = place.reader()
    assert place.seen(early) == {b"a": 1.5}
    place.keep(b"b", 2.5)
    assert place.seen(early) == place.seen() == {b"a": 1.5, b"b": 2.5}


def test_what_was_not_written_whole_is_not_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda to, data, at: pwrite(to, data[:-1], at))
        assert not place.keep(b"a")
    assert place.words.live == 0
    assert place.seen() == {}


@pytest.mark.parametrize("way", ["gone", "empty", "zeros", "zeros behind", "half"])
def test_what_a_loss_of_power_took_is_not_read_and_the_log_goes_on(place: Place, way: str) -> None:
    for key, value in [(b"a", 1.5), (b"b", 2.5)]:
        assert place.keep(key, value)
    whole = place.log.read_bytes()
    half = len(whole) // 2
    if way == "gone":
        place.log.unlink()
    else:
        left = {
            "empty": b"",
            "zeros": bytes(len(whole)),
            "zeros behind": whole[: half + 20] + bytes(half - 20),
            "half": whole[: half + 20],
        }[way]
        place.log.write_bytes(left)
    early = place.reader()
    survived = {b"a": 1.5} if way in {"zeros behind", "half"} else {}
    assert place.seen(early) == survived
    assert place.keep(b"c", 3.5)
    assert place.seen(early) == survived | {b"c": 3.5}


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b""]), st.floats(0, 9)), min_size=1),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_whatever_the_log_holds_only_what_was_kept_is_read(
    any_place: type[Place],
    kept: list[tuple[bytes, float]],
    changes: list[tuple[int, int]],
) -> None:
    place = any_place()  # type: ignore[call-arg]
    for key, value in kept:
        assert place.keep(key, value)
    data = bytearray(place.log.read_bytes())
    for at, byte in changes:
        data[at % len(data)] = byte
    place.log.write_bytes(data)
    reader = place.reader()
    reader.follow(place.words)
    for key in [b"a", b"b", b"c", b""]:
        found = reader.get(key)
        assert found is None or (key, found.predictions[0]) in kept
        assert found is None or found.origin == live_of().origin
    place.words.close()


def test_a_record_in_another_place_is_none(place: Place) -> None:
    place.keep(b"a")
    place.keep(b"a")
    whole = place.log.read_bytes()
    half = len(whole) // 2
    assert whole[HEAD.size : half] == whole[half + HEAD.size :]
    place.log.write_bytes(whole[half:] * 2)
    assert place.seen() == {}


def test_a_count_that_no_log_can_have_is_not_followed(place: Place) -> None:
    place.keep(b"a")
    place.words.set_live_bytes(1, MAX_BYTES + 1)
    assert place.seen() == {}


def test_a_log_that_cannot_be_written_to_is_an_error_of_the_disk(place: Place) -> None:
    place.log.mkdir()
    with pytest.raises(OSError, match="directory"):
        place.keep(b"a")
