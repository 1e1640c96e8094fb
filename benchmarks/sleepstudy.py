"""sleepstudy in a warm process: build the model and fit it, against mixedlm and lme4."""

from peers import best_of, ratio, time_lme4, time_mixedlm

import pmlmm

FORMULA = "Reaction ~ Days + (Days | Subject)"


def main() -> None:
    data = pmlmm.datasets.load("sleepstudy")
    best_of(lambda: pmlmm.Model(FORMULA, data).fit(), 1)
    ours = best_of(lambda: pmlmm.Model(FORMULA, data).fit(), 10)
    laplace = best_of(lambda: pmlmm.Model(FORMULA, data).fit(refine=False), 10)
    mixedlm, lme4 = time_mixedlm(FORMULA, data, 10), time_lme4(FORMULA, data, 10)
    print(f"pmlmm, all hyperparameters learned     {ours:.3f} s")
    print(f"pmlmm, Laplace evidence only           {laplace:.3f} s")
    integrated = best_of(lambda: pmlmm.Model(FORMULA, data).fit(integrate=True), 10)
    print(f"pmlmm, hyperparameters integrated out  {integrated:.3f} s   ratio {ratio(integrated, ours)}")
    for name, theirs in (("mixedlm", mixedlm), ("lme4", lme4)):
        if theirs is not None:
            print(f"{name + ', plain maximum likelihood':38s} {theirs:.3f} s   ratio {ratio(ours, theirs)}")


if __name__ == "__main__":
    main()
