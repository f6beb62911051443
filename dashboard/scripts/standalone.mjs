// `output: "standalone"` leaves out the static files (Next's page of the setting `output`): put them beside the server.
import { cp } from "node:fs/promises";

await cp(".next/static", ".next/standalone/.next/static", { recursive: true });
await cp("public", ".next/standalone/public", { recursive: true, force: true }).catch((error) => {
  if (error.code !== "ENOENT") throw error;
});
