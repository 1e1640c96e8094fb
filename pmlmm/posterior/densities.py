"""The densities of a fit's model that samplers, integration and bridge sampling evaluate."""

from typing import TYPE_CHECKING

from pmlmm.inference.expanded_search import COSTLY
from pmlmm.inference.conditional import Conditional, ExpandedConditional
from pmlmm.kernels.compiled import pack
from pmlmm.kernels.log_posterior import TunedDensity

if TYPE_CHECKING:
    from pmlmm.fit import Fit


def tuned_density(fit: "Fit", near: Conditional) -> TunedDensity:
    """log p(y, x, phi) of a fit's model."""
    space = fit._space
    return TunedDensity(near.packed, near.sigma_prior, near.size, space.theta, space.pack_jacobian, space.log_prior)


def conditional(fit: "Fit") -> Conditional:
    """The law of (sigma, Sigma) given the hyperparameters, around those of the fit."""
    tuned, data = fit._tuned, fit.model.statistics.crossproducts()
    common = fit._space, pack(data), fit.model.priors.sigma, tuned.phi, tuned.proposal, tuned.sample is not None
    return ExpandedConditional(*common, tuned.proposals.laplace) if data.seconds() > COSTLY else Conditional(*common)
