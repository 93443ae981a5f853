"""The portraits that come with the program, each with what was found in it beside it."""

DEFAULT = "collins"  # a photograph with its mouth shut: driven, it smiles and talks as the driver does
