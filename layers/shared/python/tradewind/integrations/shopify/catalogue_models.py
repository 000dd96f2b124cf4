"""Wire types of products, customers, stock and collections, and their translation into the port's shapes.

As tolerant and as strict as ``models``, whose parts they share: strict about ids, instants and amounts, tolerant of
what Shopify may leave out. The lines of a bulk operation's result are read by the same types.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tradewind.catalogue import (
    BulkOperation,
    BulkStatus,
    CustomerAddress,
    CustomerProfile,
    InventoryLevel,
    Location,
    ProductOption,
    ShopifyCollection,
    ShopifyImage,
    ShopifyProduct,
    ShopifyVariant,
)
from tradewind.integrations.shopify.models import (
    EmailAddress,
    Identified,
    Instant,
    PageInfo,
    PhoneNumber,
    Text,
    Wire,
    _clean,
    gid,
)
from tradewind.money import minor_digits, to_cents

MAX_COUNT = 2**31 - 1
Count = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]


def _known_currency(code: str) -> str:
    minor_digits(code)
    return code


Currency = Annotated[str, AfterValidator(_known_currency)]


class SelectedOption(Wire):
    name: Text
    value: Text


class Variant(Identified):
    title: Text = ""
    position: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 1
    price: str
    compare_at_price: str | None = None
    sku: Text | None = None
    barcode: Text | None = None
    taxable: bool = True
    inventory_policy: str = "DENY"
    inventory_quantity: Count | None = None
    updated_at: Instant
    selected_options: tuple[SelectedOption, ...] = ()
    inventory_item: Identified | None = None

    def to_port(self, product_id: int, currency: str) -> ShopifyVariant:
        compared = self.compare_at_price
        return ShopifyVariant(
            id=self.number,
            product_id=product_id,
            title=self.title,
            position=self.position,
            price_cents=to_cents(self.price, currency),
            compare_at_price_cents=None if compared is None else to_cents(compared, currency),
            sku=self.sku or None,
            barcode=self.barcode or None,
            options={option.name: option.value for option in self.selected_options},
            inventory_item_id=self.inventory_item.number if self.inventory_item else None,
            inventory_quantity=self.inventory_quantity,
            sells_without_stock=self.inventory_policy == "CONTINUE",
            taxable=self.taxable,
            updated_at=self.updated_at,
        )


class VariantConnection(Wire):
    nodes: tuple[Variant, ...]
    page_info: PageInfo


class Seo(Wire):
    title: Text | None = None
    description: Text | None = None


class Option(Wire):
    name: Text
    values: tuple[Text, ...] = ()


class Amount(Wire):
    amount: str
    currency_code: Currency

    @property
    def cents(self) -> int:
        return to_cents(self.amount, self.currency_code)


class PriceRange(Wire):
    min_variant_price: Amount
    max_variant_price: Amount


class Counted(Wire):
    count: Count


class ImageAddress(Wire):
    url: Text


class Media(Wire):
    """An image, or of any other kind of media an empty object."""

    id: str | None = None
    alt: Text | None = None
    image: ImageAddress | None = None


class MediaConnection(Wire):
    nodes: tuple[Media, ...] = ()


class Product(Identified):
    title: Text = ""
    handle: Text = ""
    status: str
    vendor: Text | None = None
    product_type: Text | None = None
    tags: tuple[Text, ...] = ()
    description_html: Text | None = None
    created_at: Instant
    updated_at: Instant
    published_at: Instant | None = None
    total_inventory: Count | None = None
    seo: Seo | None = None
    options: tuple[Option, ...] = ()
    price_range_v2: Annotated[PriceRange, Field(alias="priceRangeV2")]
    variants_count: Counted | None = None
    media: MediaConnection | None = None
    variants: VariantConnection | None = None

    def to_port(self) -> ShopifyProduct:
        """Raises ValueError for an amount that cannot be."""
        prices = self.price_range_v2
        currency = prices.min_variant_price.currency_code
        seo, variants = self.seo or Seo(), self.variants
        return ShopifyProduct(
            id=self.number,
            title=self.title,
            handle=self.handle,
            status=self.status.lower(),
            currency=currency,
            created_at=self.created_at,
            updated_at=self.updated_at,
            vendor=self.vendor or None,
            product_type=self.product_type or None,
            description_html=self.description_html or None,
            seo_title=seo.title,
            seo_description=seo.description,
            published_at=self.published_at,
            min_price_cents=prices.min_variant_price.cents,
            max_price_cents=prices.max_variant_price.cents,
            inventory_quantity=self.total_inventory,
            variants_count=self.variants_count.count if self.variants_count else None,
            tags=self.tags,
            options=tuple(ProductOption(option.name, option.values) for option in self.options),
            images=tuple(
                ShopifyImage(Identified(id=media.id).number, media.image.url, media.alt or None)
                for media in (self.media.nodes if self.media else ())
                if media.id and media.image
            ),
            variants=tuple(variant.to_port(self.number, currency) for variant in variants.nodes)
            if variants
            else (),
            variants_cursor=variants.page_info.next_cursor if variants else None,
        )


class ProductConnection(Wire):
    nodes: tuple[Product, ...]
    page_info: PageInfo


class Address(Identified):
    first_name: Text | None = None
    last_name: Text | None = None
    company: Text | None = None
    address1: Text | None = None
    address2: Text | None = None
    city: Text | None = None
    province_code: Text | None = None
    country_code: Annotated[str | None, Field(alias="countryCodeV2")] = None
    zip: Text | None = None
    phone: Text | None = None

    def to_port(self, default: int | None) -> CustomerAddress:
        fields = self.model_dump(exclude={"id"})
        return CustomerAddress(id=self.number, is_default=self.number == default, **fields)


class AddressConnection(Wire):
    nodes: tuple[Address, ...] = ()


class Profile(Identified):
    first_name: Text | None = None
    last_name: Text | None = None
    locale: Text | None = None
    state: str = "DISABLED"
    verified_email: bool = False
    number_of_orders: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    tags: tuple[Text, ...] = ()
    created_at: Instant
    updated_at: Instant
    amount_spent: Amount
    default_email_address: EmailAddress | None = None
    default_phone_number: PhoneNumber | None = None
    default_address: Identified | None = None
    addresses: Annotated[AddressConnection, Field(alias="addressesV2")] = AddressConnection()

    def to_port(self) -> CustomerProfile:
        """Raises ValueError for an amount that cannot be."""
        email, phone = self.default_email_address, self.default_phone_number
        default = self.default_address.number if self.default_address else None
        return CustomerProfile(
            id=self.number,
            currency=self.amount_spent.currency_code,
            created_at=self.created_at,
            updated_at=self.updated_at,
            email=email.email_address if email else None,
            first_name=self.first_name,
            last_name=self.last_name,
            phone=phone.phone_number if phone else None,
            locale=self.locale,
            state=self.state.lower(),
            accepts_marketing=email is not None and email.marketing_state == "SUBSCRIBED",
            verified_email=self.verified_email,
            orders_count=self.number_of_orders,
            total_spent_cents=self.amount_spent.cents,
            tags=self.tags,
            addresses=tuple(address.to_port(default) for address in self.addresses.nodes),
        )


class ProfileConnection(Wire):
    nodes: tuple[Profile, ...]
    page_info: PageInfo


class Place(Identified):
    name: Text = ""
    is_active: bool = True

    def to_port(self) -> Location:
        return Location(self.number, self.name, self.is_active)


class PlaceConnection(Wire):
    nodes: tuple[Place, ...]


class Quantity(Wire):
    name: str
    quantity: Count


class Level(Identified):
    """A level's id names its location: ``gid://shopify/InventoryLevel/<location>?inventory_item_id=...``."""

    updated_at: Instant
    item: Identified
    quantities: tuple[Quantity, ...]

    def to_port(self, location_id: int) -> InventoryLevel:
        available = next((each.quantity for each in self.quantities if each.name == "available"), 0)
        return InventoryLevel(self.item.number, location_id, available, self.updated_at)


