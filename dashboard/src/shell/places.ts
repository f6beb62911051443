import {
  Activity,
  ArrowLeftRight,
  Bell,
  Files,
  Hand,
  Inbox,
  ListChecks,
  RefreshCw,
  Settings,
  Sun,
  type LucideIcon,
} from "lucide-react";

export interface Place {
  path: string;
  name: string;
  icon: LucideIcon;
}

/** Where one can go. The first three are at hand on a phone; the rest is behind "More". */
export const PLACES: readonly Place[] = [
  { path: "/", name: "Today", icon: Sun },
  { path: "/approvals", name: "Approvals", icon: Inbox },
  { path: "/actions", name: "Actions", icon: ListChecks },
  { path: "/tasks", name: "Tasks", icon: Files },
  { path: "/zones", name: "Zones", icon: ArrowLeftRight },
  { path: "/sync", name: "Sync", icon: RefreshCw },
  { path: "/health", name: "Health", icon: Activity },
  { path: "/alerts", name: "Alerts", icon: Bell },
  { path: "/claims", name: "Claims", icon: Hand },
  { path: "/settings", name: "Settings", icon: Settings },
];

export const AT_HAND = 3;

export function isAt(place: Place, pathname: string): boolean {
  return place.path === "/" ? pathname === "/" : pathname === place.path || pathname.startsWith(`${place.path}/`);
}
