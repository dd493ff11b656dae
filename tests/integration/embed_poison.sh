#!/bin/bash
# A slide that kills its rank every time is given up after it did so alone; every other slide is done.
. "$(dirname "$0")/embed_lib.bash"
dir=$work/s
study "$dir" 3
run 2 "$dir" plan; expect "plan" 0 $?
export LOB_TEST_KILL=embed:cmu-2
rc=1
for try in 1 2 3 4 5 6 7 8; do
  run 2 "$dir" embed; rc=$?
  say "run $try: exit $rc, $(journalled "$dir") ranges journalled"
  case $rc in 0|2|3) break ;; esac
done
expect "ends with failed slides" 3 $rc
expect "given up" 1 "$(grep -c '^cmu-2,.*,quarantined,' "$dir/out/slides.csv")"
expect "the others are done" 5 "$(grep -c ',done,' "$dir/out/slides.csv")"
unset LOB_TEST_KILL
run 1 "$dir" plan; expect "stays given up" 3 $?
expect "no second part" no "$([ -e "$dir/out/store/part-0002.h5" ] && echo yes || echo no)"
# A rank that dies twice for other reasons costs no healthy slide.
dir=$work/healthy
study "$dir" 3
run 2 "$dir" plan || fail plan
for try in 1 2; do
  before=$(journalled "$dir")
  begin 2 "$dir"; await_ranges $((before + 1)) "$dir"; kill -KILL "$(rank_pid 1)"; wait $job
done
run 2 "$dir" embed; expect "after two deaths" 0 $?
expect "all done" 6 "$(grep -c ',done,' "$dir/out/slides.csv")"
finish
