"""What is wrong with a constraint that llguidance refuses: which piece, where it is, and what to do about it.

llguidance reports the text that it made of the constraint, with positions in that text. What has no entry here keeps its words,
without those positions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, cast

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.text import visible_line
from ttchat_tui.engine.base import UnusableConstraint

_NO_TEXT: Final = "no text has this form"
_TOO_LARGE: Final = "it is too large to be followed"
_LONGEST_PIECE: Final = 30
_LONGEST_WORDS: Final = 200


class _Fault(NamedTuple):
    what: str
    cure: str = "Correct it."


def refused(constraint: Constraint, reason: str) -> UnusableConstraint:
    """The error for a constraint that cannot be used for llguidance's `reason`."""
    what, cure = _FAULTS[constraint.kind](constraint.text, reason)
    return UnusableConstraint(
        visible_line(f"The {constraint.kind} cannot be used: {what}."), visible_line(cure), "usage"
    )


def cleaned(reason: str) -> str:
    """llguidance's words in one line, without its state, the lines that it quotes, and positions in them."""
    words = reason.partition("\n<state>")[0]
    words = re.sub(r"(?m)^ +\d+ \|.*$|^ *\^+$", "", words)
    words = " ".join(re.sub(r"^(at )?\d+\(\d+\): ", "", words).split()).rstrip(" .")
    if words in ("NoExtensionBias", ""):
        return _NO_TEXT
    if re.search("too (big|large|many)|TooComplex|fuel exhausted", words):
        return _TOO_LARGE
    return words if len(words) <= _LONGEST_WORDS else f"{words[: _LONGEST_WORDS - 1]}…"


def _quoted(piece: str) -> str:
    shown = piece if len(piece) <= _LONGEST_PIECE else f"{piece[: _LONGEST_PIECE - 1]}…"
    return f"“{shown}”"


# --- expressions

_PATTERN: Final = re.compile(
    r"regex parse error:\n {4}(?P<pattern>.*)\n {4}(?P<marks>[ ^]*\^).*\nerror: (?P<error>.*)"
)
"""How regex-syntax shows an error: the expression in one line, marks below the piece, and what is wrong with it."""
_AS_CHARACTER: Final = "or write \\{0} for the character itself."
_IN_EXPRESSION: Final[dict[str, _Fault]] = {
    "unclosed character class": _Fault("{at} is never closed", f"Close it with ], {_AS_CHARACTER}"),
    "unclosed group": _Fault("{at} is never closed", f"Close it with ), {_AS_CHARACTER}"),
    "unopened group": _Fault("{at} closes nothing", f"Open it with (, {_AS_CHARACTER}"),
    "repetition operator missing expression": _Fault(
        "{at} has nothing to repeat", f"Write what it repeats before it, {_AS_CHARACTER}"
    ),
    "unclosed counted repetition": _Fault("{at} is never closed", f"Close it with }}}}, {_AS_CHARACTER}"),
    "repetition quantifier expects a valid decimal": _Fault(
        "{at} is no number of repetitions", "Write {{2}} or {{2,5}}, or \\{{ for the character itself."
    ),
    "invalid repetition count range, the start must be <= the end": _Fault(
        "{at} runs backwards", "Write the smaller number first."
    ),
    "invalid character class range, the start must be <= the end": _Fault(
        "the range {at} runs backwards", "Swap its ends."
    ),
    "invalid range boundary, must be a literal": _Fault(
        "{at} is no single character, with which a range begins and ends", "Write \\- for a hyphen."
    ),
    "look-around, including look-ahead and look-behind, is not supported": _Fault(
        "{at} is look-around, which is not supported", "Describe the whole text without it."
    ),
    "backreferences are not supported": _Fault(
        "{at} refers back to a group, which is not supported", "Write what it stands for."
    ),
    "unrecognized escape sequence": _Fault(
        "{at} means nothing", "Write the character without the backslash, or \\\\ for a backslash."
    ),
    "Unicode property not found": _Fault("{at} is no Unicode property", "Try \\p{{L}} or \\p{{Greek}}."),
    "unrecognized flag": _Fault("there is no flag {at}", "There are i, m, s, u, U and x."),
    "duplicate capture group name": _Fault("{at} names a second group", "Name it otherwise, or write (?:…)."),
}
"""By what regex-syntax says."""
_BOUNDARIES: Final = {"Start": "^", "End": "$", "WordUnicode": "\\b", "WordUnicodeNegate": "\\B", "WordAscii": "\\b", "WordAsciiNegate": "\\B"}  # fmt: skip
"""llguidance's names of what matches no character."""


