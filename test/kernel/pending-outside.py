# The outside of pods that begin: answers each connection, dials each address that it reads a line, again and again, and counts the packets of TCP
# that come from pods and are no reset. "report" prints "<address> <packets>" for each pod, and a dot.
import selectors, socket, sys, threading, time
from collections import Counter

own, port = sys.argv[1], int(sys.argv[2])
heard, knocked = Counter(), []
RST = 4


def listen():
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    wire.bind(("br0", 0x0800))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    print("up", flush=True)
    while True:
        packet = wire.recv(128)
        source, to = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        tcp = packet[(packet[0] & 15) * 4 :]
        if packet[9] == 6 and to == own and not tcp[13] & RST:
            heard[source] += 1


def serve():
    server = socket.socket()
    server.bind((own, port))
    server.listen(1024)
    while True:
        server.accept()[0].close()


def knock():
    while True:
        for address in list(knocked):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex((address, port))
            time.sleep(0.002)
            caller.close()
        time.sleep(0.002)


for act in (serve, listen, knock):
    threading.Thread(target=act, daemon=True).start()
for line in sys.stdin:
    word = line.strip()
    if word == "report":
        for address, packets in list(heard.items()):
            print(address, packets)
        print(".", flush=True)
    elif word.startswith("-"):
        knocked.remove(word[1:])
    else:
        knocked.append(word)
