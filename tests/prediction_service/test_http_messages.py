"""HTTP as clients, proxies and attackers write it, over a real socket."""

import json
import re
import time

import pytest

from tests.prediction_service.waiting_model import PREDICT, head, received, served

BODY = b'{"inputs": [0.0]}'
ANSWER = b'{"outputs": [1.0]}\n'
POST = f"POST {PREDICT} HTTP/1.1\r\nHost: h\r\n".encode()
CLOSE = "Connection: close"


@pytest.fixture(scope="module")
def server():
    with served() as server:
        yield server


def answers(content):
    """The statuses of all answers in what was received."""
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", content)]


SIZE = str(len(BODY)).encode()
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: " + SIZE + b"\r\nContent-Length: " + SIZE,
        b"Content-Length: " + SIZE + b"\r\nContent-Length: 5",
        b"Content-Length: " + SIZE + b", " + SIZE,
        b"Content-Length: " + SIZE + b"\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: " + SIZE,
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"Content-Length: +" + SIZE,
        b"Content-Length: 0x11",
        b"Content-Length: -1",
        b"Content-Length: 1e9",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length:",
        b"A: b\x00c\r\nContent-Length: " + SIZE,
        b"A\x00: b\r\nContent-Length: " + SIZE,
        b"A: b\n folded\r\nContent-Length: " + SIZE,
    ],
    ids=range(17),
)
def test_messages_of_doubtful_length_are_refused(server, lines):
    inner = b"GET /v1/models/m HTTP/1.1\r\nConnection: close\r\n\r\n"
    for body in (BODY, CHUNKS):
        content = server.raw(POST + lines + b"\r\n\r\n" + body + inner)
        assert answers(content) == [400]
        _, _, answer = content.partition(b"\r\n\r\n")
        assert json.loads(answer) == {"error": "Invalid HTTP request received."}


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n", b"-1\r\n", b"11;a=" + b"b" * 200_000, b"fffffffffffffffff\r\n"],
    ids=["no number", "sign", "extension", "size"],
)
def test_chunks_that_are_none(server, chunks):
    content = server.raw(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answers(content) in ([400], [431])


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\nA: " + b"b" * 600_000,
        b"GET /" + b"a" * 600_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000,
        b"\r\n" * 300_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 100_000,
    ],
    ids=["header", "path", "headers", "empty lines", "trailers"],
)
def test_heads_and_trailers_are_bounded(server, content):
    assert answers(server.raw(content)) == [431]


@pytest.mark.parametrize(
    "content",
    [
        b"GET\r\n\r\n",
        b"GET /v1/models/m HTTP/9.9\r\n\r\n",
        b"GET /v1/models/\x00 HTTP/1.1\r\n\r\n",
        b"GET /v1/models/\xff HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n\r\n",
        b"NONSENSE /v1/models/m HTTP/1.1\r\n\r\n",
    ],
    ids=range(8),
)
def test_what_is_hardly_http(server, content):
    assert answers(server.raw(content)) == [400]


@pytest.mark.parametrize(
    "path, name",
    [
        ("%zz", "%zz"),
        ("%", "%"),
        ("a%00b", "a\0b"),
        ("%ff", "\ufffd"),
        ("a%2Fb", "a/b"),
    ],
)
def test_escapes_in_a_name(server, path, name):
    status, _, content = server.ask("GET", f"/v1/models/{path}")
    text = f"Could not find any versions of model {name}"
    assert (status, json.loads(content)) == (404, {"error": text})


def test_a_proxy_may_send_the_whole_address(server):
    content = server.raw(
        b"GET http://h:1/v1/models/m HTTP/1.1\r\n" + CLOSE.encode() + b"\r\n\r\n"
    )
    assert answers(content) == [200]


def test_http_1_0(server):
    content = server.raw(head(len(BODY)).replace(b"HTTP/1.1", b"HTTP/1.0") + BODY)
    assert answers(content) == [200] and content.endswith(ANSWER)
    assert b"chunked" not in content and b"connection: close" in content


def test_a_client_that_asks_before_it_sends(server):
    with server.connect() as client:
        client.sendall(head(len(BODY), "Expect: 100-continue", CLOSE))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        content = received(client)
    assert answers(content) == [200] and content.endswith(ANSWER)


def test_requests_before_their_answers(server):
    last = b"GET /v1/models/m HTTP/1.1\r\nConnection: close\r\n\r\n"
    content = server.raw((head(len(BODY)) + BODY) * 3 + head(1) + b"{" + last)
    assert answers(content) == [200, 200, 200, 400, 200]


def test_what_follows_a_call_is_refused_after_its_answer(server):
    for wrong in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000):
        content = server.raw(head(len(BODY)) + BODY + wrong)
        assert answers(content)[0] == 200 and ANSWER in content


def test_a_client_that_has_said_all(server):
    content = server.raw(head(len(BODY)) + BODY, half_close=True)
    assert answers(content) == [200] and content.endswith(ANSWER)
    for part in (b"", b"POST / HTT", head(len(BODY)) + BODY[:5]):
        assert server.raw(part, half_close=True) == b""


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
def test_another_protocol_is_not_offered(server, upgrade):
    offer = ("Connection: Upgrade", f"Upgrade: {upgrade}", "HTTP2-Settings: AAAA")
    status = f"GET /v1/models/m HTTP/1.1\r\n{offer[0]}\r\n{offer[1]}\r\n\r\n".encode()
    last = head(len(BODY), offer[1], "Connection: Upgrade, close") + BODY
    content = server.raw(status + head(len(BODY), *offer) + BODY + last)
    assert answers(content) == [200, 200, 200]
    assert content.count(ANSWER) == 2
    with server.connect() as client:
        for part in (head(len(BODY), *offer), BODY[:4], BODY[4:] + last):
            client.sendall(part)
            time.sleep(0.05)
        assert answers(received(client)) == [200, 200]
    lengths = POST + f"{offer[0]}\r\n{offer[1]}\r\n".encode() + b"Content-Length: 1\r\n"
    assert answers(server.raw(lengths * 2 + b"\r\n{")) == [400]


def test_a_client_may_not_say_who_it_is(server):
    forwarded = {"X-Forwarded-For": "8.8.8.8", "X-Forwarded-Proto": "https"}
    assert server.ask("GET", "/v1/models/m", headers=forwarded)[0] == 200
