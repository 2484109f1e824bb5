"""Domain names that look like others: the Unicode form beside the one on the wire, and scripts mixed in one label.

The first a in ``xn--pypal-4ve.com`` is a Cyrillic letter, drawn as the Latin one is. The A-label shows that something
is there, the Unicode form what the reader believed to see. Mixed scripts are judged as UTS 39 section 5.2 does ("highly
restrictive"): Japanese, Korean and Chinese come with Latin letters, other scripts do not.
"""

from __future__ import annotations

import unicodedata

import idna

# The first word of a character's Unicode name tells its script, with these that go by another word.
_SCRIPTS = {"CJK": "HAN", "IDEOGRAPHIC": "HAN", "KATAKANA-HIRAGANA": "KATAKANA", "FULLWIDTH": "LATIN"}
# Letters of every script (UAX 24: Common), such as the apostrophe of Hawaiian and Uzbek.
_OF_ALL = frozenset({"MODIFIER"})
_TOGETHER = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
)


def in_unicode(domain: str) -> str:
    """Return a domain name with its A-labels as people write them; one that is not valid stays as it is."""
    return ".".join(_u_label(label) for label in domain.split("."))


def mixed_scripts(domain: str) -> tuple[str, ...]:
    """Return the scripts, by name, of the first label that mixes such as do not go together; () when none does."""
    for label in in_unicode(domain).split("."):
        scripts = {_script(character) for character in label if character.isalpha()} - _OF_ALL
        if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
            return tuple(sorted(script.title() for script in scripts))
    return ()


def _u_label(label: str) -> str:
    if label[:4].lower() != "xn--":
        return label
    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label


def _script(character: str) -> str:
    word = unicodedata.name(character, "UNKNOWN").partition(" ")[0]
    return _SCRIPTS.get(word, word)
