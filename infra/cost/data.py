"""The three data files beside this module: prices, an order's traffic, and measured durations."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_FOLDER = Path(__file__).resolve().parent


class CostDataError(ValueError):
    """A data file lacks what a line needs; the message names file and key."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rate(_Frozen):
    """``usd`` dollars for ``per`` units."""

    usd: Decimal
    per: Decimal
    unit: str
    source: str

    def of(self, quantity: Decimal) -> Decimal:
        """Dollars for a quantity of units."""
        return quantity * self.usd / self.per


class Prices(_Frozen):
    region: str
    currency: str
    as_of: str
    note: str
    rates: dict[str, Rate]

    def rate(self, name: str) -> Rate:
        """Raises CostDataError."""
        if name not in self.rates:
            raise CostDataError(f"prices.json has no rate {name!r}")
        return self.rates[name]


class Work(_Frozen):
    """One invocation as measured: processor time and waiting for the database in milliseconds, calls to the
    provider and to AWS in number, and the bytes that the code logs.
    """

    cpu_ms: Decimal
    database_ms: Decimal
    provider_calls: Decimal = Decimal(0)
    aws_calls: Decimal = Decimal(0)
    log_bytes: Decimal
    times_an_order: Decimal = Decimal(0)
    """How often an order causes it, where that is not known from its webhooks: of what events start."""


class Measured(_Frozen):
    """``work`` by ``function@source``; source is webhook, workflow, event, schedule or page."""

    measured_on: str
    method: str
    work: dict[str, Work]

    def of(self, function: str, source: str) -> Work:
        """Raises CostDataError."""
        key = f"{function}@{source}"
        if key not in self.work:
            raise CostDataError(
                f"measured.json has no {key!r}: renew it by `make bench ONLY=work MEASURED=1`"
            )
        return self.work[key]

    def started_by(self, source: str) -> list[str]:
        """The functions that were measured for this source."""
        return [key.partition("@")[0] for key in self.work if key.endswith(f"@{source}")]


class Traffic(_Frozen):
    """What one order causes, and what could not be measured without an account. Each figure is explained in
    ``notes``.
    """

    notes: dict[str, str]
    webhooks: dict[str, Decimal]
    provider: str
    discount_code_share: Decimal
    retried_share: Decimal
    oversized_share: Decimal
    webhook_kb: Decimal
    provider_call_ms: Decimal
    provider_in_kb: Decimal
    provider_out_kb: Decimal
    aws_call_ms: Decimal
    database_factor: Decimal
    cold_share: Decimal
    cold_start_ms: Decimal
    kms_calls_per_invocation: Decimal
    step_overhead_ms: Decimal
    express_memory_mb: Decimal
    lambda_log_bytes: Decimal
    access_log_bytes: Decimal
    state_log_bytes: Decimal
    idle_pollers: Decimal
    long_poll_s: Decimal
    cache_minimum_gb: Decimal


def load_prices() -> Prices:
    return Prices.model_validate_json((_FOLDER / "prices.json").read_text(encoding="utf-8"))


def load_traffic() -> Traffic:
    return Traffic.model_validate_json((_FOLDER / "traffic.json").read_text(encoding="utf-8"))


def load_measured() -> Measured:
    return Measured.model_validate_json((_FOLDER / "measured.json").read_text(encoding="utf-8"))
