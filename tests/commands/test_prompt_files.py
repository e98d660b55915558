"""Prompts from text, tables and JSON."""

import io
from pathlib import Path

import pytest

from keras_dalle.commands.prompt_files import Entry, read_prompts_file, requests_of


@pytest.fixture
def read(tmp_path):
    def write_and_read(name, text):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(content)
        return read_prompts_file(tmp_path / name).entries

    return write_and_read


def test_text(read):
    text = "\ufeffred heart\r\n\n  # a comment\n  ❤️ \u2028 x  \n#also\n"
    assert read("prompts.txt", text) == [
        Entry("red heart", line=1),
        Entry("❤️ \u2028 x", line=4),
    ]


def test_json_lines(read):
    text = (
        '{"prompt": "red, \\"heart\\"", "seed": 5, "guidance_scale": 2, "name": "a"}\n'
        "\n"
        '{"prompt": "# sun", "negative_prompt": "", "top_p": null}\n'
    )
    first = {"seed": 5, "guidance_scale": 2.0}
    assert read("prompts.jsonl", text) == [
        Entry('red, "heart"', line=1, name="a", parameters=first),
        Entry("# sun", line=3, negative_prompt=""),
    ]


def test_csv(read):
    text = (
        "\ufeffname,prompt,guidance_scale,seed,top_k\r\n"
        '"a","two\nlines",1.5,-3,\r\n'
        ",# sun,,,7\r\n"
    )
    assert read("prompts.CSV", text) == [
        Entry("two\nlines", 2, None, "a", None, {"guidance_scale": 1.5, "seed": -3}),
        Entry("# sun", 4, parameters={"top_k": 7}),
    ]


