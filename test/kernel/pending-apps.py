# Applications of pods that begin: each is a child of this program that enters its network namespace and its cgroup, and listens and dials with its
# next instructions. Reads "<uid> <cgroup> <netns> <again ms>" a line; prints "<uid> <first result> <tries> <ms to success> <let in>".
import ctypes, errno, os, signal, socket, sys, time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
target = (sys.argv[1], int(sys.argv[2]))
LIMIT_S = 120
# The children are nobody's concern once they have printed their line.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def app(uid, cgroup, netns, again_s):
    fd = os.open("/run/netns/" + netns, os.O_RDONLY)
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    procs = os.open(cgroup + "/cgroup.procs", os.O_WRONLY)
    os.write(procs, b"0")
    listener = socket.socket()
    listener.bind(("0.0.0.0", target[1]))
    listener.listen()
    began = time.monotonic()
    first, tries, took = "", 0, -1
    while time.monotonic() - began < LIMIT_S:
        caller = socket.socket()
        caller.settimeout(LIMIT_S)
        tries += 1
        try:
            caller.connect(target)
            result = "connected"
        except OSError as error:
            result = errno.errorcode.get(error.errno, "timeout")
        first = first or result
        if result == "connected":
            took = (time.monotonic() - began) * 1000
            break
        caller.close()
        time.sleep(again_s)
    listener.setblocking(False)
    time.sleep(0.05)
    reached = 0
    try:
        while listener.accept():
            reached += 1
    except BlockingIOError:
        pass
    os.write(1, b"%s %s %d %.1f %d\n" % (uid.encode(), first.encode(), tries, took, reached))


for line in sys.stdin:
    uid, cgroup, netns, again = line.split()
    if os.fork() == 0:
        try:
            app(uid, cgroup, netns, int(again) / 1000)
        finally:
            os._exit(0)
