"""``make email-preview``: every review e-mail as HTML and text, plain and with an incentive, and a page of them all."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from commerce.review_email.content import Stationery, compose
from commerce.review_email.model import Candidate, Incentive, Item, ReviewEmailSettings, Template
from infra.local import paths
from infra.local.preview import write_email, write_index

FOLDER = paths.CHECKOUT / ".tradewind" / "email-preview"
_INCENTIVE = Incentive("THANKS-7KQ2M9XD", 15, 20, datetime(2026, 12, 31, tzinfo=UTC))
_ITEMS = (Item("Enamel Mug", 2), Item("Linen Towel", 1), Item("Beeswax Candle & Holder", 1))


def main() -> int:
    """Write the previews and say where they are."""
    pages = write(FOLDER)
    sys.stdout.write(f"{len(pages)} e-mails: {FOLDER / 'index.html'}\n")
    return 0


def write(folder: Path) -> list[str]:
    """Render every kind, plain and with an incentive; the names of what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    own = Stationery(
        tenant_id=UUID(int=1),
        sender='"Alder & Ash" <reviews@example.com>',
        store="Alder & Ash",
        shop_domain="alder-ash.myshopify.com",
        settings=ReviewEmailSettings(postal_address="Alder & Ash, 12 Harbour Street, Portland"),
        unsubscribe_url=lambda order_id, sequence: f"https://example.com/unsubscribe/{order_id}-{sequence}",
    )
    subjects: dict[str, str] = {}
    for template in Template:
        for offer in (None, _INCENTIVE):
            name = template.value + ("" if offer is None else "-incentive")
            email = compose(_candidate(), template, offer, own)
            write_email(folder, name, email.html, email.text)
            subjects[name] = email.subject
    write_index(folder, "Review e-mails", subjects, width=640, height=980)
    return list(subjects)


def _candidate() -> Candidate:
    return Candidate(
        order_id=1001,
        sequence=1,
        email="ann@example.com",
        attempts=0,
        template=None,
        force_incentive=False,
        order_number="#1001",
        order_status="open",
        total_cents=99_00,
        refunded_cents=0,
        first_name="Ann",
        reviewed=False,
        suppression=None,
        incentive=None,
        code_state=None,
        items=_ITEMS,
    )


if __name__ == "__main__":
    raise SystemExit(main())
