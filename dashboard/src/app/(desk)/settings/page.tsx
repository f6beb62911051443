import { Settings } from "@/settings/settings";

export default function Page() {
  return <Settings />;
}
