"""Which hyperprior on A do real data speak for? Their evidence, everything else integrated out.

``python docs/studies/hyperprior_on_data.py`` fits nine models of five data sets under every hyperprior that
``structure_of_a.py`` compares on simulated data, and prints log p(y), the hyperparameters integrated out, less that
of the strongest pooling, sd 0.5: above 0, the data speak for the other one. It takes two minutes.
"""

from dataclasses import replace

import pandas as pd
import report
from common import RIDGE, read
from methods import STRONG
from parallel import replicate

import pmlmm

CUBIC = "{0} + {0}2 + {0}3"
MODELS = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "sleepstudy, days centred": "Reaction ~ t + (t | Subject)",
    "sleepstudy, cubic": f"Reaction ~ {CUBIC} + ({CUBIC} | Subject)".format("t"),
    "Orthodont": "distance ~ age + (age | Subject)",
    "Orthodont, age centred": "distance ~ t + (t | Subject)",
    "Oxboys": "height ~ age + (age | Subject)",
    "Oxboys, cubic": f"height ~ {CUBIC} + ({CUBIC} | Subject)".format("t"),
    "ergoStool": "effort ~ Type + (Type | Subject)",
    "Exam": "normexam ~ standLRT + (standLRT | school)",
}
TIMES = {"sleepstudy": "Days", "Orthodont": "age", "Oxboys": "age"}
HYPERPRIORS = {
    "sd 0.5": STRONG,
    "sd 0.7": replace(STRONG, pool_sd=0.7),
    "sd 1": replace(STRONG, pool_sd=1.0),
    "mean square, sd 0.5": replace(STRONG, pool_at="mean square"),
    "mean square, sd 0.7": replace(STRONG, pool_at="mean square", pool_sd=0.7),
    "default": pmlmm.Hyperprior(),
}


def load(name: str) -> pd.DataFrame:
    """A data set, with its time centred as ``t``, and the powers of that."""
    data = read(name)
    if name in TIMES:
        t = data[TIMES[name]] - data[TIMES[name]].mean()
        data = data.assign(t=t, t2=t**2, t3=t**3)
    return data


def one(name: str) -> dict:
    """Log-evidences of one model, and the largest of their Monte Carlo errors."""
    model = pmlmm.Model(MODELS[name], load(name.split(",")[0]), RIDGE)
    fits = {key: model.fit(hyperprior=prior).integrate() for key, prior in HYPERPRIORS.items()}
    evidence = {key: fit.log_evidence for key, fit in fits.items()}
    first = evidence["sd 0.5"]
    row = {"model": name, "log p(y), sd 0.5": first}
    row |= {key: value - first for key, value in evidence.items() if value is not first}
    return row | {"± at most": max(fit.log_evidence_psis_error for fit in fits.values())}


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 1)
    parser.add_argument("--small", action="store_true", help="one model only")
    options = parser.parse_args()
    names = ["ergoStool"] if options.small else list(MODELS)
    table = pd.DataFrame(replicate(one, [(name,) for name in names], fresh=options.fresh))
    total = table.drop(columns=["model", "± at most"]).sum().to_dict()
    table = pd.concat([table, pd.DataFrame([{"model": "all together"} | total])], ignore_index=True)
    caption = (
        "log p(y) with lambda, b and A integrated out (nats): pooled with sd 0.5, and what others add to it. "
        "sd: standard deviation that pools the logs of A's entries where columns are largest, or at their mean square; "
        "the median of eta - q + 1 is 7 but in the default."
    )
    report.save_table("hyperprior_on_data", table, options, caption)


if __name__ == "__main__":
    main()
