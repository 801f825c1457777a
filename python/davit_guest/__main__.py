# SPDX-License-Identifier: Apache-2.0
"""python3 -I -S .../davit_guest/__main__.py: kept tiny, because a script is compiled each time."""

import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0])

try:
    from davit_guest.server import main
except KeyboardInterrupt:
    sys.exit(130)

main()
