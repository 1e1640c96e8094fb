"""The ``pmlmm`` command."""

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import pandas as pd

    from pmlmm.fit import Fit

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
    fit.add_argument("data", help="name of a bundled data set, or path of a CSV (also .csv.gz) or Parquet file")
    fit.add_argument("formula", help="lme4 formula, in quotes")
    fit.add_argument("--out", metavar="FILE.nc", help="write the posterior DataTree as netCDF")
    fit.add_argument("--approximation", choices=("marginal", "joint"), default="marginal", help="default: marginal")
    fit.add_argument("--no-hyperprior", action="store_true", help="plain empirical Bayes, without the weak hyperprior")
    fit.add_argument("--ridge", action="store_true", help="shrink the formula's columns too, with one learned lambda")
    fit.add_argument("--no-standardize", action="store_true", help="leave the penalised columns as they are")
    fit.add_argument(
        "--penalized",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="wide block of penalised columns: a CSV or Parquet file with a row for every row of the data",
    )
    fit.add_argument("--weights", metavar="COLUMN", help="precision weights: residual variance sigma^2 / weight")
    fit.add_argument("--offset", metavar="COLUMN", help="known part of the linear predictor, in the units of y")
    fit.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="WORD",
        help="what stands for a missing value in CSV files, beside nothing at all and NA among numbers; repeatable",
    )
    fit.add_argument(
        "--untrusted", action="store_true", help="for a formula of a stranger: refuse it if it could run code"
    )
    fit.add_argument("--verbose", action="store_true", help="say what is eliminated how, and follow the search")
    fit.add_argument("--seed", type=int, default=0, help="of the importance draws; default: 0")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0; 1 after an error, which is printed to stderr; 130 after Ctrl-C; 141 where nobody reads the summary
        (``| head``).
    """
    options = _options(arguments)
    progress = _log if options.verbose else _progress()
    try:
        return _run(options, progress)
    except KeyboardInterrupt:
        progress("")
        return _failed("interrupted.", status=130)
    except MemoryError:
        progress("")
        return _failed("the memory of this machine is not enough.")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    try:
        return _parser().parse_args(arguments)
    except SystemExit as end:  # --help is printed but may not be written yet
        raise SystemExit(end.code or _print("", end="")) from None


def _run(options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    progress("loading PyMC")
    from pmlmm.errors import PmlmmError

    failure = None
    try:
        fit = _fit(options, progress)
        progress("drawing from the posterior")
        text = fit.summary()
    except PmlmmError as error:
        progress("")
        return _failed(error)
    try:
        text += _write(fit, options.out) if options.out is not None else ""
    except PmlmmError as error:  # said below: the summary has cost the time of a fit
        failure = error
    progress("")
    status = _print(text)
    return status if failure is None else _failed(failure)


def _fit(options: argparse.Namespace, progress: Callable[[str], None]) -> "Fit":
    blocks = _named_files(options.penalized)
    _check_files(options, blocks)
    from pmlmm.model import Model
    from pmlmm.priors.hyperprior import Hyperprior
    from pmlmm.priors.stated import Ridge

    data, penalized = _tables(options, blocks, progress)
    model = Model(
        options.formula,
        data,
        {"common": Ridge()} if options.ridge else None,
        penalized=penalized,
        standardize=not options.no_standardize,
        trusted=not options.untrusted,
        weights=options.weights,
        offset=options.offset,
    )
    progress(f"elimination: {model.structure}" if options.verbose else "learning the priors")
    hyperprior = None if options.no_hyperprior else Hyperprior()
    return model.fit(options.approximation, hyperprior=hyperprior, random_seed=options.seed, progress=progress)


def _named_files(given: list[str]) -> dict[str, str]:
    """The files of the penalised blocks by name."""
    from pmlmm.errors import OptionError

    files: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise OptionError(f"--penalized {text}: write a name and a file, e.g. --penalized genes=genes.parquet.")
        if name in files:
            raise OptionError(f"--penalized {name} is given twice ({files[name]} and {path}): choose two names.")
        files[name] = path
    return files


def _check_files(options: argparse.Namespace, blocks: dict[str, str]) -> None:
    """What would spoil a fit at its end: found out before it begins."""
    from pmlmm.datasets import names
    from pmlmm.datasets.reading import is_csv
    from pmlmm.errors import OptionError
    from pmlmm.files import netcdf_target

    inputs = [*([] if options.data in names() else [options.data]), *blocks.values()]
    if options.missing and not any(map(is_csv, inputs)):
        raise OptionError("--missing is for CSV files: a Parquet file and a bundled data set say what is missing.")
    if options.out is None:
        return
    for path in inputs:
        if _is_same(options.out, path):
            raise OptionError(f"--out {options.out} is the file {path} that is read; choose another name.")
    netcdf_target(options.out)


def _is_same(first: str, second: str) -> bool:
    """Whether two names are of one file, which exists."""
    with contextlib.suppress(OSError):
        return os.path.samefile(os.path.expanduser(first), os.path.expanduser(second))
    return False


def _tables(options: argparse.Namespace, blocks: dict[str, str], progress: Callable[[str], None]):
    """The data, and the penalised blocks by name."""
    from pmlmm.datasets import read

    used = " ".join([options.formula, options.weights or "", options.offset or ""])

    def note(column: str | None, text: str) -> None:
        if column is None or re.search(rf"(?<!\w){re.escape(column)}(?!\w)", used):
            progress("")
            _say(f"pmlmm: {text}")

    data = read(options.data, options.missing, note)
    return data, {name: _labelled(read(path, options.missing, note), data) for name, path in blocks.items()}


def _labelled(block: "pd.DataFrame", data: "pd.DataFrame") -> "pd.DataFrame":
    """The block with the row labels of the data where one of the files has none: then their order is all there is."""
    import pandas as pd

    without = isinstance(block.index, pd.RangeIndex) or isinstance(data.index, pd.RangeIndex)
    return block.set_axis(data.index) if without and len(block) == len(data) else block


def _write(fit: "Fit", path: str) -> str:
    from pmlmm.files import write_netcdf

    with _orderly_end():
        write_netcdf(fit.posterior, path)
    return f"\n\nPosterior written to {path}"


@contextlib.contextmanager
def _orderly_end():
    """SIGTERM and SIGHUP end the command by an exception, so that what is half written is taken away."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    kinds = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    mine = threading.current_thread() is threading.main_thread()  # others may not set handlers
    taken = [kind for kind in kinds if mine and signal.getsignal(kind) is signal.SIG_DFL]
    for kind in taken:
        signal.signal(kind, end)
    try:
        yield
    finally:
        for kind in taken:
            signal.signal(kind, signal.SIG_DFL)


