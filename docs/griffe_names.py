"""Names that share a description in a docstring, such as ``image, axes``, each with its own type.

Griffe gives all of them the type of the first.
"""

import re

import griffe

SHARED = re.compile(r"^(?P<names>\w+(?:, \w+)+)\n(?P<text>(?: +.*\n?)+)", re.M)


class OneByOne(griffe.Extension):
    """Repeats the description for every name."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Rewrite the docstring of whatever was found."""
        if obj.docstring is not None:
            obj.docstring.value = SHARED.sub(_repeated, obj.docstring.value)


def _repeated(match: re.Match[str]) -> str:
    text = match["text"].rstrip("\n")
    return "".join(f"{name}\n{text}\n" for name in match["names"].split(", "))
