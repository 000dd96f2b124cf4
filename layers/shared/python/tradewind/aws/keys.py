"""KMS data keys, bound to an encryption context."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from tradewind.aws.client import AwsClient


@dataclass(frozen=True, slots=True, repr=False)
class DataKey:
    """A 256-bit key in the clear, and the same key as KMS encrypted it."""

    plain: bytes
    encrypted: bytes


class KeyService:
    """``context`` must be the same at decryption, else KMS refuses (AwsRefusedError, InvalidCiphertextException)."""

    def __init__(self, client: AwsClient, key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    def generate(self, context: Mapping[str, str]) -> DataKey:
        answer = self._client.json_call(
            "kms",
            "TrentService.GenerateDataKey",
            {"KeyId": self._key_id, "KeySpec": "AES_256", "EncryptionContext": dict(context)},
            version="1.1",
        )
        return DataKey(base64.b64decode(answer["Plaintext"]), base64.b64decode(answer["CiphertextBlob"]))

    def decrypt(self, encrypted: bytes, context: Mapping[str, str]) -> bytes:
        answer = self._client.json_call(
            "kms",
            "TrentService.Decrypt",
            {"CiphertextBlob": base64.b64encode(encrypted).decode(), "EncryptionContext": dict(context)},
            version="1.1",
        )
        return base64.b64decode(answer["Plaintext"])
