"""Finding a face: trackers, landmark topology and motion relative to a neutral."""
