"""The invisible mark that every animated picture carries, and how it is found again."""
