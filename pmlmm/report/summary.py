"""Summaries as plain text."""

import numpy as np
import pandas as pd

from pmlmm.design.design import Design
from pmlmm.design.wide import WideBlock
from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.inference.integrate import Integrated
from pmlmm.posterior.source import Posterior
from pmlmm.priors.search_space import Space
from pmlmm.report.describe import describe_model
from pmlmm.report.text import aligned, number

_ENDS = (0.025, 0.975)
_MOST_ROWS = 20
_MOST_WIDE = 5
# Penalised columns that correlate more than this are named; more columns than this are not compared.
_NEARLY_COLLINEAR = 0.999
_MOST_COMPARED = 500
# A search that ends with a larger gradient (nats) has not arrived.
_STEEP = 0.5


def summarize(posterior: Posterior, hyperparameters: pd.DataFrame) -> str:
    """The summary that printing a fit shows."""
    sections = [
        describe_model(posterior.problem),
        _hyperparameters(hyperparameters, posterior.about_hyperparameters),
        _estimates(posterior),
        _evidence(posterior),
        _footnotes(posterior),
    ]
    return "\n\n".join(section for section in sections if section)


def _hyperparameters(table: pd.DataFrame, about: str) -> str:
    if table.empty:
        return ""
    rows = [
        (name, number(row.value), number(row.lower), number(row.upper), row.state)
        for name, row in zip(table.index, table.itertuples(), strict=True)
    ]
    return f"Hyperparameters ({about})\n" + aligned([("", "value", "lower", "upper", "state"), *rows], text=(0, 4))


def _estimates(posterior: Posterior) -> str:
    mean, draws, design = posterior.mean, posterior.without_effects, posterior.design
    text = _fixed_effects(mean["beta"].to_numpy(), draws["beta"].to_numpy(), design)
    for block in design.wide:
        text += ["", *_wide_block(posterior, block)]
    text += ["", "Random effects (posterior mean of Sigma, as sd and correlations; 95% intervals of the sds)"]
    rows: list[tuple[str, ...]] = [("", "sd", "2.5%", "97.5%", "correlations")]
    for term in design.terms:
        Sigma = mean[f"Sigma_{term.name}"].to_numpy()
        sds = np.sqrt(np.diag(Sigma))
        variances = np.diagonal(draws[f"Sigma_{term.name}"].to_numpy(), axis1=-2, axis2=-1)
        ends = np.sqrt(np.quantile(variances, _ENDS, axis=(0, 1))).T
        for a, name in enumerate(term.coefficients):
            correlations = " ".join(f"{Sigma[a, b] / sds[a] / sds[b]:6.2f}" for b in range(a))
            rows.append((f"{term.name} {name}", *map(number, (sds[a], *ends[a])), correlations))
    ends = np.quantile(draws["sigma"].to_numpy(), _ENDS)
    rows.append(("sigma (residual)", *map(number, (float(mean["sigma"]), *ends)), ""))
    text.append(aligned(rows, text=(0, 4)))
    return "\n".join(text)


def _fixed_effects(mean: np.ndarray, draws: np.ndarray, design: Design) -> list[str]:
    if not design.coefficients:
        return ["Fixed effects: none"]
    low, high = np.quantile(draws, _ENDS, axis=(0, 1))
    sd = np.std(draws, axis=(0, 1), ddof=1)
    shown = range(min(len(design.coefficients), _MOST_ROWS))
    rows = [(str(design.coefficients[j]), *map(number, (mean[j], sd[j], low[j], high[j]))) for j in shown]
    text = ["Fixed effects (posterior mean, sd, 95% interval)"]
    text.append(aligned([("", "mean", "sd", "2.5%", "97.5%"), *rows], text=(0,)))
    if len(design.coefficients) > _MOST_ROWS:
        text.append(f"  ... and {len(design.coefficients) - _MOST_ROWS} more in fit.mean['beta']")
    return text


def _wide_block(posterior: Posterior, block: WideBlock) -> list[str]:
    """The coefficients of a block that stand out most."""
    name = f"beta_{block.name}"
    mean, sd = posterior.mean[name].to_numpy(), posterior.sd[name].to_numpy()
    first = np.argsort(-np.abs(mean / sd), kind="stable")[:_MOST_WIDE]
    rows = [(str(block.labels[j]), *map(number, (mean[j], sd[j], mean[j] / sd[j]))) for j in first]
    return [
        f"{block.name}: {block.p} coefficients in fit.mean['{name}'] and fit.sd['{name}']; largest |mean / sd|",
        aligned([("", "mean", "sd", "ratio"), *rows], text=(0,)),
    ]


