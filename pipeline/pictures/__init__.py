"""Still pictures from files that nobody vouches for: `decode`, which knows formats, limits and colours."""
