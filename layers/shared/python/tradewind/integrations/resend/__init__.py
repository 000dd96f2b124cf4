"""Resend: sending e-mails over its HTTP API, and its webhooks."""
