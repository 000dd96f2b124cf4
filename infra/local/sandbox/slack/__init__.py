"""Slack's Web API, as far as Tradewind posts to it."""
