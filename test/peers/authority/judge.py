"""protobuf and gRPC of other makes.

judge.py messages                              lines {"request"|"answer": hex} -> what protobuf's own library reads, and writes again
judge.py call ADDRESS ROOTS TOKEN CSR IDENTITY SECONDS   one CreateCertificate by grpcio; prints the code and the chain
judge.py serve CERT KEY                        a server of grpcio; prints each request, and answers with the line that comes back
"""

import json
import sys
from concurrent import futures

import grpc
from google.protobuf.message import DecodeError

from messages import PATH, Answer, Request


def read_request(message):
    request = Request.FromString(message)
    value = request.metadata.fields.get("ImpersonatedIdentity")
    kind = value.WhichOneof("kind") if value is not None else "absent"
    return {
        "csrPem": request.csr,
        "validitySeconds": request.validity_duration,
        "kind": kind,
        "impersonatedIdentity": value.string_value if kind == "string_value" else "",
    }


def write_request(read):
    request = Request(csr=read["csrPem"], validity_duration=read["validitySeconds"])
    if read["impersonatedIdentity"]:
        request.metadata.update({"ImpersonatedIdentity": read["impersonatedIdentity"]})
    return request.SerializeToString()


def messages():
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "request" in asked:
                read = read_request(bytes.fromhex(asked["request"]))
                print(json.dumps({"read": read, "written": write_request(read).hex()}))
            else:
                chain = list(Answer.FromString(bytes.fromhex(asked["answer"])).cert_chain)
                print(json.dumps({"read": chain, "written": Answer(cert_chain=chain).SerializeToString().hex()}))
        except DecodeError:
            print(json.dumps({"read": None, "written": ""}))


def call(address, roots, token, csr, identity, seconds):
    with open(roots, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with open(csr) as file:
        asked = {"csrPem": file.read(), "validitySeconds": int(seconds), "impersonatedIdentity": identity}
    with grpc.secure_channel(address, credentials) as channel:
        create = channel.unary_unary(PATH, request_serializer=write_request, response_deserializer=Answer.FromString)
        try:
            answer = create(asked, metadata=(("authorization", f"Bearer {token}"), ("clusterid", "c1")), timeout=20)
            print(json.dumps({"code": "OK", "text": "", "chain": list(answer.cert_chain)}))
        except grpc.RpcError as error:
            print(json.dumps({"code": error.code().name, "text": error.details(), "chain": []}))


def create_certificate(request, context):
    headers = {key: value for key, value in context.invocation_metadata()}
    print(json.dumps({"request": read_request(request), "headers": headers}), flush=True)
    answer = json.loads(sys.stdin.readline())
    if "code" in answer:
        context.abort(grpc.StatusCode[answer["code"]], answer["text"])
    return Answer(cert_chain=answer["chain"])


def serve(cert, key):
    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(
        create_certificate, request_deserializer=None, response_serializer=Answer.SerializeToString
    )
    service, method = PATH.strip("/").split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    with open(key, "rb") as key_file, open(cert, "rb") as cert_file:
        credentials = grpc.ssl_server_credentials(((key_file.read(), cert_file.read()),))
    print(json.dumps({"port": server.add_secure_port("127.0.0.1:0", credentials)}), flush=True)
    server.start()
    server.wait_for_termination()


mode, *rest = sys.argv[1:]
{"messages": messages, "call": call, "serve": serve}[mode](*rest)