def _evidence(posterior: Posterior) -> str:
    if posterior.integrated is not None:
        return _integrated_evidence(posterior, posterior.integrated)
    options, found = posterior.learned.options, posterior.evidence
    what = "beta and gamma exact" if options.approximation == "marginal" else "gamma exact"
    lines = [
        f"Log evidence: {found.log_evidence:.4f} (Laplace, {options.approximation}: {what}, "
        f"{options.coordinates} coordinates)"
    ]
    if np.isinf(found.k_hat):
        lines.append(
            "              importance sampling failed: hardly a draw has a likelihood. Laplace's approximation is NOT "
            "reliable here: simplify the model, or rely on MCMC"
        )
    elif not np.isnan(found.k_hat):
        verdict = "reliable" if found.k_hat <= LARGEST_K_HAT else "NOT reliable: rely on MCMC for the intervals"
        lines.append(
            f"              {found.log_evidence_psis:.4f} +- {found.error:.4f} (importance sampling; Pareto k-hat "
            f"{found.k_hat:.2f}, {verdict})"
        )
    hyperprior = posterior.learned.space.hyperprior
    lines.append(f"Hyperprior: {hyperprior if hyperprior is not None else 'none (plain empirical Bayes)'}")
    if hyperprior is not None:
        lines += _more_hyperpriors(posterior)
    lines.append(f"Hyperparameters: {posterior.learned.refinement}")
    for record in posterior.learned.records:
        if record.evaluations:
            failed = f", {record.failures} without a proper mode" if record.failures else ""
            lines.append(
                f"  {record.objective}: {record.evaluations} evaluations{failed}, largest gradient at the end "
                f"{record.gradient_norm:.1g}"
            )
    return "\n".join(lines)


def _integrated_evidence(posterior: Posterior, integrated: Integrated) -> str:
    verdict = "reliable" if posterior.reliable else "NOT reliable: rely on fit.sample(hyperparameters=True)"
    lines = [
        f"Log evidence: {posterior.evidence.log_evidence:.4f} +- {posterior.evidence.error:.4f} (hyperparameters "
        f"integrated out; {integrated.effective:.0f} effective draws, Pareto k-hat "
        f"{posterior.evidence.k_hat:.2f}, {verdict})",
        f"Hyperprior: {posterior.learned.space.hyperprior}",
        *_level_words(posterior.learned.space),
    ]
    return "\n".join(lines + _more_hyperpriors(posterior))


def _level_words(space: Space) -> list[str]:
    """Hyperpriors of the common levels, a line for each name; of A where there is nothing else."""
    prior = space.hyperprior
    assert prior is not None
    sds = {pool.name: pool.level_sd(prior) for pool in space.pools} or {"A": prior.level_sd}
    return [f"            log level of {name} ~ Normal(log start, {sd:g})" for name, sd in sds.items()]


def _more_hyperpriors(posterior: Posterior) -> list[str]:
    """Those that only some models have."""
    lines, space = [], posterior.learned.space
    assert space.hyperprior is not None
    for c in space.coordinates:
        own = c.normal(space.hyperprior)
        if c.in_summary and own is not None:
            lines.append(f"            {c.scale} {c.name} ~ Normal({own[0]:.3g}, {own[1]:.3g})")
    return lines


def _footnotes(posterior: Posterior) -> str:
    notes = [posterior.about_intervals]
    if posterior.problem.priors.improper:
        notes.append(
            "Some priors are flat: the evidence is defined up to their constants; compare it only between models "
            "with the same flat priors."
        )
    if pair := _nearly_collinear(posterior):
        notes.append(
            f"The penalised columns {pair[0]!r} and {pair[1]!r} correlate at {pair[2]:.5f}: the ridge shrinks what "
            "tells them apart. Centre the covariate before taking powers, or use poly()."
        )
    last = posterior.learned.records[-1]
    if last.gradient_norm > _STEEP:
        beside = ", beside points without a proper mode" if last.failures else ""
        notes.append(
            f"The search for the hyperparameters ended on a slope (gradient {last.gradient_norm:.2g}){beside}: other "
            "row orders or starts may end elsewhere. Fix a prior, or take effects out."
        )
    if not posterior.reliable and posterior.integrated is None:
        notes.append("Posterior means and draws are those of the Laplace approximation, uncorrected.")
    return "\n".join(notes)


def _nearly_collinear(posterior: Posterior) -> tuple[str, str, float] | None:
    """The most correlated pair of penalised columns, if it is close to collinear."""
    design, scaled = posterior.design, np.flatnonzero(posterior.problem.priors.standardized)
    if not 2 <= len(scaled) <= _MOST_COMPARED:
        return None
    correlations = np.corrcoef(design.X[:, scaled], rowvar=False) - np.eye(len(scaled))
    a, b = np.unravel_index(np.argmax(np.abs(correlations)), correlations.shape)
    if abs(correlations[a, b]) < _NEARLY_COLLINEAR:
        return None
    return design.coefficients[scaled[a]], design.coefficients[scaled[b]], float(correlations[a, b])
