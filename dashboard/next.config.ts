import type { NextConfig } from "next";

/** Headers of every answer; the Content-Security-Policy of a page, which needs a nonce, is set in `src/proxy.ts`. */
const HEADERS = {
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  // Not `no-referrer`: that would make the Origin of our own login form "null" (Fetch, "append a request Origin header").
  "Referrer-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
};

/** What is no page: nothing in it may load or run anything. */
const NO_PAGES = ["/api/:path+", "/session", "/_next/static/:path*", "/icon.svg", "/apple-icon.png", "/manifest.webmanifest"];
const INERT = { key: "Content-Security-Policy", value: "default-src 'none'; frame-ancestors 'none'" };

const config: NextConfig = {
  output: "standalone",
  outputFileTracingRoot: import.meta.dirname,
  turbopack: { root: import.meta.dirname },
  poweredByHeader: false,
  reactStrictMode: true,
  // sharp comes with Next for images that it would scale; ours are as they are.
  outputFileTracingExcludes: { "/*": ["node_modules/@img/**", "node_modules/sharp/**"] },
  images: { unoptimized: true },
  devIndicators: false,
  headers: async () => [
    { source: "/:path*", headers: Object.entries(HEADERS).map(([key, value]) => ({ key, value })) },
    ...NO_PAGES.map((source) => ({ source, headers: [INERT] })),
  ],
};

export default config;
