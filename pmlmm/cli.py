"""The ``pmlmm`` command."""

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pmlmm.cli_options import options_of
from pmlmm.terminal import failed, log, orderly_end, printed, progress_line, say

if TYPE_CHECKING:
    import pandas as pd

    from pmlmm.fit import Fit

# Nothing heavy here: ``pmlmm --help`` answers at once.


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0; 1 after an error, which is printed to stderr; 130 after Ctrl-C; 141 where nobody reads the summary
        (``| head``).
    """
    options = options_of(arguments)
    progress = log if options.verbose else progress_line()
    try:
        return _run(options, progress)
    except KeyboardInterrupt:
        progress("")
        return failed("interrupted.", status=130)
    except MemoryError:
        progress("")
        return failed("the memory of this machine is not enough.")


def _run(options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    progress("loading")
    from pmlmm.errors import PmlmmError

    try:
        return _COMMANDS[options.command](options, progress)
    except PmlmmError as error:
        progress("")
        return failed(error)


def _run_fit(options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    from pmlmm.errors import PmlmmError

    failure = None
    fit = _fit(options, progress)
    progress("drawing from the posterior")
    text = fit.summary()
    try:
        for part in _written(fit, options):
            text += part
    except PmlmmError as error:  # said below: the summary has cost the time of a fit
        failure = error
    progress("")
    status = printed(text)
    return status if failure is None else failed(failure)


def _run_predict(options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    from pandas import RangeIndex

    from pmlmm.design.label_types import text_columns
    from pmlmm.errors import DataError
    from pmlmm.files import target_of, write
    from pmlmm.model import load

    blocks = _named_files(options.penalized)
    _refuse_idle_missing(options, blocks)
    target = None if options.out is None else target_of(options.out, (".csv",), "CSV", "predictions")
    fit = load(options.fit, trusted=options.trusted)
    used = [fit.model.formula, *fit.model.design.given.columns]
    data, penalized = _tables(options, blocks, used, progress, text_columns(fit.model.design.table.frame))
    progress("predicting")
    chosen = {"kind": options.kind, "groups": options.groups, "interval": options.interval}
    try:
        table = fit.predict(data, penalized=penalized or None, **chosen)
    except DataError as error:
        raise DataError(re.sub(r"predict\(groups='(\w+)'\)", r"--groups \1", str(error))) from error
    text = table.to_csv(index=not isinstance(table.index, RangeIndex))
    progress("")
    if target is None:
        return printed(text, end="")
    with orderly_end():
        write(text.encode(), options.out, target)
    return 0


def _run_report(options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    from pmlmm.model import load

    fit = load(options.fit, trusted=options.trusted)
    progress("drawing pictures")
    with orderly_end():
        fit.report(options.out)
    progress("")
    return 0


def _run_compare(options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    from pmlmm.errors import OptionError
    from pmlmm.fit import compare_models
    from pmlmm.model import load

    if len(set(options.fits)) < max(len(options.fits), 2):
        raise OptionError("compare: give two or more different files of saved fits.")
    fits = {path: load(path, trusted=options.trusted) for path in options.fits}
    progress("leaving groups out")
    text = repr(compare_models(fits, logo=not options.no_logo))
    progress("")
    return printed(text)


_COMMANDS = {"fit": _run_fit, "predict": _run_predict, "report": _run_report, "compare": _run_compare}


def _fit(options: argparse.Namespace, progress: Callable[[str], None]) -> "Fit":
    blocks = _named_files(options.penalized)
    _check_files(options, blocks)
    from pmlmm.model import Model
    from pmlmm.priors.hyperprior import Hyperprior
    from pmlmm.priors.stated import Ridge

    used = [options.formula, *(name for name in (options.weights, options.offset) if name)]
    data, penalized = _tables(options, blocks, used, progress)
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
    from pmlmm.errors import OptionError
    from pmlmm.files import netcdf_target

    inputs = _refuse_idle_missing(options, blocks)
    given = {"--out": options.out, "--save": options.save}
    for name, target in given.items():
        for path in inputs if target is not None else []:
            if _is_same(target, path):
                raise OptionError(f"{name} {target} is the file {path} that is read; choose another name.")
    targets = [netcdf_target(target) for target in given.values() if target is not None]
    if len(set(targets)) < len(targets):
        raise OptionError(f"--out and --save are both {options.out}: choose two names.")


def _refuse_idle_missing(options: argparse.Namespace, blocks: dict[str, str]) -> list[str]:
    """The files that are read; words for missing values need one of CSV."""
    from pmlmm.datasets import names
    from pmlmm.datasets.reading import is_csv
    from pmlmm.errors import OptionError

    inputs = [*([] if options.data in names() else [options.data]), *blocks.values()]
    if options.missing and not any(map(is_csv, inputs)):
        raise OptionError("--missing is for CSV files: a Parquet file and a bundled data set say what is missing.")
    return inputs


def _is_same(first: str, second: str) -> bool:
    """Whether two names are of one file, which exists."""
    with contextlib.suppress(OSError):
        return os.path.samefile(os.path.expanduser(first), os.path.expanduser(second))
    return False


def _tables(
    options: argparse.Namespace,
    blocks: dict[str, str],
    used: Iterable[str],
    progress: Callable[[str], None],
    text: Iterable[str] = (),
):
    """The data, columns of ``text`` as that, and the penalised blocks by name.

    What reading has to say is said of columns that are ``used`` alone.
    """
    from pmlmm.datasets import read

    mentioned = " ".join(used)

    def note(column: str | None, sentence: str) -> None:
        if column is None or re.search(rf"(?<!\w){re.escape(column)}(?!\w)", mentioned):
            progress("")
            say(f"pmlmm: {sentence}")

    data = read(options.data, options.missing, note, text)
    return data, {name: _labelled(read(path, options.missing, note), data) for name, path in blocks.items()}


def _labelled(block: "pd.DataFrame", data: "pd.DataFrame") -> "pd.DataFrame":
    """The block with the row labels of the data where one of the files has none: then their order is all there is."""
    import pandas as pd

    without = isinstance(block.index, pd.RangeIndex) or isinstance(data.index, pd.RangeIndex)
    return block.set_axis(data.index) if without and len(block) == len(data) else block


def _written(fit: "Fit", options: argparse.Namespace) -> Iterator[str]:
    """Write what was asked for, and say so one by one."""
    from pmlmm.files import write_netcdf

    if options.save is not None:  # first, as the other can be made from it
        with orderly_end():
            fit.save(options.save)
        yield f"\n\nFit written to {options.save}"
    if options.out is not None:
        with orderly_end():
            write_netcdf(fit.posterior, options.out)
        yield f"\n\nPosterior written to {options.out}"


if __name__ == "__main__":
    sys.exit(main())
