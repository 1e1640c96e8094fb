"""The ``pmlmm`` command."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

# Nothing heavy here: ``pmlmm --help`` answers at once.


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmlmm", description="Linear mixed models whose priors are learned from the data."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fit = commands.add_parser(
        "fit",
        help="fit a model and print its summary",
        description="Fit a model and print its summary.",
        epilog='example: pmlmm fit sleepstudy "Reaction ~ Days + (Days | Subject)"',
    )
    fit.add_argument("data", help="name of a bundled data set, or path of a CSV or Parquet file")
    fit.add_argument("formula", help="lme4 formula, in quotes")
    fit.add_argument("--out", type=Path, metavar="FILE.nc", help="write the posterior DataTree as netCDF")
    fit.add_argument("--approximation", choices=("marginal", "joint"), default="marginal", help="default: marginal")
    fit.add_argument("--no-hyperprior", action="store_true", help="plain empirical Bayes, without the weak hyperprior")
    fit.add_argument("--no-standardize", action="store_true", help="leave the penalised columns as they are")
    fit.add_argument(
        "--penalized",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="wide block of penalised columns: a CSV or Parquet file with a row for every row of the data",
    )
    fit.add_argument("--verbose", action="store_true", help="say what is eliminated how, and follow the search")
    fit.add_argument("--seed", type=int, default=0, help="of the importance draws; default: 0")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0, or 1 after an error that is printed to stderr."""
    options = _parser().parse_args(arguments)
    progress = _log if options.verbose else _progress()
    progress("loading PyMC")
    from pmlmm.errors import PmlmmError

    try:
        text = _fit(options, progress)
    except PmlmmError as error:
        progress("")
        print(f"pmlmm: {error}", file=sys.stderr)
        return 1
    progress("")
    print(text)
    return 0


def _fit(options: argparse.Namespace, progress: Callable[[str], None]) -> str:
    if options.out is not None and options.out.is_dir():
        from pmlmm.errors import DataError

        raise DataError(f"--out {options.out} is a folder; give the name of a file in it.")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        from pmlmm.errors import DataError

        raise DataError(f"--out {options.out}: the folder {options.out.absolute().parent} does not exist.")
    from pmlmm.datasets import read
    from pmlmm.model import Model
    from pmlmm.priors import Hyperprior

    model = Model(
        options.formula,
        read(options.data),
        penalized={name: read(path) for name, path in map(_named_file, options.penalized)},
        standardize=not options.no_standardize,
    )
    progress(f"elimination: {model.structure}" if options.verbose else "learning the priors")
    hyperprior = None if options.no_hyperprior else Hyperprior()
    fit = model.fit(options.approximation, hyperprior=hyperprior, random_seed=options.seed, progress=progress)
    progress("drawing from the posterior")
    text = fit.summary()
    if options.out is not None:
        fit.posterior.to_netcdf(options.out, engine="h5netcdf")
        text += f"\n\nPosterior written to {options.out}"
    return text


def _named_file(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        from pmlmm.errors import DataError

        raise DataError(f"--penalized {text}: write a name and a file, e.g. --penalized genes=genes.parquet.")
    return name, path


def _log(line: str) -> None:
    """Every line of progress on stderr."""
    if line:
        print(line, file=sys.stderr, flush=True)


def _progress():
    """One line on a terminal's stderr that is rewritten; nothing when piped."""
    if not sys.stderr.isatty():
        return lambda line: None

    def show(line: str) -> None:
        sys.stderr.write("\r\x1b[2K" + line)
        sys.stderr.flush()

    return show


if __name__ == "__main__":
    sys.exit(main())
