"""What the door of touches reads."""
