"""``make email-preview``: every review e-mail as HTML and text, plain and with an incentive, and a page of them all."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from uuid import UUID

from commerce.review_email.content import Stationery, compose
from commerce.review_email.model import Candidate, Incentive, Item, ReviewEmailSettings, Template
from infra.local import paths

FOLDER = paths.CHECKOUT / ".tradewind" / "email-preview"
_INCENTIVE = Incentive("THANKS-7KQ2M9XD", 15, 20, datetime(2026, 12, 31, tzinfo=UTC))
_ITEMS = (Item("Enamel Mug", 2), Item("Linen Towel", 1), Item("Beeswax Candle & Holder", 1))
_INDEX = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Review e-mails</title><style>
body{{margin:0;background:#e7e4dc;font:15px/22px -apple-system,'Segoe UI',Roboto,sans-serif;color:#26241f}}
main{{display:grid;grid-template-columns:repeat(auto-fill,minmax(640px,1fr));gap:32px;padding:32px}}
iframe{{width:100%;height:980px;border:0;border-radius:10px;background:#f3f1ec}}h2{{font-size:15px;margin:0 0 8px}}
</style></head><body><main>{sheets}</main></body></html>
"""
_SHEET = """<section><h2>{subject} <a href="{name}.html">{name}</a> <a href="{name}.txt">text</a></h2>
<iframe src="{name}.html"></iframe></section>"""


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
    names, sheets = [], []
    for template in Template:
        for offer in (None, _INCENTIVE):
            name = template.value + ("" if offer is None else "-incentive")
            email = compose(_candidate(), template, offer, own)
            (folder / f"{name}.html").write_text(email.html, encoding="utf-8")
            (folder / f"{name}.txt").write_text(email.text, encoding="utf-8")
            names.append(name)
            sheets.append(_SHEET.format(subject=escape(email.subject), name=name))
    (folder / "index.html").write_text(_INDEX.format(sheets="\n".join(sheets)), encoding="utf-8")
    return names


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
