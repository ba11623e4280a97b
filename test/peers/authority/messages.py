"""The messages of istio.v1.auth.IstioCertificateService, put together with protobuf's own library (istio/api:security/v1alpha1/ca.proto)."""
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


def _made():
    file = descriptor_pb2.FileDescriptorProto(
        name="ca.proto", package="istio.v1.auth", syntax="proto3", dependency=[struct_pb2.DESCRIPTOR.name]
    )
    field = descriptor_pb2.FieldDescriptorProto
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    request.field.add(name="validity_duration", number=3, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    request.field.add(
        name="metadata", number=4, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL,
        type_name=".google.protobuf.Struct",
    )
    answer = file.message_type.add(name="IstioCertificateResponse")
    answer.field.add(name="cert_chain", number=1, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"istio.v1.auth.{name}"))
        for name in ("IstioCertificateRequest", "IstioCertificateResponse")
    ]


Request, Answer = _made()
