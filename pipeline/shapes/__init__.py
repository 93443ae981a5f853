"""One description of facial motion by named shapes, for sliders, presets and drivers of every kind."""
