"""The unit tests mirror the package: what a module does is tested where one looks for it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "twofold"
UNIT = ROOT / "tests" / "unit"

# Modules without a unit test of their own, and what covers them.
COVERED_ELSEWHERE = {
    "__main__.py": "tests/e2e runs `python -m twofold` everywhere",
    "batch/request.py": "tests/unit/batch/test_run_request.py",
    "batch/settings.py": "tests/tidy/test_docs.py reads every setting",
    "batch/watch.py": "values only; the runs of tests/unit/batch/test_run.py use all of them",
    "batch/work.py": "tests/unit/batch/test_engine.py",
    "hybrid/settings.py": "tests/tidy/test_docs.py reads every setting",
    "lab/engine_process.py": "tests/e2e/test_lab_load.py starts it for each load",
    "lab/generator.py": "processes and sockets; tests/e2e/test_lab_load.py",
    "predictor/runtime.py": "a protocol; tests/unit/predictor/runtimes has the runtimes",
    "serving/settings.py": "tests/tidy/test_docs.py reads every setting",
    "stores/store.py": "values and protocols; tests/unit/stores has the stores",
    "wire/call.py": "a value and a protocol; tests/unit/wire/test_protocols.py has the readers",
}
# Tests about what several modules do together.
TOGETHER = {
    "batch/test_resume.py",
    "batch/test_run_request.py",
    "model/test_both_speeds.py",
    "packing/compile/test_corpus.py",
    "packing/compile/test_random_models.py",
    "packing/sources/test_both_boosters.py",
    "packing/test_several_targets.py",
    "packing/test_surprises.py",
    "packing/test_two_speeds.py",
    "predictor/runtimes/test_boosters.py",
    "predictor/runtimes/test_both_boosters.py",
    "predictor/runtimes/test_onnx_runtime.py",
    "predictor/runtimes/test_open.py",
    "predictor/runtimes/test_python_runtime.py",
    "predictor/runtimes/test_sklearn_runtime.py",
    "serving/test_overload.py",
    "wire/test_answers_far.py",
    "wire/test_documents.py",
}


def modules() -> set[str]:
    found = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    return {name for name in found if not name.endswith("__init__.py")}


def unit_test_of(name: str) -> str:
    path = Path(name)
    return (path.parent / f"test_{path.name}").as_posix()


def test_every_module_has_a_unit_test_of_its_name() -> None:
    tests = {path.relative_to(UNIT).as_posix() for path in UNIT.rglob("test_*.py")}
    named = {name for name in modules() if unit_test_of(name) in tests}
    by_topic = {
        name
        for name in modules()
        if (UNIT / name).with_name(f"test_{Path(name).stem}_runtime.py").exists()
    }
    assert modules() - named - by_topic == set(COVERED_ELSEWHERE)


def test_every_unit_test_names_its_module() -> None:
    tests = {path.relative_to(UNIT).as_posix() for path in UNIT.rglob("test_*.py")}
    named = {unit_test_of(name) for name in modules()}
    opened = {
        (path.parent.relative_to(SOURCE) / f"test_{path.parent.name}.py").as_posix()
        for path in SOURCE.rglob("__init__.py")
    }
    assert tests - named - opened == TOGETHER


def test_what_covers_a_module_exists() -> None:
    for where in COVERED_ELSEWHERE.values():
        for word in where.split():
            if word.startswith("tests/"):
                assert (ROOT / word.rstrip(",;")).exists(), word
