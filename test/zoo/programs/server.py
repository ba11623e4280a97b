"""server.py: echoes on 7000 and 7001, counts urgent bytes on 7002, resets on 7003; on 7004 once, IPv4 alone; on 7005 bound to eth0."""
import selectors, socket, struct, sys, threading


def echo(s):
    for line in iter(lambda: s.recv(4096), b""):
        s.sendall(line)


def urgent(s):
    import select, time
    time.sleep(0.2)
    try:
        oob = s.recv(1, socket.MSG_OOB)
    except OSError:
        oob = b""
    rest = b"".join(iter(lambda: s.recv(4096), b""))
    s.sendall(b"urgent %r, in order %r\n" % (oob, rest))


def once(s):
    s.sendall(s.recv(4096))


def reset(s):
    s.sendall(s.recv(100))
    import time
    time.sleep(0.2)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def serve(handle, port, family=socket.AF_INET6, device=None):
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if device:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    listener.bind(("" if family == socket.AF_INET else "::", port))
    listener.listen(64)

    def one(s):
        try:
            handle(s)
        except OSError:
            pass
        s.close()

    def accept():
        while True:
            s, _ = listener.accept()
            threading.Thread(target=one, args=(s,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


serve(echo, 7000)
serve(echo, 7001)
serve(urgent, 7002)
serve(reset, 7003)
serve(once, 7004, socket.AF_INET)
serve(echo, 7005, device=b"eth0")
print("serving", flush=True)
threading.Event().wait()
