# SPDX-License-Identifier: MIT
"""The AWS CLI as a server, because it takes half a second to start and a deployment calls it often.

    cli.py SOCKET            serves: each call is a process of its own, a copy of this one
    cli.py SOCKET WORD...    calls the CLI there, with our environment, folder and descriptors"""
import os
import signal
import socket
import struct
import sys


def serve(path):
    import awscli.clidriver
    driver = awscli.clidriver.create_clidriver()
    loader = driver.session.get_component("data_loader")
    for service in ("ec2", "cloudformation", "autoscaling", "ssm", "sts"):
        loader.load_service_model(service, "service-2")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        if os.fork():
            connection.close()
            continue
        server.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        answer(connection, driver)


def answer(connection, driver):
    head, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    size = struct.unpack("!Q", head)[0]
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    folder, words, environment = (part.split("\0") if part else [] for part in data.decode().split("\1"))
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.chdir(folder[0])
    os.environ.clear()
    os.environ.update(each.split("=", 1) for each in environment)
    code = 255
    try:
        code = driver.main(words)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        try:
            connection.send(bytes([code & 255]))
        except OSError:
            pass  # the caller was killed
        os._exit(0)


def call(path, words):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    parts = [[os.getcwd()], words, ["%s=%s" % each for each in os.environ.items()]]
    data = "\1".join("\0".join(part) for part in parts).encode()
    socket.send_fds(client, [struct.pack("!Q", len(data))], [0, 1, 2])
    client.sendall(data)
    code = client.recv(1)
    return code[0] if code else 255


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if len(sys.argv) > 2:
        sys.exit(call(sys.argv[1], sys.argv[2:]))
    serve(sys.argv[1])
