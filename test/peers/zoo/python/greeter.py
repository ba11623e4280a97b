"""gRPC in Python without generated code: greeter.py serve PORT | call HOST PORT COUNT."""

import sys
from concurrent import futures

import grpc


def greet(said, _context):
    return b"hello " + said


def chat(messages, _context):
    for said in messages:
        yield b"again " + said


def serve(port):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handlers = {
        "Greet": grpc.unary_unary_rpc_method_handler(greet),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("zoo.Greeter", handlers),))
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    print("listening", flush=True)
    server.wait_for_termination()


def call(host, port, count):
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        say = channel.unary_unary("/zoo.Greeter/Greet")
        messages = [f"call {number}".encode() for number in range(count)]
        again = channel.stream_stream("/zoo.Greeter/Chat")(iter(messages))
        for message in messages:
            print(say(message).decode(), next(again).decode())


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    call(sys.argv[2], sys.argv[3], int(sys.argv[4]))
