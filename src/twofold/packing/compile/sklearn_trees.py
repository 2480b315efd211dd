"""scikit-learn's tree ensembles, read from the objects themselves.

Forests and trees read their inputs as float32 and add each tree's values, starting at zero, in
order; gradient boosting does the same from its prior on; histogram gradient boosting reads
float64.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from twofold.packing.compile.encoder import Block, encode
from twofold.packing.compile.ensemble import Ensemble, Members, Missing, Tests, Tree
from twofold.packing.compile.features import NotCompilable, pull_back
from twofold.predictor.program import Header

POSITIVE = 1
NOTHING = -0.0
"""What a sum may start with and change no bit of its first summand."""


def read_trees(estimator: Any, block: Block, *, labels: bool) -> tuple[Ensemble, Block]:
    """An estimator's trees, and the columns they see.

    Args:
        estimator: Fitted.
        block: The columns that go into it.
        labels: Whether labels are wanted, not probabilities; of classifiers.

    Raises:
        NotCompilable: It is no tree ensemble of scikit-learn's, or of another kind.
    """
    read = READERS.get(type(estimator).__name__)
    if read is None or not type(estimator).__module__.startswith("sklearn."):
        raise NotCompilable(f"no compiled form of {type(estimator).__name__}")
    return read(estimator, block, labels)


def refuses_missing(estimator: Any) -> bool:
    """Whether the estimator raises on rows with missing values."""
    name = type(estimator).__name__
    if name.startswith(("GradientBoosting", "HistGradientBoosting")):
        return name.startswith("GradientBoosting")
    tree = estimator.estimators_[0] if hasattr(estimator, "estimators_") else estimator
    takes = getattr(tree, "_support_missing_values", lambda _: False)
    return not takes(np.zeros((1, 1), np.float32))


def _tests_of(tree: Any) -> Tests:
    to_left = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count, np.uint8))
    sides: list[Missing] = ["left" if left else "right" for left in np.asarray(to_left).tolist()]
    return Tests(tree.feature, tree.threshold, sides, [None] * tree.node_count)


def _plain_tree(tree: Any, values: Any, output: int = 0) -> Tree:
    return Tree(_tests_of(tree), tree.children_left, tree.children_right, values, output)


def _class_values(tree: Any, count: int, *, labels: bool) -> Any:
    """Each class's share in a node; of two classes, the second's alone, for each target."""
    if tree.value.shape[1] != 1:
        if labels:
            raise NotCompilable("the labels of several targets")
        return tree.value[:, :, POSITIVE]
    shares = tree.value[:, 0, :count]
    return shares if labels or count > 2 else shares[:, POSITIVE:]  # noqa: PLR2004 - two classes


def _forest_classifier(estimator: Any, block: Block, labels: bool) -> tuple[Ensemble, Block]:  # noqa: FBT001
    count = _class_count(estimator)
    trees = [
        _plain_tree(item.tree_, _class_values(item.tree_, count, labels=labels))
        for item in estimator.estimators_
    ]
    dimensions = trees[0].values.shape[1]
    header = Header(
        dimensions=dimensions,
        divisor=float(len(trees)),
        labels="argmax" if labels else "",
        classes=classes_of(estimator) if labels else (),
    )
    return Ensemble(trees, np.zeros(dimensions), header, "float32"), block


def _forest_regressor(estimator: Any, block: Block, labels: bool) -> tuple[Ensemble, Block]:  # noqa: ARG001, FBT001
    trees = [_plain_tree(item.tree_, item.tree_.value[:, :, 0]) for item in estimator.estimators_]
    dimensions = trees[0].values.shape[1]
    header = Header(dimensions=dimensions, divisor=float(len(trees)))
    return Ensemble(trees, np.zeros(dimensions), header, "float32"), block


def _tree_classifier(estimator: Any, block: Block, labels: bool) -> tuple[Ensemble, Block]:  # noqa: FBT001
    values = _class_values(estimator.tree_, _class_count(estimator), labels=labels)
    header = Header(
        dimensions=values.shape[1],
        labels="argmax" if labels else "",
        classes=classes_of(estimator) if labels else (),
    )
    tree = _plain_tree(estimator.tree_, values)
    return Ensemble([tree], np.full(values.shape[1], NOTHING), header, "float32"), block


def _tree_regressor(estimator: Any, block: Block, labels: bool) -> tuple[Ensemble, Block]:  # noqa: ARG001, FBT001
    values = estimator.tree_.value[:, :, 0]
    header = Header(dimensions=values.shape[1])
    tree = _plain_tree(estimator.tree_, values)
    return Ensemble([tree], np.full(values.shape[1], NOTHING), header, "float32"), block


def _gradient_boosting(estimator: Any, block: Block, labels: bool) -> tuple[Ensemble, Block]:  # noqa: FBT001
    if estimator.init is not None and estimator.init != "zero":
        raise NotCompilable("gradient boosting that starts with another estimator")
    row = np.zeros((1, estimator.n_features_in_), np.float32)
    bases = np.asarray(estimator._raw_predict_init(row))[0]  # noqa: SLF001 - its own prior
    rate = estimator.learning_rate
    trees = [
        _plain_tree(item.tree_, item.tree_.value[:, :, 0] * rate, output)
        for row in estimator.estimators_
        for output, item in enumerate(row)
    ]
    header = _boosted(estimator, len(bases), labels=labels, zero_is="from")
    return Ensemble(trees, bases, header, "float32"), block


def _isolation_forest(estimator: Any, block: Block, labels: bool) -> tuple[Ensemble, Block]:  # noqa: ARG001, FBT001
    """Whether a row is isolated in few steps: the depths of its leaves, summed, are its score."""
    module = sys.modules[type(estimator).__module__]
    longest = module._average_path_length([estimator._max_samples])[0]  # noqa: SLF001 - its own
    count = len(estimator.estimators_)

    def decision(depths: Any) -> Any:
        return -(2 ** (-np.divide(depths, count * longest))) - estimator.offset_

    # The largest sum of depths that is an outlier's: whose decision lies below zero.
    (threshold,) = pull_back(decision, np.array([np.nextafter(0.0, -1.0)])).tolist()
    if not (longest and np.isfinite(threshold)):
        raise NotCompilable("an isolation forest that takes all rows for the same")
    trees: list[Tree] = []
    for index, (item, chosen) in enumerate(
        zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    ):
        length = estimator._decision_path_lengths[index]  # noqa: SLF001 - what it adds for a leaf
        average = estimator._average_path_length_per_tree[index]  # noqa: SLF001 - as above
        tree = _plain_tree(item.tree_, (length + average - 1.0).reshape(-1, 1))
        features = np.asarray(chosen)[np.maximum(tree.tests.feature, 0)]
        tests = dataclasses.replace(tree.tests, feature=features)
        trees.append(dataclasses.replace(tree, tests=tests))
    header = Header(labels="above", threshold=threshold, classes=(-1, 1))
    return Ensemble(trees, np.zeros(1), header, "float32"), block


def _hist_gradient_boosting(estimator: Any, block: Block, labels: bool) -> tuple[Ensemble, Block]:  # noqa: FBT001
    if estimator._preprocessor is not None:  # noqa: SLF001 - how it encodes its categories
        block = encode(estimator._preprocessor, block)  # noqa: SLF001
    bases = np.ravel(estimator._baseline_prediction)  # noqa: SLF001 - what the sums start with
    known, index_of = estimator._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001
    trees: list[Tree] = []
    for row in estimator._predictors:  # noqa: SLF001 - the trees
        for output, item in enumerate(row):
            trees += [_hist_tree(item, known, index_of, output)]
    header = _boosted(estimator, len(bases), labels=labels, zero_is="above")
    return Ensemble(trees, bases, header, "float64"), block


def _hist_tree(predictor: Any, known: Any, index_of: Any, output: int) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    sides: list[Missing] = [
        "left" if left else "right" for left in nodes["missing_go_to_left"].tolist()
    ]
    members: list[Members | None] = [None] * len(nodes)
    for index in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
        found = _categories(predictor.raw_left_cat_bitsets[int(nodes["bitset_idx"][index])])
        if sides[index] == "right":
            members[index] = Members(found, "left")
            continue
        # What isn't known goes left like missing values: only the known others go right.
        others = _categories(known[index_of[int(nodes["feature_idx"][index])]]) - found
        members[index] = Members(others, "right")
    tests = Tests(nodes["feature_idx"].astype(np.int64), nodes["num_threshold"], sides, members)
    left = np.where(leaf, -1, nodes["left"].astype(np.int64))
    right = np.where(leaf, -1, nodes["right"].astype(np.int64))
    return Tree(tests, left, right, nodes["value"].reshape(-1, 1), output)


def _categories(bits: Any) -> frozenset[int]:
    words = np.asarray(bits, np.uint32).tolist()
    return frozenset(
        32 * at + bit for at, word in enumerate(words) for bit in range(32) if word >> bit & 1
    )


def _boosted(estimator: Any, outputs: int, *, labels: bool, zero_is: str) -> Header:
    """What comes after the sums of a boosted ensemble."""
    loss = estimator._loss  # noqa: SLF001 - its link
    link = type(loss.link).__name__
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        if link == "IdentityLink":
            return Header()
        if link == "LogLink":
            return Header(finish="exp")
        raise NotCompilable(f"the link {link}")
    if labels:
        how: Any = "argmax" if outputs > 1 else zero_is
        return Header(labels=how, classes=classes_of(estimator))
    if outputs > 1:
        return Header(finish="softmax")
    scales = {"LogitLink": 1.0, "HalfLogitLink": 2.0}
    if link not in scales:
        raise NotCompilable(f"the link {link}")
    return Header(link="sigmoid", scale=scales[link])


def _class_count(estimator: Any) -> int:
    """How many classes there are; of several targets with probabilities each has two."""
    several = isinstance(estimator.classes_, list)
    return len(estimator.classes_[0] if several else estimator.classes_)


def classes_of(estimator: Any) -> tuple[bool | int | str, ...]:
    """A classifier's labels as plain values.

    Raises:
        NotCompilable: They are neither whole numbers, text nor bools.
    """
    listed: Sequence[Any] = estimator.classes_.tolist()
    if {type(item) for item in listed} not in ({int}, {str}, {bool}):
        raise NotCompilable("labels that are neither whole numbers, text nor bools")
    return tuple(listed)


READERS: dict[str, Callable[[Any, Block, bool], tuple[Ensemble, Block]]] = {
    "RandomForestClassifier": _forest_classifier,
    "ExtraTreesClassifier": _forest_classifier,
    "RandomForestRegressor": _forest_regressor,
    "ExtraTreesRegressor": _forest_regressor,
    "DecisionTreeClassifier": _tree_classifier,
    "ExtraTreeClassifier": _tree_classifier,
    "DecisionTreeRegressor": _tree_regressor,
    "ExtraTreeRegressor": _tree_regressor,
    "IsolationForest": _isolation_forest,
    "GradientBoostingClassifier": _gradient_boosting,
    "GradientBoostingRegressor": _gradient_boosting,
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "HistGradientBoostingRegressor": _hist_gradient_boosting,
}
