# Refits the true model on large draws of the demo's cohorts: do tables and truth hold what was planted?
# usage: Rscript demo_cox.R LOBULE      (needs r-cran-survival; about a minute)
library(survival)
lobule <- commandArgs(trailingOnly = TRUE)[1]
if (is.na(lobule)) stop("usage: Rscript demo_cox.R LOBULE")
patients <- 20000
failed <- FALSE

check <- function(what, estimate, se, wanted) {
  ok <- abs(estimate - wanted) <= 3.5 * se
  cat(sprintf("%-34s planted %6.3f  found %6.3f +- %.3f  %s\n", what, wanted, estimate, se, if (ok) "ok" else "FAILED"))
  if (!ok) failed <<- TRUE
}

draw <- function(...) {
  dir <- tempfile("demo-cox-")
  code <- system2(lobule, c("demo", dir, "--bags", "--tables-only", "--patients", patients, ...), stderr = FALSE)
  if (code != 0) stop("lobule demo failed with ", code)
  d <- merge(read.csv(file.path(dir, "patients.csv")), read.csv(file.path(dir, "truth.csv")), by = c("patient_id", "center"),
             suffixes = c("", ".truth"))
  unlink(dir, recursive = TRUE)
  d$t <- d$rfs_days - 90
  d$T <- as.numeric(d$arm %in% c("tace", "both"))
  d$S <- as.numeric(d$arm %in% c("systemic", "both"))
  d$size <- (d$tumor_size_cm - 5) / 2
  d
}

compare <- function(d, wanted, title) {
  cat(title, "\n")
  fit <- coxph(Surv(t, rfs_event) ~ grade + size + mvi + T + T:immune + S + S:vessel + strata(center), data = d)
  b <- coef(fit)
  se <- sqrt(diag(vcov(fit)))
  for (name in names(wanted)) check(name, b[[name]], se[[match(name, names(b))]], wanted[[name]])
  # Prognostic immune must not exist: it acts through treatment only.
  more <- coxph(Surv(t, rfs_event) ~ grade + immune + vessel + size + mvi + T + T:immune + S + S:vessel + strata(center), data = d)
  check("immune without treatment", coef(more)[["immune"]], sqrt(vcov(more)["immune", "immune"]), 0)
  check("vessel without treatment", coef(more)[["vessel"]], sqrt(vcov(more)["vessel", "vessel"]), 0)
  # The truth's linear predictor of the arm received has slope one.
  d$lp <- ifelse(d$T == 1, ifelse(d$S == 1, d$lp_both, d$lp_tace), ifelse(d$S == 1, d$lp_systemic, d$lp_none))
  slope <- coxph(Surv(t, rfs_event) ~ lp + strata(center), data = d)
  check("slope of the true predictor", coef(slope)[["lp"]], sqrt(vcov(slope)[1, 1]), 1)
  d
}

d <- compare(draw("--seed", 101),
             list(grade = 0.7, size = 0.3, mvi = 0.4, T = -0.10, `T:immune` = -0.70, S = -0.10, `S:vessel` = -0.60),
             "planted benefit cohort")
raw <- coxph(Surv(t, rfs_event) ~ T + strata(center), data = d)
adjusted <- coxph(Surv(t, rfs_event) ~ T + size + mvi + strata(center), data = d)
cat(sprintf("%-34s %.3f unadjusted, %.3f adjusted: indication %s\n", "TACE, log-HR", coef(raw)[["T"]], coef(adjusted)[["T"]],
            if (coef(raw)[["T"]] > coef(adjusted)[["T"]] + 0.1) "confounds, ok" else "does not confound, FAILED"))
if (coef(raw)[["T"]] <= coef(adjusted)[["T"]] + 0.1) failed <- TRUE
# Weibull shape from the truth alone: log cumulative hazard against log time.
w <- survreg(Surv(t, rfs_event) ~ offset(-lp_none / 0.9), data = subset(d, arm == "none"), dist = "weibull")
check("Weibull shape", 1 / w$scale, sqrt(vcov(w)["Log(scale)", "Log(scale)"]) / w$scale, 0.9)
invisible(compare(draw("--seed", 102, "--null"), list(grade = 0, size = 0.3, mvi = 0.4, T = 0, `T:immune` = 0, S = 0, `S:vessel` = 0),
                  "sharp null"))
if (failed) quit(status = 1)
cat("all planted effects are found\n")
