"""Mailing tests' summaries, once, and without holding anything up where nobody can be reached."""

from __future__ import annotations

from commerce.ab_testing.summary import Summary
from tradewind.errors import RepeatRefusedError, TerminalError
from tradewind.ports import Email, EmailSender
from tradewind.rendering import render
from tradewind.tenancy.tenant import Tenant

NOBODY = "nobody asked for it"


def mail(sender: EmailSender, tenant: Tenant, key: str, summary: Summary) -> str:
    """Send a summary to whom the tenant's settings name; to how many it went, or why not.

    The key names the tenant, since several share an account, and no moment: who does it again, with numbers that have
    moved meanwhile, is refused as a repetition, and that is as good as sent.
    """
    recipients = recipients_of(tenant)
    if not recipients:
        return NOBODY
    try:
        emails = [_email(sender.sender_of(tenant.name), each, summary, tenant) for each in recipients]
        for at in range(0, len(emails), sender.most):
            _send_once(sender, f"{tenant.id}:{key}:{at}", emails[at : at + sender.most])
    except TerminalError as error:
        return f"refused: {error}"
    return f"sent to {len(recipients)}"


def recipients_of(tenant: Tenant) -> list[str]:
    """``ab_testing.summary_emails``: addresses, each once."""
    own = tenant.settings.get("ab_testing") or {}
    named = own.get("summary_emails")
    return list(dict.fromkeys(str(each) for each in named)) if isinstance(named, list) else []


def _send_once(sender: EmailSender, key: str, emails: list[Email]) -> None:
    try:
        sender.send(key, emails)
    except RepeatRefusedError:
        return


def _email(sender: str, to: str, summary: Summary, tenant: Tenant) -> Email:
    values = {"summary": summary, "store": tenant.name}
    return Email(
        sender=sender,
        to=to,
        subject=f"{tenant.name}: {summary.headline}",
        html=render(__file__, "summary.html", values),
        text=render(__file__, "summary.txt", values),
        tags={"tenant": str(tenant.id), "kind": "ab-summary"},
    )
