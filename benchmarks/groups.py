"""Many groups: cubic random effects, 10 rows a group, against mixedlm and lme4 maximum likelihood."""

import argparse
import resource
import time

from peers import best_of, ratio, time_lme4, time_mixedlm

import pmlmm
from tests.problems import CURVES, cubic_curves


def seconds(time: float | None) -> str:
    """A time as text, nine characters wide."""
    return "        -" if time is None else f"{time:9.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--lme4-up-to", type=int, default=10_000, help="lme4 is slow beyond (minutes)")
    options = parser.parse_args()
    pmlmm.Model(CURVES, cubic_curves(50)).fit()  # load the kernels
    print(" groups    model      fit  summary   peak GB   mixedlm  ratio      lme4  ratio")
    for groups in options.groups:
        data = cubic_curves(groups)
        start = time.perf_counter()
        model = pmlmm.Model(CURVES, data)
        model.statistics.marginal  # noqa: B018
        built = time.perf_counter()
        fit = model.fit()
        fitted = time.perf_counter()
        fit.summary()
        done = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        ours = fitted - start
        if groups <= 10_000:
            ours = best_of(lambda data=data: pmlmm.Model(CURVES, data).fit(), 3)
        mixedlm = time_mixedlm(CURVES, data)
        lme4 = time_lme4(CURVES, data) if groups <= options.lme4_up_to else None
        print(
            f"{groups:7d} {built - start:8.3f} {fitted - built:8.3f} {done - fitted:8.3f} {peak:9.2f} "
            f"{seconds(mixedlm)} {ratio(ours, mixedlm)} {seconds(lme4)} {ratio(ours, lme4)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
