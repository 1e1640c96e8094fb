"""Simulated data follow the model that they say they follow."""

import numpy as np
import pytest

from pmlmm.simulate import draw_covariance, longitudinal, polynomial_curves


@pytest.mark.parametrize("effects", ["gaussian", "polynomial"])
def test_the_response_is_the_model_plus_noise(effects):
    rows = [1, 5, 3] * 400
    data, truth = longitudinal(rows, q=3, effects=effects, covariates=4, sigma=0.5, seed=1)
    assert list(data["ind"].value_counts(sort=False)) == rows
    X = data.filter(regex="^x").to_numpy()
    Z = data.filter(regex="^z").to_numpy()
    if effects == "polynomial":
        Z = np.column_stack([np.ones(len(data)), data["t"], data["t"] ** 2])
        np.testing.assert_array_equal(data["t2"], data["t"] ** 2)
    residual = data["y"] - X @ truth.beta - np.sum(Z * truth.gamma[data["ind"]], axis=1)
    # 3,600 rows: the standard error of a standard deviation is sd / 85
    assert residual.std() == pytest.approx(0.5, abs=4 * 0.5 / 85)
    S = np.cov(truth.gamma.T, bias=True)
    np.testing.assert_allclose(S, truth.Sigma, atol=5 * np.trace(truth.Sigma) / np.sqrt(1200))


def test_a_seed_is_a_data_set():
    first, second = (longitudinal([2] * 5, seed=3)[0] for _ in range(2))
    assert first.equals(second)
    assert not first.equals(longitudinal([2] * 5, seed=4)[0])


def test_a_given_beta_changes_nothing_else_and_is_independent_of_the_rest():
    data, truth = longitudinal([3] * 40, covariates=50, seed=1)
    other, half = longitudinal([3] * 40, covariates=50, beta=truth.beta / 2, seed=1)
    np.testing.assert_array_equal(half.beta, longitudinal([3] * 40, covariates=50, beta_sd=0.5, seed=1)[1].beta)
    same = [name for name in data if name != "y"]
    assert data[same].equals(other[same])
    Z = data.filter(regex="^z").to_numpy().ravel()
    lags = [abs(np.corrcoef(truth.beta, Z[k : k + 50])[0, 1]) for k in range(20)]
    assert max(lags) < 0.6  # 4.5 standard errors; 1 where both are the same random numbers


def test_covariances_have_the_mean_asked_for():
    mean = np.diag([4.0, 1.0])
    draws = np.mean([draw_covariance(20, mean, seed=s) for s in range(2000)], axis=0)
    np.testing.assert_allclose(draws, mean, atol=0.15)


def test_given_parameters_are_used():
    Sigma, beta = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
    _, truth = longitudinal([2] * 3, q=2, Sigma=Sigma, beta=beta)
    np.testing.assert_array_equal(truth.Sigma, Sigma)
    np.testing.assert_array_equal(truth.beta, beta)
    assert truth.formula == "y ~ 0 + x1 + x2 + (0 + z1 + z2 | ind)"
    data, truth = polynomial_curves([2] * 3, Sigma=Sigma, beta=beta)
    assert truth.formula == "y ~ 1 + t + (1 + t | ind)"
    assert list(data) == ["ind", "t", "y"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effects": "normal"}, "choose 'gaussian' or 'polynomial'"),
        ({"beta": [1.0]}, r"must be \(2,\)"),
        ({"Sigma": np.eye(3)}, r"must be \(4, 4\)"),
        ({"nu": 5.0}, "nu > q"),
        ({"rows": [2, 0]}, "at least 1"),
        ({"rows": []}, "at least 1"),
        ({"q": 0}, "q=0: a whole number, at least 1"),
        ({"covariates": -1}, "covariates=-1"),
        ({"sigma": -1.0}, "sigma=-1.0"),
        ({"sigma": np.nan}, "sigma=nan"),
        ({"beta": [1.0, np.nan]}, "all finite"),
        ({"q": 2, "Sigma": [[1.0, 9.0], [0.0, 1.0]]}, "Sigma must be finite and symmetric"),
        (
            {"q": 2, "Sigma": [[1.0, 2.0], [2.0, 1.0]]},
            "Sigma is not positive definite .smallest eigenvalue -1.: .* covariance.$",
        ),
        ({"mean": np.eye(3)}, "mean has shape"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        longitudinal(**({"rows": [2, 2]} | options))


def test_curves_need_a_coefficient_for_every_power():
    with pytest.raises(ValueError, match=r"beta has shape \(3,\); it must be \(2,\)"):
        polynomial_curves([2, 2], Sigma=np.eye(2), beta=[1.0, 2.0, 3.0])
