"""The pages for learners are true: all they have run runs, and prints what they say."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from server_process import is_alive

sys.path.insert(0, str(Path(__file__).parent))
from lesson import MAX_TRIES, blocks_of, run_page, says, steps_of, wrong

LEARN = Path(__file__).parents[2] / "docs" / "learn"
INDEX = LEARN / "README.md"
PAGES = sorted(LEARN.glob("[0-9][0-9]-*.md"))
PARTS = ["## Question", "## Experiment", "## Measured", "## Why"]
INLINE = re.compile(r"`(twofold [a-z][^`]*)`")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def read(page: str, folder: Path) -> None:
    """Do all that a page says, and see that it comes out as it says."""
    done = 0
    for step, printed, code in run_page(page, folder):
        found = wrong(step, printed, code)
        assert found is None, found
        done += 1
    assert done == len(steps_of(page))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the index has its reader make, by the commands of the index."""
    folder = tmp_path_factory.mktemp("learn")
    read(text_of(INDEX), folder)
    return folder / "twofold-demo"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_on_the_page_runs_and_prints_what_it_says(
    prepared: Path, tmp_path: Path, page: Path
) -> None:
    folder = tmp_path / "twofold-demo"
    shutil.copytree(prepared, folder)
    read(text_of(page), folder)


def test_there_are_ten_pages_and_the_index_has_them_in_order() -> None:
    assert [page.name[:2] for page in PAGES] == [f"{number:02}" for number in range(1, 11)]
    linked = re.findall(r"\]\((\d\d-[\w-]+\.md)\)", text_of(INDEX))
    assert linked == [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_asks_tries_answers_and_leads_on(page: Path) -> None:
    text = text_of(page)
    assert re.findall(r"^## \w+", text, re.MULTILINE) == PARTS
    question, _, rest = text.partition(PARTS[1])
    experiment, _, _ = rest.partition(PARTS[2])
    assert "?" in question
    assert not blocks_of(question)
    assert steps_of(experiment), "there is nothing to run"
    following = [*PAGES, INDEX][PAGES.index(page) + 1]
    assert text.rstrip().splitlines()[-1].endswith(f"]({following.name})")
    assert re.search(r"\]\(\.\./[\w/-]+\.md", text), "no link to the reference"


@pytest.mark.parametrize("page", [INDEX, *PAGES], ids=lambda page: page.stem)
def test_every_command_in_the_words_of_a_page_is_run_on_it(page: Path) -> None:
    text = text_of(page)
    run = " ".join(" ".join(step.text.split()) for step in steps_of(text))
    for command in INLINE.findall(text):
        assert " ".join(command.split()) in run, command


@pytest.mark.parametrize(
    ("shown", "printed", "varies", "same"),
    [
        ("2 rows", "2 rows\n", False, True),
        ("2 rows", "3 rows", False, False),
        ("2 rows", "31,003 rows", True, True),
        ("2 rows", "2 columns", True, False),
        ("took 1.2 ms", "took 881 µs", True, True),
        ("took 1.2 ms", "took 881 rows", True, False),
        ("a  b", "a b", False, True),
        ("as of ... UTC", "as of noon UTC", False, True),
        ("as of ... UTC", "as of noon CET", False, False),
        ("a\n...\nz", "a\nb\nc\nz", False, True),
        ("a\n...\nz", "a\nz", False, True),
        ("a\n...\nz", "a\nb\nc", False, False),
        ("", "warning: something", False, False),
        ("[2, 4, 6]", "[2, 4, 7]", False, False),
    ],
)
def test_what_is_shown_is_compared_with_what_was_printed(
    shown: str, printed: str, varies: bool, same: bool
) -> None:
    assert says(shown, printed, varies=varies) is same


@pytest.mark.parametrize(
    "page",
    [
        "```bash\nls\n```",
        "```\nls\n```",
        "```console sometimes\n$ ls\n```",
        "```console\nls\n```",
        "```text\nout of nothing\n```",
        "```console\n$ ls\n```\n```text\nout of nothing\n```",
        "```python\nprint(1)",
        "1. A step\n\n   ```console\n   $ ls\n   ```",
    ],
)
def test_a_block_that_could_not_be_run_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="line"):
        steps_of(page)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("```console\n$ echo one\ntwo\n```", "but printed\\s+one"),
        ("```console\n$ false\n```", "ended with 1"),
        ("```console\n$ echo error: not really\nerror: not really\n```", "ended with 0"),
        ("```python\nprint(1)\n```", "but printed\\s+1"),
        ("```python\nprint(1)\n```\n```text\n2\n```", "but printed\\s+1"),
        ("```python\n1 / 0\n```", "ZeroDivisionError"),
    ],
)
def test_a_page_that_does_not_say_what_happens_is_noticed(
    tmp_path: Path, page: str, expected: str
) -> None:
    with pytest.raises(AssertionError, match=expected):
        read(page, tmp_path)


def test_a_measurement_that_calls_itself_invalid_is_repeated_a_few_times(tmp_path: Path) -> None:
    measure = "```console\n$ echo >>tries; {}\n{}\n```"
    busy = "test $(wc -l <tries) = 3 && echo good || printf 'so so\\ninvalid: busy\\n'"
    read(measure.format(busy, "good"), tmp_path)
    with pytest.raises(AssertionError, match="invalid: busy"):
        read(measure.format("printf 'so so\\ninvalid: busy\\n'", "good"), tmp_path)
    assert len((tmp_path / "tries").read_text().splitlines()) == 3 + MAX_TRIES


def test_steps_share_a_shell_and_an_interpreter_and_what_is_at_work_ends(tmp_path: Path) -> None:
    page = """
```console
$ mkdir a && cd a
$ echo "one \\
two" > b.txt; cat b.txt; echo three >&2
one two
three
$ sh -c 'echo $$ > pid; echo ready; sleep 60' &
ready
$ cat no-such-file || echo "error: as expected" && false
cat: ...
error: as expected
```

```python
x = 20
```

```python
import subprocess
print(x)
subprocess.run(["echo", "from outside"])
```

```text varies
1
from outside
```
"""
    read(page, tmp_path)
    assert not is_alive(int((tmp_path / "a" / "pid").read_text()))
