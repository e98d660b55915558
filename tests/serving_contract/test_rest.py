"""The REST API, after TF Serving's tensorflow_model_server_test.py and json_tensor."""

import base64
import gzip
import http.client
import json
import math

import pytest

from tests.serving_contract.models import VERSION

PREDICT = "/v1/models/half_plus_two:predict"
ECHO = "/v1/models/echo:predict"


def test_rows(server):
    body = {"instances": [2.0, 3.0, 4.0]}
    assert server.rest(PREDICT, body) == (200, {"predictions": [3.0, 3.5, 4.0]})


def test_columns(server):
    body = {"inputs": [2.0, 3.0, 4.0]}
    assert server.rest(PREDICT, body) == (200, {"outputs": [3.0, 3.5, 4.0]})


def test_named_rows_and_columns(server):
    assert server.rest(PREDICT, {"instances": [{"x": 2}]})[1] == {"predictions": [3.0]}
    assert server.rest(PREDICT, {"inputs": {"x": [2]}})[1] == {"outputs": [3.0]}


@pytest.mark.parametrize(
    "path",
    [f"/versions/{VERSION}:predict", f"/versions/0000{VERSION}:PREDICT"],
)
def test_paths(server, path):
    body = {"signature_name": "serving_default", "instances": [2.0]}
    answer = server.rest(f"/v1/models/half%5Fplus_two{path}", body)
    assert answer == (200, {"predictions": [3.0]})


@pytest.mark.parametrize(
    "path, body, status, text",
    [
        (f"{PREDICT}?verbose=1", {"instances": [2.0]}, 400, "Malformed request: POST "),
        (
            "/v1/models/half_plus_two/metadata?key=k",
            None,
            400,
            "Malformed request: GET ",
        ),
        (
            "/v1/models/half_plus_two?key=k",
            None,
            404,
            "Could not find any versions of model half_plus_two?key=k",
        ),
    ],
    ids=["predict", "metadata", "status"],
)
def test_a_query_is_part_of_the_path(server, path, body, status, text):
    answered, content = server.rest(path, body)
    assert answered == status
    assert content["error"].startswith(text)
    assert content["error"].endswith(path.partition("?")[2])


def ask(server, method, path, body=None, headers={}, **how):  # noqa: B006
    connection = http.client.HTTPConnection(server.rest_address, timeout=30)
    connection.request(method, path, body, headers, **how)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def test_methods_without_an_answer(server):
    assert ask(server, "HEAD", "/v1/models/half_plus_two") == (400, b"")
    for method in ("PUT", "DELETE", "PATCH"):
        status, content = ask(server, method, "/v1/models/half_plus_two")
        error = f"Malformed request: {method} /v1/models/half_plus_two"
        assert (status, json.loads(content)) == (400, {"error": error})


def test_options_are_for_pages_of_other_sites(server):
    assert ask(server, "OPTIONS", PREDICT) == (400, b"")
    assert ask(server, "OPTIONS", PREDICT, headers={"Origin": "null"}) == (400, b"")
    for origin in ("http://localhost:3000", "https://example.org"):
        assert ask(server, "OPTIONS", PREDICT, headers={"Origin": origin}) == (200, b"")


def test_bodies_as_clients_send_them(server):
    body = b'{"instances": [2.0, 8.0]}'
    chunks = {"body": iter([body[:9], body[9:]]), "encode_chunked": True}
    packed = {
        "body": gzip.compress(body),
        "headers": {"Content-Encoding": "gzip"},
    }
    plain = {"body": body, "headers": {"Content-Encoding": "Identity"}}
    for how in (chunks, packed, plain):
        status, content = ask(server, "POST", PREDICT, **how)
        assert (status, json.loads(content)) == (200, {"predictions": [3.0, 6.0]})


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [2.0], "instances": [4.0]}',
        b'{"instances": [2.0], "instances": "no list"}',
        b'{"inputs": {"x": [2.0], "x": [4.0]}}',
        b'{"signature_name": "", "instances": [2.0], "signature_name": 3}',
    ],
    ids=["rows", "type", "columns", "signature"],
)
def test_of_members_with_one_name_the_first_counts(server, body):
    status, content = server.rest(PREDICT, body)
    assert (status, [*content.values()]) == (200, [[3.0]])


