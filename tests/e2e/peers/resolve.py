"""Asks the network by multicast DNS, with python-zeroconf, and prints what it hears.

resolve.py address NAME ADDRESS     the addresses of a host, once ADDRESS is among them or nothing more comes
resolve.py service TYPE             host and port of a service
"""

import sys
import time

from zeroconf import AddressResolverIPv4, ServiceBrowser, ServiceListener, Zeroconf

PATIENCE = 15


def address(network, name, expected):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        resolver = AddressResolverIPv4(f"{name}.")
        if resolver.request(network, 1_000):
            addresses = resolver.parsed_addresses()
            if expected in addresses:
                return addresses
    return []


class Found(ServiceListener):
    def __init__(self):
        self.names = []

    def add_service(self, network, kind, name):
        self.names.append(name)

    def update_service(self, network, kind, name):
        pass

    def remove_service(self, network, kind, name):
        pass


def service(network, kind):
    found = Found()
    browser = ServiceBrowser(network, f"{kind}.local.", found)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for name in list(found.names):
            info = network.get_service_info(f"{kind}.local.", name, 1_000)
            if info:
                browser.cancel()
                return [info.server.rstrip("."), info.port]
        time.sleep(0.05)
    return []


what, *arguments = sys.argv[1:]
network = Zeroconf()
print(*{"address": address, "service": service}[what](network, *arguments))
network.close()
