"""``make smoke``: representative tasks seen through, each with its id, duration and effect."""
