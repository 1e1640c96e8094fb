"""What flows down from a formula and a table: the design, its priors, and the sums over its rows."""

from dataclasses import dataclass

from pmlmm.crossproducts.statistics import Statistics
from pmlmm.design.design import Design
from pmlmm.priors.prior_set import PriorSet


@dataclass(frozen=True, eq=False)
class Problem:
    """One model, before anything is learned.

    Attributes
    ----------
    formula : str
    design : Design
        Arrays with names.
    priors : PriorSet
    statistics : Statistics
        Cross-products; the data themselves are not touched again but for predictions and checks by row.
    """

    formula: str
    design: Design
    priors: PriorSet
    statistics: Statistics
