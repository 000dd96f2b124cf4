"""JSON as the standard has it: what Python's parser takes beside it could be neither stored nor sent on."""

from __future__ import annotations

import json
import math
from typing import Any

from tradewind.errors import InvalidPayloadError


def parse_object(text: str) -> dict[str, Any]:
    """The object that a body says. NaN is no JSON number, 1e400 becomes none that can be written again, and nesting
    beyond the parser's depth is no request. Raises InvalidPayloadError.
    """
    try:
        parsed = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidPayloadError("body", f"is not JSON ({type(error).__name__}: {error})") from error
    if not isinstance(parsed, dict):
        raise InvalidPayloadError("body", f"is a {type(parsed).__name__}", "an object is expected")
    return parsed


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant[:40]} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)
