#!/bin/bash
# The page in a real browser: light, dark, narrow and on paper; numbers traced to the tables and done again in R.
set -eu
. "$LOB_SOURCE/jobs/launch.sh"
here="$LOB_SOURCE/tests/integration"
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
fail() { echo "report_page: $1" >&2; exit 1; }
skipped=""

# Slides of three centers for the sections about slides; features of four for the statistics.
launch 2 "$LOBULE" demo "$dir/s" --patients 24 --centers 3 --tiles 12 --seed 3 >"$dir/log" 2>&1 || { cat "$dir/log"; fail "demo failed"; }
launch 1 "$LOBULE" demo "$dir/b" --bags --patients 480 --centers 4 --seed 4 >"$dir/log" 2>&1 || { cat "$dir/log"; fail "demo --bags failed"; }
mkdir "$dir/s/regions"
slide=$(sed -n 2p "$dir/s/slides.csv" | cut -d, -f1)
cat >"$dir/s/regions/$slide.geojson" <<'EOF'
{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"classification":{"name":"Tumor"}},
"geometry":{"type":"Polygon","coordinates":[[[0,0],[900,0],[900,900],[0,900],[0,0]]]}}]}
EOF
echo 'report: {regions: regions}' >>"$dir/s/study.yaml"
for d in s b; do
  sed -i 's/seeds: *[0-9]*/seeds: 1/' "$dir/$d/study.yaml"
  launch 1 "$LOBULE" run "$dir/$d/study.yaml" >"$dir/log" 2>&1 || { cat "$dir/log"; fail "run failed"; }
  "$LOBULE" report "$dir/$d/study.yaml" --format csv,html,json 2>"$dir/log" || { cat "$dir/log"; fail "report failed"; }
done
# Attention maps of each center's highest and lowest risk, over the slides; the drawn tumour's margin.
maps="$dir/s/out/attention"
[ "$(tail -n +2 "$maps/maps.csv" | wc -l)" -ge 6 ] || fail "fewer maps than two a center"
tail -n +2 "$maps/maps.csv" | sed 's/.*,//' | while read -r file; do
  for made in "$maps/${file%.csv}.png" "$maps/${file%.csv}-lymphocytes.png" "$maps/${file%.csv}.geojson"; do
    [ -s "$made" ] || fail "no $made"
  done
done
grep -q ',over the slide$' "$dir/s/out/figures/maps.csv" || fail "no map lies over its slide"
[ "$(awk -F, 'NR > 1 && $8 > 0' "$dir/s/out/immune.csv" | wc -l)" = 1 ] || fail "one slide has a margin"
grep -q "^$slide,.*,fewer than 10 tiles in tumour core or margin$" "$dir/s/out/immune.csv" || fail "a small tumour has no core"
# The permutation null, the targeting curve, arms by third of benefit, the decision curve of benefit.
for figure in permutation_null_1 targeting_1 benefit_thirds_1 km_benefit_1_lowest km_benefit_1_highest benefit_decision_1 \
  permutation_1_1; do
  [ -s "$dir/b/out/figures/$figure.csv" ] || fail "no figure $figure"
  grep -q "figures/$figure.csv" "$dir/b/out/report.html" || fail "$figure is not on the page"
done
# What an earlier run left goes; slides that are no longer there cost thumbnails, nothing else.
echo old >"$dir/s/out/figures/old.csv"
cp -r "$dir/s" "$dir/gone"; rm -r "$dir/gone/slides"
"$LOBULE" report "$dir/gone/study.yaml" 2>"$dir/log" || { cat "$dir/log"; fail "report without slides"; }
[ ! -e "$dir/gone/out/figures/old.csv" ] || fail "a stale table stays"
grep -q ',the slide is not here$' "$dir/gone/out/figures/maps.csv" || fail "it does not say that the slide is not here"
grep -q 'No thumbnail (the slide is not here)' "$dir/gone/out/report.html" || fail "nor on the page"
[ -s "$dir/b/out/evidence.json" ] || fail "no evidence.json"
rc=0; "$LOBULE" report "$dir/b/study.yaml" --format pdf 2>"$dir/log" || rc=$?
[ $rc = 2 ] || fail "an unknown format gave exit $rc, not 2"

# Every number, and a wrong one is noticed.
if command -v python3 >/dev/null; then
  for d in s b; do python3 "$here/report_trace.py" "$dir/$d/out" || fail "a number is not traced"; done
  cp -r "$dir/b/out" "$dir/wrong"
  sed -i '0,/<td class="n">0\.\([0-9]\)/s//<td class="n">7.\1/' "$dir/wrong/report.html"
  ! python3 "$here/report_trace.py" "$dir/wrong" >/dev/null 2>&1 || fail "a changed number was not noticed"
else
  skipped="$skipped python3"
fi
if command -v Rscript >/dev/null && Rscript -e 'library(survival)' >/dev/null 2>&1; then
  (cd "$dir/b/out" && Rscript recompute.R >"$dir/log" 2>&1) || { cat "$dir/log"; fail "R finds other figures"; }
  tail -n 1 "$dir/log"
else
  skipped="$skipped R-survival"
fi

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
  echo "report_page: skipped the browser, there is no chromium;$skipped"
  exit 77
fi
look() { # look FILE [options]: options must include what is asked for
  local file=$1; shift
  timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --host-resolver-rules='MAP * ~NOTFOUND' \
    --user-data-dir="$dir/profile" --enable-logging=stderr "$@" "file://$file" 2>"$dir/browser.log"
  local rc=$?
  ! grep 'CONSOLE' "$dir/browser.log" || fail "the console has something to say"
  return $rc
}
for d in s b; do
  page="$dir/$d/out/report.html"
  ! grep -qE '(src|href)="?(https?:)?//' "$page" || fail "the page points outside"
  copy="$dir/$d/out/probed.html"
  sed "s#</title>#</title><script>window.lobErrors=[];addEventListener('error',function(e){lobErrors.push(e.message)});addEventListener('securitypolicyviolation',function(e){lobErrors.push(e.blockedURI)})</script>#" "$page" >"$copy"
  { echo '<script>'; cat "$here/report_probe.js"; echo '</script>'; } >>"$copy"
  for view in "1000,1200 1" "1000,1200 0" "500,900 1"; do # window, then 1 light or 0 dark
    set -- $view
    look "$copy" --window-size="$1" --blink-settings="preferredColorScheme=$2" --dump-dom >"$dir/dom" || fail "the browser failed: $(tail -n 3 "$dir/browser.log")"
    sed -n '/<pre id="probe">/,/END/p' "$dir/dom" | sed 's/<[^>]*>//g' >"$dir/probe"
    grep -q '^GOOD' "$dir/probe" || { cat "$dir/probe"; fail "the page of $d in $view"; }
    tail -n 1 "$dir/probe"
    case $2 in 0) grep -q 'ground rgb(20' "$dir/probe" || fail "dark is not dark";; esac
  done
  look "$page" --no-pdf-header-footer --print-to-pdf="$dir/$d.pdf" || fail "does not print"
  [ "$(head -c 5 "$dir/$d.pdf")" = "%PDF-" ] && [ "$(stat -c %s "$dir/$d.pdf")" -gt 20000 ] || fail "the PDF is empty"
done
for id in verdict caveats cohort slides power discrimination calibration utility survival subgroups arms maps immune leakage training patients checklist provenance; do
  grep -q "id=\"$id\"" "$dir/s/out/report.html" || fail "the page of the slides lacks the section $id"
done
[ -z "$skipped" ] || { echo "report_page: skipped$skipped"; exit 77; }
