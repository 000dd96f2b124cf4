"""The platform's own API: events and task runs in, the state of a run out."""
