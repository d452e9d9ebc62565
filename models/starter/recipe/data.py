"""Builds rows of (task, text, question, answer) from the docstrings of Python packages installed on this machine.

The rows are JSON lines: a function explained by the first sentence of its docstring, a docstring summarized by it, and
questions about parameters and results answered by the docstring's sections (numpydoc and Google style).
"""

import argparse
import ast
import hashlib
import json
import os
import random
import re
import textwrap
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

CODE_MAX, TEXT_MAX, ANSWER_MAX = 1400, 1400, 220  # characters
CLASS_MAX = 700
FILE_MAX = 600_000
SAME_ANSWER_MAX = 4  # rows of a task with the same answer
SKIPPED = ("tests", "test", "__pycache__", "testing", "_vendor", "vendored", "idlelib", "lib2to3")

ROLE = re.compile(r":[a-zA-Z:+-]+:`~?([^`<]*?)(?:\s*<[^`>]*>)?`")
BAD = re.compile(r"^(todo|fixme|deprecated|copyright|see |\.\. |>>>|@|%|:|param|args|returns?:|test\b)", re.I)
NUMPY_SECTION = re.compile(
    r"^(Parameters|Returns|Yields|Attributes|Raises|Notes|Examples|See Also|References|Other Parameters|Warns|Methods)"
    r"\s*\n\s*-{3,}",
    re.M,
)
GOOGLE_SECTION = re.compile(
    r"^\s*(Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Note|Notes|Attributes|Shape|Keyword args"
    r"|Keyword Arguments|Reference|References|Usage)\s*:\s*$",
    re.M,
)
NUMPY_PARAMETER = re.compile(r"^(\*{0,2}\w+)[ ]*(?::[ ]*(.*))?\n((?:[ ]+.*\n?|\n)+)", re.M)
GOOGLE_PARAMETER = re.compile(
    r"^[ ]+(\*{0,2}\w+)[ ]*(?:\(([^)\n]*)\))?[ ]*:[ ]*" r"(.+(?:\n(?![ ]+\*{0,2}\w+[ ]*(?:\([^)\n]*\))?[ ]*:).+)*)",
    re.M,
)


