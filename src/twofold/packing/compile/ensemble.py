"""Tree ensembles as their libraries have them, and turned into the kernel's codes.

A test of a tree sends a row to the right or to the left by one feature. Tests of one feature that
differ in their threshold only share a lane; in a lane, a feature's code is the number of the
thresholds it lies above, and each test is `code > number of its threshold`. Missing values get the
lowest or the highest code: whichever lies on the side that the original sends them to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from twofold.packing.compile.features import (
    Constant,
    Feature,
    Levels,
    NotCompilable,
    Number,
    Text,
    pull_back,
)
from twofold.predictor.program import (
    COLUMN,
    LEAF_CODE,
    MAX_CODE,
    NO_CODES,
    NODE,
    Header,
    Input,
    Program,
)

Missing = Literal["left", "right", "zero", "zero_left", "zero_right"]
"""Where a missing value goes. `zero`: it is read as 0. `zero_left`, `zero_right`: it goes to that
side, and so does every value that counts as zero."""
ZERO = float(np.float32(1e-35))
"""LightGBM's: what is at most this far from 0 counts as 0."""
MAX_CATEGORY = 65_000
MAX_COLUMNS = 65_535


@dataclasses.dataclass(frozen=True)
class Members:
    """A test by category: a feature, cut to a whole number, is a member or isn't.

    Attributes:
        categories: The members.
        to: The side that members go to; all others, known or not, go to the other one.
    """

    categories: frozenset[int]
    to: Literal["left", "right"]


@dataclasses.dataclass(frozen=True)
class Tests:
    """The tests of a tree, one entry for each node; what stands at leaves is not looked at.

    A row goes left if its feature is at most the threshold, or as `members` says.

    Attributes:
        feature: Which feature.
        threshold: float64.
        missing: One of `Missing` each; with members, `left` or `right`.
        members: `Members`, or None where the threshold counts.
    """

    feature: Any
    threshold: Any
    missing: Sequence[Missing]
    members: Sequence[Members | None]


