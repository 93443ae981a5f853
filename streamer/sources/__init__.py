"""Where driving frames come from."""
