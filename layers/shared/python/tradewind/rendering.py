"""Templates beside the feature that uses them, rendered by jinja2: the only module that knows it.

HTML is escaped wherever a value stands in it; a name that is not given is an error. The same values give the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(beside: str, name: str, values: Mapping[str, Any]) -> str:
    """Render ``templates/{name}`` in the folder of ``beside`` (pass ``__file__``).

    ``.html`` files are escaped, ``.txt`` files are not. The task's Lambda needs the layer ``templates``.
    """
    return _environment(Path(beside).parent / "templates").get_template(name).render(values)


@cache
def _environment(folder: Path) -> Environment:
    from jinja2 import (  # noqa: PLC0415 - of a layer that only tasks which render have
        Environment,
        FileSystemLoader,
        StrictUndefined,
        select_autoescape,
    )

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=select_autoescape(enabled_extensions=("html",), default_for_string=True, default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