class LevelConnection(Wire):
    nodes: tuple[Level, ...]
    page_info: PageInfo


class Collection(Identified):
    title: Text = ""
    handle: Text = ""
    description_html: Text | None = None
    sort_order: str
    updated_at: Instant
    products_count: Counted | None = None
    sources: tuple[dict[str, Any], ...] = ()

    def to_port(self) -> ShopifyCollection:
        return ShopifyCollection(
            id=self.number,
            title=self.title,
            handle=self.handle,
            sort_order=self.sort_order.lower(),
            updated_at=self.updated_at,
            description_html=self.description_html or None,
            products_count=self.products_count.count if self.products_count else None,
            rules=rules_of(self.sources),
        )


class CollectionConnection(Wire):
    nodes: tuple[Collection, ...]
    page_info: PageInfo


class Member(Wire):
    id: str


class MemberConnection(Wire):
    nodes: tuple[Identified, ...]
    page_info: PageInfo


def rules_of(sources: tuple[dict[str, Any], ...]) -> list[dict[str, Any]] | None:
    """A smart collection's conditions, source by source; None where no source has any: products are chosen by hand."""
    rules = []
    for source in sources:
        rule = {
            side: {"match": _word(given.get("matchType")), "conditions": conditions}
            for side in ("inclusion", "exclusion")
            if (given := source.get(side))
            and (conditions := [_condition(each) for each in given.get("conditions") or []])
        }
        if rule:
            rules.append(rule)
    return rules or None


def _condition(given: dict[str, Any]) -> dict[str, Any]:
    """A condition in our words: its kind, how it relates and to what. Of a kind that is not asked for in detail only
    the kind is known.
    """
    named = {name.removesuffix(_kind(given)): value for name, value in given.items()}
    money = named.get("money")
    values = named.get("texts") or ([money["amount"]] if money else None)
    if values is None and named.get("number") is not None:
        values = [str(named["number"])]
    told = {"relation": _word(named.get("relation")), "match": _word(named.get("match")), "values": values}
    return {"kind": _kind(given)} | {
        name: [_clean(str(each)) for each in value] if isinstance(value, list) else value
        for name, value in told.items()
        if value is not None
    }


def _kind(given: dict[str, Any]) -> str:
    return str(given.get("__typename", "")).rpartition("Condition")[2]


def _word(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) else None


class Bulk(Identified):
    status: str
    error_code: str | None = None
    file_size: Annotated[int, Field(ge=0)] | None = None
    url: str | None = None
    partial_data_url: str | None = None
    query: str = ""

    def to_port(self, currency: str) -> BulkOperation:
        """Raises ValueError for a state that Shopify did not have when this was written."""
        return BulkOperation(
            id=self.number,
            status=BulkStatus(self.status.lower()),
            currency=_known_currency(currency),
            url=self.url or self.partial_data_url,
            size=self.file_size or 0,
            error_code=self.error_code,
        )


class BulkList(Wire):
    nodes: tuple[Bulk, ...]


def level_gid(inventory_item_id: int, location_id: int) -> str:
    return f"{gid('InventoryLevel', location_id)}?inventory_item_id={inventory_item_id}"
