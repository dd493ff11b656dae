#!/bin/bash
# Treatment benefit on synthetic cohorts whose truth is known, one line a cohort and a summary.
# usage: cohort_benefit.sh LOBULE planted|null|constant [COHORTS] [model options, e.g. "kind: mean"] [demo options]
#   planted   TACE -.10 - .70 x immune: mean within-center correlation of the effect score with the immune latent at
#             least .5; claimed in 16 of 20; gain of the recommendation over the better of treat-all and treat-none (months of
#             true restricted mean, truth.csv) at least .75 in 18 of 20; 90 % intervals of the benefit hold the truth in
#             85 to 95 % of patients
#   null      no path from any image latent to the outcome: at most 9 of 100 claims
#   constant  a strong prognosis and the same hazard ratio for everybody: at most 9 of 100 claims
# About 15 s of one core a cohort with a mean-pooling model (2,000 patients, 6 centers).
set -eu
lobule=$1 family=$2 cohorts=${3:-20} model=${4:-kind: mean, epochs: 8, biomarker: til_score} extra=${5:---tiles 16}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $family in
  planted) options=() ;;
  null) options=(--null) ;;
  constant) options=(--tace-immune-effect 0 --vessel-effect 0) ;;
  *) echo "unknown family $family" >&2; exit 2 ;;
esac
for seed in $(seq "${FIRST_SEED:-1}" $((${FIRST_SEED:-1} + cohorts - 1))); do
  dir=$work/$seed
  # shellcheck disable=SC2086
  "$lobule" demo --bags "${options[@]}" $extra --seed "$seed" "$dir" >"$work/log" 2>&1
  sed -i "s/^model: .*/model: {$model, benefit: true}/; s/seeds: 5/seeds: 1/" "$dir/study.yaml"
  "$lobule" validate "$dir/study.yaml" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
  python3 - "$dir" "$seed" <<'P'
import csv, json, statistics, sys
folder, seed = sys.argv[1:]
truth = {r["patient_id"]: r for r in csv.DictReader(open(folder + "/truth.csv"))}
rows = list(csv.DictReader(open(folder + "/out/benefit.csv")))
verdict = json.load(open(folder + "/out/verdict.json"))
tace = next(c for c in verdict["contrasts"] if c["contrast"] == "tace")
other = next(c for c in verdict["contrasts"] if c["contrast"] == "systemic")

def correlation(x, y):
    try:
        return statistics.correlation(x, y)
    except statistics.StatisticsError:
        return 0.0

r = []
for center in sorted({row["center"] for row in rows}):
    own = [row for row in rows if row["center"] == center and row["effect_tace"]]
    if len(own) > 2:
        # The score is a log hazard ratio: a patient whom treatment helps has a low one.
        r.append(-correlation([float(o["effect_tace"]) for o in own],
                              [float(truth[o["patient_id"]]["immune"]) for o in own]))
covered, n, all_, none, policy, by_sign = 0, 0, 0.0, 0.0, 0.0, 0.0
for row in rows:
    if not row["benefit_tace"]:
        continue
    t = truth[row["patient_id"]]
    a, b = float(t["rmst_none"]), float(t["rmst_tace"])
    estimate, sd = float(row["benefit_tace"]), float(row["benefit_tace_sd"])
    n += 1
    none += a
    all_ += b
    # What the program says; where it is undecided, what was done is left.
    said = row["recommendation"] if row["recommendation"] != "undecided" else row["arm"]
    policy += b if said in ("tace", "both") else a
    by_sign += b if estimate > 0 else a
    covered += abs(estimate - (b - a)) <= 1.645 * sd
months = lambda value: (value - max(all_, none)) / n / 30.4375 if n else 0
print("cohort %s r %.3f interaction %.3f p %.3f hk_lower %.3f claimed %d systemic_claimed %d gain_months %.2f covered %.3f sign_months %.2f %s"
      % (seed, statistics.mean(r) if r else 0, tace.get("interaction_per_sd") or 0, tace.get("permutation_p") or 1,
         tace.get("hartung_knapp_lower") or 0, tace["claimed"], other["claimed"], months(policy), covered / n if n else 0, months(by_sign),
         verdict["verdict"].replace(" ", "_")), flush=True)
P
  rm -rf "$dir"
done | tee "$work/lines"
python3 - "$family" "$work/lines" <<'P'
import statistics, sys
family, lines = sys.argv[1], [line.split() for line in open(sys.argv[2])]
n = len(lines)
r, gain, covered, sign = ([float(f[k]) for f in lines] for k in (3, 15, 17, 19))
claimed = sum(int(f[11]) for f in lines)
if family == "planted":
    large = sum(g >= 0.75 for g in gain)
    print("cohorts %d mean correlation %.3f claimed %d gain of .75 months in %d (mean %.2f; %.2f by the sign of the benefit) 90 %% intervals cover %.3f (%.3f to %.3f)"
          % (n, statistics.mean(r), claimed, large, statistics.mean(gain), statistics.mean(sign), statistics.mean(covered), min(covered), max(covered)))
    sys.exit(statistics.mean(r) < 0.5 or claimed < 0.8 * n or large < 0.9 * n or not 0.85 <= statistics.mean(covered) <= 0.95)
print("cohorts %d claimed %d" % (n, claimed))
sys.exit(n >= 20 and claimed > 0.09 * n)
P
