"""Fairing's API, as the sandbox plays it."""
