from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.lab.arrivals import level
from twofold.lab.engine import Job, split_evenly


def job(**changes: Any) -> Job:
    given: dict[str, Any] = {
        "host": "127.0.0.1", "port": 1, "requests": [b"a", b"b", b"c"], "expect": b"",
        "profile": None, "dues_s": None, "part": 0, "of_parts": 1, "edges_s": [0.0, 2.0],
        "deadline_s": 1.0, "timeout_s": 1.0, "connections": 1,
    }  # fmt: skip
    return Job(**{**given, **changes})


def test_processes_share_the_instants_of_a_profile_without_gap_or_overlap() -> None:
    profile = level(100, 2)
    parts = [job(profile=profile, part=part, of_parts=3).dues() for part in range(3)]
    assert np.array_equal(np.sort(np.concatenate(parts)), profile.dues())


def test_all_processes_together_use_the_requests_in_turn() -> None:
    parts = [job(dues_s=b"", part=part, of_parts=2).which(4).tolist() for part in range(2)]
    assert [which for pair in zip(*parts, strict=True) for which in pair] == [
        0,
        1,
        2,
        0,
        1,
        2,
        0,
        1,
    ]


def test_a_closed_loop_has_room_for_requests_and_begins_elsewhere_in_each_process() -> None:
    closed = job(part=1, of_parts=3)
    assert closed.is_closed
    assert len(closed.dues()) > 100_000
    assert closed.which(5) is None
    assert closed.requests_in_turn() == [b"b", b"c", b"a"]


def test_a_job_survives_the_pipe() -> None:
    sent = job(profile=level(5, 1), dues_s=b"12345678")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Job) == sent


@given(st.integers(0, 1000), st.integers(1, 64))
def test_what_is_split_is_even_and_complete(total: int, parts: int) -> None:
    shares = split_evenly(total, parts)
    assert (sum(shares), len(shares)) == (total, parts)
    assert max(shares) - min(shares) <= 1


def test_without_the_native_module_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from twofold.errors import ConfigError
    from twofold.lab import engine

    def fail(name: str) -> Any:
        raise ImportError(name)

    engine.native.cache_clear()
    monkeypatch.setattr(engine.importlib, "import_module", fail)
    with pytest.raises(ConfigError, match="Linux with a C compiler"):
        engine.native()
