# SPDX-License-Identifier: Apache-2.0
"""Cron fire times against implementations that share no line with ours.

What an expression means is compared with croniter, in UTC.  What a zone makes of it is compared
with the rules of src/master/cron/cron_next.h, written down a second time here by trying every
matching local time with Python's zoneinfo.  Years 2000 to 2040, zones and expressions by a seed.
A hunt compares more than two and a half million times, a test a tenth of that.
"""
import bisect
import datetime
import os
import pathlib
import random
import subprocess
import zoneinfo

import croniter
import pytest

SCALE = float(os.environ.get("DAVIT_SCALE", "0.1"))
SEED = int(os.environ.get("DAVIT_SEED", "1"))
PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build/src/master/cron_fires"
UTC = datetime.timezone.utc
BEGIN, END = datetime.datetime(2000, 1, 1), datetime.datetime(2040, 12, 31, 23, 59)
EPOCH = datetime.datetime(1970, 1, 1)
PER_LINE = 8000  # Fire times of one expression: rather more zones than more of the same.
MINUTE = datetime.timedelta(minutes=1)
DAY = datetime.timedelta(days=1)
FIELDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
DAYS = "SUN MON TUE WED THU FRI SAT".split()


def seconds(naive):
    return (naive - EPOCH) // datetime.timedelta(seconds=1)


def ask(lines):
    """Our fire times of (zone, from, to, expression) each."""
    text = "".join(f"{zone}\t{begin}\t{end}\t{expr}\n" for zone, begin, end, expr in lines)
    done = subprocess.run([PROGRAM], input=text, text=True, check=True,
                          stdout=subprocess.PIPE)
    return [list(map(int, line.split())) for line in done.stdout.splitlines()]


# -- expressions, and what they match -------------------------------------------------------------


def random_item(rng, field):
    """Text of an item and the numbers it stands for."""
    low, high = FIELDS[field]
    name = lambda n: n  # noqa: E731
    if field == 3 and rng.random() < 0.3:
        name = lambda n: rng.choice([str.upper, str.lower])(MONTHS[n - 1])  # noqa: E731
    elif field == 4 and rng.random() < 0.3:
        name = lambda n: rng.choice([str.upper, str.lower])(DAYS[n])  # noqa: E731
    kind = rng.random()
    if kind < 0.4:
        n = rng.randint(low, high)
        return f"{name(n)}", {n}
    if kind < 0.6:
        step = rng.randint(1, high)
        return f"*/{step}", set(range(low, high + 1, step))
    a, b = sorted([rng.randint(low, high), rng.randint(low, high)])
    if kind < 0.85 or b < 2:
        return f"{name(a)}-{name(b)}", set(range(a, b + 1))
    step = rng.randint(1, b - 1)
    return f"{name(a)}-{name(b)}/{step}", set(range(a, b + 1, step))


def random_field(rng, field, star):
    low, high = FIELDS[field]
    if rng.random() < star:
        return "*", set(range(low, high + 1))
    items = [random_item(rng, field) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    return ",".join(text for text, _ in items), set().union(*(numbers for _, numbers in items))


def random_expr(rng, stars=(0.1, 0.3, 0.5, 0.6, 0.5)):
    """(text, sets); one that fires now and then, and that Aurora's syntax has."""
    while True:
        fields = [random_field(rng, i, star) for i, star in enumerate(stars)]
        sets = [numbers for _, numbers in fields]
        if len(sets[2]) < 31 and len(sets[4]) < 7:
            keep = rng.choice([2, 4])
            fields[keep] = "*", set(range(FIELDS[keep][0], FIELDS[keep][1] + 1))
            sets[keep] = fields[keep][1]
        if any(day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)
               for day in sets[2] for month in sets[3]):
            return " ".join(text for text, _ in fields), sets


def local_matches(sets, begin, end):
    """Every matching local minute of [begin, end], by trying each day."""
    minutes, hours, days, months, weekdays = sets
    of_day = [datetime.timedelta(hours=h, minutes=m) for h in sorted(hours) for m in sorted(minutes)]
    day = datetime.datetime(begin.year, begin.month, begin.day)
    while day <= end:
        if day.month in months and day.day in days and day.isoweekday() % 7 in weekdays:
            for time in of_day:
                if begin <= day + time <= end:
                    yield day + time
        day += DAY


# -- the second implementation of the rules ---------------------------------------------------------


def to_utc(local, zone, fold):
    """The instant, or None where the clock never shows that time."""
    aware = local.replace(tzinfo=zone, fold=fold)
    instant = aware.astimezone(UTC)
    back = instant.astimezone(zone)
    return instant.replace(tzinfo=None) if back.replace(tzinfo=None) == local else None


def change_over(local, zone):
    """The instant of the change that skipped this local time."""
    late = local - zone.utcoffset(local.replace(fold=0))   # By the clock before, too late.
    early = local - zone.utcoffset(local.replace(fold=1))  # By the clock after, too early.
    offset = lambda utc: utc.replace(tzinfo=UTC).astimezone(zone).utcoffset()  # noqa: E731
    before, span = offset(early), int((late - early).total_seconds())
    step = bisect.bisect_left(range(span), True, key=lambda s: offset(
        early + datetime.timedelta(seconds=s)) != before)
    return early + datetime.timedelta(seconds=step)