def _in_expression(reason: str) -> _Fault | None:
    """A fault of the expression in `reason`, if it is about one."""
    if found := re.search(r"lookarounds not supported yet; (\w+)", reason):
        piece = _BOUNDARIES.get(found[1].removesuffix("LF").removesuffix("CR"), found[1])
        where = {"^": " except at the beginning", "$": " except at the end"}.get(piece, "")
        return _Fault(
            f"{_quoted(piece)} is not supported{where}",
            "Leave it out: the whole text always matches, from its first character to its last.",
        )
    if (found := _PATTERN.search(reason)) is None:
        return None
    pattern, begin = found["pattern"], found["marks"].index("^")
    piece = pattern[begin : begin + max(1, found["marks"][begin:].partition(" ")[0].count("^"))]
    at = f"{_quoted(piece)} in column {begin + 1:,}" if piece else "its end"
    known = _IN_EXPRESSION.get(found["error"])
    if known is None and "nest" in found["error"]:
        return _Fault("its groups are nested too deeply", "Write it with fewer parentheses.")
    what, cure = known or _Fault(f"{{at}}: {found['error'].replace('{', '{{').replace('}', '}}')}")
    return _Fault(what.format(at=at), cure.format(piece[:1]))


def _of_regex(text: str, reason: str) -> _Fault:
    return _in_expression(reason) or _Fault(cleaned(reason))


# --- grammars

_LINE: Final = re.compile(r"^(?:at )?(?P<line>\d+)\((?P<byte>\d+)\): (?P<words>(?s:.*))")
_IN_GRAMMAR: Final[tuple[tuple[str, str, str], ...]] = (
    (r'unknown name: "(.*)"', "“{0}” is not defined", "Define it in a line of its own."),
    (r'circular reference in token "(.*)"', "the token “{0}” refers to itself", "Only rules may, whose names are in lower case."),
    (r'duplicate (?:rule|token): "(.*)"', "“{0}” is defined twice", "Join both with |, or rename one."),
    (r"no start rule found|Empty grammar", "it has no rule named start", "Call the rule of the whole reply start."),
    (r'unknown special token: "(.*?)"', "the model has no token “{0}”", "Write one that it has, or text in quotes."),
    (r"Token range end too large: (\d+)", "the model has no token {0}", "Write a number below the size of its vocabulary."),
    (r"range end must be >= start, got \((\d+), (\d+)\)", "the repetition {{{0},{1}}} runs backwards", "Write the smaller number first."),
    (r"Unknown common regex: (\S+);", "there is no {0} to import", "There are common.INT, common.NUMBER, common.WORD, common.WS and others."),
    (r"unknown grammar (@\S+)", "“{0}” is not defined", "Define it as a rule of this grammar."),
    (r"lark grammar too deeply nested", "it is nested too deeply", "Name the inner parts as rules of their own."),
)  # fmt: skip
"""What llguidance says, what is said here, and the cure."""
_GBNF: Final = "Grammars are in Lark: it writes name: where GBNF writes name ::=."
_LARK: Final = 'Write name: and then "text", /regex/ and the names of rules and TOKENS.'


def _of_grammar(text: str, reason: str) -> _Fault:
    found = _LINE.match(reason)
    words = found["words"] if found is not None else reason
    line = int(found["line"]) if found is not None else 0
    where = f"in line {line:,}, " if line else ""
    if inner := _in_expression(words):
        part = re.search(r'invalid regex "(.*?)" \(in', words)
        named = f"in the regex {_quoted(_unescaped(part[1]))}, " if part is not None else ""
        return _Fault(f"{where}{named}{inner.what}", inner.cure)
    if nested := re.search(r"failed to compile JSON schema: (.*)", words):
        what, cure = _of_schema("", nested[1])
        return _Fault(f"{where}in the JSON schema, {what}", cure)
    for pattern, what, cure in _IN_GRAMMAR:
        if known := re.match(pattern, words):
            return _Fault(where + what.format(*known.groups()), cure.format(*known.groups()))
    if found is not None and (syntax := _syntax(text, line, int(found["byte"]), words)):
        return _Fault(where + syntax, _GBNF if "::=" in text else _LARK)
    return _Fault(where + cleaned(words))


def _syntax(text: str, line: int, byte: int, words: str) -> str:
    """What cannot be read at this place; empty if that is not the fault."""
    expected = re.match(r"Expected (?:token )?(.*?)(?:, found| \(at)", words)
    if expected is None and not words.startswith("lexer error"):
        return ""
    written = text.split("\n")[line - 1] if line <= text.count("\n") + 1 else ""
    before = written.encode()[: byte - 1].decode(errors="ignore")  # llguidance counts bytes
    rest = written[len(before) :].strip()
    at = f"{_quoted(rest)} in column {len(before) + 1:,}" if rest else "the end of the line"
    if expected is None:
        return f"{at} cannot be read"
    wanted = expected[1]
    wanted = _quoted(wanted.strip("'")) if wanted.startswith("'") else wanted
    return f"{at} is not expected here, but {wanted}"


def _unescaped(quoted: str) -> str:
    """What stands in a string that Rust shows."""
    return quoted.replace('\\"', '"').replace("\\\\", "\\")


# --- schemas

