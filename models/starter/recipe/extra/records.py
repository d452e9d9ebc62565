"""Rows from records: package descriptions and control fields, dictionary entries, package.json files."""

import glob
import json
import re

from common import ascii_ok, cap, cutp, overlap, rnd, uni
from facts import facts


def paras(d):
    """Paragraphs of a package description; lists keep their lines."""
    return [
        re.sub(r"\s+", " ", p).strip() if not re.search(r"^\s+[*o+-] ", p, re.M) else re.sub(r"[ \t]+", " ", p).strip()
        for p in re.split(r"^ \.\s*$", d, flags=re.M)
    ]


def debian(data):
    """Rows from package descriptions: the synopsis summarizes, patterns ask."""
    t = uni(open(f"{data}/trans.txt").read())
    items = []
    cnt = {}
    for blk in t.split("\n\n"):
        m = re.search(r"^Package: (\S+)", blk)
        d = re.search(r"^Description-en: (.*)\n((?: .*\n?)*)", blk, re.M)
        if not m or not d or not ascii_ok(blk):
            continue
        ps = paras(d.group(2))
        items.append((m.group(1), d.group(1).strip(), ps))
        for p in set(ps):
            cnt[p[:200]] = cnt.get(p[:200], 0) + 1
    rows = []
    seen = set()
    used = {}
    for name, syn, ps in items:
        if re.search(r"dummy|transitional|debug(ging)? symbols|metapackage|-dbg$", name + " " + syn, re.I):
            continue
        r = rnd(name)
        qs = []
        for p in ps:
            k = p[:200]
            u = used.get(k, 0)
            if (
                cnt[k] > 12
                or u >= 2
                and cnt[k] > 2
                or re.search(
                    r"^(This (is a )?(dummy|transitional)|This package (contains|provides|includes) (the )?(header|development|debug|static|documentation|shared librar|files for|runtime|API doc|HTML doc|translations|localization))",
                    p,
                )
            ):
                continue
            qs.append(p)
        text = "\n".join(qs)
        if len(text) < 100:
            continue
        for p in qs:
            used[p[:200]] = used.get(p[:200], 0) + 1
        key = text[:250]
        if key in seen:
            continue
        seen.add(key)
        text = text[:1790] if len(text) <= 1790 else cutp(text, 1790)
        s = re.sub(
            r"\s*\((?:[^()]*(?:files|library|runtime|version|binar|module|plugin|program|tool|doc|common|data|dev|headers|utilities|API|Python|Perl)[^()]*)\)$",
            "",
            syn,
        )
        s = re.sub(
            r"\s+-\s+(?:[\w ]*(?:files|headers|library|runtime|docs?|documentation|data|tools|utilities|binaries|plugin|modules?|bindings?|package|shared|static|common))$",
            "",
            s,
            flags=re.I,
        )
        s = cap(s.strip().rstrip("."))
        if (
            len(text) >= 160
            and 15 <= len(s) <= 220
            and s.count(" ") >= 2
            and overlap(s, text) >= 1
            and not re.search(r"headers?$|development files|shared librar|documentation$", s)
        ):
            rows.append(("summarize", text, "", s + "."))
        f = facts(
            re.sub(r"\s+", " ", text),
            name.split("-")[0] if r.random() < 0.3 and name.split("-")[0] in text.lower() else "",
            r,
        )
        for k, q, a in f[:3]:
            rows.append(("answer", text, q, a))
        bl = [
            re.sub(r"\s+", " ", b).strip(" .;,")
            for b in re.findall(r"(?:^|\n)\s*[*+-] ((?:.+)(?:\n(?!\s*[*+-] ).+)*)", text)
        ]
        if len(bl) >= 3 and r.random() < 0.5 and sum(map(len, bl[:5])) < 200:
            rows.append(
                (
                    "answer",
                    text,
                    r.choice(
                        [
                            "Which features are listed?",
                            "What are the items of the list?",
                            "List the points that the text names.",
                            "What does it include?",
                        ]
                    ),
                    "; ".join(bl[:5]),
                )
            )
        if len(s) < 120 and r.random() < 0.35:
            ctx = f"{name} - {syn}\n{text}"[:1800]
            q = r.choice(
                [
                    f"What is {name}?",
                    f"What is {name}?",
                    f"What does {name} do?",
                    f"What is the package {name} for?",
                    "What is this package?",
                    "What is described here?",
                ]
            )
            rows.append(("answer", ctx, q, s))
        if r.random() < 0.10:
            rows.append(("answer?", text, "prose", ""))
    return rows


