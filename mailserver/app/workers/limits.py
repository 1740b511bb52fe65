"""x"""

import socket


class SharedLimits:
    def __init__(self, *a):
        pass

    def connect(self, *a):
        self.x, y = socket.socketpair()
        return y

    def gone(self, n):
        pass

    def replace(self, n):
        pass

    def close(self):
        pass
