"""From a formula and a table to named arrays and their cross-products."""
