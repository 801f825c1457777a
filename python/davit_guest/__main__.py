# SPDX-License-Identifier: Apache-2.0
"""python3 -I -S .../davit_guest/__main__.py: kept tiny, because a script is compiled each time."""

import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0])

from davit_guest.server import main  # noqa: E402

main()
