"""Parses and writes the text of a BUILD file.

Some parts of a Python target follow from the sources and are always regenerated:
`srcs`, `deps`, `testonly` and the `# pip:` comment. Its rule, name, other attributes
and comments are kept, as are all other statements and comments of the file.
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
    """The kept parts of the target of a Python file.

    Attributes:
        rule: name of the rule.
        name: name of the target.
        file: name of the file, in the BUILD file's folder.
        comments: comment lines above the target.
        attributes: other attributes, as written, such as 'tags = ["external"]'.
    """

    rule: str
    name: str
    file: str
    comments: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class BuildFile:
    """The kept parts of a BUILD file.

    Attributes:
        others: other statements and comments, as written.
        targets: the Python targets.
    """

    others: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()


def full_label(label: str, package: str) -> str:
    """Returns a label that is written in `package` in the form //package:name."""
    if label.startswith(":"):
        return f"//{package}{label}"
    if ":" not in label and label.startswith("//"):
        return f"{label}:{label.rsplit('/', 1)[-1]}"
    return label


def short_label(label: str) -> str:
    """Returns a full label in the form that BUILD files use: //a/b for //a/b:b."""
    package, name = label.split(":")
    return package if package.rsplit("/", 1)[-1] == name else label


def _call(statement: ast.stmt) -> tuple[str, ast.Call] | None:
    """Returns the name and node of a statement that is a call, else None."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call):
            return name, call
    return None


def _comments(text: str) -> list[tuple[int, str]]:
    """Returns the (line, comment) pairs of a file."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]


def _target(
    text: str,
    path: str,
    call: ast.Call,
    above: list[str],
    comments: list[tuple[int, str]],
) -> Target:
    """Returns the target that is declared by a call.

    Args:
        text: the file's content.
        path: the file's name, for messages.
        call: the call.
        above: the comment lines above it.
        comments: (line, comment) pairs of the file.
    """
    where = f"{path}:{call.lineno}"
    literals, attributes, spans = {}, [], []
    for keyword in call.keywords:
        if keyword.arg in _DERIVED:
            try:
                literals[keyword.arg] = ast.literal_eval(keyword.value)
            except ValueError as error:
                message = f"{where}: {keyword.arg} must be a literal"
                raise BuildFileError(message) from error
        else:
            attributes.append(ast.get_source_segment(text, keyword))
            spans.append(range(keyword.lineno, keyword.end_lineno))
    if not literals.get("name") or len(literals.get("srcs", ())) != 1:
        raise BuildFileError(
            f"{where}: a target must have a name and exactly one file in srcs"
        )
    # Comments between the arguments are kept and moved above the target.
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
        path: the file's name, for messages.

    Raises:
        BuildFileError: the file is not a valid BUILD file, or one of its Python targets
            doesn't have a literal name and exactly one file in `srcs`.
    """
    try:
        statements = ast.parse(text, path).body
    except SyntaxError as error:
        raise BuildFileError(f"{path}:{error.lineno}: {error.msg}") from error
    lines, comments = text.splitlines(), _comments(text)
    others, targets, done = [], [], 0
    for statement in statements:
        # Comments directly above a statement belong to it, the others are separate.
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
    """Returns the lines of an attribute that is a list of strings."""
    if len(values) == 1:
        return [f'    {name} = ["{values[0]}"],']
    return [f"    {name} = [", *(f'        "{v}",' for v in values), "    ],"]


def target_text(
    target: Target, deps: Iterable[str], packages: Iterable[str], *, testonly: bool
) -> str:
    """Returns the text of a target.

    Args:
        target: the kept parts.
        deps: full labels of its dependencies.
        packages: third-party packages, for the `# pip:` comment.
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
    """Returns the text of a BUILD file, empty if it has no content.

    Args:
        others: kept statements and comments, which come first.
        rules: names of the rules of the Python targets.
        targets: texts of the Python targets, in order.
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
