"""Comparing predictions."""

from __future__ import annotations

import numpy as np

from twofold.model.signature import Output
from twofold.predictor.parity import compare, same_bits

PROBABILITY = Output(kind="probability", type="float64")
VALUE = Output(kind="value", type="float64")
LABEL = Output(kind="label", type="string")


def test_equal_bits_are_exact() -> None:
    found = compare([np.array([0.1])], [np.array([0.1])], PROBABILITY, tolerance=0)
    assert (found.exact, found.passed) == (True, True)


def test_the_bits_of_minus_zero_are_others() -> None:
    assert not same_bits(np.array([0.0]), np.array([-0.0]))


def test_a_difference_within_tolerance_passes_without_being_exact() -> None:
    found = compare([np.array([0.1])], [np.array([0.1 + 1e-7])], PROBABILITY, tolerance=1e-5)
    assert (found.exact, found.passed, found.label_flips) == (False, True, 0)


def test_a_flipped_label_fails_however_small_the_difference() -> None:
    found = compare([np.array([0.5])], [np.array([0.5 + 1e-9])], PROBABILITY, tolerance=1e-5)
    assert (found.passed, found.label_flips, found.first_row) == (False, 1, 0)


def test_the_largest_class_is_the_label_of_several_probabilities() -> None:
    names = Output(kind="probability", type="float64", names=("a", "b"), classes=("0", "1"))
    one, other = (
        [np.array([0.5]), np.array([0.5 - 1e-9])],
        [np.array([0.5 - 1e-9]), np.array([0.5])],
    )
    assert compare(one, other, names, tolerance=1e-5).label_flips == 1


def test_each_of_several_targets_has_a_label_of_its_own() -> None:
    targets = Output(kind="probability", type="float64", names=("a", "b"))
    flipped = [np.array([0.9]), np.array([0.5 + 1e-9])]
    found = compare([np.array([0.9]), np.array([0.5])], flipped, targets, tolerance=1e-5)
    assert (found.passed, found.label_flips) == (False, 1)
    # Which of two targets is likelier says nothing.
    alike = compare(
        [np.array([0.2]), np.array([0.2 + 1e-9])],
        [np.array([0.2 + 1e-9]), np.array([0.2])],
        targets,
        tolerance=1e-5,
    )
    assert alike.passed
    one, other = np.array(["a", "b"], object), np.array(["a", "c"], object)
    labels = Output(kind="label", type="string", names=("a", "b"))
    found = compare([one, one], [one, other], labels, tolerance=1.0)
    assert (found.passed, found.label_flips, found.first_row) == (False, 1, 1)


def test_a_difference_beyond_tolerance_fails_and_names_its_row() -> None:
    found = compare([np.array([1.0, 2.0])], [np.array([1.0, 2.1])], VALUE, tolerance=1e-5)
    assert (found.passed, found.first_row) == (False, 1)
    assert "1 of 2 rows" in found.reason


def test_large_values_are_compared_relatively() -> None:
    found = compare([np.array([1e9])], [np.array([1e9 + 1])], VALUE, tolerance=1e-5)
    assert found.passed


def test_labels_must_be_equal() -> None:
    one, other = np.array(["a", "b"], object), np.array(["a", "c"], object)
    assert not compare([one], [other], LABEL, tolerance=1.0).passed
    assert compare([one], [one.copy()], LABEL, tolerance=0).exact
