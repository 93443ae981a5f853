"""Tools of the repository: references and drawings made from the code."""
