"""The summary that printing a first fit shows, as the tutorial has it: ``python docs/studies/first_summary.py``."""

import report

import pmlmm


def main() -> None:
    """Fit, print, write."""
    options = report.parser(__doc__, 1).parse_args()
    data = pmlmm.datasets.load("sleepstudy")
    text = str(pmlmm.Model("Reaction ~ Days + (Days | Subject)", data).fit())
    print(text)
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / "first_summary.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
