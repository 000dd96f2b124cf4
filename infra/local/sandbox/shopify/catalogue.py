"""What a shop of the sandbox sells and to whom: kept as the webhooks tell it, shown as the GraphQL API does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

Rest = Mapping[str, Any]
Node = dict[str, Any]
CURRENCY = "USD"
_CONDITIONS = {
    "tag": "ProductTag",
    "type": "ProductType",
    "vendor": "ProductVendor",
    "title": "ProductTitle",
    "variant_price": "VariantPrice",
    "variant_inventory": "VariantInventory",
}


@dataclass
class CatalogueState:
    """Products, customers, places, stock and collections of one shop, by number."""

    products: dict[str, Rest] = field(default_factory=dict)
    customers: dict[str, Rest] = field(default_factory=dict)
    locations: dict[str, Rest] = field(default_factory=dict)
    levels: dict[str, Rest] = field(default_factory=dict)
    collections: dict[str, Rest] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    def put(self, kind: str, rest: Rest) -> None:
        """Keep one thing, replacing its earlier state. Raises ValueError for one that Shopify could not hold."""
        if kind not in _NODES:
            raise ValueError(f"{kind!r} is unknown; known are {', '.join(_NODES)}")
        try:
            node = _NODES[kind](rest)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{kind}: field {error} is missing or of the wrong type") from None
        getattr(self, kind)[node["legacyResourceId"]] = rest
        self.nodes[node["id"]] = node
        for variant in node.get("variants", ()):
            self.nodes[variant["id"]] = variant

    def delete(self, kind: str, number: str) -> bool:
        """Forget one thing; whether it was there."""
        gone = getattr(self, kind).pop(number, None)
        if gone is not None:
            self.nodes.pop(_NODES[kind](gone)["id"], None)
        return gone is not None

    def all_of(self, typename: str) -> list[Node]:
        return [node for node in self.nodes.values() if node["__typename"] == typename]

    def levels_of(self, location: str) -> list[Node]:
        return [node for node in self.all_of("InventoryLevel") if node["location_number"] == location]

    def save(self) -> dict[str, Any]:
        return {kind: getattr(self, kind) for kind in _NODES}

    def load(self, state: Mapping[str, Any]) -> None:
        for kind in _NODES:
            for rest in state.get(kind, {}).values():
                self.put(kind, rest)


def _gid(kind: str, number: Any) -> str:
    return f"gid://shopify/{kind}/{number}"


def _identity(kind: str, rest: Rest) -> Node:
    """Prefers the global id: a JSON reader may have rounded the number."""
    gid = str(rest.get("admin_graphql_api_id") or _gid(kind, int(rest["id"])))
    return {"__typename": kind, "id": gid, "legacyResourceId": gid.rsplit("/", 1)[1]}


def _instant(rest: Rest, name: str, default: Any = None) -> str:
    value = rest.get(name) or default
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{name} is {value!r}; send ISO 8601 with a zone") from None
    if moment.tzinfo is None:
        raise ValueError(f"{name} is {value!r}; send ISO 8601 with a zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _money(value: Any, name: str) -> str:
    try:
        return f"{Decimal(str(value)):.2f}"
    except InvalidOperation:
        raise ValueError(f"{name} is {value!r}; send decimal text such as 19.99") from None


def _tags(rest: Rest) -> list[str]:
    return [tag.strip() for tag in str(rest.get("tags") or "").split(",") if tag.strip()]


def product_node(rest: Rest) -> Node:
    """A product from the body of its webhook."""
    updated = _instant(rest, "updated_at")
    names = [str(option["name"]) for option in rest.get("options") or []]
    variants = [_variant(variant, names, updated) for variant in rest.get("variants") or []]
    prices = sorted(Decimal(variant["price"]) for variant in variants) or [Decimal()]
    low, high = prices[0], prices[-1]
    return {
        **_identity("Product", rest),
        "title": str(rest.get("title") or ""),
        "handle": str(rest.get("handle") or ""),
        "status": str(rest.get("status") or "active").upper(),
        "vendor": str(rest.get("vendor") or ""),
        "productType": str(rest.get("product_type") or ""),
        "tags": _tags(rest),
        "descriptionHtml": str(rest.get("body_html") or ""),
        "createdAt": _instant(rest, "created_at", updated),
        "updatedAt": updated,
        "publishedAt": _instant(rest, "published_at") if rest.get("published_at") else None,
        "totalInventory": sum(variant["inventoryQuantity"] or 0 for variant in variants),
        "seo": {"title": rest.get("seo_title"), "description": rest.get("seo_description")},
        "options": [
            {
                "__typename": "ProductOption",
                "id": _gid("ProductOption", option.get("id", place)),
                "name": str(option["name"]),
                "position": place,
                "values": [str(value) for value in option.get("values") or []],
            }
            for place, option in enumerate(rest.get("options") or [], 1)
        ],
        "priceRangeV2": {
            "minVariantPrice": {"amount": f"{low:.2f}", "currencyCode": CURRENCY},
            "maxVariantPrice": {"amount": f"{high:.2f}", "currencyCode": CURRENCY},
        },
        "variantsCount": {"count": len(variants)},
        "media": [_image(image) for image in rest.get("images") or []],
        "variants": variants,
    }


def _variant(rest: Rest, names: Sequence[str], updated: str) -> Node:
    identity = _identity("ProductVariant", rest)
    values = [rest.get(f"option{place}") for place in (1, 2, 3)]
    compared = rest.get("compare_at_price")
    item = rest.get("inventory_item_id") or identity["legacyResourceId"]
    return {
        **identity,
        "title": str(rest.get("title") or ""),
        "position": int(rest.get("position") or 1),
        "price": _money(rest["price"], "variants.price"),
        "compareAtPrice": None if compared is None else _money(compared, "variants.compare_at_price"),
        "sku": rest.get("sku"),
        "barcode": rest.get("barcode"),
        "taxable": bool(rest.get("taxable", True)),
        "inventoryPolicy": str(rest.get("inventory_policy") or "deny").upper(),
        "inventoryQuantity": rest.get("inventory_quantity"),
        "updatedAt": _instant(rest, "updated_at", updated),
        "selectedOptions": [
            {"name": name, "value": str(value)}
            for name, value in zip(names or ["Title"], values, strict=False)
            if value is not None
        ],
        "inventoryItem": _costed_item(item, rest, updated),
    }


def _costed_item(number: Any, rest: Rest, updated: str) -> Node:
    """``cost`` is what the item's own webhook calls its unit cost."""
    cost = rest.get("cost")
    return {
        "__typename": "InventoryItem",
        "id": _gid("InventoryItem", number),
        "updatedAt": _instant(rest, "updated_at", updated),
        "unitCost": None if cost is None else {"amount": str(cost), "currencyCode": CURRENCY},
    }


