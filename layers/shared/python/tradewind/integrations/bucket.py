"""Files into a bucket of the tenant's own, wherever S3's API is spoken. One PUT a file: it is there whole or not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from tradewind.aws.signing import Keys, sign
from tradewind.errors import CredentialsRejectedError, ProviderUnavailableError, RateLimitedError
from tradewind.exporting import Destination, DestinationRefusedError, FileToBring
from tradewind.integrations.outward import Answer, Outward

_CODE = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")
_MADE, _FORBIDDEN, _FAULT, _SLOW_DOWN = 300, frozenset({401, 403}), 500, frozenset({429, 503})


def put_file(
    outward: Outward, destination: Destination, file: FileToBring, secrets: Mapping[str, str], now: datetime
) -> None:
    """Put a file under the destination's prefix, over one of its name."""
    address = destination.address
    region = address["region"]
    endpoint = address.get("endpoint") or f"https://s3.{region}.amazonaws.com"
    path = f"/{address['bucket']}/{quote(address.get('prefix', '') + file.name)}"
    headers = sign(
        method="PUT",
        host=urlsplit(endpoint).netloc,
        path=path,
        headers={"content-type": file.content_type},
        body=b"",
        service="s3",
        region=region,
        keys=Keys(secrets["access_key_id"], secrets["secret_access_key"]),
        at=now,
        digest=file.sha256,
    )
    del headers["host"]
    with file.path.open("rb") as body:
        answer = outward.send("PUT", endpoint.rstrip("/") + path, headers, body, file.size)
    _judge(f"bucket {address['bucket']}", answer)


def _judge(bucket: str, answer: Answer) -> None:
    if answer.status < _MADE:
        return
    found = _CODE.search(answer.body)
    code = found[1].decode() if found else str(answer.status)
    if answer.status in _SLOW_DOWN:
        raise RateLimitedError(bucket, timedelta(seconds=30))
    if answer.status >= _FAULT:
        raise ProviderUnavailableError(bucket, f"answered {code}")
    if answer.status in _FORBIDDEN:
        raise CredentialsRejectedError(f"{bucket} refuses the keys: {code}")
    raise DestinationRefusedError(f"{bucket} refuses the file: {code}")
