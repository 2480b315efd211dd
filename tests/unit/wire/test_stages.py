"""Where a request's time went."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.wire.stages import Stages


@given(st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5))
def test_stages_add_up_to_the_total(instants: list[float]) -> None:
    line = Stages(*sorted(instants)).header().decode()
    assert line.startswith("Server-Timing: ")
    assert line.endswith("\r\n")
    told = {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([0-9.]+)", line)}
    assert list(told) == ["parse", "queue", "predict", "encode", "total"]
    total = told.pop("total")
    # Each is rounded to a tenth of a microsecond.
    assert sum(told.values()) == pytest.approx(total, abs=5e-4)
    assert total == pytest.approx(1000 * (max(instants) - min(instants)), abs=1e-4)
