"""Data keys as KMS has them: each sealed under a key of its own, and opened for its encryption context alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tradewind.aws.keys import DataKey
from tradewind.errors import CredentialsRejectedError

_NONCE = 12


class ContextKeys:
    """Seals data keys with AES-GCM and the context as associated data, as KMS does; counts what it opens."""

    def __init__(self) -> None:
        self._master = AESGCM(AESGCM.generate_key(256))
        self.opened = 0

    def generate(self, context: Mapping[str, str]) -> DataKey:
        plain, nonce = AESGCM.generate_key(256), os.urandom(_NONCE)
        return DataKey(plain, nonce + self._master.encrypt(nonce, plain, _authenticated(context)))

    def decrypt(self, encrypted: bytes, context: Mapping[str, str]) -> bytes:
        """Raises CredentialsRejectedError where the context is another one than the key was made for."""
        self.opened += 1
        try:
            return self._master.decrypt(encrypted[:_NONCE], encrypted[_NONCE:], _authenticated(context))
        except InvalidTag as error:
            raise CredentialsRejectedError("kms: InvalidCiphertextException") from error


def _authenticated(context: Mapping[str, str]) -> bytes:
    return json.dumps(dict(context), sort_keys=True).encode()
