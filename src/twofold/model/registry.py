"""The registry: a folder of immutable, content-addressed versions, one file of aliases each.

    REGISTRY/NAME/VERSION/model.json, sample.arrow, artifacts
    REGISTRY/NAME/aliases.json

A version appears whole, by one rename, or not at all. Everything is checked against its digest
when it is read: a flipped byte is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from twofold.errors import ConfigError, UnknownModel, problem
from twofold.model.names import (
    CHAMPION,
    Reference,
    check_name,
    check_version,
    is_name,
    is_version,
    parse_reference,
)
from twofold.model.record import Artifact, ModelVersion

RECORD = "model.json"
ALIASES = "aliases.json"
CHUNK_BYTES = 1 << 20


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """`model.json`: a version's record, and the digest of the record's own bytes."""

    record: ModelVersion
    seal: str


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def content_digest(record: ModelVersion) -> str:
    """SHA-256 over everything in a record that decides a prediction."""
    decides = {
        "framework": record.framework,
        "signature": record.signature,
        "output": record.output,
        "runtimes": record.runtimes,
        "rows_per_call": record.rows_per_call,
        "artifacts": record.artifacts,
        "trust_pickle": record.trust_pickle,
    }
    return hashlib.sha256(msgspec.json.encode(decides, order="deterministic")).hexdigest()


class Registry:
    """Versions of models in a folder."""

    def __init__(self, root: Path | str) -> None:
        """Open the registry in `root`; the folder need not exist yet."""
        self.root = Path(root)

    def names(self) -> list[str]:
        """The models' names, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(
            entry.name
            for entry in self.root.iterdir()
            if entry.is_dir() and is_name(entry.name) and self.versions(entry.name)
        )

    def versions(self, name: str) -> list[str]:
        """The versions of a model, oldest first; empty if there is no such model."""
        folder = self.root / check_name(name)
        if not folder.is_dir():
            return []
        found = [entry.name for entry in folder.iterdir() if (entry / RECORD).is_file()]
        return sorted((version for version in found if is_version(version)), key=int)

    def aliases(self, name: str) -> dict[str, str]:
        """The aliases of a model: alias to version."""
        path = self.root / check_name(name) / ALIASES
        if not path.is_file():
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            fix = "Remove the file, then set its aliases again."
            raise ConfigError(problem(str(path), "aliases as JSON", str(error), fix)) from error

    def resolve(self, reference: str | Reference) -> Reference:
        """Find the version a reference means: alias `champion` if set, else the newest.

        Returns:
            A reference with its version.

        Raises:
            InvalidInput: The text is no reference.
            UnknownModel: No such model, version or alias.
        """
        wanted = parse_reference(reference) if isinstance(reference, str) else reference
        versions = self.versions(wanted.name)
        if not versions:
            known = ", ".join(self.names()) or "none"
            fix = f"Pack it with `twofold pack ... --name {wanted.name}`, or name another registry."
            raise UnknownModel(
                problem(f"registry {self.root}", f"a model among: {known}", repr(wanted.name), fix)
            )
        aliases = self.aliases(wanted.name)
        version = wanted.version
        if wanted.alias is not None:
            version = aliases.get(wanted.alias)
            if version is None:
                known = ", ".join(sorted(aliases)) or "none"
                raise UnknownModel(
                    problem(
                        wanted.name,
                        f"an alias among: {known}",
                        repr(wanted.alias),
                        f"Set it with `twofold alias {wanted.name} {wanted.alias} VERSION`.",
                    )
                )
        version = version or aliases.get(CHAMPION) or versions[-1]
        if version not in versions:
            raise UnknownModel(
                problem(
                    wanted.name,
                    f"a version among: {', '.join(versions)}",
                    repr(version),
                    "See `twofold models`.",
                )
            )
        return Reference(wanted.name, version=version, alias=wanted.alias)

    def folder(self, name: str, version: str) -> Path:
        """The folder of one version."""
        return self.root / check_name(name) / check_version(version)

    def read(self, name: str, version: str) -> ModelVersion:
        """Read a version's record, checked against its seal.

        Raises:
            ConfigError: The record was changed after it was written, or is not readable.
        """
        path = self.folder(name, version) / RECORD
        try:
            data = path.read_bytes()
            sealed = msgspec.json.decode(data, type=Sealed)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(
                problem(str(path), "a readable record", str(error), "Pack the model again.")
            ) from error
        record = sealed.record
        if data != render(record) or (record.name, record.version) != (name, version):
            raise damaged(path)
        return record

    def check_artifact(self, record: ModelVersion, artifact: Artifact) -> Path:
        """Give the path of a version's file, its bytes checked against their digest.

        Raises:
            ConfigError: The file is missing or changed.
        """
        path = self.folder(record.name, record.version) / artifact.file
        if not path.is_file():
            raise ConfigError(
                problem(str(path), "a file", "nothing there", "Pack the model again.")
            )
        if path.stat().st_size != artifact.size_bytes or file_digest(path) != artifact.sha256:
            raise damaged(path)
        return path

    def find(self, name: str, digest: str) -> ModelVersion | None:
        """The version of a model with this content, if it was packed before."""
        for version in reversed(self.versions(name)):
            with contextlib.suppress(ConfigError):  # a damaged version is never reused
                record = self.read(name, version)
                if record.digest == digest:
                    for artifact in [*record.artifacts.values(), record.sample]:
                        self.check_artifact(record, artifact)
                    return record
        return None

    @contextlib.contextmanager
    def staging(self, name: str) -> Generator[Path]:
        """Give a folder on the registry's own file system that is removed afterwards."""
        folder = self.root / check_name(name) / f".staging-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # only an empty model folder goes
                folder.parent.rmdir()

    def commit(
        self, name: str, staged: Path, record_for: Callable[[str], ModelVersion]
    ) -> ModelVersion:
        """Make the staged files a version: the next free number, in one rename.

        Args:
            name: The model.
            staged: The folder of `staging`, all artifacts in it.
            record_for: Makes the record, given the version's number.
        """
        while True:
            versions = self.versions(name)
            version = str(int(versions[-1]) + 1 if versions else 1)
            record = record_for(version)
            (staged / RECORD).write_bytes(render(record))
            for path in sorted(staged.iterdir()):
                sync(path)
            sync(staged)
            target = self.folder(name, version)
            try:
                # A folder can't be renamed onto a folder with files in it: of two packs at
                # once one gets the number, the other tries the next.
                staged.rename(target)
            except OSError:
                if not target.exists():
                    raise
                continue
            sync(target.parent)
            return record

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version, atomically.

        Raises:
            UnknownModel: No such version.
        """
        check_name(alias, what="alias")
        self.resolve(Reference(name, version=check_version(version)))
        aliases = {**self.aliases(name), alias: version}
        path = self.root / name / ALIASES
        temporary = path.with_name(f".{ALIASES}-{uuid.uuid4().hex}")
        temporary.write_bytes(msgspec.json.encode(aliases, order="sorted"))
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


def render(record: ModelVersion) -> bytes:
    """The exact bytes of `model.json` for a record."""
    body = msgspec.json.encode(record, order="deterministic")
    sealed = Sealed(record=record, seal=hashlib.sha256(body).hexdigest())
    return msgspec.json.format(msgspec.json.encode(sealed, order="deterministic"), indent=2) + b"\n"


def damaged(path: Path) -> ConfigError:
    """Say that a file of the registry no longer has the bytes it was packed with."""
    return ConfigError(
        problem(
            str(path),
            "the bytes it was packed with",
            "others",
            "Restore the file, or pack the model again.",
        )
    )


def sync(path: Path) -> None:
    """Write a file's or a folder's state through to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
