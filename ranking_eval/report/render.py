"""Renders templates so that no name in them is taken for markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined, select_autoescape

from ranking_eval.formats import format_delta

FOLDER: Final = Path(__file__).parent
MARKDOWN: Final = ".md.jinja"
MARKDOWN_SIGNS: Final = re.compile(r"([\\`*_{}\[\]<>#|~$])")


def render(template: str, **values: Any) -> str:
    """Return the text of a ``.html.jinja`` or ``.md.jinja`` template of this folder.

    Every value is escaped, in HTML but for those marked safe.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        autoescape=select_autoescape(("html.jinja",)),
        finalize=escape_markdown if template.endswith(MARKDOWN) else None,
        trim_blocks=True,
    )
    environment.filters.update(delta=format_delta, figure=format_figure)
    return environment.get_template(template).render(values)


def escape_markdown(value: object) -> str:
    r"""Write a value so that Markdown shows it as it is, on one line.

    Examples
    --------
    >>> print(escape_markdown("a|b <i>"))
    a\|b \<i\>
    """
    return MARKDOWN_SIGNS.sub(r"\\\1", " ".join(str(value).split()))


def format_figure(value: float | Undefined | None, pattern: str) -> str:
    """Write a figure by a printf pattern, and a missing one as a dash."""
    return "-" if value is None or isinstance(value, Undefined) else pattern % value
