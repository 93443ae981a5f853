"""Animate into files."""
