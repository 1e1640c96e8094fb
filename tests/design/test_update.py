"""R's update of formulas: what it gives, against formulas written by hand."""

import pytest

from pmlmm.design.formula import parse
from pmlmm.design.update import updated
from pmlmm.errors import FormulaError

SLEEP = "Reaction ~ Days + (Days | Subject)"
CASES = [
    (SLEEP, ". ~ . + I(Days^2)", "Reaction ~ Days + I(Days^2) + (Days | Subject)"),
    (SLEEP, "~ . - Days", "Reaction ~ 1 + (Days | Subject)"),
    (SLEEP, "~ . - (Days|Subject) + (1 | Subject)", "Reaction ~ Days + (1 | Subject)"),
    (SLEEP, "~ . - (1 + Days | Subject)", "Reaction ~ Days"),
    (SLEEP, "log(.) ~ .", "log(Reaction) ~ Days + (Days | Subject)"),
    (SLEEP, "sqrt(. + 0.5) ~ .", "sqrt(Reaction + 0.5) ~ Days + (Days | Subject)"),
    (SLEEP, "~ . - 1", "Reaction ~ 0 + Days + (Days | Subject)"),
    (SLEEP, "Reaction ~ 1", "Reaction ~ 1"),
    (SLEEP, "~ . * sex", "Reaction ~ (Days) * sex + (Days | Subject)"),
    ("y ~ t + (1 | id) + (0 + t | id)", "~ . - (0 + t | id)", "y ~ t + (1 | id)"),
    ("y ~ 1 + (1 + t + s || id)", "~ . - (0 + t | id)", "y ~ 1 + (1 + s || id)"),
    ("y ~ 1 + (1 + t + s || id)", "~ . - (1 | id)", "y ~ 1 + (0 + t + s || id)"),
    ("y ~ 1 + (1 + t || id)", "~ . - (t || id)", "y ~ 1"),
    ("y ~ x + (1 | a/b)", "~ . - (1 | b:a)", "y ~ x + (1 | a)"),
    ("y ~ x + (1 | a/b)", "~ . - (1 | a/b)", "y ~ x"),
    ("y ~ x + (1 | a) + (1 | b)", "~ . - (1 | a)", "y ~ x + (1 | b)"),
    ("y ~ 0 + a + (1 | g)", "~ . + 1", "y ~ a + (1 | g)"),
    ("y ~ a - 1", "~ . + b + 1", "y ~ a + b"),
    ("y ~ a*b", "~ . - a:b", "y ~ a*b - a:b"),
    ("y ~ a + b", "~ (.)^2", "y ~ ((a + b))^2"),
    ("y - base ~ x", "abs(.) ~ .", "abs(y - base) ~ x"),
    ("y ~ I(0.5 * x)", "~ . + np.log(z)", "y ~ I(0.5 * x) + np.log(z)"),
    ("y ~ `a b` + (1 | `g h`)", "~ . - `a b` - (1|`g h`) + z", "y ~ z"),
    ("y ~ (1 + `a b` || `g h`)", "~ . - (1|`g h`)", "y ~ 1 + (0 + `a b` || `g h`)"),
    ("y ~ poly(x, 2) + (1 | g)", "~ . - poly(x,2)", "y ~ 1 + (1 | g)"),
    ("y ~ x.1 + (1 | g)", "log(.) ~ . + x.2", "log(y) ~ x.1 + x.2 + (1 | g)"),
]


def parts(formula):
    """Response, fixed part and random terms without spaces; the order of fixed and random ones does not matter."""
    found = parse(formula)
    terms = {f"{term.expression} | {term.factor} in {term.whole}".replace(" ", "") for term in found.random}
    return found.response.replace(" ", ""), found.fixed.replace(" ", "").removeprefix("1+"), frozenset(terms)


@pytest.mark.parametrize(("old", "change", "expected"), CASES)
def test_the_formula_is_the_one_written_by_hand(old, change, expected):
    assert parts(updated(old, change)) == parts(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("~ . - (0 + Days | Subject)", "no random term"),
        ("~ . - (1 | sex)", "It has: '\\(Days \\| Subject\\)'"),
        (". + x", "one '~' is needed"),
        ("~ . - .", "takes everything out"),
        (3, "a string"),
    ],
)
def test_refusals_name_what_is_there(change, message):
    with pytest.raises(FormulaError, match=message):
        updated(SLEEP, change)
