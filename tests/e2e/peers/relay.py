"""Loopback in front of the gateway's local socket, for programs that speak TCP only."""

import os
import socket
import threading


class Relay:
    """Takes connections on a port of its own and hands their bytes on. Use it as a context."""

    def __init__(self, home):
        # However long the path of the home is, that of its descriptor fits into an address.
        self._home = os.open(home, os.O_PATH)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        # A close alone does not wake whoever waits in accept.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        os.close(self._home)

    def _accept(self):
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        far = socket.socket(socket.AF_UNIX)
        with near, far:
            try:
                far.connect(f"/proc/self/fd/{self._home}/frontdesk.sock")
            except OSError:
                return
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            _copy(near, far)
            back.join()


def _copy(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
