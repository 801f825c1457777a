# SPDX-License-Identifier: Apache-2.0
"""Finding and replacing `{{references}}` in text.  Contract: pystachio.md section 3.

By hand and not by `re`: importing that costs as much time as everything else
that a small configuration needs.
"""

from .naming import Ref, is_word


class MustacheParser:
    class Error(Exception):
        pass

    class Uninterpolatable(Error):
        pass

    MAX_ITERATIONS = 100
    MAX_TEXT = 16 * 1024 * 1024  # Against texts that double themselves.

    _known = {}

    @classmethod
    def _pieces(cls, text):
        """[text | Ref ...] with `{{&x}}` kept as text."""
        pieces = cls._known.get(text)
        if pieces is not None:
            return pieces
        pieces = []
        done = at = 0
        while True:
            at = text.find("{{", at)
            if at < 0:
                break
            close = text.find("}", at + 2)
            opening = text.find("{", at + 2, close)
            if close < 0:
                break
            # A tag holds no braces, is not empty and ends in two.
            if opening >= 0 or close == at + 2 or text[close:close + 2] != "}}":
                at += 1
                continue
            inside = text[at + 2:close]
            if at > done:
                pieces.append(text[done:at])
            if inside[0] == "&" and len(inside) > 1:
                inside = inside[1:]
                if len(inside) > 1 and inside[-1] == "&":
                    inside = inside[:-1]
                pieces.append("{{&%s}}" % inside)
            else:
                pieces.append(Ref.from_address(inside))
            done = at = close + 2
        if done < len(text):
            pieces.append(text[done:])
        if len(cls._known) > 2000:
            cls._known.clear()
        cls._known[text] = pieces
        return pieces

    @classmethod
    def split(cls, text, keep_aliases=False):
        pieces = list(cls._pieces(text))
        if not keep_aliases:
            pieces = ["{{" + p[3:] if isinstance(p, str) and p.startswith("{{&") and
                      p.endswith("}}") and is_tag(p) else p for p in pieces]
        return pieces

    @classmethod
    def join(cls, pieces, *namables):
        out, unbound = [], []
        for piece in pieces:
            if isinstance(piece, Ref):
                for namable in namables:
                    value = namable._look(piece.parts)
                    if value is not None:
                        piece = value
                        break
                else:
                    unbound.append(piece)
            out.append(piece if isinstance(piece, str) else str(piece))
        return "".join(out), unbound

    @classmethod
    def resolve(cls, stream, *namables):
        """(text, references that stay open)"""
        if "{{" not in stream:
            return stream, []
        text = stream
        for _ in range(cls.MAX_ITERATIONS):
            pieces = cls._pieces(text)
            wanted = sum(1 for piece in pieces if piece.__class__ is Ref)
            if wanted == 0:
                unbound = []
                break
            text, unbound = cls.join(pieces, *namables)
            if len(text) > cls.MAX_TEXT:
                raise cls.Uninterpolatable(
                    "Unable to interpolate %s!  The text grew too long." % stream[:200])
            if len(unbound) == wanted:
                break
        else:
            raise cls.Uninterpolatable(
                "Unable to interpolate %s!  Maximum replacements reached." % stream)
        if "{{&" in text:
            text = "".join(str(p) for p in cls.split(text))
        if len(unbound) > 1:
            unbound = list(dict.fromkeys(unbound))
        return text, unbound


def is_tag(piece):
    """Whether text that looks like `{{&...}}` is one whole escape, not text around one."""
    inside = piece[3:-2]
    return bool(inside) and "{" not in inside and "}" not in inside