def _print(text: str, end: str = "\n") -> int:
    """The exit status after printing: 141 where the reader has gone, 1 where there is no room."""
    if sys.stdout is None:
        return _failed("Cannot print: there is no standard output.")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except BrokenPipeError:
        _give_up(sys.stdout)
        return 128 + 13
    except OSError as error:
        _give_up(sys.stdout)
        return _failed(f"Cannot print: {error.strerror or error}.")
    return 0


def _give_up(stream: TextIO) -> None:
    """Nothing more is written: Python would fail again when it flushes the stream at its end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _failed(reason: object, status: int = 1) -> int:
    _say(f"pmlmm: {reason}")
    return status


def _say(line: str, end: str = "\n") -> None:
    """Write to stderr; where that is not possible there is nobody to be told."""
    if sys.stderr is None:
        return
    try:
        print(line, end=end, file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)


def _log(line: str) -> None:
    """Every line of progress on stderr."""
    if line:
        _say(line)


def _progress() -> Callable[[str], None]:
    """One line on a terminal's stderr that is rewritten; nothing when piped."""
    if sys.stderr is None or not sys.stderr.isatty():
        return lambda line: None
    return lambda line: _say("\r\x1b[2K" + line, end="")


if __name__ == "__main__":
    sys.exit(main())
