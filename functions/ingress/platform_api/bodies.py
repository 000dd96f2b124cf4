"""Reading a request: its idempotency key and its body, each refused by the name of what is wrong."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ingress.platform_api.answers import RefusedError
from ingress.strict_json import parse_object
from tradewind.errors import InvalidPayloadError

IDEMPOTENCY_HEADER = "idempotency-key"
MAX_DEPTH = 64
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_BASE64_GROWTH = 4 / 3


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body: its JSON text as it came, and what it says."""

    text: str
    content: Mapping[str, Any]

    @property
    def raw(self) -> bytes:
        return self.text.encode()


def read_idempotency_key(headers: Mapping[str, str]) -> str:
    key = headers.get(IDEMPOTENCY_HEADER, "")
    if not _KEY.fullmatch(key):
        problem = (
            "is missing" if not key else "is longer than 255 characters or not plain ASCII without spaces"
        )
        raise RefusedError(
            HTTPStatus.BAD_REQUEST,
            problem,
            IDEMPOTENCY_HEADER,
            "send one that is the same when you ask again",
        )
    return key


def read_body(event: Mapping[str, Any], headers: Mapping[str, str], limit: int) -> Body:
    """The body, an object; an empty one is ``{}``. ``limit`` is in bytes."""
    body, encoded = event.get("body") or "", bool(event.get("isBase64Encoded"))
    if len(body) > limit * (_BASE64_GROWTH + 0.01 if encoded else 1):
        raise _too_large(limit)
    if not body:
        return Body("{}", {})
    if headers.get("content-type", "").split(";", 1)[0].strip().lower() != "application/json":
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "is not application/json", "content-type", "send JSON as such"
        )
    text = _text(body, encoded=encoded)
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise _too_large(limit)
    content = _parse(text)
    for path, value in _walk(content):
        if len(path) > MAX_DEPTH:
            raise _bad(path_of(path), f"lies deeper than {MAX_DEPTH} levels", "flatten it")
        if isinstance(value, str) and _is_unstorable(value):
            raise _bad(path_of(path), "holds a null byte or half a surrogate pair", "leave them out")
    return Body(text, content)


def path_of(path: tuple[Any, ...]) -> str:
    """``utm.source`` or ``order_ids.0``; ``body`` for the whole. Names that cannot be printed are shown escaped."""
    named = ".".join(str(part) for part in path)
    return ascii(named)[1:-1][:200] if _is_unstorable(named) else named[:200] or "body"


def _text(body: str, *, encoded: bool) -> str:
    try:
        return base64.b64decode(body, validate=True).decode() if encoded else body.encode().decode()
    except (binascii.Error, UnicodeError) as error:
        raise _bad("body", f"is not UTF-8 ({type(error).__name__})", "send JSON in UTF-8") from None


def _parse(text: str) -> dict[str, Any]:
    try:
        return parse_object(text)
    except InvalidPayloadError as error:
        raise _bad("body", str(error).removeprefix("body: ")[:300], "send a JSON object") from None


def _walk(content: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value with its path, names of fields included, without recursion; not beyond ``MAX_DEPTH`` + 1."""
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), content)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        if len(path) > MAX_DEPTH:
            continue
        if isinstance(value, dict):
            for name, item in value.items():
                yield (*path, name), name
                waiting.append(((*path, name), item))
        elif isinstance(value, list):
            waiting += [((*path, at), item) for at, item in enumerate(value)]


def _is_unstorable(text: str) -> bool:
    return any(sign == "\x00" or "\ud800" <= sign <= "\udfff" for sign in text)


def _bad(field: str, problem: str, remedy: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, problem, field, remedy)


def _too_large(limit: int) -> RefusedError:
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"is larger than {limit} bytes", "body", "send less at once"
    )
