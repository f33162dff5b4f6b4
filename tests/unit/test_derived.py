"""What is derived from tables stays while it is used, and goes after."""

from __future__ import annotations

import os
import time

from sail_features.derived import DERIVED, mark_used, prune_derived


def aged(path, days):
    then = time.time() - days * 86_400
    os.utime(path, (then, then))
    return path


def test_only_what_was_unused_for_days_is_removed(tmp_path):
    root = tmp_path / DERIVED
    for name in ("old", "fresh", "used"):
        (root / name).mkdir(parents=True)
        (root / name / "vectors.npy").write_bytes(b"x")
    (root / "old.npy").write_bytes(b"x")
    for name in ("old", "used", "old.npy"):
        aged(root / name, 8)
    aged(root / "fresh", 6)
    mark_used(root / "used")
    assert {path.name for path in prune_derived(tmp_path)} == {"old", "old.npy"}
    assert {path.name for path in root.iterdir()} == {"fresh", "used"}


def test_nothing_derived_yet_is_no_error(tmp_path):
    assert prune_derived(tmp_path) == []
