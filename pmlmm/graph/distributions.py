"""Covariance distributions for PyMC: inverse-Wishart and flat, with their value transform."""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.distributions.dist_math import check_parameters
from pymc.distributions.distribution import Continuous
from pymc.distributions.shape_utils import rv_size_is_none
from pymc.distributions.transforms import Transform, _default_transform
from pytensor.graph.op import Op
from pytensor.tensor import TensorLike, TensorVariable
from pytensor.tensor.random.op import RandomVariable

from pmlmm.graph.ops import CovarianceLogDensity
from pmlmm.kernels.coordinates import vech_size
from pmlmm.priors.inverse_wishart import InverseWishartDensity


class PrecisionLogCholesky(Transform):
    """Symmetric positive definite Sigma to the log-Cholesky factor of its inverse.

    ``Sigma^{-1} = C C'``; the q(q+1)/2 free values are the lower triangle of C row by row, with
    logarithms on the diagonal. An inverse-Wishart is close to Gaussian in them (Bartlett).
    """

    name = "precision_log_cholesky"
    ndim_supp = 1

    def __init__(self, q: int):
        self.q = q
        self.rows, self.cols = np.tril_indices(q)
        self.diagonal = np.flatnonzero(self.rows == self.cols)

    def backward(self, value: TensorLike, *inputs):
        value = pt.as_tensor_variable(value)
        values = value[..., self.diagonal].set(pt.exp(value[..., self.diagonal]))
        C = pt.zeros((*value.shape[:-1], self.q, self.q))[..., self.rows, self.cols].set(values)
        inverse = pt.linalg.solve_triangular(C, pt.eye(self.q), lower=True)
        return inverse.mT @ inverse

    def forward(self, value: TensorLike, *inputs):
        C = pt.linalg.cholesky(pt.linalg.inv(pt.as_tensor_variable(value)))
        values = C[..., self.rows, self.cols]
        return values[..., self.diagonal].set(pt.log(values[..., self.diagonal]))

    def log_jac_det(self, value: TensorLike, *inputs):
        slope = -(self.q + 1.0) - np.arange(self.q)
        return self.q * np.log(2.0) + pt.sum(slope * value[..., self.diagonal], axis=-1)


class InverseWishartRV(RandomVariable):
    """Random generation by SciPy."""

    name = "inverse_wishart"
    signature = "(),(n,n)->(n,n)"
    dtype = "floatX"
    _print_name = ("InverseWishart", "\\operatorname{InverseWishart}")

    @classmethod
    def rng_fn(cls, rng: np.random.Generator, eta: TensorLike, Phi: TensorLike, size: Any):
        from scipy.stats import invwishart  # slow to import, and only needed to sample

        batch = tuple(size) if size is not None else np.broadcast_shapes(eta.shape, Phi.shape[:-2])
        q = Phi.shape[-1]
        etas, Phis = np.broadcast_to(eta, batch), np.broadcast_to(Phi, (*batch, q, q))
        draws = np.empty((*batch, q, q))
        for index in np.ndindex(*batch):
            draws[index] = np.reshape(invwishart.rvs(etas[index], Phis[index], random_state=rng), (q, q))
        return draws


inverse_wishart = InverseWishartRV()


class InverseWishart(Continuous):
    r"""Inverse-Wishart distribution of a q x q covariance.

    .. math:: f(\Sigma) \propto |\Sigma|^{-(\eta + q + 1)/2} \exp(-\operatorname{tr}(\Phi \Sigma^{-1})/2)

    Parameters
    ----------
    eta : tensor_like of float
        Degrees of freedom, above q - 1.
    Phi : tensor_like of float, (q, q)
        Scale, symmetric positive definite; the mode is ``Phi / (eta + q + 1)``.
    """

    rv_op = inverse_wishart

    @classmethod
    def dist(cls, eta: TensorLike, Phi: TensorLike, **kwargs):
        return super().dist([pt.as_tensor_variable(eta), pt.as_tensor_variable(Phi)], **kwargs)

    def support_point(rv, size: Any, eta: TensorLike, Phi: TensorLike):
        mode = Phi / (eta[..., None, None] + Phi.shape[-1] + 1)
        if rv_size_is_none(size):
            return mode
        return pt.broadcast_to(mode, pt.concatenate([size, Phi.shape[-2:]]))

    def logp(value, eta: TensorLike, Phi: TensorLike):
        core = _core_log_density
        if value.type.ndim > 2 or eta.type.ndim > 0 or Phi.type.ndim > 2:
            core = pt.vectorize(core, signature="(n,n),(),(n,n)->()")
        return check_parameters(core(value, eta, Phi), eta > Phi.shape[-1] - 1, msg="eta > q - 1")


def _core_log_density(value: TensorLike, eta: TensorLike, Phi: TensorLike):
    w = pt.concatenate([vech_graph(value), eta[None], vech_graph(Phi)])
    return CovarianceLogDensity(InverseWishartDensity)(w)


def vech_graph(matrix: TensorVariable):
    """Lower triangle of a symbolic square matrix, row by row."""
    size = matrix.type.shape[-1]
    rows, cols = np.tril_indices(size) if size is not None else pt.tril_indices(matrix.shape[-1])
    return matrix[rows, cols]


def unvech_graph(vector: TensorVariable, q: int):
    """Symbolic symmetric matrix from its lower triangle, row by row."""
    rows, cols = np.tril_indices(q)
    index = np.empty((q, q), dtype=int)
    index[rows, cols] = index[cols, rows] = np.arange(vech_size(q))
    return vector[index]


class FlatCovarianceRV(RandomVariable):
    """Refuses to generate: the distribution is improper."""

    name = "flat_covariance"
    signature = "(n,n)->(n,n)"
    dtype = "floatX"
    _print_name = ("FlatCovariance", "\\operatorname{FlatCovariance}")

    @classmethod
    def rng_fn(cls, rng: np.random.Generator, start: TensorLike, size: Any):
        raise NotImplementedError("A flat prior is improper: it cannot be sampled.")


flat_covariance = FlatCovarianceRV()


class FlatCovariance(Continuous):
    """Density 1 over symmetric positive definite matrices; ``start`` (q, q) only sets initial points."""

    rv_op = flat_covariance

    @classmethod
    def dist(cls, start: TensorLike, **kwargs):
        return super().dist([pt.as_tensor_variable(start)], **kwargs)

    def support_point(rv, size: Any, start: TensorLike):
        return start

    def logp(value, start: TensorLike):
        return pt.zeros(value.shape[:-2])


@_default_transform.register(InverseWishartRV)
def _inverse_wishart_transform(op: Op, rv: TensorVariable):
    return PrecisionLogCholesky(_static_size(rv))


@_default_transform.register(FlatCovarianceRV)
def _flat_covariance_transform(op: Op, rv: TensorVariable):
    return PrecisionLogCholesky(_static_size(rv))


def _static_size(rv: TensorVariable) -> int:
    size = rv.type.shape[-1] or rv.owner.inputs[-1].type.shape[-1]
    if size is None:
        raise ValueError("The size of the covariance must be known when the model is built.")
    return size
