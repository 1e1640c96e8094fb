# Maximum likelihood and REML fits by lme4, for tests/test_references.py:
#
#     Rscript tests/data/lme4.R > tests/data/lme4.json
#
# The data come from the packages lme4, nlme and mlmRev; the tables beside this script are the same numbers with "." in
# names replaced by "_". Factors are coded by treatment contrasts, levels in sorted order of their labels, as pmlmm has
# them. Two optimisers, one from the other's end, with tight tolerances; the better of the two is kept.
suppressPackageStartupMessages({
  library(lme4)
  library(jsonlite)
})
options(contrasts = c("contr.treatment", "contr.treatment"))

load_table <- function(name) {
  package <- c(sleepstudy = "lme4", Penicillin = "lme4", Pastes = "lme4", InstEval = "lme4",
               Orthodont = "nlme", Oxboys = "nlme", Exam = "mlmRev")[[name]]
  box <- new.env()
  data(list = name, package = package, envir = box)
  table <- as.data.frame(get(name, envir = box))
  for (column in names(table)) if (is.factor(table[[column]])) {
    labels <- as.character(table[[column]])
    levels <- unique(labels)
    number <- suppressWarnings(as.numeric(levels))
    levels <- if (anyNA(number)) sort(levels, method = "radix") else levels[order(number)]
    table[[column]] <- factor(labels, levels = levels, ordered = FALSE)
  }
  table
}

fit <- function(formula, table, reml) {
  first <- lmer(formula, table, REML = reml, control = lmerControl(
    optimizer = "nloptwrap", optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12, xtol_rel = 1e-12, maxeval = 1e5)))
  second <- suppressWarnings(lmer(formula, table, REML = reml, start = getME(first, "theta"), control = lmerControl(
    optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))))
  if (as.numeric(logLik(second)) > as.numeric(logLik(first))) second else first
}

matrix_of <- function(x) unname(as.matrix(x))

covariance_of <- function(x) list(
  names = rownames(x), cov = matrix_of(x), sd = unname(attr(x, "stddev")), corr = matrix_of(attr(x, "correlation")))

# The conditional modes of the first five levels, with their conditional standard deviations.
head_of <- function(effects) {
  blocks <- attr(effects, "postVar")
  if (!is.list(blocks)) blocks <- list(blocks)
  variances <- lapply(blocks, function(V) matrix(apply(V, 3, diag), dim(V)[3], dim(V)[1], byrow = TRUE))
  sd <- sqrt(do.call(cbind, variances))
  top <- seq_len(min(5, nrow(effects)))
  list(levels = rownames(effects)[top], names = names(effects), values = matrix_of(effects[top, , drop = FALSE]),
       cond_sd = matrix_of(sd[top, , drop = FALSE]))
}

record <- function(name, formula, reml, heads) {
  table <- load_table(name)
  m <- fit(as.formula(formula), table, reml)
  result <- list(
    dataset = name, formula = formula, REML = reml, n = nrow(table), p = length(fixef(m)), fixef = as.list(fixef(m)),
    varcorr = lapply(VarCorr(m), covariance_of), sigma = sigma(m), logLik = as.numeric(logLik(m)),
    logLik_is = if (reml) "REML criterion/-2" else "ML log-likelihood")
  if (heads) result$ranef_head <- lapply(ranef(m, condVar = TRUE), head_of)
  result
}

models <- list(
  list("sleepstudy", c("Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (Days || Subject)"), TRUE),
  list("Orthodont", c("distance ~ age + (age | Subject)", "distance ~ age * Sex + (age | Subject)"), FALSE),
  list("Oxboys", c("height ~ age + (age | Subject)", "height ~ age + I(age^2) + (age + I(age^2) | Subject)"), FALSE),
  list("Exam", c("normexam ~ standLRT + (standLRT | school)",
                 "normexam ~ standLRT + sex + schgend + (standLRT | school)"), FALSE),
  list("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", TRUE),
  list("Pastes", "strength ~ 1 + (1 | batch/cask)", TRUE),
  list("InstEval", c("y ~ service + (1 | s) + (1 | d)",
                     "y ~ service + studage + lectage + (1 | s) + (1 | d) + (1 | dept)"), TRUE))
fits <- list()
for (model in models) for (formula in model[[2]]) for (reml in c(FALSE, TRUE))
  fits[[length(fits) + 1]] <- record(model[[1]], formula, reml, model[[3]])

meta <- list(
  R = R.version.string, lme4 = as.character(packageVersion("lme4")),
  contrasts = "treatment, levels in sorted order of the strings",
  optimiser = "nloptwrap tol 1e-12, then bobyqa rhoend 1e-10 from there; the better kept")
cat(toJSON(list(meta = meta, fits = fits), auto_unbox = TRUE, digits = NA, pretty = 1), "\n", sep = "")
