"""Ctrl-C at any instant of a batch's way through the threads ends the run, and nothing hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import twofold

INTERRUPTS = 500
DEADLINE_S = 60

# Batches that take next to no time keep the main thread in the hand-over, where it is hit.
CHILD = """
import itertools, random, signal, sys
from twofold.batch.local import Behind, predict_in_order

signal.signal(signal.SIGALRM, signal.default_int_handler)
pause = random.Random(5)
for _ in range(int(sys.argv[1])):
    try:
        signal.setitimer(signal.ITIMER_REAL, pause.uniform(0.0002, 0.003))
        with Behind() as behind:
            for number in predict_in_order(itertools.count(), int, workers=2, max_waiting=2):
                behind.do(list)
    except KeyboardInterrupt:
        continue
print("interrupted", sys.argv[1])
"""


def test_interrupts_anywhere_in_the_hand_over_between_threads_end_it() -> None:
    source = Path(twofold.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(INTERRUPTS)],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"interrupted {INTERRUPTS}\n", "")
