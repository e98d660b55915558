"""The REST server's bounds and its end, over real sockets."""

import contextlib
import gc
import gzip
import http.client
import json
import logging
import socket
import threading
import time

import pytest

from keras_dalle.prediction_service.core import ServerCore
from keras_dalle.prediction_service.manager import ServableManager
from keras_dalle.prediction_service.rest_app import unpacked
from tests.prediction_service.waiting_model import (
    METRICS,
    PATIENCE_S,
    PREDICT,
    asked,
    head,
    received,
    rest_server,
    served,
)
from tests.serving_contract.running_server import wait_for

ROWS = b'{"instances": [-1.0, 0.0]}'
ANSWER = (200, {"predictions": [0.0, 1.0]})
BUSY = "Too much is asked at once. Try again later."


@pytest.fixture(scope="module")
def shared():
    """A server for tests that leave it as it was."""
    with served(body_bytes=100_000) as server:
        yield server


def content_of(answer):
    status, _, content = answer
    return status, json.loads(content)


def test_bodies_in_chunks(shared):
    chunks = iter([ROWS[:5], ROWS[5:6], ROWS[6:]])
    assert content_of(shared.ask(body=chunks, encode_chunked=True)) == ANSWER
    padded = iter([b" " * 60_000, b" " * 30_000, ROWS])
    assert content_of(shared.ask(body=padded, encode_chunked=True)) == ANSWER


@pytest.mark.parametrize("name", ["gzip", "GZip", "x-gzip"])
def test_packed_bodies(shared, name):
    headers = {"Content-Encoding": name}
    packed = gzip.compress(ROWS)
    assert content_of(shared.ask(body=packed, headers=headers)) == ANSWER
    members = gzip.compress(ROWS[:7]) + gzip.compress(ROWS[7:])
    assert content_of(shared.ask(body=members, headers=headers)) == ANSWER
    chunks = iter([packed[:9], packed[9:]])
    assert (
        content_of(shared.ask(body=chunks, headers=headers, encode_chunked=True))
        == ANSWER
    )


def test_what_a_packed_body_unpacks_to_is_bounded(shared):
    headers = {"Content-Encoding": "gzip"}
    fits = gzip.compress(ROWS + b" " * (100_000 - len(ROWS)))
    assert content_of(shared.ask(body=fits, headers=headers)) == ANSWER
    bomb = gzip.compress(b" " * 90_000_000)
    assert len(bomb) < 100_000
    for body in (gzip.compress(ROWS + b" " * 100_000), bomb):
        status, content = content_of(shared.ask(body=body, headers=headers))
        assert status == 413 and "A body has at most 100000 bytes" in content["error"]


def test_a_packed_body_of_many_members_is_read_in_one_pass():
    member = gzip.compress(b"")
    # 6 MB. To copy what follows each member, once for each, is 900 GB.
    packed = member * 300_000 + gzip.compress(ROWS)
    assert unpacked(packed, 1000) == ROWS
    assert unpacked(packed + b"no member", 1000) == b""
    assert unpacked(gzip.compress(ROWS) * 3, 30) == (ROWS * 3)[:30]


@pytest.mark.parametrize(
    "name, body, text",
    [
        ("gzip", ROWS, "The document is empty"),
        ("gzip", gzip.compress(ROWS)[:-9], "The document is empty"),
        ("deflate", b"\x78\x9c\x03", "Expecting value at offset: 0"),
        ("br", b"\x0b", "Expecting value at offset: 0"),
    ],
    ids=["plain", "cut off", "deflate", "br"],
)
def test_what_is_not_unpacked_is_no_json(shared, name, body, text):
    answer = shared.ask(body=body, headers={"Content-Encoding": name})
    assert content_of(answer) == (400, {"error": f"JSON Parse error: {text}"})


@pytest.mark.parametrize("name", ["identity", "Identity", "IDENTITY", ""])
def test_bodies_as_they_are(shared, name):
    answer = shared.ask(body=ROWS, headers={"Content-Encoding": name})
    assert content_of(answer) == ANSWER


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_body_too_large_is_refused_before_it_comes(shared, expect):
    with shared.connect() as client:
        client.sendall(head(100_001, *expect))
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        # There is time to send the rest, and to read the answer.
        client.sendall(b" " * 100_001)
        assert b"A body has at most 100000 bytes" in answer + received(client)


