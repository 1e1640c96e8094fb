"""EM with the update of each prior: slow, safe, and an oracle for Newton's natural mode."""

import numpy as np

from pmlmm.kernels import likelihood
from pmlmm.kernels.coordinates import unvech, vech, vech_indices, vech_slices
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.layout import SIGMA
from pmlmm.priors.flat import Flat
from pmlmm.priors.stated import HalfStudentT
from pmlmm.priors.theta import Theta


def em(
    start: np.ndarray,
    theta: Theta,
    sigma_prior: HalfStudentT | Flat,
    data: Crossproducts,
    *,
    profile: bool,
    steps: int,
    tolerance: float = 0.0,
) -> tuple[np.ndarray, int]:
    """Run EM in natural coordinates.

    The E-step is read off the score (Fisher's identity): for m groups
    ``sum_i E[gamma_i gamma_i'] = m Sigma + 2 Sigma (dl/dSigma) Sigma`` and, with N = n + number of columns whose prior
    is in units of sigma (dense ones, in the marginal variant), ``E[RSS + beta' T beta] = sigma^2 (dl/dlog sigma + N)``.
    The M-step is that of each covariance's prior, for the inverse-Wishart the talk's
    ``Sigma <- b A + (1 - b) mean_i E[gamma_i gamma_i']``, and a quadratic equation for sigma^2.

    Parameters
    ----------
    start : (d,) array
        ``(sigma, vech Sigma_1, ...)``.
    profile : bool
        beta at its maximum instead of integrated out.
    steps : int
        At most so many.
    tolerance : float
        Stop when no coordinate moves by more than this fraction of its scale.

    Returns
    -------
    theta : (d,) array
    steps : int
        Steps taken.
    """
    u = np.asarray(start, dtype=float)
    for step in range(1, steps + 1):
        previous, u = u, _step(u, theta, sigma_prior, data, profile)
        if np.max(np.abs(u - previous) / _scale(u, data.sizes)) <= tolerance:
            return u, step
    return u, steps


def _step(
    u: np.ndarray,
    theta: Theta,
    sigma_prior: HalfStudentT | Flat,
    data: Crossproducts,
    profile: bool,
):
    point = np.concatenate([u, theta.log_lambda])
    score = likelihood.evaluate(point, data, profile=profile, order=1).gradient
    new = np.empty_like(u)
    total = data.n + (float(np.sum(data.counts[~data.absolute])) if profile else data.ridge_columns)
    new[SIGMA] = _sigma(u[SIGMA] ** 2 * (u[SIGMA] * score[SIGMA] + total), total, sigma_prior)
    terms = zip(data.sizes, data.levels, vech_slices(data.sizes), theta.covariances, strict=True)
    for q, m, part, prior in terms:
        rows, cols = vech_indices(q)
        Sigma = unvech(u[part], q)
        slope = unvech(score[part] * np.where(rows == cols, 1.0, 0.5), q)
        moment = Sigma + 2.0 / m * Sigma @ slope @ Sigma
        new[part] = vech(prior.em_step(Sigma, moment, m))
    return new


def _sigma(rss: float, total: float, prior: HalfStudentT | Flat) -> float:
    """Maximiser of ``-total log sigma - rss / (2 sigma^2) + log p(sigma)``."""
    if isinstance(prior, Flat):
        return float(np.sqrt(rss / total))
    nu, scale = prior.student
    spread = nu * scale**2
    a, b, c = total + nu + 1.0, total * spread - rss, rss * spread
    return float(np.sqrt(2.0 * c / (b + np.sqrt(b * b + 4.0 * a * c))))


def _scale(u: np.ndarray, sizes: tuple[int, ...]):
    """sigma for sigma, products of standard deviations for covariance entries."""
    parts = [u[:1]]
    for q, part in zip(sizes, vech_slices(sizes), strict=True):
        sd = np.sqrt(np.diag(unvech(u[part], q)))
        parts.append(vech(np.outer(sd, sd)))
    return np.concatenate(parts)
