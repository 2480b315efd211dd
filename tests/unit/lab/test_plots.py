"""Plots of a comparison as SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.lab.plots import (
    WIDTH,
    Axis,
    Line,
    Range,
    line_plot,
    log_axis,
    range_plot,
    stack_plot,
)
from twofold.lab.shown import shown_number, shown_time


def read(drawn: str) -> ET.Element:
    return ET.fromstring(drawn)  # noqa: S314 - it is our own


POSITIVE = st.floats(1e-9, 1e9)


@given(st.lists(POSITIVE, min_size=1, max_size=20))
def test_a_log_axis_has_all_numbers_in_order_and_few_ticks(values: list[float]) -> None:
    axis = log_axis(values, "x", shown_number)
    places = [axis.share(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(axis.low <= value * (1 + 1e-9) for value in values)
    assert all(axis.high >= value * (1 - 1e-9) for value in values)
    assert 1 <= len(axis.marks) <= 7


@given(st.floats(0.0, 1e6, allow_subnormal=False), st.floats(0.001, 1e6))
def test_a_linear_axis_has_round_ticks_within_it(low: float, length: float) -> None:
    axis = Axis(low, low + length, "x", shown_number)
    assert len(axis.marks) <= 7
    assert all(axis.low <= tick <= axis.high * (1 + 1e-9) for tick in axis.marks)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=8))
def test_lines_are_well_formed_and_stay_within_the_plot(points: list[tuple[float, float]]) -> None:
    x = log_axis([point[0] for point in points], "x", shown_number)
    y = log_axis([point[1] for point in points], "y", shown_number)
    drawn = line_plot("label", [Line("live", points, "a name", has_dots=True)], x, y)
    root = read(drawn)
    assert root.get("role") == "img"
    assert len(root.findall(".//circle")) == len(points)
    for circle in root.iter("circle"):
        assert 0 <= float(circle.get("cx", "-1")) <= WIDTH


def test_what_the_data_has_in_its_names_is_text() -> None:
    name = '<script>&"'
    x = log_axis([1.0, 10.0], name, shown_time)
    for drawn in (
        line_plot(name, [Line("live", [(1.0, 2.0)], name)], x, x, upright=[(2.0, name)]),
        range_plot(name, [Range("batch", name, [("p50", 2.0), ("p99", 3.0)])], x),
        stack_plot(name, [("a", name, 1.0)]),
    ):
        assert "<script" not in drawn
        read(drawn)


def test_parts_of_a_bar_fill_it_and_narrow_ones_have_no_name() -> None:
    drawn = stack_plot("label", [("a", "network", 0.9), ("b", "parse", 0.05), ("c", "rest", 0.05)])
    widths = [float(width) for width in re.findall(r'width="([0-9.]+)"', drawn)]
    assert sum(widths) == pytest.approx(WIDTH)
    assert re.findall(r">(\w+)</text>", drawn) == ["network"]


def test_a_bar_of_nothing_and_a_plot_without_lines_can_be_drawn() -> None:
    read(stack_plot("label", [("a", "none", 0.0)]))
    axis = log_axis([], "x", shown_number)
    read(line_plot("label", [Line("live", [])], axis, axis))
