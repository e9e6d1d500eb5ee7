# A mail server on Debian's aiosmtpd that wants TLS and a login, and prints what it takes; it ends with its standard input.
# PORT CERTIFICATE KEY implicit|starttls MECHANISM: the only mechanism that it offers.
import asyncio
import ssl
import sys

from aiosmtpd.handlers import Debugging
from aiosmtpd.smtp import SMTP, AuthResult

port, certificate, key, way, mechanism = sys.argv[1:]
is_implicit = way == "implicit"
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)


def authenticator(server, session, envelope, used, data):
    is_right = (data.login, data.password) == (b"me", b"pw")
    print("login by", used, "right" if is_right else "wrong", flush=True)
    return AuthResult(success=is_right)


def smtp():
    return SMTP(
        Debugging(sys.stdout),
        authenticator=authenticator,
        auth_required=True,
        # With TLS from the first byte it does not see that there is TLS.
        auth_require_tls=not is_implicit,
        auth_exclude_mechanism={"LOGIN", "PLAIN"} - {mechanism},
        tls_context=None if is_implicit else context,
        require_starttls=not is_implicit,
    )


async def main():
    loop = asyncio.get_running_loop()
    await loop.create_server(smtp, "localhost", int(port), ssl=context if is_implicit else None)
    print("listening", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
