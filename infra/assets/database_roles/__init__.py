"""The Lambda that creates the database's roles."""
