# Goldens of tests/unit/model_cox.c: the log partial likelihood of fixed scores by R's survival (Efron's ties),
# on tied data in three strata, and its gradient by coxph's score at those scores: one column a patient.
# Prints C lines. usage: Rscript model_cox.R
suppressMessages(library(survival))
n <- 24
i <- 0:(n - 1)
score <- 1.5 * sin(1.3 * i + 0.2)
time <- 1 + (7 * i) %% 5
event <- as.integer((3 * i) %% 4 != 1)
stratum <- i %% 3
# coxph drops columns that an intercept-free design makes redundant, so each patient's derivative is taken from
# a fit of one column at a time, stopped at 0.
logl <- function(f) suppressWarnings(coxph(f, ties = "efron", control = coxph.control(iter.max = 0)))
whole <- logl(Surv(time, event) ~ offset(score) + strata(stratum))
one <- logl(Surv(time, event) ~ offset(score))
gradient <- sapply(1:n, function(k) {
  x <- as.numeric(seq_len(n) == k)
  fit <- suppressWarnings(coxph(Surv(time, event) ~ x + offset(score) + strata(stratum), ties = "efron",
                                init = 0, control = coxph.control(iter.max = 0)))
  sum(residuals(fit, type = "score"))
})
cat(sprintf("static const double stratified = %.12f, unstratified = %.12f;\n", whole$loglik[1], one$loglik[1]))
cat("static const double score_of[N] = {", paste(sprintf("%.12f", gradient), collapse = ", "), "};\n", sep = "")
