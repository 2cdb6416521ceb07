"""No TensorFlow: trainers add to a sum that the parameter server keeps, and an evaluator looks on. Arguments: ROUNDS"""

import json
import os
import socket
import socketserver
import sys
import time


def main(rounds):
    config = json.loads(os.environ["TF_CONFIG"])
    cluster, role, index = config["cluster"], config["task"]["type"], config["task"]["index"]
    if role == "ps":
        serve(cluster["ps"][index])
    while role == "evaluator":
        time.sleep(0.1)
    for at in range(int(rounds)):
        total = ask(cluster["ps"][at % len(cluster["ps"])], "1")
        time.sleep(0.1)
    print(f"DONE {role} {index}, the sum is {total}", flush=True)


def serve(address):
    class Sum(socketserver.StreamRequestHandler):
        total = 0

        def handle(self):
            Sum.total += int(self.rfile.readline())
            self.wfile.write(b"%d\n" % Sum.total)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_port = True  # the launcher holds the port

        def server_bind(self):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            super().server_bind()

    host, _, port = address.rpartition(":")
    Server((host, int(port)), Sum).serve_forever()


def ask(address, word):
    host, _, port = address.rpartition(":")
    for _ in range(100):
        try:
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(word.encode() + b"\n")
                return connection.makefile().readline().strip()
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the parameter server does not answer")


main(*sys.argv[1:])
