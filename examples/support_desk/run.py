"""Set the support desk up, start the twofold server and the page, and stop both on Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from desk import PORT, Desk, serve, stop_on_sigterm
from prepare import HERE, MODEL, prepare

STOP_S = 20


@contextlib.contextmanager
def twofold_server(*more: str) -> Iterator[str]:
    """Run a twofold server; give its URL when it is ready."""
    command = [sys.executable, "-m", "twofold", "serve", MODEL, "--json", *more]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            line = process.stdout.readline()
            if not line:
                sys.exit("the twofold server did not start")
            url = json.loads(line)["url"]
            print(f"twofold    {url}  (process {process.pid})", flush=True)
            yield url
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            process.kill()


def main() -> None:
    """Do all of it."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--port", type=int, default=PORT, help="port of the page; 0 takes any")
    reader.add_argument("--twofold-port", type=int, help="port of twofold; 0 takes any")
    given = reader.parse_args()
    stop_on_sigterm()
    more = [] if given.twofold_port is None else ["--port", str(given.twofold_port)]
    try:
        prepare()
        with twofold_server(*more) as url:
            serve(Desk(given.port, url))
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, OverflowError) as error:
        sys.exit(f"desk: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    main()
