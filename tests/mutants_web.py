"""Deliberate breaks of what keeps the web dashboard safe (`dashboard/src/server`), each with the test that catches it.

Each is built anew, which takes a minute. (name, what it does, file, text, text instead, tests, which of them)
"""

from __future__ import annotations

ORIGIN, THROTTLE, SESSION, ROUTES = (
    f"dashboard/src/server/{name}.ts" for name in ("origin", "throttle", "session", "routes")
)
PROXY, WEB = "dashboard/src/proxy.ts", "tests/test_dashboard_web.py"
BRAKE, DOUBTS = "dashboard/src/shell/brake.tsx", "tests/test_dashboard_doubts.py"

# fmt: off
MUTANTS = (
    ("web-any-origin", "a page of any site changes what it likes (CSRF)", ORIGIN,
     'return new URL(origin).host === headers.get("host") &&', "return", WEB, "foreign_page"),
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
     'pathname === "/login" || hasSession(request.headers)', "hasSession(request.headers) || pathname",
     WEB, "without_a_session"),
    ("web-any-image", "a page may fetch pictures from anywhere (S12)", PROXY,
     "\"img-src 'self'\",", "\"img-src *\",", WEB, "policy"),
    ("web-one-nonce", "the nonce of the policy can be known beforehand", PROXY,
     'randomBytes(16).toString("base64")', 'randomBytes(0).toString("base64") + "bm9uY2U="', WEB, "policy"),
    ("web-named-like-a-file", "an error page has no policy where its name begins like a public file's", PROXY,
     "_next/static/|icon", "_next/static|icon", WEB, "named_like"),
    ("web-any-name", "a stranger's name that leads here is ours (DNS rebinding)", ORIGIN,
     " && isOwnHost(headers);", ";", WEB, "strangers_name"),
    ("web-short-key", "a hash that was cut short fits every password", "dashboard/src/server/password.ts",
     "  if (expected.length < SHORTEST_KEY) return false;\n", "", WEB, "cut_short"),
    ("web-brake-turns-round", "who pulls the kill switch releases it, where somebody else was first", BRAKE,
     "const [stop] = useState(now);", "const stop = useState(now) && now;", DOUBTS, "turned_round"),
    ("web-hangs-unseen", "an API that hangs looks live", BRAKE,
     "{ refreshInterval: POLL }", "POLL ? {} : {}", DOUBTS, "hangs"),
    ("web-switch-unseen", "a zone is switched in a term that was not shown", "dashboard/src/zones/zones.tsx",
     "const [term] = useState(zones.term);", "const term = useState(0) && zones.term;", DOUBTS, "term_that_was_shown"),
    ("web-slips-in", "a version that was shown once comes back unsaid", "dashboard/src/approvals/request.tsx",
     "    setSaved(undefined);\n", "", DOUBTS, "comes_back"),
    ("web-hidden-tabs-listen", "six tabs take all connections", "dashboard/src/live/live.tsx",
     "        source?.close();\n        streamIs(false);\n      } else", "        streamIs(false);\n      } else",
     DOUBTS, "tabs"),
)
