"""Arguments of the ``pmlmm`` command."""

import argparse
from typing import Any

from pmlmm.terminal import printed

# Nothing heavy here: ``pmlmm --help`` answers at once.
Commands = Any  # argparse does not say the class of what add_subparsers returns


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """What was asked for; help and usage errors end the command."""
    try:
        return _parser().parse_args(arguments)
    except SystemExit as end:  # --help is printed but may not be written yet
        raise SystemExit(end.code or printed("", end="")) from None


class _Version(argparse.Action):
    """Look the version up when it is asked for, and not before."""

    def __init__(self, **given: Any):
        super().__init__(nargs=0, **given)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        parser.exit(printed(f"pmlmm {version('pmlmm')}"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmlmm", description="Linear mixed models whose priors are learned from the data."
    )
    parser.add_argument("--version", action=_Version, help="print the version and end")
    parser.set_defaults(verbose=False)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_fit(commands)
    _add_predict(commands)
    _add_report(commands)
    _add_compare(commands)
    return parser


def _add_fit(commands: Commands) -> None:
    fit = commands.add_parser(
        "fit",
        help="fit a model and print its summary",
        description="Fit a model and print its summary.",
        epilog='example: pmlmm fit sleepstudy "Reaction ~ Days + (Days | Subject)"',
    )
    fit.add_argument("data", help="name of a bundled data set, or path of a CSV (also .csv.gz) or Parquet file")
    fit.add_argument("formula", help="lme4 formula, in quotes")
    fit.add_argument("--save", metavar="FILE.nc", help="write the fit, for predict, report and pmlmm.load()")
    fit.add_argument("--out", metavar="FILE.nc", help="write draws from the posterior for ArviZ, as netCDF")
    fit.add_argument("--approximation", choices=("marginal", "joint"), default="marginal", help="default: marginal")
    fit.add_argument("--no-hyperprior", action="store_true", help="plain empirical Bayes, without the weak hyperprior")
    fit.add_argument("--ridge", action="store_true", help="shrink the formula's columns too, with one learned lambda")
    fit.add_argument("--no-standardize", action="store_true", help="leave the penalised columns as they are")
    _add_files(fit)
    fit.add_argument("--weights", metavar="COLUMN", help="precision weights: residual variance sigma^2 / weight")
    fit.add_argument("--offset", metavar="COLUMN", help="known part of the linear predictor, in the units of y")
    fit.add_argument(
        "--untrusted", action="store_true", help="for a formula of a stranger: refuse it if it could run code"
    )
    fit.add_argument("--verbose", action="store_true", help="say what is eliminated how, and follow the search")
    fit.add_argument("--seed", type=int, default=0, help="of the importance draws; default: 0")


def _add_predict(commands: Commands) -> None:
    predict = commands.add_parser(
        "predict",
        help="predict rows of a table from a saved fit",
        description="Predict rows of a table from a fit that was written by fit --save: mean, sd and interval as CSV.",
        epilog="example: pmlmm predict fit.nc new.csv --kind response --groups new",
    )
    _add_saved(predict)
    predict.add_argument("data", help="name of a bundled data set, or path of a CSV (also .csv.gz) or Parquet file")
    predict.add_argument("--out", metavar="FILE.csv", help="write there, not to the standard output")
    predict.add_argument("--kind", choices=("mean", "response"), default="mean", help="default: mean")
    predict.add_argument(
        "--groups",
        choices=("known", "new", "none"),
        default="known",
        help="groups that the fit has seen, new ones with effects of their own, or no random effects; default: known",
    )
    predict.add_argument("--interval", type=float, default=0.95, metavar="P", help="its probability; default: 0.95")
    _add_files(predict)


def _add_report(commands: Commands) -> None:
    report = commands.add_parser(
        "report",
        help="write a saved fit as an HTML page",
        description="Write a fit that was saved by fit --save as one self-contained HTML page.",
    )
    _add_saved(report)
    report.add_argument("out", metavar="FILE.html", help="where it is written")


def _add_compare(commands: Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="set saved fits of the same rows side by side",
        description="Set saved fits of the same response and rows side by side: evidence, and left-out groups.",
    )
    compare.add_argument("fits", metavar="FIT.nc", nargs="+", help="what fit --save or fit.save() wrote; two or more")
    compare.add_argument("--trusted", action="store_true", help="evaluate their formulas even if these can run code")
    compare.add_argument("--no-logo", action="store_true", help="evidence alone, no groups left out")


def _add_saved(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("fit", metavar="FIT.nc", help="what fit --save or fit.save() wrote")
    parser.add_argument("--trusted", action="store_true", help="evaluate its formula even if that can run code")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--penalized",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="wide block of penalised columns: a CSV or Parquet file with a row for every row of the data",
    )
    parser.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="WORD",
        help="what stands for a missing value in CSV files, beside nothing at all and NA among numbers; repeatable",
    )
