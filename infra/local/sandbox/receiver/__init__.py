"""A merchant's own server, as far as Tradewind sends it webhooks and files."""
