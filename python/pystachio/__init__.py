# SPDX-License-Identifier: Apache-2.0
"""The language of `.aurora` files: immutable values whose text may refer to others.

Written anew for davit by the contract in pystachio.md; the names and messages
are those that existing files and scripts know.
"""

import sys

from . import base, basic, choice, composite, config, container, naming, parsing, typing
from .base import Environment
from .basic import Boolean, Enum, Float, Integer, String
from .choice import Choice
from .composite import Default, Empty, Required, Struct
from .container import List, Map
from .naming import Namable, Ref
from .parsing import MustacheParser
from .typing import Type, TypeCheck, TypeFactory

__version__ = "0.8.3"
