#!/usr/bin/env python3
"""Numbers from logs, for agents: which services have errors, since when, and what changed before.

    logstat.py survey LOGS                     errors of each service
    logstat.py profile LOGS SERVICE            the errors of one service over the night
    logstat.py changes LOGS SERVICE TIME       reloads and deployments of a service in the 15 minutes before TIME

It states what is in the files and judges nothing: shape is arithmetic, not opinion. `steady`: errors in nine minutes of ten.
`ended`: more than four a minute for a while, none of that in the last ten minutes. `ongoing`: still so at the end. `sporadic`: never.
"""

import collections
import datetime
import pathlib
import re
import sys

MINUTE = datetime.timedelta(minutes=1)
BURST = 4  # errors a minute


def parse(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.rstrip("Z"))


class Service:
    """One service's log: its errors, counted by minute."""

    def __init__(self, path: pathlib.Path):
        self.name = path.stem
        self.times: list[str] = []
        self.changes: list[str] = []
        self.begin = self.end = ""
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                self.begin = self.begin or line[:24]
                self.end = line[:24]
                if line[25:30] == "ERROR":
                    self.times.append(line[:24])
                elif "config reloaded" in line or "deployed" in line:
                    self.changes.append(line.rstrip("\n"))
        self.per_minute = collections.Counter(time[:16] for time in self.times)
        self.minutes = int((parse(self.end) - parse(self.begin)) / MINUTE) + 1 if self.end else 0
        loud = sorted(minute for minute, count in self.per_minute.items() if count >= BURST)
        if len(self.per_minute) >= 0.9 * self.minutes > 0:
            self.shape = "steady"
        elif len(loud) < 5:
            self.shape = "sporadic"
        elif parse(self.end) - parse(loud[-1]) > 10 * MINUTE:
            self.shape = "ended"
        else:
            self.shape = "ongoing"
        # A burst starts with the first error of its first loud minute, or of the minute before when that one belongs to it already.
        self.onset = self.until = "-"
        if self.shape == "steady":
            self.onset, self.until = self.times[0], self.times[-1]
        elif self.shape != "sporadic":
            first = loud[0]
            before = (parse(first) - MINUTE).isoformat(timespec="minutes")
            if self.per_minute[before] >= 2:
                first = before
            self.onset = next(time for time in self.times if time >= first)
            self.until = [time for time in self.times if time[:16] <= loud[-1]][-1]


def rate(service: Service, begin: datetime.datetime) -> float:
    """Errors a minute in the hour from `begin` on."""
    minutes = ((begin + n * MINUTE).isoformat(timespec="minutes") for n in range(60))
    return sum(service.per_minute[minute] for minute in minutes) / 60


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0] not in ("survey", "profile", "changes"):
        print(__doc__, file=sys.stderr)
        return 2
    folder = pathlib.Path(arguments[1])
    if arguments[0] == "survey":
        services = [Service(path) for path in sorted(folder.glob("*.log"))]
        if not services:
            print(f"{folder}: no *.log there; make some with: python3 generate_logs.py", file=sys.stderr)
            return 1
        print(f"{'service':<10} {'errors':>6} {'shape':<9} onset")
        for service in sorted(services, key=lambda s: -len(s.times)):
            print(f"{service.name:<10} {len(service.times):>6} {service.shape:<9} {service.onset}")
        return 0
    name = arguments[2]
    path = folder / f"{name}.log"
    if not re.fullmatch(r"[a-z_-]+", name) or not path.is_file():
        print(f"no log of a service named {name!r}; there are: {', '.join(sorted(p.stem for p in folder.glob('*.log')))}", file=sys.stderr)
        return 1
    service = Service(path)
    if arguments[0] == "profile":
        print(f"service={name} errors={len(service.times)} minutes={len(service.per_minute)}/{service.minutes} shape={service.shape}")
        first, last = (rate(service, parse(time)) for time in (service.begin, (parse(service.end) - 59 * MINUTE).isoformat()))
        print(f"errors a minute: first_hour={first:.1f} last_hour={last:.1f}")
        print(f"onset={service.onset} until={service.until} logs_end={service.end}")
        tens = collections.Counter(minute[:15] for minute in service.per_minute.elements())
        for ten in sorted(tens):
            print(f"{ten}0 {tens[ten]:>5} {'#' * min(60, -(-tens[ten] // 4))}")
        return 0
    before = parse(arguments[3])
    found = [line for line in service.changes if datetime.timedelta(0) <= before - parse(line[:24]) <= 15 * MINUTE]
    print("\n".join(found) if found else f"no change of {name} in the 15 minutes before {arguments[3]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
