# Recomputes in R what tests/unit/stats_live.c wrote for its random data sets, and prints the largest difference of
# each figure. Usage: Rscript stats_live.R FOLDER. Exit 77: the package survival is missing; 1: R disagrees.
ok <- function(p) suppressWarnings(suppressMessages(requireNamespace(p, quietly = TRUE)))
if (!ok("survival")) { cat("the R package survival is not installed: no live comparison\n"); quit(status = 77) }
suppressMessages(library(survival))
tight <- suppressWarnings(coxph.control(eps = 1e-13, iter.max = 60))
quiet <- function(x) suppressWarnings(suppressMessages(x))
skipped <- Filter(function(p) !ok(p), c("metafor", "pROC", "riskRegression", "nnet"))

step <- function(fit, t, before = FALSE) {
  k <- if (before) sum(fit$time < t) else sum(fit$time <= t)
  if (k == 0) 1 else fit$surv[k]
}

curves <- function(d, t0) {
  f <- survfit(Surv(time, event) ~ 1, d, conf.type = "log-log")
  q <- quantile(f, .5)
  at <- max(c(0, which(f$time <= t0)))
  known <- t0 <= max(d$time) || min(f$surv) == 0
  s <- if (!known) rep(NA, 4) else if (at == 0) c(1, 0, 1, 1) else
    c(f$surv[at], f$surv[at] * f$std.err[at], f$lower[at], f$upper[at])
  w <- survfit(Surv(time, event) ~ 1, d, weights = weight)
  r <- if (known) summary(f, rmean = t0)$table[c("rmean", "se(rmean)")] else c(NA, NA)
  a <- survfit(Surv(time, factor(cause, 0:2)) ~ 1, d)
  k <- sum(a$time <= t0)
  aj <- if (t0 > max(d$time) && a$pstate[length(a$time), 1] > 0) c(NA, NA) else if (k == 0) c(0, 0) else
    c(a$pstate[k, 2], a$std.err[k, 2])
  lr <- survdiff(Surv(time, event) ~ arm, d)$chisq
  ls <- survdiff(Surv(time, event) ~ arm + strata(stratum), d)$chisq
  # survfit keeps the interval [1, 1] as NaN before the first event in some versions.
  if (!is.na(s[1]) && s[1] == 1) s[2:4] <- c(0, 1, 1)
  c(km.surv = s[1], km.se = s[2], km.lower = s[3], km.upper = s[4], km.median = unname(q$quantile),
    km.median.lower = unname(q$lower), km.median.upper = unname(q$upper),
    followup.median = unname(quantile(survfit(Surv(time, 1 - event) ~ 1, d), .5)$quantile),
    rmst = unname(r[1]), rmst.se = unname(r[2]), km.weighted = if (known) step(w, t0) else NA,
    aj.incidence = unname(aj[1]), aj.se = unname(aj[2]), logrank = lr, logrank.strata = ls)
}

cox <- function(d, t0) {
  a <- quiet(coxph(Surv(time, event) ~ x1 + x2 + x3, d, control = tight))
  r <- quiet(coxph(Surv(time, event) ~ x1 + x2 + x3, d, control = tight, robust = TRUE))
  b <- quiet(coxph(Surv(time, event) ~ x1 + x2 + x3 + strata(stratum), d, weights = weight, cluster = cluster,
                   control = tight))
  z <- tryCatch(quiet(cox.zph(b)$table), error = function(e) matrix(NA, 4, 3))
  h <- basehaz(a, centered = FALSE)
  i0 <- quiet(coxph(Surv(time, event) ~ factor(arm) + score2 + strata(stratum), d, control = tight))
  i1 <- quiet(coxph(Surv(time, event) ~ factor(arm) * score2 + strata(stratum), d, control = tight, robust = TRUE))
  j <- grep(":", names(coef(i1)))
  j <- j[!is.na(coef(i1)[j])]
  c(cox.loglik = a$loglik[2], cox.lr = 2 * diff(a$loglik), cox.wald = unname(a$wald.test), cox.score = a$score,
    cox.hazard = if (any(h$time <= t0)) max(h$hazard[h$time <= t0]) else 0,
    setNames(coef(a), paste0("cox.beta", 1:3)), setNames(sqrt(diag(vcov(r))), paste0("cox.robust", 1:3)),
    setNames(coef(b), paste0("coxw.beta", 1:3)), setNames(sqrt(diag(vcov(b))), paste0("coxw.robust", 1:3)),
    coxw.zph1 = z[1, 1], coxw.zph = z[nrow(z), 1],
    interaction.lr = 2 * (i1$loglik[2] - i0$loglik[2]),
    interaction.wald = tryCatch(c(coef(i1)[j] %*% solve(vcov(i1)[j, j, drop = FALSE], coef(i1)[j])),
                                error = function(e) NULL))
}

