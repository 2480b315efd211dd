"""Where it is measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from twofold.batch.local import cores
from twofold.lab.findings import Machine
from twofold.version import VERSION

CPU_INFO = Path("/proc/cpuinfo")


def this_machine() -> Machine:
    """Describe this machine, without its name."""
    return Machine(
        cpu=_cpu(),
        cores=cores(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        twofold=VERSION,
    )


def _cpu() -> str:
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
