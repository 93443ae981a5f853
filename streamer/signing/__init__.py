"""Signed statements of what a file is (C2PA): the key, what is said, and files that say it."""
