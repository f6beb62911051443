// Starts the built server. It leaves at once when it is asked to, for an event stream would hold it for ever, and when
// the orchestrator that started it is gone: the pipe that only the orchestrator holds open ends (utils/daemon.py).
import { Socket } from "node:net";
import process from "node:process";

process.env.NEXT_MANUAL_SIG_HANDLE = "true";
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));

const pipe = process.env.AI_EMPLOYEE_SUPERVISOR_FD;
if (pipe) {
  const orchestrator = new Socket({ fd: Number(pipe), readable: true, writable: false });
  orchestrator.on("close", () => process.exit(0)).on("error", () => process.exit(0)).resume();
}

await import("./.next/standalone/server.js");
