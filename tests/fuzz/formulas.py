"""Formulas of a case: those that make sense, and those that do not."""

from dataclasses import dataclass

import numpy as np

from tests.fuzz.dice import Dice
from tests.fuzz.tables import COVARIATES, FACTOR_COLUMNS, Columns

_SIGNS = "()|~+-*/:^`'\" .,01{}[]%#@=<>&!?;\\\n"


@dataclass(frozen=True)
class Formula:
    """A formula, the roles of the columns in it, and the response that it asks for (None: not known)."""

    text: object
    roles: set[str]
    response: np.ndarray | None = None


def draw_formula(dice: Dice, columns: Columns) -> Formula:
    """A formula that reads like an analyst's."""
    roles: set[str] = set()
    response, values = _response(dice, columns, roles)
    parts = [_fixed(dice, columns, roles) for _ in range(dice.number(0, 4))]
    parts = [dice.pick(["0", "-1", "1"]), *parts] if dice.chance(0.15) else parts
    random = _random_terms(dice, columns, roles)
    right = " + ".join([*parts, *random]).replace("+ -", "- ") or "1"
    text = f"{response} ~ {right}"
    return Formula(text if dice.chance(0.9) else text.replace(" ", ""), roles, values)


def _use(columns: Columns, roles: set[str], role: str) -> str:
    roles.add(role)
    return columns.quoted(role)


def _response(dice: Dice, columns: Columns, roles: set[str]) -> tuple[str, np.ndarray | None]:
    y = _use(columns, roles, "y")
    values = columns.values.get("y")
    if dice.chance(0.75):
        return y, values
    positive = values is not None and np.nanmin(values, initial=1.0) > 0
    logs = ["log"] if positive or dice.chance(0.1) else []
    kind = dice.pick(["square", "center", "difference", "half", "exp", "signed log", *logs])
    if kind == "difference":
        x = _use(columns, roles, "x")
        known = values is not None and "x" in columns.values
        return dice.pick([f"I({y} - {x})", f"{y} - {x}"]), values - columns.values["x"] if known else None
    return _transformed(kind, y, values)


def _transformed(kind: str, y: str, values: np.ndarray | None) -> tuple[str, np.ndarray | None]:
    if kind == "center":
        return f"scale({y})", None
    texts = {
        "log": f"log({y})", "square": f"I({y}**2)", "half": f"{y}/2", "exp": f"np.exp({y} / 10)",
        "signed log": f"np.sign({y}) * np.log1p(np.abs({y}))",
    }  # fmt: skip
    if values is None:
        return texts[kind], None
    with np.errstate(all="ignore"):
        signed = np.sign(values) * np.log1p(np.abs(values))
        made = {"log": np.log(values), "square": values**2, "half": values / 2, "exp": np.exp(values / 10)}
    return texts[kind], (made | {"signed log": signed})[kind]


_ONE = (
    "{0}", "{0}", "{0}", "I({0}**2)", "I({0}^2)", "I(-{0})", "I(10 * {0})", "poly({0}, 2)", "poly({0}, 2, raw=True)",
    "bs({0}, df=4)", "cs({0}, df=3)", "scale({0})", "center({0})", "log({0})", "np.log1p(np.abs({0}))", "np.exp({0})",
    "C({0})", "I({0} > 0)", "half({0})", "np.sqrt(np.abs({0}))", "{{{0} + 1}}", "({0})",
)  # fmt: skip
_ODD = (
    "{0} - {0}", "hashed({0}, levels=3)", "lag({0})", "offset({0})", "I({0}/0)", "nothing({0})", "text({0})",
    "broken({0})", "0*{0}", "2*{0}", "np.log({0})", "I('a')", "seven", "half", "{0}.sum()", "{0}[0]", "np.mean({0})",
    "ns({0}, 3)",
)  # fmt: skip
_TWO = ("{0}:{1}", "{0}*{1}", "({0} + {1})**2", "I({0}*{1})", "I({0} + {1})", "{0}/{1}", "{0} - {1}", "{0}%in%{1}")
_FACTOR = (
    "{0}", "{0}", "{0}", "C({0})", "C({0}, contr.sum)", "C({0}, contr.treatment)", "C({0}, contr.helmert)",
    "C({0}, contr.poly)", "C({0}, levels=['ash', 'Beech'])", "C({0}, contr.treatment(base='ash'))",
)  # fmt: skip


