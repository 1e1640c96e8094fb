"""Many cases from the command line: ``uv run python -m tests.fuzz 10000 --first 0 --jobs 2``."""

import argparse
import sys
import time
from collections import Counter, defaultdict

from tests.fuzz.check import Outcome, check
from tests.fuzz.generate import case
from tests.fuzz.workers import run

_SHOWN = 12


def main() -> int:
    """Run the cases, report, and say with the exit code whether all is well."""
    options = _options()
    if options.show:
        return _show(options.first)
    outcomes = []
    begin = time.monotonic()
    for outcome in run(range(options.first, options.first + options.cases), options.jobs, options.limit):
        outcomes.append(outcome)
        for kind, detail in outcome.faults:
            last = (detail.strip().splitlines() or [""])[-1]
            print(f"case {outcome.seed}: {kind}: {last[:160]}", flush=True)
        if len(outcomes) % 100 == 0:
            failed = sum(bool(o.faults) for o in outcomes)
            print(f"-- {len(outcomes)} cases, {failed} fail, {time.monotonic() - begin:.0f} s", flush=True)
    return _report(outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("cases", type=int, nargs="?", default=100, help="number of cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a case may take")
    parser.add_argument("--show", action="store_true", help="describe the first case and run it here")
    return parser.parse_args()


def _show(seed: int) -> int:
    given = case(seed)
    print(given)
    print(given.data)
    outcome = check(seed)
    print(f"ends in: {outcome.end} after {outcome.seconds:.1f} s")
    for kind, detail in outcome.faults:
        print(f"FAULT {kind}\n{detail}")
    return int(bool(outcome.faults))


def _report(outcomes: list[Outcome]) -> int:
    ends = Counter(outcome.end for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.faults]
    seeds = defaultdict(list)
    for outcome in failed:
        for kind in dict.fromkeys(kind for kind, _ in outcome.faults):
            seeds[kind].append(outcome.seed)
    print(f"\n{len(outcomes)} cases: " + ", ".join(f"{number} {end}" for end, number in ends.most_common()))
    slowest = max(outcomes, key=lambda outcome: outcome.seconds, default=None)
    if slowest:
        print(f"slowest: case {slowest.seed}, {slowest.seconds:.1f} s")
    for kind, found in sorted(seeds.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(map(str, sorted(found)[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
        print(f"{len(found):5d}  {kind}: {shown}")
        print(f"       uv run python -m tests.fuzz --show --first {min(found)}")
    print(f"{len(failed)} of {len(outcomes)} cases fail")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
