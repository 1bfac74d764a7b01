#!/usr/bin/env python3
"""Searches logs through an index that nobody has built on this machine: it exits with 3, and the tool's alternative takes over."""

import pathlib
import sys

index = pathlib.Path("logs") / ".index"
print(f"{index}: no index here (version 2 wanted); plain search is the way to go", file=sys.stderr)
sys.exit(3)
