import pytest

from pmlmm.design.formula import RandomTerm, parse
from pmlmm.errors import FormulaError


@pytest.mark.parametrize(
    ("formula", "fixed", "random"),
    [
        ("y ~ x + (1 | g)", "x", [("1", "g")]),
        ("y ~ (1 + t || g) + x*w - 1", "x*w - 1", [("1", "g"), ("0 + t", "g")]),
        ("y ~ (t + I(t**2) || g)", "1", [("1", "g"), ("0 + t", "g"), ("0 + I(t ** 2)", "g")]),
        ("y ~ a*(b + c) + (0 + poly(t, 2) | `my g`)", "a*(b + c)", [("0 + poly(t, 2)", "my g")]),
        ("y ~ I(a | b) + (1 | g) + (0 + t | g)", "I(a | b)", [("1", "g"), ("0 + t", "g")]),
        ("y ~ 0 + x", "0 + x", []),
    ],
)
def test_bars_are_split_and_the_rest_is_left(formula, fixed, random):
    parsed = parse(formula)
    assert parsed.response == "y"
    assert parsed.fixed == fixed
    assert list(parsed.random) == [RandomTerm(expression, (column,)) for expression, column in random]


@pytest.mark.parametrize(
    ("factor", "factors"),
    [
        ("a/b", [("a",), ("a", "b")]),
        ("a/b/c", [("a",), ("a", "b"), ("a", "b", "c")]),
        ("a:b", [("a", "b")]),
        ("`a b`/c", [("a b",), ("a b", "c")]),
        ("a/b:c", [("a",), ("a", "b", "c")]),
    ],
)
def test_nested_factors_are_expanded(factor, factors):
    assert parse(f"y ~ x + (1 | {factor})").random == tuple(RandomTerm("1", columns) for columns in factors)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y", "needs one response"),
        ("~ x", "needs one response"),
        ("y ~ x | g", "needs parentheses"),
        ("y ~ x * (1 | g)", "can only be added"),
        ("y ~ x - (1 | g)", "subtracted"),
        ("y ~ (1 | a/)", "name of one column"),
        ("y ~ (1 | a/a)", "names a column twice"),
        ("y ~ (1 | a | b)", "several bars"),
        ("y ~ ( | g)", "nothing before its bar"),
        ("y ~ (1 | g", "Unclosed"),
        ("y ~ x) + (1 | g)", "Unbalanced"),
        ("y ~ (1 | log(g))", "name of one column"),
    ],
)
def test_errors_say_what_to_do(formula, words):
    with pytest.raises(FormulaError, match=words):
        parse(formula)


def test_formula_must_be_text():
    with pytest.raises(FormulaError, match="must be a string"):
        parse(3)
