"""The PyMC distributions against SciPy, by sampling, and through their transform."""

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from pmlmm.graph import FlatCovariance, InverseWishart, PrecisionLogCholesky
from pmlmm.kernels import coordinates

Phi = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
pytestmark = pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")


def test_log_density_is_scipys():
    Sigma = stats.invwishart(7, Phi).rvs(random_state=1)
    value = pm.logp(InverseWishart.dist(6.5, Phi), Sigma).eval()
    assert value == pytest.approx(stats.invwishart(6.5, Phi).logpdf(Sigma), rel=1e-12)


def test_a_batch_of_log_densities():
    draws = stats.invwishart(7, Phi).rvs(4, random_state=2)
    value = pm.logp(InverseWishart.dist(6.5, Phi, shape=(4, 3, 3)), draws).eval()
    np.testing.assert_allclose(value, [stats.invwishart(6.5, Phi).logpdf(x) for x in draws], rtol=1e-12)


def test_draws_have_the_right_moments():
    eta, number = 12.0, 20_000
    draws = pm.draw(InverseWishart.dist(eta, Phi), draws=number, random_seed=3)
    mean = Phi / (eta - 4)
    diagonal = np.diag(Phi)
    variance = ((eta - 2) * Phi**2 + (eta - 4) * np.outer(diagonal, diagonal)) / (
        (eta - 3) * (eta - 4) ** 2 * (eta - 6)
    )
    error = np.sqrt(variance / number)
    assert np.max(np.abs(draws.mean(axis=0) - mean) / error) < 4


def test_improper_degrees_of_freedom_are_refused():
    with pytest.raises(pm.logprob.utils.ParameterValueError, match="eta > q - 1"):
        pm.logp(InverseWishart.dist(1.5, Phi), np.eye(3)).eval()


def test_transform_is_the_kernels_one():
    transform = PrecisionLogCholesky(3)
    x = 0.3 * np.random.default_rng(4).normal(size=6)
    Sigma = transform.backward(x).eval(mode="FAST_COMPILE")
    expected = coordinates.unvech(coordinates.to_natural(np.append(0.0, x), (3,))[1:], 3)
    np.testing.assert_allclose(Sigma, expected, rtol=1e-12)
    np.testing.assert_allclose(transform.forward(Sigma).eval(mode="FAST_COMPILE"), x, atol=1e-12)
    # the kernels' log-Jacobian also counts log sigma, which is 0 here
    expected = coordinates.log_jacobian(np.append(0.0, x), (3,))
    assert transform.log_jac_det(x).eval() == pytest.approx(expected, rel=1e-12)


def test_flat_covariance_has_density_one_and_no_draws():
    flat = FlatCovariance.dist(np.eye(2))
    assert pm.logp(flat, np.array([[2.0, 0.1], [0.1, 1.0]])).eval() == 0.0
    with pytest.raises(NotImplementedError, match="improper"):
        pm.draw(flat)


def test_both_distributions_start_at_their_point_and_are_transformed():
    with pm.Model() as model:
        InverseWishart("S", 8.0, Phi)
        FlatCovariance("F", np.eye(2))
    point = model.initial_point()
    assert point["S_precision_log_cholesky__"].shape == (6,)
    assert point["F_precision_log_cholesky__"].shape == (3,)
    start = model.compile_fn(model.rvs_to_transforms[model["S"]].backward(model.value_vars[0]), mode="FAST_COMPILE")(
        {"S_precision_log_cholesky__": point["S_precision_log_cholesky__"]}
    )
    np.testing.assert_allclose(start, Phi / 12, rtol=1e-10)
