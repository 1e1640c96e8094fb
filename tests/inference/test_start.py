"""Where the search for the mode starts."""

import numpy as np

import pmlmm


def test_nearly_collinear_random_effects_still_start():
    """Times around 5 with a spread of 0.03, squared: (Z'Z)^-1 is too rough a start, its diagonal is not."""
    rng = np.random.default_rng(1)
    g, t = np.repeat(np.arange(12), 5), 5 + 0.03 * rng.normal(size=60)
    fit = pmlmm.Model("y ~ t + (t + I(t**2) | g)", {"y": rng.normal(size=12)[g] + rng.normal(size=60), "t": t, "g": g})
    assert np.isfinite(fit.fit(draws=200).log_evidence)
