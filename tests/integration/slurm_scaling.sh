#!/bin/bash
# On a real Slurm: a strong and a weak sweep over 1 and 2 ranks, of a study whose paths are relative, absolute and quoted;
# submitted, run, gathered, drawn. What cannot be a sweep is refused before any job is submitted.
. "$(dirname "$0")/slurm_lib.bash"
started=$SECONDS
# Tables by absolute path, tissue masks beside the study file, slides by a quoted path with a comma in it.
mkdir -p "$work/s/more"
"$LOBULE" demo "$work/s/demo" --patients 8 --tiles 12 --centers 3 >"$work/demo.log" 2>&1 || { tail "$work/demo.log"; fail "no cohort"; finish; }
ln -s "$work/s/demo/slides" "$work/s/more/a, b"
sed 's|,slides/\(.*\)$|,"a, b/\1"|' "$work/s/demo/slides.csv" >"$work/s/more/slides.csv"
"$LOBULE" masks --geojson --output "$work/s" "$work/s/demo/study.yaml" >>"$work/demo.log" 2>&1 || { tail "$work/demo.log"; fail "no masks"; }
sed "s|slides: slides.csv|slides: $work/s/more/slides.csv|; s|patients: patients.csv|patients: \"$work/s/demo/patients.csv\"|; /^encoder:/i tissue: {method: masks, masks: masks}" \
  "$work/s/demo/study.yaml" >"$work/s/study.yaml"
slides=$(($(wc -l <"$work/s/demo/slides.csv") - 1))
sweep() { slurm env -C "$work" REPEATS=2 bash "$LOB_SOURCE/slurm/scaling.sh" "$@"; }
jobs_so_far() { slurm scontrol -o show job 2>/dev/null | grep -c '^JobId='; }

refused() { # WHAT WORD ARGUMENTS...
  sweep submit "${@:3}" >"$work/said" 2>&1; expect "$1" 2 $?
  grep -q -- "$2" "$work/said" || { fail "$1: no '$2' in what it said"; cat "$work/said"; }
}
refused "a sweep of no study" 'cannot be read' "$work/none.yaml" "$work/x" "1 2"
refused "a sweep of no sizes" 'no sizes' "$work/s/study.yaml" "$work/x" ""
refused "a sweep of half a rank" '0.5 is not a number of ranks' "$work/s/study.yaml" "$work/x" "0.5 1"
refused "a sweep in no partition" 'strong with 1 ranks was not submitted' "$work/s/study.yaml" "$work/x" "1" strong -p none
expect "jobs submitted for these" 0 "$(jobs_so_far)"

sweep submit "$work/s/study.yaml" "$work/sweep" "2 1" both -t 5 -N 1 >"$work/ids" || fail "submit"
cat "$work/ids"
expect "the order of jobs" "strong 1, strong 2, weak 1, weak 2, " "$(sed -n 's/^scaling: \([a-z]*\) with \([0-9]*\) ranks is job.*/\1 \2, /p' "$work/ids" | tr -d '\n')"
refused "a sweep where one is" 'holds a sweep already' "$work/s/study.yaml" "$work/sweep" "1 2"
bash "$LOB_SOURCE/slurm/scaling.sh" gather "$work/sweep" >"$work/early" 2>/dev/null; expect "gathered before the smallest size has ended" 1 $?
for job in $(sed -n 's/.* is job //p' "$work/ids"); do
  await 120 over "$job" || fail "job $job: still $(field "$job" JobState)"
  expect "job $job: exit code" 0:0 "$(field "$job" ExitCode)"
done
[ "$failures" = 0 ] || tail -n 5 "$work"/sweep/*/log
bash "$LOB_SOURCE/slurm/scaling.sh" gather "$work/sweep" >"$work/lines"; expect "gather" 0 $?
/usr/bin/python3 - "$work/lines" "$("$LOBULE" --version)" <<'PY' || fail "the gathered lines"
import json, sys
rows = {(r["case"], r["ranks"]): r for r in map(json.loads, open(sys.argv[1]))}
assert sorted(rows) == [("strong", 1), ("strong", 2), ("weak", 1), ("weak", 2)], sorted(rows)
for (case, ranks), row in rows.items():
    assert row["repeats"] == len(row["seconds_all"]) == 2 and row["least"] <= row["rate"] <= row["most"] and row["rate"] > 0, row
    assert abs(row["ceiling"] - ranks * rows[case, 1]["rate"]) < 0.01 * row["ceiling"], row
    p = row["provenance"]
    assert p["program"] == sys.argv[2] and "Open MPI" in p["mpi"] and p["sbatch_options"] == "-t 5 -N 1" and p["nodes"].startswith("n"), p
tiles = {k: r["tiles"] for k, r in rows.items()}
assert tiles["strong", 1] == tiles["strong", 2] == tiles["weak", 2] > 0, tiles
assert 0.2 * tiles["weak", 2] < tiles["weak", 1] < 0.8 * tiles["weak", 2], tiles
PY
expect "slides of the smaller weak size" $((slides / 2)) "$(($(wc -l <"$work/sweep/weak-1/run/slides.csv") - 1))"
expect "runs of a size" "run 0 run 1 run 2" "$(sed -n 's/^scaling: \(run [0-9]*\): .*/\1/p' "$work/sweep/strong-2/log" | xargs)"
expect "stores left behind" 0 "$(find "$work/sweep" -name '*.h5' | wc -l)"
bash "$LOB_SOURCE/slurm/scaling.sh" table "$work/sweep" || fail "table"
bash "$LOB_SOURCE/slurm/scaling.sh" plot "$work/sweep" "$work/plot.svg" && grep -q '</svg>' "$work/plot.svg" || fail "plot"

# A study that is wrong: the job says so, and there is no result to gather.
sed 's/^encoder:.*/encoder: {name: nosuch}/' "$work/s/study.yaml" >"$work/s/wrong.yaml"
sweep submit "$work/s/wrong.yaml" "$work/wrong" "1" strong -t 5 >"$work/ids"
job=$(sed -n 's/.* is job //p' "$work/ids")
await 60 over "$job"; expect "a sweep of a study that is wrong" 2:0 "$(field "$job" ExitCode)"
bash "$LOB_SOURCE/slurm/scaling.sh" gather "$work/wrong" >"$work/lines" 2>/dev/null; expect "gathered from it" "1 0" "$? $(wc -l <"$work/lines")"
say "took $((SECONDS - started)) s"
finish
