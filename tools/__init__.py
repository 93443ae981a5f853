"""Tools of the repository: references, drawings and the teeth, made from the code."""
