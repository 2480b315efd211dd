"""The registry: immutable versions, atomic aliases, nothing changed goes unnoticed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from twofold.errors import ConfigError, InvalidInput, UnknownModel
from twofold.model.record import Artifact, Candidate, ModelVersion, Modes, Parity
from twofold.model.registry import Registry, content_digest, file_digest
from twofold.model.signature import Field, Output, Signature


def pack(registry: Registry, content: bytes = b"weights", name: str = "churn") -> ModelVersion:
    with registry.staging(name) as staged:
        (staged / "model.bin").write_bytes(content)
        artifact = Artifact(
            file="model.bin",
            format="onnx",
            sha256=file_digest(staged / "model.bin"),
            size_bytes=len(content),
        )

        def record_for(version: str) -> ModelVersion:
            record = ModelVersion(
                name=name,
                version=version,
                digest="",
                framework="onnx",
                libraries={},
                signature=Signature(fields=(Field(name="x", type="float64"),)),
                output=Output(kind="value", type="float64"),
                runtimes=Modes(batch="onnx", real_time="onnx"),
                artifacts={"onnx": artifact},
                sample=artifact,
                parity=Parity(
                    sample_rows=1,
                    edge_rows=0,
                    tolerance=0.0,
                    same_bits=True,
                    candidates=(Candidate(runtime="onnx", passed=True, reason=""),),
                ),
                created_at="2026-01-31T00:00:00Z",
            )
            return msgspec.structs.replace(record, digest=content_digest(record))

        return registry.commit(name, staged, record_for)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def test_versions_are_numbered_and_read_back_whole(registry: Registry) -> None:
    assert [pack(registry).version, pack(registry, b"other").version] == ["1", "2"]
    assert registry.names() == ["churn"]
    assert registry.versions("churn") == ["1", "2"]
    record = registry.read("churn", "1")
    assert registry.check_artifact(record, record.artifacts["onnx"]).read_bytes() == b"weights"
    assert not list(registry.root.glob("churn/.staging-*"))


def test_a_bare_name_means_champion_and_else_the_newest(registry: Registry) -> None:
    pack(registry)
    pack(registry, b"other")
    assert registry.resolve("churn").version == "2"
    registry.set_alias("churn", "champion", "1")
    registry.set_alias("churn", "canary", "2")
    assert registry.resolve("churn").version == "1"
    assert registry.resolve("churn:canary").version == "2"
    assert registry.resolve("churn@2").version == "2"


@pytest.mark.parametrize("reference", ["fraud", "churn@9", "churn:canary"])
def test_what_is_not_there_is_unknown_and_says_what_is(registry: Registry, reference: str) -> None:
    pack(registry)
    with pytest.raises(UnknownModel, match="among"):
        registry.resolve(reference)


@pytest.mark.parametrize(
    "name", ["../evil", "a/b", "", ".hidden", "a..b", "x" * 65, "na\x00me", "a b", "-x", "a\\b"]
)
def test_names_cannot_leave_the_registry(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidInput):
        registry.resolve(name)
    with pytest.raises(InvalidInput):
        registry.folder(name, "1")


@pytest.mark.parametrize("version", ["0", "-1", "../1", "1.0", "", "latest"])
def test_versions_are_numbers(registry: Registry, version: str) -> None:
    with pytest.raises(InvalidInput):
        registry.folder("churn", version)


def read_whole(registry: Registry) -> None:
    found = registry.read("churn", "1")
    registry.check_artifact(found, found.artifacts["onnx"])


@pytest.mark.parametrize("file", ["model.bin", "model.json"])
def test_any_flipped_byte_is_refused(registry: Registry, file: str) -> None:
    record = pack(registry)
    path = registry.folder("churn", "1") / file
    intact = path.read_bytes()
    for position in range(len(intact)):
        flipped = bytearray(intact)
        flipped[position] ^= 1
        path.write_bytes(bytes(flipped))
        with pytest.raises(ConfigError):
            read_whole(registry)
    path.write_bytes(intact)
    assert registry.read("churn", "1") == record


def test_a_version_moved_to_another_place_is_refused(registry: Registry) -> None:
    pack(registry)
    registry.folder("churn", "1").rename(registry.root / "churn" / "7")
    with pytest.raises(ConfigError):
        registry.read("churn", "7")


def test_equal_content_is_found_again(registry: Registry) -> None:
    record = pack(registry)
    assert registry.find("churn", record.digest) == record
    assert registry.find("churn", "0" * 64) is None


def test_a_pack_that_fails_leaves_nothing(registry: Registry) -> None:
    def fail() -> None:
        with registry.staging("churn") as staged:
            (staged / "half").write_bytes(b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert registry.names() == []
    assert not (registry.root / "churn").exists()


def test_an_alias_needs_a_version_that_exists(registry: Registry) -> None:
    pack(registry)
    with pytest.raises(UnknownModel):
        registry.set_alias("churn", "champion", "2")
    with pytest.raises(InvalidInput):
        registry.set_alias("churn", "../x", "1")


def test_a_number_taken_by_another_pack_is_passed_over(registry: Registry) -> None:
    first = pack(registry)
    with registry.staging("churn") as staged:
        (staged / "model.bin").write_bytes(b"mine")

        def record_for(version: str) -> ModelVersion:
            if version == "2":
                pack(registry, b"theirs")
            return msgspec.structs.replace(first, version=version)

        assert registry.commit("churn", staged, record_for).version == "3"
