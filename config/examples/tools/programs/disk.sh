#!/bin/sh
# How full a disk is. The first two attempts of each call fail, as a host does that is just restarting.
# All attempts of one call have one idempotency key: that is how this program knows them.
tries="out/$(printf %s "$TROUPE_IDEMPOTENCY_KEY" | cksum | cut -d' ' -f1)"
echo x >> "$tries"
if [ "$(wc -l < "$tries")" -lt 3 ]; then
  echo "$1: connection refused" >&2
  exit 1
fi
echo "$1: 91 %"