def test_an_entry_goes_before_the_command_line():
    entries = [Entry("a"), Entry("b", negative_prompt="", parameters={"seed": 9})]
    requests = requests_of(entries, "fog", {"seed": 1, "top_k": 5}, num_images=2)
    rows = [(r.row.prompt, r.row.negative_prompt, r.row.parameters) for r in requests]
    assert rows == [
        ("a", "fog", {"seed": 1, "top_k": 5}),
        ("a", "fog", {"seed": 2, "top_k": 5}),
        ("b", "", {"seed": 9, "top_k": 5}),
        ("b", "", {"seed": 10, "top_k": 5}),
    ]


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("p.txt", "\n# only a comment\n", "must hold at least one prompt"),
        ("p.txt", b"red\n\xff\n", "p.txt must be UTF-8, or .* at byte 4. Save it as"),
        ("p.txt", "red".encode("utf-16-le"), "a NUL character, as .* UTF-16 without"),
        ("p.xlsx", b"PK", r"must end in .txt, .csv, .tsv, .* or in nothing"),
        ("p.md", "red", "must end in .*Received: .*p.md"),
        ("p.txt", "x" * 100_001, "line 1: .* at most 100,000 characters"),
        ("p.csv", "", "must hold at least one prompt"),
        ("p.csv", "text,seed\nred,1\n", "line 2: columns must be among prompt, .*text"),
        ("p.csv", "prompt,seed\nred,1.5\n", "line 2: `seed` must be an integer"),
        ("p.csv", "prompt,top_p\nred,a lot\n", "`top_p` must be a finite number"),
        ("p.csv", "prompt,top_p\nred,nan\n", "`top_p` must be a finite number"),
        ("p.csv", "prompt,seed\nred,1,2\n", "line 2: it must have 2 cells"),
        ("p.csv", "prompt,seed\nred\n", "line 2: it must have 2 cells"),
        ("p.csv", "prompt,seed\n,1\n", "line 2: it must have a `prompt`"),
        ("p.csv", "prompt,name\nred,a/b\n", "line 2: A name must be a file's"),
        ("p.csv", 'prompt\n"red\n', "it must be CSV. unexpected end"),
        ("p.csv", "prompt\n" + "x" * 200_000, "it must be CSV. field larger"),
        ("p.csv", f"prompt,seed\nred,{2**63}\n", "`seed` must be an integer from -9"),
        ("p.csv", "prompt,top_k\nred,-1\nred,3000000000", "line 3: `top_k` must be an"),
        ("p.jsonl", "{", "line 1: it must be JSON"),
        ("p.jsonl", "\n[1]", "line 2: it must be a JSON object"),
        ("p.jsonl", '{"prompt": 5}', "line 1: `prompt` must be a text. Received: 5"),
        ("p.jsonl", '{"prompt": "a", "seed": true}', "`seed` must be an integer"),
        ("p.jsonl", '{"prompt": "a", "seed": 1.5}', "`seed` must be an integer"),
        ("p.jsonl", '{"prompt": "a", "seed": 1e17}', "`seed` must be an integer"),
        ("p.jsonl", '{"prompt": "a", "seed": 1e400}', "`seed` must be an integer"),
        (
            "p.json",
            '[\n"a",\n{"prompt": "b",\n"seed": "x"},\n5]',
            "line 3: `seed` must",
        ),
        ("p.json", '["a",\n{"prompt": "b"}, 5]', "line 2: it must be a JSON object"),
        ("p.json", '["a",\n"b"\n"c"]', "line 3: it must be JSON. Expecting ','"),
        ("p.json", '["a",\n"b"', "line 2: it must be JSON. Expecting ','"),
        ("p.json", "[" * 100_000, "line 1: it must be JSON"),
        ("p.json", "{}", "line 1: it must have a `prompt`"),
        ("p.csv", "prompt,Seed,seed \nred,1,2\n", "Received twice: seed"),
        ("p.csv", "prompt,\nred,5\n", "columns must be among prompt"),
        (
            "p.csv",
            "prompt,num_images\nred,0\n",
            "`num_images` must be an integer from 1",
        ),
        ("p.csv", "prompt,num_images\nred,1e9\n", "`num_images` must be .* to 100000"),
        ("p.csv", "prompt,keep_fraction\nred,1.1\n", "`keep_fraction` must be from 0"),
        ("p.csv", 'prompt\n"a\nb"\n"c\nd', "line 4: it must be CSV. unexpected end"),
        ("p.csv", 'prompt,seed\n\n"a\n\nb",1\n"c\nd",x', "line 6: `seed` must be an"),
        ("p.csv", "prompt,top_p\nred,1\nblue,0", "line 3: `top_p` must be above 0 and"),
        ("p.csv", "prompt,temperature\nred,-1", "line 2: `temperature` must be a"),
        ("p.csv", "prompt,guidance_scale\nred,1e300", "`guidance_scale` must be a fin"),
        ("p.txt", "# x\n\na:1,5 AND b", "line 3: A part of `prompt` must end in a w"),
        ("p.jsonl", '{"prompt": "a", "top_p": NaN}', "`top_p` must be a finite"),
        ("p.jsonl", '{"prompt": "a", "top_p": [1]}', "`top_p` must be a finite"),
        ("p.jsonl", '{"prompt": "\\ud800"}', "must be Unicode, or undecoded"),
        ("p.jsonl", '{"prompt": null}', "must have a `prompt`"),
    ],
)
def test_faults_are_told_with_their_lines(read, name, text, message):
    with pytest.raises(ValueError, match=message):
        read(name, text)


def test_all_faults_are_told_at_once(read):
    with pytest.raises(ValueError) as caught:
        read("p.csv", "prompt,seed\n" + "red,x\n" * 30)
    message = str(caught.value)
    assert message.startswith("Nothing was drawn. ")
    assert "line 2:" in message and "line 11:" in message and "line 12" not in message
    assert message.endswith("and 20 more")


def test_tables_with_any_separator(read):
    rows = ["prompt{0}seed", "red, green{0}1", "blue{0}2", "{0}", ""]
    expected = [
        Entry("red, green", 2, parameters={"seed": 1}),
        Entry("blue", 3, parameters={"seed": 2}),
    ]
    for name, separator in (("p.csv", ";"), ("p.csv", "\t"), ("p.TSV", "\t")):
        assert read(name, "\n".join(rows).format(separator)) == expected, name


