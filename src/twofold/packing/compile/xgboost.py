"""XGBoost's boosters, read from XGBoost's own JSON.

Features are read as float32 and go left below the threshold; leaves are added as float32, starting
with the margin of `base_score`.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from twofold.packing.compile.ensemble import Ensemble, Members, Missing, Tests, Tree
from twofold.packing.compile.features import NotCompilable
from twofold.predictor.program import Header, Link

LINKS: dict[str, Link] = {
    "binary:logistic": "sigmoid_f32",
    "reg:logistic": "sigmoid_f32",
    "binary:logitraw": "none",
    "reg:squarederror": "none",
    "reg:squaredlogerror": "none",
    "reg:absoluteerror": "none",
    "reg:pseudohubererror": "none",
    "reg:quantileerror": "none",
    "count:poisson": "exp_f32",
    "reg:gamma": "exp_f32",
    "reg:tweedie": "exp_f32",
    "rank:pairwise": "none",
    "rank:ndcg": "none",
    "rank:map": "none",
    "multi:softprob": "softmax_f32",
    "multi:softmax": "none",
}
"""What each objective does to a sum of leaves."""


def read_booster(document: bytes) -> Ensemble:
    """Read a booster.

    Args:
        document: As `Booster.save_raw("json")` gives it.

    Raises:
        NotCompilable: It is of another kind than trees, or has an objective that isn't known here.
    """
    learner = json.loads(document)["learner"]
    objective = learner["objective"]["name"]
    if objective not in LINKS:
        raise NotCompilable(f"XGBoost's objective {objective}")
    booster = learner["gradient_booster"]
    weights: list[float] | None = None
    if booster["name"] == "dart":
        weights = [float(weight) for weight in booster["weight_drop"]]
        booster = booster["gbtree"]
    elif booster["name"] != "gbtree":
        raise NotCompilable(f"XGBoost's booster {booster['name']}")
    model = booster["model"]
    outputs = max(1, int(learner["learner_model_param"].get("num_class", "0")))
    outputs = max(outputs, int(learner["learner_model_param"].get("num_target", "1")))
    margins = _margins(learner, objective, outputs)
    trees: list[Tree] = []
    for index, (tree, output) in enumerate(zip(model["trees"], model["tree_info"], strict=True)):
        found = _tree(tree, output)
        if weights is not None:
            if found.values.shape[1] > 1:
                raise NotCompilable("vector leaves of dart")
            found = _weighted(found, np.float32(weights[index]), margins[output])
        trees.append(found)
    # Either each tree adds to one output, or its leaves are vectors of all.
    dimensions = trees[0].values.shape[1] if trees else 1
    header = Header(single=True, link=LINKS[objective], dimensions=dimensions)
    return Ensemble(trees, margins, header, "float32")


def _margins(learner: Any, objective: str, outputs: int) -> Any:
    """What sums start with: base_score on the scale of the sums, in float32 as XGBoost has it."""
    said = learner["learner_model_param"]["base_score"]
    listed = json.loads(said) if said.startswith("[") else [float(said)]
    scores = np.array(listed, np.float32)
    if len(scores) == 1:
        scores = np.repeat(scores, outputs)
    if len(scores) != outputs:
        raise NotCompilable("base scores that don't fit the outputs")
    one = np.float32(1.0)
    if LINKS[objective] == "sigmoid_f32" or objective == "binary:logitraw":
        return -_log(one / scores - one)
    return _log(scores) if LINKS[objective] == "exp_f32" else scores


def _log(values: Any) -> Any:
    # Through float64, as the C library does it: NumPy's own for float32 may be a bit off.
    return np.log(values.astype(np.float64)).astype(np.float32)


def _weighted(tree: Tree, weight: Any, margin: Any) -> Tree:
    """A tree of dart, which adds a tree's prediction less the margin, times the tree's weight."""
    leaves = tree.values.astype(np.float32)
    added = ((leaves + margin) - margin) * weight
    return dataclasses.replace(tree, values=added.astype(np.float64))


def _tree(tree: Any, output: int) -> Tree:
    left = np.array(tree["left_children"], np.int64)
    right = np.array(tree["right_children"], np.int64)
    conditions = np.array(tree["split_conditions"], np.float32)
    # x < t is x <= the float32 below t.
    below = np.nextafter(conditions, np.float32(-np.inf))
    sides: list[Missing] = ["left" if side else "right" for side in tree["default_left"]]
    tests = Tests(
        np.array(tree["split_indices"], np.int64), below.astype(np.float64), sides, _members(tree)
    )
    return Tree(tests, left, right, _values(tree, left, right, conditions), int(output))


def _values(tree: Any, left: Any, right: Any, conditions: Any) -> Any:
    """Each node's value, or vector of values; what counts are the leaves'."""
    size = int(tree["tree_param"].get("size_leaf_vector", "0"))
    if size <= 1:
        return np.where(left < 0, conditions, np.float32(0)).astype(np.float64).reshape(-1, 1)
    if "leaf_weights" not in tree:
        raise NotCompilable("vector leaves as XGBoost wrote them before version 3.1")
    vectors = np.array(tree["leaf_weights"], np.float32).reshape(-1, size)
    values = np.zeros((len(left), size))
    # A leaf's right child is its number.
    values[left < 0] = vectors[right[left < 0]]
    return values


def _members(tree: Any) -> list[Members | None]:
    found: list[Members | None] = [None] * len(tree["left_children"])
    segments, sizes = tree.get("categories_segments", []), tree.get("categories_sizes", [])
    for node, start, size in zip(tree.get("categories_nodes", []), segments, sizes, strict=True):
        listed = tree["categories"][start : start + size]
        found[node] = Members(frozenset(map(int, listed)), "right")
    return found
