"""The pure parts of recipes/describe: package lists, manual pages, the split, the report. No network, no apt."""

import gzip
import hashlib
import json
import pathlib
import shutil
import sys

import pytest

RECIPE = pathlib.Path(__file__).resolve().parents[2] / "recipes" / "describe"
sys.path[:0] = [str(RECIPE), str(RECIPE / "model")]
import card  # noqa: E402
import debian  # noqa: E402
import descriptions  # noqa: E402
import manuals  # noqa: E402
import report  # noqa: E402
import split  # noqa: E402

TRANSLATION = """\
Package: libfoo1
Description-md5: 0123
Description-en: library for  foo
 Foo is a thing that
 spans lines:
  * first item
  * second item
 and goes on.
 .
 A second paragraph: with a colon.

Package: no-long-text
Description-en: only a synopsis

Package: bar
Description-en: bar
 .
 Text after an empty first paragraph.
"""


def test_descriptions_undo_the_paragraph_dots_and_keep_lists():
    assert list(descriptions.descriptions(TRANSLATION)) == [
        ("libfoo1", "Foo is a thing that spans lines:\n* first item\n* second item\nand goes on.\n"
                    "A second paragraph: with a colon.", "library for foo"),
        ("bar", "Text after an empty first paragraph.", "bar")]


def test_descriptions_in_another_language():
    german = TRANSLATION.replace("Description-en: library for  foo", "Description-de: Bibliothek f\u00fcr foo")
    assert [package for package, _, _ in descriptions.descriptions(german)] == ["bar"]
    assert [summary for _, _, summary in descriptions.descriptions(german, "de")] == ["Bibliothek f\u00fcr foo"]


def test_sources_name_the_source_package_without_its_version():
    text = "Package: libfoo1\nSource: foo (1.2-3)\n\nPackage: bar\nTag: a,\n b\n"
    assert descriptions.sources(text) == {"libfoo1": "foo", "bar": "bar"}


PAGE = """\
printf(3)            Library Functions Manual            printf(3)


NAME
       printf, fprintf \u2212 formatted   output\u2010conversion

SYNOPSIS
       #include <stdio.h>

   Format
       NAME of a format - see below.

libc 6.03                  2023                         printf(3)
"""


def test_the_name_section_becomes_the_summary_and_leaves_the_page():
    document, summary = manuals.split_name(PAGE)
    assert summary == "formatted output-conversion"
    assert document == "SYNOPSIS\n#include <stdio.h>\nFormat\nNAME of a format - see below."


@pytest.mark.parametrize("name, summary", [
    ("       a - first thing\n       b - second thing", "first thing"),  # several names: the first
    ("       a, b,\n       c - all of them", "all of them"),  # the dash comes in a later line
    ("       Mod::X \u2013 en dash of mdoc", "en dash of mdoc"),
    ("       x -- two hyphens", "two hyphens"),
    ("       x-y - one-way", "one-way"),
])
def test_forms_of_the_name_line(name, summary):
    assert manuals.split_name(f"h\nNAME\n{name}\nBODY\n   text\nf\n") == ("BODY\ntext", summary)


@pytest.mark.parametrize("page", ["", "h\nf\n", "h\nNAME\n   a\nBODY\n   t\nf\n", "h\nNAME\n   a - b\nf\n",
                                  "h\nBODY\n   a - b\nf\n"])
def test_pages_without_a_description_or_a_text_are_left_out(page):
    assert manuals.split_name(page) is None


def test_pointers_are_told_from_pages():
    assert manuals.is_pointer('.\\" Copyright\n.so man3/printf.3\n')
    assert not manuals.is_pointer(".TH X 3\n.SH NAME\nx \\- y\n.so inner\n")


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_renders_whole_pages_without_breaks_hyphens_or_escapes(tmp_path):
    words = " ".join(f"extraordinarily{i}" for i in range(5000))
    paragraph = "a paragraph of " + "several words and more, " * 20 + "on one line"
    source = f".TH LONG 3 2023 test\n.SH NAME\nlong \\- a \\fBbold\\fP caf\u00e9\n.SH TEXT\n{paragraph}\n.PP\n{words}\n"
    folder = tmp_path / "man3"
    folder.mkdir()
    (folder / "long.3.gz").write_bytes(gzip.compress(source.encode("utf-8")))
    (folder / "also.3.gz").write_bytes(gzip.compress(b".so man3/long.3\n"))
    (folder / "link.3.gz").symlink_to("long.3.gz")
    [(name, document, summary)] = manuals.manuals(tmp_path)
    assert (name, summary) == ("long.3", "a bold caf\u00e9")
    assert document.split("\n")[:2] == ["TEXT", paragraph]
    assert document.split() == ["TEXT", *paragraph.split(), *words.split()]