concord <- function(d, t0) {
  a <- concordance(Surv(time, event) ~ score, d, reverse = TRUE)
  w <- concordance(Surv(time, event) ~ score + strata(stratum), d, weights = weight, cluster = cluster, reverse = TRUE)
  u <- tryCatch(concordance(Surv(time, event) ~ score, d, reverse = TRUE, timewt = "n/G2", ymax = t0),
                error = function(e) NULL)
  m <- quiet(coxph(Surv(time, event) ~ score, d, init = 1, iter.max = 0))
  n <- quiet(coxph(Surv(time, event) ~ score2, d, init = 1, iter.max = 0))
  p <- concordance(m, n)
  v <- c(1, -1) %*% vcov(p) %*% c(1, -1)
  c(c = unname(coef(a)), c.se = sqrt(a$var), c.weighted = unname(coef(w)), c.weighted.se = sqrt(w$var),
    c.uno = if (is.null(u)) NA else unname(coef(u)), c.uno.se = if (is.null(u)) NA else sqrt(u$var),
    c.difference = unname(coef(p)[1] - coef(p)[2]), c.difference.se = sqrt(max(0, v)))
}

net_benefit <- function(d, t0) {
  flagged <- d[d$risk >= .5, ]
  if (nrow(flagged) == 0) 0 else {
    fk <- survfit(Surv(time, event) ~ 1, flagged)
    fr <- if (t0 > max(flagged$time) && min(fk$surv) > 0) NA else 1 - step(fk, t0)
    nrow(flagged) / nrow(d) * (fr - (1 - fr))
  }
}

# The definitions, with censorings moved a quarter day behind the deaths of their day.
horizon <- function(d, t0) {
  shifted <- transform(d, time = time + .25 * (event == 0))
  g <- survfit(Surv(time, 1 - event) ~ 1, shifted)
  case <- d$time <= t0 & d$event == 1
  control <- d$time > t0
  cw <- ifelse(case, 1 / sapply(d$time, function(t) step(g, t, TRUE)), 0)
  auc <- if (!any(case) || !any(control)) NA else {
    win <- outer(d$score, d$score, ">") + .5 * outer(d$score, d$score, "==")
    sum(cw[case] * win[case, control]) / (sum(cw[case]) * sum(control))
  }
  km <- survfit(Surv(time, event) ~ 1, d)
  known <- t0 <= max(d$time) || min(km$surv) == 0
  s <- step(km, t0)
  w <- cw + ifelse(control, 1 / step(g, t0 + .5), 0)
  brier <- function(p) mean(w * ifelse(control, p, 1 - p)^2)
  out <- c(auc = auc, brier = if (known) brier(d$risk) else NA,
           brier.null = if (known) brier(rep(1 - s, nrow(d))) else NA,
           oe = if (known) (1 - s) / mean(d$risk) else NA)
  x <- log(-log1p(-pmin(pmax(d$risk, 1e-10), 1 - 1e-10)))
  k <- quantile(x, c(.1, .5, .9))
  up <- function(v) pmax(v, 0)^3
  nl <- (up(x - k[1]) - up(x - k[2]) * (k[3] - k[1]) / (k[3] - k[2]) +
           up(x - k[3]) * (k[2] - k[1]) / (k[3] - k[2])) / (k[3] - k[1])^2
  f <- tryCatch(quiet(coxph(Surv(d$time, d$event) ~ x + nl, control = tight)), error = function(e) NULL)
  line <- tryCatch(quiet(coxph(Surv(d$time, d$event) ~ x, control = tight)), error = function(e) NULL)
  nb <- net_benefit(d, t0)
  if (is.null(f) || is.null(line)) return(c(out, net.benefit = nb))
  h <- basehaz(f, centered = FALSE)
  h0 <- if (any(h$time <= t0)) max(h$hazard[h$time <= t0]) else 0
  gap <- abs(1 - exp(-h0 * exp(coef(f)[1] * x + coef(f)[2] * nl)) - d$risk)
  c(out, calibration.slope = unname(coef(line)),
    ici = mean(gap), e90 = unname(quantile(gap, .9)), net.benefit = nb)
}

