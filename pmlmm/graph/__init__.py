"""The model as a PyMC graph, and the functions that PyTensor compiles from it."""

from pmlmm.graph.distributions import FlatCovariance, InverseWishart, PrecisionLogCholesky

__all__ = ["FlatCovariance", "InverseWishart", "PrecisionLogCholesky"]
