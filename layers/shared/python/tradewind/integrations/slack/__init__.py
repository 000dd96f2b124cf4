"""Slack: messages and pictures into one channel of a tenant's workspace."""
