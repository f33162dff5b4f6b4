"""Files beside the tables that can be made again from them, and are found by fingerprint.

Memory-mapped vectors and events sorted by user are kept for the next run. Each use
renews a file's time; what nothing used for some days, because the tables went on, is
removed.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final

DERIVED: Final = "_derived"
UNUSED_DAYS: Final = 7


def mark_used(path: Path) -> Path:
    """Renew the time of a derived file or folder, and return it."""
    os.utime(path)
    return path


def prune_derived(root: Path, unused_days: float = UNUSED_DAYS) -> list[Path]:
    """Remove what was derived from tables under ``root`` and not used for so many days.

    A process that has such a file mapped keeps it until it ends.
    """
    oldest = time.time() - unused_days * 86_400
    stale = [path for path in (root / DERIVED).glob("*") if path.stat().st_mtime < oldest]
    for path in stale:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return stale
