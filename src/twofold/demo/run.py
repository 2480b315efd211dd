"""The demo's story: train, pack, predict a million in batch, serve one, compare the bits."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from twofold.app.batch import RunRequest, RunResult, Watch, run_batch
from twofold.app.pack import pack
from twofold.app.serve import running_server
from twofold.demo import customers
from twofold.errors import ConfigError, problem
from twofold.predictor.door import Predictor
from twofold.serving.settings import ServeSettings

MARKER = ".twofold-demo"
MODEL = "churn"
COMPARED_ROWS = 1000
TIMED_CALLS = 2000
CHANGES = {"contract": "Two year", "tech_support": "Yes", "online_security": "Yes"}
MEBIBYTE = 1 << 20


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo measured; times in seconds.

    Attributes:
        rows: Customers predicted in the batch.
        steps_s: Each step's name and time.
        batch_rows_per_s: Of the whole run, start to commit.
        one_row_in_process_s: Median of `predict_one` on a dict.
        one_row_original_s: Median of one row through scikit-learn itself, at pack time.
        one_row_http_s: Median of one request after the other over one connection.
        one_row_http_p99_s: 99th percentile of the same.
        compared_rows: Customers predicted at both speeds.
        equal_rows: Of these, those whose predictions have the same bits.
        peak_memory_bytes: Largest resident memory of this process, the batch included.
        folder: Where everything lies.
    """

    rows: int
    steps_s: dict[str, float]
    batch_rows_per_s: float
    one_row_in_process_s: float
    one_row_original_s: float | None
    one_row_http_s: float
    one_row_http_p99_s: float
    compared_rows: int
    equal_rows: int
    peak_memory_bytes: int
    folder: str


@dataclasses.dataclass
class _Stage:
    """Where the demo speaks, and what it measured so far."""

    console: Console
    steps_s: dict[str, float] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, title: str) -> Generator[None]:
        self.console.print(f"\n[bold]{len(self.steps_s) + 1}. {title}[/bold]")
        start_s = time.monotonic()
        yield
        self.steps_s[title] = time.monotonic() - start_s
        self.console.print(f"   [dim]{self.steps_s[title]:.1f} s[/dim]")

    @contextlib.contextmanager
    def bar(self, total: int) -> Generator[Callable[[int], None]]:
        columns = (
            TextColumn("  "),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed:,.0f} rows"),
            TimeRemainingColumn(),
        )
        shown = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        with shown:
            task = shown.add_task("", total=total)
            yield lambda rows: shown.advance(task, rows)


def run_demo(folder: Path, *, rows: int, wait: bool) -> DemoReport:
    """Run the whole demo.

    Args:
        folder: Where its files go; those of an earlier demo in it are replaced.
        rows: Customers to predict in the batch.
        wait: Keep the server running at the end, if on a terminal.

    Returns:
        What was measured.

    Raises:
        ConfigError: scikit-learn isn't installed, or the folder holds something else.
    """
    stage = _Stage(Console(stderr=True, highlight=False, soft_wrap=True, emoji=False))
    _clear(folder)
    real = customers.real_customers()
    model_file = folder / "churn.joblib"
    with stage.step(f"Train a scikit-learn pipeline on {real.num_rows:,} telecom customers"):
        _train(real, model_file)
    with stage.step("Pack it as `churn`: signature, runtimes, parity proof"):
        predictor = _pack(stage, real, model_file, folder)
    people = folder / "customers.parquet"
    with stage.step(f"Write {rows:,} customers to {people.name}"), stage.bar(rows) as advance:
        customers.write_customers(people, real, rows, advance)
    with stage.step("Batch: predict them all"):
        result = _batch(stage, people, folder, rows)
    real_time = ServeSettings(port=0, workers=1)
    with contextlib.ExitStack() as stack:
        with stage.step("Real time: start the server"):
            server = running_server([MODEL], registry=folder / "registry", settings=real_time)
            url = stack.enter_context(server)
            stage.console.print(f"   ready at {url}")
        with stage.step("One customer calls"):
            _one_customer(stage, url, people, result)
        with stage.step(f"The same {COMPARED_ROWS:,} customers through both speeds"):
            compared, equal, http_s = _compare(url, people, result)
            stage.console.print(
                f"   {equal:,} of {compared:,} predictions equal, bit for bit, over HTTP"
            )
        one_row_s = _in_process(predictor, real)
        report = _report(stage, rows, result, http_s, (one_row_s, compared, equal, folder))
        report = msgspec.structs.replace(report, one_row_original_s=_original_s(predictor))
        _summary(stage.console, report, predictor)
        if wait and sys.stdin.isatty() and stage.console.is_terminal:
            _wait(stage.console, url)
    return report


