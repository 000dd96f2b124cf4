"""TikTok's Business API, as the sandbox plays it."""
