"""Comparing a shop's levels with ours, a page a step, and telling of stock that has become low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from commerce.inventory_sync.model import compare, place_of
from commerce.inventory_sync.repository import Stock, Written
from commerce.product_sync.repository import Seen
from tradewind.catalogue import Catalogue, LevelPage
from tradewind.clock import Clock, parse_instant
from tradewind.contracts.catalogue import InventoryLow
from tradewind.loglines import count_line
from tradewind.tasks.events import Told, publish
from tradewind.tasks.run import Continuation, Run
from tradewind.tenancy.database import TenantDb, Transaction

MARK = "inventory_levels"
OVERLAP = timedelta(minutes=5)
"""A comparison begins this long before the last one's beginning: Shopify's search lags behind its data."""
ENOUGH = timedelta(seconds=30)
KINDS = ("missing", "outdated", "different", "gone")


@dataclass(frozen=True, slots=True)
class Compared:
    """The report of a comparison: how many levels of how many locations, what differed, and how many became low."""

    locations: int
    levels: int
    missing: int
    outdated: int
    different: int
    gone: int
    became_low: int
    full: bool


def tell_low(run: Run, tx: Transaction, written: Sequence[Written], threshold: int) -> int:
    """Tell of the levels that have fallen below the threshold; how many."""
    fallen = [each.level for each in written if each.fell]
    told = [
        Told(
            "inventory.low",
            f"{level.inventory_item_id}@{level.location_id}@{level.updated_at.isoformat()}",
            InventoryLow(
                inventory_item_id=level.inventory_item_id,
                location_id=level.location_id,
                available=level.available,
                threshold=threshold,
                at=level.updated_at,
            ),
        )
        for level in fallen
    ]
    publish(tx, run.correlation_id, told)
    if told:
        count_line("InventoryLow", len(told))
    return len(told)


def compare_levels(
    run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock, threshold: int, *, full: bool
) -> Compared | Continuation:
    """Go through all locations page by page; a crash or a rate limit resumes at the last page."""
    progress = dict(run.checkpoint or _begin(db, catalogue, clock, full=full))
    run.save_checkpoint(progress)
    while progress["locations"]:
        location_id = progress["locations"][0]
        since = None if progress["since"] is None else parse_instant(progress["since"])
        page = catalogue.list_levels(location_id, updated_from=since, cursor=progress["cursor"])
        _take_page(run, db, page, location_id, threshold, progress)
        run.save_checkpoint(progress)
        if run.time_left(clock.now()) < ENOUGH:
            return run.continue_with(progress)
    return _end(run, db, progress)


def _begin(db: TenantDb, catalogue: Catalogue, clock: Clock, *, full: bool) -> dict[str, Any]:
    """Where a comparison begins: with all levels where none was ever ended."""
    begun_at = clock.now()
    locations = catalogue.list_locations()
    with db.begin() as tx:
        stock = Stock(tx)
        stock.save_locations(locations)
        mark = None if full else stock.find_mark(MARK)
    return {
        "begun_at": begun_at.isoformat(),
        "since": None if mark is None else (mark - OVERLAP).isoformat(),
        "locations": [location.id for location in locations],
        "seen_locations": len(locations),
        "cursor": None,
        "pages": 0,
        "levels": 0,
        "became_low": 0,
        **dict.fromkeys(KINDS, 0),
    }


def _take_page(
    run: Run, db: TenantDb, page: LevelPage, location_id: int, threshold: int, progress: dict[str, Any]
) -> None:
    items = [level.inventory_item_id for level in page.levels]
    with db.begin() as tx:
        stock = Stock(tx)
        differing = compare(page.levels, stock.list_levels(location_id, items))
        wanted = {(each.inventory_item_id, each.location_id) for each in differing}
        written = stock.save(
            [level for level in page.levels if place_of(level) in wanted], threshold, asked=True
        )
        stock.save_differences(differing, parse_instant(progress["begun_at"]))
        if progress["since"] is None:
            Seen(tx).save(run.id, f"levels:{location_id}", progress["pages"], items)
        low = tell_low(run, tx, written, threshold)
    for each in differing:
        progress[each.kind] += 1
    progress["levels"] += len(page.levels)
    progress["became_low"] += low
    progress["pages"] += 1
    progress["cursor"] = page.next_cursor
    if page.next_cursor is None:
        progress["locations"] = progress["locations"][1:]


def _end(run: Run, db: TenantDb, progress: dict[str, Any]) -> Compared:
    """What a full reading has not met goes; the next comparison asks for what has changed since this one began."""
    begun_at: datetime = parse_instant(progress["begun_at"])
    full = progress["since"] is None
    with db.begin() as tx:
        stock = Stock(tx)
        if full:
            gone = stock.delete_unseen(run.id, begun_at)
            stock.save_differences(gone, begun_at)
            progress["gone"] = len(gone)
            Seen(tx).forget(run.id)
        stock.save_mark(MARK, begun_at)
    found = {kind: progress[kind] for kind in KINDS}
    return Compared(
        locations=progress["seen_locations"],
        levels=progress["levels"],
        became_low=progress["became_low"],
        full=full,
        **found,
    )
