"""Objects in the payload bucket: bodies too large for a queue travel by claim check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from urllib.parse import quote, unquote

from tradewind.aws.client import Answer, AwsClient, AwsRefusedError, AwsUnavailableError, FileBody
from tradewind.errors import NotFoundError

_RANGE = 8 * 1024 * 1024
_BEHIND_THE_END = 416
_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)


class PayloadStore:
    """``put``, ``get``, ``delete`` and ``list`` whole objects by key, path style."""

    def __init__(self, client: AwsClient, bucket: str, region: str) -> None:
        self._client = client
        self._bucket = bucket
        self._host = f"s3.{region}.amazonaws.com"

    def put(self, key: str, body: bytes) -> None:
        self._call("PUT", key, body)

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises NotFoundError where it does not exist or its retention has passed."""
        return self._call("GET", key, b"")

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Put a file of this machine, piece by piece."""
        with path.open("rb") as file:
            body = FileBody(file, path.stat().st_size, sha256)
            answer = self._client.send(
                "s3", "PUT", f"/{self._bucket}/{quote(key)}", {}, body, host=self._host
            )
        _check("PUT", key, answer)

    def get_file(self, key: str, path: Path) -> None:
        """Write the object into a file of this machine, range by range. Raises NotFoundError."""
        with path.open("wb") as file:
            while True:
                headers = {"range": f"bytes={file.tell()}-{file.tell() + _RANGE - 1}"}
                answer = self._client.send(
                    "s3", "GET", f"/{self._bucket}/{quote(key)}", headers, b"", host=self._host
                )
                if answer.status == _BEHIND_THE_END:
                    return
                _check("GET", key, answer)
                file.write(answer.body)
                if len(answer.body) < _RANGE:
                    return

    def delete(self, key: str) -> None:
        """Delete the object; one that does not exist is deleted already."""
        self._call("DELETE", key, b"")

    def list(self, prefix: str, after: str = "") -> Sequence[str]:
        """Keys below ``prefix``, in order, the first 1,000 behind ``after``; none where there are no more."""
        query = {"encoding-type": "url", "list-type": "2", "prefix": prefix, "start-after": after}
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items() if value)
        answer = self._client.send("s3", "GET", f"/{self._bucket}", {}, b"", host=self._host, query=asked)
        _check("LIST", prefix, answer)
        return [unquote(unescape(key)) for key in _KEY.findall(answer.body.decode())]

    def _call(self, method: str, key: str, body: bytes) -> bytes:
        answer = self._client.send("s3", method, f"/{self._bucket}/{quote(key)}", {}, body, host=self._host)
        _check(method, key, answer)
        return answer.body


def _check(method: str, key: str, answer: Answer) -> None:
    if answer.status == 404 and method != "DELETE":  # noqa: PLR2004 - HTTP
        raise NotFoundError("stored payload", key)
    if answer.status >= 500:  # noqa: PLR2004 - HTTP
        raise AwsUnavailableError(f"s3: {method} answered {answer.status}")
    if answer.status >= 300 and answer.status != 404:  # noqa: PLR2004 - HTTP
        raise AwsRefusedError("s3", str(answer.status), answer.body[:200].decode(errors="replace"))
