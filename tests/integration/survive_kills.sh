#!/bin/bash
# Six random kills of tests/bench/kills.sh, which can do hundreds.
: "${LOB_SOURCE:?root of the source}"
exec bash "$LOB_SOURCE/tests/bench/kills.sh" "${LOB_KILLS:-6}" "${LOB_KILLS_SEED:-3}"
