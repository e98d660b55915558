"""gRPC under TLS, with and without client certificates."""

from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from keras_dalle.prediction_service.client import PredictionClient
from keras_dalle.prediction_service.config_files import read_files
from keras_dalle.prediction_service.options import ServerOptions
from keras_dalle.prediction_service.server import PredictionServer

CERTIFICATES = Path(__file__).parent / "certificates"


def pem(name):
    return (CERTIFICATES / name).read_bytes()


def ssl_config(folder, **fields):
    file = folder / "ssl.config"
    lines = [
        f"{name}: {value}" if isinstance(value, bool) else f'{name}: "{escaped(value)}"'
        for name, value in fields.items()
    ]
    file.write_text("\n".join(lines))
    return file


def escaped(name):
    return pem(name).decode().replace("\n", "\\n")


@pytest.fixture(scope="module", params=[False, True], ids=["tls", "mutual"])
def server(request, base_path, tmp_path_factory):
    file = ssl_config(
        tmp_path_factory.mktemp("tls"),
        server_key="server.key",
        server_cert="server.pem",
        custom_ca="ca.pem",
        client_verify=request.param,
    )
    server = PredictionServer(
        base_path, model_name="m", port=0, rest_api_port=None, ssl_config_file=file
    )
    server.start()
    yield server, request.param
    server.stop(grace=0)


def states(channel):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    response = stub.GetModelStatus(request, timeout=10)
    return [status.version for status in response.model_version_status]


def test_clients(server):
    server, is_mutual = server
    address = f"127.0.0.1:{server.port}"
    anonymous = grpc.ssl_channel_credentials(pem("ca.pem"))
    known = grpc.ssl_channel_credentials(
        pem("ca.pem"), pem("client.key"), pem("client.pem")
    )
    with grpc.secure_channel(address, known) as channel:
        assert states(channel) == [12]
    with PredictionClient(address, "m", credentials=known) as client:
        assert client.status() == {12: "AVAILABLE"}
        assert client.generate(["red"])[0].startswith(b"\x89PNG")
    with grpc.secure_channel(address, anonymous) as channel:
        if is_mutual:
            with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
                states(channel)
        else:
            assert states(channel) == [12]
    stranger = grpc.ssl_channel_credentials(pem("client.pem"))
    with (
        grpc.secure_channel(address, stranger) as channel,
        pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
    ):
        states(channel)
    with (
        grpc.insecure_channel(address) as channel,
        pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
    ):
        states(channel)


@pytest.mark.parametrize(
    "fields, missing",
    [
        ({"server_key": "server.key"}, "server_cert"),
        ({"server_cert": "server.pem"}, "server_key"),
        (
            {
                "server_key": "server.key",
                "server_cert": "server.pem",
                "client_verify": True,
            },
            "custom_ca",
        ),
    ],
    ids=["certificate", "key", "authority"],
)
def test_what_is_missing_is_named(tmp_path, fields, missing):
    file = ssl_config(tmp_path, **fields)
    options = ServerOptions(model_base_path=tmp_path, ssl_config_file=file)
    with pytest.raises(ValueError, match=f"PEM texts of {missing}, which") as error:
        read_files(options)
    assert "PRIVATE" not in str(error.value)


def test_a_key_of_another_certificate(base_path, tmp_path):
    file = ssl_config(tmp_path, server_key="client.key", server_cert="server.pem")
    with pytest.raises(ValueError, match="ssl_config_file do not fit"):
        PredictionServer(base_path, port=0, rest_api_port=None, ssl_config_file=file)
