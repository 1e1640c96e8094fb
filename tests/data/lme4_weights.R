# Maximum likelihood and REML fits by lme4 with precision weights and offsets, for tests/test_weights.py:
#
#     Rscript tests/data/lme4_weights.R > tests/data/lme4_weights.json
#
# Weights and offsets are made of the tables' own columns by the formulas below, so that no table is needed beside those
# of lme4.R. Predictions are those of the first rows, with and without the random effects.
suppressPackageStartupMessages({
  library(lme4)
  library(jsonlite)
})

sleepstudy$w <- 0.5 + (seq_len(nrow(sleepstudy)) %% 7)
sleepstudy$off <- 3 * sleepstudy$Days^2 - 20
data(Penicillin, package = "lme4")
Penicillin$w <- 1 / (1 + (seq_len(nrow(Penicillin)) %% 5))
Penicillin$off <- sin(seq_len(nrow(Penicillin)))
tables <- list(sleepstudy = sleepstudy, Penicillin = Penicillin)
formulas <- c(sleepstudy = "Reaction ~ Days + (Days | Subject)", Penicillin = "diameter ~ 1 + (1 | plate) + (1 | sample)")

fit <- function(formula, table, reml) {
  first <- lmer(formula, table, REML = reml, weights = w, offset = off, control = lmerControl(
    optimizer = "nloptwrap", optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12, xtol_rel = 1e-12, maxeval = 1e5)))
  second <- suppressWarnings(lmer(formula, table, REML = reml, weights = w, offset = off,
    start = getME(first, "theta"), control = lmerControl(
      optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))))
  if (as.numeric(logLik(second)) > as.numeric(logLik(first))) second else first
}

record <- function(name, reml) {
  m <- fit(as.formula(formulas[[name]]), tables[[name]], reml)
  rows <- 1:12
  list(
    dataset = name, formula = formulas[[name]], REML = reml, fixef = unname(fixef(m)), sigma = sigma(m),
    logLik = as.numeric(logLik(m)), varcorr = lapply(VarCorr(m), function(x) unname(as.matrix(x))[, ]),
    fitted = unname(fitted(m)[rows]),
    without_groups = unname((m@pp$X %*% fixef(m))[rows] + tables[[name]]$off[rows]))
}

fits <- list()
for (name in names(tables)) for (reml in c(TRUE, FALSE)) fits <- c(fits, list(record(name, reml)))
meta <- list(R = R.version.string, lme4 = as.character(packageVersion("lme4")))
cat(toJSON(list(meta = meta, fits = fits), auto_unbox = TRUE, digits = NA, pretty = 1), "\n", sep = "")
