"""sleepstudy in a warm process: build the model and fit it, against mixedlm and lme4."""

from peers import best_of, ratio, time_lme4, time_mixedlm

import pmlmm

FORMULA = "Reaction ~ Days + (Days | Subject)"


def main() -> None:
    data = pmlmm.datasets.load("sleepstudy")

    def timed(number: int, **options: object) -> float:
        return best_of(lambda: pmlmm.Model(FORMULA, data).fit(**options), number)

    timed(1)
    ours, plug_in, laplace = timed(10), timed(10, integrate=False), timed(10, integrate=False, refine=False)
    mixedlm, lme4 = time_mixedlm(FORMULA, data, 10), time_lme4(FORMULA, data, 10)
    print(f"pmlmm, hyperparameters integrated out  {ours:.3f} s   ratio {ratio(ours, plug_in)}")
    print(f"pmlmm, hyperparameters learned         {plug_in:.3f} s")
    print(f"pmlmm, Laplace evidence only           {laplace:.3f} s")
    for name, theirs in (("mixedlm", mixedlm), ("lme4", lme4)):
        if theirs is not None:
            print(f"{name + ', plain maximum likelihood':38s} {theirs:.3f} s   ratio {ratio(ours, theirs)}")


if __name__ == "__main__":
    main()
