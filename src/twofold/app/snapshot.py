"""Snapshots: publish a committed run, look at what is published, roll back."""

from __future__ import annotations

from pathlib import Path

from twofold.app.settings import Settings
from twofold.batch.committed import Committed
from twofold.batch.manifest import Manifest, read_manifest
from twofold.errors import InvalidInput, problem
from twofold.hybrid.publish import (
    PublishResult,
    PublishState,
    PublishStep,
    PublishWatch,
    publish,
    roll_back,
)
from twofold.model.registry import Registry
from twofold.model.signature import Signature
from twofold.stores.open import open_store
from twofold.stores.snapshot import Pointer, Snapshot
from twofold.stores.store import Store

__all__ = [
    "Pointer",
    "PublishResult",
    "PublishState",
    "PublishStep",
    "PublishWatch",
    "Snapshot",
    "look_at_snapshots",
    "publish_run",
    "roll_back_snapshot",
    "store_of",
]


def store_of(settings: Settings) -> Store:
    """The store that the settings name.

    Raises:
        ConfigError: There is no such kind of store, or what it needs isn't installed.
    """
    return open_store(settings.general.store, timeout_s=settings.answers.store_timeout_s)


def publish_run(
    run: Path,
    settings: Settings,
    *,
    model: str | None = None,
    with_features: bool = False,
    force: bool = False,
    watch: PublishWatch | None = None,
) -> PublishResult:
    """Publish a committed run: its predictions are what is read by key from then on.

    Args:
        run: The folder it was committed to: DIR/RUN_ID.
        settings: The store, the gates, and the registry.
        model: The model it must be of; any if None.
        with_features: Whether the input's fields are published, too, for live predictions.
        force: Switch although a gate is shut; that is recorded.
        watch: What looks on.

    Raises:
        InvalidInput: There is no such run; or it is of another model, or can't be read by key.
        TwofoldError: See `twofold.hybrid.publish.publish`.
    """
    manifest = read_manifest(run)
    if manifest is None:
        fix = "Give the folder of a run, DIR/RUN_ID; `twofold batch list --output DIR` shows them."
        raise InvalidInput(problem(str(run), "a committed run", "nothing", fix))
    if model is not None and manifest.model.name != model:
        fix = f"Publish it with --model {manifest.model.name}."
        got = f"one of {manifest.model.name}"
        raise InvalidInput(problem(str(run), f"a run of {model}", got, fix))
    return publish(
        Committed(run, manifest),
        store_of(settings),
        settings.snapshot,
        features=_signature(manifest, settings) if with_features else None,
        force=force,
        watch=watch,
    )


def _signature(manifest: Manifest, settings: Settings) -> Signature:
    registry = Registry(settings.registry)
    return registry.read(manifest.model.name, manifest.model.version).signature


def look_at_snapshots(settings: Settings, model: str) -> Pointer:
    """The snapshots of a model.

    Raises:
        StoreUnavailable: The store doesn't answer.
    """
    return store_of(settings).pointer(model)


def roll_back_snapshot(settings: Settings, model: str) -> Pointer:
    """Read the previous snapshot of a model again, in one step.

    Raises:
        InvalidInput: There is none.
        LeaseHeld: Somebody publishes this model just now.
        StoreUnavailable: The store doesn't answer.
    """
    return roll_back(store_of(settings), model)
