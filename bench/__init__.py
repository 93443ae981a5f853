"""Measuring: speed, delay, fidelity, stillness. Not part of the installed package.

A command of `puppetcast bench` is in the module of its name; `viewers` and `sessions` are in `live`, whose server and clients
they use, and `follow`, how faithfully a puppet does, is in `fidelity`.
"""
