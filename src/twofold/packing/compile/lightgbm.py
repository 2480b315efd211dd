"""LightGBM's boosters, read from LightGBM's own text.

A value within 1e-35 of zero is read as zero; each feature says how it takes missing values; leaves
are added as doubles in the order of the trees.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from twofold.packing.compile.ensemble import Ensemble, Members, Missing, Tests, Tree
from twofold.packing.compile.features import NotCompilable
from twofold.predictor.program import Header, Link

CATEGORICAL, DEFAULT_LEFT = 1, 2
MISSING_KINDS = ("none", "zero", "nan")
TREES = re.compile(r"^Tree=\d+\n(.*?)(?=^Tree=|^end of trees)", re.MULTILINE | re.DOTALL)
LINKS: dict[str, Link] = {
    "binary": "sigmoid",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "log1p_exp",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "regression": "none",
    "regression_l1": "none",
    "huber": "none",
    "fair": "none",
    "quantile": "none",
    "mape": "none",
    "lambdarank": "none",
    "rank_xendcg": "none",
}
"""What each objective does to a sum of leaves."""


def read_booster(text: str) -> Ensemble:
    """Read a booster.

    Args:
        text: As `Booster.model_to_string` gives it; of the best iteration, if there is one.

    Raises:
        NotCompilable: It has linear trees, or an objective that isn't known here.
    """
    head = _pairs(text.partition("\nTree=")[0])
    name, options = _objective(head.get("objective", ""))
    if name not in LINKS:
        raise NotCompilable(f"LightGBM's objective {name or 'of a function'}")
    per_iteration = int(head.get("num_tree_per_iteration", "1"))
    trees = [
        _tree(_pairs(match.group(1)), index % per_iteration)
        for index, match in enumerate(TREES.finditer(text))
    ]
    link = LINKS[name]
    if name == "regression" and "sqrt" in options:
        link = "square"
    averaged = "\naverage_output" in text.partition("\nTree=")[0]
    header = Header(
        link=link,
        scale=float(options.get("sigmoid", "1")),
        divisor=float(len(trees) // per_iteration) if averaged else 1.0,
    )
    # A sum that starts with nothing is 0.0 plus the first leaf.
    return Ensemble(trees, np.zeros(per_iteration), header, "snapped")


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _objective(text: str) -> tuple[str, dict[str, str]]:
    name, *rest = text.split() or [""]
    return name, {key: value for key, _, value in (item.partition(":") for item in rest)}


def _numbers(pairs: dict[str, str], key: str, kind: Any) -> Any:
    return np.array(pairs.get(key, "").split(), kind)


def _tree(pairs: dict[str, str], output: int) -> Tree:
    if pairs.get("is_linear", "0") != "0":
        raise NotCompilable("linear trees")
    leaves = _numbers(pairs, "leaf_value", np.float64)
    inner = len(leaves) - 1

    def padded(values: Any) -> Any:
        return np.concatenate([values, np.zeros(len(leaves), values.dtype)])

    def children(key: str) -> Any:
        # A leaf is told by its number's complement; leaves come after the inner nodes.
        found = _numbers(pairs, key, np.int64)
        found = np.where(found < 0, inner + ~found, found)
        return np.concatenate([found, np.full(len(leaves), -1)])

    kinds = _numbers(pairs, "decision_type", np.int64)
    thresholds = _numbers(pairs, "threshold", np.float64)
    members: list[Members | None] = [None] * (inner + len(leaves))
    missing: list[Missing] = ["right"] * (inner + len(leaves))
    boundaries = _numbers(pairs, "cat_boundaries", np.int64)
    words = _numbers(pairs, "cat_threshold", np.int64)
    for node, kind in enumerate(kinds.tolist()):
        if kind & CATEGORICAL:
            at = int(thresholds[node])
            set_words = words[boundaries[at] : boundaries[at + 1]].tolist()
            members[node] = Members(_categories(set_words), "left")
            continue
        side = "left" if kind & DEFAULT_LEFT else "right"
        missing[node] = _missing(MISSING_KINDS[kind >> 2 & 3], side)
    values = np.concatenate([np.zeros(inner), leaves]).reshape(-1, 1)
    tests = Tests(
        padded(_numbers(pairs, "split_feature", np.int64)), padded(thresholds), missing, members
    )
    if not inner:
        return Tree(tests, np.array([-1]), np.array([-1]), values, output)
    return Tree(tests, children("left_child"), children("right_child"), values, output)


def _missing(kind: str, side: str) -> Missing:
    if kind == "none":
        return "zero"
    if kind == "zero":
        return "zero_left" if side == "left" else "zero_right"
    return "left" if side == "left" else "right"


def _categories(words: list[int]) -> frozenset[int]:
    return frozenset(
        32 * at + bit for at, word in enumerate(words) for bit in range(32) if word >> bit & 1
    )
