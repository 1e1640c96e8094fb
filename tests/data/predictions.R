# Predictions of lme4, with the sds that Henderson's equations give them, for tests/posterior/test_against_lme4.py:
#
#     Rscript tests/data/predictions.R > tests/data/predictions.json
#
# Given sigma and Sigma, cov(beta, u) = sigma^2 [X'X X'Z; Z'X Z'Z + (Lambda Lambda')^-1]^-1 with flat priors of beta.
suppressPackageStartupMessages({
  library(lme4)
  library(jsonlite)
})
options(contrasts = c("contr.treatment", "contr.treatment"))
data(Orthodont, package = "nlme")
Orthodont <- as.data.frame(Orthodont)
Orthodont$Subject <- factor(as.character(Orthodont$Subject))
Orthodont$Sex <- factor(as.character(Orthodont$Sex))

record <- function(name, formula, table, new) {
  m <- lmer(as.formula(formula), table, control = lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12)))
  X <- getME(m, "X")
  Z <- as.matrix(getME(m, "Z"))
  L <- as.matrix(getME(m, "Lambda"))
  A <- rbind(cbind(crossprod(X), crossprod(X, Z)), cbind(crossprod(Z, X), crossprod(Z) + solve(L %*% t(L))))
  C <- sigma(m)^2 * solve(A)
  p <- seq_len(ncol(X))
  sd_of <- function(W, C) sqrt(rowSums((W %*% C) * W))
  list(dataset = name, formula = formula, sigma = sigma(m),
       covariances = lapply(VarCorr(m), function(S) unname(as.matrix(S)[, , drop = FALSE])),
       conditional = unname(predict(m)), population = unname(predict(m, re.form = NA)),
       sd_conditional = sd_of(cbind(X, Z), C), sd_population = sd_of(X, C[p, p]),
       new = new, new_levels = unname(predict(m, new, allow.new.levels = TRUE)))
}

records <- list(
  record("sleepstudy", "Reaction ~ Days + (Days | Subject)", sleepstudy,
         data.frame(Subject = c("308", "999", "372"), Days = c(12, 4, 0.5))),
  record("Pastes", "strength ~ 1 + (1 | batch/cask)", Pastes,
         data.frame(batch = c("A", "A", "Z"), cask = c("b", "k", "a"))),
  record("Orthodont", "distance ~ age * Sex + (age | Subject)", Orthodont,
         data.frame(Subject = c("M01", "F99", "F11"), age = c(9, 15, 7.5), Sex = c("Male", "Female", "Female")))
)
made_with <- list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4")))
cat(toJSON(list(made_with = made_with, fits = records), digits = 10, auto_unbox = TRUE), "\n")
