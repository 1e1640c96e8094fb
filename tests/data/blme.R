# Posterior modes under inverse Wishart priors by blme, for tests/test_references.py:
#
#     Rscript tests/data/blme.R > tests/data/blme.json
#
# Sigma ~ IW(df, scale) with the density of the matrix itself, beta_j ~ N(0, sigma^2 sd_j^2), flat in sigma. blme's own
# default optimiser stops far below the maximum, so four are tried and the best is reported. The objective is then
# evaluated without blme, group by group, and maximised by BFGS from blme's optimum: `independent_max_logpost`.
suppressPackageStartupMessages({
  library(blme)
  library(jsonlite)
})

load_table <- function(name) {
  box <- new.env()
  data(list = name, package = c(sleepstudy = "lme4", Orthodont = "nlme")[[name]], envir = box)
  table <- as.data.frame(get(name, envir = box))
  levels <- sort(unique(as.character(table$Subject)), method = "radix")
  number <- suppressWarnings(as.numeric(levels))
  table$Subject <- factor(as.character(table$Subject), levels = if (anyNA(number)) levels else levels[order(number)])
  table
}

optimisers <- list(
  nloptwrap = lmerControl(optimizer = "nloptwrap"),
  bobyqa = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5)),
  nlminbwrap = lmerControl(optimizer = "nlminbwrap", optCtrl = list(
    eval.max = 1e5, iter.max = 1e5, rel.tol = 1e-14, x.tol = 1e-12, abs.tol = 0)),
  Nelder_Mead = lmerControl(optimizer = "Nelder_Mead", optCtrl = list(
    maxfun = 1e5, FtolAbs = 1e-12, FtolRel = 1e-15, XtolRel = 1e-12)))

# log N(y | X beta, V) + log N(beta | 0, sigma^2 diag(sd^2)) + log IW(Sigma | df, scale) at its maximum over beta (ML)
# or with beta integrated out (REML), by sums over the groups.
log_posterior <- function(x, table, X, y, sd, df, scale, reml) {
  L <- matrix(c(exp(x[2]), x[3], 0, exp(x[4])), 2)
  sigma <- exp(x[1])
  Sigma <- L %*% t(L)
  prior <- 1 / (sigma * sd)^2
  information <- diag(prior)
  score <- c(0, 0)
  square <- log_det <- 0
  for (rows in split(seq_along(y), table$Subject)) {
    Z <- X[rows, , drop = FALSE]
    V <- Z %*% Sigma %*% t(Z) + diag(sigma^2, length(rows))
    root <- chol(V)
    white <- backsolve(root, cbind(Z, y[rows]), transpose = TRUE)
    information <- information + crossprod(white[, 1:2])
    score <- score + crossprod(white[, 1:2], white[, 3])
    square <- square + sum(white[, 3]^2)
    log_det <- log_det + 2 * sum(log(diag(root)))
  }
  beta <- solve(information, score)
  value <- -0.5 * (length(y) * log(2 * pi) + log_det + square - sum(score * beta))
  value <- value + 0.5 * sum(log(prior / (2 * pi)))
  if (reml) value <- value + log(2 * pi) - 0.5 * c(determinant(information)$modulus)
  log_gamma_2 <- 0.5 * log(pi) + lgamma(df / 2) + lgamma((df - 1) / 2)
  value + df / 2 * log(det(scale)) - df * log(2) - log_gamma_2 - (df + 3) / 2 * log(det(Sigma)) -
    sum(diag(scale %*% solve(Sigma))) / 2
}

record <- function(name, formula, response, covariate, reml, df, scale, sd) {
  table <- load_table(name)
  X <- cbind(1, table[[covariate]])
  y <- table[[response]]
  # blme reads priors as expressions: numbers are written into the call
  covariance <- sprintf("Subject ~ invwishart(df = %g, scale = matrix(c(%s), 2), common.scale = FALSE)",
                        df, paste(scale, collapse = ", "))
  fixed <- sprintf("normal(sd = c(%g, %g), common.scale = TRUE)", sd[1], sd[2])
  objective <- function(x) log_posterior(x, table, X, y, sd, df, scale, reml)
  point <- function(m) {
    L <- t(chol(matrix(VarCorr(m)$Subject, 2)))
    c(log(sigma(m)), log(L[1, 1]), L[2, 1], log(L[2, 2]))
  }
  found <- lapply(optimisers, function(control) suppressWarnings(suppressMessages(eval(substitute(
    blmer(F, table, REML = reml, cov.prior = C, fixef.prior = P, resid.prior = NULL, control = control),
    list(F = as.formula(formula), C = covariance, P = fixed))))))
  values <- sapply(found, function(m) objective(point(m)))
  best <- found[[which.max(values)]]
  x <- point(best)
  for (again in 1:3)
    x <- optim(x, function(x) -objective(x), method = "BFGS", control = list(reltol = 1e-16, maxit = 1000))$par
  if (objective(x) < max(values)) x <- point(best)
  L <- matrix(c(exp(x[2]), x[3], 0, exp(x[4])), 2)
  list(
    dataset = name, formula = formula, REML = reml, df = df, scale = scale,
    fixef_prior_sd_intercept_then_rest = sd, fixef = as.list(fixef(best)),
    cov = unname(matrix(VarCorr(best)$Subject, 2)), sigma = sigma(best),
    ranef_head = unname(as.matrix(ranef(best)$Subject[1:5, ])),
    blme_logpost = max(values), independent_max_logpost = objective(x),
    independent_max = list(sigma = exp(x[1]), cov = L %*% t(L)))
}

fits <- list()
for (reml in c(FALSE, TRUE)) fits[[length(fits) + 1]] <- record(
  "sleepstudy", "Reaction ~ Days + (Days | Subject)", "Reaction", "Days", reml, 5, diag(c(1000, 100)), c(10, 2.5))
for (reml in c(FALSE, TRUE)) fits[[length(fits) + 1]] <- record(
  "Orthodont", "distance ~ age + (age | Subject)", "distance", "age", reml, 5, diag(c(5, 0.1)), c(20, 2))

meta <- list(
  R = R.version.string, lme4 = as.character(packageVersion("lme4")), blme = as.character(packageVersion("blme")),
  objective_ML = paste(
    "maximised jointly over (beta, Sigma, sigma), random effects integrated out:",
    "log N(y | X beta, Z (I x Sigma) Z' + sigma^2 I) + log N(beta | 0, sigma^2 diag(sd)^2) + log p(Sigma), flat in",
    "sigma. No Jacobian: p is the density of the matrix itself (posterior_scale='cov')."),
  objective_REML = paste(
    "same, but beta integrated out against its N(0, sigma^2 sd^2) prior:",
    "log N(y | 0, V + sigma^2 X diag(sd)^2 X') + log p(Sigma)"),
  invwishart = "density prop. |X|^-(df+k+1)/2 exp(-tr(scale X^-1)/2), normalised; mode scale/(df+k+1)")
cat(toJSON(list(meta = meta, fits = fits), auto_unbox = TRUE, digits = NA, pretty = 1), "\n", sep = "")
