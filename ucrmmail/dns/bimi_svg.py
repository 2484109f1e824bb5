"""The profile of a BIMI logo, SVG Tiny Portable/Secure: what mail programs refuse to show. Pure.

Read with patterns, not with an XML parser: the picture is a stranger's, and entities may grow without end.
"""

from __future__ import annotations

import gzip
import re
import zlib
from io import BytesIO

# What mail programs are told to take at least; larger ones may not be shown.
LARGEST_BYTES = 32 * 1024
# Read of the root element, whose attributes are few.
_LONGEST_ROOT = 4000
_FORBIDDEN = ("script", "image", "foreignobject", "animate", "animatetransform", "set", "iframe", "video", "audio")


def problems_of_svg(data: bytes) -> tuple[str, ...]:
    """Return what is wrong with a picture, in words; () for one that keeps to the profile."""
    if data.startswith(b"\x1f\x8b"):
        try:
            # One byte more than is allowed is enough to know; the rest of a bomb stays packed.
            data = gzip.GzipFile(fileobj=BytesIO(data)).read(LARGEST_BYTES + 1)
        except (OSError, EOFError, zlib.error):
            return ("it is compressed and cannot be read",)
    problems = []
    if len(data) > LARGEST_BYTES:
        problems.append(f"it is larger than {LARGEST_BYTES // 1024} KB")
    text = _without_comments(data[: LARGEST_BYTES + 1].decode("utf-8", "replace"))
    root = re.search(r"<svg[\s>]", text)
    if root is None:
        return (*problems, "it is no SVG")
    written = text[root.end() - 1 :].partition(">")[0][:_LONGEST_ROOT]
    attributes = {name.lower(): value for name, _, value in re.findall(r"""([\w:-]+)\s*=\s*(["'])(.*?)\2""", written)}
    if attributes.get("baseprofile") != "tiny-ps":
        problems.append('the root does not say baseProfile="tiny-ps"')
    if attributes.get("version") != "1.2":
        problems.append('the root does not say version="1.2"')
    if {"x", "y"} & attributes.keys():
        problems.append("the root has x or y")
    if not text.partition("<title")[2].partition(">")[2].partition("<")[0].strip():
        problems.append("it has no title")
    if "<!ENTITY" in text:
        problems.append("it declares entities")
    elements = {name.lower() for name in re.findall(r"<([A-Za-z]+)\b", text)}
    problems += [f"it has the element {name}" for name in _FORBIDDEN if name in elements]
    if re.search(r"""href\s*=\s*["'](?!#)""", text):
        problems.append("it refers to something outside of itself")
    box = re.split(r"[\s,]+", attributes.get("viewbox", "").strip())
    if len(box) == 4 and box[2] != box[3]:
        problems.append("it is not square")
    return tuple(problems)


def _without_comments(text: str) -> str:
    first, *others = text.split("<!--")
    return first + "".join(other.partition("-->")[2] for other in others)
