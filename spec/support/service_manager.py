"""A service manager's socket (sd_notify(3)): prints each message that arrives, its lines joined by
" | ", until it is killed. usage: service_manager.py ADDRESS (a path, or @NAME for an abstract one)
"""
import socket
import sys

address = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\0" + address[1:] if address[0] == "@" else address)
print("listening", flush=True)
while True:
    print(listener.recv(4096).decode().replace("\n", " | "), flush=True)
