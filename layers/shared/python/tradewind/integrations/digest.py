"""SHA-256 in hexadecimal, and money as the decimal number that ad platforms take."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tradewind.money import minor_digits, to_text

_HASHED = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_hashed(text: str) -> bool:
    """Whether a value in lower case is an MD5 or SHA-256 already: the platforms' SDKs pass such through."""
    return _HASHED.fullmatch(text) is not None


def sha256_of_document(document: Mapping[str, Any]) -> str:
    return sha256(json.dumps(document, sort_keys=True, separators=(",", ":")))


def decimal_of(cents: int, currency: str) -> int | float:
    """Cents as a JSON number: whole for currencies without a minor unit. Up to 15 digits a double's shortest text is
    exact, which is as far as money goes here.
    """
    return cents if minor_digits(currency) == 0 else float(to_text(cents, currency))


def digits_of(phone: str | None) -> str | None:
    """A phone number's digits with its country's; None without a plus, since nobody can tell the country then."""
    if phone is None or not phone.strip().startswith("+"):
        return None
    digits = re.sub(r"\D", "", phone)
    return digits or None
