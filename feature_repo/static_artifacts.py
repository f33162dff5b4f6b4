"""What `feast serve` does before its first request: item vectors opened, the kernel loaded."""

from pathlib import Path
from typing import Any

from sail_features.feast_plugin import warm_up


def load_artifacts(app: Any) -> None:
    """Make ready; Feast calls this and goes on serving where it fails."""
    warm_up(Path(__file__).parent)
