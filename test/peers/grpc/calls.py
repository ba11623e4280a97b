"""A server and a client of grpcio, for calls through an agent.

calls.py serve NAME               prints its port; Echo, Count, Sum and Chat of demo.Calls
calls.py ask ADDRESS              lines {"kind", ...} -> what came of the call, one line each
"""

import json
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "demo.Calls"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]


def serve(name):
    def named(context):
        context.set_trailing_metadata((("x-name", name), ("x-bytes-bin", b"\x00\xff")))

    def echo(request, context):
        named(context)
        if request == b"abort":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no, 100 % not – ü")
        if request == b"slow":
            gone = threading.Event()
            context.add_callback(gone.set)
            gone.wait(20)
        if request == b"left":
            return str(context.time_remaining()).encode()
        return request

    def count(request, context):
        named(context)
        for number in range(int(request)):
            yield str(number).encode()

    def total(requests, context):
        named(context)
        return str(sum(len(request) for request in requests)).encode()

    def chat(requests, context):
        named(context)
        for request in requests:
            yield request[::-1]

    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=128), options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    print(json.dumps({"port": server.add_insecure_port("127.0.0.1:0")}), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0)


def came_of(call, take):
    try:
        answer = take(call)
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details(), "trailers": pairs(error.trailing_metadata())}
    return {"code": call.code().name, "answer": answer, "trailers": pairs(call.trailing_metadata())}


def pairs(metadata):
    return {each.key: each.value.hex() if isinstance(each.value, bytes) else each.value for each in metadata or ()}


def ask(address):
    channel = grpc.insecure_channel(address, options=OPTIONS)

    def run(asked):
        kind, metadata = asked["kind"], tuple(asked.get("metadata", {}).items())
        timeout = asked.get("timeout", 20)
        path = f"/{asked.get('service', SERVICE)}/{asked.get('method', kind)}"
        if kind == "Echo":
            message = asked["text"].encode() if "text" in asked else b"z" * asked["size"]
            call = channel.unary_unary(path).future(message, timeout=timeout, metadata=metadata)
            return came_of(call, lambda each: len(each.result()) if "size" in asked else each.result().decode())
        if kind == "Count":
            call = channel.unary_stream(path)(str(asked["size"]).encode(), timeout=timeout, metadata=metadata)
            return came_of(call, lambda each: sum(1 for _ in each))
        messages = [bytes([65 + index % 26]) * asked["size"] for index in range(asked["count"])]
        if kind == "Sum":
            call = channel.stream_unary(path).future(iter(messages), timeout=timeout, metadata=metadata)
            return came_of(call, lambda each: each.result().decode())
        call = channel.stream_stream(path)(iter(messages), timeout=timeout, metadata=metadata)
        return came_of(call, lambda each: list(each) == [message[::-1] for message in messages])

    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, list):
            with futures.ThreadPoolExecutor(max_workers=len(asked)) as pool:
                print(json.dumps(list(pool.map(run, asked))), flush=True)
        else:
            print(json.dumps(run(asked)), flush=True)


serve(sys.argv[2]) if sys.argv[1] == "serve" else ask(sys.argv[2])
