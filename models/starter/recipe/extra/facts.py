"""Questions that patterns find in prose, with their answers."""

import re

from common import ANS_MAX, ascii_ok, sentences


NUM = r"(?:\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|hundreds of|dozens of)"


def ok(a, mn=2):
    """Fit to be a short answer."""
    return (
        mn <= len(a) <= ANS_MAX
        and ascii_ok(a)
        and a.count("(") == a.count(")")
        and a.count('"') % 2 == 0
        and not a.endswith((",", ":", "(", " the", " a", " of"))
    )


def tidy(a):
    """Without marks around, and without the full stop of a single sentence."""
    return a.strip(" ,;:").rstrip(".") if a.count(". ") == 0 else a.strip()


def facts(text, name="", r=None):
    """[(kind, question, answer)] that patterns find in the sentences of a text, shuffled by `r`."""
    out = []
    ss = sentences(text)
    for s in ss:
        if len(s) > 320:
            continue
        m = re.match(
            r"^((?:The |An? )?[A-Za-z][\w.+\'/-]*(?: [\w.+\'/-]+){0,3}?) (?:is|are) ((?:an?|the|one of) [^,;]{8,}.*?)\.?$",
            s,
        )
        if m and not re.match(
            r"(This|That|These|It|There|Here|He|She|They|If|When|What|Which|In|For|As|And|But|You|We|One|Each|All|Some|Another|To|Its|Their|Also|Note|At|On|So|An? \w+$)\b",
            m.group(1),
        ):
            n = m.group(1)
            n = n[0].lower() + n[1:] if re.match(r"(The|An?) ", n) else n
            out.append(
                (
                    "is",
                    r.choice(
                        [
                            "What is {}?",
                            "What is {}?",
                            "What kind of thing is {}?",
                            "How is {} described?",
                            "Define {}.",
                        ]
                    ).format(n),
                    m.group(2),
                )
            )
        m = re.search(
            r"\b(?:This package|[Tt]he package|This module|This library|This program|This tool|[A-Z][\w-]+) (provides|contains|includes|installs|implements|supports|offers|allows|adds|generates|converts|displays|reads|creates|uses|requires|handles|extends|replaces|defines|manages|checks|detects|enables|returns|describes|specifies|controls|sets|determines|represents) ([^:]{6,}?)\.?$",
            s,
        )
        if m and m.start() == 0:
            subj = s[: m.start(1)].strip()
            v = {"is": "be"}.get(m.group(1), m.group(1))
            v = (
                "replace"
                if v == "replaces"
                else re.sub(r"(?<=[sxh])es$", "", v)
                if v in ("accesses",)
                else "create"
                if v == "creates"
                else v[:-1]
            )
            subj = subj[0].lower() + subj[1:] if re.match(r"(This|The) ", subj) else subj
            out.append(("verb", f"What does {subj} {v}?", m.group(2)))
        m = re.search(
            r"\b(?:is |was |been |are )?(?:written|implemented|programmed|coded) (?:entirely |purely |completely |mostly )?in (?:pure |portable |plain |the )?((?:ANSI )?(?:C\+\+|C#|C|Java|Python ?\d?|Perl|Ruby|Go|Rust|Haskell|OCaml|Lua|JavaScript|TypeScript|Tcl/Tk|Tcl|PHP|Scala|Erlang|Lisp|Common Lisp|Fortran(?: \d+)?|Ada|Pascal|Assembly|Vala|Prolog|Scheme|R|D|Emacs Lisp|shell|Bash|Guile))(?![\w+#])",
            s,
        )
        if m:
            out.append(
                (
                    "lang",
                    r.choice(
                        [
                            "In which language is it written?",
                            "Which programming language is used?",
                            "What is {} written in?",
                            "Which language is {} implemented in?",
                        ]
                    ).format(name or "it"),
                    m.group(1),
                )
            )
        m = re.search(
            r"\b(?:based|built) on (?:top of )?((?:the |an? )?[A-Za-z][\w+./-]*(?: [A-Z\d][\w+./-]*| library| engine| toolkit| framework| algorithm| protocol| project| code){0,4})",
            s,
        )
        if m:
            out.append(
                (
                    "based",
                    r.choice(["What is {} based on?", "On what is {} based?", "What does {} build on?"]).format(
                        name or "it"
                    ),
                    m.group(1),
                )
            )
        m = re.search(
            r"\b(?:developed|written|created|designed|invented|maintained|introduced|published|founded|released|made) (?:and [a-z]+ )?by ((?:the )?[A-Z][\w.\'-]+(?: (?:[A-Z][\w.\'-]*|and|of|for|the|de|van|der|von))*)",
            s,
        )
        if m:
            v = re.match(r"\w+", m.group(0)).group(0)
            out.append(
                (
                    "who",
                    r.choice(
                        [
                            f'Who {v} {name or "it"}?'
                            if v != "written" and v != "made"
                            else f'Who wrote {name or "it"}?',
                            f'By whom was {name or "it"} {v}?',
                            f'Who is behind {name or "it"}?',
                        ]
                    ).replace("Who written", "Who wrote"),
                    re.sub(r" (and|of|for|the|de|van|der|von)$", "", m.group(1)),
                )
            )
        m = re.search(
            r"\b(?:under|with|uses) (?:the )?(?:terms of )?(?:the )?((?:[A-Z0-9][\w.+/-]*,? ){0,5}(?:GPL|LGPL|BSD|MIT|Apache|Mozilla|Artistic|Public|General Public|Creative Commons)(?:[ -](?:[A-Z0-9v][\w.+-]*|version|style))*(?: [Ll]icen[sc]e)?)",
            s,
        )
        if m and re.search(r"icen[sc]e|GPL|MIT|BSD", s):
            out.append(
                (
                    "lic",
                    r.choice(
                        [
                            "Which licence is used?",
                            "Under which licence is {} released?",
                            "What is the license of {}?",
                            "How is {} licensed?",
                        ]
                    ).format(name or "it"),
                    m.group(1).strip(),
                )
            )
        m = re.search(
            r"\b(?:in|since|until|from|around|by) (?:(?:January|February|March|April|May|June|July|August|September|October|November|December) )?((?:1[6-9]|20)\d\d)\b",
            s,
        )
        if m and len(s) < 240:
            v = re.search(
                r"\b(released|published|founded|created|developed|written|introduced|designed|born|died|invented|started|began|defined|discovered|standardized|built|established)\b",
                s[: m.start()],
            )
            a = (
                re.sub(r"^(in|from|by|since|until|around) ", "", m.group(0))
                if not v
                else re.sub(r"^(in|by|from) ", "", m.group(0))
            )
            if v and v.group(1) not in ("began", "died"):
                out.append(
                    (
                        "when",
                        r.choice(
                            [
                                f'When was {name or "it"} {v.group(1)}?',
                                f'In which year was {name or "it"} {v.group(1)}?',
                            ]
                        ),
                        a,
                    )
                )
            else:
                out.append(("when", r.choice(["Which year is mentioned?", "Which date does the text give?"]), a))
        m = re.search(
            r"\b((?:over |more than |about |up to |at least |at most |around |exactly )?"
            + NUM
            + r") ((?:[a-z]+ing |[a-z]+ed |different |new |basic |main |major |built-in |standard |common |separate |possible |distinct |unique )?(?!\w+ly\b)[a-z]{4,}s)\b(?! of)",
            s,
        )
        if (
            m
            and not re.match(
                r"(bits|times|years|days|hours|minutes|seconds|versions|this|others|was|does|has|pages|bytes|ways)$",
                m.group(2).split()[-1],
            )
            and not re.search(r"\d[.,]$", m.group(1))
        ):
            out.append(
                (
                    "num",
                    r.choice(
                        [
                            "How many {} are there?",
                            "How many {} are mentioned?",
                            "How many {} does the text speak of?",
                            "What is the number of {}?",
                        ]
                    ).format(m.group(2)),
                    m.group(1),
                )
            )
        for m in re.finditer(r"\b([A-Z]?[\w-]+(?: [\w-]+){1,6}) \(([A-Z][A-Za-z]{1,6})\)", s):
            w = m.group(1).replace("-", " ").split()
            ac = m.group(2).upper()
            for k in range(2, len(w) + 1):
                t = w[-k:]
                ini = "".join(x[0] for x in t).upper()
                ini2 = "".join(x[0] for x in t if x not in ("of", "the", "and", "for", "in", "to", "on")).upper()
                if ac in (ini, ini2) and t[0] not in ("of", "the", "and", "for", "a"):
                    full = m.group(1)[m.group(1).replace("-", " ").rfind(" ".join(t)) :]
                    out.append(
                        (
                            "acr",
                            r.choice(
                                [
                                    "What does {} stand for?",
                                    "What is {} short for?",
                                    "What is the meaning of {}?",
                                    "Expand the abbreviation {}.",
                                ]
                            ).format(m.group(2)),
                            full,
                        )
                    )
                    break
        m = re.search(
            r"\b(?:can be|may be|is|are|be) used (to|for|as|by|in) ([^.;:]{8,120}?)(?:[.;:]|$|, (?:and|but|or|which|such))",
            s,
        )
        if m:
            out.append(
                (
                    "used",
                    {
                        "to": r.choice(["What can it be used for?", "What is it used for?", "What is it used to do?"]),
                        "for": r.choice(["What is it used for?", "What can it be used for?"]),
                        "as": "As what is it used?",
                        "by": "Who or what uses it?",
                        "in": "Where is it used?",
                    }[m.group(1)],
                    (m.group(1) + " " if m.group(1) == "to" else "") + m.group(2),
                )
            )
        m = re.search(r"\b[Tt]he default(?: value)?(?: for [\w-]+)? is ([^.;,]{1,60}?)(?:[.;,]|$)", s) or re.search(
            r"\bdefaults to ([^.;,]{1,60}?)(?:[.;,]|$)", s
        )
        if m:
            out.append(
                (
                    "default",
                    r.choice(
                        [
                            "What is the default?",
                            "What is the default value?",
                            "What does it default to?",
                            "Which value is used by default?",
                        ]
                    ),
                    m.group(1),
                )
            )
        m = re.search(r"\b(because|in order to|so that) ([^.;]{10,150})", s)
        if m and len(s) < 260:
            sub = s[: m.start()].strip(" ,")
            if 15 < len(sub) < 120 and sub.count(" ") > 2 and not re.search(r"[();:]", sub):
                out.append(
                    (
                        "why",
                        r.choice(['Why? "{}"', 'What is the reason for this: "{}"?', "Why is that so: {}?"]).format(
                            sub.rstrip(".")
                        ),
                        m.group(2),
                    )
                )
        m = re.match(r"^(If|When|Unless) ([^,;]{8,90}), (?:then )?([^;]{12,160}?)\.?$", s)
        if m and not re.search(r"\byou (want|need|wish|have|like|are)\b", m.group(2)):
            out.append(
                (
                    "if",
                    r.choice(["What happens {} {}?", "What is the consequence {} {}?", "What happens {} {}?"]).format(
                        m.group(1).lower(), m.group(2)
                    ),
                    m.group(3),
                )
            )
        m = re.search(
            r"\b(?:such as|including|for example|like) ((?:[\w.+/-]+(?: [\w.+/-]+){0,3}, ){1,7}(?:and|or) [\w.+/-]+(?: [\w.+/-]+){0,2})(?=[.;)])",
            s,
        )
        if m:
            out.append(
                (
                    "list",
                    r.choice(["Which examples are given?", "What examples does the text name?", "Name the examples."]),
                    m.group(1),
                )
            )
    res, seen = [], set()
    for k, q, a in out:
        a = tidy(re.sub(r"\s+", " ", a))
        if k in seen and k not in ("acr", "is", "num") or not ok(a) or len(q) > 200 or not ascii_ok(q):
            continue
        if q in seen:
            continue
        seen.add(k)
        seen.add(q)
        res.append((k, q, a))
    r.shuffle(res)
    return res
