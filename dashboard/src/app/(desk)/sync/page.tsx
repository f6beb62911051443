import { Sync } from "@/sync/sync";

export default function Page() {
  return <Sync />;
}
