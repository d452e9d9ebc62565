"""Last pass: drops e-mail addresses, answers that begin with 'See', and notes about header packages."""

import argparse
import gzip
import json
import re

ADDRESS = re.compile(r" ?<?[\w.+-]+@[\w-]+\.[\w.-]+>?")
EMPTY = re.compile(r"See |This package (contains|provides) (the )?(header|shared)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", help="gzipped JSON lines written by merge.py")
    parser.add_argument("out", help="file for the rows, gzipped JSON lines")
    options = parser.parse_args()
    count = 0
    with gzip.open(options.rows, "rt") as lines, gzip.open(options.out, "wt", compresslevel=9) as out:
        for line in lines:
            task, text, question, answer = json.loads(line)
            if EMPTY.match(answer) or ADDRESS.search(answer) or ADDRESS.search(question):
                continue
            row = [task, ADDRESS.sub("", text), question, answer]
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
            count += 1
    print(count)


if __name__ == "__main__":
    main()
