"""Cleaning, sentence splitting and question templates shared by the builders. Lengths are in characters."""

import html
import random
import re
import zlib

TEXT_MAX, ANS_MAX = 1400, 220


def ascii_ok(t):
    """Printable ASCII, new lines and tabs only."""
    return all(32 <= ord(c) < 127 or c in "\n\t" for c in t)


TR = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
        "\u00a0": " ",
        "\u2022": "*",
        "\u2212": "-",
        "\u2192": "->",
    }
)


def uni(t):
    """Typographic quotes, dashes and blanks as ASCII."""
    return t.translate(TR)


def rnd(*k):
    """A random generator that depends on its arguments alone, so that a row does not depend on the order of the files."""
    return random.Random(zlib.crc32("|".join(map(str, k)).encode()))


def clean(t, lang=""):
    """Takes a language's documentation marks, HTML and Markdown off a comment and folds white space."""
    t = re.sub(r"\{@(?:link|linkplain|linkcode|see)\s+([^}|]*?)\s*\|\s*([^}]*)\}", r"\2", t)
    t = re.sub(r"\[([^\]]+)\]\{@link[^}]*\}", r"\1", t)

    def lk(m):
        a = m.group(1).split(None, 1)
        if not a:
            return ""
        return a[1] if len(a) > 1 and "(" not in a[0] else re.sub(r"^.*[#/]", "", m.group(1).strip()) or m.group(1)

    t = re.sub(r"\{@(?:link|linkplain|linkcode)\s+([^}]*)\}", lk, t)
    t = re.sub(r"\{@(?:code|literal|value|index|systemProperty|ref)\s+([^}]*)\}", r"\1", t)
    t = re.sub(
        r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?/?>",
        lambda m: m.group(0)
        if lang in ("Rust", "C++", "TypeScript")
        and not re.match(
            r"</?(p|br|code|em|i|b|strong|pre|tt|a|ul|li|ol|var|sup|sub|div|span|h\d|img|table|tr|td|small|kbd|caption|dl|dt|dd)\b",
            m.group(0),
            re.I,
        )
        else " "
        if re.match(r"</?(p|br|li|ul|ol|div|tr|td|h\d|dd|dt)\b", m.group(0), re.I)
        else "",
        t,
    )
    t = html.unescape(t)
    t = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", t)
    t = re.sub(r"\[([^\]]+)\]\((?:[^()]|\([^)]*\))*\)", r"\1", t)
    t = re.sub(r"\[(`?[^\[\]`]+`?)\]\[[^\]]*\]", r"\1", t)
    if lang in ("Rust", "Go", "TypeScript", "JavaScript"):
        t = re.sub(r"(?<![\w\])])\[(`[^`\]]+`|[A-Za-z_][\w:.!]*(?:\(\))?)\](?![\(\[])", r"\1", t)
    if lang in ("C++", "C", "D", "PHP"):
        t = re.sub(r"[\\@](?:brief|short|details|return|returns)\b\s*", "", t)
        t = re.sub(r"[\\@](?:c|p|a|e|em|b|ref|link|endlink|code|endcode|param|xref)\b\s*", "", t)
        t = re.sub(r"(?<!\w)[%#](?=[A-Za-z_])", "", t)
    if lang == "C":
        t = re.sub(r"(?<!\w)@(?=[a-z_])", "", t)
        t = re.sub(r"&(?=(?:struct|enum|union|typedef)\s|[a-z_])", "", t)
    if lang == "Ruby":
        t = re.sub(r"(?<!\w)\+([\w:.?!#=]+)\+(?!\w)", r"\1", t)
    if lang == "Emacs Lisp":
        t = re.sub(r"`([^`'\n]+)'", r"\1", t)
        t = t.replace("\\=", "").replace('\\"', '"')
    t = t.replace("``", "`")
    t = t.replace("`", "")
    t = re.sub(r"(?<![\w*])\*\*([^*\n]+?)\*\*(?![\w*])", r"\1", t)
    t = re.sub(r"(?<![\w*/])\*([A-Za-z][^*\n]*?)\*(?![\w*/])", r"\1", t)
    t = re.sub(r"(?<!\w)_([A-Za-z][\w ]*?)_(?!\w)", r"\1", t)
    t = re.sub(r"^#+\s+", "", t)
    return re.sub(r"\s+", " ", uni(t)).strip()


END = re.compile(
    r'(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\bresp)(?<!\bMr)(?<!\bDr)(?<!\bapprox)(?<!\bNo)(?<!\b[A-Z])([.!?])["\')]?(?=\s+["\'(]?[A-Z0-9]|\s*$)'
)


def sentences(t):
    """The sentences of a text, marks included."""
    out, p = [], 0
    for m in END.finditer(t):
        s = t[p : m.end()].strip()
        p = m.end()
        if s:
            out.append(s)
    if t[p:].strip():
        out.append(t[p:].strip())
    return out


def first(t):
    """The first sentence."""
    s = sentences(t)
    return s[0] if s else ""