def test_chunks_that_become_too_many_are_refused_before_their_end(shared):
    with shared.connect() as client:
        client.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        client.sendall(b"1ffff\r\n" + b" " * 0x1FFFF)
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_all_bodies_together_are_bounded():
    with served(all_bodies_bytes=3_000) as server:
        with server.connect() as first:
            first.sendall(head(2_000) + b" " * 1_500)
            wait_for(lambda: server.rest._app._body_bytes == 1_500)
            status, content = content_of(server.ask(body=b" " * 1_600))
            assert (status, content) == (503, {"error": BUSY})
        wait_for(lambda: server.rest._app._body_bytes == 0)
        assert content_of(server.ask(body=ROWS + b" " * 1_600)) == ANSWER


def test_large_bodies_are_parsed_beside_the_others():
    with served(large_body_bytes=10) as server:
        assert content_of(server.ask(body=ROWS)) == ANSWER
        assert content_of(server.ask(body=b" " * 99 + b"{")) == (
            400,
            {
                "error": "JSON Parse error: Expecting property name enclosed in double "
                "quotes at offset: 100"
            },
        )
        assert gc.isenabled()


def test_more_connections_than_threads():
    with served(num_threads=2) as server, contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(
                contextlib.closing(
                    http.client.HTTPConnection("127.0.0.1", server.port, PATIENCE_S)
                )
            )
            for _ in range(9)
        ]
        for _ in range(3):
            for connection in connections:
                assert content_of(asked(connection, body=ROWS)) == ANSWER


def test_only_so_many_calls_run_and_wait(caplog):
    with served(num_threads=2, waiting_calls=3) as server:
        with server.waiting_calls(5):
            wait_for(lambda: server.rest._app._calls == 5)
            for _ in range(4):
                assert content_of(server.ask(body=ROWS)) == (503, {"error": BUSY})
            # What runs no model waits for none.
            assert server.ask("GET", "/v1/models/m")[0] == 200
            status, headers, page = server.ask("GET", METRICS)
            assert status == 200 and headers["Content-Type"].startswith("text/plain")
            assert b'request_count{model_name="m",status="UNAVAILABLE"} ' in page
        assert server.session.most == 2
        assert content_of(server.ask(body=ROWS)) == ANSWER
    lines = [text for _, _, text in caplog.record_tuples]
    assert lines == ["REST answered 1 times that too much is asked at once"]


def test_only_so_many_connections(caplog):
    with served(connections=2) as server, contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(server.connect()) for _ in range(2))
        wait_for(lambda: len(server.rest._server.server_state.connections) == 2)
        text = "Too many connections. Try again later."
        for _ in range(3):
            assert content_of(server.ask(body=ROWS)) == (503, {"error": text})
        second.close()
        wait_for(lambda: server.ask(body=ROWS)[0] == 200)
        first.sendall(head(len(ROWS), "Connection: close") + ROWS)
        assert b"[0.0, 1.0]" in received(first)
    lines = [text for _, _, text in caplog.record_tuples]
    assert lines == ["1 REST connections were too many"]


def slow_senders(server, number, stop):
    """Connections that send a byte now and then: of a head, or of a body."""
    started = [b"POST /v1/", b"POST / HTTP/1.1\r\nA: ", head(1000)]
    clients = [server.connect() for _ in range(number)]
    for place, client in enumerate(clients):
        client.sendall(started[place % len(started)])

    def send():
        while not stop.wait(0.1):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b"1")

    threading.Thread(target=send, daemon=True).start()
    return clients


def test_senders_that_are_slow_hinder_nobody(caplog):
    caplog.set_level(logging.INFO)
    stop = threading.Event()
    with served(num_threads=2, patience_s=1.5, log_interval_s=2.0) as server:
        clients = slow_senders(server, 150, stop)
        for _ in range(20):
            assert content_of(server.ask(body=ROWS)) == ANSWER
        ends = [received(client) for client in clients]
        stop.set()
        wait_for(lambda: len(late(caplog)) >= 2)
        for client in clients:
            client.close()
    refusal = b'{"error": "A request must arrive within 1.5 s."}\n'
    for end in ends:
        assert end.startswith(b"HTTP/1.1 408 ") and end.endswith(refusal)
    counts = late(caplog)
    assert counts[0] == 1 and len(counts) <= 3 and sum(counts) == 150


