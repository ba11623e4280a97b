"""A TLS 1.3 client of another make judges an HBONE server.

Its input is one JSON object: host, port, cert and key (PEM files of a caller that must be taken) and certificates, a list of
{name, cert, key}. It prints a line of JSON for each case: {"kind", "name", "expect", "got", "saw"}, of which "got" is

served: the server sent its HTTP/2 SETTINGS. refused: it ended the connection without. open: neither within the deadline.
broken: this client gave up by itself, so that nothing was judged.
"""

import json
import random
import socket
import struct
import sys

from tlslite.api import HandshakeSettings, TLSAbruptCloseError, TLSConnection, TLSRemoteAlert, X509CertChain, parsePEMKey

DEADLINE = 15
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
SETTINGS = 4
TLS13 = (3, 4)
CURVES = ("x25519", "secp256r1", "secp384r1", "secp521r1", "x448")
SEED = 1

asked = json.load(sys.stdin)


class Dribble:
    """A socket that sends a few bytes at a time, each in a segment of its own."""

    def __init__(self, inner, size):
        self.inner = inner
        self.size = size

    def send(self, data):
        return self.inner.send(bytes(data[: self.size]))

    def sendall(self, data):
        while data:
            data = data[self.send(data) :]

    def __getattr__(self, name):
        return getattr(self.inner, name)


