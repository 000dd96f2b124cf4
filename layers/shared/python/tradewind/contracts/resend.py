"""What Tradewind keeps of a Resend account, and which of its webhooks it takes."""

from __future__ import annotations

CREDENTIALS = ("api_key", "from", "account", "webhook_secret")
"""Of a tenant, or of the tenant ``platform`` for the account that all others share."""
