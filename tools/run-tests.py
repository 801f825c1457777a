#!/usr/bin/env python3
"""Run the tests and end with one line: N passed, N failed[, N skipped].

Not a test framework: it builds, calls meson and pytest, and adds up what they
counted.  Parts run one after the other; each failed build, test case or lint
complaint counts as one failure, each skipped case prints its reason.

    tools/run-tests.py test [WORD]    what CI runs
    tools/run-tests.py hunt [SEED [PART]]    the full counts, closing lines to docs/evidence/
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILDS = {
    "build": [],
    "build-asan": ["-Dfaults=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                   "-Doptimization=1"],
    "build-clang": ["-Dfuzz=true"],
}


CHAOS_BUILD = "build-asan"  # The one with crash points.
EVIDENCE = ROOT / "docs" / "evidence"
# What a hunt does in full; ./dev test does a tenth of it.
FUZZERS = {"src/guest/fuzz_rpc": 500_000, "src/pod/fuzz_pod_proto": 1_000_000,
           "src/pod/fuzz_pod_http": 200_000,
           "src/store/fuzz_store_frame": 1_000_000, "src/master/fuzz_cron": 500_000}
SIMULATIONS = {"src/pod/test_graph_sim": 30_000, "src/agent/test_reconcile": 30_000,
               "src/pod/test_health": 1_000_000,
               "src/master/test_sched_sim": 10_000, "src/master/test_updater_sim": 100_000,
               "src/master/test_preempt": 30_000,
               "test/sim/cluster_sim": 10_000}


class Score:
    def __init__(self):
        self.passed = self.failed = 0
        self.skips = []
        self.failures = []

    def ok(self, count=1):
        self.passed += count

    def fail(self, what):
        self.failed += 1
        self.failures.append(what)
        print(f"FAILED {what}", flush=True)

    def skip(self, what, why):
        self.skips.append(f"{what}: {why}")


def say(text):
    print(f"== {text}", flush=True)


def run(args, **kw):
    return subprocess.run(args, cwd=ROOT, stdin=subprocess.DEVNULL, **kw)


def build(score, name):
    say(f"build {name}")
    env = dict(os.environ, CC="clang") if name == "build-clang" else None
    if not (ROOT / name / "build.ninja").exists():
        if run(["meson", "setup", name, *BUILDS[name]], env=env,
               stdout=subprocess.DEVNULL).returncode:
            score.fail(f"configure {name}")
            return False
    done = run(["ninja", "-C", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout[-6000:])
        score.fail(f"build {name}")
        return False
    score.ok()
    if name == "build":
        bins = ROOT / "build" / "bin"
        bins.mkdir(exist_ok=True)
        for program in ROOT.glob("build/src/*/davit*"):
            link = bins / program.name
            if program.is_file() and os.access(program, os.X_OK) and not link.is_symlink():
                link.symlink_to(program)
    return True


def unit(score, name):
    """The cmocka programs of one build; each of their cases counts."""
    say(f"unit tests in {name}")
    run(["meson", "test", "-C", name, "--no-rebuild", "--suite", "unit", "--quiet"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1"))
    log = ROOT / name / "meson-logs" / "testlog.json"
    for line in log.read_text().splitlines():
        test = json.loads(line)
        output = test.get("stdout", "") + test.get("stderr", "")
        cases = re.findall(r"\[  PASSED  \] (\d+) test\(s\)", output)
        skipped = re.findall(r"\[  SKIPPED \] (\w+)\s*$", output, re.M)
        if test["result"] == "OK":
            score.ok(max(1, sum(map(int, cases))))
            for case in set(skipped):
                why = re.search(rf"{case}: (.*)", output)
                score.skip(f"{name} {test['name']} {case}", why.group(1) if why else "no reason")
        elif test["result"] == "SKIP":
            score.skip(f"{name} {test['name']}", output.strip()[-200:] or "no reason")
        else:
            print(output[-4000:])
            score.fail(f"{name} {test['name']} ({test['result']})")


def pytest(score, where, env=None, marker=None):
    say(f"pytest {where}")
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        args = ["/usr/bin/python3", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
                f"--junit-xml={report.name}", *where.split()]
        if marker:
            args += ["-m", marker]
        started = time.monotonic()
        done = run(args, env=dict(os.environ, **(env or {})))
        if done.returncode == 5:  # Nothing selected.
            return
        try:
            cases = xml.etree.ElementTree.parse(report.name).getroot().iter("testcase")
        except xml.etree.ElementTree.ParseError:
            score.fail(f"pytest {where} died with {done.returncode}")
            return
        failed_before = score.failed
        for case in cases:
            name = f"{case.get('classname')}.{case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                score.fail(name)
            elif (skip := case.find("skipped")) is not None:
                score.skip(name, skip.get("message"))
            else:
                score.ok()
        if done.returncode and score.failed == failed_before:
            score.fail(f"pytest {where} exit {done.returncode}")
    print(f"   {time.monotonic() - started:.0f} s", flush=True)


def seeded(score, name, args, env=None):
    """One run of a seeded program; its last line is what it says of itself."""
    done = run(args, env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE,
               stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        print("\n".join(lines[-40:]))
        score.fail(f"{name} ended with {done.returncode}")
    else:
        score.ok()
    return next((line.strip() for line in reversed(lines) if re.search(r"\d (runs|steps|test)", line)),
                lines[-1] if lines else "")


def fuzz(score, seed, scale):
    """libFuzzer's targets and the simulations; says what each did."""
    say(f"fuzz and simulate, seed {seed}, scale {scale}")
    told = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, runs in FUZZERS.items():
            last = seeded(score, name, [
                f"build-clang/{name}", f"-seed={seed}", f"-runs={int(runs * scale)}",
                f"-artifact_prefix={scratch}/", "-print_final_stats=0"])
            told.append(f"{name}: {re.sub(r' in .*', '', last)}")
    for name, tasks in SIMULATIONS.items():
        number = int(tasks * scale)
        last = seeded(score, name, [f"build/{name}"],
                      {"DAVIT_SIM_SEED": str(seed), "DAVIT_SIM_TASKS": str(number)})
        what = last if "histories" in last else f"{number} simulated lives"
        told.append(f"{name}: {what}")
    print("".join(f"   {line}\n" for line in told), end="", flush=True)
    return told


