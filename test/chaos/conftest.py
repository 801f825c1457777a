# SPDX-License-Identifier: Apache-2.0
"""Chaos tests: seeded, scaled by DAVIT_SCALE (1 is the full count, ./dev hunt), on the
build with crash points (build-asan) unless DAVIT_BUILD says otherwise."""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("DAVIT_BUILD", str(ROOT / "build-asan"))
sys.path.insert(0, str(ROOT / "test" / "integration"))
