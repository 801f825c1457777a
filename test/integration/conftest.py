# SPDX-License-Identifier: Apache-2.0
"""Marks of the integration tests."""


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "faults: needs a build with crash points (-Dfaults=true); tools/run-tests.py "
        "runs it on build-asan and everything else on build")