def _fixed(dice: Dice, columns: Columns, roles: set[str]) -> str:
    """One term of fixed effects."""
    kind = dice.pick(["covariate", "two", "factor", "mixed", "group", "many"], [0.45, 0.17, 0.23, 0.08, 0.03, 0.04])
    if kind == "two":
        return dice.pick(_TWO).format(*(_use(columns, roles, role) for role in dice.some(COVARIATES, 2, 2)))
    if kind == "mixed":
        x, f = dice.pick(COVARIATES), dice.pick(FACTOR_COLUMNS)
        return dice.pick(("{0}:{1}", "{0}*{1}")).format(*(_use(columns, roles, role) for role in (x, f)))
    if kind == "group":
        return _use(columns, roles, dice.pick("gh"))
    if kind == "many":  # more columns than rows, maybe
        x = _use(columns, roles, dice.pick(COVARIATES))
        return " + ".join(f"np.sin({k} * {x})" for k in range(1, dice.number(10, 90)))
    if dice.chance(0.04):
        return dice.pick(_ODD).format(_use(columns, roles, dice.pick(COVARIATES)))
    roles_of, forms = (FACTOR_COLUMNS, _FACTOR) if kind == "factor" else (COVARIATES, _ONE)
    weights = np.r_[np.full(3, 6.0), np.ones(len(forms) - 3)]
    return dice.pick(forms, weights).format(_use(columns, roles, dice.pick(roles_of)))


def _random_terms(dice: Dice, columns: Columns, roles: set[str]) -> list[str]:
    """Mostly one for a factor, since two with the same effects are refused."""
    terms: dict[str, tuple[str, set[str]]] = {}
    for number in range(dice.pick([0, 1, 2, 3], [0.07, 0.6, 0.28, 0.05])):
        own: set[str] = set()
        term = _random(dice, columns, own)
        terms[str(number) if dice.chance(0.1) else term.split("|")[-1]] = term, own
    roles.update(*(own for _, own in terms.values()))
    return [term for term, _ in terms.values()]


def _random(dice: Dice, columns: Columns, roles: set[str]) -> str:
    """One random-effect term."""
    bar = "||" if dice.chance(0.15) else "|"
    return f"({_slopes(dice, columns, roles)} {bar} {_grouping(dice, columns, roles)})"


_SLOPES = (
    "1", "{0}", "1 + {0}", "0 + {0}", "I({0}**2)", "poly({0}, 2)", "{0} + {1}", "{2}", "0 + {2}", "{0}:{2}",
    "scale({0})",
)  # fmt: skip


def _slopes(dice: Dice, columns: Columns, roles: set[str]) -> str:
    form = dice.pick(_SLOPES, [20, 8, 4, 3, 1, 1, 2, 2, 1, 1, 1])
    x, t = dice.some(COVARIATES, 2, 2)
    return _filled(columns, roles, form, (x, t, dice.pick(FACTOR_COLUMNS)))


def _filled(columns: Columns, roles: set[str], form: str, candidates: tuple[str, ...]) -> str:
    """The form with the names of the columns that it asks for."""
    named = {k: role for k, role in enumerate(candidates) if f"{{{k}}}" in form}
    return form.format(*(_use(columns, roles, named[k]) if k in named else "" for k in range(len(candidates))))


def _grouping(dice: Dice, columns: Columns, roles: set[str]) -> str:
    form = dice.pick(["{0}", "{1}", "{0}/{1}", "{0}:{1}", "{2}"], [0.6, 0.2, 0.1, 0.06, 0.04])
    return _filled(columns, roles, form, ("g", "h", "f"))


