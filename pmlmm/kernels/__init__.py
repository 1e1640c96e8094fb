"""Numbers only: NumPy and numba, no PyTensor, no names. Every module can be tested alone."""
