"""Fairing: answers to post-purchase surveys."""
