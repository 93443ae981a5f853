"""Making puppets of many pictures: which pictures of a face to keep, from clips, photographs and engines."""
