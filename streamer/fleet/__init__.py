"""Many servers as one: which worker has which stream, and the way to it. Media goes between client and worker alone."""
