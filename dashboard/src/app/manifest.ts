import type { MetadataRoute } from "next";

/** Makes the dashboard installable. There is no service worker: nothing of the vault is to stay on the phone. */
export default function manifest(): MetadataRoute.Manifest {
  return {
    id: "/",
    name: "AI Employee",
    short_name: "AI Employee",
    description: "What waits for you, what was done for you, what is wrong.",
    start_url: "/",
    scope: "/",
    display: "standalone",
    background_color: "#f6f4ef",
    theme_color: "#f6f4ef",
    icons: [
      { src: "/icon-192.png", sizes: "192x192", type: "image/png" },
      { src: "/icon-512.png", sizes: "512x512", type: "image/png" },
      { src: "/icon-maskable-512.png", sizes: "512x512", type: "image/png", purpose: "maskable" },
    ],
    shortcuts: [{ name: "Approvals", url: "/approvals" }],
  };
}
