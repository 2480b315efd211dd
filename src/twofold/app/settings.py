"""All settings of twofold, and reading them: `twofold.toml`, then `TWOFOLD_*`, then flags."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twofold.batch.settings import BatchSettings
from twofold.errors import ConfigError
from twofold.hybrid.settings import AnswerSettings, SnapshotSettings
from twofold.schedule.settings import SchedulerSettings, ScheduleSettings
from twofold.serving.settings import ServeSettings
from twofold.settings import read_settings, setting

FILE = "twofold.toml"


@dataclasses.dataclass(frozen=True)
class GeneralSettings:
    """What all commands share."""

    registry: str = setting("registry", "Folder of the packed models.")
    store: str = setting(
        "store",
        "Where the snapshots of batch runs are published to and read from: a folder, redis://HOST "
        "or postgresql://HOST/DATABASE.",
    )


SECTIONS: dict[str, type] = {
    "": GeneralSettings,
    "serve": ServeSettings,
    "batch": BatchSettings,
    "snapshot": SnapshotSettings,
    "answers": AnswerSettings,
    "scheduler": SchedulerSettings,
}
"""Every section of the settings, by its name in twofold.toml."""
TABLES: dict[str, type] = {"schedule": ScheduleSettings}
"""Every array of tables, which the file alone can have."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings, read and checked."""

    general: GeneralSettings
    serve: ServeSettings
    batch: BatchSettings
    snapshot: SnapshotSettings
    answers: AnswerSettings
    scheduler: SchedulerSettings
    schedules: tuple[ScheduleSettings, ...]

    @property
    def registry(self) -> Path:
        """Folder of the packed models."""
        return Path(self.general.registry)


def read(
    flags: Mapping[str, Any] | None = None,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings.

    Args:
        flags: Dotted setting path to value; None means "not given".
        folder: Where `twofold.toml` may lie; the current folder by default.
        environment: Environment variables; the process's own by default.

    Raises:
        ConfigError: With every problem of file, environment and flags.
    """
    path = (folder or Path.cwd()) / FILE
    file: dict[str, Any] = {}
    if path.is_file():
        try:
            file = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{FILE}: expected TOML, got {error}. Mend that line.") from error
    values = read_settings(
        SECTIONS,
        file=file,
        environment=os.environ if environment is None else environment,
        flags=flags or {},
        tables=TABLES,
    )
    return Settings(
        general=values[""],
        serve=values["serve"],
        batch=values["batch"],
        snapshot=values["snapshot"],
        answers=values["answers"],
        scheduler=values["scheduler"],
        schedules=values["schedule"],
    )