def _clear(folder: Path) -> None:
    marker = folder / MARKER
    if folder.is_symlink() or Path.cwd().is_relative_to(folder.resolve()):
        fix = "Choose another with --folder."
        raise ConfigError(
            problem(str(folder), "a folder of its own", "a link, or the current folder", fix)
        )
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise ConfigError(
            problem(
                str(folder),
                "an empty folder or an earlier demo's",
                "one with other files",
                "Choose another with --folder.",
            )
        )
    if marker.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text("made by `twofold demo`, which removes this folder when it runs again\n")


def _train(real: pa.Table, model_file: Path) -> None:
    model = customers.train(real)
    import joblib  # noqa: PLC0415 - comes with scikit-learn

    joblib.dump(model, model_file)


def _pack(stage: _Stage, real: pa.Table, model_file: Path, folder: Path) -> Predictor:
    with stage.console.status("   packing") as status:
        predictor = pack(
            model_file,
            name=MODEL,
            sample=real,
            registry=folder / "registry",
            drop=[customers.KEY, customers.TARGET],
            say=lambda words: status.update(f"   {words}"),
        )
    parity = predictor.parity
    stage.console.print(
        f"   {predictor.name}@{predictor.version}: {len(predictor.signature.fields)} fields; "
        f"compared with the original on {parity.sample_rows:,} real and {parity.edge_rows:,} "
        "edge rows"
    )
    for candidate in parity.candidates:
        one_row = f", {candidate.one_row_s * 1e6:,.1f} µs a row" if candidate.one_row_s else ""
        stage.console.print(f"   {candidate.runtime}: {candidate.reason}{one_row}")
    return predictor


def _batch(stage: _Stage, people: Path, folder: Path, rows: int) -> RunResult:
    request = RunRequest(
        model=MODEL,
        input=str(people),
        output=folder / "predictions",
        registry=folder / "registry",
        key=customers.KEY,
    )
    done = 0
    with stage.bar(rows) as advance:

        def show(progress: Any) -> None:
            nonlocal done
            advance(progress.rows_done - done)
            done = progress.rows_done

        result = run_batch(request, watch=Watch(progress=show))
    manifest = result.manifest
    stage.console.print(
        f"   {manifest.rows_in:,} rows in = {manifest.rows_predicted:,} predicted + "
        f"{manifest.rows_quarantined:,} quarantined; {manifest.rows_in / result.elapsed_s:,.0f} "
        f"rows/s, committed to {escape(str(result.folder))}"
    )
    return result


def _one_customer(stage: _Stage, url: str, people: Path, result: RunResult) -> None:
    stored, row = _stored(people, result, 1)
    key, prediction = stored[0]
    changed = {**row[0], **CHANGES}
    with _connection(url) as ask:
        live, elapsed_s = ask(changed)
    told = ", ".join(f"{name} = {value}" for name, value in CHANGES.items())
    version = result.manifest.model.version
    stage.console.print(f"   customer {key}, contract {row[0]['contract']}")
    stage.console.print(
        f"   stored: {prediction:.4f} churn probability  (source batch, as of "
        f"{result.manifest.as_of:%H:%M:%S} UTC, version {version})"
    )
    stage.console.print(
        f"   live:   {live['prediction']:.4f} if {told}  (source {live['source']}, version "
        f"{live['version']}, {elapsed_s * 1e3:.2f} ms)"
    )


