"""Rows from manual pages and HTML manuals."""

import gzip
import os
import re
import subprocess
from html.parser import HTMLParser

from common import ascii_ok, ask, cap, first, good, rnd, sentences, uni, words
from facts import facts, ok


def man_text(p):
    """A manual page as plain text, one paragraph a line; None if it is a mere link or cannot be shown."""
    s = gzip.open(p, "rt", errors="ignore").read() if p.endswith(".gz") else open(p, errors="ignore").read()
    if s.startswith(".so") or len(s) > 400000:
        return None
    try:
        return uni(
            subprocess.run(
                ["man", "--nh", "--nj", "-l", p],
                capture_output=True,
                text=True,
                env={
                    **os.environ,
                    "MANWIDTH": "1000",
                    "MAN_KEEP_FORMATTING": "",
                    "LC_ALL": "C.UTF-8",
                    "PATH": os.environ["PATH"],
                },
                timeout=20,
            ).stdout
        )
    except Exception:
        return None


def man(p):
    """Rows of a manual page: its one-line name, its description, its options."""
    t = man_text(p)
    if not t:
        return []
    t = re.sub(r".\x08", "", t)
    t = re.sub(r"\x1b\[[\d;]*m", "", t)
    out = []
    secs = {}
    cur = None
    for l in t.split("\n"):
        if re.match(r"^[A-Z][A-Z ]{2,}$", l):
            cur = l.strip()
            secs[cur] = []
        elif cur:
            secs[cur].append(l)
    nm = re.sub(r"\s+", " ", " ".join(secs.get("NAME", []))).strip()
    m = re.match(r"([\w.:+, -]+?) -+ (.+)", nm)
    r = rnd(p)
    if not m:
        return []
    name = m.group(1).split(",")[0].strip()
    d = cap(m.group(2).strip().rstrip(".")) + "."
    ps = [re.sub(r"\s+", " ", x).strip() for x in re.split(r"\n\s*\n", "\n".join(secs.get("DESCRIPTION", [])))]
    text = ""
    for x in ps:
        if len(x) < 30 and not text or not ascii_ok(x):
            continue
        if len(text) + len(x) > 1500 or x.startswith("-"):
            break
        text = (text + "\n" + x).strip()
    if len(text) >= 160 and good(d, 15, 2):
        out.append(("summarize", text, "", d))
    if len(text) >= 100 and ok(d) and d.count(" ") >= 2:
        out.append(
            (
                "answer",
                f"{name} - {m.group(2)}\n{text}"[:1500],
                r.choice([f"What is {name}?", f"What does {name} do?", f"What is {name} for?"]),
                d.rstrip("."),
            )
        )
    for k, q, a in facts(re.sub(r"\s+", " ", text), name, r)[:3]:
        out.append(("answer", text, q, a))
    lines = [l for v in ("OPTIONS", "DESCRIPTION", "COMMANDS") for l in secs.get(v, [])]
    opts = []
    j = 0
    while j < len(lines):
        m = re.match(r"^(\s+)(-{1,2}[\w?-]+(?:[ =,|\[].*)?)$", lines[j])
        if m:
            h = m.group(2)
            ind = len(m.group(1))
            b = []
            q = re.match(r"(-.*?)\s{2,}(\S.*)$", h)
            if q:
                h = q.group(1)
                b.append(q.group(2))
            j += 1
            while j < len(lines) and lines[j].strip() and len(lines[j]) - len(lines[j].lstrip()) > ind:
                b.append(lines[j].strip())
                j += 1
            if b and len(h) < 60:
                opts.append((h.strip(), " ".join(b)))
        else:
            j += 1
    for k in range(0, min(len(opts), 40), 5):
        g = opts[k : k + 5]
        ctx = "\n".join(f"{h}\n    {b[:400]}" if r.random() < 0.5 else f"{h}  {b[:400]}" for h, b in g)
        if not ascii_ok(ctx) or len(ctx) > 1700 or len(ctx) < 80:
            continue
        for h, b in r.sample(g, min(2, len(g))):
            o = r.choice(re.findall(r"(?<![\w-])--?[\w?-]+", h) or [h])
            a = first(b[:400])
            if ok(a, 10) and a.count(" ") >= 2 and a[:40] in ctx:
                out.append(("answer", ctx, ask("opt", o, r), a))
        if r.random() < 0.12:
            out.append(
                (
                    "answer",
                    ctx,
                    ask(
                        "opt",
                        r.choice(
                            [
                                "--colour-depth",
                                "--retry-limit",
                                "-Z",
                                "--no-cache",
                                "--user-agent",
                                "--max-depth",
                                "--dry-run",
                                "--log-file",
                                "--timeout",
                                "--recursive",
                                "--json",
                            ]
                        ),
                        r,
                    ),
                    "unanswerable",
                )
            ) if not re.search(r"colour|retry|-Z|cache|agent|depth|dry|log-f|timeout|recurs|json", ctx) else None
    return out


class Paragraphs(HTMLParser):
    """Collects headings and paragraphs; lists, tables and code are dropped."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.current = None

    def handle_starttag(self, tag, attributes):
        if tag in ("p", "dd", "h1", "h2", "h3", "h4"):
            self.flush()
            self.current = (tag, [])
        elif tag in ("pre", "script", "style", "table", "ul", "ol"):
            self.flush()
            self.current = None

    def handle_endtag(self, tag):
        if tag in ("p", "dd", "h1", "h2", "h3", "h4", "div"):
            self.flush()

    def flush(self):
        if self.current:
            self.found.append((self.current[0], uni(re.sub(r"\s+", " ", "".join(self.current[1])).strip())))
        self.current = None

    def handle_data(self, text):
        if self.current:
            self.current[1].append(text)


def central(ss):
    """The sentence that shares most words with the others, if it is telling; the first one counts a little less."""
    W = [words(x) for x in ss]
    best, b = None, 0
    for i, x in enumerate(ss):
        if not good(x, 40, 6) or re.match(
            r"(It|This|That|They|These|He|She|In this case|However|Then|Therefore|Also|Thus|For|As|Note)\b", x
        ):
            continue
        sc = sum(len(W[i] & W[j]) for j in range(len(ss)) if j != i) / (len(W[i]) + 3) * (1 if i else 0.9)
        if sc > b:
            best, b = x, sc
    return best if b > 0.45 else None


def page(p):
    """Rows of an HTML manual."""
    try:
        t = open(p, errors="ignore").read()
    except Exception:
        return []
    if len(t) > 3_000_000:
        return []
    h = Paragraphs()
    try:
        h.feed(t)
        h.flush()
    except Exception:
        return []
    out = []
    buf = ""
    r = rnd(p)

    def flush(buf):
        if len(buf) < 160 or not ascii_ok(buf):
            return
        for k, q, a in facts(re.sub(r"\s+", " ", buf), "", r)[:3]:
            out.append(("answer", buf, q, a))
        ss = sentences(re.sub(r"\s+", " ", buf))
        if len(ss) >= 4 and len(buf) > 350:
            c = central(ss)
            if c:
                out.append(("summarize", buf, "", c))
        if r.random() < 0.12:
            out.append(("answer?", buf, "prose", ""))

    for t, x in h.found:
        if t[0] == "h" or len(buf) + len(x) > 1300:
            flush(buf)
            buf = ""
        if t[0] == "h":
            continue
        if len(x) < 40 or not ascii_ok(x):
            continue
        buf = (buf + "\n" + x[:1300]).strip()
    flush(buf)
    return out
