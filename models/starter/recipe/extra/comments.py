"""Rows from one documented declaration, whatever its language. An `answer?` row asks merge.py for an unanswerable question."""

import re

from common import TEXT_MAX, ascii_ok, ask, cap, clean, cut, cutp, dedent, first, good, overlap, rnd, words
from declarations import name_of


TAG = re.compile(r"^\s*[@\\](\w+)\b", re.M)


def split_tags(doc):
    """(prose, [(tag, text)]) of a Javadoc, JSDoc, Doxygen or YARD comment."""
    ms = [
        m
        for m in TAG.finditer(doc)
        if m.group(1)
        not in (
            "brief",
            "short",
            "details",
            "c",
            "p",
            "a",
            "ref",
            "e",
            "em",
            "code",
            "endcode",
            "li",
            "link",
            "verbatim",
            "description",
            "summary",
            "remarks",
            "classdesc",
            "desc",
            "link",
            "rst",
            "b",
            "f",
            "overload",
        )
    ]
    pre = doc[: ms[0].start()] if ms else doc
    tags = [
        (m.group(1), doc[m.end() : (ms[k + 1].start() if k + 1 < len(ms) else len(doc))].strip())
        for k, m in enumerate(ms)
    ]
    pre = re.sub(
        r"^\s*[@\\](?:brief|short|details|description|summary|remarks|classdesc|desc|overload)\b[ \t]*",
        "",
        pre,
        flags=re.M,
    )
    return pre.strip(), tags


def prose_of(pre):
    """Prose up to the first example, table or heading."""
    pre = re.sub(r"```.*?(?:```|$)", "", pre, flags=re.S)
    pre = re.sub(r"<pre>.*?(?:</pre>|$)", "", pre, flags=re.S | re.I)
    pre = re.split(r"^\s*(?:#+ |Examples?:|Usage:|\* \* \*|<example|@example|----|\|)", pre, flags=re.M)[0]
    return pre


def strip_doc(raw):
    """A block comment without its stars."""
    return "\n".join(
        re.sub(r"^\s*\*(?: |\t|$|(?=[@A-Za-z]))", "", l) if re.match(r"\s*\*", l) else l.strip()
        for l in raw.strip().split("\n")
    ).strip()


def fix(s, lang, name=""):
    """A first sentence without the declared name in front: 'Foo returns' becomes 'Returns'."""
    if lang == "Go" and name and s.startswith(name + " "):
        s = s[len(name) + 1 :]
        s = re.sub(r"^(?:is|are) (?=an? |the )", "", s)
    elif name and len(name) > 2:
        s = re.sub(r"^(?:The )?" + re.escape(name) + r"(?:\(\))?\s*(?:-+|:)\s*", "", s)
        m = re.match(re.escape(name) + r"(?:\(\))? (?=(?:\w+s) )", s)
        if m and not re.match(r"(is|was|has|class|instances?|objects?|methods?)\b", s[m.end() :]):
            s = s[m.end() :]
    s = re.sub(r"^(?:This|The) (?:method|function|class|struct|routine) (?=\w+s\b)(?!is |was |has )", "", s)
    return cap(s.strip())


