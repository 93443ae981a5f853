"""How a worker knows its fleet. By itself, as the director has no use for a web server."""

KEY = "X-Puppetcast-Fleet"  # the header with a worker's key