@dataclasses.dataclass(frozen=True)
class Tree:
    """One tree.

    Attributes:
        tests: One entry per node; what stands at leaves is not looked at.
        left: Index of each node's left child; -1 at leaves.
        right: Of its right child.
        values: float64 of shape (nodes, dimensions): what leaves add.
        output: The output it adds to, if it adds to one.
    """

    tests: Tests
    left: Any
    right: Any
    values: Any
    output: int = 0


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Trees whose leaves are summed, in order.

    Attributes:
        trees: In the order of summing.
        bases: What the sum of each output starts with.
        header: What comes after the sums; its inputs and counts are filled in here.
        read: How a feature is read before it is compared: as `float64`, rounded to `float32`, or
            with LightGBM's zero (`snapped`).
    """

    trees: Sequence[Tree]
    bases: Any
    header: Header
    read: Literal["float64", "float32", "snapped"]


def _snapped(values: Any) -> Any:
    return np.where(np.abs(values) <= ZERO, 0.0, values)


def _rounded(values: Any) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32).astype(np.float64)


READS: dict[str, Callable[[Any], Any]] = {
    "float64": lambda values: values,
    "float32": _rounded,
    "snapped": _snapped,
}


@dataclasses.dataclass(frozen=True)
class _Lane:
    """Tests of one feature that differ in their threshold only."""

    feature: int
    missing: Missing
    members: Members | None


class _Lanes:
    """Collects the tests; knows the thresholds of each lane."""

    def __init__(self, trees: Sequence[Tree], present: Collection[int]) -> None:
        found: dict[_Lane, set[float]] = {}
        self.of_tree: list[list[_Lane | None]] = []
        for tree in trees:
            tests = tree.tests
            lanes: list[_Lane | None] = []
            for node, left in enumerate(tree.left.tolist()):
                if left < 0:
                    lanes.append(None)
                    continue
                feature, missing = int(tests.feature[node]), tests.missing[node]
                if feature in present and not missing.startswith("zero_"):
                    missing = "left"  # it never is: both sides share their thresholds
                lane = _Lane(feature, missing, tests.members[node])
                lanes.append(lane)
                found.setdefault(lane, set()).add(float(tests.threshold[node]))
            self.of_tree.append(lanes)
        self.thresholds = {
            lane: np.array(sorted(cuts)) if lane.members is None else np.zeros(1)
            for lane, cuts in found.items()
        }

    def codes(self, lane: _Lane, values: Any) -> Any:
        """The codes of feature values as the trees read them; NaN is missing."""
        thresholds = self.thresholds[lane]
        highest = len(thresholds)
        missing = np.isnan(values)
        known = np.where(missing, 0.0, values)
        if lane.members is not None:
            return _member_codes(lane.members, lane.missing, values)
        codes = np.searchsorted(thresholds, known, side="left")
        if lane.missing in ("zero_left", "zero_right"):
            missing |= np.abs(known) <= ZERO
        if lane.missing != "zero":
            codes[missing] = 0 if lane.missing.endswith("left") else highest
        return codes

    def cuts(self, lane: _Lane) -> Any:
        """The feature values between which codes may change."""
        if lane.members is not None:
            members = sorted({0, *lane.members.categories})
            if members[-1] > MAX_CATEGORY:
                raise NotCompilable(f"category {members[-1]} is beyond {MAX_CATEGORY}")
            # Cut to a whole number, what lies above -1 and below 1 is 0.
            starts = [-1.0, *(float(np.nextafter(c, -np.inf)) for c in members if c > 0)]
            ends = [float(np.nextafter(c + 1, -np.inf)) for c in members]
            return np.array(sorted({*starts, *ends}))
        cuts = self.thresholds[lane]
        if lane.missing in ("zero_left", "zero_right"):
            cuts = np.union1d(cuts, [np.nextafter(-ZERO, -np.inf), ZERO])
        return cuts


def _member_codes(members: Members, missing: Missing, values: Any) -> Any:
    """0 for what goes left, 1 for what goes right."""
    is_missing = np.isnan(values)
    whole = np.where(is_missing, 0.0, values)
    inside = (whole > -1.0) & (whole <= MAX_CATEGORY + 1)
    numbers = np.where(inside, whole, 0.0).astype(np.int64)
    is_member = np.isin(numbers, list(members.categories)) & inside
    right = is_member == (members.to == "right")
    return np.where(is_missing, missing == "right", right).astype(np.int64)


class _Columns:
    """The kernel's columns, and the arrays they point into."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._inputs = inputs
        self.rows: list[tuple[int, int, int, int, int, int, int, int]] = []
        self.edges: list[float] = []
        self.codes: list[int] = []

    def add(self, feature: Feature, read: Callable[[Any], Any], lanes: _Lanes, lane: _Lane) -> int:
        """Make the column of a lane; gives its number."""

        def code(values: Any) -> Any:
            return lanes.codes(lane, read(np.asarray(values, np.float64)))

        match feature:
            case Number():
                self._add_number(feature, read, code, lanes.cuts(lane))
            case Levels():
                found = code([*feature.values, feature.missing])
                self._add_ranges(feature.input, feature.edges, found[:-1], found[-1])
            case Text():
                self._add_text(feature, code)
            case Constant():
                self._add_ranges(0, (), code([feature.value]), code([feature.value])[0])
        return len(self.rows) - 1

    def _add_number(
        self, feature: Number, read: Callable[[Any], Any], code: Any, cuts: Any
    ) -> None:
        def value(inputs: Any) -> Any:
            found = read(feature.of(inputs))
            return np.where(np.isnan(found), -np.inf, found)

        def is_defined(inputs: Any) -> Any:
            return np.where(np.isnan(feature.of(inputs)), 0.0, 1.0)

        # Below some input a logarithm is NaN, which the trees take for missing.
        edges = np.concatenate([pull_back(value, cuts), pull_back(is_defined, np.array([0.5]))])
        edges = np.unique(edges[np.isfinite(edges)])
        tops = np.append(edges, np.nextafter(edges[-1], np.inf) if len(edges) else 0.0)
        with np.errstate(all="ignore"):
            found = code(feature.of(tops))
            missing = code(feature.of([np.nan]))[0]
        self._add_ranges(feature.input, edges.tolist(), found, missing)

    def _add_ranges(self, at: int, edges: Sequence[float], codes: Any, missing: Any) -> None:
        _check(codes, len(edges))
        first = len(self.edges)
        self.edges += edges
        start = NO_CODES
        if codes.tolist() != list(range(len(edges) + 1)):
            start = len(self.codes)
            self.codes += codes.tolist()
        self.rows.append((at, 0, first, len(edges), start, int(missing), 0, 0))

    def _add_text(self, feature: Text, code: Any) -> None:
        known = self._inputs[feature.input].categories
        # A text that the original refuses never gets here: its code doesn't matter.
        unknown = np.nan if feature.unknown is None else feature.unknown
        missing = np.nan if feature.missing is None else feature.missing
        values = [feature.values.get(text, unknown) for text in known]
        found = code([*values, unknown, missing])
        _check(found, 0)
        first = len(self.codes)
        self.codes += found[:-2].tolist()
        self.rows.append(
            (feature.input, 1, first, len(known), NO_CODES, *found[:-3:-1].tolist(), 0)
        )


