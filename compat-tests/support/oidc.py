"""An OpenID Connect provider: its configuration, its keys, and tokens that it signs."""

import base64
import http.server
import json
import threading
import time

import rsa

CLIENT = "compat-client"


def _encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value):
    return _encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Provider:
    """A provider at a port of this machine."""

    def __init__(self):
        self.public, self.private = rsa.newkeys(2048)
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(provider.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.name = f"127.0.0.1:{self._server.server_address[1]}/realm"
        self.issuer = f"http://{self.name}"
        self.config_url = f"{self.issuer}/.well-known/openid-configuration"

    def answer(self, path):
        """What is at a path."""
        if path == "/keys":
            key = {"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256"}
            return {"keys": [key | {"n": _number(self.public.n), "e": _number(self.public.e)}]}
        return {"issuer": self.issuer, "jwks_uri": self.issuer.removesuffix("/realm") + "/keys"}

    def token(self, **claims):
        """A token of `alice`, for an hour."""
        now = int(time.time())
        usual = {"iss": self.issuer, "sub": "alice", "aud": CLIENT, "iat": now, "exp": now + 3600}
        header = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        message = ".".join(_encode(json.dumps(part).encode()) for part in (header, usual | claims))
        return f"{message}.{_encode(rsa.sign(message.encode(), self.private, 'SHA-256'))}"

    def close(self):
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
