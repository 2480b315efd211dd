"""Where it is measured."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from twofold.app.compare import machine
from twofold.version import VERSION


def test_a_machine_is_described_without_its_name() -> None:
    found = machine.this_machine()
    assert found.cores >= 1
    assert found.memory_bytes > 1 << 24
    assert found.cpu
    assert (found.python, found.twofold) == (platform.python_version(), VERSION)
    assert platform.node() not in (found.cpu, found.system)


def test_a_system_that_says_nothing_of_its_processor_has_one_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "CPU_INFO", Path("/nowhere"))
    assert machine.this_machine().cpu
