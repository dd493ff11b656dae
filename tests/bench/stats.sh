#!/usr/bin/env bash
# Concordance with its variance against R's, both timed in this run; and 1,000 bootstraps of C over 10,000 patients
# of 20 centers, shared out over two processes. Usage: tests/bench/stats.sh BUILD_FOLDER
set -euo pipefail
build=${1:?usage: stats.sh BUILD_FOLDER}
source=$(cd "$(dirname "$0")/../.." && pwd)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
# shellcheck disable=SC2046
${CC:-cc} -O2 -std=gnu11 -I"$source/src" $(pkg-config --cflags glib-2.0) "$source/tests/bench/stats_bench.c" \
  -o "$here/stats_bench" "$build/liblob_stats.a" "$build/liblob_base.a" \
  $(pkg-config --libs glib-2.0 jansson libcrypto) -lcsv -lm
for n in 10000 100000; do
  read -r seconds c se < <("$here/stats_bench" concordance $n "$here/data.csv")
  echo "n = $n: lobule $seconds s, C $c, se $se"
  if command -v Rscript > /dev/null; then
    Rscript -e 'suppressMessages(library(survival)); d <- read.csv(commandArgs(TRUE)[1]); y <- Surv(d$time, d$event)
      s <- min(sapply(1:3, function(i) system.time(f <<- concordance(y ~ d$score, reverse = TRUE))[["elapsed"]]))
      cat(sprintf("n = %d: R      %.6f s, C %.15g, se %.15g\n", nrow(d), s, coef(f), sqrt(f$var)))' "$here/data.csv"
  else
    echo "n = $n: R is not installed, no comparison"
  fi
done
start=$(date +%s.%N)
"$here/stats_bench" bootstrap 10000 20 500 0 & first=$!
"$here/stats_bench" bootstrap 10000 20 500 500
wait $first
awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "1,000 bootstraps on two processes: %.2f s\n", b - a }'
