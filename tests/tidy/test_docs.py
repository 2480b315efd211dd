"""The documentation is true: blocks run, links lead somewhere, reference pages match the code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from twofold.app.settings import SECTIONS, TABLES
from twofold.cli.reference import pages
from twofold.cli.root import main
from twofold.settings import declared_in

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*/*.md")])
BLOCK = re.compile(
    r"(<!-- not run: (?P<why>.+?) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL
)
LINK = re.compile(r"\[[^\]]+\]\((?!https?:|#)([^)#]+)")
PATH = re.compile(r"`((?:src/|tests/|docs/|bench/|examples/|requirements/)[\w./*-]+)`")
TIMEOUT_S = 300


def blocks(kind: str) -> list[str]:
    found = BLOCK.finditer(README.read_text(encoding="utf-8"))
    return [match["text"] for match in found if match["kind"] == kind and not match["why"]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def linked_from(page: Path) -> set[Path]:
    return {(page.parent / target).resolve() for target in LINK.findall(page.read_text("utf-8"))}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def test_the_commands_of_the_readme_run_and_answer_as_it_says(clone: Path) -> None:
    (commands,) = blocks("bash")
    (answer,) = blocks("text")
    assert len(commands.strip().splitlines()) == 5
    port = str(free_port())
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TWOFOLD_SERVE_PORT": port,
    }
    # The server is left running in the background, as in the README: it is stopped with its group.
    script = "set -e\n" + commands.replace("8080", port) + "\necho\n"
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert shell.stdout is not None
        printed: list[str] = []
        for line in shell.stdout:
            printed.append(line.strip())
            if line.startswith("{"):
                break
        assert shell.wait(TIMEOUT_S) == 0, printed
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
    got, said = json.loads(printed[-1]), json.loads(answer)
    # The last digits may depend on the processor that trained the model.
    assert got.pop("prediction") == pytest.approx(said.pop("prediction"), abs=1e-4)
    assert got == said


def test_the_python_of_the_readme_runs_and_prints_what_it_says(clone: Path) -> None:
    if not (clone / "registry").exists():
        pytest.fail("the commands of the README have to run first")
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (said,) = re.findall(r"# (row\..+?), or \.\.\.", code)
    assert done.stdout.startswith(said)


def test_every_block_of_the_readme_that_is_not_run_says_why() -> None:
    whole = README.read_text(encoding="utf-8")
    kinds = {match["kind"] for match in BLOCK.finditer(whole)}
    assert kinds == {"bash", "python", "text"}
    assert len(list(BLOCK.finditer(whole))) == whole.count("```") / 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), target
    for target in PATH.findall(text):
        assert list(ROOT.glob(target)), target


def test_the_reference_pages_are_those_of_the_code() -> None:
    for name, text in pages().items():
        written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert written == text, f"docs/reference/{name}: run `make docs`"


def test_every_option_and_setting_is_in_the_reference() -> None:
    commands, settings = pages()["commands.md"], pages()["settings.md"]
    waiting: list[click.Command] = [main]
    context = click.Context(main)
    seen = 0
    while waiting:
        command = waiting.pop()
        if isinstance(command, click.Group):
            names = command.list_commands(context)
            waiting += [c for name in names if (c := command.get_command(context, name))]
            continue
        for option in command.params:
            if isinstance(option, click.Option):
                seen += 1
                assert f"`{option.opts[0]}" in commands, option.opts
    assert seen > 50
    for section, cls in SECTIONS.items():
        for item in declared_in(cls, section):
            assert f"| `{item.path}` |" in settings
            assert f"`{item.environment}`" in settings
    for array, cls in TABLES.items():
        for item in declared_in(cls, array):
            assert f"| `{item.path}` |" in settings


def test_every_page_of_the_documentation_is_reached_from_the_readme() -> None:
    linked = linked_from(README)
    # A folder with an index of its own is reached through it.
    for index in linked & {page.resolve() for page in (ROOT / "docs").glob("*/README.md")}:
        linked |= linked_from(index)
    assert {page.resolve() for page in (ROOT / "docs").rglob("*.md")} <= linked


def test_the_architecture_speaks_of_every_room_and_of_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "twofold"
    for named in re.findall(r"`((?:[a-z_]+/)+(?:[a-z_*]+\.py)?)`", text):
        if not named.startswith("tests/"):
            assert list(source.glob(named.removeprefix("twofold/"))), named
    for folder in source.iterdir():
        if (folder / "__init__.py").exists():
            assert f"`{folder.name}/" in text or f"\n{folder.name} " in text, folder.name
