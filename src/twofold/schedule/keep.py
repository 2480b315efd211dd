"""Keeps the state of a scheduler on disk, whole at every instant."""

from __future__ import annotations

import os
from pathlib import Path

from twofold.errors import ConfigError, problem
from twofold.schedule.state import State, parse_state, render_state

STATE_FILE = "state.json"
DRAFT_FILE = "state.draft"


def load_state(folder: Path) -> State:
    """Read the state; an empty one if there is none.

    Raises:
        ConfigError: It is damaged.
    """
    path = folder / STATE_FILE
    try:
        return parse_state(path.read_bytes())
    except FileNotFoundError:
        return State()
    except ValueError as error:
        fix = (
            "Restore it; or delete it, and all schedules begin anew with what is due from then on."
        )
        raise ConfigError(
            problem(str(path), "what a scheduler remembers", f"a damaged file ({error})", fix)
        ) from error


def save_state(folder: Path, state: State) -> None:
    """Replace the state, durably: after a crash it is either the one before or this one."""
    draft = folder / DRAFT_FILE
    with draft.open("wb") as file:
        file.write(render_state(state))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / STATE_FILE)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
