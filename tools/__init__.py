"""Tools of the repository: references, portraits and the teeth, made from the code."""