def _image(rest: Rest) -> Node:
    return {
        "__typename": "MediaImage",
        "id": _gid("MediaImage", rest["id"]),
        "alt": rest.get("alt"),
        "mediaContentType": "IMAGE",
        "image": {"url": str(rest["src"])},
    }


def customer_node(rest: Rest) -> Node:
    """A customer from the body of its webhook, with the sums that the API adds."""
    updated = _instant(rest, "updated_at")
    email, phone = rest.get("email"), rest.get("phone")
    consent = (rest.get("email_marketing_consent") or {}).get("state") or "not_subscribed"
    addresses = [_address(address) for address in rest.get("addresses") or []]
    default = rest.get("default_address")
    first, last = rest.get("first_name"), rest.get("last_name")
    return {
        **_identity("Customer", rest),
        "firstName": first,
        "lastName": last,
        "displayName": " ".join(part for part in (first, last) if part) or str(email or ""),
        "note": rest.get("note"),
        "locale": str(rest.get("locale") or "en"),
        "state": str(rest.get("state") or "disabled").upper(),
        "verifiedEmail": bool(rest.get("verified_email", True)),
        "numberOfOrders": str(rest.get("orders_count") or 0),
        "amountSpent": {
            "amount": _money(rest.get("total_spent") or "0", "total_spent"),
            "currencyCode": CURRENCY,
        },
        "tags": _tags(rest),
        "createdAt": _instant(rest, "created_at", updated),
        "updatedAt": updated,
        "defaultEmailAddress": {"emailAddress": email, "marketingState": consent.upper()} if email else None,
        "defaultPhoneNumber": {"phoneNumber": phone} if phone else None,
        "defaultAddress": _address(default) if default else None,
        "addressesV2": addresses or ([_address(default)] if default else []),
    }


