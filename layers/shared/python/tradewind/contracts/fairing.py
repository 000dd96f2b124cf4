"""What Tradewind keeps of a tenant's Fairing account."""

from __future__ import annotations

CREDENTIALS = ("secret_key",)
