"""One stream: its door for pictures and sound, its stage, its state."""
