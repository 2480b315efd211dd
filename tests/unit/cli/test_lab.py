"""The group of the lab's commands."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from twofold.cli.lab import COMMANDS
from twofold.cli.root import main


def test_it_shows_its_commands_and_knows_no_others() -> None:
    shown = CliRunner().invoke(main, ["lab", "--help"])
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in shown.stdout
    unknown = CliRunner().invoke(main, ["lab", "guess"])
    assert unknown.exit_code == 2
    assert "No such command 'guess'." in unknown.stderr


def test_the_help_of_twofold_imports_none_of_them() -> None:
    code = (
        "import sys; from twofold.cli.root import main; "
        "main(['--help'], standalone_mode=False); "
        f"print([name for name in {list(COMMANDS.values())!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
