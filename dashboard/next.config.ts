import type { NextConfig } from "next";

/** Headers of every answer; the Content-Security-Policy, which needs a nonce, is set in `src/proxy.ts`. */
const HEADERS = {
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  // Not `no-referrer`: that would make the Origin of our own login form "null" (Fetch, "append a request Origin header").
  "Referrer-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
};

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
  ],
};

export default config;
