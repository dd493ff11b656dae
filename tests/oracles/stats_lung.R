# Writes tests/oracles/stats_lung.csv: the columns of the NCCTG lung cancer trial (Loprinzi et al. 1994, J Clin
# Oncol 12:601) that the golden tests use, rows complete in all of them. Source: data set `lung` of the R package
# survival. Usage: Rscript stats_lung.R > stats_lung.csv
suppressMessages(library(survival))
d <- lung[complete.cases(lung[, c("time", "status", "age", "sex", "ph.ecog")]), ]
write.csv(data.frame(time = d$time, event = d$status - 1, age = d$age, sex = d$sex, ecog = d$ph.ecog),
          row.names = FALSE, quote = FALSE)
