"""Figures of another model, for advice before one's own was measured.

`typical.json` is what `twofold lab compare` wrote of a LightGBM model of 200 trees of 31 leaves
over a million rows of 20 numbers; `python bench/typical.py` measures it. It says of what order
things are, no more.
"""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from twofold.lab.findings import Findings, read_findings

MODEL = "MODEL"
"""The name it goes by, to be replaced by that of one's own."""
WHAT = "a LightGBM model of 200 trees on two cores"
FILE = Path(__file__).with_name("typical.json")


@functools.cache
def typical() -> Findings:
    """Read them."""
    return msgspec.structs.replace(read_findings(FILE), model=MODEL)
