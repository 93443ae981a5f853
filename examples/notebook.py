"""Cells of a notebook: a portrait, pictures of it in memory, a clip on disk, and a live server."""

# %% A portrait, and a clip on disk.
import puppetcast

portrait = puppetcast.open_portrait("astronaut")
result = puppetcast.animate(portrait, puppetcast.DEMO_CLIP, "out.mp4", max_frames=30)
print(f"out.mp4: {result.frames} frames, {result.tracked} of them followed")

# %% The same in memory, two seconds of it: arrays (height, width, 3) of RGB.
from itertools import islice

from pipeline import models
from pipeline.clips import first_seconds, open_clip, timed
from pipeline.engine import open_engine
from pipeline.face.faces import faces_by

engine = open_engine("mesh", faces_by(models.find(models.FACE_LANDMARKER)))
puppeteer = engine.open()
prepared = engine.prepare(portrait, 640, 512)
puppeteer.calibrate(first_seconds(puppetcast.DEMO_CLIP))
with open_clip(puppetcast.DEMO_CLIP) as clip:
    pictures = [puppeteer.animate(prepared, image, time_s) for time_s, image in islice(timed(clip), 60)]
puppeteer.close()
print(f"{len(pictures)} pictures of {pictures[0].shape}")

# %% Live, beside the notebook; open the address in a browser.
server = puppetcast.serve(port=0, portrait="astronaut", clip=puppetcast.DEMO_CLIP)
print(server.url)
server.stop()
