import { Zones } from "@/zones/zones";

export default function Page() {
  return <Zones />;
}
