import type { Metadata, Viewport } from "next";
import { cookies, headers } from "next/headers";
import type { ReactNode } from "react";
import { THEME_COOKIE, themeOf } from "@/lib/theme";
import { Nonce } from "@/shell/nonce";
import "./globals.css";

export const metadata: Metadata = {
  title: "AI Employee",
  description: "What waits for you, what was done for you, what is wrong.",
  applicationName: "AI Employee",
  appleWebApp: { capable: true, title: "AI Employee", statusBarStyle: "default" },
  formatDetection: { telephone: false, email: false, address: false, date: false },
  robots: { index: false, follow: false },
};

export const viewport: Viewport = {
  width: "device-width",
  initialScale: 1,
  viewportFit: "cover",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#f6f4ef" },
    { media: "(prefers-color-scheme: dark)", color: "#141311" },
  ],
};

export default async function RootLayout({ children }: { children: ReactNode }) {
  const theme = themeOf((await cookies()).get(THEME_COOKIE)?.value);
  const nonce = (await headers()).get("x-nonce") ?? "";
  return (
    <html lang="en" data-theme={theme === "auto" ? undefined : theme}>
      <body className="font-sans antialiased">
        <Nonce value={nonce} />
        {children}
      </body>
    </html>
  );
}
