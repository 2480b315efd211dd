"""The runtimes: one file per library, each imported only when a version needs it."""

from __future__ import annotations

from pathlib import Path

from twofold.errors import ConfigError, TwofoldError, problem
from twofold.model.record import PICKLED, Artifact
from twofold.model.signature import Output, Signature
from twofold.predictor.runtime import Runtime


def open_runtime(
    artifact: Artifact,
    folder: Path,
    signature: Signature,
    output: Output,
    *,
    trust_pickle: bool,
) -> Runtime:
    """Open a version's file with the library it needs.

    Args:
        artifact: The file, its bytes already checked against their digest.
        folder: The version's folder.
        signature: The model's inputs.
        output: The model's outputs.
        trust_pickle: Whether reading it may run a pickle.

    Raises:
        ConfigError: The library isn't installed, or can't read the file, or the file is a
            pickle that wasn't trusted.
    """
    path = folder / artifact.file
    if artifact.format in PICKLED and not trust_pickle:
        raise ConfigError(
            problem(
                str(path),
                "a format that runs no code",
                "a pickle",
                "Pack it with --trust-pickle if you trust who made it.",
            )
        )
    try:
        return _open(artifact, path, signature, output)
    except TwofoldError:
        raise
    # Every library has errors of its own for a file it can't read.
    except Exception as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        fix = "Install the library versions of its record, or pack the model again here."
        raise ConfigError(
            problem(str(path), "a file that the libraries here can read", what, fix)
        ) from error


def _open(artifact: Artifact, path: Path, signature: Signature, output: Output) -> Runtime:
    match artifact.format:
        case "skops" | "joblib" | "pickle":
            from twofold.predictor.runtimes.sklearn import open_sklearn  # noqa: PLC0415

            return open_sklearn(path, artifact, signature)
        case "lightgbm-text":
            from twofold.predictor.runtimes.lightgbm import open_lightgbm  # noqa: PLC0415

            return open_lightgbm(path, artifact, signature, output)
        case "xgboost-ubj":
            from twofold.predictor.runtimes.xgboost import open_xgboost  # noqa: PLC0415

            return open_xgboost(path, artifact, signature, output)
        case "onnx":
            from twofold.predictor.runtimes.onnx import open_onnx  # noqa: PLC0415

            return open_onnx(path, artifact, signature)
        case "program":
            from twofold.predictor.runtimes.compiled import open_compiled  # noqa: PLC0415

            return open_compiled(path, signature)
        case "python-source":
            from twofold.predictor.runtimes.python import open_python  # noqa: PLC0415

            return open_python(path, artifact, signature, output)
        case _:
            raise ConfigError(
                problem(str(path), "a format a runtime reads", artifact.format, "Pack again.")
            )
