"""The program as a service of systemd: what it says to its manager, and the sockets that it is handed."""

import json
import os
import signal
import socket
import subprocess
import urllib.request

import pytest

from peers.gateway import FRONTDESK_BIN

# (filled in below)
