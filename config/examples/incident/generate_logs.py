#!/usr/bin/env python3
"""Writes the logs of one bad night: seven services, about 5 MB, one hidden root cause and two red herrings.

    python3 generate_logs.py                            # ./logs, the night that README.md tells of
    python3 generate_logs.py --root-cause payments      # another service is to blame
    python3 generate_logs.py --seed 7 --out /tmp/logs   # other requests, other seconds

What happens: at 02:57 one service reloads its configuration, and its database pool shrinks from 40 connections to 4. That is a
single INFO line. A minute later the pool times out, then those who call the service do, then the gateway answers 502. The logs end
at 03:45, when the person on call sits down.

What does not matter, though it looks as if it did: `search` writes by far the most errors, all night long; `auth` sees a burst of
failed logins that is over half an hour before the incident begins.

The same seed and root cause give the same bytes.
"""

import argparse
import datetime
import pathlib
import random

START = datetime.datetime(2026, 3, 13, 21, 0, 0)
MINUTES = 405  # to 03:45
CHANGE = datetime.datetime(2026, 3, 14, 2, 57, 0)
LOGINS = (datetime.datetime(2026, 3, 14, 1, 41), datetime.datetime(2026, 3, 14, 2, 19))

# Requests a minute at 21:00; the night halves them.
RATE = {"gateway": 38, "checkout": 14, "payments": 11, "inventory": 20, "search": 26, "auth": 16, "database": 9}

# Who feels it when a service is slow, in this order, each so many seconds after the pool shrank.
VICTIMS = {
    "inventory": [("checkout", 151, "inventory"), ("payments", 214, "checkout"), ("gateway", 263, "checkout")],
    "payments": [("checkout", 151, "payments"), ("inventory", 214, "checkout"), ("gateway", 263, "checkout")],
    "checkout": [("payments", 151, "checkout"), ("inventory", 214, "checkout"), ("gateway", 263, "checkout")],
}

ROUTES = ["GET /api/search", "GET /api/items/{n}", "POST /api/cart", "POST /api/checkout", "GET /api/orders/{n}", "POST /api/login"]


