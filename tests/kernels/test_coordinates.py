import numpy as np
import pytest

from pmlmm.kernels import coordinates

SIZES = [(), (1,), (2,), (4,), (2, 3)]


def size(sizes):
    return 1 + sum(coordinates.vech_size(q) for q in sizes)


@pytest.mark.parametrize("sizes", SIZES)
def test_round_trip(sizes):
    x = 0.5 * np.random.default_rng(0).normal(size=size(sizes))
    np.testing.assert_allclose(coordinates.from_natural(coordinates.to_natural(x, sizes), sizes), x, atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
def test_chain_rule_of_a_quadratic(differences, sizes):
    rng = np.random.default_rng(1)
    d = size(sizes)
    x, slope, curve = 0.4 * rng.normal(size=d), rng.normal(size=d), rng.normal(size=(d, d))
    curve = curve + curve.T

    def gradient(x):
        theta = coordinates.to_natural(x, sizes)
        return coordinates.pull_back(x, sizes, slope + curve @ theta, curve)[0]

    theta = coordinates.to_natural(x, sizes)
    first, second, jacobian = coordinates.pull_back(x, sizes, slope + curve @ theta, curve)
    numeric = differences(lambda x: coordinates.to_natural(x, sizes), x)
    np.testing.assert_allclose(jacobian, numeric, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(first, jacobian.T @ (slope + curve @ theta), rtol=1e-12)
    np.testing.assert_allclose(second, differences(gradient, x), rtol=1e-6, atol=1e-6 * np.max(np.abs(second)))


@pytest.mark.parametrize("sizes", SIZES)
def test_log_jacobian_is_the_determinant(sizes):
    x = 0.5 * np.random.default_rng(2).normal(size=size(sizes))
    zero = np.zeros(len(x))
    jacobian = coordinates.pull_back(x, sizes, zero, np.outer(zero, zero))[2]
    assert coordinates.log_jacobian(x, sizes) == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-10)


def test_indefinite_covariance_has_no_unconstrained_coordinates():
    with pytest.raises(np.linalg.LinAlgError):
        coordinates.from_natural(np.array([1.0, 1.0, 2.0, 1.0]), (2,))


def test_unconstrained_coordinates_of_many_draws():
    rng = np.random.default_rng(0)
    x = 0.5 * rng.normal(size=(3, 7, 1 + 3 + 1))
    np.testing.assert_allclose(coordinates.from_natural(coordinates.to_natural(x, (2, 1)), (2, 1)), x, atol=1e-9)


def test_draws_with_a_covariance_singular_to_rounding_are_found():
    theta = np.array([[1.0, 1.0, 0.3, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, np.inf, 0.0, 1.0], [2.0, 1.0, 0.0, 1e-9]])
    np.testing.assert_array_equal(coordinates.proper(theta, (2,)), [True, False, False, True])


def test_a_factor_that_is_singular_to_rounding_loses_its_draw_alone():
    x = np.array([[0.0, 1.0, 0.5, 0.3], [0.0, -149.0, 1e300, -149.0], [0.1, 0.2, 0.1, 0.0]])
    theta, good = coordinates.natural_draws(x, (2,))
    assert good.tolist() == [True, False, True]
    np.testing.assert_allclose(theta[good], coordinates.to_natural(x[good], (2,)))
