"""GA4's Measurement Protocol, as the sandbox plays it."""
