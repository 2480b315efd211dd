"""Whole processes of twofold, run to their end or serving."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.app.compare import processes
from twofold.app.compare.processes import Serving, family, run_to_end
from twofold.errors import TwofoldError


def test_a_command_that_ends_is_measured(tmp_path: Path) -> None:
    ended = run_to_end(["--version"], tmp_path, limit_s=60.0)
    assert ended.out.startswith(b"twofold, version")
    assert ended.cpu_s > 0.0
    assert ended.wall_s > 0.0
    assert ended.began_at < ended.ended_at
    assert ended.peak_memory_bytes > 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere rusage alone tells of it")
def test_the_memory_of_who_compares_is_not_that_of_a_command(tmp_path: Path) -> None:
    ballast = bytearray(b"x" * (300 << 20))
    ended = run_to_end(["models", "--json"], tmp_path, limit_s=60.0)
    assert 0 < ended.peak_memory_bytes < len(ballast)


def test_a_command_that_fails_is_told_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match=r"twofold models nothing: .*exit code 1: error: ") as it:
        run_to_end(["models", "nothing", "--registry", "none"], tmp_path, limit_s=60.0)
    assert "Traceback" not in str(it.value)


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match=r"got more than 0\.01 s"):
        run_to_end(["--help"], tmp_path, limit_s=0.01)


def test_the_settings_of_who_compares_are_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOFOLD_BATCH_WORKERS", "no number")
    monkeypatch.chdir(tmp_path)
    words = ["models", "--registry", str(tmp_path), "--json"]
    assert run_to_end(words, tmp_path, limit_s=60.0).out


def test_a_family_is_a_process_and_all_that_came_of_it() -> None:
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'input()'], "
        "stdin=subprocess.PIPE); print(child.pid, flush=True); input(); child.communicate(b'\\n')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert set(family(process.pid)) == {process.pid, child}
        assert {process.pid, child} < set(family(os.getpid()))
        server = Serving(process.pid, "http://127.0.0.1:81", 0.1)
        assert server.memory_bytes() > 1_000_000
        assert server.cpu_s() >= 0.0
        process.communicate("\n")


def test_where_there_is_no_proc_ps_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROC", Path("/nowhere"))
    server = Serving(os.getpid(), "http://127.0.0.1:81", 0.1)
    assert server.memory_bytes() > 1_000_000
    assert server.cpu_s() >= 0.0
    assert os.getpid() in family(os.getppid())


def test_an_address_is_that_of_the_url() -> None:
    assert Serving(1, "http://127.0.0.1:8081", 0.1).address == ("127.0.0.1", 8081)
