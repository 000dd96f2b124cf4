"""The demo: a real shop's purchases told as Shopify orders, their delivery, and what must come of them."""