def clean(text):
    """Takes reStructuredText and Markdown marks off and folds white space."""

    def role(match):
        return match.group(1).split(".")[-1] if "~" in match.group(0) else match.group(1)

    text = ROLE.sub(role, text)
    text = re.sub(r"``([^`]*)``", r"\1", text)
    text = re.sub(r"`([^`]*)`_*", r"\1", text)
    text = re.sub(r"\*\*?([^*\s][^*]*)\*\*?", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def sentence(text):
    """The first sentence, cleaned."""
    text = clean(text)
    match = re.search(r"(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)\.(?:\s|$)", text)
    return text[: match.end()].strip() if match else text


def is_ascii(text):
    return all(32 <= ord(character) < 127 or character in "\n\t" for character in text)


def good(text):
    """Fit to be an answer: a plain sentence of some length, without links and headings."""
    return (
        15 <= len(text) <= ANSWER_MAX
        and text[0].isalpha()
        and is_ascii(text)
        and not BAD.match(text)
        and text.count(" ") >= 2
        and "://" not in text
    )


def prose(doc):
    """A docstring up to its first section, example or directive."""
    ends = [len(doc)]
    for pattern in (NUMPY_SECTION, GOOGLE_SECTION, re.compile(r"^\s*(>>>|::|\.\. |:param)", re.M)):
        match = pattern.search(doc)
        if match:
            ends.append(match.start())
    return doc[: min(ends)]


def parameters(doc):
    """[(name, first sentence)] of the parameter sections, and the first sentence about the result or None."""
    found = []
    for heading, section, parameter in (
        (r"^(?:Parameters|Attributes)\s*\n-{3,}\n", NUMPY_SECTION, NUMPY_PARAMETER),
        (r"^[ ]*(?:Args|Arguments|Parameters):[ ]*\n", GOOGLE_SECTION, GOOGLE_PARAMETER),
    ):
        match = re.search(heading, doc, re.M)
        if match:
            body = doc[match.end() :]
            end = section.search(body)
            body = body[: end.start()] if end else body
            found += [(own.group(1), sentence(own.group(3))) for own in parameter.finditer(body)]
    result = None
    match = re.search(r"^Returns\s*\n-{3,}\n(.*\n(?:[ ]+.*\n?)*)", doc, re.M)
    if match:
        kind, *lines = match.group(1).split("\n")
        body = "\n".join(lines)
        result = sentence(body) if body.strip() else sentence(kind)
    match = re.search(r"^[ ]*Returns:[ ]*\n((?:[ ]+.*\n?)+)", doc, re.M)
    if match:
        result = sentence(re.sub(r"^\s*[\w\[\], .|`:~]+:\s", "", match.group(1)))
    return found, result


def rows_of_definition(node, lines):
    """Rows of one function or class. `lines`: the lines of its file."""
    doc = ast.get_docstring(node)
    if not doc or len(doc) < 15 or node.name.startswith("test"):
        return []
    is_class = isinstance(node, ast.ClassDef)
    first = sentence(doc.split("\n\n")[0])
    docstring = node.body[0]
    head = "\n".join(lines[node.lineno - 1 : docstring.lineno - 1])
    tail = "\n".join(lines[docstring.end_lineno : node.end_lineno])
    code = textwrap.dedent(head + "\n" + tail).strip()
    if is_class:
        code = code[:CLASS_MAX]
    rows = []
    if good(first) and len(code) > 60 and is_ascii(code) and len(node.body) > 1:
        rows.append(("explain", code[:CODE_MAX], "", first))
    if is_class and not good(first):
        return rows
    text = clean(prose(doc))
    rest = text[len(first) :].strip() if text.startswith(first) else ""
    if good(first) and len(rest) >= 160 and is_ascii(rest):
        rows.append(("summarize", rest[:TEXT_MAX], "", first))
    return rows + questions(doc)


def questions(doc):
    """Questions that a docstring's sections answer."""
    found, result = parameters(doc)
    context = clean(doc)
    if not found or not is_ascii(context):
        return []
    context = context[:TEXT_MAX]
    rows = []
    for name, meaning in found[:4]:
        if good(meaning) and meaning[:40] in context:
            rows.append(("answer", context, f"What is {name}?", meaning))
    if result and good(result) and result[:40] in context:
        rows.append(("answer", context, "What does it return?", result))
    if len(found) >= 2 and sum(len(name) for name, _ in found) < 80:
        names = ", ".join(name for name, _ in found[:8])
        rows.append(("answer", context, "Which parameters does it take?", names))
    return rows


def rows_of_file(path):
    """Rows of one source file; none if it cannot be read or parsed."""
    try:
        with open(path, encoding="utf8") as file:
            source = file.read()
        if len(source) > FILE_MAX:
            return []
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    lines = source.split("\n")
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    rows = []
    for node in ast.walk(tree):
        if isinstance(node, kinds):
            rows += rows_of_definition(node, lines)
    return rows


def source_files(roots):
    """Python files below the roots, tests and vendored packages left out, in an order that is mixed but always the same."""
    files = []
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in SKIPPED]
            files += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    files.sort()
    random.Random(0).shuffle(files)
    return files


def collect(files):
    """Rows of all files: no duplicates, no answer too often, at most as many questions as other rows."""
    rows, seen, per_answer = [], set(), Counter()
    with ProcessPoolExecutor() as pool:
        for part in pool.map(rows_of_file, files, chunksize=64):
            for task, text, question, answer in part:
                key = hashlib.md5((task + text[:300] + question).encode()).digest()
                if key in seen:
                    continue
                seen.add(key)
                per_answer[task, answer.lower()] += 1
                if per_answer[task, answer.lower()] <= SAME_ANSWER_MAX:
                    rows.append((task, text, question, answer))
    random.Random(1).shuffle(rows)
    answers = [row for row in rows if row[0] == "answer"]
    others = [row for row in rows if row[0] != "answer"]
    rows = others + answers[: len(others)]
    random.Random(2).shuffle(rows)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="file for the rows, JSON lines")
    parser.add_argument("roots", nargs="+", help="folders with Python packages")
    options = parser.parse_args()
    files = source_files(options.roots)
    rows = collect(files)
    with open(options.out, "w") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")
    print(len(files), "files", len(rows), "rows", Counter(row[0] for row in rows))


if __name__ == "__main__":
    main()
