#!/bin/sh
# Takes the reports of this folder anew: sh benches/reports/measure.sh [PART…], on a machine that does
# nothing else. Parts: floors saturation receipts fan-out half idle reconnect nodes. All of them take about 40 minutes; RUNS=1
# is for a first look. `nodes` needs `cargo xtask services up`, the peer in `floors` and `saturation`
# `cargo xtask peers up socketio`; both stay up afterwards.
set -eu
cd "$(dirname "$0")/../.."
runs=${RUNS:-3}
seconds=${SECONDS_EACH:-20}
# So that a report says what it is of.
RALLY_REVISION=$(git describe --always --dirty)
export RALLY_REVISION
cargo build --release --quiet -p rally-server -p rally-bench
bench=target/release/rally-bench
reports=benches/reports

# measure NAME SERVERS SCENARIO FLAG…: keeps NAME.json. A run whose generator was the bottleneck (status 3) is a report, too.
measure() {
    name=$1 on=$2 scenario=$3
    shift 3
    echo "== $name"
    set -- "$bench" run "$scenario" --on "$on" --runs "$runs" --seconds "$seconds" \
        --json "$reports/$name.json" "$@"
    "$@" || { status=$?; [ "$status" -eq 3 ] || { echo "$name: status $status" >&2; exit "$status"; }; }
}

closed="--set send.rate=0 --set send.in_flight=16"
parts=${*:-floors saturation receipts fan-out half idle reconnect nodes}
for part in $parts; do
    case $part in
    floors)
        measure pairs-500 rally,floor,socketio pairs --rate 500
        measure pairs-2000 rally,floor,socketio pairs --rate 2000
        "$bench" show "$reports/pairs-2000.json" --svg "$reports/pairs-2000.svg"
        measure pairs-5000 rally,floor pairs --rate 5000
        ;;
    # shellcheck disable=SC2086
    saturation) measure saturation rally,floor,socketio pairs $closed ;;
    # shellcheck disable=SC2086
    receipts) measure saturation-receipts rally pairs $closed --set receipts=read ;;
    fan-out)
        for devices in 1 3 5; do
            measure "devices-$devices" rally,floor devices --set "devices=$devices"
        done
        ;;
    half) measure half-saturation rally pairs --rate "${HALF:-10000}" ;;
    idle) measure idle-18000 rally,floor idle --users 18000 ;;
    reconnect) measure reconnect-10000 rally reconnect-storm --users 10000 ;;
    nodes) measure nodes-1000 cluster,commits,floor pairs --rate 1000 --no-sync ;;
    *)
        echo "unknown part: $part" >&2
        exit 64
        ;;
    esac
done
