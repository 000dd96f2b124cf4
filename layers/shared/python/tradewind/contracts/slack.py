"""What Tradewind keeps of a tenant's Slack workspace."""

from __future__ import annotations

CREDENTIALS = ("bot_token", "channel")
"""``xoxb-...`` with chat:write, files:write and channels:history; the channel's id (``C...``), which the bot is in."""
