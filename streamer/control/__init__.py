"""What can be done with the streams, and what they tell."""