def connect():
    sock = socket.create_connection((asked["host"], asked["port"]), DEADLINE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def files(cert, key):
    chain = X509CertChain()
    with open(cert) as file:
        chain.parsePemList(file.read())
    with open(key) as file:
        return chain, parsePEMKey(file.read(), private=True)


CHAIN, KEY = files(asked["cert"], asked["key"])


def settings(**changes):
    made = HandshakeSettings()
    made.minVersion = made.maxVersion = TLS13
    made.versions = [TLS13]
    made.eccCurves = list(CURVES)
    # The peer may compress its certificate only when asked, and ours is sent as it is.
    made.certificate_compression_send = []
    for name, value in changes.items():
        if not hasattr(made, name):
            raise AttributeError(name)
        setattr(made, name, value)
    return made


def first_frame(tls):
    """The first frame of the server, or nothing when it ended the connection."""
    data = b""
    while len(data) < 9:
        part = tls.recv(4096)
        if not part:
            return None
        data += bytes(part)
    return data


def talk(chosen=None, chain=CHAIN, key=KEY, alpn=(b"h2",), name=None, wrap=None, during=None, record_size=None):
    """One handshake, our preface, and the server's first frame."""
    sock = connect()
    try:
        tls = TLSConnection(wrap(sock) if wrap else sock)
        if record_size:
            tls.recordSize = record_size
        tls.handshakeClientCert(
            chain, key, settings=chosen or settings(), serverName=name, alpn=[bytearray(item) for item in alpn] or None
        )
        if during:
            during(tls)
        tls.sendall(PREFACE)
        frame = first_frame(tls)
        if frame is None:
            return "refused", "closed"
        return ("served", "SETTINGS") if frame[3] == SETTINGS else ("refused", f"frame of type {frame[3]}")
    except socket.timeout:
        return "open", "deadline"
    except (TLSRemoteAlert, TLSAbruptCloseError, OSError) as error:
        return "refused", f"{type(error).__name__}: {error}"[:200]
    except Exception as error:
        return "broken", f"{type(error).__name__}: {error}"[:200]
    finally:
        sock.close()


def raw(data, finish=True, pieces=1):
    """Bytes as they are; then what the server does."""
    sock = connect()
    try:
        step = max(1, len(data) // pieces)
        for start in range(0, len(data), step):
            sock.sendall(data[start : start + step])
        if finish:
            sock.shutdown(socket.SHUT_WR)
        # No handshake can come of any of these: what counts is that the server ends the connection.
        got = b""
        while part := sock.recv(4096):
            got += part
        return "refused", f"closed after {got[:20].hex()}"
    except socket.timeout:
        return "open", "deadline"
    except OSError as error:
        return "refused", type(error).__name__
    finally:
        sock.close()


def hello():
    """A whole ClientHello of ours, as one record."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0.2)
    theirs.settimeout(0.2)
    try:
        TLSConnection(ours).handshakeClientCert(CHAIN, KEY, settings=settings(), alpn=[bytearray(b"h2")])
    except Exception:  # Nobody answers: the hello is all that is wanted.
        pass
    data = theirs.recv(65536)
    ours.close()
    theirs.close()
    return data


# What Orlop speaks (native/engine/tunnel/identities.cc) and what it leaves out.
TAKEN_CIPHERS = {
    "aes128gcm": "served",
    "aes256gcm": "served",
    "chacha20-poly1305": "refused",
    "aes128ccm": "refused",
    "aes256ccm": "refused",
}
TAKEN_GROUPS = {
    "x25519": "served",
    "secp256r1": "served",
    "secp384r1": "refused",
    "secp521r1": "refused",
    "x448": "refused",
}


def conversations():
    served, refused = "served", "refused"
    yield "as it is", served, {}
    for cipher, expect in TAKEN_CIPHERS.items():
        yield f"only {cipher}", expect, {"chosen": settings(cipherNames=[cipher])}
    for curve, expect in TAKEN_GROUPS.items():
        only = {"eccCurves": [curve], "dhGroups": [], "keyShares": [curve], "defaultCurve": "secp256r1"}
        yield f"key share {curve}", expect, {"chosen": settings(**only)}
    for curve, expect in TAKEN_GROUPS.items():
        only = {"eccCurves": [curve], "dhGroups": [], "keyShares": []}
        yield f"{curve} after a HelloRetryRequest", expect, {"chosen": settings(**only)}
    yield "many groups, no key share", served, {"chosen": settings(keyShares=[])}
    yield "all key shares that it has", served, {
        "chosen": settings(keyShares=list(CURVES))
    }
    for version, text in (((3, 1), "1.0"), ((3, 2), "1.1"), ((3, 3), "1.2")):
        only = {"minVersion": version, "maxVersion": version, "versions": [version]}
        yield f"only TLS {text}", refused, {"chosen": settings(**only)}
    yield "TLS 1.2 or 1.3", served, {"chosen": settings(minVersion=(3, 3), versions=[TLS13, (3, 3)])}
    yield "TLS 1.0 to 1.3", served, {"chosen": settings(minVersion=(3, 1), versions=[TLS13, (3, 3), (3, 2), (3, 1)])}
    yield "ALPN http/1.1", refused, {"alpn": (b"http/1.1",)}
    yield "ALPN http/1.1, h2", served, {"alpn": (b"http/1.1", b"h2")}
    yield "ALPN h2c", refused, {"alpn": (b"h2c",)}
    yield "ALPN H2", refused, {"alpn": (b"H2",)}
    yield "ALPN of 255 bytes beside h2", served, {"alpn": (b"x" * 255, b"h2")}
    yield "a hundred protocols, h2 the last", served, {"alpn": (*(b"p%d" % i for i in range(99)), b"h2")}
    yield "no client certificate", refused, {"chain": None, "key": None}
    yield "SNI", served, {"name": "api.demo.svc.cluster.local"}
    yield "SNI of another server", served, {"name": "vault.demo.svc.cluster.local"}
    yield "SNI of 250 bytes", served, {"name": ".".join(["a" * 49] * 5)}
    for size in (64, 512, 16384):
        yield f"record size limit {size}", served, {"chosen": settings(record_size_limit=size)}
    yield "no heartbeat", served, {"chosen": settings(use_heartbeat_extension=False)}
    yield "no padding", served, {"chosen": settings(usePaddingExtension=False)}
    yield "padded records", served, {"chosen": settings(padding_cb=lambda length, kind, limit: min(100, limit - length))}
    for size in (1, 7, 100):
        yield f"segments of {size} bytes", served, {"wrap": lambda sock, size=size: Dribble(sock, size)}
    for size in (64, 512):
        yield f"records of {size} bytes", served, {"record_size": size}
    yield "a key update", served, {"during": lambda tls: update(tls, 1)}
    yield "ten key updates", served, {"during": lambda tls: update(tls, 10)}
    yield "close_notify at once", refused, {"during": lambda tls: tls.close()}
    yield "certificate signed for, key of another", refused, {"key": other_key()}
    yield "only RSA signatures taken", refused, {"chosen": settings(ecdsaSigHashes=[], more_sig_schemes=[])}


def update(tls, times):
    from tlslite.constants import KeyUpdateMessageType

    for _ in range(times):
        for _ in tls.send_keyupdate_request(KeyUpdateMessageType.update_not_requested):
            pass


def other_key():
    return files(asked["other"]["cert"], asked["other"]["key"])[1]


def raws():
    whole = hello()
    body = whole[5:]
    record = lambda kind, data, version=0x0301: struct.pack(">BHH", kind, version, len(data)) + data
    noise = random.Random(SEED)
    yield "nothing", b""
    yield "one byte", b"\x16"
    yield "HTTP/1.1", b"GET / HTTP/1.1\r\nHost: api\r\n\r\n"
    yield "HTTP/2 without TLS", PREFACE
    yield "an SSH banner", b"SSH-2.0-judge\r\n"
    yield "PROXY protocol before the hello", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + whole
    yield "half a hello", whole[: len(whole) // 2]
    yield "an SSLv2 hello", b"\x80\x2e\x01\x00\x02" + b"\x00" * 43
    yield "an empty record", record(22, b"")
    yield "a hundred empty records", record(22, b"") * 100
    yield "a record that says 65,535 bytes", struct.pack(">BHH", 22, 0x0301, 65535) + body
    yield "a record of an unknown type", record(99, body)
    yield "application data first", record(23, body)
    yield "an alert first", record(21, b"\x02\x28")
    yield "a change_cipher_spec first", record(20, b"\x01") * 64
    yield "a heartbeat that lies about its length", record(24, b"\x01\xff\xff")
    yield "a hello of 16 MB", record(22, b"\x01\xff\xff\xff" + body[4:])
    yield "a hello whose extensions are cut off", record(22, b"\x01" + struct.pack(">I", len(body) - 24)[1:] + body[4:-20])
    yield "a Finished first", record(22, b"\x14\x00\x00\x20" + b"\0" * 32)
    yield "two hellos", whole + whole
    yield "64 KiB of zeros", b"\0" * 65536
    yield "64 KiB of noise", noise.randbytes(65536)
    yield "a record of noise", record(22, noise.randbytes(400))


def tell(kind, name, expect, outcome):
    got, saw = outcome
    print(json.dumps({"kind": kind, "name": name, "expect": expect, "got": got, "saw": saw}), flush=True)


for name, expect, words in conversations():
    tell("conversation", name, expect, talk(**words))
for name, data in raws():
    tell("raw", name, "refused", raw(data))
for each in asked["certificates"]:
    chain, key = files(each["cert"], each["key"])
    tell("certificate", each["name"], each["expect"], talk(chain=chain, key=key))
tell("conversation", "as it is, at the end", "served", talk())
