"""Prepares the package's docstrings for the API reference.

Griffe makes code of doctests in an indented section "Examples". The docstrings here have an
"Example" at the end, not indented, and sections of Keras layers, which griffe does not know. It
takes what is returned for a list of items, each with a type; here it is a sentence.
"""

import re
import textwrap

import griffe

PLAIN = re.compile(
    r"^(Call arguments|Input shape|Output shape|Returns):\n((?:(?: {4}.*)?\n)*)", re.MULTILINE
)


class Docstrings(griffe.Extension):
    """Renames sections to those that griffe parses, in every object that is loaded."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring is not None:
            obj.docstring.value = prepared(obj.docstring.value)


def prepared(text):
    """A docstring with sections by the names of griffe."""
    text, heading, example = text.partition("\nExample:\n")
    if heading:
        text += "\nExamples:\n" + textwrap.indent(example.lstrip("\n"), "    ")
    return PLAIN.sub(_as_list, text + "\n").rstrip("\n")


def _as_list(match):
    entries = re.sub(r"^ {4}(\w+):", r"- `\1`:", match[2], flags=re.MULTILINE)
    return f"**{match[1]}:**\n\n{textwrap.dedent(entries)}"
