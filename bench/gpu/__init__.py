"""What `bench/gpu_report.py` measures on a machine that has torch, NumPy and safetensors, and nothing else.

Each step is a generator in one of these modules: what it yields is kept at once, and `StepFailed` ends it.
"""
