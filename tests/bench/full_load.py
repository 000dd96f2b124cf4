"""A full load of a shop's products by a bulk operation, against a plain COPY of the same rows without any constraint.

The result's file is made beforehand and read as Shopify's would be; S3 is a dictionary. What is measured is cutting,
staging and writing: a row is a product or a variant.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg

from commerce.product_sync.tasks import product_batch_sync
from tests.bench.figures import digits
from tests.bench.kernel import quietly
from tests.integration.harness import House
from tradewind.catalogue import BulkKind, BulkOperation, BulkStatus
from tradewind.tasks.message import message_from
from tradewind.tasks.worker import Done

PRODUCTS, VARIANTS = 100_000, 5
TABLES = ("products", "variants")
_AT = datetime(2026, 11, 20, 12, tzinfo=UTC).isoformat()


def measure(houses: Sequence[House], products: int = PRODUCTS) -> dict[str, Any]:
    """Each house's tenant loads the same shop; medians. Raises AssertionError where a row is missing afterwards."""
    result = lines(products)
    rows = products * (1 + VARIANTS)
    runs = []
    for house in houses:
        house.shop.catalogue = Finished(result)  # type: ignore[assignment]
        first = load(house, "first")
        assert counts(house) == {"products": products, "variants": products * VARIANTS}
        again = load(house, "again")
        runs.append((first, again, copy_plain(house)))
    first, again, plain = (median(times) for times in zip(*runs, strict=True))
    return {
        "products": products,
        "rows": rows,
        "rows_per_second": digits(rows / first),
        "rows_per_second_unchanged": digits(rows / again),
        "plain_copy_rows_per_second": digits(rows / plain),
        "share_of_plain_copy": digits(plain / first),
        "shares_of_plain_copy": sorted(digits(copied / loaded) for loaded, _, copied in runs),
        "result_megabytes": digits(len(result) / 1e6),
    }


class Finished:
    """A catalogue whose bulk operation has ended."""

    def __init__(self, result: bytes) -> None:
        self.result = result

    def start_bulk(self, kind: BulkKind) -> BulkOperation:
        return BulkOperation(1, BulkStatus.COMPLETED, "USD", "https://result", len(self.result))

    def find_bulk(self, operation_id: int) -> BulkOperation:
        return BulkOperation(operation_id, BulkStatus.COMPLETED, "USD", "https://result", len(self.result))

    def read_bulk_result(self, url: str, offset: int, length: int) -> bytes:
        return self.result[offset : offset + length]


def lines(products: int) -> bytes:
    """The file: parents and children in no order."""
    made = [json.dumps(product(number), separators=(",", ":")) for number in range(1, products + 1)]
    made += [
        json.dumps(variant(number, place), separators=(",", ":"))
        for number in range(1, products + 1)
        for place in range(1, VARIANTS + 1)
    ]
    random.Random(7).shuffle(made)
    return "\n".join(made).encode() + b"\n"


def product(number: int) -> dict[str, Any]:
    price = {"amount": f"{number % 90 + 10}.90", "currencyCode": "USD"}
    return {
        "id": f"gid://shopify/Product/{7_000_000_000_000 + number}",
        "title": f"Cotton shirt number {number}",
        "handle": f"cotton-shirt-number-{number}",
        "status": "ACTIVE",
        "vendor": f"Vendor {number % 50}",
        "productType": "Shirts",
        "tags": ["mens", "summer", f"season-{number % 9}"],
        "descriptionHtml": "<p>A shirt of organic cotton, made to last and easy to mend.</p>",
        "createdAt": _AT,
        "updatedAt": _AT,
        "publishedAt": _AT,
        "totalInventory": number % 500,
        "seo": {"title": None, "description": None},
        "options": [{"name": "Size", "values": ["XS", "S", "M", "L", "XL"]}],
        "priceRangeV2": {"minVariantPrice": price, "maxVariantPrice": price},
        "variantsCount": {"count": VARIANTS},
    }


def variant(number: int, place: int) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/ProductVariant/{40_000_000_000_000 + number * 10 + place}",
        "title": f"Size {place}",
        "position": place,
        "price": f"{number % 90 + 10}.90",
        "compareAtPrice": None,
        "sku": f"SHIRT-{number}-{place}",
        "barcode": None,
        "taxable": True,
        "inventoryPolicy": "DENY",
        "inventoryQuantity": place * 3,
        "updatedAt": _AT,
        "selectedOptions": [{"name": "Size", "value": f"Size {place}"}],
        "inventoryItem": {"id": f"gid://shopify/InventoryItem/{45_000_000_000_000 + number * 10 + place}"},
        "__parentId": f"gid://shopify/Product/{7_000_000_000_000 + number}",
    }


def load(house: House, cause: str) -> float:
    """Seconds of a full load, message by message."""
    begun = time.perf_counter()
    message = house.message(product_batch_sync, {"full": True}, cause=cause)
    state = "SELECT state FROM task_run WHERE tenant_id = %s AND cause = %s"

    def work() -> None:
        again = message
        while house.query(state, house.tenant_id, cause) != [{"state": "succeeded"}]:
            end = house.worker(product_batch_sync).work(again, house.deadline() + timedelta(minutes=3))
            assert isinstance(end, Done), end
            rows = house.query("SELECT * FROM outbox WHERE state <> 'done'")
            again = message_from(rows[0]) if rows else message

    quietly(work)
    return time.perf_counter() - begun


def counts(house: House) -> dict[str, int]:
    query = "SELECT count(*)::int AS n FROM {} WHERE tenant_id = %s"
    return {table: house.query(query.format(table), house.tenant_id)[0]["n"] for table in TABLES}


def copy_plain(house: House) -> float:
    """Seconds of a COPY of the rows, as text that is ready, into tables of the same columns and nothing else."""
    seconds = 0.0
    with psycopg.connect(house.urls.owner) as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE plain_{table} (LIKE {table})")
            connection.commit()
            read = f"COPY (SELECT * FROM {table} WHERE tenant_id = '{house.tenant_id}') TO STDOUT"
            with psycopg.connect(house.urls.reader) as reader, reader.cursor().copy(read.encode()) as copy:
                text = [bytes(piece) for piece in copy]
            begun = time.perf_counter()
            with connection.cursor() as cursor, cursor.copy(f"COPY plain_{table} FROM STDIN") as copy:
                for piece in text:
                    copy.write(piece)
            connection.commit()
            seconds += time.perf_counter() - begun
            connection.execute(f"DROP TABLE plain_{table}")
    return seconds
