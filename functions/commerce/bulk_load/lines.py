"""Lines that Postgres refused, one by one: what can be mended is mended, the rest is counted and left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from tradewind.contracts.payload import Payload

Amount = Annotated[str, StringConstraints(pattern=r"^-?\d{1,13}(\.\d{1,3})?$")]
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]


def _gid(kind: str) -> Any:
    return Annotated[str, StringConstraints(pattern=rf"^gid://shopify/{kind}/[1-9]\d{{0,17}}(\?.*)?$")]


class _Line(Payload):
    model_config = ConfigDict(alias_generator=to_camel)


class _Money(_Line):
    amount: Amount
    currency_code: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]


class _Prices(_Line):
    min_variant_price: _Money
    max_variant_price: _Money


class _Count(_Line):
    count: Whole


class _Option(_Line):
    name: str
    value: str = ""


class _Item(_Line):
    id: _gid("InventoryItem")  # type: ignore[valid-type]


class _Picture(_Line):
    url: str


class ProductLine(_Line):
    id: _gid("Product")  # type: ignore[valid-type]
    title: str
    handle: str
    status: Annotated[str, StringConstraints(pattern="^(ACTIVE|ARCHIVED|DRAFT|UNLISTED)$")]
    vendor: str | None = None
    product_type: str | None = None
    tags: list[str] = Field(default=[])
    description_html: str | None = None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    published_at: AwareDatetime | None = None
    total_inventory: Whole | None = None
    seo: dict[str, str | None] | None = None
    options: list[dict[str, Any]] = Field(default=[])
    price_range_v2: Annotated[_Prices, Field(alias="priceRangeV2")]
    variants_count: _Count | None = None


class VariantLine(_Line):
    id: _gid("ProductVariant")  # type: ignore[valid-type]
    parent: Annotated[_gid("Product"), Field(alias="__parentId")]  # type: ignore[valid-type]
    title: str
    position: Whole
    price: Amount
    compare_at_price: Amount | None = None
    inventory_policy: str = "DENY"
    inventory_quantity: Whole | None = None
    taxable: bool = True
    updated_at: AwareDatetime
    selected_options: list[_Option] = Field(default=[])
    inventory_item: _Item | None = None


class ImageLine(_Line):
    id: _gid("MediaImage")  # type: ignore[valid-type]
    parent: Annotated[_gid("Product"), Field(alias="__parentId")]  # type: ignore[valid-type]
    image: _Picture | None = None


class CustomerLine(_Line):
    id: _gid("Customer")  # type: ignore[valid-type]
    tags: list[str] = Field(default=[])
    number_of_orders: Annotated[str | int, Field(pattern=None)] = 0
    created_at: AwareDatetime
    updated_at: AwareDatetime
    amount_spent: _Money
    verified_email: bool | None = None


class AddressLine(_Line):
    id: _gid("MailingAddress")  # type: ignore[valid-type]
    parent: Annotated[_gid("Customer"), Field(alias="__parentId")]  # type: ignore[valid-type]


_LINES: Mapping[str, type[_Line]] = {
    "Product": ProductLine,
    "ProductVariant": VariantLine,
    "MediaImage": ImageLine,
    "Customer": CustomerLine,
    "MailingAddress": AddressLine,
}


def mend(part: bytes) -> tuple[bytes, int]:
    """The usable lines of a part, and how many others there were. Characters that Postgres cannot hold are replaced; a
    line that is no JSON, or lacks what its kind must have, is left out.
    """
    kept: list[bytes] = []
    refused = 0
    for line in part.splitlines():
        try:
            document = _storable(json.loads(line))
            _check(document)
        except (ValueError, RecursionError):
            refused += 1
            continue
        kept.append(json.dumps(document, ensure_ascii=False).encode())
    return b"".join(line + b"\n" for line in kept), refused


def _check(document: Any) -> None:
    """Raises ValueError. An object without an id (a video among the images) is nothing to load and nothing wrong."""
    if not isinstance(document, dict):
        raise ValueError("a line is no object")  # noqa: TRY004 - bad input
    gid = document.get("id")
    if gid is None and "__parentId" in document:
        return
    kind = str(gid).removeprefix("gid://shopify/").partition("/")[0]
    if kind not in _LINES:
        raise ValueError(f"{kind} is no kind of line")
    try:
        _LINES[kind].model_validate(document)
    except ValidationError as error:
        raise ValueError(str(error)) from None


def _storable(value: Any) -> Any:
    match value:
        case str():
            text = value.replace("\x00", "")
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(name): _storable(item) for name, item in value.items()}
        case _:
            return value
