"""Meta: events by the Conversions API."""
