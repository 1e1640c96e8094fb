"""Linear mixed models whose priors are learned from the data."""

import lazy_loader as _lazy

# Modules load when they are first used: `pmlmm --help` must not wait for PyMC.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["datasets", "graph", "marginaleffects", "simulate", "sklearn"],
    submod_attrs={
        "errors": [
            "ConvergenceError",
            "DataError",
            "FormulaError",
            "OptionError",
            "PmlmmError",
            "PriorError",
            "SamplingError",
            "SamplingInterrupted",
        ],
        "model": ["Model", "load"],
        "priors.stated": ["HalfStudentT", "Normal", "Ridge"],
        "priors.flat": ["Flat"],
        "priors.hyperprior": ["Hyperprior"],
        "priors.inverse_wishart": ["InverseWishart"],
        "checks.compare": ["Comparison"],
        "checks.compare_models": ["ModelComparison"],
        "fit": ["Fit", "IntegratedFit", "compare", "compare_models"],
    },
)
# `from pmlmm import *` must do without extras
__all__ = [name for name in __all__ if name not in ("marginaleffects", "sklearn")]
__version__ = "0.1.0"
