"""TikTok: events by the Events API 2.0."""
