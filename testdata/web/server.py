#!/usr/bin/env python3
"""A small web server for the tests: it responds, shows its environment, and stops on request.

    PORT         where to listen (8080)
    BIND         on which address (0.0.0.0)
    STATE        a folder that counts visits, if it can be written
    EXIT_STATUS  the exit status after SIGTERM or SIGINT (0)

GET /about answers with JSON: who, where and with what the server runs.  GET /visit counts.
"""

import argparse
import functools
import http.server
import json
import os
import signal
import socket
import sys
import threading
import urllib.request


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of the site, and two pages that are made on demand."""

    def do_GET(self):
        made = {"/about": about, "/visit": visit}.get(self.path)
        if made is None:
            super().do_GET()
            return
        body = (json.dumps(made(), sort_keys=True) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def about():
    """Say who, where and with what the server runs."""
    return {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "groups": os.getgroups(),
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "workdir": os.getcwd(),
    }


def visit():
    """Count one more visit; the count lives in $STATE."""
    path = os.path.join(os.environ.get("STATE", "."), "visits")
    try:
        with open(path, encoding="ascii") as stream:
            count = int(stream.read())
    except FileNotFoundError:
        count = 0
    try:
        with open(path, "w", encoding="ascii") as stream:
            stream.write(str(count + 1))
    except OSError as error:
        return {"error": error.strerror}
    return {"visits": count + 1}


def main():
    """Serve until a signal comes; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--site", default=".", help="folder to serve")
    parser.add_argument("--check", action="store_true", help="ask a running server, and exit")
    options = parser.parse_args()
    port = int(os.environ.get("PORT", "8080"))
    if options.check:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/about", timeout=2) as answer:
            return 0 if answer.status == 200 else 1

    address = (os.environ.get("BIND", "0.0.0.0"), port)
    handler = functools.partial(Handler, directory=options.site)
    server = http.server.ThreadingHTTPServer(address, handler)
    server.daemon_threads = True

    def stop(number, _frame):
        print(f"signal {number}, good bye", flush=True)
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"serving {options.site} on port {server.server_port}", flush=True)
    with server:
        server.serve_forever(poll_interval=0.05)
    return int(os.environ.get("EXIT_STATUS", "0"))


if __name__ == "__main__":
    sys.exit(main())
