"""Making files and folders outlive a loss of power."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Have a file or the entries of a folder on disk.

    Raises:
        OSError: They may not be there. Another fsync may not tell so.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_durably(output: Path, *below: Path) -> None:
    """Make folders so that a crash of the machine takes none of them away, nor those above.

    One by one, each entry on disk before there is anything behind it: an attempt that goes on
    after another was killed here has to look no further than the deepest folder it finds.
    """
    output = output.absolute()
    folders = [*reversed(output.parents), output, *below]
    missing = [place for place, folder in enumerate(folders) if not folder.exists()]
    deepest = missing[0] - 1 if missing else len(folders)
    for folder in folders[min(deepest, folders.index(output)) :]:
        is_new = not folder.exists()
        if is_new:
            folder.mkdir(exist_ok=True)
        try:
            sync(folder.parent)
        except PermissionError:
            # Whoever may not look into the folder above hasn't made this one there.
            if is_new:
                raise
