"""The covariance priors that there are."""

from pmlmm.priors.covariance import CovariancePrior
from pmlmm.priors.flat import Flat
from pmlmm.priors.half_t import HalfT
from pmlmm.priors.inverse_wishart import InverseWishart

COVARIANCE_PRIORS: tuple[type[CovariancePrior], ...] = (InverseWishart, Flat, HalfT)
#: Names, without the term's, of hyperparameters that have one number for each effect.
PER_EFFECT = tuple(dict.fromkeys(name for prior in COVARIANCE_PRIORS for name in prior.per_effect))