def tidy_one(path):
    """clang-tidy of one file: given several, its va_list check misfires."""
    done = run(["clang-tidy", "--quiet", "-p", "build-clang", path],
               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = [line for line in done.stdout.splitlines() if re.search(r" (error|warning): ", line)]
    return path, done.returncode, found, done.stdout


def tidy_keys(files):
    """What each file's verdict hangs on: its text, that of all it includes, and the checks."""
    deps = {}
    for line in subprocess.check_output(["ninja", "-C", "build-clang", "-t", "deps"], cwd=ROOT,
                                        text=True).splitlines():
        if not line.startswith(" "):
            own = None
        elif line.strip().startswith("../"):
            name = line.strip().removeprefix("../")
            own = own or deps.setdefault(name, set())
            own.add(name)
    checks = (ROOT / ".clang-tidy").read_bytes()
    texts = {}
    for name in files:
        key = hashlib.sha256(checks)
        headers = deps.get(name) or {used for used in files if used.endswith(".h")}
        for used in [name, *sorted(headers - {name})]:
            if used not in texts:
                texts[used] = (ROOT / used).read_bytes() if (ROOT / used).exists() else b""
            key.update(texts[used])
        yield name, name.replace("/", "_") + "." + key.hexdigest()[:16]


def tidy(score, files):
    """Only files that can have another verdict than the last time are run."""
    cache = ROOT / "build-clang" / "tidy"
    cache.mkdir(exist_ok=True)
    stamps = {name: cache / key for name, key in tidy_keys(files)
              if name.startswith("src/") and name.endswith(".c")}
    for old in set(cache.iterdir()) - set(stamps.values()):
        old.unlink()
    todo = [name for name, stamp in stamps.items() if not stamp.exists()]
    score.ok(len(stamps) - len(todo))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, status, found, output in pool.map(tidy_one, todo):
            if status:
                print(output[-3000:])
                score.fail(f"clang-tidy {path}")
            else:
                print("".join(line.replace(f"{ROOT}/", "") + "\n" for line in found), end="")
                stamps[path].touch()
                score.ok()


def lint(score):
    say("lint")
    done = run(["tools/check-layers.py", "."], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout)
        score.fail("tools/check-layers.py")
    else:
        score.ok()
    files = subprocess.check_output(["git", "ls-files", "*.c", "*.h"], cwd=ROOT, text=True).split()
    done = run(["clang-format", "--dry-run", "--Werror", *files], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stderr[-3000:])
        score.fail("clang-format (./dev fmt mends it)")
    else:
        score.ok()
    pages = subprocess.check_output(["git", "ls-files", "docs/man"], cwd=ROOT, text=True).split()
    done = run(["mandoc", "-Tlint", "-Wstyle", *pages], stdout=subprocess.PIPE,
               stderr=subprocess.STDOUT, text=True)
    if done.returncode or not pages:
        print(done.stdout)
        score.fail("mandoc -Tlint docs/man")
    else:
        score.ok()
    tidy(score, files)


def finish(score):
    for line in score.skips:
        print(f"skipped {line}")
    for line in score.failures:
        print(f"failed  {line}")
    tail = f", {len(score.skips)} skipped" if score.skips else ""
    print(f"{score.passed} passed, {score.failed} failed{tail}")
    return 1 if score.failed else 0


def chaos_env(scale, seed, tally=""):
    return {"DAVIT_SCALE": scale, "DAVIT_SEED": str(seed), "DAVIT_TALLY": tally,
            "DAVIT_BUILD": str(ROOT / CHAOS_BUILD)}


def test(word):
    score = Score()
    parts = {
        "unit": lambda: unit(score, "build"),
        "asan": lambda: build(score, "build-asan") and unit(score, "build-asan"),
        "clang": lambda: build(score, "build-clang"),
        "lint": lambda: build(score, "build-clang") and lint(score),
        "python": lambda: pytest(score, "test/python"),
        "integration": lambda: pytest(score, "test/integration", marker="not faults"),
        "crashes": lambda: build(score, "build-asan") and pytest(
            score, "test/integration", marker="faults",
            env={"DAVIT_BUILD": str(ROOT / "build-asan"), "ASAN_OPTIONS": "detect_leaks=0"}),
        "chaos": lambda: build(score, CHAOS_BUILD) and pytest(score, "test/chaos", env=chaos_env(
            os.environ.get("DAVIT_SCALE", "0.1"), os.environ.get("DAVIT_SEED", "1"))),
        "fuzz": lambda: build(score, "build-clang") and fuzz(score, 1, 0.1),
    }
    if not build(score, "build"):
        return finish(score)
    for name, part in parts.items():
        if word is None or word in name:
            part()
    return finish(score)


def write_evidence(part, seed, told, score):
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    (EVIDENCE / f"hunt-{part}.txt").write_text("".join(f"{line}\n" for line in [
        f"command: ./dev hunt {seed} {part}", f"seed: {seed}", *told,
        *(f"failed: {line}" for line in score.failures),
        f"{score.passed} passed, {score.failed} failed"]))


def chaos_part(path, seed):
    """One file of test/chaos at its full count; what it tallied."""
    score = Score()
    with tempfile.NamedTemporaryFile("r") as tally:
        if build(score, CHAOS_BUILD):
            pytest(score, path, env=chaos_env("1", seed, tally.name))
        return score, tally.read().splitlines()


def simulations_part(seed):
    score = Score()
    return score, fuzz(score, seed, 1) if build(score, "build-clang") else []


def hunt(seed, word):
    """Each part has its evidence: docs/evidence/hunt-PART.txt."""
    total = Score()
    if not build(total, "build"):
        return finish(total)
    parts = {path.stem.removeprefix("test_"): path for path in
             sorted((ROOT / "test" / "chaos").glob("test_*.py"))}
    for part in [*parts, "simulations"]:
        if word is None or word in part:
            score, told = chaos_part(f"test/chaos/{parts[part].name}", seed) if part in parts \
                else simulations_part(seed)
            write_evidence(part, seed, told, score)
            total.passed += score.passed
            total.failed += score.failed
            total.failures += score.failures
            total.skips += score.skips
    return finish(total)


if __name__ == "__main__":
    mode = sys.argv[1]
    rest = sys.argv[2] if len(sys.argv) > 2 else None
    if mode == "test":
        sys.exit(test(rest))
    sys.exit(hunt(rest or "1", sys.argv[3] if len(sys.argv) > 3 else None))
