"""Asks for leases from many addresses: COUNT ROUTER PORT CA CERTIFICATE KEY."""

import http.client
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

count, router, port, ca, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
# local to lo, so any of its addresses may be taken without being assigned
IPV6_FREEBIND = 78


class From(http.client.HTTPSConnection):
    def __init__(self, source):
        super().__init__(router, int(port), context=context, timeout=60)
        self.own = source

    def connect(self):
        plain = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        plain.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        plain.settimeout(60)
        plain.bind((self.own, 0))
        plain.connect((router, int(port)))
        self.sock = context.wrap_socket(plain, server_hostname=router)


def ask(number):
    connection = From(f"2001:db8:b:1::{number + 1:x}")
    connection.request("POST", "/v1/leases")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(ask, range(int(count))))
others = sorted({status for status in answers if status != 201})
print(f"granted {answers.count(201)}, else {others}", flush=True)
