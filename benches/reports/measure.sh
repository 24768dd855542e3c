#!/bin/sh
# Takes the reports of this folder anew: sh benches/reports/measure.sh [PART…], on a machine that does
# nothing else. Parts: floors saturation receipts fan-out half idle reconnect nodes storage crowd. All of them take about an
# hour; RUNS=1 is for a first look. `half` needs the report of `saturation`, or HALF, a rate. `nodes` and `storage` need
# `cargo xtask services up`, the peer in `floors` and `saturation` `cargo xtask peers up socketio`; both stay up afterwards,
# and so do the nodes of `crowd` (`cargo xtask cluster down`), whose connections have OPENING seconds to open.
set -eu
cd "$(dirname "$0")/../.."
runs=${RUNS:-3}
seconds=${SECONDS_EACH:-10}
# So that a report says what it is of.
GIT_REVISION=$(git describe --always --dirty)
export GIT_REVISION
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

# figure NAME FIGURE: gives the median of a figure of NAME.json.
figure() {
    "$bench" show "$reports/$1.json" | awk -v name="$2" \
        'index($0, name "  ") == 1 { split(substr($0, length(name) + 1), cells, " "); print cells[1]; exit }'
}

# further SERVER: gives what a further device of everybody adds to its CPU a message, by the reports of `fan-out`.
further() {
    one=$(figure devices-1 "$1 CPU a message") five=$(figure devices-5 "$1 CPU a message")
    awk -v one="$one" -v five="$five" 'BEGIN { print (five - one) / 4 }'
}

# crowd USERS: so many connections that say nothing, over three nodes and from three generators, each with a third. They
# measure together, from a moment on at which all should be open.
crowd() {
    each=$(($1 / 3))
    opening=${OPENING:-300}
    cargo xtask cluster up --nodes 3 -- $limits
    pids=$(cargo xtask cluster status | sed -n 's/^node-[1-3] .* process /--pid=/p')
    "$bench" accounts $((each * 3)) | target/release/rally-server users import --config .rally/cluster/node-1/rally.toml -
    generators= begin=$(($(date +%s) + opening))
    for node in 1 2 3; do
        # shellcheck disable=SC2086
        "$bench" run idle --attach "127.0.0.1:808$node" $pids --users "$each" --first-user $((each * (node - 1))) \
            --begin-at "$begin" --runs 1 --seconds "$seconds" --json "target/crowd-$node.json" &
        generators="$generators $!"
    done
    for generator in $generators; do wait "$generator" || [ $? -eq 3 ]; done
    "$bench" add target/crowd-1.json target/crowd-2.json target/crowd-3.json --json "$reports/crowd.json"
}

closed="--set send.rate=0 --set send.in_flight=16"
# What people need is less than what a generator does from one address.
limits=
for limit in requests-per-second-address requests-burst-address logins-per-minute-address; do
    limits="$limits --rate-$limit=1000000"
done
limits="$limits --max-http-connections-address=1000000"
parts=${*:-floors saturation receipts fan-out half idle reconnect nodes storage crowd}
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
        awk -v rally="$(further rally)" -v floor="$(further floor)" \
            'BEGIN { printf "a further device costs %.1f times what it costs the bare loop\n", rally / floor }'
        ;;
    half)
        # Of what Rally carried in a closed loop.
        rate=${HALF:-$(figure saturation "rally messages a second" | awk '{ printf "%d", $1 / 2 }')}
        measure half-saturation rally pairs --rate "${rate:?saturation.json names no rate}"
        ;;
    idle) measure idle-18000 rally,floor idle --users 18000 ;;
    # Everybody is dropped after 10 s.
    reconnect) (seconds=20 && measure reconnect-10000 rally reconnect-storm --users 10000) ;;
    nodes) measure nodes-1000 cluster,commits,floor pairs --rate 1000 --no-sync ;;
    storage)
        "$bench" storage --cassandra 127.0.0.1:9042 --data .rally/services/cassandra-1/data --json "$reports/storage.json"
        ;;
    crowd) crowd 50000 ;;
    *)
        echo "unknown part: $part" >&2
        exit 64
        ;;
    esac
done