@pytest.mark.parametrize(
    "body, text",
    [
        (b" \n\t", "The document is empty"),
        (b'{"instances": [1, 2}', ""),
        (b'{"instances" [1]}', ""),
        (b'{"instances": [1]', ""),
        (b"{instances: [1]}", ""),
        (b'{"instances": [01]}', ""),
        (b'{"instances": [.5]}', ""),
        (b'{"instances": [nul]}', ""),
        (b'{"instances": ["a\n"]}', ""),
        (b'{"instances": ["\\q"]}', ""),
        (b'{"instances": ["\\u12g4"]}', ""),
        (b'{"instances": [2e308]}', "Number too big to be stored in double."),
        (b'{"other": -1e999, "instances": [1]}', "Number too big to be stored"),
        (b'{"instances": [1' + b"0" * 309 + b"]}", "Number too big to be stored in"),
        (b'{"instances": ["\\ud83d"]}', "The surrogate pair in string is invalid."),
        (b'{"a": "\\\\\\udc80", "instances": [1]}', "The surrogate pair in string"),
    ],
    ids=range(16),
)
def test_what_is_no_json(server, body, text):
    status, content = server.rest(PREDICT, body)
    assert status == 400
    assert content["error"].startswith(f"JSON Parse error: {text}")


def test_escapes_and_large_integers(server):
    body = (
        b'{"inputs": {"text": ["\\ud83d\\ude00", "\\\\ud83d", "\xff"], '
        b'"number": [9223372036854775807, -9223372036854775808, -0]}}'
    )
    status, content = ask(server, "POST", ECHO, body)
    assert status == 200
    for part in ("\U0001f600".encode(), b'"\\\\ud83d"', b"\xff", b'"/w=="'):
        assert part in content
    body = b'{"instances": [100000000000000000000, 5e-1]}'
    assert server.rest(PREDICT, body) == (200, {"predictions": [5e19, 2.25]})


def test_numbers_have_their_shortest_text(server):
    status, content = server.rest(PREDICT, {"instances": [0.4, 1e30]})
    assert status == 200
    assert content["predictions"][0] == 2.2
    assert content["predictions"][1] == pytest.approx(5e29)


def test_numbers_that_are_none(server):
    status, content = server.rest(PREDICT, b'{"instances": [NaN, Infinity, -Infinity]}')
    assert status == 200
    first, *others = content["predictions"]
    assert math.isnan(first) and others == [math.inf, -math.inf]


def test_strings_and_base64(server):
    sent = base64.b64encode(b"\x00\xff").decode()
    rows = [{"text": "h\u00e9", "number": 1}]
    status, content = server.rest(ECHO, {"instances": rows})
    assert status == 200
    encoded = base64.b64encode("h\u00e9".encode()).decode()
    assert content == {
        "predictions": [
            {"text": "h\u00e9", "text_bytes": {"b64": encoded}, "number": 1}
        ]
    }
    answers = server.rest(ECHO, {"instances": [{"text": {"b64": "aGk="}, "number": 2}]})
    assert answers[1] == {
        "predictions": [{"text": "hi", "text_bytes": {"b64": "aGk="}, "number": 2}]
    }
    columns = {"text": [{"b64": "aGk="}, {"b64": "aGk"}], "number": [2**53, 2]}
    status, content = server.rest(ECHO, {"inputs": columns})
    assert content["outputs"] == {
        "text": ["hi", "hi"],
        "text_bytes": [{"b64": "aGk="}] * 2,
        "number": [2**53, 2],
    }
    # What is no UTF-8 can be sent as base64, and read where the alias ends in _bytes.
    body = {"inputs": {"text": [{"b64": sent}], "number": [1]}}
    connection = http.client.HTTPConnection(server.rest_address, timeout=30)
    connection.request("POST", ECHO, json.dumps(body))
    assert sent.encode() in connection.getresponse().read()
    connection.close()