def _stored(
    people: Path, result: RunResult, count: int
) -> tuple[list[tuple[int, float]], list[dict[str, Any]]]:
    """Predictions from the batch, spread over its first part, and the rows they are for."""
    part = pq.read_table(result.folder / result.manifest.files[0].name)
    step = max(1, part.num_rows // count)
    chosen = part.slice(0, step * count).to_pydict()
    keys, predictions = chosen[customers.KEY][::step], chosen["prediction"][::step]
    wanted = pc.field(customers.KEY).isin(keys)
    rows = pq.read_table(people, filters=wanted).to_pylist()
    stored = list(zip(keys, predictions, strict=True))
    by_key = {row.pop(customers.KEY): row for row in rows}
    return stored, [by_key[key] for key, _ in stored]


@contextlib.contextmanager
def _connection(url: str) -> Generator[Callable[[dict[str, Any]], tuple[dict[str, Any], float]]]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def ask(row: dict[str, Any]) -> tuple[dict[str, Any], float]:
        body = msgspec.json.encode({"row": row})
        start_s = time.perf_counter()
        connection.request(
            "POST", f"/v1/models/{MODEL}/predict", body, {"content-type": "application/json"}
        )
        answer = connection.getresponse().read()
        return json.loads(answer), time.perf_counter() - start_s

    try:
        yield ask
    finally:
        connection.close()


def _compare(url: str, people: Path, result: RunResult) -> tuple[int, int, list[float]]:
    stored, rows = _stored(people, result, COMPARED_ROWS)
    equal, times_s = 0, list[float]()
    with _connection(url) as ask:
        for (_, prediction), row in zip(stored, rows, strict=True):
            answer, elapsed_s = ask(row)
            times_s.append(elapsed_s)
            equal += np.float64(answer["prediction"]).tobytes() == np.float64(prediction).tobytes()
    return len(stored), equal, times_s


def _in_process(predictor: Predictor, real: pa.Table) -> float:
    rows = real.select(customers.features(real)).slice(0, COMPARED_ROWS).to_pylist()
    times_s: list[float] = []
    for turn in range(TIMED_CALLS):
        start_s = time.perf_counter()
        predictor.predict_one(rows[turn % len(rows)])
        times_s.append(time.perf_counter() - start_s)
    return float(np.median(times_s))


def _original_s(predictor: Predictor) -> float | None:
    for candidate in predictor.parity.candidates:
        if candidate.runtime == "original":
            return candidate.one_row_s
    return None


def _report(
    stage: _Stage,
    rows: int,
    result: RunResult,
    http_s: list[float],
    rest: tuple[float, int, int, Path],
) -> DemoReport:
    one_row_s, compared, equal, folder = rest
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return DemoReport(
        rows=rows,
        steps_s=stage.steps_s,
        batch_rows_per_s=rows / result.elapsed_s,
        one_row_in_process_s=one_row_s,
        one_row_original_s=None,
        one_row_http_s=float(np.median(http_s)),
        one_row_http_p99_s=float(np.quantile(http_s, 0.99)),
        compared_rows=compared,
        equal_rows=equal,
        # Kilobytes on Linux, bytes on macOS.
        peak_memory_bytes=peak if sys.platform == "darwin" else peak * 1024,
        folder=str(folder),
    )


def _summary(console: Console, report: DemoReport, predictor: Predictor) -> None:
    runtimes = predictor.record.runtimes
    table = Table(box=None, pad_edge=False)
    table.add_column("mode")
    for title in ("runtime", "rows/s", "per data point", "the answer is"):
        table.add_column(title, justify="right")
    per_row_s = 1 / report.batch_rows_per_s
    age = f"stored, {report.rows * per_row_s:.1f} s old"
    batch = ("batch", runtimes.batch, per_row_s, age)
    in_process = ("real time, in process", runtimes.real_time, report.one_row_in_process_s, "live")
    over_http = ("real time, over HTTP", runtimes.real_time, report.one_row_http_s, "live")
    rows: list[tuple[str, str, float, str]] = [batch, in_process, over_http]
    if report.one_row_original_s:
        rows.append(("scikit-learn, one row", "-", report.one_row_original_s, "live"))
    for mode, runtime, seconds, answer in rows:
        table.add_row(mode, runtime, f"{1 / seconds:,.0f}", f"{seconds * 1e6:,.1f} µs", answer)
    console.print()
    console.print(table)
    folder = escape(report.folder)
    total_s = sum(report.steps_s.values())
    console.print(
        f"\npeak memory {report.peak_memory_bytes / MEBIBYTE:,.0f} MiB; {total_s:.0f} s in all\n"
        f"model      {folder}/registry/churn   (twofold models churn --registry "
        f"{folder}/registry)\n"
        f"customers  {folder}/customers.parquet\n"
        f"batch      {folder}/predictions"
    )


def _wait(console: Console, url: str) -> None:
    console.print(f"\nthe server keeps running at [bold]{url}/docs[/bold]; Ctrl-C stops it")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