def model(sets, zone, begin, end):
    """Fire times in (begin, end], two UTC instants, as seconds."""
    hourly = len(sets[1]) == 24
    found = set()
    for local in local_matches(sets, begin - 2 * DAY, end + 2 * DAY):
        first, second = to_utc(local, zone, 0), to_utc(local, zone, 1)
        if hourly:
            found.update(instant for instant in (first, second) if instant is not None)
        elif first is not None:
            found.add(first)
        else:
            found.add(change_over(local, zone))
    return [seconds(instant) for instant in sorted(found) if begin < instant <= end]


# -- the comparisons -----------------------------------------------------------------------------------


def tally(text):
    print(text)
    if os.environ.get("DAVIT_TALLY"):
        with open(os.environ["DAVIT_TALLY"], "a", encoding="utf-8") as out:
            out.write(text + "\n")


def differ(ours, theirs, what):
    if ours != theirs:
        odd = sorted(set(ours) ^ set(theirs))[:5]
        pytest.fail(f"{what}: {len(ours)} and {len(theirs)} times, the first that differ: " + ", ".join(
            f"{EPOCH + datetime.timedelta(seconds=at)} ({'ours' if at in ours else 'theirs'})"
            for at in odd))


def forgets_a_month(sets):
    """Where croniter 1.3.5 errs: after a February that lacks one of the days, it leaves out days
    of March."""
    return 2 in sets[3] and max(sets[2]) > 28 and len(sets[2]) < 31


def test_expressions_mean_what_croniter_says():
    rng = random.Random(SEED)
    wanted, compared, exprs, errs = int(600_000 * SCALE), 0, 0, 0
    while compared < wanted:
        asked = []
        for _ in range(20):
            begin = BEGIN + rng.randrange((END - BEGIN).days) * DAY + rng.randrange(1440) * MINUTE
            asked.append((*random_expr(rng), begin))
        ours = ask([("UTC", seconds(begin), seconds(begin + 1500 * DAY), expr)
                    for expr, _, begin in asked])
        for (expr, sets, begin), times in zip(asked, ours):
            times = times[:1500]
            iterator = croniter.croniter(expr, begin.replace(tzinfo=UTC), ret_type=float)
            theirs = [int(iterator.get_next()) for _ in times]
            if times != theirs and forgets_a_month(sets):
                theirs = model(sets, UTC, begin, begin + 1500 * DAY)[:1500]
                errs += 1
            differ(times, theirs, f"{expr} from {begin}")
            compared += len(times)
            exprs += 1
    tally(f"cron: {compared} fire times of {exprs} expressions as croniter has them "
          f"({errs} judged otherwise, where it forgets days after a February), seed {SEED}")


def random_span(rng, zone, per_year):
    """(begin, end) for an expression that fires that often: many years, or some days around one of
    the zone's changes."""
    days = max(6, min((END - BEGIN).days, PER_LINE * 365 // per_year))
    begin = BEGIN + rng.randrange((END - BEGIN).days - days + 1) * DAY
    if days < 366:
        changes = [day for day in range(366)
                   if zone.utcoffset(begin + day * DAY) != zone.utcoffset(begin + (day + 1) * DAY)]
        if changes:
            begin = max(BEGIN, begin + (rng.choice(changes) - rng.randrange(days)) * DAY)
    return begin, min(begin + days * DAY, END)


def test_zones_are_followed_as_the_rules_say():
    rng = random.Random(SEED + 1)
    names = sorted(name for name in zoneinfo.available_timezones()
                   if name != "localtime" and not name.startswith(("posix/", "right/")))
    wanted, compared, zones, at = int(2_000_000 * SCALE), 0, set(), 0
    rng.shuffle(names)
    while compared < wanted or len(zones) < min(len(names), 600 * SCALE):
        asked = []
        for _ in range(10):
            zone = names[at % len(names)]
            at += 1
            # The hours in which clocks are turned, more often than others.
            stars = rng.choice([(0.1, 0.3, 0.9, 0.9, 0.8), (0.0, 0.9, 0.8, 0.9, 0.8)])
            expr, sets = random_expr(rng, stars)
            if rng.random() < 0.3:
                minutes, hours = expr.split(" ")[0], f"{rng.randint(0, 2)}-{rng.randint(2, 4)}"
                expr = f"{minutes} {hours} * * *"
                sets = [sets[0], set(range(int(hours[0]), int(hours[2]) + 1)), set(range(1, 32)),
                        set(range(1, 13)), set(range(7))]
            per_year = sum(1 for _ in local_matches(sets, BEGIN, BEGIN + 365 * DAY)) + 1
            asked.append((zone, sets, expr, *random_span(rng, zoneinfo.ZoneInfo(zone), per_year)))
        ours = ask([(zone, seconds(begin), seconds(end), expr)
                    for zone, _, expr, begin, end in asked])
        for (zone, sets, expr, begin, end), times in zip(asked, ours):
            differ(times, model(sets, zoneinfo.ZoneInfo(zone), begin, end),
                   f"{zone}: {expr} from {begin}")
            compared += len(times)
            zones.add(zone)
    tally(f"cron: {compared} fire times in {len(zones)} zones as the rules say, seed {SEED + 1}")
