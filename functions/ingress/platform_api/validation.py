"""Whether a body is what its event type or task takes; if not, the path of the fault and what is expected.

Events have a contract in the kernel, which is asked itself. Payloads of tasks lie in the domains, which are not
imported here: their JSON schemas come with the bundle. The worker asks the real payload again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import fastjsonschema
from pydantic import ValidationError

from ingress.manifest import load_payload_schemas
from ingress.platform_api.answers import RefusedError
from ingress.platform_api.bodies import path_of
from tradewind.contracts.events import EVENTS

WHERE = "GET /openapi.json has its schema"


def check_event(kind: str, content: Mapping[str, Any]) -> None:
    """Raises RefusedError (400)."""
    try:
        EVENTS[kind].model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _bad(first["loc"], first["msg"], WHERE) from None


def check_payload(task: str, content: Mapping[str, Any]) -> None:
    """Raises RefusedError (400)."""
    try:
        _validator(task)(content)
    except fastjsonschema.JsonSchemaValueException as error:
        path, problem, remedy = _read(error)
        raise _bad(path, problem, remedy) from None


@cache
def _validator(task: str) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = fastjsonschema.compile(load_payload_schemas()[task], use_default=False)
    return made


def _read(error: Any) -> tuple[tuple[Any, ...], str, str]:
    path = tuple(error.path[1:])
    if error.rule == "required":
        missing = [name for name in error.rule_definition if name not in error.value]
        return (*path, missing[0]), "Field required", WHERE
    if error.rule == "additionalProperties":
        known = error.definition.get("properties", {})
        unknown = [name for name in error.value if name not in known]
        return (*path, unknown[0]), "Field is not known", f"known: {', '.join(known)}"
    expected = json.dumps({error.rule: error.rule_definition})
    return path, str(error.message).removeprefix(str(error.name)).strip()[:300], f"expected: {expected[:200]}"


def _bad(path: tuple[Any, ...], problem: str, remedy: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, problem, path_of(path), remedy)
