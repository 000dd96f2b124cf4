"""What the doors have in common that are open to storefronts' pages: a body, a key that everybody can read, a limit."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ingress.platform_api.answers import RefusedError, refusal
from ingress.strict_json import parse_object
from tradewind.errors import InvalidPayloadError, RateLimitedError, RetryableError
from tradewind.loglines import count_line, log_line
from tradewind.tenancy.database import Connections, Session

MAX_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Words:
    """What a door's log lines and its metric say of a request that is refused, and of one that could not be kept."""

    refused: str
    not_kept: str
    metric: str


def answer_page(
    connections: Connections, words: Words, take: Callable[[Session], dict[str, Any]], **about: Any
) -> dict[str, Any]:
    """What ``take`` answers with a session of its own; a refusal, a limit or a database that is away as such."""
    session = Session(connections)
    try:
        return take(session)
    except RefusedError as error:
        log_line("warning", words.refused, **about, status=int(error.status), field=error.field)
        return refusal(error)
    except RateLimitedError as error:
        return slow_down(error)
    except RetryableError as error:
        log_line("error", words.not_kept, **about, error=repr(error))
        count_line(words.metric)
        problem = "not available at the moment"
        return refusal(RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, problem, None, "send it again"))
    finally:
        session.close()


def read_body(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body, an object; also one that a page sends as plain text, so that no browser asks first."""
    body, encoded = event.get("body") or "", bool(event.get("isBase64Encoded"))
    if len(body) > MAX_BODY * 2:
        raise _too_large()
    try:
        text = base64.b64decode(body, validate=True).decode() if encoded else body
        if len(text.encode()) > MAX_BODY:
            raise _too_large()
        return parse_object(text)
    except (binascii.Error, UnicodeError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"is not UTF-8 ({type(error).__name__})", "body") from None
    except InvalidPayloadError as error:
        problem = str(error).removeprefix("body: ")[:300]
        raise RefusedError(HTTPStatus.BAD_REQUEST, problem, "body", "send a JSON object") from None


def _too_large() -> RefusedError:
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"is larger than {MAX_BODY} bytes", "body", "send less at once"
    )


def token_of(event: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """The key: as a header, or where a beacon cannot set one, in the body or the address."""
    headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    by_header = headers.get("authorization", "").removeprefix("Bearer ")
    query = event.get("queryStringParameters") or {}
    return by_header or str(content.get("key") or query.get("key") or "")


def slow_down(error: RateLimitedError) -> dict[str, Any]:
    refused = RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too much at once", None, "wait, then send again")
    answered = refusal(refused)
    return {
        **answered,
        "headers": {**answered["headers"], "retry-after": str(int(error.wait.total_seconds()) + 1)},
    }
