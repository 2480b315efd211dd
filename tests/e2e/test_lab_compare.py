"""`twofold lab compare` as its user has it: files in, a table, JSON and a page out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doubler import pack_doubler

from twofold.lab.engine import native
from twofold.lab.findings import Findings, read_findings

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from foreign import Client, running_browser

LIMIT_S = 300
PHONE, DESK = (390, 844), (1280, 900)
ROWS = 300


def has_generator() -> bool:
    try:
        native()
    except Exception:  # noqa: BLE001 - whatever it lacks
        return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    pack_doubler(folder, "e2e_compare")
    amounts = [None if row == 7 else float(row) for row in range(ROWS)]
    table = pa.table({"id": [f"c{row}" for row in range(ROWS)], "amount": amounts})
    pq.write_table(table, folder / "rows.parquet")
    return folder


def compare(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twofold", "lab", "compare", "doubler", *flags]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.fixture(scope="module")
def found(folder: Path) -> Findings:
    """What a quick look found, and its reports beside it."""
    reports = ("--html", "report.html", "--markdown", "report.md")
    kept = ("--key", "id", "--keep", "kept", "--workers", "1")
    done = compare(folder, "rows.parquet", "--quick", "--json", *reports, *kept)
    assert done.returncode == 0, done.stderr
    path = folder / "found.json"
    path.write_text(done.stdout, encoding="utf-8")
    return read_findings(path)


def test_it_finds_what_batch_and_both_kinds_of_answers_take(found: Findings) -> None:
    batch, live, stored = found.batch, found.real_time, found.hybrid
    assert (found.model, found.version, found.is_quick) == ("doubler", "1", True)
    assert (batch.rows, batch.rows_quarantined, batch.partitions) == (ROWS, 1, 1)
    parts = (batch.wait_s, batch.compute_s, batch.commit_s)
    assert [part.count for part in parts] == [ROWS] * 3
    assert sum(part.mean_s for part in parts) == pytest.approx(batch.wall_s)
    assert 0.0 < batch.start_s < batch.wall_s
    assert batch.scaling is not None
    assert batch.scaling.rows >= 1_000 * ROWS
    assert batch.peak_memory_bytes > 10_000_000 < live.memory_bytes
    split = live.overhead
    stages = (split.network_s, split.parse_s, split.queue_s, split.predict_s, split.encode_s)
    assert sum(stages) == pytest.approx(split.total_s)
    assert min(stages) >= 0.0 < split.predict_s
    assert live.in_process.mean_s < live.alone.mean_s
    assert live.workers == 1
    assert live.cpu_per_request_s > 0.0 < stored.cpu_per_request_s
    assert stored.keys == ROWS - 1
    assert stored.age_at_switch_s is not None
    assert stored.age_at_switch_s > stored.publish_s


@pytest.mark.skipif(not has_generator(), reason="needs the native load generator")
def test_it_finds_the_capacity_and_offers_rates_around_it(found: Findings) -> None:
    live, stored = found.real_time, found.hybrid
    rates = [level.offered_per_s for level in live.levels]
    assert rates == sorted(rates)
    assert len(rates) >= 6
    assert live.capacity_per_s is not None
    assert stored.capacity_per_s is not None
    assert stored.level is not None
    # A machine that does too much else keeps no rate; then what was tried is what is told.
    if live.capacity_per_s > 0.0:
        assert rates[0] < live.capacity_per_s / 2 < 2 * live.capacity_per_s < rates[-1]
    assert not [note for note in found.notes if "measured" in note]


def test_the_reports_have_the_figures_of_the_json(folder: Path, found: Findings) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# doubler@1: batch, real-time, hybrid\n")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert len(page) < 1_000_000
    assert f"{found.batch.rows:,} rows" in text
    assert f"{found.batch.rows:,} rows" in page


def test_what_it_made_is_kept_where_it_was_asked_to(folder: Path, found: Findings) -> None:
    kept = {path.name for path in (folder / "kept").iterdir()}
    assert {"predictions", "store"} <= kept
    again = compare(folder, "rows.parquet", "--quick", "--keep", "kept")
    assert again.returncode == 1
    assert "kept: expected a new or empty folder, got one with files." in again.stderr


def test_what_is_wrong_is_said_before_anything_is_measured(folder: Path) -> None:
    pq.write_table(pa.table({"amount": pa.array([None], pa.float64())}), folder / "bad.parquet")
    for flags, code, words in (
        (("nothing.parquet",), 1, "nothing.parquet: expected"),
        (("bad.parquet",), 1, "bad.parquet: expected rows to predict, got none."),
        (("rows.parquet", "--html", "none/report.html"), 2, "none is no folder"),
    ):
        done = compare(folder, *flags)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr


WAITING = """
import os, time

def predict(row):
    if os.path.exists({packed!r}):
        time.sleep(0.02)
        if row["amount"] == 0.5:
            raise ValueError("no half")
    return row["amount"] * 2.0
"""


def test_a_model_that_is_too_slow_and_fails_for_a_row_is_compared_all_the_same(
    tmp_path: Path,
) -> None:
    packed = tmp_path / "packed"
    pack_doubler(tmp_path, "e2e_compare_waiting", WAITING.format(packed=str(packed)))
    packed.touch()
    pq.write_table(
        pa.table({"amount": [row + 0.5 for row in range(100)]}), tmp_path / "rows.parquet"
    )
    flags = ("rows.parquet", "--quick", "--json", "--slo-ms", "10", "--workers", "1")
    done = compare(tmp_path, *flags, "--html", "report.html", "--markdown", "report.md")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "found.json"
    path.write_text(done.stdout, encoding="utf-8")
    found = read_findings(path)
    assert found.batch.rows_quarantined == 1
    assert found.batch.scaling is not None
    assert found.batch.scaling.rows < 1_000
    assert found.batch.scaling.row_wall_s > 0.005
    assert found.real_time.in_process.mean_s > 0.02
    if has_generator():
        assert found.real_time.capacity_per_s == 0.0
        rates = [level.offered_per_s for level in found.real_time.levels]
        assert rates == sorted(rates)
        assert sum(level.in_time_per_s for level in found.real_time.levels) == 0.0
        assert "keeps up with 0 requests/s" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert any("the model waits for something else" in note for note in found.notes)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_keeps_nobody_from_reading_it(
    browser: Client, folder: Path, found: Findings, size: tuple[int, int]
) -> None:
    browser("resize", width=size[0], height=size[1])
    browser("open", url=(folder / "report.html").as_uri())
    browser("script", text="for (const it of document.querySelectorAll('details')) it.open = true")
    violations: list[Any] = browser("violations")
    assert violations == []
    overflow = "return document.documentElement.scrollWidth - innerWidth"
    assert browser("script", text=overflow) <= 0
    asked = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert browser("script", text=asked) == []
    assert browser("complaints") == []


def test_the_page_shows_its_plots(browser: Client, folder: Path, found: Findings) -> None:
    browser("resize", width=DESK[0], height=DESK[1])
    browser("open", url=(folder / "report.html").as_uri())
    script = """
        return [...document.querySelectorAll("svg")].map((it) => {
            const box = it.getBoundingClientRect();
            return [it.getAttribute("aria-label"), box.width, box.height];
        });
    """
    shown: list[tuple[str, float, float]] = browser("script", text=script)
    assert len(shown) >= 5
    assert all(width > 300 and height > 20 for _, width, height in shown)
    assert any(re.match("Latency per data point", label) for label, _, _ in shown)