rest <- function(d) {
  out <- c()
  if (ok("pROC")) {
    both <- length(unique(d$outcome)) == 2
    r <- function(s) pROC::roc(d$outcome, s, direction = "<", quiet = TRUE)
    if (both && min(table(d$outcome)) > 1) {
      a <- r(d$score); b <- r(d$score2)
      out <- c(out, delong.auc = as.numeric(a$auc), delong.se = sqrt(pROC::var(a)),
               delong.z = unname(pROC::roc.test(a, b, method = "delong")$statistic))
    }
  }
  q <- qlogis(d$risk)
  strict <- glm.control(epsilon = 1e-14, maxit = 100)
  out <- c(out, logistic.slope = unname(quiet(coef(glm(d$outcome ~ q, binomial, control = strict)))[2]),
           logistic.intercept = unname(quiet(coef(glm(d$outcome ~ offset(q), binomial, control = strict)))[1]))
  if (ok("nnet") && length(unique(d$arm)) == 3)
    out <- c(out, multinomial.loglik = as.numeric(logLik(nnet::multinom(factor(arm) ~ x1 + x2 + I(x3 / 10), d,
      trace = FALSE, reltol = 1e-15, maxit = 2000))))
  if (ok("metafor")) {
    k <- 1:(3 + nrow(d) %% 10)
    m <- quiet(metafor::rma(d$score2[k], sei = .2 + d$score[k], test = "knha",
                            control = list(threshold = 1e-13, maxiter = 10000, stepadj = .3)))
    dl <- quiet(metafor::rma(d$score2[k], sei = .2 + d$score[k], method = "DL"))
    out <- c(out, meta.tau2 = m$tau2, meta.mu = c(m$beta), meta.se = m$se, meta.pi = predict(m)$pi.ub,
             meta.dl = c(dl$beta))
  }
  out
}

# riskRegression's own Brier score and AUC beside the definitions.
score_package <- function(d, t0) {
  if (!ok("riskRegression") || !any(d$time <= t0 & d$event == 1) || !any(d$time > t0)) return(c())
  s <- tryCatch(quiet(riskRegression::Score(list(m = matrix(d$risk)), Surv(time, event) ~ 1, data = d, times = t0,
    cens.model = "km", metrics = c("brier"), se.fit = FALSE, conf.int = FALSE)), error = function(e) NULL)
  if (is.null(s)) return(c())
  b <- as.data.frame(s$Brier$score)
  c(brier = b$Brier[b$model == "m"], brier.null = b$Brier[b$model == "Null model"])
}

folder <- commandArgs(TRUE)[1]
files <- list.files(folder, "^set", full.names = TRUE)
worst <- list()
compare <- function(name, ours, theirs, file) {
  if (is.nan(theirs)) theirs <- NA
  gap <- if (is.na(ours) && is.na(theirs)) 0 else if (is.na(ours) != is.na(theirs)) Inf else
    (if (name == "multinomial.loglik") max(0, theirs - ours) else abs(ours - theirs)) / max(1, abs(theirs))
  if (is.null(worst[[name]]) || gap > worst[[name]]$gap)
    worst[[name]] <<- list(gap = gap, ours = ours, theirs = theirs, file = basename(file),
                           n = (if (is.null(worst[[name]])) 0 else worst[[name]]$n))
  worst[[name]]$n <<- worst[[name]]$n + 1
}
for (file in files) {
  d <- read.csv(file)
  t0 <- d$t0[1]
  ours <- read.csv(sub("set([0-9]+)", "figures\\1", file))
  model <- tryCatch(cox(d, t0), error = function(e) c())
  theirs <- c(curves(d, t0), model, concord(d, t0), horizon(d, t0), rest(d))
  for (i in seq_len(nrow(ours)))
    if (ours$name[i] %in% names(theirs)) compare(ours$name[i], ours$value[i], theirs[[ours$name[i]]], file)
  package <- score_package(d, t0)
  for (name in names(package))
    compare(paste0("riskRegression.", name), ours$value[ours$name == name], package[[name]], file)
}
cat(sprintf("%d data sets, R %s, survival %s\n", length(files), getRversion(), packageVersion("survival")))
if (length(skipped)) cat("not installed, so not compared:", skipped, "\n")
# multinom's quasi-Newton steps may stop below the maximum, never above it: that one counts on one side alone.
failed <- FALSE
for (name in names(worst)) {
  w <- worst[[name]]
  bad <- !(w$gap <= 1e-8)
  failed <- failed || bad
  cat(sprintf("%-24s %4d sets  largest relative difference %.2e%s\n", name, w$n, w$gap,
              if (bad) sprintf("  <-- ours %.15g, R %.15g (%s)", w$ours, w$theirs, w$file) else ""))
}
gaps <- sapply(worst, function(w) w$gap)
cat(sprintf("largest difference of all: %.2e (%s)\n", max(gaps), names(worst)[which.max(gaps)]))
quit(status = if (failed) 1 else 0)
