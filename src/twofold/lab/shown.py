"""Numbers as people read them: three digits, and the unit that suits."""

from __future__ import annotations

import math

TIMES = (
    ("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6),
    ("ns", 1e-9),
)  # fmt: skip
LARGE = ((1e9, " billion"), (1e6, " million"))
BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
DIGITS = 3
LEAST_PLAIN = 1e-3
"""Numbers below are written with their power of ten."""


def shown_time(seconds: float) -> str:
    """A time, as `14.2 µs` or `3.5 h`."""
    for unit, size_s in TIMES:
        if abs(seconds) >= size_s * (1 - 5e-4):
            return f"{shown_number(seconds / size_s)} {unit}"
    return f"{shown_number(seconds * 1e9)} ns" if seconds else "0 s"


def shown_number(value: float) -> str:
    """A number with three digits, as `1,230`, `45.6`, `0.0012` or `9.58e-6`."""
    if not math.isfinite(value):
        return "never" if value > 0 else "-"
    if value == 0:
        return "0"
    if abs(value) < LEAST_PLAIN:
        mantissa, _, exponent = f"{value:.{DIGITS - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    decimals = max(0, DIGITS - 1 - math.floor(math.log10(abs(value))))
    rounded = round(value, DIGITS - 1 - math.floor(math.log10(abs(value))))
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def shown_tick(value: float) -> str:
    """A number as an axis has room for it, as `2.5k`."""
    return f"{shown_number(value / 1000)}k" if value >= 1000 else shown_number(value)  # noqa: PLR2004


def shown_count(value: float) -> str:
    """A large number in words, as `2.5 million`."""
    for size, word in LARGE:
        if value >= size:
            return shown_number(value / size) + word
    return shown_number(value)


def shown_bytes(size_bytes: float) -> str:
    """A size, as `139 MB`."""
    for unit, size in BYTES:
        if size_bytes >= size:
            return f"{shown_number(size_bytes / size)} {unit}"
    return f"{size_bytes:.0f} B"


def shown_cost(cost: float) -> str:
    """A cost, which may be a thousandth of a cent."""
    return shown_number(cost)
