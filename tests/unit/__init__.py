import os

# Triton reads it when it is imported, as PyTorch's compiler does: before any test of the kernels is (see test_kernels.py).
os.environ.setdefault("TRITON_INTERPRET", "1")
