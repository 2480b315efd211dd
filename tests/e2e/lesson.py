"""Pages whose every block is run: commands in a shell, Python in an interpreter, output compared.

The rules of a page:

- a ```console block has commands after `$ ` and below each what it prints, on stdout and stderr
  alike; a command may go on in the next line after a backslash;
- a command that ends in `&` stays at work; below it stands what it says once it can be used, and
  it is ended with the page;
- a command fails if, and only if, a line that begins with `error: ` stands below it;
- a ```python block goes on from the page's earlier ones; a ```text block right after it is what it
  prints, without one it prints nothing;
- `...` in a line is any text, and alone in a line any lines; spaces count as one;
- where a block's first line ends in `varies`, any number stands for any number, and a unit of time
  after it for any other;
- 8080 stands for a free port;
- a measurement that calls itself invalid, because the machine was too busy for it, is repeated.

`python tests/e2e/lesson.py docs/learn/NAME.md FOLDER` runs a page in a folder and shows what its
blocks print here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["console", "python"]

KINDS = ("console", "python", "text")
PORT = "8080"
LIMIT_S = 150.0
FAILED = "error: "
INVALID = "\ninvalid: "
MAX_TRIES = 5
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?:( ?)(?:ns|µs|ms|s|min|h)\b)?")

# Commands come separated by zero bytes, so that none of them can read the next one as its input.
SHELL = r"""
exec 3<&0 </dev/null
while IFS= read -r -d '' -u 3 command; do
    eval "$command"
    printf '\n%s %d\n' "$MARK" $?
done
"""
INTERPRETER = """
import json, os, sys, traceback
names = {"__name__": "__main__"}
received = os.fdopen(os.dup(0), encoding="utf-8")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for line in received:
    failed = 0
    try:
        exec(compile(json.loads(line), "<page>", "exec"), names)
    except BaseException:
        failed = 1
        traceback.print_exc()
    print(f"\\n{os.environ['MARK']} {failed}", flush=True)
"""


@dataclass(frozen=True)
class Step:
    """Something to run, and what the page says that it prints.

    Attributes:
        kind: Where it runs.
        text: The command, or the Python.
        shown: What it prints, as the page has it.
        varies: Whether numbers stand for any numbers.
        line: Where it begins on the page, from 1.
    """

    kind: Kind
    text: str
    shown: str
    varies: bool
    line: int


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind, its text, and where it begins."""

    kind: str
    varies: bool
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page.

    Raises:
        ValueError: A block is of no known kind, or isn't closed.
    """
    found: list[Block] = []
    opened: tuple[str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.splitlines(), 1):
        if not line.lstrip().startswith("```"):
            lines.append(line)
        elif opened is None:
            opened, lines = (line, number), []
        else:
            kind, _, rest = opened[0].removeprefix("```").partition(" ")
            if line != "```" or kind not in KINDS or rest not in ("", "varies"):
                raise ValueError(f"line {opened[1]}: expected one of {KINDS}, got {opened[0]!r}")
            found.append(Block(kind, bool(rest), "\n".join(lines), opened[1]))
            opened = None
    if opened is not None:
        raise ValueError(f"line {opened[1]}: the block isn't closed")
    return found


def steps_of(page: str) -> list[Step]:
    """What a page has its reader run, in order: a block is a step or several, or the output of one.

    Raises:
        ValueError: A block is of no known kind, or stands where nothing could have printed it.
    """
    steps: list[Step] = []
    before = ""
    for block in blocks_of(page):
        if block.kind == "console":
            steps += _commands(block)
        elif block.kind == "python":
            steps.append(Step("python", block.text, "", block.varies, block.line))
        elif before == "python":
            step = steps.pop()
            steps.append(Step("python", step.text, block.text, block.varies, step.line))
        else:
            raise ValueError(f"line {block.line}: text that no Python before it prints")
        before = block.kind
    return steps


def _commands(block: Block) -> Iterator[Step]:
    text, shown, start = "", list[str](), block.line
    goes_on = False
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if goes_on:
            text += "\n" + line
        elif line.startswith("$ "):
            if text:
                yield Step("console", text, "\n".join(shown), block.varies, start)
            text, shown, start = line.removeprefix("$ "), [], number
        elif not text:
            raise ValueError(f"line {number}: expected a command after `$ `, got {line!r}")
        else:
            shown.append(line)
            continue
        goes_on = line.endswith("\\")
    yield Step("console", text, "\n".join(shown), block.varies, start)


def says(shown: str, printed: str, *, varies: bool) -> bool:
    """Whether what was printed is what the page shows, by the rules of this module."""
    return re.fullmatch(_pattern(_plain(shown, varies)), _plain(printed, varies)) is not None


def _plain(text: str, varies: bool) -> str:
    lines = [" ".join(line.split()) for line in text.strip("\n").splitlines()]
    plain = "".join(line + "\n" for line in lines)
    return (
        NUMBER.sub(lambda found: "0 t" if found[1] is not None else "0", plain) if varies else plain
    )


def _pattern(shown: str) -> str:
    lines = [
        r"(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in shown.splitlines()
    ]
    return "".join(lines)


class Conversation:
    """A process that is told what to do, one thing after the other, and what it printed of each."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        """Start it, in a session of its own: what it leaves behind is ended with it."""
        self._mark = f"-- {secrets.token_hex(8)}"
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "MARK": self._mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def say(self, text: bytes) -> tuple[str, int]:
        """Have something done; what it printed, and its exit code.

        Raises:
            TimeoutError: It took too long.
            EOFError: It ended the process.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()
        printed, end_s = b"", time.monotonic() + LIMIT_S
        ended = re.compile(rf"\n{self._mark} (\d+)\n$".encode())
        while not (found := ended.search(printed)):
            if not select.select(
                [self._process.stdout], [], [], max(0.0, end_s - time.monotonic())
            )[0]:
                raise TimeoutError(printed.decode(errors="replace"))
            more = os.read(self._process.stdout.fileno(), 65_536)
            if not more:
                raise EOFError(printed.decode(errors="replace"))
            printed += more
        return printed[: found.start()].decode(), int(found[1])

    def close(self) -> None:
        """End the process and all that it left at work."""
        group = self._process.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
        self._process.communicate(timeout=LIMIT_S)
        end_s = time.monotonic() + LIMIT_S
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < end_s:
                os.killpg(group, 0)
                time.sleep(0.02)
            os.killpg(group, signal.SIGKILL)


