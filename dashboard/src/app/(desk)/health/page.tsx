import { Health } from "@/health/health";

export default function Page() {
  return <Health />;
}
