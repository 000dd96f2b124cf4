"""Resend as the sandbox plays it: accounts with their limits and quotas, idempotency, batches, signed webhooks."""
