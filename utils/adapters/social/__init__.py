"""Social networks and WhatsApp over HTTP: one small client a provider, on `http.Api`.

Each prepares (uploads; nothing that anybody sees), publishes with one call, and looks for what was published.
"""
