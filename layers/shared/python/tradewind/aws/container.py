"""What a container has to fetch that a Lambda is given: its role's credentials."""

from __future__ import annotations

import http.client
import json
from collections.abc import MutableMapping
from urllib.parse import urlsplit

from tradewind.errors import MisconfiguredError

_AGENT = "http://169.254.170.2"
_WHERE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
_NAMES = {
    "AccessKeyId": "AWS_ACCESS_KEY_ID",
    "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "Token": "AWS_SESSION_TOKEN",
}


def adopt_credentials(
    environment: MutableMapping[str, str], agent: str = _AGENT, timeout: float = 5.0
) -> None:
    """Fetch the task role's credentials from the container agent, where it names a place, into the environment.
    They hold for hours: longer than any container of ours runs.

    Raises MisconfiguredError where the agent does not give them.
    """
    place = environment.get(_WHERE)
    if not place:
        return
    connection = http.client.HTTPConnection(urlsplit(agent).netloc, timeout=timeout)
    try:
        connection.request("GET", place)
        told = json.loads(connection.getresponse().read())
        environment.update({name: str(told[field]) for field, name in _NAMES.items()})
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise MisconfiguredError(f"{_WHERE}: {agent}{place} gives no credentials: {error!r}") from error
    finally:
        connection.close()
