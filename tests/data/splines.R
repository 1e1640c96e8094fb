# Spline bases of R, at the rows of a fit and at new ones: Rscript splines.R > splines.json
library(splines)
x <- c(0.1, 0.4, 0.5, 0.9, 1.3, 1.3, 2.2, 2.4, 3.1, 3.8, 4.0, 5.2, 6.6, 7.9, 8.3, 9.7)
new <- c(-1, 0.1, 1, 5, 9.7, 12)
inside <- c(0.1, 1, 5, 9.7)
bases <- list(
  "ns(x, df=3)" = ns(x, df = 3),
  "ns(x, df=5)" = ns(x, df = 5),
  "ns(x, knots=c(2, 5), Boundary.knots=c(0, 10))" = ns(x, knots = c(2, 5), Boundary.knots = c(0, 10)),
  "ns(x, df=4, intercept=TRUE)" = ns(x, df = 4, intercept = TRUE),
  "bs(x, df=5)" = bs(x, df = 5),
  "bs(x, knots=c(2, 5))" = bs(x, knots = c(2, 5)),
  "poly(x, 3)" = poly(x, 3)
)
numbers <- function(matrix) paste0("[", paste(apply(matrix, 1, function(row)
  paste0("[", paste(sprintf("%.15g", row), collapse = ", "), "]")), collapse = ", "), "]")
entries <- sapply(names(bases), function(name) {
  at <- if (startsWith(name, "bs")) inside else new
  sprintf('"%s": {"fit": %s, "at": [%s], "new": %s}', name, numbers(unclass(bases[[name]])),
          paste(at, collapse = ", "), numbers(unclass(predict(bases[[name]], at))))
})
cat(sprintf('{"version": "%s",\n"x": [%s],\n"bases": {\n%s\n}}\n', R.version.string, paste(x, collapse = ", "),
            paste(entries, collapse = ",\n")))
