"""Everything at random for a long time, and whether anything grows: `make soak MIN=60`.

`server` runs a server and counts what it holds when it is asked; `visitors` are what strangers and users do, by a seed;
`__main__` lets them come, counts between two rounds, and draws the report.
"""
