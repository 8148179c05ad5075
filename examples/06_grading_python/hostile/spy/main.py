# Tries to read what is none of its business and to reach the network.
import os
import socket
import sys

found = []
for path in ("/etc/shadow", "/etc/passwd", "/root", "/home"):
    try:
        open(path).close() if not path.count("/") == 1 else os.listdir(path)
        found.append(path + " READ")
    except OSError:
        pass
try:
    socket.create_connection(("192.0.2.1", 53), 2)
    found.append("network CONNECTED")
except OSError:
    pass
sys.exit(", ".join(found) or "found nothing")