def _address(rest: Rest) -> Node:
    same = ("company", "address1", "address2", "city", "zip", "phone")
    return {
        "__typename": "MailingAddress",
        "id": f"{_gid('MailingAddress', rest['id'])}?model_name=CustomerAddress",
        "firstName": rest.get("first_name"),
        "lastName": rest.get("last_name"),
        "provinceCode": rest.get("province_code"),
        "countryCodeV2": rest.get("country_code"),
        **{name: rest.get(name) for name in same},
    }


def _location_node(rest: Rest) -> Node:
    return {
        **_identity("Location", rest),
        "name": str(rest.get("name") or ""),
        "isActive": bool(rest.get("active", True)),
    }


def _level_node(rest: Rest) -> Node:
    item, location = int(rest["inventory_item_id"]), int(rest["location_id"])
    updated = _instant(rest, "updated_at")
    return {
        "__typename": "InventoryLevel",
        "id": f"{_gid('InventoryLevel', location)}?inventory_item_id={item}",
        "legacyResourceId": f"{location}-{item}",
        "updatedAt": updated,
        "createdAt": updated,
        "item": {"__typename": "InventoryItem", "id": _gid("InventoryItem", item)},
        "location_number": str(location),
        "available": int(rest["available"]),
    }


def _collection_node(rest: Rest) -> Node:
    number = int(rest["id"])
    rules = [_rule(number, place, rule) for place, rule in enumerate(rest.get("rules") or [], 1)]
    source = {
        "__typename": "CollectionConditionsSource",
        "id": _gid("CollectionConditionsSource", number),
        "title": str(rest.get("title") or ""),
        "inclusion": {
            "matchType": "ANY" if rest.get("disjunctive") else "ALL",
            "conditions": rules,
        },
        "exclusion": None,
    }
    members = [str(product) for product in rest.get("product_ids") or []]
    return {
        **_identity("Collection", rest),
        "title": str(rest.get("title") or ""),
        "handle": str(rest.get("handle") or ""),
        "descriptionHtml": str(rest.get("body_html") or ""),
        "sortOrder": str(rest.get("sort_order") or "manual").upper(),
        "updatedAt": _instant(rest, "updated_at"),
        "productsCount": {"count": len(members)},
        "sources": [source],
        "member_numbers": members,
    }


def _rule(collection: int, place: int, rest: Rest) -> Node:
    kind = _CONDITIONS[str(rest["column"])]
    value = str(rest["condition"])
    told: Node = {"values": [value], "matchType": "ANY"}
    if kind == "VariantPrice":
        told = {"value": {"amount": _money(value, "rules.condition"), "currencyCode": CURRENCY}}
    if kind == "VariantInventory":
        told = {"value": int(value)}
    return {
        "__typename": f"CollectionSourceInclusionCondition{kind}",
        "id": _gid("CollectionSourceInclusionCondition", collection * 100 + place),
        "relation": str(rest["relation"]).upper(),
        **told,
    }


_NODES: Mapping[str, Callable[[Rest], Node]] = {
    "products": product_node,
    "customers": customer_node,
    "locations": _location_node,
    "levels": _level_node,
    "collections": _collection_node,
}
KINDS = tuple(_NODES)
"""What a shop can be given, as the control API names it."""