def _check(codes: Any, edges: int) -> None:
    if edges > MAX_CODE or (len(codes) and int(codes.max()) > MAX_CODE - 1):
        raise NotCompilable("a feature has more than 65,534 thresholds")


def assemble(
    ensemble: Ensemble,
    features: Sequence[Feature],
    inputs: Sequence[Input],
    *,
    present: Collection[int] = (),
) -> Program:
    """Make the kernel's form of an ensemble.

    Args:
        ensemble: The trees.
        features: What they see.
        inputs: What the features are made of.
        present: Features that are never missing.

    Raises:
        NotCompilable: It has too many columns, thresholds or categories.
    """
    lanes = _Lanes(ensemble.trees, present)
    columns = _Columns(inputs)
    read = READS[ensemble.read]
    order = sorted(lanes.thresholds, key=lambda lane: _input_of(features[lane.feature]))
    numbers = {lane: columns.add(features[lane.feature], read, lanes, lane) for lane in order}
    if not numbers:  # no tree has a test; still, the kernel's leaves look at a column
        at = next((at for at, item in enumerate(inputs) if item.kind != "string"), 0)
        is_text = int(inputs[at].kind == "string")
        columns.rows.append((at, is_text, 0, 0, NO_CODES, 0, 0, 0))
    if len(numbers) > MAX_COLUMNS:
        raise NotCompilable(f"it compares more than {MAX_COLUMNS} different columns")
    nodes: list[Any] = []
    values: list[Any] = []
    roots = [0]
    for tree, of_node in zip(ensemble.trees, lanes.of_tree, strict=True):
        found, order_of = _laid_out(tree, of_node, lanes, numbers)
        nodes.append(found)
        leaf = tree.left[order_of] < 0
        values.append(np.where(leaf[:, None], tree.values[order_of], 0.0).ravel())
        roots.append(roots[-1] + len(found))
    arrays = {
        "columns": np.array(columns.rows, COLUMN),
        "edges": np.array(columns.edges, np.float64),
        "codes": np.array(columns.codes, np.uint16),
        "nodes": np.concatenate(nodes) if nodes else np.zeros(0, NODE),
        "values": np.concatenate(values) if values else np.zeros(0),
        "roots": np.array(roots, np.uint32),
        "outputs": np.array([tree.output for tree in ensemble.trees], np.uint32),
        "bases": np.asarray(ensemble.bases, np.float64),
    }
    header = msgspec.structs.replace(ensemble.header, inputs=tuple(inputs))
    return Program(header, arrays)


def _input_of(feature: Feature) -> int:
    return 0 if isinstance(feature, Constant) else feature.input


def _laid_out(
    tree: Tree, of_node: list[_Lane | None], lanes: _Lanes, numbers: dict[_Lane, int]
) -> tuple[Any, Any]:
    """A tree's nodes breadth first, siblings side by side; and the original's index of each."""
    order = [0]
    found = np.zeros(len(tree.left), NODE)
    position = 0
    while position < len(order):
        node = order[position]
        lane = of_node[node]
        if lane is None:
            found[position] = (LEAF_CODE, 0, position)
        else:
            thresholds = lanes.thresholds[lane]
            code = 0
            if lane.members is None:
                code = int(np.searchsorted(thresholds, tree.tests.threshold[node]))
            found[position] = (code, numbers[lane], len(order))
            order += [int(tree.left[node]), int(tree.right[node])]
        position += 1
    return found[:position], np.array(order)
