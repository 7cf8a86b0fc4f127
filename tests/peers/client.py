"""An HTTPS client with a pre-shared key: Python's own http.client and ssl, one connection.

argv: {address, port, name, identity, key, suites, fragment, resume} as JSON.
stdin: one request a line, {method, path, body, last}; its end closes the connection.
stdout: {connected}, then one {status, body} or {error} a request, then {closed} or {error}.

Up to Python 3.12 the ssl module has no call for pre-shared keys, though the OpenSSL under it has;
there the callback is set on the very SSL_CTX that the module made.
"""
import ctypes
import http.client
import io
import json
import ssl
import sys

WANT = json.loads(sys.argv[1])
KEY = bytes.fromhex(WANT["key"])
IDENTITY = WANT["identity"].encode()


@ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p,
                  ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint)
def psk(_ssl, _hint, identity, _room, key, _most):
    """SSL_psk_client_cb_func."""
    ctypes.memmove(identity, IDENTITY + b"\0", len(IDENTITY) + 1)
    ctypes.memmove(key, KEY, len(KEY))
    return len(KEY)


def context():
    """TLS 1.2 with nothing but the suites that were asked for."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(WANT["suites"])
    if hasattr(made, "set_psk_client_callback"):
        made.set_psk_client_callback(lambda hint: (WANT["identity"], KEY))
    else:
        # PySSLContext begins with its SSL_CTX, right behind the object's head
        pointer = ctypes.c_void_p.from_address(id(made) + object.__basicsize__)
        ctypes.CDLL("libssl.so.3").SSL_CTX_set_psk_client_callback(pointer, psk)
    return made


class Connection(http.client.HTTPSConnection):
    """Resumes a session if there is one, and does not take a cut connection for its end."""

    session = None
    tls = None

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = self.tls = self._context.wrap_socket(
            self.sock, server_hostname=WANT["name"], session=self.session,
            suppress_ragged_eofs=False)


def connection(made, session=None):
    """A connection whose handshake is done; bodies go out in blocks of a record each."""
    one = Connection(WANT["address"], WANT["port"], context=made,
                     blocksize=WANT["fragment"] or 8192, timeout=120)
    one.session = session
    one.connect()
    return one


def say(**words):
    """One line of JSON."""
    print(json.dumps(words), flush=True)


def ask(one, method, path, body, last):
    """One request and its answer."""
    headers = {"Connection": "close"} if last else {}
    if body is not None:
        headers["Content-Length"] = str(len(body))
        body = io.BytesIO(body.encode())
    one.request(method, path, body, headers)
    answer = one.getresponse()
    say(status=answer.status, body=answer.read().decode("latin1"))
    return answer.will_close


def close(one, over):
    """Ends the session from this side, or waits for the peer who said that it would."""
    if over:
        assert one.tls.recv(1) == b"", "data behind the last answer"
    one.tls.unwrap()
    say(closed=True)


def main():
    made = context()
    one = connection(made)
    if WANT["resume"]:
        session = one.tls.session
        one.tls.unwrap()
        one = connection(made, session)
    say(connected=one.tls.cipher()[0], resumed=one.tls.session_reused)
    # http.client lets go of a socket that will close; the session's end is still to be seen
    one.close = lambda: None
    over = False
    for line in sys.stdin:
        over = ask(one, **json.loads(line))
    close(one, over)


try:
    main()
except (OSError, http.client.HTTPException) as error:
    say(error=f"{type(error).__name__}: {error}")
    sys.exit(1)