#: Formulas that nobody should write; columns have their plain names.
WEIRD = (
    "", " ", "~", "y", "y ~", "~ x", "~ (1|g)", "y ~ x ~ z", "y ~ (1|)", "y ~ (|g)", "y ~ (|)", "y ~ (1|g", "y ~ 1|g)",
    "y ~ x | g", "y ~ (1|||g)", "y ~ (1|g|h)", "y ~ x * (1|g)", "y ~ -(1|g)", "y ~ (1|g) - (1|g)", "y ~ (1|g)^2",
    "y ~ ((1|g))", "y ~ (1|(g))", "y ~ (1|g+h)", "y ~ (1|g*h)", "y ~ (1|C(g))", "y ~ (1|-g)", "y ~ (1|1)",
    "y ~ (1|'g')", "y ~ .", "y ~ . - x", "2*y ~ x + (1|g)", "y/10 ~ x + (1|g)", "y^2 ~ x + (1|g)", "y**2 ~ x + (1|g)",
    "-y ~ (1|g)", "y + x ~ t", "y - x ~ t + (1|g)", "y:x ~ t", "y, x ~ t", "cbind(y, x) ~ t", "(y) ~ x + (1|g)",
    "`y` ~ x + (1|`g`)", "'y' ~ x", "1 ~ x", "0 ~ x", "y ~ 1e400*x", "y ~ 0", "y ~ 0 + 0", "y ~ -1", "y ~ 1 - 1",
    "y ~ x - x", "y ~ +", "y ~ x +", "y ~ x + + t", "y ~ x - - t", "y ~ + x", "y ~ x ** 2", "y ~ x ** t", "y ~ x ** 0",
    "y ~ x ** 99", "y ~ (x + t)^2", "y ~ (x + t + z)**3 + (1|g)", "y ~ x%in%g", "y ~ x/t", "y ~ nosuch",
    "y ~ nosuch(x)", "y ~ ns(x)", "y ~ factor(k)", "y ~ sqrt(x)", "y ~ offset(x)", "y ~ ar1(x|g)", "y ~ us(1|g)",
    "y ~ s(x)", "y ~ te(x, t)", "y ~ I()", "y ~ I(x", "y ~ poly(x, 99)", "y ~ poly(x, -1)", "y ~ poly(x, 'a')",
    "y ~ poly()", "y ~ bs(x, df=1)", "y ~ bs(x, df=1000)", "y ~ bs(x)", "y ~ cr(x, df=1)", "y ~ te(x)",
    "y ~ {x} + (1|g)", "y ~ {x + t} + (1|g)", "y ~ [x]", "y ~ x[0]", "y ~ x.sum()", "y ~ x.values + (1|g)",
    "y ~ np.nosuch(x)", "y ~ np.sin(x) + (1|g)", "y ~ np", "y ~ I(x > 0) + (1|g)", "y ~ I(x == t)", "y ~ exit()",
    "y ~ I(exit(3))", "y ~ I(print('z'))", "y ~ I(None)", "y ~ I('a')", "y ~ I(1)", "y ~ I(1/0)", "y ~ lambda: 0",
    "y ~ I(lambda: 0)", "y ~ x if x else t", "y ~ x; t", "y ~ x # comment", "y ~ x\n + t + (1|g)", "y ~ \t x + (1|g)",
    "y ≈ x", "y ~ x”", "y ~ x\0", "y ~ '", "y ~ `", "y ~ ``", "y ~ `x", "y ~ C(``)", "y ~ (((x", "y ~ x)))",
    "y ~ (0|g)", "y ~ (0 + 1|g)", "y ~ (x - 1|g)", "y ~ (-1 + x|g)", "y ~ (1|g/h/k)", "y ~ (1|g/g)", "y ~ (1|g:g)",
    "y ~ (1|g) + (1|g)", "y ~ (x|g) + (x|g)", "y ~ (x|g) + (1|g)", "y ~ (1|g) + (0+x|g)", "y ~ (x||g) + (1|h)",
    "y ~ x:x", "y ~ x*x", "y ~ 5", "y ~ 2 + x", "y ~ x + 0 + (1|g)", "y ~ 1 + 1", "y ~ 0 + 1 + (1|g)",
    "y|x ~ t + (1|g)", "y | weights(x) ~ t + (1|g)", "y ~ y", "y ~ y + (1|g)", "log(y) ~ y", "y ~ (y|g)", "y ~ (1|y)",
    "y ~ g + (1|g)", "y ~ x + (x|x)", "y ~ 'x'", 'y ~ "x"', "y ~ x@t", "y ~ x & t", "y ~ x == t", "y ~ x, t", "y ~ !x",
    "y ~ ~x", "y ~ x $ t", "y ~ (x, t)", "y ~ x\\t", "y ~ (1 | g) + ", "y ~ ()", "y ~ () + (1|g)", "y ~ (x) + (1|g)",
    "y ~ ((x)) + (1|g)", "y ~ x + (1 g)", "y ~ (1 | g h)", "y ~ poly(x, 2):f + (1|g)", "y ~ f:k + (1|g)",
    "y ~ 0 + f:k + (1|g)", "y ~ f*k + (f|g)", "y ~ (f||g)", "y ~ (f:k|g)", "y ~ C(x) + (1|g)", "y ~ C(t) + (1|g)",
    "y ~ (C(t)|g)", "f ~ x + (1|g)", "g ~ x + (1|g)", "I(y) ~ x", "poly(y, 2) ~ x", "C(f) ~ x",
    "y ~ x + (1|g) + x:(1|g)", "y ~ (1|g)(1|h)", "y ~ (1|g)*(1|h)", "y ~ I(x|t)", "y ~ I((x > 0) | (t > 0))",
    "y ~ lag(x)", "y ~ hashed(f)", "y ~ Q('x')", "y ~ x + I(x) + (1|g)", "y ~ nothing(x)", "y ~ text(x)",
    "y ~ broken(x)", "y ~ half + (1|g)", "y ~ I(half(x)) + (1|g)", "y ~ seven*x + (1|g)", "y ~ I(seven*x) + (1|g)",
    "y ~ seven", "y ~ (seven|g)", "y ~ (broken(x)|g)", "y ~ (text(x)|g)", "y ~ (nothing(x)|g)", "broken(y) ~ x",
    "nothing(y) ~ x", "text(y) ~ x", "y ~ x + (1|nosuch)", "nosuch ~ x", "Y ~ x", "y ~ X + (1|g)", "y ~ (1|g/nosuch)",
    "y ~ half(nosuch)",
)  # fmt: skip
_LONG = (
    lambda: "y ~ " + " + ".join(["x"] * 2000) + " + (1|g)",
    lambda: "y ~ " + "x" * 20_000,
    lambda: "y ~ " + "(" * 150 + "x" + ")" * 150,
    lambda: "y ~ " + "I(" * 300 + "x" + ")" * 300,
    lambda: "y ~ " + " + ".join(["(1|g)"] * 200),
    lambda: "y ~ " + " + ".join(f"I(x**{k})" for k in range(2, 100)),
    lambda: "y ~ " + "+" * 5000 + " x",
    lambda: "y ~ " + " * ".join("xtz"),
    lambda: "y ~ x + (1|" + "/".join("ghfk") + ")",
    lambda: "y ~ (" + " + ".join(f"I(x**{k})" for k in range(1, 8)) + "|g)",
    lambda: "y ~ " + "-" * 3001 + "x",
    lambda: "y" * 3000 + " ~ x",
    lambda: None,
    lambda: 5,
    lambda: b"y ~ x",
    lambda: ["y ~ x"],
)


def draw_weird(dice: Dice, regular: Formula) -> Formula:
    """A formula from the list, an endless one, or a regular one with typing errors."""
    kind = dice.pick(["listed", "long", "typing errors"], [0.55, 0.07, 0.38])
    if kind == "listed":
        return Formula(dice.pick(WEIRD), set())
    if kind == "long":
        return Formula(dice.pick(_LONG)(), set())
    text = regular.text
    for _ in range(dice.number(1, 3)):
        text = _mistyped(dice, text)
    return Formula(text, set())


def _mistyped(dice: Dice, text: str) -> str:
    if not text:
        return text
    at = dice.number(0, len(text) - 1)
    end = dice.number(at, min(len(text), at + 12))
    kind = dice.pick(["drop", "insert", "repeat", "drop some", "swap"])
    if kind == "insert":
        return text[:at] + dice.pick(_SIGNS) + text[at:]
    if kind == "swap":
        return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
    if kind == "repeat":
        return text[:end] + text[at:]
    return text[:at] + text[(end if kind == "drop some" else at + 1) :]
