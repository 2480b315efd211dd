"""The environment of the peer servers, made the first time that a benchmark needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-bench"
REQUIREMENTS = ROOT / "requirements" / "bench.txt"
INSTALL_S = 1800


class NotInstalled(Exception):
    """The peers couldn't be installed; the text is why."""


def peers_python() -> Path:
    """The Python that has the peers; installs them if need be, which takes minutes.

    Raises:
        NotInstalled: That failed. The next call tries again.
    """
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".ready"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing the peers into {FOLDER} ...", file=sys.stderr)
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
        _run([*install, "--require-hashes", "--requirement", str(REQUIREMENTS)])
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise NotInstalled(said[-1] if said else f"exit code {error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