def control(data):
    """Questions about fields of package records, in several notations."""
    rows = []
    t = uni(open(f"{data}/avail.txt", errors="ignore").read())
    QS = {
        "Version": ["Which version is it?", "What is the version of {}?", "What version of the package is this?"],
        "Maintainer": ["Who maintains {}?", "Who is the maintainer?", "Who looks after the package?"],
        "Homepage": ["What is the homepage?", "Where is the home page of {}?", "What is the project's web site?"],
        "Section": ["Which section is it in?", "To which section does {} belong?"],
        "Architecture": ["For which architecture is it built?", "What is the architecture?"],
        "Depends": ["What does {} depend on?", "Which dependencies does it have?", "What are the dependencies?"],
        "Installed-Size": ["What is the installed size?", "How large is it when installed?"],
        "Description": ["What is {}?", "What does {} do?", "What is this package?"],
        "Package": ["What is the name of the package?", "Which package is this?"],
        "Recommends": ["What does {} recommend?", "Which packages are recommended?"],
        "Source": ["What is the source package?"],
        "Priority": ["What is its priority?"],
        "Suggests": ["Which packages are suggested?"],
    }
    for blk in t.split("\n\n"):
        n = re.match(r"Package: (\S+)", blk)
        if not n:
            continue
        r = rnd("c", n.group(1))
        if r.random() > 0.16:
            continue
        fs = [
            (k, v.strip()) for k, v in re.findall(r"^([A-Z][\w-]+): ([^\n]*)$", blk, re.M) if k in QS and len(v) < 260
        ]
        if len(fs) < 5:
            continue
        if r.random() < 0.3:
            r.shuffle(fs)
            fs = fs[: max(5, len(fs) - 2)]
        style = r.random()
        ctx = "\n".join(f"{k}: {v}" for k, v in fs)
        if style > 0.75:
            ctx = json.dumps({k.lower(): v for k, v in fs}, indent=2)
        elif style > 0.6:
            ctx = "\n".join(f'{k.lower()} = "{v}"' for k, v in fs if '"' not in v)
        if not ascii_ok(ctx) or len(ctx) > 1600:
            continue
        for k, v in r.sample(fs, 2):
            v = re.sub(r"\s*<[^>]*>$", "", v) if k == "Maintainer" else v
            if 2 <= len(v) <= 220 and v in ctx:
                rows.append(("answer", ctx, r.choice(QS[k]).format(n.group(1)), v))
        if r.random() < 0.1:
            miss = [k for k in QS if k not in dict(fs)]
            if miss:
                rows.append(("answer", ctx, r.choice(QS[r.choice(miss)]).format(n.group(1)), "unanswerable"))
    return rows


