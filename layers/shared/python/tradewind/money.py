"""Money is integer cents with a currency; decimals appear only where a provider's text is read or written.

*Cents* means the currency's minor unit: 2 digits for most, 0 for yen, 3 for dinars (ISO 4217, exceptions below).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import lcm

_NO_MINOR_UNIT_CODES = "BIF BYR CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DIGIT_CODES = "BHD IQD JOD KWD LYD OMR TND"
_ALL_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BYR BZD
CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JEP JMD JOD JPY KES KGS KHR KID KMF KPW KRW KWD KYD KZT
LAK LBP LKR LRD LSL LTL LVL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR
NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP
STD STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYI UYU UZS VED VEF VES VND VUV WST XAF XCD
XOF XPF YER ZAR ZMW ZWG
"""
_NO_MINOR_UNIT = frozenset(_NO_MINOR_UNIT_CODES.split())
_THREE_DIGITS = frozenset(_THREE_DIGIT_CODES.split())
_CURRENCIES = frozenset(_ALL_CODES.split())
MAX_CENTS = 10**15
"""Ten trillion in a two-digit currency: beyond it an amount is a fault, not a sale."""


def minor_digits(currency: str) -> int:
    """Decimal digits of a currency's minor unit. Raises ValueError for a code that ISO 4217 does not know."""
    if currency not in _CURRENCIES:
        raise ValueError(f"unknown currency {currency!r}; expected an ISO 4217 code such as USD")
    if currency in _NO_MINOR_UNIT:
        return 0
    return 3 if currency in _THREE_DIGITS else 2


def to_cents(amount: str | int | Decimal, currency: str) -> int:
    """Read a provider's decimal text (``"19.99"``) as cents, exactly.

    Raises ValueError for text that is no finite number, has more digits than the currency, or lies beyond
    ``MAX_CENTS``. A float is not accepted: its cents are already lost.
    """
    if isinstance(amount, bool | float):
        raise ValueError(f"amount {amount!r} must be decimal text, not {type(amount).__name__}")  # noqa: TRY004 - bad input
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise ValueError(f"amount {amount!r} is not a decimal number") from None
    if not value.is_finite():
        raise ValueError(f"amount {amount!r} is not a finite number")
    scaled = value.scaleb(minor_digits(currency))
    if abs(scaled) > MAX_CENTS:
        raise ValueError(f"amount {amount!r} is beyond {MAX_CENTS} cents")
    cents = int(scaled)
    if cents != scaled:
        raise ValueError(f"amount {amount!r} has more digits than {currency} allows")
    return cents


def to_text(cents: int, currency: str) -> str:
    """Write cents as decimal text: ``1999, "USD"`` becomes ``"19.99"``."""
    digits = minor_digits(currency)
    return f"{Decimal(cents).scaleb(-digits):.{digits}f}"


def split_by_weight(total: int, weights: Sequence[Fraction | int]) -> list[int]:
    """Split ``total`` cents so that the parts sum to it exactly (largest remainder, Hamilton's method).

    Equal remainders go to the earlier part. A negative total is split as its mirror image. Raises ValueError where a
    weight is negative or all are zero.
    """
    scale = lcm(*(weight.denominator for weight in weights))
    whole = [weight.numerator * (scale // weight.denominator) for weight in weights]
    sum_of_weights = sum(whole)
    if any(weight < 0 for weight in whole) or sum_of_weights <= 0:
        raise ValueError("weights must not be negative and at least one must be positive")
    if total < 0:
        return [-part for part in split_by_weight(-total, weights)]
    shares = [divmod(total * weight, sum_of_weights) for weight in whole]
    parts = [part for part, _ in shares]
    by_remainder = sorted(range(len(parts)), key=lambda at: (-shares[at][1], at))
    for at in by_remainder[: total - sum(parts)]:
        parts[at] += 1
    return parts


def proportion(amount: int, part: int, whole: int) -> int:
    """``amount * part / whole`` in cents, rounded half up away from zero. ``whole`` must be positive."""
    if whole <= 0:
        raise ValueError("whole must be positive")
    product = amount * part
    rounded = (2 * abs(product) + whole) // (2 * whole)
    return rounded if product >= 0 else -rounded