def row(name, document, summary, source=None, kind="description"):
    return {"id": name, "kind": kind, "document": document, "summary": summary, "source": source or name}


PARAGRAPH = "a rather long paragraph that many packages of one family have in common, as is usual " * 2


def test_families_join_rows_over_every_key_and_in_chains():
    rows = [row("a", "about a", "one", source="s"), row("b", "about b", "two", source="s"),
            row("c", "version 1 of c", "three 3"), row("d", "version 2 of c", "four"),
            row("e", f"about e\n{PARAGRAPH}", "five"), row("f", f"about f\n{PARAGRAPH}", "four!"),
            row("g", "about g", "six"), row("h", "about h", "six", kind="manual")]
    family = split.families(rows)
    assert family[0] == family[1]
    assert family[2] == family[3] == family[4] == family[5]  # c-d: beginning, d-f: summary, e-f: paragraph
    assert len({family[0], family[2], family[6], family[7]}) == 4


def many_rows():
    """Families of 1 to 30 rows by source, every two of them tied by a summary."""
    names = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(600)]
    rows = []
    for i, name in enumerate(names):
        for j in range(30 if i % 50 == 0 else i % 4 + 1):
            letter = chr(97 + j % 26) * (1 + j // 26)
            rows.append(row(f"p/{i}.{j}", f"{name} {letter} x", f"line {names[i // 2]} {letter}", source=name))
    return rows + [row(f"m/{i}", f"page {name}", f"page line {name}", kind="manual")
                   for i, name in enumerate(names[:60])]


SIZES = {"test": {"description": 40, "manual": 5}, "validation": {"description": 20, "manual": 3}}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_held_out_shares_a_key_with_training_or_with_another_held_out_row(seed):
    rows = many_rows()
    train, held_out = split.split(rows, SIZES, seed)
    assert {name: len(part) for name, part in held_out.items()} == {"test": 45, "validation": 23}
    assert sum(r["kind"] == "manual" for r in held_out["test"]) == 5
    seen = {key for r in train for key in split.keys(r)}
    for r in held_out["test"] + held_out["validation"]:
        own = set(split.keys(r))
        assert not own & seen, r["id"]
        seen |= own
    assert len(train) > len(rows) / 2
    large = {r["id"] for r in rows if int(r["id"].partition(".")[2] or 0) >= 20}
    assert large and large <= {r["id"] for r in train}


def test_the_seed_decides_the_split():
    rows = many_rows()
    assert split.split(rows, SIZES, 1) == split.split(rows, SIZES, 1)
    assert split.split(rows, SIZES, 1)[1] != split.split(rows, SIZES, 2)[1]


def test_too_few_rows_are_an_error():
    with pytest.raises(ValueError, match="too few"):
        split.split(many_rows(), {"test": {"manual": 61}}, 1)


def test_equal_texts_are_kept_once():
    rows = [row("a", "The  text", "x"), row("b", "the text", "y"), row("c", "another text", "z")]
    assert [r["id"] for r in split.unique(rows)] == ["a", "c"]


def test_shuffled_rows_have_the_document_of_another_row_of_their_kind():
    rows = split.split(many_rows(), SIZES, 1)[1]["test"]
    shuffled = split.shuffled_documents(rows)
    for before, after in zip(rows, shuffled, strict=True):
        assert {**after, "document": ""} == {**before, "document": ""}
        assert after["document"] != before["document"]
    for kind in ("description", "manual"):
        assert sorted(r["document"] for r in shuffled if r["kind"] == kind) == \
               sorted(r["document"] for r in rows if r["kind"] == kind)


def test_the_lead_has_as_many_words_as_references_have_on_average():
    rows = [row("a", "one two three four five", "x y"), row("b", "six\nseven eight nine", "x y z w")]
    assert split.lead(rows) == ([{"id": "a", "prediction": "one two three"},
                                 {"id": "b", "prediction": "six seven eight"}], 3)


def test_a_missing_program_is_named():
    with pytest.raises(debian.FetchError, match="no-such-program is missing .Debian package nothing."):
        debian.require("no-such-program", "nothing")


def write_scores(path, value):
    one = {"fmeasure": value, "low": value - 0.05, "high": value + 0.05}
    path.write_text(json.dumps({"rouge1": one, "rouge2": one, "rougeL": one}), encoding="utf-8")


def test_the_report_fits_80_columns_and_has_a_dozen_examples(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "BOX", tmp_path)
    for _, name in report.BOX_SCORES + report.SCORES + report.GERMAN_SCORES:
        write_scores(tmp_path / f"{name}.json", 0.3)
    (tmp_path / "facts.json").write_text(json.dumps({"lead_words": 6, "longest": {
        "id": "manual/perlapi.1", "words": 89722, "summary": "long " * 30}}))
    (tmp_path / "longest.json").write_text(json.dumps({
        "summary": " " + "word " * 40, "input_tokens": 212345, "windows": 208, "peak_memory_bytes": 2**30,
        "seconds": {"total": 12.3}}))
    rows = [row(f"package/lib{'x' * 30}{i}", "d", "real " * 12) for i in range(20)]
    for name in ("test", "german-test"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for name in ("box", "trained", "german-before", "german-after"):
        (tmp_path / f"{name}.jsonl").write_text("".join(
            json.dumps({"id": r["id"], "prediction": f" P{i}-{name}" + " word" * 30}) + "\n" for i, r in enumerate(rows)))
    digest = hashlib.sha256((tmp_path / "test.jsonl").read_bytes()).hexdigest()
    (tmp_path / "data.json").write_text(json.dumps({"test_sha256": digest}))
    for part, texts in ((report.print_box, ("comes with precis", "P0-box", "P11-box")), (report.print_scores, ("untrained",)),
                        (report.print_examples, ("P0-trained", "P11-trained")), (report.print_longest, ("212,345", "208", "12.3")),
                        (report.print_german, ("before", "after", "P5-german-before", "P5-german-after"))):
        part(tmp_path, tmp_path)
        out = capsys.readouterr().out
        assert max(map(len, out.split("\n"))) <= 80
        assert all(text in out for text in texts), out
        assert "P12" not in out and "\033" not in out
        assert ("30.0 [25.0 35.0]" in out) is (part not in (report.print_examples, report.print_longest))
    (tmp_path / "data.json").write_text(json.dumps({"test_sha256": "another"}))
    report.print_box(tmp_path, tmp_path)
    out = capsys.readouterr().out
    assert "has read some test rows" in out and "30.0 [25.0 35.0]" not in out and "P11-box" in out


@pytest.mark.parametrize("trained, shuffled, after, passed", [
    (0.3, 0.149, 0.2, True), (0.3, 0.151, 0.2, False), (0.0, 0.0, 0.2, False), (0.3, 0.0, 0.2, True), (0.3, 0.1, 0.1, False)])
def test_the_verdict_asks_for_twice_the_control_and_a_gain_of_a_full_run_alone(tmp_path, capsys, trained, shuffled, after, passed):
    write_scores(tmp_path / "german-before.json", 0.1)
    write_scores(tmp_path / "german-after.json", after)
    write_scores(tmp_path / "trained.json", trained)
    write_scores(tmp_path / "shuffled.json", shuffled)
    assert report.print_verdict(tmp_path, tmp_path, "judged") is passed
    assert ("Passed" in capsys.readouterr().out) is passed
    assert report.print_verdict(tmp_path, tmp_path, "short") is True
    assert "too short to judge" in capsys.readouterr().out


def test_the_card_of_a_model_that_lead_beats_is_not_written(tmp_path, capsys):
    names = ("trained", "lead")
    for name in (*(f"{part}{suffix}" for part in names for suffix in card.KINDS), "shuffled", "untrained"):
        write_scores(tmp_path / f"{name}.json", 0.3 if name.startswith("trained") else 0.2)
    facts = {"seed": 1, "descriptions": 9, "manuals": 9, "train": 64, "validation": 2, "test": 2, "lead_words": 6}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in (
        {"event": "start", "parameters": 1234, "total_steps": 4, "training_documents": 64},
        {"event": "validation", "step": 2, "rouge1": 0.3}, {"event": "validation", "step": 4, "rouge1": 0.2})))
    for name in ("test.jsonl", "model.safetensors"):
        (tmp_path / name).write_text("x")
    write_scores(tmp_path / "trained-manual.json", 0.2)
    assert card.main(*[tmp_path] * 4) == 1
    assert "lead is better in rouge1 of manuals, rouge2 of manuals, rougeL of manuals" in capsys.readouterr().err
    assert not (tmp_path / "README.md").exists()
    write_scores(tmp_path / "trained-manual.json", 0.21)
    assert card.main(*[tmp_path] * 4) == 0
    text = (tmp_path / "README.md").read_text()
    assert "4 updates of 32 documents, 2 epochs, seed 1" in text and "step 2," in text and "| lead: the first 6 words | 20.0" in text
