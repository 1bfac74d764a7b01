#!/bin/sh
# Does something that takes a while, and writes down that it began and that it is done: ACTION KEY.
echo "$1 began $TROUPE_IDEMPOTENCY_KEY" >> out/ledger
sleep 3
echo "$1 done $TROUPE_IDEMPOTENCY_KEY" >> out/ledger
echo "$1 is done"
