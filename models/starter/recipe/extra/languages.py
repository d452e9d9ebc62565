"""Finds documented declarations in source files, one function a family of languages."""

import re

from common import ascii_ok, cap, clean, cut, first, good, overlap, rnd
from comments import emit, strip_doc
from declarations import START, block_end


def kernel(out, doc, code, raw):
    """Rows of a kernel-doc comment ('name - what it does', '@parameter: …')."""
    m = re.match(
        r"(?:(?:struct|enum|union|typedef)\s+)?(\w+)\s*(?:\(\))?\s*[-:]\s+([\s\S]+?)(?:\n\s*\n|\n(?=@)|$)", doc
    )
    if not m:
        if not re.match(r"[A-Z][a-z]+ ", doc):
            return
        return emit(out, "C", doc, code, raw)
    desc = m.group(2)
    rest = doc[m.end() :]
    ps = re.findall(r"^@(\w+):[ \t]*((?:.+\n?)(?:(?!\s*\n|@\w+:).+\n?)*)", doc, re.M)
    body = re.sub(r"^@\w+:[ \t]*(?:.+\n?)(?:(?!\s*\n|@\w+:).+\n?)*", "", rest, flags=re.M).strip()
    rt = re.search(r"^Returns?:?\s+((?:.+\n?)+)", body, re.M)
    d = clean(desc, "C")
    body = re.split(r"^(?:Returns?|Context|Note|Locking)\b:?", body, flags=re.M)[0]
    nd = cap(d if d.endswith(".") else d + ".") + "\n\n" + body
    tags = "".join(f"\n@param {n} {t}" for n, t in ps) + (f"\n@return {rt.group(1)}" if rt else "")
    emit(out, "C", nd + tags, code, raw, m.group(1))


def brace_file(s, lang, out, dts=False):
    """Rows of a file of a language with braces: each documentation comment and the declaration after it."""
    st = START[lang]
    if lang in ("Rust",):
        it = re.finditer(r"(?:^[ \t]*///[^/\n]?[^\n]*\n)+", s, re.M)
    elif lang == "C++":
        it = re.finditer(r"(?:^[ \t]*//[/!][^\n]*\n)+|^[ \t]*/\*[*!][\s\S]*?\*/", s, re.M)
    elif lang == "D":
        it = re.finditer(r"(?:^[ \t]*///[^\n]*\n)+|^[ \t]*/(?:\*\*|\+\+)[\s\S]*?[*+]/", s, re.M)
    else:
        it = re.finditer(r"^[ \t]*/\*\*(?!\*)[\s\S]*?\*/", s, re.M)
    for m in it:
        raw = m.group(0).rstrip("\n")
        if len(raw) > 6000:
            continue
        if raw.lstrip().startswith("//"):
            doc = "\n".join(re.sub(r"^\s*//[/!]<? ?", "", l) for l in raw.split("\n"))
        else:
            doc = strip_doc(re.sub(r"^\s*/[*+][*+!]+", "", raw)[:-2])
        e = m.end()
        w = re.compile(r"\s*").match(s, e).end()
        if s.count("\n", e, w) > 2:
            continue
        d = st.match(s, w)
        if not d:
            continue
        end = block_end(s, w, lang)
        if end < 0:
            continue
        # keep the indentation of the first line so that dedent() sees it
        code = s[w:end]
        code = re.sub(r"^(?:\s*#\[[^\n]*\]\s*\n)+", "", code) if lang == "Rust" else code
        if lang in ("C", "C++") and not re.search(r"\)|\bclass\b|\bstruct\b|\benum\b", code):
            continue
        if lang == "C":
            kernel(out, doc, code, raw)
        else:
            emit(out, lang, doc, code, raw, dts=dts)


