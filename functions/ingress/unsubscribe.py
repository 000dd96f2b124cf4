"""``GET /unsubscribe/{token}`` asks, ``POST /unsubscribe/{token}`` unsubscribes: no login, one click, at once.

Mail programs post by themselves where a person presses their button (RFC 8058); link scanners only ever get, which
changes nothing. A token that is none of ours gets the same answer whatever is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from typing import Any
from uuid import UUID

from tradewind.aws.client import AwsClient
from tradewind.aws.keys import KeyService
from tradewind.errors import InvalidPayloadError, NotFoundError, RateLimitedError, RetryableError
from tradewind.loglines import count_line, log_line
from tradewind.settings import current_settings
from tradewind.tenancy.credentials import CredentialVault, TenantCredentials
from tradewind.tenancy.database import Connections, Session, Transaction
from tradewind.tenancy.links import KEY, LinkSubject, is_signed, read_subject
from tradewind.tenancy.secrets import database_url

_STORE = "SELECT name FROM tenants"
_SUPPRESS = """
INSERT INTO email_suppressions (email, reason)
SELECT lower(q.email), 'unsubscribe' FROM review_email_queue q
WHERE q.shopify_order_id = %(order_id)s AND q.sequence = %(sequence)s AND q.email IS NOT NULL
ON CONFLICT (tenant_id, email) DO NOTHING
"""
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "x-robots-tag": "noindex",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'",
}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body{{margin:0;background:#f3f1ec;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#26241f}}
main{{max-width:440px;margin:12vh auto;padding:40px;background:#fff;border-radius:14px;text-align:center}}
h1{{font:400 28px/36px Georgia,serif;margin:0 0 12px}}p{{font-size:16px;line-height:25px;color:#4a463e;margin:0 0 24px}}
button{{padding:14px 30px;border:0;border-radius:999px;background:#1f3d36;color:#fff;font-size:16px;cursor:pointer}}
</style></head><body><main><h1>{title}</h1><p>{text}</p>{action}</main></body></html>"""
_BUTTON = '<form method="post"><button>Unsubscribe</button></form>'


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry."""
    return _door().answer(event)


@cache
def _door() -> UnsubscribeDoor:
    settings = current_settings()
    aws = AwsClient(settings.region, settings.endpoint_url)
    vault = CredentialVault(KeyService(aws, settings.kms_key))
    return UnsubscribeDoor(Connections(database_url(settings, aws)), vault)


class UnsubscribeDoor:
    """Works as the application role, bound to the tenant that a token names; the token's signature comes first."""

    def __init__(self, connections: Connections, vault: CredentialVault) -> None:
        self._connections = connections
        self._vault = vault

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        token = str((event.get("pathParameters") or {}).get("token", ""))
        method = str(event.get("requestContext", {}).get("http", {}).get("method", "GET"))
        try:
            store = self._open(token, unsubscribe=method == "POST")
        except (InvalidPayloadError, NotFoundError):
            return _page(404, "This link is not valid", "Please use the link in your latest e-mail.")
        except (RetryableError, RateLimitedError) as error:
            log_line("warning", "unsubscription not taken", error=repr(error))
            return _page(503, "Not possible at the moment", "Please try again in a minute.")
        if method != "POST":
            text = f"You will get no more e-mails about your orders' reviews from {escape(store)}."
            return _page(200, "Unsubscribe?", text, _BUTTON)
        return _page(200, "You are unsubscribed", f"{escape(store)} will not ask you for reviews any more.")

    def _open(self, token: str, *, unsubscribe: bool) -> str:
        """The store's name, once the token's signature fits and what it asks for is written."""
        subject = read_subject(token)
        session = Session(self._connections)
        try:
            with session.transaction(subject.tenant_id) as transaction:
                self._check(transaction, token, subject)
                store = transaction.fetch_one(_STORE)
                if unsubscribe:
                    values = {"order_id": subject.order_id, "sequence": subject.sequence}
                    added = transaction.execute(_SUPPRESS, values)
            session.settle()
        finally:
            session.close()
        if unsubscribe:
            _tell(subject.tenant_id, added)
        return str(store["name"]) if store else ""

    def _check(self, transaction: Transaction, token: str, subject: LinkSubject) -> None:
        key = TenantCredentials(subject.tenant_id, self._vault).get(transaction, KEY).secret
        if not is_signed(token, subject, key):
            raise InvalidPayloadError("token", "is not signed by us")


def _tell(tenant_id: UUID, added: int) -> None:
    count_line("Unsubscribed")
    log_line("info", "unsubscribed", tenant_id=tenant_id, new=bool(added))


def _page(status: int, title: str, text: str, action: str = "") -> dict[str, Any]:
    body = _PAGE.format(title=title, text=text, action=action)
    return {"statusCode": status, "headers": _HEADERS, "body": body}
