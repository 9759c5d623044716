"""Reads and writes the text of one BUILD file, which is read as Python.

Of a Python target, what the sources say (`srcs`, `deps`, `testonly`, `# pip:`) is
written anew each time; its rule, name, other attributes and comments are kept. All
other statements and comments stay as they are written.
"""

import ast
from collections.abc import Iterable
import dataclasses
import io
import tokenize

RULES = ("cl_py_binary", "cl_py_library", "cl_py_test")

_DEFINITIONS = "//:build_defs.bzl"
_DERIVED = ("name", "testonly", "srcs", "deps")
_PIP = "# pip:"


class BuildFileError(ValueError):
    """A BUILD file that cannot be rewritten."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What a person decides about the target of one Python file."""

    rule: str
    name: str
    file: str  # In the BUILD file's folder.
    comments: tuple[str, ...] = ()  # The lines above it.
    attributes: tuple[str, ...] = ()  # As written: 'tags = ["external"]'.


@dataclasses.dataclass(frozen=True)
class BuildFile:
    """The kept parts of a BUILD file."""

    others: tuple[str, ...] = ()  # Statements and comments, as written.
    targets: tuple[Target, ...] = ()


def full_label(label: str, package: str) -> str:
    """Returns `label`, as written in `package`, as //package:name."""
    if label.startswith(":"):
        return f"//{package}{label}"
    if ":" not in label and label.startswith("//"):
        return f"{label}:{label.rsplit('/', 1)[-1]}"
    return label


def short_label(label: str) -> str:
    """Returns //a/b:b as //a/b, the way it is written in BUILD files."""
    package, name = label.split(":")
    return package if package.rsplit("/", 1)[-1] == name else label


def _call(statement: ast.stmt) -> tuple[str, ast.Call] | None:
    """Returns the name and the node of a call that is a statement by itself."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call):
            return name, call
    return None


def _comments(text: str) -> list[tuple[int, str]]:
    """Returns the comments of a file, each with its line."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]


def _target(
    text: str,
    path: str,
    call: ast.Call,
    above: list[str],
    comments: list[tuple[int, str]],
) -> Target:
    """Returns the target that a call writes.

    Args:
        text: the file's content.
        path: its name for messages.
        call: the call.
        above: the comment lines above it.
        comments: all comments of the file, with their lines.
    """
    where = f"{path}:{call.lineno}"
    literals, attributes, spans = {}, [], []
    for keyword in call.keywords:
        if keyword.arg in _DERIVED:
            try:
                literals[keyword.arg] = ast.literal_eval(keyword.value)
            except ValueError as error:
                message = f"{where}: {keyword.arg} must be written out"
                raise BuildFileError(message) from error
        else:
            attributes.append(ast.get_source_segment(text, keyword))
            spans.append(range(keyword.lineno, keyword.end_lineno))
    if not literals.get("name") or len(literals.get("srcs", ())) != 1:
        raise BuildFileError(f"{where}: a target has a name and one file in srcs")
    # A comment between the arguments moves above the target, not away.
    inside = [
        comment
        for line, comment in comments
        if call.lineno <= line <= call.end_lineno
        and not any(line in span for span in spans)
    ]
    return Target(
        rule=call.func.id,
        name=literals["name"],
        file=literals["srcs"][0],
        comments=tuple(c for c in above + inside if not c.startswith(_PIP)),
        attributes=tuple(attributes),
    )


def parse(text: str, path: str) -> BuildFile:
    """Returns the kept parts of the BUILD file `text`.

    Args:
        text: the file's content.
        path: the file's name for messages.

    Raises:
        BuildFileError: the file is no BUILD file, or one of its Python targets has no
            literal name or not exactly one file in `srcs`.
    """
    try:
        statements = ast.parse(text, path).body
    except SyntaxError as error:
        raise BuildFileError(f"{path}:{error.lineno}: {error.msg}") from error
    lines, comments = text.splitlines(), _comments(text)
    others, targets, done = [], [], 0
    for statement in statements:
        # Comments up to a blank line stand alone; those after it are the statement's.
        first = statement.lineno - 1
        while first > done and lines[first - 1].strip():
            first -= 1
        others += "\n".join(lines[done:first]).split("\n\n")
        above = lines[first : statement.lineno - 1]
        done = statement.end_lineno
        rule, call = _call(statement) or (None, None)
        if rule in RULES:
            targets.append(_target(text, path, call, above, comments))
        elif rule == "load" and ast.literal_eval(call.args[0]) == _DEFINITIONS:
            others.append("\n".join(above))
        else:
            others.append("\n".join(lines[first:done]))
    others += "\n".join(lines[done:]).split("\n\n")
    kept = (block.strip("\n") for block in others)
    return BuildFile(tuple(block for block in kept if block), tuple(targets))


def _attribute(name: str, values: list[str]) -> list[str]:
    """Returns the lines of a list of strings."""
    if len(values) == 1:
        return [f'    {name} = ["{values[0]}"],']
    return [f"    {name} = [", *(f'        "{v}",' for v in values), "    ],"]


def target_text(
    target: Target, deps: Iterable[str], packages: Iterable[str], *, testonly: bool
) -> str:
    """Returns the text of one target.

    Args:
        target: what is written by hand.
        deps: full labels.
        packages: third-party packages, for the comment.
        testonly: whether only tests may depend on it.
    """
    lines = list(target.comments)
    if packages := sorted(packages):
        lines.append(f"{_PIP} {', '.join(packages)}")
    lines += [f"{target.rule}(", f'    name = "{target.name}",']
    if testonly:
        lines.append("    testonly = True,")
    lines += _attribute("srcs", [target.file])
    lines += [f"    {attribute}," for attribute in target.attributes]
    if deps := sorted(map(short_label, deps)):
        lines += _attribute("deps", deps)
    return "\n".join([*lines, ")"])


def file_text(others: Iterable[str], rules: set[str], targets: Iterable[str]) -> str:
    """Returns the text of a BUILD file, empty where nothing is in it.

    Args:
        others: what is kept as it is; it comes first.
        rules: the rules of the Python targets.
        targets: their texts, in the order to write.
    """
    loaded = ", ".join(f'"{rule}"' for rule in sorted(rules))
    load = [f'load("{_DEFINITIONS}", {loaded})'] if rules else []
    blocks = [*load, *others, *targets]
    return "\n\n".join(blocks) + "\n" if blocks else ""


def labels(text: str, path: str) -> tuple[set[str], list[str]]:
    """Returns the names of the targets in a BUILD file, and the labels in it."""
    names, used = set(), []
    for node in ast.walk(ast.parse(text, path)):
        match node:
            case ast.keyword(arg="name", value=ast.Constant(value=str(name))):
                names.add(name)
            case ast.Constant(value=str(text)) if text.startswith(("//", ":")):
                used.append(text)
    return names, used
