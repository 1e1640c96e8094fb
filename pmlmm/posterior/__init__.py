"""Draws of everything that a model has, labelled for ArviZ, and predictions from them."""