def late(caplog):
    """The numbers in lines about requests that were too late."""
    lines = [text.split(maxsplit=1) for _, _, text in caplog.record_tuples]
    end = "REST requests were not received in time"
    return [int(number) for number, text in lines if text == end]


def test_a_silent_connection_is_closed():
    with served(patience_s=0.3) as server:
        with server.connect() as never_asked:
            assert received(never_asked) == b""
        with server.connect() as asked_once:
            asked_once.sendall(head(len(ROWS)) + ROWS)
            assert received(asked_once).endswith(b"[0.0, 1.0]}\n")


def test_a_call_may_take_longer_than_a_client():
    with served(patience_s=0.3) as server, server.waiting_calls(1):
        wait_for(lambda: server.session.running == 1)
        time.sleep(0.5)


def test_a_client_that_does_not_read_is_cut_off():
    body = b'{"inputs": [' + b"-1e9," * 900_000 + b"0]}"
    with served(patience_s=1.0) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", server.port))
        with client:
            client.sendall(head(len(body)) + body)
            connections = server.rest._server.server_state.connections
            wait_for(lambda: connections == set())
            assert not received(client).endswith(b"]}\n")
        assert content_of(server.ask(body=ROWS)) == ANSWER


def test_an_answer_of_megabytes_reaches_a_slow_reader():
    body = b'{"inputs": [' + b"-1e9," * 300_000 + b"0]}"
    with served() as server, server.connect() as client:
        client.sendall(head(len(body), "Connection: close") + body)
        time.sleep(0.5)
        _, _, answer = received(client).partition(b"\r\n\r\n")
        assert json.loads(answer) == {"outputs": [-1e9] * 300_000 + [1.0]}


def test_a_client_that_vanishes(shared):
    with shared.waiting_calls(1):
        wait_for(lambda: shared.session.running == 1)
        body = b'{"instances": [1.0]}'
        with shared.connect() as gone:
            gone.sendall(head(len(body)) + body)
            wait_for(lambda: shared.session.running == 2)
        with shared.connect() as gone:
            gone.sendall(head(len(body)) + body[:-2])
    assert content_of(shared.ask(body=ROWS)) == ANSWER


def test_stop_lets_calls_finish():
    with served() as server:
        idle = http.client.HTTPConnection("127.0.0.1", server.port, PATIENCE_S)
        assert content_of(asked(idle, body=ROWS)) == ANSWER
        stopping = threading.Thread(target=server.rest.stop, args=(PATIENCE_S,))
        with server.waiting_calls(3):
            wait_for(lambda: server.rest._app._calls == 3)
            stopping.start()
            wait_for(lambda: refuses(server))
            with pytest.raises((OSError, http.client.HTTPException)):
                asked(idle, body=ROWS)
            assert stopping.is_alive()
        stopping.join(PATIENCE_S)
        assert not stopping.is_alive()


def refuses(server):
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_runs_after_the_grace_is_told_so():
    answers = []
    with served() as server:
        call = threading.Thread(target=lambda: answers.append(server.y_of([1.0])))
        call.start()
        wait_for(lambda: server.session.running == 1)
        server.rest.stop(grace=0.2)
        call.join(PATIENCE_S)
    assert answers == [(503, {"error": "The server is shutting down."})]


def test_the_port_is_taken_at_once_and_open_from_the_start():
    rest = rest_server(ServerCore(ServableManager(lambda *_: None, 0, 0.0)))
    address = ("127.0.0.1", rest.port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 1)
    rest.start()
    socket.create_connection(address, 1).close()
    rest.stop(grace=1)
    never_started = rest_server(ServerCore(ServableManager(lambda *_: None, 0, 0.0)))
    never_started.stop(grace=1)


def test_a_busy_port(shared):
    message = f"127.0.0.1:{shared.port}.*--rest_api_port 0"
    with pytest.raises(OSError, match=message):
        type(shared.rest)(shared.rest._app._api, "127.0.0.1", shared.port, 1)
