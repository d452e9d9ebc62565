"""Finds where a declaration begins, where it ends and what it is called, in languages with braces."""

import re


def block_end(s, i, lang, limit=9000):
    """End index of the declaration that starts at i, or -1: brackets are matched, strings and comments skipped."""
    n = min(len(s), i + limit)
    st = []
    opened = False
    j = i
    asi = lang in ("JavaScript", "TypeScript") and re.match(
        r"(?:export\s+)?(?:declare\s+)?(?:const|let|var|type)\b", s[i : i + 40]
    )
    while j < n:
        c = s[j]
        if c == "/" and s[j : j + 2] == "//":
            k = s.find("\n", j)
            j = n if k < 0 else k
            continue
        if c == "/" and s[j : j + 2] == "/*":
            k = s.find("*/", j + 2)
            j = n if k < 0 else k + 2
            continue
        if (
            c == '"'
            or (c == "'" and lang not in ("Rust", "C", "C++", "D", "Java"))
            or (c == "`" and lang in ("JavaScript", "TypeScript"))
        ):
            k = j + 1
            while k < n and s[k] != c:
                if s[k] == "\\":
                    k += 1
                elif s[k] == "\n" and c != "`" and lang not in ("Rust", "PHP"):
                    break
                k += 1
            j = k + 1
            continue
        if c == "'":
            m = re.compile(r"'(?:\\[^']+|[^\\'\n]|\\')'").match(s, j)
            if m:
                j = m.end()
                continue
        if c == "/" and lang in ("JavaScript", "TypeScript"):
            k = j - 1
            while k > i and s[k] in " \t\n":
                k -= 1
            if s[k] in "(,=:[!&|?{};\n" or s[max(i, k - 5) : k + 1] == "return":
                m = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*").match(s, j)
                if m:
                    j = m.end()
                    continue
        if c in "([{":
            st.append(c)
            opened = opened or c == "{" and len(st) == 1
        elif c in ")]}":
            if not st:
                return j if s[i:j].strip() else -1
            st.pop()
            if c == "}" and not st:
                m = re.compile(r"\s*([{|&\[;,)=.]|extends\b)?").match(s, j + 1)
                x = m.group(1)
                if x == ";":
                    return m.end()
                if x in ("{", "|", "&", "[", "extends", ".") or x == "=" and s[m.end() : m.end() + 1] != "=":
                    j += 1
                    continue
                return j + 1
        elif c == ";" and not st:
            return j + 1
        elif c == "," and not st and lang in ("JavaScript", "TypeScript", "Rust"):
            return j
        elif c == "\n" and not st:
            if asi:
                k = j - 1
                while k > i and s[k] in " \t\n":
                    k -= 1
                if s[k] not in "=,:(|&?>+-*" and not re.match(r"\s*[.|&?:+=,({]", s[j : j + 60]):
                    return j
            if re.match(r"\s*/\*\*", s[j : j + 200]) and s[i:j].strip():
                return j
        j += 1
    return -1 if not opened else n


START = {
    "JavaScript": r"(?:export\s+(?:default\s+)?)?(?:async\s+)?(?:function\b|class\b|(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?(?:function|\(|\w+\s*=>|dual|/\*)|(?:static\s+|get\s+|set\s+|async\s+|\*\s*|#)*[\w$]+\s*\([^;]*?\)\s*\{|[\w$.]+\s*=\s*(?:async\s*)?(?:function|\(|class)|[\w$]+\s*:\s*(?:async\s*)?function)",
    "TypeScript": r"(?:export\s+(?:default\s+)?)?(?:declare\s+)?(?:(?:public|protected|private|static|readonly|abstract|async|override|get|set)\s+)*(?:function\b|class\b|interface\b|enum\b|type\b|(?:const|let|var)\s+\w+|[\w$#]+\??\s*(?:<[^;{}]*?>)?\s*\([^;{]*?\)|[\w$]+\s*=\s*(?:async\s*)?(?:function|\())",
    "Java": r"(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|protected|private|static|final|abstract|synchronized|native|default|strictfp|sealed|non-sealed)\s+)*(?:<[^{;]*?>\s+)?(?:class|interface|enum|record|@interface|[\w.<>\[\], ?&]+\s+\w+\s*\(|\w+\s*\()",
    "PHP": r"(?:(?:public|protected|private|static|final|abstract)\s+)*(?:function\b|class\b|interface\b|trait\b)",
    "Rust": r'(?:#\[[^\n]*\]\s+)*(?:pub(?:\([^)]*\))?\s+)?(?:(?:const|async|unsafe|extern\s+"C")\s+)*(?:fn|struct|enum|trait|union)\b',
    "C": r"(?:(?:static|inline|extern|const|unsigned|__always_inline|noinline|asmlinkage)\s+)*(?:struct|enum|union|[A-Za-z_]\w*)\b[^;{}#]*?[({]",
    "C++": r"(?:template\s*<[^{;]*?>\s*)?(?:(?:static|inline|virtual|constexpr|explicit|friend|const|extern|typename)\s+)*(?:class|struct|enum|[A-Za-z_][\w:<>,\s*&]*?)\b[^;{}#=]*?[({]",
    "D": r"(?:(?:public|private|pure|nothrow|@\w+|static|final|auto|ref|const|package)\s+)*(?:class|struct|interface|enum|[\w!\[\]().]+)\s+\w+\s*(?:\(|\{)",
}
START = {k: re.compile(v) for k, v in START.items()}
NAME = re.compile(r"\b(?:function\*?|class|interface|enum|type|fn|struct|trait|union|def|func|record)\s+\*?([\w$]+)")


def name_of(code):
    """The name that a piece of code declares, or an empty string."""
    m = NAME.search(code[:300])
    h = re.search(
        r"(~?[A-Za-z_$][\w$]*[!?]?)\s*(?:<[^(){};]*>)?\s*\(",
        re.sub(r"^\s*(?:@\w+(?:\([^)]*\))?|#\[[^\n]*\]|template\s*<[^{;]*?>)\s*", "", code[:400]),
    )
    a = re.match(r"(?:export\s+)?(?:const|let|var)\s+([\w$]+)", code) or re.match(
        r"([\w$.]+)\s*[=:]\s*(?:async\s*)?(?:function|\(|class)", code
    )
    if a:
        return a.group(1).split(".")[-1]
    if m and (not h or m.start() < h.start() + 3):
        return m.group(1)
    return h.group(1) if h and h.group(1) not in ("if", "for", "while", "switch", "return", "function") else ""