BAD = re.compile(
    r"^(todo|fixme|xxx|hack|deprecated|copyright|see\b|see:|@|param|args\b|returns?:|test\b|licen[sc]e|note\b|notes:|example|same as|like |equivalent to|similar to|alias (for|of)|ditto|and |or |but |nolint|eslint|ts-|this file|auto-?generated|generated|internal|do not|don.t|implementation|implements [^ ]+\.?$|\(?non-javadoc|creates a new instance( of [^ ]+)?\.?$|constructor|default constructor|copy constructor|destructor|overrides?\b|inherit|required|optional\b|for internal|no longer|not used|the following|start of|end of|begin|usage|warning|important|because|since|if you|documentation)",
    re.I,
)


def good(s, mn=15, sp=3):
    """Fit to be an answer: a plain sentence of at least `mn` characters and `sp` blanks, with balanced marks."""
    return (
        mn <= len(s) <= ANS_MAX
        and s.count(" ") >= sp
        and s[0].isalpha()
        and ascii_ok(s)
        and not BAD.match(s)
        and "://" not in s
        and "www." not in s
        and s[-1] not in ":,;(-="
        and not re.search(
            r"[{}\\]|@\w+|\s@|&[a-z]+;|TODO|FIXME|\b(SPDX|licen[sc]ed? under|inheritDoc)\b|\[\[|<[/!]|--+[ -]|={2,}$|\*\*|~~|#{2}|\|",
            s,
        )
        and s.count("(") == s.count(")")
        and s.count('"') % 2 == 0
        and s.count("[") == s.count("]")
    )


STOP = set(
    "return this that with from into given which when will have been then than they them also only used uses using does other".split()
)


def words(s):
    """Stems (four letters) of the telling words, camel case split."""
    return {w[:4].lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", s) if len(w) > 3 and w.lower() not in STOP}


def overlap(ans, code):
    """Number of stems that an answer shares with its code or text."""
    return len(words(ans) & words(code))


def cap(s):
    """With a capital first letter."""
    return s[0].upper() + s[1:] if s else s


def dedent(code):
    """Removes the indentation that all lines but the first share."""
    ls = code.split("\n")
    rest = [l for l in ls[1:] if l.strip()]
    if rest:
        n = min(len(l) - len(l.lstrip()) for l in rest)
        # the closing line usually has the indentation of the first
        ls = [ls[0].lstrip()] + [l[n:] if l.strip() else "" for l in ls[1:]]
    return "\n".join(l.rstrip() for l in ls)


def cut(t, n=TEXT_MAX):
    """At most `n` characters, cut at the end of a line if one is near."""
    if len(t) <= n:
        return t
    t = t[:n]
    k = t.rfind("\n")
    return t[:k] if k > n * 2 // 3 else t


def cutp(t, n=TEXT_MAX):
    """At most `n` characters, cut at the end of a sentence."""
    if len(t) <= n:
        return t
    o = ""
    for s in sentences(t):
        if len(o) + len(s) + 1 > n:
            break
        o = (o + " " + s).strip()
    return o or t[:n]


Q = {
    "param": [
        "What does the parameter {} do?",
        "What is {}?",
        "What is the parameter {}?",
        "What is {} for?",
        "What does {} mean?",
        "What is the purpose of {}?",
        "What should be passed as {}?",
        "Explain the parameter {}.",
        "What does the argument {} stand for?",
    ],
    "ret": [
        "What does it return?",
        "What is returned?",
        "What does {} return?",
        "What is the return value of {}?",
        "What is the result?",
        "What does this function return?",
        "What does calling {} give back?",
    ],
    "throw": [
        "When does it throw?",
        "What can go wrong?",
        "When is {} thrown?",
        "When does it raise {}?",
        "In which case does it throw {}?",
    ],
    "does": [
        "What does {} do?",
        "What is {} for?",
        "What is the purpose of {}?",
        "What does this do?",
        "What is this for?",
        "Describe {}.",
    ],
    "params": [
        "Which parameters does it take?",
        "What are the parameters?",
        "Which arguments does {} take?",
        "List the parameters of {}.",
        "What parameters does {} accept?",
    ],
    "nparams": [
        "How many parameters does it take?",
        "How many arguments does {} have?",
        "How many parameters does {} take?",
    ],
    "default": [
        "What is the default value of {}?",
        "What is the default of {}?",
        "Which value does {} have by default?",
        "What does {} default to?",
    ],
    "type": ["What is the type of {}?", "Which type does {} have?", "What type is {}?"],
    "rettype": [
        "What is the return type of {}?",
        "What is the return type?",
        "Which type does {} return?",
        "What type does it return?",
    ],
    "name": ["What is the function called?", "What is the name of the function?", "What is this function named?"],
    "since": [
        "Since which version is it available?",
        "In which version was {} added?",
        "When was it introduced?",
        "Since when does {} exist?",
    ],
    "depr": ["What should be used instead?", "What replaces {}?", "{} is deprecated: what is the replacement?"],
    "opt": [
        "What does {} do?",
        "What does the option {} do?",
        "What is {} for?",
        "What happens with {}?",
        "What is the effect of {}?",
        "Explain the option {}.",
    ],
}


def ask(kind, arg="", r=random):
    """A question of a kind about `arg`."""
    return r.choice(Q[kind]).format(arg)
