"""What a tenant has switched off is not swept."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.contracts.shopify import features_of
from tradewind.tasks.message import Source
from tradewind.tasks.run import Run
from tradewind.tenancy.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Off:
    """A schedule's run for a tenant whose feature flag is off."""

    feature: str


def find_off(feature: str, run: Run, tenant: Tenant) -> Off | None:
    """Whether a schedule has begun what the tenant has not switched on; a person may begin it all the same."""
    on = run.source is not Source.SCHEDULE or feature in features_of(tenant.settings)
    return None if on else Off(feature)