_IN_SCHEMA: Final[tuple[tuple[str, str, str], ...]] = (
    (r"Invalid type: (?P<type>.*)", "there is no type “{0}”", "There are string, number, integer, boolean, null, array and object."),
    (r"Unknown format: (?P<format>.*)", "the format “{0}” is not supported", "Leave it out, or describe it with pattern."),
    (r"Unimplemented keys: \[(?P<keys>.*)\]", "there is no support for {0}", "Leave it out, or say the same with other keys."),
    (r"Pointer '(?P<ref>.*)' does not exist", "“#{0}” is not in the schema", "Define it there."),
    (r"Resource '(?P<resource>.*?)' is not present", "“{0}” is another file, which is not read", "Copy it into $defs."),
    (r"(?P<oneOf>oneOf) constraints are not supported", "oneOf is not supported where several of its schemas may fit", "Write anyOf."),
    (r"invalid (?P<multipleOf>multiple of)", "it must be above 0", "Correct it."),
    (r"Unsatisfiable schema: (?P<empty>anyOf) is empty", "no value fits an empty list", "Fill it, or leave it out."),
    (r"Unsatisfiable schema: required property '(?P<required>.*)' is", "no value fits", "Correct it."),
    (r"Unsatisfiable schema: (?P<fits>.*)", "no value fits: {0}", "Correct it."),
    (r"Expected (?P<kind>.*) for '(?P<key>.*)', got (?P<got>.*)", "it takes {0}s, not {2}", "Correct it."),
    (r"(?P<key>\w+) must be (?P<kind>.*)", "{0} must be {1}", "Correct it."),
    (r"(?P<nested>recursion limit exceeded)", "it is nested too deeply", "Define the inner schemas in $defs."),
    (r"(?P<no>Expecting object schema)", "it is no schema, which is an object, true or false", "Correct it."),
)  # fmt: skip
"""What llguidance says, what is said here, and the cure. The name of the first group says where the fault is (`_key_of`)."""


def _of_schema(text: str, reason: str) -> _Fault:
    try:
        schema: object = json.loads(text) if text else None
    except (ValueError, RecursionError):
        schema = None
    if schema is False:
        return _Fault("no value is valid against false", "Write a schema that allows something.")
    if inner := _in_expression(reason):
        shown = _PATTERN.search(reason) or re.search(r"regex /(?P<pattern>.*)/", reason)
        pattern = shown["pattern"] if shown is not None else ""
        return _Fault(_place(schema, lambda node: _pattern_key(node, pattern)) + inner.what, inner.cure)
    for expression, what, cure in _IN_SCHEMA:
        if known := re.match(expression, reason):
            words = [re.sub('"(.*?)"', r"“\1”", each).replace("f64", "number") for each in known.groups("")]
            place = _place(schema, lambda node, known=known: _key_of(node, known.groupdict("")))
            return _Fault(place + what.format(*words), cure)
    return _Fault(cleaned(reason))


def _place(schema: object, key_of: Callable[[dict[str, Any]], str | None]) -> str:
    """`in /properties/age/type, ` for the first object with a key that is at fault (RFC 6901). Empty: there is none."""
    for path, node in _objects(schema):
        if (key := key_of(node)) is not None:
            path = f"{path}/{key}" if key else path
            return f"in {path}, " if path else ""
    return ""


def _objects(node: object, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object in a schema with its pointer, the outer ones first."""
    if isinstance(node, dict):
        members = cast("dict[str, Any]", node)
        yield path, members
    elif isinstance(node, list):
        members = dict(enumerate(cast("list[Any]", node)))
    else:
        return
    for name, member in members.items():
        yield from _objects(member, f"{path}/{_escaped(str(name))}")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _pattern_key(node: dict[str, Any], shown: str) -> str | None:
    """The key with this expression, which is shown with line breaks as escapes; None: there is none."""
    given = {"pattern": [node.get("pattern")], "patternProperties": node.get("patternProperties")}
    for key, patterns in given.items():
        for each in cast("list[object]", patterns if isinstance(patterns, list | dict) else []):
            if isinstance(each, str) and each.replace("\n", "\\n") == shown:
                return key
    return None


def _key_of(node: dict[str, Any], known: dict[str, str]) -> str | None:
    """The key of this object that llguidance's words may be about; empty: the object itself; None: they are about another."""
    (name, value), *_ = known.items()
    match name:
        case "type" | "format":
            given = node.get(name)
            return name if (value in given if isinstance(given, list) else given == value) else None
        case "keys":
            return "" if all(each in node for each in json.loads(f"[{value}]")) else None
        case "ref" | "resource":
            return "$ref" if node.get("$ref") == ("#" if name == "ref" else "") + value else None
        case "empty":
            return next((key for key in ("enum", "anyOf", "oneOf") if node.get(key) == []), None)
        case "required":
            given = node.get("required")
            return f"properties/{_escaped(value)}" if isinstance(given, list) and value in given else None
        case "fits":
            numbers = re.findall(r"(\w+) \((.*?)\)", value)
            return "" if numbers and all(str(node.get(key)) == number for key, number in numbers) else None
        case _:
            key = known.get("key", name)
            return key if key in node else None


_FAULTS: Final = {
    "choices": _of_regex,
    "regex": _of_regex,
    "grammar": _of_grammar,
    "json-schema": _of_schema,
}