def emit(out, lang, doc, code, raw, name=None, dts=False):
    """Appends the rows of one documented declaration: explain, summarize, and questions about its tags and signature."""
    if (
        len(doc) < 15
        or len(code) < 40
        or re.search(
            r"inheritDoc|^\s*(?:Copyright|@fileoverview|@license|@file\b|@author|eslint|@hidden|@internal)", doc
        )
    ):
        return
    code = dedent(code).strip().rstrip(",")
    if name is None:
        name = name_of(code)
    pre, tags = split_tags(doc)
    prose = prose_of(pre)
    p1 = re.split(r"\n\s*\n|\n\s*<p>|\n\s*[-*] ", prose)[0]
    f = fix(first(clean(p1, lang)), lang, name)
    r = rnd(name, doc[:200])
    if not ascii_ok(code):
        return
    cls = re.match(r"(?:[\w\s@()]*?)\b(?:class|interface|struct|enum|trait|record|union|type)\b", code[:120])
    ctext = code
    if cls:
        ctext = (
            re.sub(r"\n?[ \t]*/\*\*[\s\S]*?\*/", "", re.sub(r"\n[ \t]*///[^\n]*", "", ctext))
            if lang != "Go"
            else re.sub(r"\n[ \t]*//[^\n]*", "", ctext)
        )
    ctext = re.sub(r"\n\s*\n\s*\n+", "\n\n", ctext)
    ctext = cut(ctext).strip()
    okf = good(f) and name.lower() != "constructor"
    task = "explain-dts" if dts else "explain"
    if okf and len(ctext) >= 50 and overlap(f, ctext) and not f.lower().replace(" ", "").rstrip(".") == name.lower():
        out.append((task, ctext, lang, f))
    full = clean(prose, lang)
    f0 = first(clean(p1, lang))
    rest = full[len(f0) :].strip() if full.startswith(f0) else ""
    if (
        okf
        and len(rest) >= 160
        and ascii_ok(rest)
        and f.count(" ") >= 4
        and overlap(f, rest) >= 2
        and not re.search(r"[{}]|@\w", rest)
    ):
        out.append(("summarize", cutp(rest), "", f))
    # ---- answers
    hd = re.split(r"\{|;", ctext)[0].strip() if not cls else ""
    sig = re.sub(r"\s+", " ", hd)
    ps = []
    ret = None
    thr = []
    misc = []
    for t, b in tags:
        b = re.split(r"\n\s*\n", b)[0]
        if t in ("param", "arg", "property", "prop", "tparam"):
            m = re.match(
                r"(?:\[(?:in|out|in,\s*out)\])?\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}\s*)?(?:[\w\\|\[\]<>]+\s+(?=\$))?(\[?\$?&?[\w$.]+(?:=[^\]\s]*)?\]?)\s*(?:\{[^{}]*\}\s*)?(?:[-:]\s*)?([\s\S]*)",
                b,
            )
            if not m:
                continue
            dv = re.search(r"=([^\]]+)\]", m.group(2))
            nm = re.sub(r"[\[\]&]|=.*", "", m.group(2)).lstrip("$")
            if lang == "Java" and t == "param" and b.startswith("<"):
                continue
            d = cap(first(clean(m.group(3), lang).lstrip("- ")))
            ty = (m.group(1) or "").strip()
            ps.append((nm, ty, d, dv.group(1) if dv else None))
        elif t in ("return", "returns", "result"):
            b = re.sub(r"^\{(?:[^{}]|\{[^{}]*\})*\}\s*-?\s*", "", b)
            if lang == "PHP":
                b = re.sub(r"^[\w\\|\[\]<>?$]+(?:\s+|$)", "", b)
            ret = cap(first(clean(b, lang).lstrip("- ")))
        elif t in ("throws", "exception", "throw", "raise"):
            m = re.match(r"\{?([\w.:\\]+)\}?\s+([\s\S]*)", b)
            if m:
                thr.append((m.group(1).split("\\")[-1], cap(first(clean(m.group(2), lang)))))
        elif t in ("since", "version") and re.match(r"v?\d[\w.]*$", b.strip()):
            misc.append(("since", b.strip()))
        elif t == "deprecated":
            misc.append(("depr", clean(b, lang)))
        elif t in ("default", "defaultvalue", "defaultValue"):
            misc.append(("default", clean(b, lang)))
    lang_answers(out, r, lang, name, f if okf else "", full, sig, ps, ret, thr, misc, raw, code, cls)


