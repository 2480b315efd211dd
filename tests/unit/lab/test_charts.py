from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from twofold.lab.charts import Series, bar_chart, line_chart

POINTS = [(0.0, 1.0), (10.0, 20.0), (20.0, 5.0)]


def lines(*series: Series, **more: bool) -> ET.Element:
    chart = line_chart(series, title="A <title>", x_label="x & y", y_label="ms", **more)
    return ET.fromstring(chart)  # noqa: S314 - our own


def test_a_chart_says_in_words_what_it_shows() -> None:
    svg = lines(Series("first", POINTS), Series("second", POINTS)).find("svg")
    assert svg is not None
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "A <title>: first, second; ms over x & y"


def test_a_table_beside_it_has_all_its_figures() -> None:
    chart = lines(Series("first", POINTS), Series("second", [(10.0, 7.0)]))
    cells = [[cell.text for cell in row] for row in chart.findall("details//tbody/tr")]
    assert cells == [["0", "1", "-"], ["10", "20", "7"], ["20", "5", "-"]]


def test_series_differ_by_dashes_and_markers_not_only_by_colour() -> None:
    chart = lines(*(Series(name, POINTS) for name in "abcde"))
    assert {path.get("class") for path in chart.iter("path")} >= {f"line l{at}" for at in range(5)}
    shapes = {path.get("d") for path in chart.iter("path") if path.get("transform")}
    assert len(shapes) == 5


def test_a_reference_is_a_line_without_markers_and_no_figure() -> None:
    chart = lines(Series("ideal", POINTS, is_reference=True), Series("first", []))
    assert [head.text for head in chart.findall("details//thead//th")] == ["x & y", "first"]
    assert len([path for path in chart.iter("path") if path.get("transform")]) == 1  # the legend


def test_a_logarithmic_axis_leaves_out_zeros_but_the_table_has_them() -> None:
    chart = lines(Series("first", [(1.0, 0.0), (2.0, 5.0)]), log_y=True)
    marks = [path for path in chart.iter("path") if path.get("transform")]
    assert len(marks) == 2  # in the legend, and one point
    assert len(chart.findall("details//tbody/tr")) == 2


def test_nothing_lies_outside_the_picture() -> None:
    chart = lines(Series("first", [(x * 1000, x**3) for x in range(30)], is_area=True))
    svg = chart.find("svg")
    assert svg is not None
    width, height = map(float, (svg.get("viewBox") or "").split()[2:])
    for path in svg.iter("path"):
        numbers = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d") or "")
        if not path.get("transform"):
            assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in numbers)


def test_a_chart_of_nothing_is_still_one() -> None:
    assert lines().find("svg") is not None
    assert ET.fromstring(bar_chart([], title="t", unit="ms")).find("svg") is not None  # noqa: S314


def test_bars_have_lengths_in_proportion() -> None:
    chart = ET.fromstring(bar_chart([("a", 2.0), ("b", 1.0)], title="t", unit="ms"))  # noqa: S314
    first, second = (float(rect.get("width") or 0) for rect in chart.iter("rect"))
    assert first == 2 * second
