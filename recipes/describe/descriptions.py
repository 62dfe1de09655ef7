"""Package descriptions: Packages and Translation lists -> long text and one-line synopsis."""

import re


def stanzas(text):
    """Dictionaries of the fields of a deb822 text, names in lower case; continuation lines keep all but
    their first column."""
    for block in re.split(r"\n\s*\n", text):
        fields, name = {}, None
        for line in block.split("\n"):
            if line[:1] in (" ", "\t"):
                if name:
                    fields[name] += "\n" + line[1:]
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.lower()
                fields[name] = value.strip()
        if fields:
            yield fields


def long_text(lines):
    """A long description as running text, one line a paragraph (Debian policy 5.6.13): " ." parts
    paragraphs, and lines indented further (lists, verbatim text) stay lines of their own."""
    paragraphs, running = [], False
    for line in lines:
        words = " ".join(line.split())
        if words in ("", "."):
            running = False
            continue
        indented = line.startswith((" ", "\t"))
        if running and not indented:
            paragraphs[-1] += " " + words
        else:
            paragraphs.append(words)
        running = not indented
    return "\n".join(paragraphs)


def sources(packages_text):
    """{binary package: source package}."""
    return {fields["package"]: fields.get("source", fields["package"]).split()[0]
            for fields in stanzas(packages_text) if "package" in fields}


def descriptions(translation_text, language="en"):
    """Yields (package, long text, synopsis); those without a long text are left out."""
    for fields in stanzas(translation_text):
        synopsis, _, rest = fields.get(f"description-{language}", "").partition("\n")
        document = long_text(rest.split("\n"))
        summary = " ".join(synopsis.split())
        if "package" in fields and document and summary:
            yield fields["package"], document, summary