def lang_answers(out, r, lang, name, f, full, sig, ps, ret, thr, misc, raw, code, cls):
    """Appends questions: parameters, result, exceptions, versions, and facts of the signature."""
    okd = (
        lambda d: 8 <= len(d) <= 220
        and d.count(" ") >= 1
        and d[0].isalpha()
        and ascii_ok(d)
        and not re.search(r"[{}\\]|://|@\w|TODO", d)
        and d.count("(") == d.count(")")
        and not d.endswith((":", ","))
    )
    good_ps = [p for p in ps if okd(p[2])]
    if ps or ret or thr or misc:
        style = r.random()
        if style < 0.5:
            ctx = raw.strip()
            ctx = dedent(ctx) + "\n" + (cut(code, 500) if r.random() < 0.6 else re.split(r"\n", code)[0])
            ctx = ctx if len(ctx) <= TEXT_MAX else ctx[:TEXT_MAX].rsplit("\n", 1)[0]
        else:
            parts = [full[:600]]
            if r.random() < 0.5 and ps:
                parts += [f"{n} - {d}" for n, ty, d, dv in good_ps]
                sep = "\n"
            else:
                parts += [f"{n}: {d}" for n, ty, d, dv in good_ps]
                sep = " "
                parts = [p if p.endswith((".", "!", "?")) or not p else p + "." for p in parts]
            if ret and okd(ret):
                parts.append(r.choice(["Returns: ", "Return value: ", "Returns - "]) + ret)
            for e, d in thr[:3]:
                parts.append(f"Throws {e}: {d}")
            for k, v in misc:
                if k == "since":
                    parts.append("Since " + v)
                if k == "depr":
                    parts.append("Deprecated: " + v)
                if k == "default":
                    parts.append("Default: " + v)
            ctx = sep.join(p for p in parts if p)
            if sig and r.random() < 0.6 and len(sig) < 250:
                ctx = sig + "\n" + ctx
            ctx = ctx[:TEXT_MAX]
        flat = re.sub(r"[\s*`]+", " ", ctx)
        if ascii_ok(ctx) and len(ctx) > 40:

            def has(a):
                return (
                    style >= 0.5
                    and a[:40].lower() in flat.lower()
                    or style < 0.5
                    and overlap(a, ctx) >= min(2, len(words(a)))
                    and len(words(a)) > 0
                )

            c = []
            for n, ty, d, dv in good_ps:
                if has(d) and n in ctx and d.lower().strip(". ") != n.lower():
                    c.append((ask("param", n, r), d))
                if dv and dv in ctx and len(dv) < 40:
                    c.append((ask("default", n, r), dv.strip()))
                if ty and style < 0.5 and ty in ctx and 2 <= len(ty) < 60:
                    c.append((ask("type", n, r), re.sub(r"\s+", " ", ty)))
            r.shuffle(c)
            c = c[:3]
            if ret and okd(ret) and has(ret):
                c.append((ask("ret", name or "it", r), ret))
            for e, d in thr[:1]:
                if okd(d) and has(d):
                    c.append((ask("throw", e, r), d))
            for k, v in misc:
                if (
                    2 <= len(v) <= 200
                    and ascii_ok(v)
                    and v[:25] in flat
                    and "{" not in v
                    and (k != "depr" or v.count(" ") >= 1)
                ):
                    c.append((ask(k, name or "it", r), v))
            if len(ps) >= 2 and r.random() < 0.25 and all(p[0] in ctx for p in ps):
                c.append((ask("params", name or "it", r), ", ".join(p[0] for p in ps[:8])))
            if f and r.random() < 0.15 and name and has(f):
                c.append((ask("does", name, r), f))
            k = 3
            for q, a in c[: k + 1]:
                out.append(("answer", ctx, q, a))
            if good_ps and r.random() < 0.08:
                out.append(("answer?", ctx, "param", ""))
    elif f and full and r.random() < 0.12 and name and not cls:
        ctx = dedent(raw) + "\n" + cut(code, 600)
        if ascii_ok(ctx) and len(ctx) < 1600:
            out.append(("answer", ctx, ask("does", name, r), f))
    # plain facts of the signature
    if name and sig and not cls and r.random() < 0.10 and len(code) > 80:
        m = re.search(re.escape(name) + r"\s*(?:<[^()]*>)?\s*\(([^()]*)\)", sig)
        if m:
            a = [x.strip() for x in re.split(r",(?![^<\[]*[>\]])", m.group(1)) if x.strip() and x.strip() != "void"]
            if lang in ("Java", "C", "C++", "D"):
                nm = [re.sub(r"=.*", "", x).strip().split()[-1].strip("*&[]") for x in a if x.split()]
            elif lang in ("Go",):
                nm = [x.split()[0] for x in a]
            else:
                nm = [
                    re.split(r"[:=?\s]", x.split()[-1] if lang == "PHP" and "=" not in x else x)[0].strip(".&$")
                    for x in a
                ]
            nm = [n for n in nm if re.match(r"^\w+$", n) and n not in ("self", "mut", "this")]
            ctx = cut(code, 900)
            if ascii_ok(ctx):
                k = r.random()
                if k < 0.35 and 1 <= len(nm) == len(a) and len(nm) < 8:
                    out.append(("answer", ctx, ask("params", name, r), ", ".join(nm)))
                elif k < 0.55 and len(nm) == len(a):
                    out.append(("answer", ctx, ask("nparams", name, r), str(len(nm)) if nm else "none"))
                elif k < 0.7:
                    out.append(("answer", ctx, ask("name", "", r), name))
                else:
                    t = None
                    if lang == "Java":
                        t = re.search(r"([\w.<>\[\], ?]+)\s+" + re.escape(name) + r"\s*\(", sig)
                    elif lang == "Rust":
                        t = re.search(r"->\s*(.+?)(?:\s+where\b.*)?$", sig)
                    elif lang == "TypeScript":
                        t = re.search(r"\):\s*([\w.<>\[\]| ]+)$", sig)
                    elif lang == "Go":
                        t = re.search(r"\)\s*([\w.*\[\]]+)$", sig)
                    if t:
                        t = re.sub(
                            r"\b(public|protected|private|static|final|abstract|synchronized|native|default)\s+",
                            "",
                            t.group(1),
                        ).strip()
                        if 2 <= len(t) < 60 and t.count("<") == t.count(">"):
                            out.append(("answer", ctx, ask("rettype", name, r), t))
