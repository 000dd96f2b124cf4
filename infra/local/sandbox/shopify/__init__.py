"""Shopify as the sandbox plays it: Admin GraphQL with costs and throttling, OAuth refresh, webhook
subscriptions.
"""
