"""Which versions wrote a registry, and whether this one understands what they wrote.

Feast's SQL registry says nothing about who wrote it, and its messages drop what they don't
know. So every view that is declared here carries the versions in its tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Final, Protocol, Self

from packaging.version import InvalidVersion, Version

from sail_features import __version__
from sail_features.errors import ConfigError

PACKAGES: Final[Mapping[str, str]] = {
    "written_by_sail_features": __version__,
    "written_by_feast": version("feast"),
}


class RegistryError(ConfigError):
    """A registry can't be used by this version."""

    @classmethod
    def newer(cls, project: str, view: str, package: str, theirs: str, ours: str) -> Self:
        """Build the error for a registry that a newer version applied."""
        return cls.say(
            f"registry of project {project!r}",
            f"view {view!r} was applied by {package} {theirs}, this is {ours}",
            hint=f"install {package} {theirs} or newer; to go back, use a new registry and "
            "`feast apply`",
        )

    @classmethod
    def definition_unreadable(cls, view: str, reason: object) -> Self:
        """Build the error for an on-demand view whose definition has other fields."""
        return cls.say(
            f"view {view!r}",
            f"another version of sail-features applied it: {reason}",
            hint="serve with the version that applied it, or `feast apply` with this one",
        )


class Tagged(Protocol):
    """A view of a registry."""

    name: str
    tags: Mapping[str, str]


def version_tags() -> dict[str, str]:
    """Return the tags that say which versions declared a view."""
    return dict(PACKAGES)


def check_versions(project: str, views: Iterable[Tagged]) -> None:
    """Raise `RegistryError` where a newer version applied one of the views."""
    for view in views:
        for tag, ours in PACKAGES.items():
            theirs = view.tags.get(tag)
            if theirs is not None and _is_newer(theirs, ours):
                package = tag.removeprefix("written_by_").replace("_", "-")
                raise RegistryError.newer(project, view.name, package, theirs, ours)


def _is_newer(theirs: str, ours: str) -> bool:
    try:
        return Version(theirs) > Version(ours)
    except InvalidVersion:
        return True
