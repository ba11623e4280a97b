"""probe.py WHAT HOST PORT: what a program sees of its own socket when it talks to a server that echoes, or to nobody."""
import errno, os, socket, sys, urllib.request

what, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
# Another port for each run: a port of an earlier run may still wait for its last packets.
own_port = 20000 + os.getpid() % 8000


def said(error):
    return errno.errorcode.get(error.errno, type(error).__name__) if error.errno else type(error).__name__


def connected(**options):
    s = socket.socket(family)
    s.settimeout(8)
    if "device" in options:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options["device"].encode())
    if "port" in options:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", options["port"]))
    s.connect((host, port))
    return s


def echoed(s, data=b"hello\n"):
    s.sendall(data)
    return s.recv(100) == data


try:
    if what == "names":
        s = connected()
        print("peer", s.getpeername()[:2], "own", s.getsockname()[0], "echo", echoed(s))
    elif what == "http":
        shown = f"[{host}]" if ":" in host else host
        print(urllib.request.urlopen(f"http://{shown}:{port}/", timeout=8).read().decode(), end="")
    elif what == "ftp":
        import ftplib
        ftp = ftplib.FTP()
        ftp.connect(host, port, 8)
        ftp.login()
        ftp.set_pasv(False)
        for name in "abcabc":
            ftp.retrlines(f"RETR {name}")
        print(ftp.quit())
    elif what == "errno":
        s = connected()
        print("connected", s.recv(1) == b"")
    elif what == "nonblocking":
        s = socket.socket(family)
        s.setblocking(False)
        first = s.connect_ex((host, port))
        import select
        select.select([], [s], [], 8)
        print(errno.errorcode[first], errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "0"))
    elif what == "device":
        print("echo", echoed(connected(device="eth0")))
    elif what == "bound":
        print("echo", echoed(connected(port=0)), echoed(connected(port=own_port)))
    elif what == "one-port":
        first, second = connected(port=own_port), None
        port += 1
        second = connected(port=own_port)
        print("echo", echoed(first), echoed(second))
    elif what == "half-close":
        s = connected()
        s.sendall(b"last words\n")
        s.shutdown(socket.SHUT_WR)
        print(s.makefile().read(), end="")
    elif what == "urgent":
        s = connected()
        s.send(b"!", socket.MSG_OOB)
        s.sendall(b"plain\n")
        s.shutdown(socket.SHUT_WR)
        print(s.makefile().read(), end="")
    elif what == "reset":
        s = connected()
        s.sendall(b"reset\n")
        print(s.recv(100), s.recv(100))
    elif what == "second-host":
        for attempt in (port, 7000):
            try:
                s = socket.create_connection((host, attempt), timeout=8)
                break
            except OSError as error:
                print("next after", said(error))
        print("echo", echoed(s))
except OSError as error:
    reason = getattr(error, "reason", error)
    print(said(reason) if isinstance(reason, OSError) else type(error).__name__)
    sys.exit(1)