class Night:
    """Collects the lines of each service and writes them in the order of time."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.lines: dict[str, list[tuple[datetime.datetime, str]]] = {name: [] for name in RATE}

    def add(self, when, level, service, text, request=True):
        rid = f"{self.random.getrandbits(48):012x}" if request else "-"
        self.lines[service].append((when, f"{level:<5} {service} req={rid} {text}"))

    def moment(self, minute: datetime.datetime) -> datetime.datetime:
        return minute + datetime.timedelta(milliseconds=self.random.randrange(60_000))

    def write(self, folder: pathlib.Path) -> int:
        folder.mkdir(parents=True, exist_ok=True)
        total = 0
        for service, lines in self.lines.items():
            lines.sort()
            text = "".join(f"{when.isoformat(timespec='milliseconds')}Z {line}\n" for when, line in lines)
            (folder / f"{service}.log").write_text(text, encoding="ascii")
            total += len(text)
        return total


def healthy(night: Night, service: str) -> str:
    """What a service writes while nothing is wrong."""
    r = night.random
    ms = max(2, int(r.lognormvariate(3.2, 0.6)))
    sku, order = f"SKU-{r.randrange(10000, 99999)}", f"O-{r.randrange(100000, 999999)}"
    if service == "gateway":
        route = r.choice(ROUTES).format(n=r.randrange(1000, 9999))
        return f"{route} status={r.choice([200] * 18 + [201, 304, 404])} bytes={r.randrange(300, 9000)} latency_ms={ms + 20}"
    if service == "checkout":
        return f"order confirmed order={order} items={r.randrange(1, 6)} total_cents={r.randrange(900, 25000)} latency_ms={ms + 60}"
    if service == "payments":
        return f"payment authorised order={order} amount_cents={r.randrange(900, 25000)} psp=northpay latency_ms={ms + 90}"
    if service == "inventory":
        return f"stock reserved sku={sku} qty={r.randrange(1, 4)} warehouse=w{r.randrange(1, 5)} db_ms={ms // 3 + 1} latency_ms={ms}"
    if service == "search":
        return f"query terms={r.randrange(1, 6)} hits={r.randrange(0, 400)} shards=12/12 latency_ms={ms + 15}"
    if service == "auth":
        return f"token issued user=u{r.randrange(1000, 99999)} method={r.choice(['password', 'refresh', 'refresh', 'sso'])} latency_ms={ms}"
    return f"statement {r.choice(['select', 'select', 'update', 'insert'])} table={r.choice(['stock', 'orders', 'payments', 'sessions'])} rows={r.randrange(1, 50)} latency_ms={ms // 4 + 1}"


NOISE = {  # an error now and then, as everywhere
    "gateway": "client closed the connection before the answer status=499",
    "checkout": "cart expired while the order was placed",
    "payments": "issuer declined code=51",
    "inventory": "optimistic lock lost on stock row, retried",
    "database": "deadlock detected, victim rolled back table=orders",
}


def ordinary(night: Night) -> None:
    r = night.random
    for index in range(MINUTES):
        minute = START + datetime.timedelta(minutes=index)
        share = 1.0 - 0.5 * index / MINUTES
        for service, rate in RATE.items():
            for _ in range(int(rate * share * r.uniform(0.75, 1.1))):
                night.add(night.moment(minute), "INFO", service, healthy(night, service))
            if service in NOISE and r.random() < 0.06 and not datetime.timedelta(0) <= minute - CHANGE < datetime.timedelta(minutes=6):
                night.add(night.moment(minute), "ERROR", service, NOISE[service])
            if r.random() < 0.10:
                night.add(night.moment(minute), "WARN", service, f"slow request latency_ms={r.randrange(800, 1900)}")
        if index % 5 == 0:
            night.add(minute + datetime.timedelta(seconds=3), "INFO", "database", f"checkpoint complete wal_mb={r.randrange(4, 60)}", request=False)


def herrings(night: Night) -> None:
    r = night.random
    for index in range(MINUTES):  # search: loud, and always so
        minute = START + datetime.timedelta(minutes=index)
        for _ in range(r.randrange(9, 16)):
            night.add(night.moment(minute), "ERROR", "search", f"suggestion cache: entry does not decode (format 3, expected 4) key=sg:{r.randrange(10**6):06d} shard={r.randrange(12)}")
    minute = LOGINS[0]
    while minute < LOGINS[1]:  # auth: somebody tries passwords, and gives up
        for _ in range(r.randrange(14, 26)):
            night.add(night.moment(minute), "ERROR", "auth", f"login failed user=u{r.randrange(1000, 99999)} ip=203.0.113.{r.randrange(2, 250)} reason=bad_password")
        minute += datetime.timedelta(minutes=1)
    night.add(LOGINS[1] + datetime.timedelta(seconds=21), "WARN", "auth", "rate limit engaged net=203.0.113.0/24", request=False)


def changes(night: Night, root: str) -> datetime.datetime:
    """Reloads and deployments of the night, the fatal one among them. Returns its time."""
    r = night.random
    for service in RATE:
        for hour in r.sample(range(21, 26), 2):
            when = START + datetime.timedelta(hours=hour - 21, minutes=r.randrange(60), seconds=r.randrange(60))
            night.add(when, "INFO", service, f"config reloaded rev={r.getrandbits(28):07x} changed=log.sample_rate 0.{r.randrange(1, 5)} -> 0.{r.randrange(5, 9)}", request=False)
    night.add(CHANGE - datetime.timedelta(minutes=9, seconds=r.randrange(60)), "INFO", "search", f"config reloaded rev={r.getrandbits(28):07x} changed=query.max_terms 12 -> 16", request=False)
    when = CHANGE + datetime.timedelta(milliseconds=r.randrange(2_000, 50_000))
    night.add(when, "INFO", root, f"config reloaded rev={r.getrandbits(28):07x} changed=db.pool.max_connections 40 -> 4", request=False)
    return when


def incident(night: Night, root: str, changed: datetime.datetime) -> None:
    r = night.random
    end = START + datetime.timedelta(minutes=MINUTES)

    def burst(service, delay, text):
        when = changed + datetime.timedelta(seconds=delay, milliseconds=r.randrange(1_000))
        while when < end:
            night.add(when, "ERROR", service, text())
            when += datetime.timedelta(milliseconds=r.randrange(2_500, 9_000))

    night.add(changed + datetime.timedelta(seconds=41), "WARN", root, "db pool saturated busy=4/4 waiting=11", request=False)
    burst(root, 68, lambda: f"db pool: no connection within 2000 ms busy=4/4 waiting={r.randrange(18, 61)} latency_ms={r.randrange(2000, 2040)}")
    for service, delay, upstream in VICTIMS[root]:
        if service == "gateway":
            burst(service, delay, lambda: f"POST /api/checkout status=502 upstream {upstream} timed out after 5000 ms latency_ms={r.randrange(5000, 5060)}")
        else:
            burst(service, delay, lambda upstream=upstream: f"upstream {upstream} timed out after 3000 ms order=O-{r.randrange(100000, 999999)} latency_ms={r.randrange(3000, 3050)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent / "logs", help="folder, made if absent (default: logs beside this file)")
    parser.add_argument("--seed", type=int, default=314, help="other seeds, other requests and seconds (default: 314)")
    parser.add_argument("--root-cause", choices=sorted(VICTIMS), default="inventory", help="the service whose pool shrinks (default: inventory)")
    options = parser.parse_args()
    night = Night(options.seed)
    ordinary(night)
    herrings(night)
    incident(night, options.root_cause, changes(night, options.root_cause))
    size = night.write(options.out)
    print(f"{len(night.lines)} services, {sum(map(len, night.lines.values()))} lines, {size / 1e6:.1f} MB in {options.out}")


if __name__ == "__main__":
    main()
