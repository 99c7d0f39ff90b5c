#!/bin/sh
# xargs -P and curl, as it is written in a hurry: sh xargs.sh ORIGIN COUNT IN_FLIGHT LATENCY FOLDER
# Each edit is a shell of its own: create, wait, read until it is over, download. Three calls, three processes of curl.
set -eu

if [ "$1" = edit ]; then
    number=$2
    run=$(curl -sS -H "authorization: Bearer rf_live_benchmark" -H "content-type: application/json" \
        -d "{\"input\": {\"prompt\": \"on white\", \"image_urls\": [\"https://example.com/a.jpg\"], \"num_images\": 1, \"quality\": \"high\"}, \"client_ref\": \"xargs-$number\"}" \
        "$ORIGIN/v1/models/openai/gpt-image-2/edit/runs" | sed -n 's/^{"id": *"\([^"]*\)".*/\1/p')
    [ "$LATENCY" = 0.0 ] || sleep "$LATENCY"
    while :; do
        url=$(curl -sS -H "authorization: Bearer rf_live_benchmark" "$ORIGIN/v1/runs/$run" |
            sed -n 's/.*"status_code": *"succeeded".*"url": *"\([^"]*\)".*/\1/p')
        [ -z "$url" ] || break
        sleep 0.05
    done
    exec curl -sS -o "$FOLDER/$number.png" "$url"
fi

export ORIGIN="$1" LATENCY="$4" FOLDER="$5"
mkdir -p "$FOLDER"
seq 0 $(($2 - 1)) | xargs -P "$3" -n 1 sh "$0" edit
