# SPDX-License-Identifier: Apache-2.0
"""What a chaos run is to do, and what it did: seed, scale, crash points, counts."""
import collections
import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCALE = float(os.environ.get("DAVIT_SCALE", "0.1"))
SEED = os.environ.get("DAVIT_SEED", "1")
FINAL = {"succeeded", "failed", "canceled", "disappeared"}


def count(full):
    return max(3, int(full * SCALE + 0.5))


def crash_points(room=None):
    """The names that the sources give to crash points; davit-op's come from its states."""
    names = set()
    for path in (ROOT / "src").rglob("*.c"):
        text = path.read_text()
        names.update(re.findall(r'CRASH_POINT\("([^"]+)"\)', text))
        names.update(re.findall(r'= "(master\.\w+\.(?:before|after))"', text))
    names -= {f"master.sync.{when}" for when in ("before", "after")}  # No write, no point.
    states = re.findall(r'\[LIFE_\w+\] = \{ "([\w-]+)"', (ROOT / "src/op/life.c").read_text())
    post = states[states.index("vars"):]
    names.update(f"op.{state}{end}" for state in states for end in ("", ".end"))
    names.update(f"op.again.{state}{end}" for state in post for end in ("", ".end"))
    names -= {"op.idle", "op.over.end", "op.again.over.end"}  # No step begins or ends there.
    return sorted(n for n in names if room is None or n.split(".")[0] == room)


class Tally:
    """Kills by victim and deaths by crash point; written where DAVIT_TALLY says."""

    def __init__(self):
        self.kills = collections.Counter()
        self.deaths = collections.Counter()

    def kill(self, victim):
        self.kills[victim] += 1

    def point(self, point):
        self.deaths[point] += 1

    def show(self, hits):
        passed = collections.Counter(hits.read_text().split()) if hits.exists() else {}
        lines = [f"kills: {' '.join(f'{k}={n}' for k, n in sorted(self.kills.items()))}"]
        lines += [f"crash point {point}: {passed.get(point, 0)} hits, {self.deaths[point]} deaths"
                  for point in sorted(set(crash_points()) | set(passed))]
        lines.append("never hit: " + (" ".join(p for p in crash_points() if p not in passed)
                                      or "none"))
        print("".join(f"  {line}\n" for line in lines), end="")
        if os.environ.get("DAVIT_TALLY"):
            path = pathlib.Path(os.environ["DAVIT_TALLY"])
            path.write_text("".join(f"{line}\n" for line in lines))