def go_file(s, out):
    """Rows of a Go file: comments that begin with the name of the function or type below."""
    if re.search(r"^// Code generated", s[:2000], re.M) and rnd(s[:3000]).random() < 0.7:
        return
    for m in re.finditer(r"((?:^//[^\n]*\n)+)((?:func|type)\b[^\n]*\n)", s, re.M):
        raw = m.group(1).rstrip("\n")
        doc = "\n".join(re.sub(r"^// ?", "", l) for l in raw.split("\n"))
        h = m.group(2).rstrip()
        i = m.start(2)
        nm = re.match(r"func\s+(?:\([^)]*\)\s*)?(\w+)|type\s+(\w+)", h)
        if not nm:
            continue
        name = nm.group(1) or nm.group(2)
        if h.endswith(("{", "(", ",")):
            e = s.find("\n}", i)
            if e < 0 or e - i > 9000:
                continue
            k = s.find("\n", e + 1)
            code = s[i : k if k > 0 else len(s)]
        else:
            code = h
        if re.match(r"(?:go:|\+|nolint|export )", doc.split("\n")[-1]):
            doc = "\n".join(doc.split("\n")[:-1])
        if not doc.startswith(name + " ") and not re.match(r"(An? |The )" + name, doc):
            continue
        doc = re.sub(r"(?m)^\t.*|^   +.*", "", doc)
        emit(out, "Go", doc, code, raw, name)


def ruby_file(s, out):
    """Rows of a Ruby file: comments right above a definition."""
    ls = s.split("\n")
    n = len(ls)
    i = 0
    while i < n:
        m = re.match(r"(\s*)(?:def|class|module)\s+(?:self\.)?([\w?!=:]+)", ls[i])
        if m and i and ls[i - 1].lstrip().startswith("#"):
            ind = m.group(1)
            j = i - 1
            while j >= 0 and ls[j].lstrip().startswith("#"):
                j -= 1
            raw = "\n".join(ls[j + 1 : i])
            doc = "\n".join(re.sub(r"^\s*#+ ?", "", l) for l in ls[j + 1 : i])
            if not re.search(r"frozen_string|encoding:|:nodoc|rubocop:|^!", doc) and len(raw) < 5000:
                k = i + 1
                while k < n and k - i < 120 and ls[k] != ind + "end":
                    k += 1
                if k < n and k - i < 120:
                    doc = (
                        re.split(r"^(?:  +\S|=+ |\s*:call-seq)", doc, flags=re.M)[0]
                        + "\n"
                        + "\n".join(re.findall(r"^@.*(?:\n  +.*)*", doc, re.M))
                    )
                    doc = re.sub(
                        r"^@(param|return|raise|option)\s+(?:(\w+)\s+)?\[([^\]]*)\]\s*(\w+)?",
                        lambda t: f"@{t.group(1)} "
                        + (
                            f'{{{t.group(3)}}} {t.group(2) or t.group(4) or ""}'
                            if t.group(1) == "param"
                            else (
                                t.group(3) + " " + (t.group(4) or "")
                                if t.group(1) == "raise"
                                else f'{{{t.group(3)}}} {t.group(4) or ""}'
                            )
                        ),
                        doc,
                        flags=re.M,
                    )
                    emit(out, "Ruby", doc, "\n".join(ls[i : k + 1]), raw, m.group(2).rstrip("="))
        i += 1


def elisp_file(s, out):
    """Rows of an Emacs Lisp file: docstrings of functions."""
    for m in re.finditer(
        r'^\((?:cl-)?(?:defun|defmacro|defsubst|define-minor-mode) (\S+) [^\n]*\n\s+"((?:[^"\\]|\\.)+)"', s, re.M
    ):
        e = s.find("\n(", m.end())
        e = e if e > 0 else len(s)
        body = s[m.end() : e]
        body = re.sub(r"\n;+[^\n]*", "", body).rstrip()
        code = s[m.start() : s.rfind("\n", m.start(), m.start(2) - 1)] + body
        if len(code) > 2500:
            continue
        f = first(clean(re.split(r"\n\n", m.group(2))[0], "Emacs Lisp"))
        ct = cut(code).strip()
        if good(f) and ascii_ok(ct) and len(ct) > 80 and overlap(f, ct):
            out.append(("explain", ct, "Emacs Lisp", f))
