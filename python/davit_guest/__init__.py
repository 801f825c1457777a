# SPDX-License-Identifier: Apache-2.0
"""The Python side of davit: evaluates `.aurora` files and runs their client hooks."""
