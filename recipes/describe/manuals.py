"""Manual pages: groff -> text without its NAME section, and the NAME line's description."""

import concurrent.futures
import gzip
import os
import re
import subprocess

# No page breaks (the tty default of man), hyphens or adjustment marks; lines too wide to break a paragraph;
# no escape sequences or overstriking. Tables and UTF-8 sources are preprocessed.
GROFF = ["groff", "-Tutf8", "-Kutf8", "-t", "-mandoc", "-rLL=2000n", "-rHY=0", "-P-cbou"]
HYPHENS = str.maketrans({"\u2010": "-", "\u2212": "-", "\u00ad": "", "\u00a0": " "})
DASH = re.compile(r"\s(?:-{1,2}|\u2013|\u2014)\s")


def is_pointer(source):
    """True for a page that only includes another (`.so man3/printf.3`)."""
    for line in source.split("\n"):
        if line.strip() and not line.startswith(('.\\"', "'\\\"", '\\"')):
            return line.startswith(".so ")
    return True


def render(source):
    """The text of a page. Errors of groff's are its own business; an empty page is left out later."""
    done = subprocess.run(GROFF, input=source.encode("utf-8"), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=True)
    return done.stdout.decode("utf-8", errors="replace")


def split_name(text):
    """(page without NAME, header and footer; the description in NAME), or None where there is none.

    Sections begin at column 0, and so do the header and the footer, the first and the last line with
    anything in it. Runs of blanks become one; the lines stay."""
    lines = [line.translate(HYPHENS).rstrip() for line in text.split("\n")]
    lines = [line for line in lines if line][1:-1]
    name, body, inside = [], [], False
    for line in lines:
        if not line[0].isspace():
            inside = line == "NAME"
            if inside:
                continue
        (name if inside else body).append(" ".join(line.split()))
    # Several names may have a line each: the first one's description is the page's.
    parts = DASH.split(" " + " ".join(name[:1]) + " ", maxsplit=1)
    if len(parts) < 2 or not parts[1].strip():
        parts = DASH.split(" " + " ".join(name) + " ", maxsplit=1)
    summary = parts[1].strip() if len(parts) == 2 else ""
    document = "\n".join(body)
    return (document, summary) if document and summary else None


def page_of(path):
    """("printf.3", document, summary), or None for a page that is a pointer or has no description."""
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        source = file.read()
    if is_pointer(source):
        return None
    parts = split_name(render(source))
    return parts and (path.name.removesuffix(".gz"), *parts)


def manuals(root):
    """The pages below a folder, in the order of their paths; links lead to pages that are there anyway."""
    paths = sorted(path for path in root.glob("man*/*.gz") if path.is_file() and not path.is_symlink())
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [page for page in pool.map(page_of, paths) if page]