def wordnet(data):
    """Questions about groups of dictionary entries that stand beside each other."""
    d = f"{data}/x/misc/usr/share/wordnet"
    g = {}
    for f, pos in (("noun", "n"), ("verb", "v"), ("adj", "a")):
        for l in open(f"{d}/data.{f}", errors="ignore"):
            if l.startswith(" ") or "|" not in l:
                continue
            h, gl = l.split("|", 1)
            w = h.split()
            gl = gl.strip().split('; "')[0].strip()
            gl = re.sub(r"^\([^)]*\)\s*", "", gl)
            word = w[4].replace("_", " ")
            word = re.sub(r"\([a-z]+\)$", "", word)
            if ascii_ok(gl) and 15 <= len(gl) <= 200:
                g.setdefault((pos, w[1]), []).append((word, gl))
    rows = []
    for (pos, lex), its in g.items():
        for k in range(0, len(its) - 5, 9):
            r = rnd(pos, lex, k)
            n = r.randint(4, 7)
            grp = its[k : k + n]
            if len({w for w, _ in grp}) < n:
                continue

            def an(w):
                return w if w[0].isupper() or pos != "n" else ("an " if w[0] in "aeiou" else "a ") + w

            style = r.random()
            ln = (
                lambda w, x: (
                    cap(("to " if pos == "v" else "") + w)
                    + (": " if style < 0.4 else " - " if style < 0.6 else " means " if pos != "n" else " is ")
                    + x
                    + "."
                )
                if not (pos == "n" and style >= 0.6)
                else cap(an(w)) + " is " + x + "."
            )
            ctx = ("\n" if style < 0.5 else " ").join(ln(w, x) for w, x in grp)
            w, x = r.choice(grp)
            qs = {
                "n": [
                    f"What is {an(w)}?",
                    f'What does "{w}" mean?',
                    f"Define {w}.",
                    f"What is meant by {w}?",
                    f"How does the text explain {w}?",
                ],
                "v": [f'What does "to {w}" mean?', f"What does {w} mean?", f"Define the verb {w}."],
                "a": [f"What does {w} mean?", f'What does "{w}" mean?', f"Explain {w}."],
            }[pos]
            rows.append(("answer", ctx, r.choice(qs), x))
            if r.random() < 0.3:
                w, x = r.choice(grp)
                rows.append(
                    (
                        "answer",
                        ctx,
                        r.choice(
                            [
                                f'Which word means "{x}"?',
                                f'Which term is explained as "{x}"?',
                                f'What is the word for "{x}"?',
                            ]
                        )[:300],
                        w,
                    )
                )
            if r.random() < 0.08:
                w2 = r.choice(its)[0]
                if w2.lower() not in ctx.lower():
                    rows.append(("answer", ctx, r.choice(qs).replace(w, w2), "unanswerable"))
    return rows


def packages(data):
    """Questions about package.json files."""
    rows = []
    for p in glob.glob(f"{data}/pj/*.json"):
        try:
            j = json.load(open(p))
        except Exception:
            continue
        r = rnd(p)
        keep = {
            k: j[k]
            for k in (
                "name",
                "version",
                "description",
                "license",
                "author",
                "main",
                "type",
                "homepage",
                "scripts",
                "dependencies",
                "engines",
            )
            if k in j
        }
        for key in ("scripts", "dependencies"):
            if isinstance(keep.get(key), dict):
                keep[key] = dict(list(keep[key].items())[:6])
        ctx = json.dumps(keep, indent=2)
        if len(ctx) > 1700 or not ascii_ok(ctx):
            continue
        c = []
        for k, qs in (
            ("version", ["Which version is it?", "What is the version?"]),
            ("license", ["Which licence does it have?", "What is the license?"]),
            ("main", ["What is the main file?", "What is the entry point?"]),
            ("description", ["What is this package?", "What is {} for?"]),
            ("homepage", ["What is the homepage?"]),
            ("name", ["What is the package called?", "What is the name of the package?"]),
        ):
            if isinstance(keep.get(k), str) and 2 <= len(keep[k]) <= 200:
                c.append((r.choice(qs).format(j.get("name")), keep[k]))
        for k, v in (keep.get("scripts") or {}).items():
            c.append((r.choice([f"What does the script {k} run?", f"Which command does {k} run?"]), v)) if isinstance(
                v, str
            ) and len(v) < 200 else None
        for k, v in (keep.get("dependencies") or {}).items():
            c.append(
                (r.choice([f"Which version of {k} is required?", f"What version of {k} does it depend on?"]), v)
            ) if isinstance(v, str) else None
        r.shuffle(c)
        for q, a in c[:4]:
            rows.append(("answer", ctx, q, a))
    return rows
