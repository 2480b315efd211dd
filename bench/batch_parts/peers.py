"""A million rows with the tools that people use today, each as its users would write it.

All of them predict with LightGBM itself, and must give twofold's bits.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batch import BatchLab, Values, differences, predicted
from contestants import PEERS
from peers.install import NotInstalled, peers_python
from processes import Failed, Measured, check_ratio, in_turn, measured, show
from targets import Report, Target, at_least

ROWS, MORE_ROWS, CHECKED_ROWS = 1_000_000, 4_000_000, 1_000
ROUNDS, FEW_ROUNDS = 3, 2


@dataclass(frozen=True)
class Peer:
    """Another way to predict a file.

    Attributes:
        name: What tables call it.
        script: In `peers/`; takes the model, the input and where to write.
        target: How many times quicker twofold should be.
        is_tree: Whether it works in several processes, which also take long to start.
        needs: A program that it needs.
        from_joblib: Whether it takes the estimator rather than the booster.
    """

    name: str
    script: str
    target: Target
    is_tree: bool = False
    needs: str = ""
    from_joblib: bool = False


PLAIN = Peer("pandas script", "batch_pandas.py", at_least(5), from_joblib=True)
ALL = (
    PLAIN,
    Peer("LightGBM + Arrow, by hand", "batch_lightgbm.py", at_least(4)),
    Peer("Polars streaming", "batch_polars.py", at_least(4)),
    Peer("DuckDB", "batch_duckdb.py", at_least(4)),
    Peer("Spark mapInArrow", "batch_spark.py", at_least(15), is_tree=True, needs="java"),
    Peer("Ray Data", "batch_ray.py", at_least(15), is_tree=True),
)
MORE = at_least(9)
OURS = "twofold"


@dataclass(frozen=True)
class PeerRun:
    """A peer, ready to be run."""

    lab: BatchLab
    peer: Peer

    def check(self) -> None:
        """Run it on a few rows: whether it can be had, and for its bytecode.

        Raises:
            NotInstalled: Its environment, or what it needs besides, isn't there.
            Failed: It doesn't run, or predicts something else.
        """
        if self.peer.needs and shutil.which(self.peer.needs) is None:
            raise NotInstalled(f"expected {self.peer.needs}, got none. Install it.")
        few = self.lab.input(CHECKED_ROWS)
        ours: list[Values] = []
        self.lab.run(few, look=lambda folder: ours.append(predicted(folder)))
        self(few, lambda out: agree(self.peer.name, ours[0], predicted(out)))

    def __call__(self, source: Path, look: Callable[[Path], object]) -> Measured:
        """Run it; `look` is told where its output is, before that is deleted."""
        lab, peer = self.lab, self.peer
        standard = lab.standard
        model = standard.joblib if peer.from_joblib else standard.text
        with tempfile.TemporaryDirectory(prefix="peer-", dir=lab.folder) as out:
            target = Path(out) / ("out" if peer.is_tree else "out.parquet")
            command = [str(peers_python()), str(PEERS / peer.script)]
            command += [str(model), str(source), str(target)]
            log = lab.folder / f"{peer.script}.log"
            found = measured(command, log, lab.environment, tree=peer.is_tree)
            look(target)
            return found


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    rows, more = lab.rows(ROWS), lab.rows(MORE_ROWS)
    report.begin("peers", f"{rows:,} rows, Parquet to Parquet, LightGBM 200 x 31")
    present: dict[str, PeerRun] = {}
    absent: dict[str, str] = {}
    for peer in ALL:
        ready = PeerRun(lab, peer)
        try:
            ready.check()
            present[peer.name] = ready
        except (NotInstalled, Failed) as error:
            absent[peer.name] = str(error)
            print(f"  {peer.name}: skipped: {error}", flush=True)
    found = _measured(lab, lab.input(rows), present)
    show(report, found, dict.fromkeys(found, rows))
    report.keep("absent", absent)
    for peer in ALL:
        if peer.name in found:
            sides = (found[peer.name], found[OURS])
            check_ratio(report, f"{peer.name} / twofold", sides, peer.target)
        else:
            report.check(f"{peer.name} / twofold", None, peer.target, "  skipped, see above")
    _four_million(lab, report, more, present)


def _four_million(lab: BatchLab, report: Report, rows: int, present: dict[str, PeerRun]) -> None:
    name = f"{PLAIN.name} / twofold, {rows:,} rows"
    if PLAIN.name not in present:
        report.check(name, None, MORE, "  skipped, see above")
        return
    report.begin("peers, more rows", f"{rows:,} rows")
    found = _measured(lab, lab.input(rows), {PLAIN.name: present[PLAIN.name]})
    show(report, found, dict.fromkeys(found, rows))
    check_ratio(report, name, (found[PLAIN.name], found[OURS]), MORE)


def _measured(
    lab: BatchLab, source: Path, present: dict[str, PeerRun]
) -> dict[str, list[Measured]]:
    """Run all in turn, and hold each peer's predictions against those of the round's own run."""
    ours: list[Values] = []

    def own() -> Measured:
        ours.clear()
        return lab.run(source, look=lambda folder: ours.append(predicted(folder)))

    sides: dict[str, Callable[[], Measured]] = {OURS: own}
    for name, ready in present.items():
        sides[name] = lambda name=name, ready=ready: ready(
            source, lambda out: agree(name, ours[0], predicted(out))
        )
    fewer = {name: FEW_ROUNDS for name, ready in present.items() if ready.peer.is_tree}
    return in_turn(sides, lab.rounds(ROUNDS), fewer)


def agree(name: str, ours: Values, theirs: Values) -> None:
    """Check that a peer predicted what twofold does.

    Raises:
        Failed: It did not.
    """
    if why := differences(ours, theirs):
        raise Failed(f"{name}: {why}")
