"""python -m streamer"""

from .cli import app

app(prog_name="puppetcast")
