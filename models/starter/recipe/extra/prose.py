"""Package descriptions and metadata, manual pages, HTML manuals and a dictionary to rows of summarize and answer."""

import argparse
import glob
import json
import os
import re
from concurrent.futures import ProcessPoolExecutor

from common import rnd
from manuals import man, page
from records import control, debian, packages, wordnet


OTHER_LANGUAGES = re.compile(
    r"/(de|fr|es|it|ja|pt|ru|zh|nl|pl|cs|da|el|fa|id|ko|nb|ro|sv|tr|vi|ar|hr|uk|sk)(-\w+)?/"
    r"|\.(de|fr|es|it|ja|pt|ru|zh|nl|pl|cs)(-\w+)?\.html"
)
SKIPPED_PAGES = re.compile(r"/gcloud|::|\.3(x11|ssl|tcl|erl|ncurses)")


def job(a):
    """Rows of one (kind, path); none if the file cannot be used."""
    try:
        return {"man": man, "page": page}[a[0]](a[1])
    except Exception:
        return []


def jobs(part, data):
    """(kind, path) of all manual pages or all English HTML manuals, mixed."""
    root = f"{data}/x/misc/usr/share"
    if part == "man":
        paths = set(glob.glob(f"{root}/man/man*/*.gz") + glob.glob("/usr/share/man/man*/*.gz"))
        skipped = SKIPPED_PAGES
    else:
        paths = glob.glob(f"{root}/**/*.html", recursive=True)
        skipped = OTHER_LANGUAGES
    found = [(part, path) for path in paths if not os.path.islink(path) and not skipped.search(path)]
    rnd(part).shuffle(found)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder filled by fetch.sh")
    parser.add_argument("out", help="file for the rows, JSON lines")
    parser.add_argument("part", choices=("deb", "man", "page"))
    options = parser.parse_args()
    with open(options.out, "w") as out:
        if options.part == "deb":
            parts = (build(options.data) for build in (debian, control, wordnet, packages))
            count = write_rows(parts, out)
        else:
            with ProcessPoolExecutor(2) as pool:
                count = write_rows(pool.map(job, jobs(options.part, options.data), chunksize=20), out)
    print(options.part, count)


def write_rows(parts, out):
    """Writes lists of rows as JSON lines; returns their number."""
    count = 0
    for rows in parts:
        for row in rows:
            out.write(json.dumps(row) + "\n")
        count += len(rows)
    return count


if __name__ == "__main__":
    main()