def test_bodies_of_megabytes(server):
    """6 MB as text, and as the 8 MB that base64 makes of them."""
    text = "x" * 6_000_000
    encoded = base64.b64encode(text.encode()).decode()
    for sent in (text, {"b64": encoded}):
        body = {"inputs": {"text": [sent], "number": [1]}}
        status, content = server.rest(ECHO, body)
        assert status == 200
        assert content["outputs"]["text"] == [text]
        assert content["outputs"]["text_bytes"] == [{"b64": encoded}]


@pytest.mark.parametrize(
    "method, kind", [("classify", "classification"), ("REGRESS", "regression")]
)
def test_models_for_predict_take_no_examples(server, method, kind):
    path = f"/v1/models/half_plus_two:{method}"
    status, content = server.rest(path, {"examples": [{"x": 2.0}]})
    assert status == 400
    assert content["error"].startswith(f"No {kind} inputs found in SignatureDef: ")
    body = {"signature_name": "other", "examples": [{}]}
    text = "No signature was found with the name: other"
    assert server.rest(path, body) == (400, {"error": text})
    body = {"examples": [{"text": "a"}]}
    text = "Expected one input Tensor."
    assert server.rest(f"/v1/models/echo:{method}", body) == (400, {"error": text})


@pytest.mark.parametrize("version", ["", f"/versions/{VERSION}"])
def test_status(server, version):
    assert server.rest(f"/v1/models/half_plus_two{version}") == (
        200,
        {
            "model_version_status": [
                {
                    "version": str(VERSION),
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        },
    )


def test_metadata(server):
    status, content = server.rest("/v1/models/half_plus_two/metadata")
    assert status == 200
    assert content["model_spec"] == {
        "name": "half_plus_two",
        "signature_name": "",
        "version": str(VERSION),
    }
    signatures = content["metadata"]["signature_def"]["signature_def"]
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    x = signatures["serving_default"]["inputs"]["x"]
    assert (x["dtype"], x["tensor_shape"]) == ("DT_FLOAT", shape)


def test_several_calls_by_one_connection(server):
    connection = http.client.HTTPConnection(server.rest_address, timeout=30)
    for _ in range(3):
        connection.request("POST", PREDICT, '{"instances": [2.0]}')
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "application/json"
        assert b"3.0" in response.read()
    connection.close()


@pytest.mark.parametrize(
    "path, body, status, text",
    [
        ("/v1/models/zz:predict", {"instances": [1]}, 404, "Servable not found for re"),
        ("/v1/models/zz", None, 404, "Could not find any versions of model zz"),
        ("/v1/models/zz/metadata", None, 404, "Servable not found for request: Latest"),
        (
            "/v1/models/half_plus_two/versions/9",
            None,
            404,
            "Could not find version 9 of",
        ),
        (
            "/v1/models/half_plus_two/labels/zz:predict",
            {"instances": [1]},
            400,
            "Unreco",
        ),
        ("/v1/models", None, 400, "Missing model name in request."),
        (
            "/v1/models/half_plus_two:guess",
            {},
            400,
            "Malformed request: POST /v1/models/",
        ),
        ("/v1/zz", None, 400, "Malformed request: GET /v1/zz"),
        (
            f"/v1/models/m/versions/{2**63}",
            None,
            400,
            "Failed to convert version: 9223",
        ),
        (PREDICT, b"", 400, "JSON Parse error: The document is empty"),
        (PREDICT, b"{", 400, "JSON Parse error: "),
        (PREDICT, [], 400, "Is not object"),
        (PREDICT, {"signature_name": 3}, 400, "'signature_name' key must be a string"),
        (PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
        (PREDICT, {"instances": 3}, 400, "Expecting 'instances' to be an list/array"),
        (PREDICT, {"instances": []}, 400, "No values in 'instances' array"),
        (PREDICT, {"instances": [1], "inputs": [1]}, 400, "expecting only one of"),
        (
            PREDICT,
            {"instances": ["a"]},
            400,
            "Type: String is not of expected type: flo",
        ),
        (
            PREDICT,
            {"instances": [None]},
            400,
            "Type: Null is not of expected type: floa",
        ),
        (
            PREDICT,
            {"instances": [True]},
            400,
            "Type: True is not of expected type: floa",
        ),
        (PREDICT, {"instances": [1, [1]]}, 400, "Expecting shape [] but got: [1]"),
        (
            PREDICT,
            {"instances": [1, [1, 2]]},
            400,
            "Expecting tensor size: 1 but got: 2",
        ),
        (
            PREDICT,
            {"instances": [1, {"x": 1}]},
            400,
            "got object at item 1 of input list",
        ),
        (PREDICT, {"instances": [{"z": 1}]}, 400, "does not have named input: z"),
        (
            PREDICT,
            {"inputs": {"z": 1}},
            400,
            "Missing named input: x in 'inputs' object",
        ),
        (PREDICT, {"inputs": [[1], [1, 2]]}, 400, "unexpected size: 2 at level: 1"),
        (
            PREDICT,
            {"inputs": [[1], 2]},
            400,
            "found at incorrect level: 2 in the JSON DO",
        ),
        (
            PREDICT,
            {"inputs": [1, [2]]},
            400,
            "list at unexpected level: 1 expected < 1",
        ),
        (
            ECHO,
            {"instances": ["a"]},
            400,
            "expecting list of objects as multiple input",
        ),
        (
            ECHO,
            {"instances": [{"text": "a"}]},
            400,
            "keys must be equal to: number,text",
        ),
        (
            ECHO,
            {"inputs": {"text": ["a"]}},
            400,
            "Missing named input: number in 'input",
        ),
        (
            ECHO,
            {"inputs": {"text": [1], "number": [1]}},
            400,
            "Type: Number is not of ex",
        ),
        (
            ECHO,
            {"inputs": {"text": ["a"], "number": [1.5]}},
            400,
            "expected type: int64",
        ),
        (
            ECHO,
            {"inputs": {"text": ["a"], "number": [2**63]}},
            400,
            "expected type: int64",
        ),
        (
            ECHO,
            {"inputs": {"text": [{"b64": "*"}], "number": [1]}},
            400,
            "Unable to base64",
        ),
        (ECHO, {"inputs": {"text": [{"a": 1}], "number": [1]}}, 400, "for base64 data"),
        (ECHO, {"inputs": {"text": ["bad"], "number": [1]}}, 400, "must not be bad"),
        (
            PREDICT,
            {"signature_name": "zz", "inputs": [1]},
            400,
            'Serving signature name: "zz" not found in signature def',
        ),
        ("/v1/models/half_plus_two:regress", {}, 400, "key 'examples' is expected and"),
    ],
)
def test_refusals(server, path, body, status, text):
    answer_status, content = server.rest(path, body)
    assert answer_status == status
    assert list(content) == ["error"]
    assert text in content["error"]


def test_metrics(server):
    server.rest(PREDICT, {"instances": [2.0]})
    server.y_of([2.0])
    page = server.text("/monitoring/prometheus/metrics")
    prefix = ":tensorflow:serving:"
    labels = 'model_name="half_plus_two"'
    grpc, rest = 'API="Predict",entrypoint="GRPC"', 'API="predict",entrypoint="REST"'
    runtime = 'API="Predict",runtime="TF1"'
    for line in (
        f"# TYPE {prefix}request_count counter",
        f"# TYPE {prefix}request_latency histogram",
        f'{prefix}request_count{{{labels},status="OK"}} ',
        f"{prefix}request_latency_count{{{labels},{grpc}}} ",
        f"{prefix}request_latency_count{{{labels},{rest}}} ",
        f'{prefix}runtime_latency_bucket{{{labels},{runtime},le="+Inf"}} ',
    ):
        assert f"\n{line}" in f"\n{page}", line
