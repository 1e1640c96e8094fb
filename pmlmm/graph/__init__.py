"""The model as a PyMC graph, and the functions that PyTensor compiles from it."""
