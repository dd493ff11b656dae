#!/bin/bash
# Claims of relative effect modification where there is none to claim: families of synthetic cohorts, one line a
# cohort, a summary a family and one over all. Fails where a family has more than 9 claims of 100 (in proportion; at
# least 20 cohorts), all families together more than 33 of 500, or where what has to be "not estimable" is not.
# usage: cohort_families.sh LOBULE [COHORTS] [FAMILY ...]      FIRST_SEED=1, PATIENTS=600
#   sharp       no path from any image latent to the outcome
#   constant    a strong prognosis and the same hazard ratio for everybody
#   measured    as constant; size and MVI decide on treatment twice as strongly
#   one_center  as constant; the first center supplies most of TACE
#   centers     as constant; TACE's own effect varies between centers (SD 0.3)
# Without a count among the 500 (named explicitly, printed alone):
#   hidden      as constant; grade, which the image alone shows, decides on treatment
#   immortal    as constant; treatment starts late and only in those who live to see it
#   rare        5 % systemic therapy: its contrast has to be not estimable
#   early       treatment works in the first two years only
#   random, value, column   as constant; covariates missing at random, by value, a column in a whole center
# Three claims can be made of each cohort: TACE by effect score, TACE by biomarker, either systemic one; the count is
# of the verdict, which is by the registered pair.
# About 2.5 s of one core a cohort (600 patients, 4 centers, a mean-pooling model).
set -eu
lobule=$1 cohorts=${2:-100}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- sharp constant measured one_center centers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
constant=(--tace-immune-effect 0 --vessel-effect 0)
for family in "$@"; do
  case $family in
    sharp) options=(--null) ;;
    constant) options=("${constant[@]}") ;;
    measured) options=("${constant[@]}" --indication 2) ;;
    one_center) options=("${constant[@]}" --center-lean 1.5) ;;
    centers) options=("${constant[@]}" --center-effect-sd 0.3) ;;
    hidden) options=("${constant[@]}" --hidden-indication 0.8) ;;
    immortal) options=("${constant[@]}" --immortal) ;;
    rare) options=("${constant[@]}" --systemic-share 0.05) ;;
    early) options=("${constant[@]}" --early) ;;
    random | value | column) options=("${constant[@]}" --missing "$family") ;;
    *) echo "unknown family $family" >&2; exit 2 ;;
  esac
  for seed in $(seq "${FIRST_SEED:-1}" $((${FIRST_SEED:-1} + cohorts - 1))); do
    dir=$work/$seed
    "$lobule" demo --bags "${options[@]}" --patients "${PATIENTS:-600}" --centers 4 --tiles 12 --dim 32 --seed "$seed" \
      "$dir" >"$work/log" 2>&1
    sed -i 's/^model: .*/model: {kind: mean, epochs: 8, benefit: true, biomarker: til_score}/
            s/^validation: .*/validation: {scheme: loco, seeds: 1, bootstrap: 20}/' "$dir/study.yaml"
    "$lobule" validate "$dir/study.yaml" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
    python3 - "$dir" "$seed" "$family" <<'P'
import csv, json, math, sys
folder, seed, family = sys.argv[1:]
verdict = json.load(open(folder + "/out/verdict.json"))
by_name = {c["contrast"]: c for c in verdict["contrasts"]}
truth = list(csv.DictReader(open(folder + "/truth.csv")))
true = sum(float(t["lp_tace"]) - float(t["lp_none"]) for t in truth) / len(truth)

def of(name, key):
    c = by_name.get(name, {})
    return c.get(key)

tace, marker = by_name.get("tace", {}), by_name.get("tace_by_til_score", {})
average = tace.get("average_log_hazard_ratio")
print("%s %s claim %d score %d marker %d systemic %s p %s marker_p %s average %s true %.3f %s" % (
    family, seed, verdict["verdict"] == "relative effect modification", tace.get("claimed", False), marker.get("claimed", False),
    "not_estimable" if not of("systemic", "estimable") else int(of("systemic", "claimed")),
    tace.get("permutation_p"), marker.get("permutation_p"), "%.3f" % average if average is not None else None, true,
    verdict["verdict"].replace(" ", "_")), flush=True)
P
    rm -rf "$dir"
  done
done | tee "$work/lines"
python3 - "$work/lines" <<'P'
import collections, math, statistics, sys
lines = [line.split() for line in open(sys.argv[1])]
counted = ("sharp", "constant", "measured", "one_center", "centers")
failed, claims, total = False, 0, 0
for family in dict.fromkeys(f[0] for f in lines):
    own = [f for f in lines if f[0] == family]
    n, claimed = len(own), sum(int(f[3]) for f in own)
    verdicts = collections.Counter(f[-1] for f in own)
    error = [float(f[15]) - float(f[17]) for f in own if f[15] != "None"]
    bias = statistics.mean(error) if error else float("nan")
    e = math.exp(abs(bias))
    print("%s: cohorts %d claimed %d (score %d, biomarker %d) bias of the average log hazard ratio %.3f (hazard ratio %.2f, "
          "E-value %.2f) verdicts %s" % (family, n, claimed, sum(int(f[5]) for f in own), sum(int(f[7]) for f in own), bias, e,
                                         e + math.sqrt(e * (e - 1)), dict(verdicts)))
    if family in counted:
        claims, total = claims + claimed, total + n
        failed |= n >= 20 and claimed > 0.09 * n
    if family == "rare":
        refused = sum(f[9] == "not_estimable" for f in own)
        print("rare: systemic therapy not estimable in %d of %d" % (refused, n))
        failed |= refused < n
    if family == "measured":
        failed |= n >= 20 and abs(bias) > 0.05
print("counted families: %d claims of %d" % (claims, total))
sys.exit(failed or total >= 100 and claims > 0.066 * total)
P
