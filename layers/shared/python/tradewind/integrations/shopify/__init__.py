"""Shopify: the Admin API's adapter, its OAuth refresh, and the pure rules of its webhooks.

Nothing is imported here, so that a webhook receiver which needs ``webhook`` pays for no HTTP client.
"""
