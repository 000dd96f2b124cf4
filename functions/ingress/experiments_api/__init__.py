"""The door of A/B tests: what storefronts tell of visitors, and which variant a visitor sees."""