def test_headers_as_people_write_them(read):
    text = " Prompt , Negative Prompt,TOP-K,\nred,fog,3.0,\n,,,\n blue , ,7,,\n,,\n"
    assert read("p.csv", text) == [
        Entry("red", 2, "fog", parameters={"top_k": 3}),
        Entry("blue", 4, parameters={"top_k": 7}),
    ]
    assert read("p.jsonl", '{"Prompt": " a ", "Top K": 3}') == [
        Entry(" a ", 1, parameters={"top_k": 3})
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(read, encoding, newline):
    text = "prompt;seed\n❤️;1\nÄpfel;2".replace("\n", newline)
    assert read("p.csv", text.encode(encoding)) == [
        Entry("❤️", 2, parameters={"seed": 1}),
        Entry("Äpfel", 3, parameters={"seed": 2}),
    ]
    lines = newline.join(["# one", "", "red", "#two"]).encode(encoding)
    assert read("p.txt", lines) == [Entry("red", 3)]


@pytest.mark.parametrize(
    "text, number",
    [("3.0", 3), ("-7.00", -7), ("1e3", 1000), (str(2**63 - 1), 2**63 - 1)],
)
def test_whole_numbers_as_spreadsheets_write_them(read, text, number):
    for name, content in (
        ("p.csv", f"prompt,seed\nred,{text}"),
        ("p.json", f'[{{"prompt": "red", "seed": {text}}}]'),
    ):
        (entry,) = read(name, content)
        assert entry.parameters == {"seed": number}
        assert type(entry.parameters["seed"]) is int


def test_json_arrays(read):
    text = '\n[\n  "red",\n\n  {"prompt": "blue",\n   "seed": 5},\n  "]"\n]\n'
    expected = [
        Entry("red", 3),
        Entry("blue", 5, parameters={"seed": 5}),
        Entry("]", 7),
    ]
    assert read("p.json", text) == expected
    assert read("p.jsonl", text) == expected
    assert read("p.json", '{"prompt":\n"red"}') == [Entry("red", 1)]


@pytest.mark.parametrize(
    "text",
    ["red\n# x\nblue, green", "prompt\nred\n\n'blue, green'", '["red","blue, green"]']
    + ['"prompt"\tseed\nred\t\nblue, green\t\n', '{"prompt": "red"}\n"blue, green"'],
)
def test_standard_input_tells_its_format(monkeypatch, text):
    stream = io.TextIOWrapper(io.BytesIO(text.replace("'", '"').encode("utf-16")))
    monkeypatch.setattr("sys.stdin", stream)
    read = read_prompts_file(Path("-"))
    assert [entry.prompt for entry in read.entries] == ["red", "blue, green"]


def test_comments_are_counted(tmp_path):
    (tmp_path / "p").write_text("# a\nred\n\n  #b\n")
    assert read_prompts_file(tmp_path / "p").num_comments == 2
    (tmp_path / "p.csv").write_text("prompt\n# a\n")
    assert read_prompts_file(tmp_path / "p.csv").num_comments == 0


def test_what_stands_above_a_table(tmp_path):
    (tmp_path / "p.csv").write_text("sep=;\n# a; b\n\nprompt;seed\n#1; 7\n")
    table = read_prompts_file(tmp_path / "p.csv")
    (entry,) = table.entries
    assert (entry.prompt, entry.parameters["seed"]) == ("#1", 7)
    assert table.num_comments == 1


@pytest.mark.parametrize("name", ["p.jsonl", "p.json"])
def test_one_name_twice_in_json(tmp_path, name):
    (tmp_path / name).write_text('[{"prompt": "a", "seed": 1, "seed": 2}]')
    with pytest.raises(ValueError, match="line 1.* Received twice: .'seed'."):
        read_prompts_file(tmp_path / name)


def test_a_row_says_how_many_pictures(read):
    entries = read("p.csv", "prompt,num_images,seed\nred,3,5\nblue,,\n")
    requests = requests_of(entries, "", {"seed": 1}, num_images=2)
    seeds = [(r.row.prompt, r.row.parameters["seed"]) for r in requests]
    assert seeds == [("red", 5), ("red", 6), ("red", 7), ("blue", 1), ("blue", 2)]


@pytest.mark.parametrize("text, rows", [("20.0", "20"), ("50%", "50%"), ("20", "20")])
def test_rows_that_stay_are_whole_numbers_or_shares(read, text, rows):
    (entry,) = read("p.csv", f"prompt,image,keep_rows\nred,a.png,{text}\n")
    assert entry.given.keep_rows == rows
    (entry,) = read("p.json", '[{"prompt": "red", "image": "a", "keep_rows": 20.0}]')
    assert entry.given.keep_rows == "20"
