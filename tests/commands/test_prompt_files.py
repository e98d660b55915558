"""Prompts from text, JSON lines and CSV."""

import pytest

from keras_dalle.commands.prompt_files import Entry, read_prompts_file, requests_of


@pytest.fixture
def read(tmp_path):
    def write_and_read(name, text):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(content)
        return read_prompts_file(tmp_path / name)

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
        Entry("two\nlines", 3, None, "a", {"guidance_scale": 1.5, "seed": -3}),
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
        ("p.txt", b"red\n\xff\n", "p.txt must be UTF-8"),
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
        ("p.jsonl", '{"prompt": "a", "seed": 1.0}', "`seed` must be an integer"),
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
