"""From landmarks to motion: neutral, filters, gains, blending."""
