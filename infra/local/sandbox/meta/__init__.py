"""Meta's Graph API, as the sandbox plays it."""
