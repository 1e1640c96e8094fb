"""Coordinates in which scales and correlations of covariances do not make a funnel.

In the unconstrained coordinates an entry C_ab below the diagonal of the precision's factor is of the order of C_aa:
where a standard deviation may be near zero, it spreads the more the larger log C_aa. Here ``asinh(C_ab / C_aa)`` takes
its place, which for two effects is minus Fisher's z of their correlation: ``C_21 / C_22 = -rho / sqrt(1 - rho^2)``.
"""

import numpy as np

from pmlmm.kernels.coordinates import vech_indices, vech_slices


class ScaleFree:
    """The change of coordinates for terms of these sizes; what follows the covariances (log lambda) stays as it is."""

    def __init__(self, sizes: tuple[int, ...]):
        below, diagonal = [], []
        for q, part in zip(sizes, vech_slices(sizes), strict=True):
            rows, cols = vech_indices(q)
            lower = np.flatnonzero(rows != cols)
            below.append(part.start + lower)
            diagonal.append(part.start + (rows * (rows + 3) // 2)[lower])
        self.below, self.diagonal = (np.concatenate([np.empty(0, int), *x]).astype(int) for x in (below, diagonal))

    def here(self, x: np.ndarray) -> np.ndarray:
        """From unconstrained coordinates (..., d)."""
        y = np.array(x)
        y[..., self.below] = np.arcsinh(x[..., self.below] * np.exp(-x[..., self.diagonal]))
        return y

    def there(self, y: np.ndarray) -> np.ndarray:
        """To unconstrained coordinates: the inverse."""
        x = np.array(y)
        x[..., self.below] = np.sinh(y[..., self.below]) * np.exp(y[..., self.diagonal])
        return x

    def log_jacobian(self, y: np.ndarray) -> np.ndarray:
        """log |dx / dy| at y (..., d): (...)."""
        own = np.logaddexp(y[..., self.below], -y[..., self.below]) - np.log(2.0) + y[..., self.diagonal]
        return np.sum(own, axis=-1)

    def jacobian(self, y: np.ndarray) -> np.ndarray:
        """dx / dy at one y (d,): (d, d)."""
        J, scale = np.eye(len(y)), np.exp(y[self.diagonal])
        J[self.below, self.below] = np.cosh(y[self.below]) * scale
        J[self.below, self.diagonal] = np.sinh(y[self.below]) * scale
        return J
