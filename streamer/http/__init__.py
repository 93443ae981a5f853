"""HTTP transports of control: WHIP, WHEP, REST and the page."""
