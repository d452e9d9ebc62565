"""Merges the parts: late repairs, no duplicates, limits for languages and tasks, unanswerable questions, a shuffle."""

import argparse
import gzip
import json
import random
import re
from collections import Counter
from pathlib import Path

from common import Q, ascii_ok, cap, good

# Rows of a language at most; `dts` are TypeScript declarations without a body, which count as TypeScript too.
QUOTA = {
    "Go": 22000,
    "Java": 18000,
    "C": 12000,
    "C++": 12000,
    "Rust": 16000,
    "PHP": 8500,
    "Ruby": 5500,
    "Emacs Lisp": 3000,
    "D": 1000,
    "JavaScript": 22000,
    "TypeScript": 12000,
    "dts": 7000,
}
TOTAL = {"explain": 120000, "summarize": 66000, "answer": 78000}
KEEP = {"go.jsonl": 0.3, "js.jsonl": 0.7, "other.jsonl": 0.8}  # share of a part's explanations that is kept
UNANSWERABLE = 0.045  # share of the answers
SAME_ANSWER_MAX = 4
SAME_TEXT_MAX = 3

NOT_A_VERB = re.compile(
    r"^(The|An?|All|Any|Each|Every|Its|If|When|For|To|From|With|In|On|By|Of|At|Into|It|And|Or|As|Some|One|Two|That|This"
    r"|Up|Down|Out|New|Same|Into|Over|Not|Only|But)\b"
)
VAGUE_SUMMARY = re.compile(
    r"(Changed|Deprecated|New|Added) (in|since)|\("
    r"|.*(following|above|below|as noted|Contributed by|previous|this (section|chapter|page))"
)
ABOUT_PARAMETERS = re.compile(r"parameter|argument|passed as|What is \w+( for)?\?|purpose of|default")
NAMES = re.compile(r"[A-Za-z_][\w.+-]{3,}")
COMMON_WORDS = (
    "what which does mean define many mentioned licence license written language called kind thing described text speak "
    "stand short meaning package released used based years happens reason number when where there used give examples "
    "name explain from with this that"
)


def repair_explanation(text, language, answer, rng):
    """The answer of an explain row, made to begin with a verb where Go code allows it; None drops the row."""
    if re.search(r"__PRIVATE_|\$\(", text + answer) and language in ("JavaScript", "D", "TypeScript"):
        return None
    if language == "JavaScript" and len(re.findall(r"\b[a-z]\b", text)) > len(text) / 16:  # minified
        return None
    if language == "Go":
        match = re.match(r"func\s+(?:\([^)]*\)\s*)?(\w+)", text)
        if match and NOT_A_VERB.match(answer):
            name = match.group(1)
            is_verb = re.match(r"[A-Z]?[a-z]+$", name) and not name.endswith("s")
            if not is_verb or re.match(r"(If|It|And|Or|But|Not|Only|When|That)\b", answer):
                return None
            answer = cap(name) + " " + answer[0].lower() + answer[1:]
        if match and re.match(r"(Sets the optional parameter|Returns an http.Header that)", answer):
            return None
    if re.match(r"(Set|Get|Set/Get|Gets|Sets) the [\w ]{1,20}\.?$", answer) and rng.random() < 0.5:
        return None
    if re.match(r"Update properties of this", answer):
        return None
    if language == "Ruby" and "quota_user" in text and rng.random() < 0.85:
        return None
    if len(text.strip().split("\n")) == 1 and rng.random() < 0.5:
        return None
    return answer if good(answer) else None


def repair_summary(text, answer):
    """The answer of a summarize row; None drops the row."""
    if re.match(r"\(?gcloud|.*\((ALPHA|BETA)\)", text):
        return None
    if not 160 <= len(text) <= 1800 or text.startswith(answer) or not 15 <= len(answer) <= 220:
        return None
    if re.search(r"&[a-z]+;|</\w+>|^(Effects|Complexity|Throws|Requires|Precondition)\b", answer):
        return None
    return re.sub(r" - (Rust source code|[\w ]*documentation|[\w ]*files)\.$", ".", answer)


def repair_answer(text, question, answer):
    """(text, answer) of an answer row; None drops the row."""
    if question.startswith(("Why", "What is the reason")):
        answer = re.sub(r"^of (?=\w)", "", answer)
    vague = re.match(r"What does (that|this|which|who|what|these|the following) \w+\?$", question, re.I)
    if vague and not question.startswith("What does this package"):
        return None
    if re.search(r"Who or what uses|Where is it used", question) or re.match(r"\(?gcloud|.*\((ALPHA|BETA)\)", text):
        return None
    kind = r"\s+\((?:[\w ]*(?:documentation|files|library|headers|runtime|data))\)$"
    answer = re.sub(kind, "", answer, flags=re.I)
    answer = re.sub(r" - Rust source code$", "", answer)
    answer = re.sub(r" - Python 3\.x$", "", answer)
    if text.lstrip().startswith("/*"):
        text = re.sub(r"\n\*", "\n *", text.strip())
    if re.search(r"&[a-z]+;", answer) or not 1 <= len(answer) <= 220 or len(text) < 30:
        return None
    if re.match(r'Executes the "', answer):
        return None
    if re.match(r"(What (happens|does the (text|author))|Why)", question) and len(answer) < 8:
        return None
    return text, answer


