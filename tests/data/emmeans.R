# Marginal means, contrasts and slopes by emmeans of two lme4 fits, for tests/report/test_means.py:
#
#     Rscript tests/data/emmeans.R > tests/data/emmeans.json     # run in the root of the repository, some seconds
#
# The data are trial.csv beside this script. Degrees of freedom are infinite: standard errors are those of vcov().
suppressPackageStartupMessages({
  library(lme4)
  library(emmeans)
  library(jsonlite)
})
options(contrasts = c("contr.treatment", "contr.poly"))
emm_options(lmer.df = "asymptotic")
trial <- read.csv("tests/data/trial.csv", stringsAsFactors = TRUE)
trial$id <- factor(trial$id)
trial$visit <- factor(trial$visit)

table <- function(x) {
  frame <- as.data.frame(summary(x))
  value <- intersect(c("emmean", "estimate", "t.trend"), names(frame))[1]
  keys <- setdiff(names(frame), c(value, "SE", "df", "asymp.LCL", "asymp.UCL", "z.ratio", "p.value"))
  list(levels = lapply(frame[keys], as.character), mean = frame[[value]], se = frame$SE)
}
model <- function(m) list(beta = unname(fixef(m)), names = names(fixef(m)), vcov = unname(as.matrix(vcov(m))))

cells <- lmer(y ~ arm * visit + site + age + (1 | id), trial)
within <- emmeans(cells, ~ arm | visit)
pairs_within <- contrast(within, "revpairwise")
curves <- lmer(y ~ arm * poly(t, 2) + (t | id), trial, control = lmerControl(optimizer = "bobyqa"))
references <- list(
  cells = c(model(cells), list(
    arm_by_visit = table(within),
    arm_equal = table(emmeans(cells, ~ arm)),
    arm_observed = table(emmeans(cells, ~ arm, weights = "proportional")),
    site_at_60 = table(emmeans(cells, ~ site, at = list(age = 60))),
    contrast_by_visit = table(pairs_within),
    between = table(contrast(pairs_within, "trt.vs.ctrl1", by = "contrast")),
    sequential = table(contrast(emmeans(cells, ~ visit), "consec")),
    from_mean = table(contrast(emmeans(cells, ~ visit), "eff")))),
  curves = c(model(curves), list(
    means_at_t = table(emmeans(curves, ~ arm | t, at = list(t = c(0, 6, 12)))),
    slopes_at_t = table(emtrends(curves, ~ arm | t, var = "t", at = list(t = c(0, 3, 9)), delta.var = 1e-4)))))
meta <- list(R = R.version.string, lme4 = as.character(packageVersion("lme4")),
             emmeans = as.character(packageVersion("emmeans")))
cat(toJSON(list(meta = meta, fits = references), auto_unbox = TRUE, digits = NA, pretty = 1), "\n", sep = "")