@dataclass
class Reader:
    """Somebody who does what a page says, in a folder.

    Attributes:
        folder: Where.
        environment: The variables of what is run.
    """

    folder: Path
    environment: dict[str, str]
    _shell: Conversation | None = None
    _python: Conversation | None = None
    _left: list[Path] = field(default_factory=list)

    def do(self, step: Step) -> tuple[str, int]:
        """Run a step: what it printed, and its exit code."""
        if step.kind == "python":
            if self._python is None:
                run = [sys.executable, "-u", "-c", INTERPRETER]
                self._python = Conversation(run, self.folder, self.environment)
            return self._python.say(json.dumps(step.text).encode() + b"\n")
        if self._shell is None:
            self._shell = Conversation(["bash", "-c", SHELL], self.folder, self.environment)
        if not step.text.endswith("&"):
            return self._shell.say(step.text.encode() + b"\0")
        return self._leave(self._shell, step)

    def _leave(self, shell: Conversation, step: Step) -> tuple[str, int]:
        """Leave a command at work, and wait until it has said what the page shows."""
        says_file = self.folder / f".said-{len(self._left)}"
        self._left.append(says_file)
        command = step.text.removesuffix("&")
        code = shell.say(f"{command} >'{says_file}' 2>&1 &".encode() + b"\0")[1]
        end_s = time.monotonic() + LIMIT_S
        while True:
            said = says_file.read_text(encoding="utf-8") if says_file.exists() else ""
            done = step.shown and says(step.shown, said, varies=step.varies)
            if done or time.monotonic() > end_s:
                return said, code
            time.sleep(0.02)

    def close(self) -> None:
        """End all that was left at work."""
        for conversation in (self._shell, self._python):
            if conversation is not None:
                conversation.close()


@contextlib.contextmanager
def reader(folder: Path) -> Generator[Reader]:
    """Somebody who reads a page in a folder; what is left at work then ends."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("TWOFOLD_")}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }
    somebody = Reader(folder, environment)
    try:
        yield somebody
    finally:
        somebody.close()


def with_free_port(page: str) -> tuple[str, str]:
    """A page with a free port in the place of 8080, and this port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    return page.replace(PORT, port), port


def run_page(page: str, folder: Path) -> Iterator[tuple[Step, str, int]]:
    """Run all of a page: each step, what it printed, its exit code."""
    text, port = with_free_port(page)
    with reader(folder) as somebody:
        somebody.environment["TWOFOLD_SERVE_PORT"] = port
        for step in steps_of(text):
            printed, code = somebody.do(step)
            for _ in range(MAX_TRIES - 1):
                if INVALID in printed:
                    printed, code = somebody.do(step)
            yield step, printed, code


def wrong(step: Step, printed: str, code: int) -> str | None:
    """What of a step isn't as the page says, or None."""
    fails = any(line.startswith(FAILED) for line in step.shown.splitlines())
    if (code != 0) != fails:
        return f"line {step.line}: {step.text!r} ended with {code}:\n{printed}"
    if not says(step.shown, printed, varies=step.varies):
        return f"line {step.line}: {step.text!r} shows\n{step.shown}\n-- but printed\n{printed}"
    return None


def main() -> None:
    """Run a page and show what its blocks print."""
    page, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for step, printed, code in run_page(page.read_text(encoding="utf-8"), folder):
        mark = "$ " if step.kind == "console" else ""
        sys.stdout.write(f"{mark}{step.text}\n{printed}\n")
        sys.stdout.write(f"!! {found}\n" if (found := wrong(step, printed, code)) else "")


if __name__ == "__main__":
    main()
