"""Documented source code to rows of explain, answer and summarize: walks what fetch.sh unpacked."""

import argparse
import gzip
import json
import os
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from common import rnd
from languages import brace_file, elisp_file, go_file, ruby_file


def one(a):
    """Rows of one (path, language)."""
    path, lang = a
    try:
        s = (gzip.open(path, "rt", encoding="utf8") if path.endswith(".gz") else open(path, encoding="utf8")).read()
    except Exception:
        return []
    if len(s) > 1_500_000 or len(s) < 100:
        return []
    if lang in ("JavaScript",) and len(s) / (s.count("\n") + 1) > 200:
        return []
    out = []
    s = s.replace("\r\n", "\n")
    try:
        if lang == "Go":
            go_file(s, out)
        elif lang == "Ruby":
            ruby_file(s, out)
        elif lang == "Emacs Lisp":
            elisp_file(s, out)
        else:
            brace_file(s, lang, out, dts=path.endswith((".d.ts", ".d.mts")))
    except RecursionError:
        pass
    return out


def files(data):
    """(path, language) of all sources unpacked by fetch.sh; tests and vendored code left out."""
    X = f"{data}/x"
    for root in ("go", "rust", "npm", "misc", "jdk", "linux"):
        for d, ds, fs in os.walk(f"{X}/{root}"):
            ds[:] = [k for k in ds if k not in ("testdata", "test", "tests", "__tests__", "umd", "vendor")]
            for f in fs:
                p = d + "/" + f
                l = None
                if os.path.islink(p):
                    continue
                if f.endswith(".go") and not f.endswith("_test.go"):
                    l = "Go"
                elif f.endswith(".rs"):
                    l = "Rust"
                elif f.endswith((".d.ts", ".d.mts", ".ts", ".tsx")):
                    l = "TypeScript"
                elif f.endswith((".js", ".mjs", ".jsx")) and ".min." not in f and not f.endswith("-dbg.js"):
                    l = "JavaScript"
                elif f.endswith(".java"):
                    l = "Java"
                elif f.endswith(".php"):
                    l = "PHP"
                elif f.endswith(".rb"):
                    l = "Ruby"
                elif f.endswith(".d") and root == "misc":
                    l = "D"
                elif f.endswith((".el", ".el.gz")):
                    l = "Emacs Lisp"
                elif root == "linux" and f.endswith((".c", ".h")):
                    l = "C"
                elif root == "misc" and (f.endswith((".h", ".hpp", ".hxx", ".txx", ".hh", ".tcc")) or "/c++/" in d):
                    l = "C" if re.search(r"/glib-2|/gtk-3|/postgresql", d) else "C++"
                elif root == "misc" and f.endswith(".c"):
                    l = "C"
                if l:
                    yield p, l


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder filled by fetch.sh")
    parser.add_argument("out", help="file for the rows, JSON lines")
    parser.add_argument("languages", nargs="*", help="only these languages")
    options = parser.parse_args()
    found = [file for file in files(options.data) if not options.languages or file[1] in options.languages]
    rnd("files").shuffle(found)
    seen, counts = set(), Counter()
    with ProcessPoolExecutor(2) as pool, open(options.out, "w") as out:
        for rows in pool.map(one, found, chunksize=100):
            for row in rows:
                task, text, question, _ = row
                key = (task, text[:300], question)
                if key in seen:
                    continue
                seen.add(key)
                counts[task, question if task.startswith("explain") else ""] += 1
                out.write(json.dumps(row) + "\n")
    for kind, count in counts.most_common():
        print(count, kind)


if __name__ == "__main__":
    main()
