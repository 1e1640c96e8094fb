"""What the keys of the priors name."""

import numpy as np
import pytest

import pmlmm


def test_priors_by_tuples(table):
    table = table.assign(z=np.arange(20.0) ** 2, h=np.arange(20) % 5)
    formula = "y ~ x + z + (1 | g) + (1 | h)"
    model = pmlmm.Model(formula, table, {("x", "z"): pmlmm.Ridge(), ("g", "h"): pmlmm.InverseWishart(b=0.5)})
    assert [group.name for group in model.priors.penalty_groups] == ["x, z", "Normal priors"]
    assert model.priors.shared == (0, 0)
    for priors, words in [
        ({(): pmlmm.Ridge()}, "at least one fixed effect"),
        ({("x", "g"): pmlmm.Ridge()}, "mixes random-effect terms"),
        ({("x", "common"): pmlmm.Ridge()}, "'common' cannot share a prior"),
        ({("x", "z"): pmlmm.Ridge(), "x": pmlmm.Ridge(1)}, "'x' in two keys"),
        ({("x", "w"): pmlmm.Ridge()}, "'w', which names nothing"),
        ({"x": pmlmm.Ridge(), "z": pmlmm.Ridge(), "common": pmlmm.Ridge()}, "no fixed effect is left"),
    ]:
        with pytest.raises(pmlmm.PriorError, match=words):
            pmlmm.Model(formula, table, priors)
    with pytest.raises(pmlmm.PriorError, match=r"same number of effects \(g: 1, h: 2\)"):
        pmlmm.Model("y ~ x + (1 | g) + (1 + x | h)", table, {("g", "h"): pmlmm.InverseWishart()})


def test_a_factor_that_is_a_fixed_effect_too(table):
    wishart, ridge = pmlmm.InverseWishart(b=0.5), pmlmm.Ridge(1.0)
    model = pmlmm.Model("y ~ g + (1 | g)", table, {"g": ridge, "| g": wishart})
    assert model.priors.covariances == (wishart,)
    assert model.priors.penalty_groups[0].prior == ridge
    assert pmlmm.Model("y ~ g + (1 | g)", table, {"g": wishart}).priors.covariances == (wishart,)
    with pytest.raises(pmlmm.PriorError, match=r"a fixed effect and a grouping factor\. Use '[|] g'"):
        pmlmm.Model("y ~ g + (1 | g)", table, {"g": pmlmm.Flat()})


def test_a_block_keeps_a_penalty(table, block):
    with pytest.raises(pmlmm.PriorError, match="needs a penalty"):
        pmlmm.Model("y ~ x + (1 | g)", table, {"genes": pmlmm.Ridge(0)}, penalized={"genes": block})
    fixed = pmlmm.Model("y ~ x + (1 | g)", table, {"genes": pmlmm.Ridge(3.0)}, penalized={"genes": block}).fit()
    assert fixed.hyperparameters.loc["lambda[genes]", "state"] == "fixed"
