#!/usr/bin/env python3
"""The human at the browser: opens the address, says yes, and follows where it leads."""
import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=20) as page:
    page.read()
