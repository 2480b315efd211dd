"""Choosing among the runtimes that passed: equal bits first, then speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import DeclarationError
from twofold.model.record import Candidate, Modes, RuntimeName
from twofold.packing.choose import Choice, choose
from twofold.packing.trial import Trial, failed

BITS = (np.array([0.25, 0.75]),)
LAST_BIT = (np.array([0.25, math.nextafter(0.75, 1.0)]),)


def tried(
    runtime: RuntimeName,
    *,
    one_row_s: float | None,
    rows_per_s: float | None,
    predictions: Sequence[Any] = BITS,
    rows_per_call: int = 0,
) -> Trial:
    candidate = Candidate(
        runtime=runtime,
        passed=True,
        reason="bit-equal on 2 rows",
        rows_per_call=rows_per_call,
        one_row_s=one_row_s,
        batch_rows_per_s=rows_per_s,
    )
    return Trial(candidate, list(predictions))


def both(runtime: RuntimeName, rows_per_call: int = 0) -> Choice:
    return Choice(Modes(batch=runtime, real_time=runtime), rows_per_call)


def test_the_only_runtime_that_passed_gets_both_modes() -> None:
    trials = [tried("original", one_row_s=1.0, rows_per_s=1.0), failed("onnx", "no form")]
    assert choose(trials) == both("original")


def test_the_one_that_is_faster_in_both_modes_gets_both() -> None:
    slow = tried("original", one_row_s=2e-3, rows_per_s=1e5)
    fast = tried("onnx", one_row_s=1e-3, rows_per_s=1e6, predictions=LAST_BIT)
    assert choose([slow, fast]) == both("onnx")
    assert choose([fast, slow]) == both("onnx")


def test_runtimes_of_equal_bits_share_the_modes_each_is_faster_in() -> None:
    alone = tried("original", one_row_s=1e-5, rows_per_s=1e4)
    among = tried("onnx", one_row_s=1e-3, rows_per_s=1e6)
    assert choose([alone, among]) == Choice(Modes(batch="onnx", real_time="original"), 0)
    assert choose([among, alone]) == Choice(Modes(batch="onnx", real_time="original"), 0)


@pytest.mark.parametrize(
    "other",
    [
        LAST_BIT,
        (BITS[0].astype(np.float32),),
        (np.array(["a", "b"], object),),
    ],
    ids=["the last bit", "another type", "labels"],
)
def test_runtimes_of_other_bits_never_share_the_modes(other: Sequence[Any]) -> None:
    alone = tried("original", one_row_s=1e-5, rows_per_s=1e4)
    among = tried("onnx", one_row_s=1e-3, rows_per_s=1e7, predictions=other)
    # The products are 1e-9 and 1e-10: the second is ten times as fast on the whole.
    assert choose([alone, among]) == both("onnx")


def test_a_zero_of_the_other_sign_is_another_prediction() -> None:
    alone = tried("original", one_row_s=1e-5, rows_per_s=1e4, predictions=[np.array([0.0])])
    among = tried("onnx", one_row_s=1e-3, rows_per_s=1e7, predictions=[np.array([-0.0])])
    assert choose([alone, among]) == both("onnx")


def test_every_output_must_have_equal_bits() -> None:
    alone = tried("original", one_row_s=1e-5, rows_per_s=1e4, predictions=[*BITS, *BITS])
    among = tried("onnx", one_row_s=1e-3, rows_per_s=1e7, predictions=[*BITS, *LAST_BIT])
    assert choose([alone, among]) == both("onnx")
    equal = tried("onnx", one_row_s=1e-3, rows_per_s=1e7, predictions=[*BITS, *BITS])
    assert choose([alone, equal]) == Choice(Modes(batch="onnx", real_time="original"), 0)


def test_runtimes_of_other_rows_per_call_never_share_the_modes() -> None:
    # A version has one number of rows per call, whatever the mode.
    alone = tried("original", one_row_s=1e-5, rows_per_s=1e4)
    among = tried("onnx", one_row_s=1e-3, rows_per_s=1e7, rows_per_call=256)
    assert choose([alone, among]) == both("onnx", 256)


def test_the_rows_per_call_of_what_was_chosen_are_kept() -> None:
    alone = tried("original", one_row_s=1e-5, rows_per_s=1e4, rows_per_call=256)
    among = tried("onnx", one_row_s=1e-3, rows_per_s=1e7, rows_per_call=256)
    assert choose([alone, among]) == Choice(Modes(batch="onnx", real_time="original"), 256)


def test_being_twice_as_fast_in_one_mode_does_not_pay_for_thrice_as_slow_in_the_other() -> None:
    even = tried("original", one_row_s=1e-3, rows_per_s=1e6)
    odd = tried("onnx", one_row_s=3e-3, rows_per_s=2e6, predictions=LAST_BIT)
    assert choose([odd, even]) == both("original")
    mild = tried("onnx", one_row_s=1.5e-3, rows_per_s=2e6, predictions=LAST_BIT)
    assert choose([mild, even]) == both("onnx")


def test_a_runtime_that_failed_is_not_used_however_fast_it_is() -> None:
    candidate = Candidate(
        runtime="onnx", passed=False, reason="wrong", one_row_s=1e-9, batch_rows_per_s=1e12
    )
    slow = tried("original", one_row_s=1.0, rows_per_s=1.0)
    assert choose([Trial(candidate, list(BITS)), slow]) == both("original")


@pytest.mark.parametrize(
    ("one_row_s", "rows_per_s"), [(None, 1e9), (1e-9, None), (1e-9, 0.0), (None, None)]
)
def test_a_runtime_that_was_not_timed_comes_last(
    one_row_s: float | None, rows_per_s: float | None
) -> None:
    untimed = tried("onnx", one_row_s=one_row_s, rows_per_s=rows_per_s, predictions=LAST_BIT)
    slow = tried("original", one_row_s=10.0, rows_per_s=0.1)
    assert choose([untimed, slow]) == both("original")
    assert choose([untimed]) == both("onnx")


def test_the_first_of_equally_fast_ones_is_chosen() -> None:
    first = tried("original", one_row_s=1e-3, rows_per_s=1e6)
    second = tried("onnx", one_row_s=1e-3, rows_per_s=1e6)
    assert choose([first, second]) == both("original")


def test_the_reason_of_every_runtime_is_given_where_none_passed() -> None:
    with pytest.raises(DeclarationError) as caught:
        choose([failed("original", "random numbers"), failed("onnx", "no form of it")])
    assert str(caught.value) == (
        "pack: expected a runtime with equal bits at both speeds, got none "
        "(original: random numbers; onnx: no form of it). Make the model's predictions depend "
        "on the row alone: no random numbers, no state."
    )


TIMES = st.floats(1e-9, 1e9)


@given(TIMES, TIMES, TIMES, TIMES)
def test_no_speed_makes_up_for_other_bits(a: float, b: float, c: float, d: float) -> None:
    one = tried("original", one_row_s=a, rows_per_s=b)
    other = tried("onnx", one_row_s=c, rows_per_s=d, predictions=LAST_BIT)
    modes = choose([one, other]).modes
    assert modes.batch == modes.real_time


@given(TIMES, TIMES, TIMES, TIMES)
def test_with_equal_bits_each_mode_has_the_faster_runtime(
    a: float, b: float, c: float, d: float
) -> None:
    one = tried("original", one_row_s=a, rows_per_s=b)
    other = tried("onnx", one_row_s=c, rows_per_s=d)
    modes = choose([one, other]).modes
    times = {"original": a, "onnx": c}
    speeds = {"original": b, "onnx": d}
    assert times[modes.real_time] == pytest.approx(min(a, c))
    assert speeds[modes.batch] == pytest.approx(max(b, d))
