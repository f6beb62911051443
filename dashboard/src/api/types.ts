/** Names for what the API answers; the shapes themselves are generated (`npm run types`). */
import type { paths } from "./schema";

/** What a GET of this path answers. */
export type Got<Path extends keyof paths> = paths[Path] extends {
  get: { responses: { 200: { content: { "application/json": infer Answer } } } };
}
  ? Answer
  : never;

/** What a POST to this path answers. */
export type Posted<Path extends keyof paths> = paths[Path] extends {
  post: { responses: { 200: { content: { "application/json": infer Answer } } } };
}
  ? Answer
  : never;

export type Approval = Got<"/api/approvals">["items"][number];
export type ApprovalDetail = Got<"/api/approvals/{request_id}">;
export type Badge = Approval["badges"][number];
export type Severity = Badge["severity"];
export type Action = Got<"/api/actions">["items"][number];
export type ActionState = Action["state"];
export type Answer = Got<"/api/answers">["items"][number];
export type Alert = Got<"/api/alerts">["items"][number];
export type Silence = Got<"/api/alerts/silences">["items"][number];
export type Claims = Got<"/api/claims">;
export type Task = Got<"/api/tasks">["items"][number];
export type TaskDetail = Got<"/api/tasks/{task}">;
export type Stage = Task["stage"];
export type Domain = Task["domain"];
export type Platinum = Got<"/api/platinum/status">;
export type Stop = Got<"/api/stop">;
export type SyncStatus = Got<"/api/vault/sync/status">;
export type SyncResult = Posted<"/api/vault/sync/trigger">;
export type ConflictDetail = Got<"/api/vault/conflicts/{conflict}">;
export type Doctor = Got<"/api/doctor">;
export type Conflict = Got<"/api/vault/conflicts">["items"][number];
export type ZonesStatus = Got<"/api/zones/status">;
export type ZonesHealth = Got<"/api/zones/health">;
export type ZoneSwitched = Posted<"/api/zones/switch">;
export type Health = Got<"/api/health/detailed">;
export type ServiceStatus = Health["status"];
export type HealthHistory = Got<"/api/health/history">;
export type Window = HealthHistory["window"];
export type ServiceHistory = HealthHistory["services"][string];
