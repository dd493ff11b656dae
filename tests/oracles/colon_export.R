# Exports R's colon trial (Moertel et al. 1990, 1995: levamisole with and without fluorouracil after resection of
# stage C colon cancer) for `lobule stats`, with a clinical score and its predicted risks, and prints R's figures.
# Usage: Rscript colon_export.R FILE.csv [FIGURES.csv]   (package survival; the data are not shipped)
suppressPackageStartupMessages(library(survival))
args <- commandArgs(TRUE)
stopifnot(length(args) >= 1)
d <- subset(colon, etype == 1)            # recurrence or, without one, last seen
d <- d[complete.cases(d[c('nodes', 'differ', 'extent')]), ]
d$center <- paste0('site', d$id %% 4 + 1) # the data name no hospital: four arbitrary parts stand for centers
fit <- coxph(Surv(time, status) ~ pmin(nodes, 10) + factor(differ) + extent, d)
d$score <- predict(fit, type = 'lp')
base <- survfit(fit)
h <- c(365, 1095, 1825)
S <- t(summary(survfit(fit, newdata = d), times = h)$surv)
for (k in seq_along(h)) d[[paste0('risk', h[k])]] <- 1 - S[, k]
out <- d[c('id', 'center', 'rx', 'time', 'status', 'score', paste0('risk', h))]
write.csv(format(out, digits = 17, trim = TRUE), args[1], row.names = FALSE, quote = FALSE)
out <- read.csv(args[1])                  # both programs see the same digits
y <- with(out, Surv(time, status))
r <- list()
say <- function(metric, center, estimate, lower = NA, upper = NA)
  r[[length(r) + 1]] <<- data.frame(metric, center, estimate, lower, upper)
z <- qnorm(.975)
ci <- function(metric, x, se) say(metric, '(all)', x, x - z * se, x + z * se)
x <- concordance(y ~ score + strata(center), out, reverse = TRUE)
ci('c', unname(x$concordance), sqrt(x$var))
f <- survfit(y ~ 1, conf.type = 'log-log')
q <- summary(f)$table
say('median_survival', '(all)', q[['median']], q[['0.95LCL']], q[['0.95UCL']])
for (t in h) {
  s <- summary(f, times = t)
  say(paste0('survival@', t), '(all)', s$surv, s$lower, s$upper)
  p <- out[[paste0('risk', t)]]
  oe <- (1 - s$surv) / mean(p); n <- sum(out$status == 1 & out$time <= t)
  say(paste0('observed_expected@', t), '(all)', oe, oe * exp(-z / sqrt(n)), oe * exp(z / sqrt(n)))
  m <- coxph(y ~ log(-log(1 - p)) + strata(center), out)
  ci(paste0('calibration_slope@', t), coef(m)[[1]], sqrt(vcov(m)[1, 1]))
}
fu <- summary(survfit(Surv(time, 1 - status) ~ 1, out))$table
say('median_followup', '(all)', fu[['median']])
say('log_rank_p_of_arms', '(all)', survdiff(y ~ rx + strata(center), out)$pvalue)
out$rx <- relevel(factor(out$rx), 'Obs')
m <- coxph(y ~ rx + strata(center), out, robust = TRUE)
for (a in c('Lev', 'Lev+5FU')) {
  b <- coef(m)[[paste0('rx', a)]]; se <- sqrt(m$var[which(names(coef(m)) == paste0('rx', a)), which(names(coef(m)) == paste0('rx', a))])
  say(sprintf('hr[%s / Obs]', a), '(all)', exp(b), exp(b - z * se), exp(b + z * se))
}
m <- coxph(y ~ rx * score + strata(center), out, robust = TRUE)
k <- grep(':', names(coef(m)))
w <- drop(coef(m)[k] %*% solve(m$var[k, k]) %*% coef(m)[k])
say('interaction_p', '(all)', pchisq(w, length(k), lower.tail = FALSE))
m <- cox.zph(coxph(y ~ score + strata(center), out), transform = 'km')
say('proportional_hazards_p', '(all)', m$table['score', 'p'])
r <- do.call(rbind, r)
if (length(args) > 1) write.csv(format(r, digits = 17, trim = TRUE), args[2], row.names = FALSE, quote = 1:2) else print(r, digits = 10)
