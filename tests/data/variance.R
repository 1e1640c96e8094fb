# R2, intraclass correlations and mean random-effect variances of lme4's fits: by hand, checked against package performance.
# Rscript tests/data/variance.R > tests/data/variance.json
library(lme4)
library(jsonlite)
suppressMessages(library(performance))

models <- list(
  sleepstudy = list(formula = Reaction ~ Days + (Days | Subject), data = sleepstudy),
  Penicillin = list(formula = diameter ~ 1 + (1 | plate) + (1 | sample), data = Penicillin),
  Orthodont = list(formula = distance ~ age * Sex + (age | Subject), data = as.data.frame(nlme::Orthodont))
)

one <- function(model) {
  fit <- lmer(model$formula, model$data)
  X <- getME(fit, "X")
  Sigma <- lapply(VarCorr(fit), function(S) matrix(S, nrow(S)))
  fixed <- var(as.vector(X %*% fixef(fit)))
  # Johnson 2014: the mean over the rows of z' Sigma z
  terms <- sapply(names(Sigma), function(factor) {
    Z <- X[, rownames(VarCorr(fit)[[factor]]), drop = FALSE]
    mean(rowSums((Z %*% Sigma[[factor]]) * Z))
  })
  random <- sum(terms)
  residual <- sigma(fit)^2
  total <- fixed + random + residual
  found <- list(marginal = fixed / total, conditional = (fixed + random) / total,
    adjusted = random / (random + residual), unadjusted = random / total)
  package <- c(r2_nakagawa(fit), icc(fit))
  stopifnot(all.equal(unname(c(package$R2_marginal, package$R2_conditional, package$ICC_adjusted,
    package$ICC_unadjusted)), unname(unlist(found)), tolerance = 1e-6))
  list(beta = unname(fixef(fit)), Sigma = Sigma, sigma = sigma(fit), terms = as.list(terms), values = found)
}

versions <- list(R = R.version.string, lme4 = as.character(packageVersion("lme4")),
  performance = as.character(packageVersion("performance")))
cat(toJSON(list(versions = versions, fits = lapply(models, one)), digits = 12, auto_unbox = TRUE, pretty = TRUE), "\n")