def repair(row, rng):
    """The row with small faults mended, or None if it is not worth keeping."""
    task, text, question, answer = row
    answer = re.sub(r"\$\((?:[A-Z_]+\d?) ([^()]*)\)", r"\1", answer)
    question = re.sub(r"^What does (It|They|There) ", lambda m: f"What does {m.group(1).lower()} ", question)
    question = re.sub(r"\b(What is|describes?) (This|The) ", lambda m: m.group(0).lower().capitalize(), question)
    if task == "explain":
        answer = repair_explanation(text, question, answer, rng)
    elif task == "summarize":
        answer = repair_summary(text, answer)
    elif task == "answer":
        text, answer = repair_answer(text, question, answer) or (text, None)
    if answer is None or not (ascii_ok(text) and ascii_ok(answer) and ascii_ok(question)):
        return None
    return [task, text, question, answer]


def read_part(path, rng):
    """Rows of a part as (row, is a TypeScript declaration), and those that wait for an unanswerable question."""
    keep = KEEP.get(Path(path).name, 1)
    is_page = path.endswith("page.jsonl")
    rows, waiting = [], []
    with open(path) as lines:
        for line in lines:
            if rng.random() > keep and '"explain"' in line[:12]:
                continue
            row = json.loads(line)
            if row[0] == "answer?":
                waiting.append(row)
                continue
            declaration = row[0] == "explain-dts"
            if declaration:
                row[0] = "explain"
            row = repair(row, rng)
            if row is None or len(row[1]) > 850 and rng.random() < 0.55:  # few long rows, to keep the file small
                continue
            if is_page and row[0] == "summarize":
                if VAGUE_SUMMARY.match(row[3]) or rng.random() > 0.45 or len(row[1]) < 350:
                    continue
            rows.append((row, declaration))
    return rows, waiting


def select(rows):
    """Rows without duplicates and within the limits; also their numbers by task and by language."""
    seen, same, languages, totals, texts = set(), Counter(), Counter(), Counter(), Counter()
    out = []
    for row, declaration in rows:
        task, text, question, answer = row
        key = text[:200] + "|" + question if task == "answer" else (text + question)[:300]
        if key in seen:
            continue
        if same[task, answer.lower()] >= SAME_ANSWER_MAX and not (task == "answer" and answer == "unanswerable"):
            continue
        if task == "answer" and texts[text[:200]] >= SAME_TEXT_MAX:
            continue
        language = "dts" if declaration else question
        if task == "explain":
            if languages[language] >= QUOTA.get(language, 5000):
                continue
            if declaration and languages["TypeScript"] + languages["dts"] >= QUOTA["TypeScript"]:
                continue
        if totals[task] >= TOTAL[task]:
            continue
        seen.add(key)
        same[task, answer.lower()] += 1
        totals[task] += 1
        if task == "answer":
            texts[text[:200]] += 1
        if task == "explain":
            languages[language] += 1
        out.append(row)
    return out, totals, languages


def unanswerable(rows, waiting, total, rng):
    """Rows whose question was asked of another text, about a name that this text does not contain."""
    general = {name.lower() for kind in Q.values() for question in kind for name in NAMES.findall(question)}
    general |= set(COMMON_WORDS.split())
    questions = [
        question
        for task, _, question, answer in rows
        if task == "answer"
        and len(question) < 110
        and answer != "unanswerable"
        and not question.startswith(("Why", "What is the reason"))
    ]
    about_parameters = [question for question in questions if ABOUT_PARAMETERS.search(question)]
    wanted = int(total * UNANSWERABLE)
    rng.shuffle(waiting)
    long_enough = [row for row in rows if row[0] == "answer" and len(row[1]) > 150]
    sources = [(text, kind) for _, text, kind, _ in waiting]
    sources += [(row[1], "any") for row in rng.sample(long_enough, min(6000, total // 5))]
    out = []
    for text, kind in sources:
        if len(out) >= wanted:
            break
        is_code = kind == "param" or re.match(r"\s*(/\*|//|\w+ ?\()", text)
        lower = text.lower()
        for _ in range(10):
            question = rng.choice(about_parameters if is_code else questions)
            names = [name.lower() for name in NAMES.findall(question) if name.lower() not in general]
            if names and all(name not in lower and name.rstrip("s") not in lower for name in names):
                out.append(["answer", text[:1500], question, "unanswerable"])
                break
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="file for the rows, gzipped JSON lines")
    parser.add_argument("parts", nargs="+", help="files written by code.py and prose.py")
    options = parser.parse_args()
    rng = random.Random(7)
    rows, waiting = [], []
    for path in options.parts:
        own, own_waiting = read_part(path, rng)
        rows += own
        waiting += own_waiting
    rng.shuffle(rows)
    rows, totals, languages = select(rows)
    rows += unanswerable(rows, waiting, totals["answer"], rng)
    rng.shuffle(rows)
    with gzip.open(options.out, "wt", compresslevel=9) as out:
        for row in rows:
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
    print(len(rows), Counter(row[0] for row in rows), dict(languages))
    print("unanswerable", sum(row[3] == "unanswerable" for row in rows))


if __name__ == "__main__":
    main()
