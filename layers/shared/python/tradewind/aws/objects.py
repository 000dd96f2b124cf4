"""Objects in the payload bucket: bodies too large for a queue travel by claim check."""

from __future__ import annotations

from urllib.parse import quote

from tradewind.aws.client import AwsClient, AwsRefusedError, AwsUnavailableError
from tradewind.errors import NotFoundError


class PayloadStore:
    """``put``, ``get`` and ``delete`` whole objects by key, path style."""

    def __init__(self, client: AwsClient, bucket: str, region: str) -> None:
        self._client = client
        self._bucket = bucket
        self._host = f"s3.{region}.amazonaws.com"

    def put(self, key: str, body: bytes) -> None:
        self._call("PUT", key, body)

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises NotFoundError where it does not exist or its retention has passed."""
        return self._call("GET", key, b"")

    def delete(self, key: str) -> None:
        """Delete the object; one that does not exist is deleted already."""
        self._call("DELETE", key, b"")

    def _call(self, method: str, key: str, body: bytes) -> bytes:
        answer = self._client.send("s3", method, f"/{self._bucket}/{quote(key)}", {}, body, host=self._host)
        if answer.status == 404:  # noqa: PLR2004 - HTTP
            raise NotFoundError("stored payload", key)
        if answer.status >= 500:  # noqa: PLR2004 - HTTP
            raise AwsUnavailableError(f"s3: {method} answered {answer.status}")
        if answer.status >= 300:  # noqa: PLR2004 - HTTP
            raise AwsRefusedError("s3", str(answer.status), answer.body[:200].decode(errors="replace"))
        return answer.body
