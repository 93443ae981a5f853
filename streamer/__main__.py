"""python -m streamer"""

from .cli.main import app

app(prog_name="puppetcast")
