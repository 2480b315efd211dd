"""The native parts; all else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import Extension, setup

KERNEL = Path("src", "kernel")
WIRE = Path("src", "wire")
STORE = Path("src", "store")
LOAD = Path("src", "load")

setup(
    ext_modules=[
        Extension(
            "twofold._kernel",
            sources=sorted(path.as_posix() for path in KERNEL.glob("*.c")),
            depends=sorted(path.as_posix() for path in KERNEL.glob("*.h")),
            # No fused multiply-add: it would round once where the original rounds twice.
            extra_compile_args=["-O3", "-std=c11", "-ffp-contract=off", "-Wno-psabi"],
            # Without a compiler the package installs all the same, and uses other runtimes.
            optional=True,
        ),
        Extension(
            "twofold._wire",
            sources=sorted(path.as_posix() for path in WIRE.glob("*.c")),
            depends=sorted(path.as_posix() for path in WIRE.glob("*.h")),
            extra_compile_args=["-O3", "-std=c11"],
            # Without it, every request is read the usual way.
            optional=True,
        ),
        Extension(
            "twofold._store",
            sources=sorted(path.as_posix() for path in STORE.glob("*.c")),
            depends=sorted(path.as_posix() for path in STORE.glob("*.h")),
            extra_compile_args=["-O3", "-std=c11"],
            # Without it, keys are found in Python.
            optional=True,
        ),
    ]
    + [
        Extension(
            "twofold._load",
            sources=sorted(path.as_posix() for path in LOAD.glob("*.c")),
            depends=sorted(path.as_posix() for path in LOAD.glob("*.h")),
            extra_compile_args=["-O3", "-std=c11"],
            # Without it, `twofold lab load` says that it isn't there.
            optional=True,
        )
    ]
    # epoll and timerfd.
    * (sys.platform == "linux")
)
