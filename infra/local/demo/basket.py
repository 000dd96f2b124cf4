"""What is in an order: lines whose prices sum to the purchase, and discounts that sum to the cent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from infra.local.demo.shops import CREATORS, PRODUCTS, SHOP_CODES

_MOST_LINES = 4
_PERCENT_OF_CODE = (5, 10, 15)
_SHARE_WITH_CODE = 0.3
_SHARE_OF_CREATORS = 0.5
_SHARE_WITH_TWO_CODES = 0.1
_SHARE_OF_THE_FIRST = 0.6


@dataclass(frozen=True, slots=True)
class BasketLine:
    """A line, in cents. ``discount_cents`` is the line's share of the order's discount."""

    id: int
    product: int
    title: str
    quantity: int
    price_cents: int
    discount_cents: int

    @property
    def paid_cents(self) -> int:
        return self.price_cents * self.quantity - self.discount_cents


def fill(
    chance: Random, order_id: int, quantity: int, amount_cents: int, percent: int
) -> tuple[BasketLine, ...]:
    """Lines of ``quantity`` units in all whose prices sum to ``amount_cents``, with ``percent`` off."""
    number = chance.randint(1, min(quantity, _MOST_LINES))
    products = chance.sample(range(len(PRODUCTS)), number)
    units = [1] * number
    for _ in range(quantity - number):
        units[chance.randrange(number)] += 1
    prices = _prices(chance, units, amount_cents)
    if prices is None:  # the cents do not divide: one line takes the rest
        units, prices, products = _one_unit_apart(quantity, amount_cents, products, chance)
    totals = [price * count for price, count in zip(prices, units, strict=True)]
    discounts = share(amount_cents * percent // 100, totals)
    return tuple(
        BasketLine(order_id * 100 + at, product, PRODUCTS[product], count, price, discount)
        for at, (product, count, price, discount) in enumerate(
            zip(products, units, prices, discounts, strict=True), start=1
        )
    )


def _prices(chance: Random, units: Sequence[int], amount_cents: int) -> list[int] | None:
    """A price per line: each near the average, and a line of one unit closes the sum."""
    closing = next((at for at, count in enumerate(units) if count == 1), None)
    if closing is None:
        return None
    average = amount_cents // sum(units)
    prices = [average * chance.randint(70, 120) // 100 for _ in units]
    prices[closing] = amount_cents - sum(
        price * count for at, (price, count) in enumerate(zip(prices, units, strict=True)) if at != closing
    )
    return prices if prices[closing] > 0 else None


def _one_unit_apart(
    quantity: int, amount_cents: int, products: Sequence[int], chance: Random
) -> tuple[list[int], list[int], list[int]]:
    if quantity == 1:
        return [1], [amount_cents], [products[0]]
    price = amount_cents // quantity
    other = products[1] if len(products) > 1 else (products[0] + chance.randint(1, 7)) % len(PRODUCTS)
    return [quantity - 1, 1], [price, amount_cents - price * (quantity - 1)], [products[0], other]


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Split cents by weight so that the parts sum to the total (largest remainder, the earlier part
    first).
    """
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda at: (-(total * weights[at] % whole), at))
    for at in remainders[: total - sum(parts)]:
        parts[at] += 1
    return parts


def codes_of(chance: Random, slug: str) -> tuple[tuple[str, ...], int]:
    """An order's discount codes and the percent they take: three orders in ten have one, half of them a
    creator's.
    """
    if chance.random() >= _SHARE_WITH_CODE:
        return (), 0
    percent = chance.choice(_PERCENT_OF_CODE)
    if chance.random() >= _SHARE_OF_CREATORS:
        return (chance.choice(SHOP_CODES),), percent
    codes = [_mixed_case(chance, _creator_code(chance, slug))]
    if chance.random() < _SHARE_WITH_TWO_CODES:
        codes.insert(chance.randint(0, 1), _mixed_case(chance, _creator_code(chance, slug)))
    return tuple(codes), percent


def _creator_code(chance: Random, slug: str) -> str:
    """The first creator of a shop is the one everybody follows, and so climbs the tiers."""
    own = [creator.code for creator in CREATORS if creator.slug == slug]
    return own[0] if chance.random() < _SHARE_OF_THE_FIRST else chance.choice(own[1:])


def _mixed_case(chance: Random, code: str) -> str:
    """As customers type it."""
    return chance.choice(
        (code, code.lower(), code.title(), "".join(chance.choice((c, c.lower())) for c in code))
    )
