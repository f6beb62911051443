"""Deliberate breaks of what keeps the web dashboard safe (`dashboard/src/server`), each with the test that catches it.

Each is built anew, which takes a minute. (name, what it does, file, text, text instead, tests, which of them)
"""

from __future__ import annotations

ORIGIN, THROTTLE, SESSION, ROUTES = (
    f"dashboard/src/server/{name}.ts" for name in ("origin", "throttle", "session", "routes")
)
PROXY, WEB = "dashboard/src/proxy.ts", "tests/test_dashboard_web.py"

# fmt: off
MUTANTS = (
    ("web-any-origin", "a page of any site changes what it likes (CSRF)", ORIGIN,
     'return new URL(origin).host === headers.get("host");', "return true;", WEB, "foreign_page"),
    ("web-site-unread", "what the browser says of the asking page is not read", ORIGIN,
     'if (site !== null && site !== "same-origin") return false;', 'if (site === "") return false;',
     WEB, "foreign_page"),
    ("web-guess-on", "passwords can be guessed as fast as one asks", THROTTLE,
     "tries.blockedUntil = now + Math.min", "tries.blockedUntil = 0 * Math.min", WEB, "guesses"),
    ("web-right-one-passes", "who guesses goes on where one guess may be right", THROTTLE,
     "if (tries.blockedUntil > now) return tries.blockedUntil - now;", "", WEB, "guesses"),
    ("web-cookie-for-script", "a script can read the session", SESSION,
     "HttpOnly; SameSite=Strict", "SameSite=Strict", WEB, "session_cookie"),
    ("web-unsigned", "a session needs no signature", SESSION,
     "!body || !given || !same(given, signature(body))", "!body", WEB, "forged"),
    ("web-endless-session", "a session never ends", SESSION,
     "return claims.exp * 1000 > now;", "return claims.exp > 0;", WEB, "has_ended"),
    ("web-sessions-outlive", "a new password leaves the old sessions", SESSION,
     'createHmac("sha256", secret).update(passwordHash).digest()',
     'createHmac("sha256", secret).update(passwordHash.slice(0, 6)).digest()', WEB, "of_another_password"),
    ("web-any-route", "what is not on the list is passed on", ROUTES,
     "const found = ROUTES.some((route) => route.methods.includes(method) && fits(route.parts, parts));",
     "const found = ROUTES.length > 0 && method !== \"\" && fits([], []);", WEB, "not_on_the_list"),
    ("web-open-pages", "pages are shown without a session", PROXY,
     'pathname === "/login" || hasSession(request.headers) ?', "hasSession(request.headers) || pathname ?",
     WEB, "without_a_session"),
    ("web-any-image", "a page may fetch pictures from anywhere (S12)", PROXY,
     "\"img-src 'self'\",", "\"img-src *\",", WEB, "policy"),
    ("web-one-nonce", "the nonce of the policy can be known beforehand", PROXY,
     'randomBytes(16).toString("base64")', 'randomBytes(0).toString("base64") + "bm9uY2U="', WEB, "policy"),
)
