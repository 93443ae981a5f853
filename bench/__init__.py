"""Measuring: speed, delay, fidelity, stillness. Not part of the installed package."""
